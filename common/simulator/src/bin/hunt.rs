//! Searches for the bug that is built into these sources, as the head of its diff says.
//!
//! `cargo xtask mutations` builds this once for each bug. What is found is printed, one line for
//! each search: where, a tab, and what is broken; of a seed also after how many events, and with
//! how few of them.

use std::process::ExitCode;

use simulator::museum::{Bug, hunt};

fn main() -> ExitCode {
    // Panics are violations: their words are what is broken.
    std::panic::set_hook(Box::new(|_| {}));
    match work() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

fn work() -> Result<(), String> {
    let path = std::env::args().nth(1).ok_or("hunt FILE: the bug's diff is not named")?;
    let file = std::fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    let bug = Bug::parse(&file).map_err(|error| format!("{path}: {error}"))?;
    for found in hunt(&bug)? {
        let (place, broken) = (found.place, found.broken);
        match found.events {
            Some((all, few)) => println!("{place}\t{broken}\t{all}\t{few}"),
            None => println!("{place}\t{broken}"),
        }
    }
    Ok(())
}
