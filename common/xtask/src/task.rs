//! The command line: which task, with which arguments, and what it needs of the machine.

use crate::failure::Failure;
use crate::machine::Need;
use crate::mutations::Which;

/// Seeds that `verify` gives to the simulator when not told otherwise: about a minute on two cores.
pub(crate) const VERIFY_SEEDS: u32 = 300;

/// The most seeds that `verify` takes; longer searches are `cargo xtask sim --seeds N`.
const VERIFY_SEEDS_MAX: u32 = 1_000_000;

/// How long `fuzz` searches each target when not told otherwise.
const FUZZ_SECONDS: u32 = 30;

/// What `cargo xtask help` prints.
pub(crate) const HELP: &str = "\
cargo xtask: the one entry point of the workspace

Usage: cargo xtask <TASK> [ARGUMENTS]

Tasks:
  quickstart [..]            build, then run three nodes, load a data set, kill the leader, verify
  verify [--seeds N]         format, clippy, all tests, then N seeds of the simulator (default 300)
  fix                        mend what clippy can and format; the only task that writes sources
  sim [SEED] [--seeds N] ..  the deterministic simulator; one SEED replays a run exactly
  mutations [NAME..]         known bugs, each put into a copy of the sources: all must be found
  mutations --check          whether all of them still apply to the sources
  explore [..]               the explorer: random walks and breadth-first search of the core
  figures [--seeds N]        what the simulator must reach, measured, beside each gate
  fuzz [TARGET..] [--seconds N]  any bytes for decoders, files and the core (default 30 s each)
  mutants [..]               each change that cargo-mutants can think of: nightly in length; for a
                             part of them --shard K/N, for some files -f GLOB
  bench [--quick] ..         puts and gets on raftd, and on etcd and NATS where they are on the
                             PATH, in turns: a table, JSON and a drawing (ten minutes; a minute
                             with --quick)
  bench --in-process ..      the core beside raft-rs and openraft, and a write of the log beside
                             the disk it is on, by criterion (two minutes once it is built)
  bench growth [--quick] ..  what raftd alone costs as keys, values, nodes, clients, log and state
                             grow by tens: tables, JSON and a drawing (20 minutes; five with
                             --quick; state takes root)
  run NAME [..]              a long run of real processes: exactly-once, catch-up or changes; or
                             measure, which runs what measures and rewrites MEASUREMENTS.md
  chaos [--seconds N] ..     faults on real raftd in network namespaces, and a check of what clients
                             were told (default 600 s; takes root); --list names the faults
  deb                        the Debian package, and what lintian says of it (takes cargo-deb)
  hosts [..]                 three machines with a systemd of their own, in containers: the package
                             installed, loaded, crashed, upgraded, rebooted; a transcript and a
                             table (takes root, systemd-nspawn and mmdebstrap; 20 minutes)
  limits [--only NAME] ..    what others can make a node keep in memory, and whether it serves
                             meanwhile: a table of limits and what was measured
  man                        regenerate the manual pages from the command definitions
  help                       this text

Environment:
  CARGO_TARGET_DIR  where cargo builds; unset, it is raftd/target in the user's cache directory, so
                    that RocksDB is compiled once for this machine and not once for every clone
";

/// The programs of `run`.
const RUNS: [&str; 4] = ["exactly-once", "catch-up", "changes", "measure"];

/// A task with its arguments.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Task {
    Help,
    Quickstart(Vec<String>),
    Verify { seeds: u32 },
    Fix,
    Sim(Vec<String>),
    Museum(Which),
    Explore(Vec<String>),
    Figures(Vec<String>),
    Fuzz { targets: Vec<String>, seconds: u32 },
    Mutants(Vec<String>),
    Bench(Vec<String>),
    InProcess(Vec<String>),
    Run(&'static str, Vec<String>),
    Chaos(Vec<String>),
    Limits(Vec<String>),
    Deb,
    Hosts(Vec<String>),
    Man,
}

impl Task {
    /// Parses the arguments behind `cargo xtask`.
    ///
    /// # Errors
    ///
    /// [`Failure::Usage`] names the argument that is wrong.
    pub(crate) fn parse(arguments: &[String]) -> Result<Task, Failure> {
        let Some((name, rest)) = arguments.split_first() else {
            return Err(Failure::Usage("no task named".to_owned()));
        };
        match name.as_str() {
            "help" | "--help" | "-h" => Ok(Task::Help),
            "quickstart" => Ok(Task::Quickstart(rest.to_vec())),
            "verify" => Ok(Task::Verify { seeds: parse_seeds(rest)? }),
            "fix" => none(name, rest).map(|()| Task::Fix),
            "sim" => Ok(Task::Sim(rest.to_vec())),
            "mutations" => mutations(rest),
            "explore" => Ok(Task::Explore(rest.to_vec())),
            "figures" => Ok(Task::Figures(rest.to_vec())),
            "fuzz" => fuzz(rest),
            "mutants" => Ok(Task::Mutants(rest.to_vec())),
            "bench" => Ok(bench(rest)),
            "run" => run(rest),
            "chaos" => Ok(Task::Chaos(rest.to_vec())),
            "limits" => Ok(Task::Limits(rest.to_vec())),
            "deb" => none(name, rest).map(|()| Task::Deb),
            "hosts" => Ok(Task::Hosts(rest.to_vec())),
            "man" => none(name, rest).map(|()| Task::Man),
            unknown => Err(Failure::Usage(format!("no task is called \"{unknown}\""))),
        }
    }

    /// Returns what the machine must have for this task; the simulator needs no RocksDB.
    pub(crate) fn needs(&self) -> &'static [Need] {
        match self {
            Task::Help => &[],
            Task::Sim(_) | Task::Museum(_) | Task::Explore(_) | Task::Figures(_) => &[Need::Rust],
            Task::Mutants(_) => &[Need::Rust, Need::Mutants],
            Task::Deb | Task::Hosts(_) => &[Need::Rust, Need::Compiler, Need::Libclang, Need::Deb],
            Task::Quickstart(_)
            | Task::Fuzz { .. }
            | Task::Bench(_)
            | Task::InProcess(_)
            | Task::Run(..)
            | Task::Limits(_)
            | Task::Chaos(_)
            | Task::Man => &[Need::Rust, Need::Compiler, Need::Libclang],
            Task::Verify { .. } | Task::Fix => {
                &[Need::Rust, Need::Rustfmt, Need::Clippy, Need::Compiler, Need::Libclang]
            }
        }
    }
}

/// Parses `bench [--in-process] [..]`: what is behind it is its driver's.
fn bench(rest: &[String]) -> Task {
    match rest.split_first() {
        Some((first, rest)) if first == "--in-process" => Task::InProcess(rest.to_vec()),
        Some(_) | None => Task::Bench(rest.to_vec()),
    }
}

/// Parses `mutations [NAME.. | --check]`.
fn mutations(rest: &[String]) -> Result<Task, Failure> {
    if rest == ["--check"] {
        return Ok(Task::Museum(Which::Check));
    }
    match rest.iter().find(|name| name.starts_with('-')) {
        None => Ok(Task::Museum(Which::Named(rest.to_vec()))),
        Some(flag) => {
            Err(Failure::Usage(format!("mutations takes names, or only --check, found \"{flag}\"")))
        }
    }
}

/// Parses `fuzz [TARGET..] [--seconds N]`.
fn fuzz(rest: &[String]) -> Result<Task, Failure> {
    let (mut targets, mut seconds) = (Vec::new(), FUZZ_SECONDS);
    let mut rest = rest.iter();
    while let Some(argument) = rest.next() {
        if argument == "--seconds" {
            let given = rest.next().and_then(|number| number.parse().ok());
            seconds = given.filter(|seconds| *seconds > 0).ok_or_else(|| {
                Failure::Usage("--seconds needs a number of seconds, at least 1".to_owned())
            })?;
        } else if argument.starts_with('-') {
            let why = format!("fuzz takes targets and --seconds N, found \"{argument}\"");
            return Err(Failure::Usage(why));
        } else {
            targets.push(argument.clone());
        }
    }
    Ok(Task::Fuzz { targets, seconds })
}

/// Parses `run NAME [..]`.
fn run(rest: &[String]) -> Result<Task, Failure> {
    let names = RUNS.join(", ");
    let Some((name, rest)) = rest.split_first() else {
        return Err(Failure::Usage(format!("run needs a name, one of {names}")));
    };
    match RUNS.into_iter().find(|known| known == name) {
        Some(known) => Ok(Task::Run(known, rest.to_vec())),
        None => Err(Failure::Usage(format!("nothing to run is called \"{name}\": {names}"))),
    }
}

/// Refuses arguments of a task that takes none.
fn none(task: &str, rest: &[String]) -> Result<(), Failure> {
    match rest.first() {
        None => Ok(()),
        Some(extra) => Err(Failure::Usage(format!("{task} takes no argument, found \"{extra}\""))),
    }
}

/// Parses `[--seeds N | --seeds=N]`.
fn parse_seeds(rest: &[String]) -> Result<u32, Failure> {
    let value = match rest {
        [] => return Ok(VERIFY_SEEDS),
        [flag, value] if flag == "--seeds" => value.as_str(),
        [flag] if flag == "--seeds" => {
            return Err(Failure::Usage("--seeds wants a number".to_owned()));
        }
        [joined] => joined.strip_prefix("--seeds=").ok_or_else(|| unexpected(joined))?,
        [first, ..] => return Err(unexpected(first)),
    };
    match value.parse() {
        Ok(seeds) if (1..=VERIFY_SEEDS_MAX).contains(&seeds) => Ok(seeds),
        _ => Err(Failure::Usage(format!(
            "--seeds wants a number from 1 to {VERIFY_SEEDS_MAX}, found \"{value}\""
        ))),
    }
}

fn unexpected(argument: &str) -> Failure {
    Failure::Usage(format!("verify takes only --seeds N, found \"{argument}\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Task, String> {
        let arguments: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Task::parse(&arguments).map_err(|failure| failure.to_string())
    }

    #[test]
    fn arguments_of_a_driver_pass_through_unread() {
        let expected = vec!["42".to_owned(), "--seeds".to_owned(), "7".to_owned()];
        assert_eq!(parse("sim 42 --seeds 7"), Ok(Task::Sim(expected)));
        let expected = Task::Chaos(vec!["--only".to_owned(), "kill".to_owned()]);
        assert_eq!(parse("chaos --only kill"), Ok(expected));
        let expected = Task::Bench(vec!["growth".to_owned(), "--quick".to_owned()]);
        assert_eq!(parse("bench growth --quick"), Ok(expected));
        assert_eq!(parse("quickstart --help"), Ok(Task::Quickstart(vec!["--help".to_owned()])));
    }

    #[test]
    fn verify_takes_a_bounded_number_of_seeds() {
        assert_eq!(parse("verify"), Ok(Task::Verify { seeds: VERIFY_SEEDS }));
        assert_eq!(parse("verify --seeds 5"), Ok(Task::Verify { seeds: 5 }));
        assert_eq!(parse("verify --seeds=5"), Ok(Task::Verify { seeds: 5 }));
        for wrong in ["--seeds", "--seeds 0", "--seeds=x", "--seeds 1000001", "--fast", "--a b c"] {
            assert!(parse(&format!("verify {wrong}")).is_err(), "{wrong} must be refused");
        }
    }

    #[test]
    fn an_unknown_task_is_named_in_the_error() {
        assert_eq!(parse("verfy"), Err("no task is called \"verfy\"".to_owned()));
        assert_eq!(parse(""), Err("no task named".to_owned()));
        assert_eq!(parse("fix now"), Err("fix takes no argument, found \"now\"".to_owned()));
    }

    #[test]
    fn a_run_has_a_known_name_and_takes_its_own_arguments() {
        let expected = Task::Run("catch-up", vec!["--entries".to_owned(), "7".to_owned()]);
        assert_eq!(parse("run catch-up --entries 7"), Ok(expected));
        for wrong in ["run", "run away"] {
            let why = parse(wrong).expect_err("no such run");
            assert!(RUNS.iter().all(|name| why.contains(name)), "{why}");
        }
    }

    #[test]
    fn a_benchmark_is_of_processes_or_within_one() {
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(parse("bench --quick"), Ok(Task::Bench(words("--quick"))));
        assert_eq!(parse("bench"), Ok(Task::Bench(Vec::new())));
        assert_eq!(parse("bench --in-process"), Ok(Task::InProcess(Vec::new())));
        let expected = Task::InProcess(words("--quick raft-rs"));
        assert_eq!(parse("bench --in-process --quick raft-rs"), Ok(expected));
    }

    #[test]
    fn mutations_takes_names_or_checks() {
        let named = Which::Named(vec!["B1".to_owned(), "C7".to_owned()]);
        assert_eq!(parse("mutations B1 C7"), Ok(Task::Museum(named)));
        assert_eq!(parse("mutations"), Ok(Task::Museum(Which::Named(Vec::new()))));
        assert_eq!(parse("mutations --check"), Ok(Task::Museum(Which::Check)));
        assert!(parse("mutations --check B1").is_err());
        assert!(parse("mutations --seeds 5").is_err());
    }

    #[test]
    fn only_tasks_that_build_rocksdb_ask_for_libclang() {
        assert!(!Task::Sim(Vec::new()).needs().contains(&Need::Libclang));
        assert!(Task::Quickstart(Vec::new()).needs().contains(&Need::Libclang));
        assert!(Task::Verify { seeds: 1 }.needs().contains(&Need::Clippy));
    }

    #[test]
    fn the_help_lists_every_task() {
        let proofs = "verify sim mutations explore figures limits chaos fuzz mutants";
        let names = proofs.split(' ').chain("quickstart fix bench run man".split(' '));
        for name in names.chain(["bench growth", "--in-process"]).chain(RUNS) {
            assert!(HELP.contains(name), "{name} is missing from the help");
        }
        assert!(HELP.contains(&format!("default {VERIFY_SEEDS}")));
    }
}
