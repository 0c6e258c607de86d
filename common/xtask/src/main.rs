//! `cargo xtask`: the one entry point of the workspace.
//!
//! A newcomer types two commands, `cargo xtask quickstart` and `cargo xtask verify`; everything
//! else that a developer runs daily is here as well, so that nobody has to know which package or
//! profile a tool lives in. Each task first checks the machine ([`setup`]), then chooses a target
//! directory that outlives a fresh clone ([`target`]), because RocksDB takes up to 25 minutes to
//! compile, and only then calls cargo.
//!
//! # Architecture invariants
//!
//! - No dependencies: this must compile in seconds on a machine that has nothing but cargo.
//! - No knowledge of Raft, of RocksDB's options or of a cluster: tasks are names for cargo calls.
//! - Every cargo call is `--release`: a second profile would compile RocksDB a second time. Only
//!   the copy of a few crates in which known bugs are built ([`mutations`]) has a cheaper one: it
//!   holds no RocksDB.
//! - What decides is a pure function with tests; what touches the machine is a thin shell around
//!   it.

mod cargo;
mod deb;
mod failure;
mod fuzz;
mod machine;
mod mutants;
mod mutations;
mod probe;
mod progress;
mod rocksdb;
mod setup;
mod tally;
mod target;
mod task;
mod verify;

use crate::cargo::{BUILD, Binary, BuiltFrom, Cargo};
use crate::failure::Failure;
use crate::progress::say;
use crate::task::Task;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match Task::parse(&arguments).and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            for hint in failure.hints() {
                eprintln!("hint: {hint}");
            }
            ExitCode::from(failure.exit_code())
        }
    }
}

const QUICKSTART: Binary =
    Binary { built_from: BuiltFrom::Workspace, name: "quickstart", verb: None };
const BENCH: Binary = Binary { built_from: BuiltFrom::Workspace, name: "bench", verb: None };
const CHAOS: Binary = Binary { built_from: BuiltFrom::Workspace, name: "chaos", verb: None };
const HOSTS: Binary = Binary { built_from: BuiltFrom::Package("hosts"), name: "hosts", verb: None };
const MAN: Binary = Binary { built_from: BuiltFrom::Workspace, name: "man", verb: None };
const SIM: Binary = simulator("sim");
const EXPLORE: Binary = simulator("explore");
const FIGURES: Binary = simulator("figures");

/// The simulator needs no RocksDB, also to be built.
const fn simulator(verb: &'static str) -> Binary {
    Binary { built_from: BuiltFrom::Package("simulator"), name: "simulator", verb: Some(verb) }
}

const fn workspace(name: &'static str) -> Binary {
    Binary { built_from: BuiltFrom::Workspace, name, verb: None }
}

fn run(task: Task) -> Result<(), Failure> {
    if task == Task::Help {
        print!("{}", task::HELP);
        return Ok(());
    }
    setup::prepare(task.needs())?;
    let cargo = Cargo::new(target::choose_and_say());
    match task {
        Task::Help => Ok(()),
        Task::Quickstart(arguments) => build_and_become(&cargo, &QUICKSTART, &arguments),
        Task::Verify { seeds } => verify::run(&cargo, seeds),
        Task::Fix => fix(&cargo),
        Task::Sim(arguments) => build_and_become(&cargo, &SIM, &arguments),
        Task::Museum(which) => mutations::run(&cargo, which),
        Task::Explore(arguments) => build_and_become(&cargo, &EXPLORE, &arguments),
        Task::Figures(arguments) => build_and_become(&cargo, &FIGURES, &arguments),
        Task::Fuzz { targets, seconds } => fuzz::run(&cargo, &targets, seconds),
        Task::Mutants(arguments) => mutants::run(&cargo, &arguments),
        Task::Bench(arguments) => measure(&cargo, &BENCH, &arguments),
        Task::InProcess(arguments) => in_process(&cargo, &arguments),
        Task::Limits(arguments) => measure(&cargo, &workspace("limits"), &arguments),
        Task::Chaos(arguments) => measure(&cargo, &CHAOS, &arguments),
        Task::Run(name, arguments) => measure(&cargo, &workspace(name), &arguments),
        Task::Deb => deb::run(&cargo).map(drop),
        Task::Hosts(arguments) => hosts(&cargo, arguments),
        Task::Man => build_and_become(&cargo, &MAN, &[]),
    }
}

/// Builds a binary with cargo's progress in sight, then becomes it: Ctrl-C reaches it directly and
/// its exit code is ours.
fn build_and_become(cargo: &Cargo, binary: &Binary, arguments: &[String]) -> Result<(), Failure> {
    build(cargo, binary)?;
    cargo.become_binary(binary, arguments)
}

/// The same for what measures raftd and raftctl: these are built once more, as those who install
/// them do. With the features that tests ask for (tokio's `test-util`), reading the clock is
/// dearer, which cost puts of one client 6 %.
fn measure(cargo: &Cargo, binary: &Binary, arguments: &[String]) -> Result<(), Failure> {
    build(cargo, binary)?;
    say("building raftd and raftctl as they are installed (release)");
    let product = ["build", "--release", "--locked", "-p", "raftd", "-p", "raftctl"];
    cargo.run("build", &product)?;
    cargo.become_binary(binary, arguments)
}

/// What criterion measures; `cargo bench` compiles as `--release` does. Of the two, only the one
/// without RocksDB has the other implementations of Raft: with them, RocksDB would be compiled once
/// more.
fn in_process(cargo: &Cargo, arguments: &[String]) -> Result<(), Failure> {
    let bench = |package: &str, name: &str, features: &[&str]| {
        let mut all = vec!["bench", "--locked", "-p", package, "--bench", name];
        all.extend(features);
        all.push("--");
        all.extend(arguments.iter().map(String::as_str));
        cargo.run("bench", &all).map(drop)
    };
    bench("bench", "core", &["--features", "rivals"])?;
    rocksdb::announced(cargo.target_dir(), || bench("storage", "log", &[]))
}

/// Machines that boot, with the package that an operator would install.
fn hosts(cargo: &Cargo, arguments: Vec<String>) -> Result<(), Failure> {
    let package = deb::build(cargo)?;
    build(cargo, &HOSTS)?;
    let raftctl = cargo.built("raftctl");
    let shown = |path: &std::path::Path| path.display().to_string();
    let mut all = vec!["--deb".to_owned(), shown(&package)];
    all.extend(["--raftctl".to_owned(), shown(&raftctl)]);
    all.extend(arguments);
    cargo.become_binary(&HOSTS, &all)
}

/// What is built from the workspace runs raftd and raftctl, so these are built by the same call.
fn build(cargo: &Cargo, binary: &Binary) -> Result<(), Failure> {
    match binary.built_from {
        BuiltFrom::Package(package) => {
            let build = ["build", "--release", "--locked", "-p", package, "--bin", binary.name];
            cargo.run("build", &build)?;
        }
        BuiltFrom::Workspace => {
            say(&format!("building raftd, raftctl and {} (release)", binary.name));
            let programs = ["--bin", "raftd", "--bin", "raftctl", "--bin", binary.name];
            let build: Vec<&str> = BUILD.into_iter().chain(programs).collect();
            let took = rocksdb::announced(cargo.target_dir(), || cargo.run("build", &build))?;
            say(&format!("built in {}", progress::human(took)));
        }
    }
    Ok(())
}

/// Applies what clippy can mend, then formats: in this order, since a fix may leave lines too long.
fn fix(cargo: &Cargo) -> Result<(), Failure> {
    rocksdb::announced(cargo.target_dir(), || {
        cargo.run(
            "clippy --fix",
            &[
                "clippy",
                "--release",
                "--workspace",
                "--all-targets",
                "--fix",
                "--allow-dirty",
                "--allow-staged",
            ],
        )
    })?;
    cargo.run("fmt", &["fmt", "--all"]).map(drop)
}
