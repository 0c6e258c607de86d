//! A whole program around a machine: the command line of `raftd`, its configuration and its exit
//! codes.

use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser as _;
use state_machine::StoredMachine;
use storage::{LogProvider, RocksLogs};

use crate::cli::Cli;
use crate::daemon::{self, Program, check, explain};
use crate::exit::{Exit, Failure};

/// A node that replicates a machine of the user's, as `raftd` replicates the key/value machine.
///
/// Certificates, founding, members and status are `raftctl`'s as ever; a cluster for another
/// machine is made by `raftctl init --machine NAME`.
///
/// ```no_run
/// fn main() -> std::process::ExitCode {
///     raftd::Server::new(state_machine::Kv).main()
/// }
/// ```
pub struct Server {
    program: Program,
}

impl Server {
    /// A node with this machine, and a log on RocksDB.
    pub fn new(machine: impl StoredMachine) -> Self {
        Self { program: Program { machine: Arc::new(machine), logs: Arc::new(RocksLogs) } }
    }

    /// Keeps the log elsewhere; see [`storage::PersistentLog`] for what it must hold to.
    #[must_use]
    pub fn with_log(mut self, logs: impl LogProvider) -> Self {
        self.program.logs = Arc::new(logs);
        self
    }

    /// Runs a node until it is asked to stop.
    ///
    /// # Errors
    /// Whatever ends the process, with its exit code.
    pub fn run(self, cli: &Cli) -> Result<(), Failure> {
        daemon::run(cli, self.program)
    }

    /// All of a program's `main`: reads the command line, runs, and says how it ended.
    pub fn main(self) -> ExitCode {
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
            self.run(&cli)
        };
        match done {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => {
                eprintln!("{}", explain(&failure, &cli.config));
                ExitCode::from(&failure)
            }
        }
    }
}

/// Runs a node that replicates `machine`, with everything else as `raftd` has it: all of a
/// program's `main`.
pub fn main(machine: impl StoredMachine) -> ExitCode {
    Server::new(machine).main()
}
