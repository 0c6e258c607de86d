//! `cargo xtask verify`: everything that must hold before a change is handed in.
//!
//! Stages run from the cheapest to the dearest and stop at the first that fails; a table then shows
//! which ran, for how long, and the last line is the plain sum of what the test runs said.
//!
//! Tests are run by `cargo nextest` where it is installed, each in a process of its own, and by
//! `cargo test` elsewhere; tests in documentation always by `cargo test`.

use crate::cargo::{BUILD, Cargo, Stream};
use crate::failure::Failure;
use crate::mutations;
use crate::progress::{human, say};
use crate::rocksdb;
use crate::tally::Tally;
use std::time::{Duration, Instant};

/// The stages, in the order in which they run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Format,
    Clippy,
    Build,
    Tests,
    Documentation,
    Museum,
    Simulator,
}

impl Stage {
    const ALL: [Stage; 7] = [
        Stage::Format,
        Stage::Clippy,
        Stage::Build,
        Stage::Tests,
        Stage::Documentation,
        Stage::Museum,
        Stage::Simulator,
    ];

    fn name(self) -> &'static str {
        match self {
            Stage::Format => "format",
            Stage::Clippy => "clippy",
            Stage::Build => "build",
            Stage::Tests => "tests",
            Stage::Documentation => "docs",
            Stage::Museum => "mutations",
            Stage::Simulator => "simulator",
        }
    }
}

/// What became of a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Passed(Duration),
    Failed(Duration),
    NotRun,
}

/// Runs all stages, prints the table and the closing line.
///
/// # Errors
///
/// That of the first stage that failed; the ones behind it did not run.
pub(crate) fn run(cargo: &Cargo, seeds: u32) -> Result<(), Failure> {
    let mut tally = Tally::default();
    let (outcomes, result) = run_in_order(|stage| {
        say(&format!("{} ..", stage.name()));
        let mut stage_runs = || run_stage(cargo, stage, seeds, &mut tally);
        match stage {
            Stage::Clippy | Stage::Build => rocksdb::announced(cargo.target_dir(), stage_runs),
            Stage::Format
            | Stage::Tests
            | Stage::Documentation
            | Stage::Museum
            | Stage::Simulator => stage_runs(),
        }
    });
    // Standard output, as the runner's own summaries: the closing line must be the last one.
    print!("\n{}{tally}\n", table(&outcomes));
    result
}

fn run_stage(cargo: &Cargo, stage: Stage, seeds: u32, tally: &mut Tally) -> Result<(), Failure> {
    let name = stage.name();
    match stage {
        // A diff that no longer applies is known at once: the stage that needs it comes late.
        Stage::Format => {
            cargo.run(name, &["fmt", "--all", "--check"])?;
            mutations::run(cargo, mutations::Which::Check)
        }
        Stage::Clippy => {
            let arguments = "clippy --release --locked --workspace --all-targets -- -D warnings";
            cargo.run(name, &arguments.split(' ').collect::<Vec<_>>()).map(drop)
        }
        Stage::Build => {
            let arguments = "test --release --locked --workspace --no-run";
            cargo.run(name, &arguments.split(' ').collect::<Vec<_>>()).map(drop)
        }
        // All failures of a run are worth more than the first one.
        Stage::Tests if cargo.has_nextest() => {
            let arguments = "nextest run --release --locked --workspace --no-fail-fast";
            run_tests(cargo, name, arguments, Stream::Stderr, tally)
        }
        Stage::Tests => {
            let arguments = "test --release --locked --workspace --lib --bins --tests \
                             --no-fail-fast";
            run_tests(cargo, name, arguments, Stream::Stdout, tally)
        }
        Stage::Documentation => {
            let warnings = "build.rustdocflags=['-D', 'warnings']";
            let pages = ["doc", "--release", "--locked", "--workspace", "--no-deps"];
            cargo.run(name, &[&["--config", warnings], &pages[..]].concat())?;
            let arguments = "test --release --locked --workspace --doc --no-fail-fast";
            run_tests(cargo, name, arguments, Stream::Stdout, tally)
        }
        Stage::Museum => mutations::run(cargo, mutations::Which::Slice),
        Stage::Simulator => {
            let build: Vec<&str> = BUILD.into_iter().chain(["--bin", "simulator"]).collect();
            cargo.run(name, &build)?;
            let seeds = seeds.to_string();
            cargo.run_built(name, "simulator", &["sim", "--seeds", seeds.as_str()])
        }
    }
}

/// Runs tests and adds up what the runner says of them; a run without any is a failure.
fn run_tests(
    cargo: &Cargo,
    name: &str,
    arguments: &str,
    stream: Stream,
    tally: &mut Tally,
) -> Result<(), Failure> {
    let before = tally.passed;
    let arguments: Vec<&str> = arguments.split_whitespace().collect();
    cargo.run_watched(name, &arguments, stream, |line| {
        tally.add(line);
    })?;
    if tally.passed == before { Err(Failure::NoTests) } else { Ok(()) }
}

/// Runs the stages in order up to the first failure, and times them.
fn run_in_order(
    mut run: impl FnMut(Stage) -> Result<(), Failure>,
) -> (Vec<(Stage, Outcome)>, Result<(), Failure>) {
    let mut outcomes = Vec::new();
    let mut result = Ok(());
    for stage in Stage::ALL {
        if result.is_err() {
            outcomes.push((stage, Outcome::NotRun));
            continue;
        }
        let start = Instant::now();
        result = run(stage);
        let took = start.elapsed();
        let passed = result.is_ok();
        outcomes.push((stage, if passed { Outcome::Passed(took) } else { Outcome::Failed(took) }));
    }
    (outcomes, result)
}

/// Renders one line for each stage.
fn table(outcomes: &[(Stage, Outcome)]) -> String {
    let mut text = format!("{:<11}{:<9}{}\n", "STAGE", "RESULT", "TIME");
    for (stage, outcome) in outcomes {
        let (result, time) = match outcome {
            Outcome::Passed(took) => ("passed", human(*took)),
            Outcome::Failed(took) => ("FAILED", human(*took)),
            Outcome::NotRun => ("not run", "-".to_owned()),
        };
        text += &format!("{:<11}{result:<9}{time}\n", stage.name());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failure_stops_the_stages_and_is_returned() {
        let mut ran = Vec::new();
        let (outcomes, result) = run_in_order(|stage| {
            ran.push(stage);
            if stage == Stage::Clippy { Err(Failure::NoTests) } else { Ok(()) }
        });
        assert_eq!(ran, [Stage::Format, Stage::Clippy]);
        assert!(matches!(result, Err(Failure::NoTests)));
        assert!(matches!(outcomes[0].1, Outcome::Passed(_)));
        assert!(matches!(outcomes[1].1, Outcome::Failed(_)));
        assert_eq!(outcomes.len(), Stage::ALL.len());
        assert!(outcomes[2..].iter().all(|(_, outcome)| *outcome == Outcome::NotRun));
    }

    #[test]
    fn all_stages_run_when_none_fails() {
        let (outcomes, result) = run_in_order(|_| Ok(()));
        assert!(result.is_ok());
        assert!(outcomes.iter().all(|(_, outcome)| matches!(outcome, Outcome::Passed(_))));
        assert_eq!(outcomes.len(), Stage::ALL.len());
    }

    #[test]
    fn the_table_shows_what_ran_with_its_time() {
        let text = table(&[
            (Stage::Format, Outcome::Passed(Duration::from_millis(1_200))),
            (Stage::Clippy, Outcome::Failed(Duration::from_secs(243))),
            (Stage::Tests, Outcome::NotRun),
        ]);
        let expected = "\
STAGE      RESULT   TIME
format     passed   1.2 s
clippy     FAILED   4 min 03 s
tests      not run  -
";
        assert_eq!(text, expected);
    }
}
