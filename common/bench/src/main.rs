//! Measures raftd beside etcd and NATS: the same work, the same generator, on one machine and in
//! turns, so that what counts is a ratio. `growth` measures raftd alone, as work grows by tens:
//! there it is the shape that counts.
//!
//! # Architecture invariants
//! - One generator loads all systems: the same clients, keys, values and clock. Only how a request
//!   is written differs.
//! - All systems get the same treatment: three nodes, mutual TLS on every port, and what is
//!   acknowledged is synced to the disks of a majority.
//! - What is not measured has no figure: a count that a system does not tell is left out.
//! - A system that is not on the `PATH` is named with the command that installs it, and the others
//!   are measured.

mod certificates;
mod compare;
mod drawing;
mod figures;
mod generator;
mod growth;
mod interrupt;
mod loading;
mod options;
mod output;
mod results;
mod systems;
mod table;
mod usage;
mod work;

use std::process::ExitCode;

use crate::options::{HELP, Options};

/// The word by which this program starts itself once more, to load a system.
const LOAD: &str = "load";

/// The word by which raftd alone is measured, as work grows.
const GROWTH: &str = "growth";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [verb, order] = &arguments[..]
        && verb == LOAD
    {
        return ended(generator::run(order));
    }
    let (is_growth, rest) = match arguments.split_first() {
        Some((verb, rest)) if verb == GROWTH => (true, rest),
        Some(_) | None => (false, &arguments[..]),
    };
    let help = if is_growth { growth::options::HELP } else { HELP };
    if rest.iter().any(|argument| argument == "--help" || argument == "-h") {
        println!("{help}");
        return ExitCode::SUCCESS;
    }
    let read = if is_growth {
        growth::options::Options::read(rest).map(Asked::Growth)
    } else {
        Options::read(rest).map(Asked::Systems)
    };
    match read {
        Ok(asked) => ended(interrupt::watch().and_then(|()| asked.run())),
        Err(why) => {
            eprintln!("error: {why}\n\n{help}");
            ExitCode::from(2)
        }
    }
}

/// What is asked for.
enum Asked {
    /// All systems beside each other.
    Systems(Options),
    /// Ours alone, as work grows.
    Growth(growth::options::Options),
}

impl Asked {
    fn run(&self) -> Result<(), String> {
        match self {
            Self::Systems(options) => compare::run(options),
            Self::Growth(options) => growth::run(options),
        }
    }
}

fn ended(result: Result<(), String>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("error: {why}");
            if interrupt::is_noted() { ExitCode::from(interrupt::EXIT) } else { ExitCode::FAILURE }
        }
    }
}
