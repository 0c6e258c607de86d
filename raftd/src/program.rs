//! A whole program around a machine: the command line of `raftd`, its configuration and its exit
//! codes.

use std::process::ExitCode;

use clap::Parser as _;
use state_machine::StoredMachine;

use crate::cli::Cli;
use crate::daemon::{check, explain, run};
use crate::exit::Exit;

/// Runs a node that replicates `machine`, as `raftd` runs one with the key/value machine: all of a
/// program's `main`. Certificates, founding, members and status are `raftctl`'s as ever; a cluster
/// for another machine is made by `raftctl init --machine NAME`.
pub fn main(machine: impl StoredMachine) -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Nobody listens if this cannot be written.
            let _ = error.print();
            let asked = !error.use_stderr();
            return if asked { ExitCode::SUCCESS } else { Exit::Usage.code().into() };
        }
    };
    let done = if cli.check_config {
        check(&cli).map(|found| println!("{found}"))
    } else {
        run(&cli, machine)
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{}", explain(&failure, &cli.config));
            ExitCode::from(&failure)
        }
    }
}
