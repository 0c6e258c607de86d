//! Measures raftd beside etcd and NATS: the same work, the same generator, on one machine and in
//! turns, so that what counts is a ratio.
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

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [verb, order] = &arguments[..]
        && verb == LOAD
    {
        return ended(generator::run(order));
    }
    if arguments.iter().any(|argument| argument == "--help" || argument == "-h") {
        println!("{HELP}");
        return ExitCode::SUCCESS;
    }
    match Options::read(&arguments) {
        Ok(options) => ended(interrupt::watch().and_then(|()| compare::run(&options))),
        Err(why) => {
            eprintln!("error: {why}\n\n{HELP}");
            ExitCode::from(2)
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
