//! raftd: a node of a Raft cluster that replicates the built-in key/value machine.

use std::process::ExitCode;

fn main() -> ExitCode {
    raftd::main(state_machine::Kv)
}
