//! raftd: a node of a Raft cluster.

use std::process::ExitCode;

use clap::Parser as _;
use raftd::cli::Cli;
use raftd::exit::Exit;

fn main() -> ExitCode {
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
        raftd::check(&cli).map(|found| println!("{found}"))
    } else {
        raftd::run(&cli)
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{}", raftd::explain(&failure, &cli.config));
            ExitCode::from(&failure)
        }
    }
}
