//! The explorer's command line: every order of events at small scope.

use std::io::IsTerminal as _;
use std::time::Instant;

use clap::Args;
use simulator::explorer::{
    Budget, World, breadth_first, describe, exhaust, minimise, random_walks,
};

use crate::say;

#[derive(Debug, Args)]
pub(crate) struct Explore {
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
    /// With --change: writes that clients ask for
    #[arg(long, default_value_t = 0, requires = "change")]
    proposals: u8,
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
    let Explore { timeouts, crashes, proposals, .. } = *args;
    let scope = Budget { timeouts, crashes, proposals, ..Budget::NONE };
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
        "voters 1, 2, 3 to {target:?}, {timeouts} timeouts, {crashes} crashes, {proposals} writes, \
         {} appends in flight, every message lost, late or repeated at will:\n{} distinct \
         states in {:.0} s, {bounded}",
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
pub(crate) fn explore(args: &Explore) -> bool {
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
