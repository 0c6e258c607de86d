//! raftctl: operates a raftd cluster.

use std::process::ExitCode;

fn main() -> ExitCode {
    raftctl::main()
}
