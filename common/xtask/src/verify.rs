//! `cargo xtask verify`: everything that must hold before a change is handed in.
//!
//! Stages run from the cheapest to the dearest and stop at the first that fails; a table then shows
//! which ran, for how long, and the last line is the plain sum of what the test runs said.

use crate::cargo::Cargo;
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
    Tests,
    Mutations,
    Simulator,
}

impl Stage {
    const ALL: [Stage; 5] =
        [Stage::Format, Stage::Clippy, Stage::Tests, Stage::Mutations, Stage::Simulator];

    fn name(self) -> &'static str {
        match self {
            Stage::Format => "format",
            Stage::Clippy => "clippy",
            Stage::Tests => "tests",
            Stage::Mutations => "mutations",
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
            Stage::Clippy | Stage::Tests => rocksdb::announced(cargo.target_dir(), stage_runs),
            Stage::Format | Stage::Mutations | Stage::Simulator => stage_runs(),
        }
    });
    // Standard output, as the runner's own summaries: the closing line must be the last one.
    print!("\n{}{tally}\n", table(&outcomes));
    result
}

fn run_stage(cargo: &Cargo, stage: Stage, seeds: u32, tally: &mut Tally) -> Result<(), Failure> {
    let name = stage.name();
    match stage {
        Stage::Format => cargo.run(name, &["fmt", "--all", "--check"]).map(drop),
        Stage::Clippy => {
            let arguments = "clippy --release --locked --workspace --all-targets -- -D warnings";
            cargo.run(name, &arguments.split(' ').collect::<Vec<_>>()).map(drop)
        }
        Stage::Tests => {
            // All failures of a run are worth more than the first one.
            let arguments = ["test", "--release", "--locked", "--workspace", "--no-fail-fast"];
            cargo.run_watched(name, &arguments, |line| {
                tally.add(line);
            })?;
            if tally.passed == 0 { Err(Failure::NoTests) } else { Ok(()) }
        }
        Stage::Mutations => mutations::run(cargo, mutations::Which::Slice),
        Stage::Simulator => {
            let seeds = seeds.to_string();
            let run = "run --quiet --release --locked -p simulator --bin simulator -- sim --seeds";
            let arguments: Vec<&str> = run.split(' ').chain([seeds.as_str()]).collect();
            cargo.run(name, &arguments).map(drop)
        }
    }
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
        assert_eq!(
            outcomes[2..],
            [Stage::Tests, Stage::Mutations, Stage::Simulator]
                .map(|stage| (stage, Outcome::NotRun))
        );
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
