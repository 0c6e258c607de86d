//! `cargo xtask mutants`: every small change of the sources that cargo-mutants can think of must be
//! noticed, by the tests of the crate that is changed or by the simulator.

use crate::cargo::Cargo;
use crate::failure::Failure;
use crate::progress::say;

/// How many seeds the simulator runs for a change that the tests have not noticed.
const SEEDS: &str = "1000";

/// The variable that says so (`common/simulator/tests/it/seeds.rs`).
const SEEDS_VARIABLE: &str = "RAFTD_SIMULATOR_SEEDS";

/// After so many seconds a change counts as noticed: something has become endless.
const TESTS_S_MAX: &str = "60";
const SEEDS_S_MAX: &str = "900";

/// Tries all changes with the tests of their crates, and those that are left with the simulator.
/// The lists lie in `mutants.out`, beside what cargo builds.
///
/// # Errors
///
/// [`Failure::Stage`] if a change is noticed by nothing.
pub(crate) fn run(cargo: &Cargo, arguments: &[String]) -> Result<(), Failure> {
    let workers = std::thread::available_parallelism().map_or(1, usize::from).to_string();
    let output = cargo.target_dir().map(|target| target.display().to_string());
    let mut call = vec!["mutants", "--workspace", "--colors", "never", "-j", &workers];
    if let Some(output) = &output {
        call.extend(["--output", output]);
    }
    call.extend(arguments.iter().map(String::as_str));
    say("the tests of the crate that is changed");
    let tests = [&call[..], &["--minimum-test-timeout", TESTS_S_MAX]].concat();
    if cargo.run("mutants", &tests).is_ok() {
        return Ok(());
    }
    say(&format!("what they have not noticed: {SEEDS} seeds of the simulator"));
    let seeds = ["--minimum-test-timeout", SEEDS_S_MAX, "--iterate", "--test-package", "simulator"];
    let seeds = [&call[..], &seeds].concat();
    cargo.run_with("mutants", &seeds, (SEEDS_VARIABLE, SEEDS.as_ref()))
}
