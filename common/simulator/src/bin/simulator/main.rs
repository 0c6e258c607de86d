//! The simulator's command line.

mod explore;
mod figures;
mod report;
mod sim;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Runs raftd's replica in a modelled world, one seed after the other, and checks every step.
#[derive(Debug, Parser)]
#[command(name = "simulator", max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs seeds until one breaks an invariant; a single SEED is replayed exactly
    Sim(sim::Sim),
    /// Takes every order of events at small scope: breadth first, then random walks
    Explore(explore::Explore),
    /// Measures what the simulator must reach, and prints each figure beside its gate
    Figures(figures::Figures),
}

fn main() -> ExitCode {
    // Panics are violations: their words are reported with the seed.
    std::panic::set_hook(Box::new(|_| {}));
    let done = match Cli::parse().command {
        Command::Sim(sim) => sim::sim(&sim),
        Command::Explore(args) => explore::explore(&args),
        Command::Figures(args) => figures::figures(&args),
    };
    if done { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Returns how many threads work: as many as wanted, or one a core.
fn threads(wanted: Option<usize>) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    wanted.unwrap_or(cores).max(1)
}

fn say(text: &str) {
    // Whoever closed the pipe has read enough.
    let _ = std::io::Write::write_all(&mut std::io::stdout(), format!("{text}\n").as_bytes());
}
