//! The simulator's seeds: many, or one that is replayed.

use std::fs;
use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use clap::Args;
use simulator::{Found, Report, Settings, history, run, search, shorten_failure};

use crate::report::{Timed, commit, met, says_enough, tell};
use crate::{say, threads};

/// Where the runs that count are written down, below the workspace's root.
pub(crate) const HISTORY: &str = "common/simulator/history.txt";

/// Events that are repeated to make a failure short, where it is asked for.
const SHORTEN_EVENTS: u64 = 20_000_000;

#[derive(Debug, Args)]
pub(crate) struct Sim {
    /// The seed to replay
    seed: Option<u64>,
    /// How many seeds to run
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// The first of them
    #[arg(long, default_value_t = 1)]
    first: u64,
    /// Virtual seconds with faults in each
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: u64,
    /// Threads; all cores unless told otherwise
    #[arg(long)]
    threads: Option<usize>,
    /// Prints every event of the replayed seed to stderr
    #[arg(long, requires = "seed")]
    trace: bool,
    /// Replays no more events of the seed than break it
    #[arg(long, requires = "seed")]
    short: bool,
    /// Runs seeds that were never run, and writes down in common/simulator/history.txt what came
    /// of them; the sources must be as they were committed
    #[arg(long, conflicts_with_all = ["seed", "first", "seconds"])]
    record: bool,
}

/// Says whether nothing is broken.
pub(crate) fn sim(sim: &Sim) -> bool {
    match (sim.seed, sim.record) {
        (Some(seed), _) => replay(seed, sim),
        (None, true) => record(sim),
        (None, false) => simulate(sim.first, sim).1,
    }
}

fn replay(seed: u64, sim: &Sim) -> bool {
    let settings = Settings { seconds: sim.seconds, trace: sim.trace, ..Settings::default() };
    let outcome = run(seed, Settings { trace: sim.trace && !sim.short, ..settings });
    say(&format!("seed {seed}  digest {:016x}\n{}", outcome.digest, met(&outcome.coverage, 1)));
    let Some(violation) = outcome.violation else {
        say("no violation");
        return true;
    };
    if !sim.short {
        tell(&Found { seed, violation }, settings);
        return false;
    }
    let is_same = |other: &simulator::Violation| other.invariant == violation.invariant;
    match shorten_failure(seed, settings, SHORTEN_EVENTS, is_same) {
        Some(short) => say(&format!(
            "VIOLATION in seed {seed}, with {} of {} events\n  invariant: {}\n  seen:      {}",
            short.violation.step, violation.step, violation.invariant, short.violation.why
        )),
        None => say("it does not break again when its events are repeated"),
    }
    false
}

/// Returns the report, and whether it is a good one.
fn simulate(first: u64, sim: &Sim) -> (Report, bool) {
    let settings = Settings { seconds: sim.seconds, ..Settings::default() };
    let began = Instant::now();
    let terminal = std::io::stderr().is_terminal();
    let progress = |done: u64| {
        if terminal && done.is_multiple_of(20) {
            let each = began.elapsed().as_secs_f64() / done as f64;
            let left = each * (sim.seeds - done) as f64;
            eprint!("\rsimulator: {done} of {} seeds, {left:.0} s to go   ", sim.seeds);
        }
    };
    let threads = threads(sim.threads);
    let run = || search(first, sim.seeds, settings, threads, progress);
    let timed = Timed::run(threads, run);
    if terminal {
        eprintln!();
    }
    say(&timed.summary());
    let report = timed.report;
    let good = match &report.found {
        Some(found) => {
            tell(found, settings);
            false
        }
        None => {
            say("no violation");
            says_enough(&report)
        }
    };
    (report, good)
}

/// Runs fresh seeds and appends a line to the history.
fn record(sim: &Sim) -> bool {
    let path = PathBuf::from(HISTORY);
    let before = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) => {
            say(&format!("error: {HISTORY}: {error}\nhint: run this in the workspace's root"));
            return false;
        }
    };
    let past = match history::parse(&before) {
        Ok(past) => past,
        Err(why) => {
            say(&format!("error: {HISTORY}: {why}"));
            return false;
        }
    };
    let Some(commit) = commit().filter(|commit| !commit.ends_with('+')) else {
        say("error: the sources differ from the commit, and nobody could run this again");
        return false;
    };
    let first = past.iter().map(|run| run.first + run.seeds).max().unwrap_or(1);
    let (report, good) = simulate(first, sim);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let run = history::Run {
        date: history::date(now.as_secs()),
        commit,
        first,
        seeds: report.seeds,
        hours: report.virtual_ns / 3_600_000_000_000,
        failures: u64::from(report.found.is_some()),
    };
    let text = history::append(&before, &run);
    if let Err(error) = fs::write(&path, text) {
        say(&format!("error: {HISTORY}: {error}"));
        return false;
    }
    let hours: u64 = past.iter().chain([&run]).map(|run| run.hours).sum();
    say(&format!("{HISTORY}: {hours} virtual hours in {} runs", past.len() + 1));
    good
}
