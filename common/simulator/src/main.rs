//! The simulator's command line.

use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::time::Instant;

use clap::{Args, Parser, Subcommand};
use simulator::explorer::{
    Budget, World, breadth_first, describe, exhaust, minimise, random_walks,
};
use simulator::{Coverage, Found, Kind, Met, Report, Settings, run, search};

/// A run of so many seeds must meet everything that there is to meet.
const ENOUGH_SEEDS: u64 = 2_000;

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
    Sim(Sim),
    /// Takes every order of events at small scope: breadth first, then random walks
    Explore(Explore),
}

#[derive(Debug, Args)]
struct Explore {
    /// Voters
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=5))]
    nodes: u8,
    /// Learners
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=2))]
    learners: u8,
    /// States to visit at most
    #[arg(long, default_value_t = 100_000)]
    states: usize,
    /// Explores to the end how voters 1, 2 and 3 give way to these, under the joint rule
    #[arg(long, value_name = "VOTERS", value_delimiter = ',')]
    change: Option<Vec<u64>>,
    /// With --change: elections, step-downs and heartbeats that the time allows
    #[arg(long, default_value_t = 1, requires = "change")]
    timeouts: u8,
    /// With --change: crashes that lose writes under way
    #[arg(long, default_value_t = 0, requires = "change")]
    crashes: u8,
    /// With --change: appends that a leader sends ahead of a follower's answers
    #[arg(long, default_value_t = 64, requires = "change")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    in_flight: u32,
    /// Random walks after that
    #[arg(long, default_value_t = 2_000)]
    walks: u64,
    /// Actions in each
    #[arg(long, default_value_t = 300)]
    length: usize,
    /// What the walks are drawn from
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(Debug, Args)]
struct Sim {
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
}

fn main() -> ExitCode {
    // Panics are violations: their words are reported with the seed.
    std::panic::set_hook(Box::new(|_| {}));
    let done = match Cli::parse().command {
        Command::Sim(sim) => match sim.seed {
            Some(seed) => replay(seed, &sim),
            None => simulate(&sim),
        },
        Command::Explore(args) => explore(&args),
    };
    if done { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn replay(seed: u64, sim: &Sim) -> bool {
    let settings = Settings { seconds: sim.seconds, trace: sim.trace };
    let outcome = run(seed, settings);
    say(&format!("seed {seed}  digest {:016x}\n{}", outcome.digest, met(&outcome.coverage, 1)));
    match outcome.violation {
        Some(violation) => {
            tell(&Found { seed, violation }, settings);
            false
        }
        None => {
            say("no violation");
            true
        }
    }
}

fn simulate(sim: &Sim) -> bool {
    let settings = Settings { seconds: sim.seconds, trace: false };
    let began = Instant::now();
    let terminal = std::io::stderr().is_terminal();
    let progress = |done: u64| {
        if terminal && done.is_multiple_of(20) {
            let each = began.elapsed().as_secs_f64() / done as f64;
            let left = each * (sim.seeds - done) as f64;
            eprint!("\rsimulator: {done} of {} seeds, {left:.0} s to go   ", sim.seeds);
        }
    };
    let report = search(sim.first, sim.seeds, settings, threads(sim.threads), progress);
    if terminal {
        eprintln!();
    }
    summary(&report, threads(sim.threads));
    match &report.found {
        Some(found) => {
            tell(found, settings);
            false
        }
        None => {
            say("no violation");
            says_enough(&report)
        }
    }
}

/// A long run in which some situation never came up does not count as passed.
fn says_enough(report: &Report) -> bool {
    let missing: Vec<&str> = report.coverage.missing().map(Met::text).collect();
    if report.seeds < ENOUGH_SEEDS || missing.is_empty() {
        return true;
    }
    say(&format!("never met in {} seeds: {}", report.seeds, missing.join("; ")));
    false
}

/// The searches that begin with a leader.
const LED: [(&str, Budget); 5] = [
    ("a leader", Budget::SMALL),
    ("a leader and two reads", Budget { proposals: 1, reads: 2, ..Budget::NONE }),
    ("a leader that hands over", Budget { proposals: 1, transfers: 1, ..Budget::NONE }),
    (
        "a leader and a snapshot",
        Budget { timeouts: 1, proposals: 1, compactions: 1, ..Budget::NONE },
    ),
    ("a leader and a change", Budget { timeouts: 1, changes: 1, ..Budget::NONE }),
];
/// Walks that begin with a leader, in which little happens: what happens, meets.
const FEW: [(&str, Budget); 3] = [
    ("a few reads", Budget { timeouts: 2, proposals: 2, reads: 3, repeats: 4, ..Budget::NONE }),
    ("a few changes", Budget { timeouts: 2, changes: 2, drops: 2, ..Budget::NONE }),
    (
        "a few snapshots",
        Budget { timeouts: 4, changes: 3, compactions: 2, drops: 6, ..Budget::NONE },
    ),
];

/// Explores a change of members to its end; says whether nothing is broken, and that is all.
fn explore_change(args: &Explore, target: &[u64]) -> bool {
    let (timeouts, crashes) = (args.timeouts, args.crashes);
    let scope = Budget { timeouts, crashes, ..Budget::NONE };
    let world = match World::changing(target, scope, args.in_flight) {
        Ok(world) => world,
        Err(why) => {
            say(&format!("the change cannot begin: {why}"));
            return false;
        }
    };
    let began = Instant::now();
    let terminal = std::io::stderr().is_terminal();
    let explored = exhaust(&world, args.states, &mut |states| {
        if terminal {
            eprint!("\rexplorer: {states} states, {:.0} s   ", began.elapsed().as_secs_f64());
        }
    });
    if terminal {
        eprintln!();
    }
    let bounded = match &explored.trace {
        Some(_) => "until it was found",
        None if explored.states >= args.states => "bounded by --states",
        None => "complete: all there are at this scope",
    };
    say(&format!(
        "voters 1, 2, 3 to {target:?}, {timeouts} timeouts, {crashes} crashes, {} appends in \
         flight, every message lost, late or repeated at will:\n{} distinct states in {:.0} s, \
         {bounded}",
        args.in_flight,
        explored.states,
        began.elapsed().as_secs_f64()
    ));
    match explored.trace {
        Some(trace) => {
            let least = minimise(&world, &trace);
            say(&format!("found; none of these actions is superfluous:\n{}", describe(&least)));
            false
        }
        None => explored.states < args.states,
    }
}

/// Says whether nothing is broken.
fn explore(args: &Explore) -> bool {
    if let Some(target) = &args.change {
        return explore_change(args, target);
    }
    let (voters, learners) = (usize::from(args.nodes), usize::from(args.learners));
    let world = |budget| World::new(voters, learners, budget);
    let led = LED.into_iter().map(|(from, scope)| (from, world(scope).led()));
    for (from, start) in [("the beginning", Ok(world(Budget::SMALL)))].into_iter().chain(led) {
        match start {
            Ok(start) if is_found(from, &start, args.states) => return false,
            Ok(_) => {}
            Err(broken) => {
                say(&format!("found on the way to {from}: {broken}"));
                return false;
            }
        }
    }
    let few = FEW.into_iter().filter_map(|(who, scope)| Some((who, world(scope).led().ok()?)));
    let many =
        [("clients", world(Budget::LARGE)), ("clients and operators", world(Budget::OPERATED))];
    !few.chain(many).any(|(who, start)| is_met(who, &start, args))
}

/// Searches breadth first; says whether something is broken.
fn is_found(from: &str, start: &World, states: usize) -> bool {
    let broad = breadth_first(start, states);
    let bounded = match &broad.trace {
        Some(_) => "until it was found",
        None if broad.states >= states => "bounded by --states",
        None => "all there are at this scope",
    };
    say(&format!(
        "breadth first from {from}: {} distinct states, {} actions deep, {bounded}",
        broad.states, broad.depth
    ));
    if let Some(trace) = &broad.trace {
        say(&format!("found, and no shorter trace exists:\n{}", describe(trace)));
    }
    broad.trace.is_some()
}

/// Walks at random; says whether something is broken.
fn is_met(who: &str, start: &World, args: &Explore) -> bool {
    let walked = random_walks(start, args.seed, args.walks, args.length);
    let (walks, length) = (args.walks, args.length);
    match &walked.trace {
        Some(trace) => {
            let least = minimise(start, trace);
            let long = trace.actions.len();
            say(&format!(
                "random walks with {who}: found after {long} actions; of these, none is \
                 superfluous:\n{}",
                describe(&least)
            ));
        }
        None => {
            say(&format!("random walks with {who}: {walks} of {length} actions, no violation"));
        }
    }
    walked.trace.is_some()
}

fn summary(report: &Report, threads: usize) {
    let took = report.took.as_secs_f64();
    let core = took * threads as f64;
    let ratio = report.virtual_ns as f64 / 1e9 / core;
    let rate = report.coverage.events as f64 / core;
    say(&format!(
        "{} seeds, {:.1} virtual hours in {took:.1} s on {threads} threads: {ratio:.0}x real time \
         and {rate:.0} events/s a core\n{}",
        report.seeds,
        report.virtual_ns as f64 / 3.6e12,
        met(&report.coverage, report.seeds)
    ));
}

/// A line for each thing that may be met.
fn met(coverage: &Coverage, seeds: u64) -> String {
    let mut text = String::new();
    for (kind, title) in
        [(Kind::Fault, "faults"), (Kind::Event, "what happened"), (Kind::Situation, "situations")]
    {
        writeln!(text, "{title}:").expect("a string takes everything");
        for met in Met::ALL.iter().filter(|met| met.kind() == kind) {
            let count = coverage.count(*met);
            writeln!(text, "{count:>10}  {}", met.text()).expect("a string takes everything");
        }
    }
    let (elect, serve) = coverage.recovery_ms_max;
    let each = |count: u64| count as f64 / seeds as f64;
    text + &format!(
        "a seed has {:.0} faults of {:.1} kinds, those of single messages not counted as faults\n\
         a healed core led after {elect} ms and agreed after {serve} ms, at the latest",
        each(coverage.faults()),
        each(coverage.classes)
    )
}

fn tell(found: &Found, settings: Settings) {
    let Found { seed, violation } = found;
    say(&format!(
        "VIOLATION in seed {seed} after {} events, at {:.6} virtual s\n  invariant: {}\n  \
         seen:      {}\n  replay:    cargo xtask sim {seed} --seconds {} --trace",
        violation.step,
        violation.at_ns as f64 / 1e9,
        violation.invariant,
        violation.why,
        settings.seconds
    ));
}

fn threads(wanted: Option<usize>) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    wanted.unwrap_or(cores).max(1)
}

fn say(text: &str) {
    // Whoever closed the pipe has read enough.
    let _ = std::io::Write::write_all(&mut std::io::stdout(), format!("{text}\n").as_bytes());
}
