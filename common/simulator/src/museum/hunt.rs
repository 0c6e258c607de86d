//! Searches for a bug that is built into the sources that this is compiled with.

use super::head::{Bug, How, Scope, Search, Start};
use crate::explorer::{
    Explored, Trace, World, breadth_first, describe, exhaust, minimise, random_walks, replay,
};
use crate::run::{Violation, run, shorten_failure};
use crate::settings::Settings;

/// The most states that a search visits.
const STATES_MAX: usize = 1_000_000;

/// The most appends that a leader sends ahead of a follower's answers.
const IN_FLIGHT: u32 = 64;

/// Events that are repeated to make a failure short.
const SHORTEN_EVENTS: u64 = 1_500_000;

/// What a search has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hunted {
    /// Where: the seed, or how many actions led there.
    pub place: String,
    /// What is broken.
    pub broken: String,
    /// Of a seed: after how many events, and after how many of them when it is made short.
    pub events: Option<(u64, u64)>,
}

/// Searches in each way that the bug names.
///
/// # Errors
/// The first search that does not find it, and why.
pub fn hunt(bug: &Bug) -> Result<Vec<Hunted>, String> {
    bug.searches.iter().map(find).collect()
}

fn find(search: &Search) -> Result<Hunted, String> {
    match &search.how {
        How::Seeds(seeds) => find_seed(*seeds, &search.falls),
        How::Breadth(scope) => {
            let world = world(scope)?;
            judge(&world, scope, &search.falls, &breadth_first(&world, STATES_MAX))
        }
        How::Walks(scope) => {
            let world = world(scope)?;
            let walked = random_walks(&world, 1, scope.walks, scope.length);
            judge(&world, scope, &search.falls, &walked)
        }
        How::Exhaust(scope) => {
            let world = world(scope)?;
            judge(&world, scope, &search.falls, &exhaust(&world, STATES_MAX, &mut |_| {}))
        }
    }
}

/// Runs seeds until one breaks what must fall. What else breaks does not count.
fn find_seed(seeds: u64, falls: &[String]) -> Result<Hunted, String> {
    let mut others = 0;
    let mut other = String::new();
    for seed in 1..=seeds {
        let Some(violation) = run(seed, Settings::default()).violation else {
            continue;
        };
        if let Some(broken) = fall(falls, &violation) {
            let is_same = |other: &Violation| fall(falls, other) == Some(broken);
            let short = shorten_failure(seed, Settings::default(), SHORTEN_EVENTS, is_same);
            let events = short.map_or(violation.step, |short| short.violation.step);
            let events = Some((violation.step, events));
            let (place, broken) = (format!("seed {seed}"), broken.to_owned());
            return Ok(Hunted { place, broken, events });
        }
        if others == 0 {
            other = format!(" ({}: {})", violation.invariant, violation.why);
        }
        others += 1;
    }
    Err(format!("not found in {seeds} seeds; {others} of them break something else{other}"))
}

fn world(scope: &Scope) -> Result<World, String> {
    let world = match &scope.start {
        Start::Started { voters, learners } => World::new(*voters, *learners, scope.budget),
        Start::Led { voters, learners } => World::new(*voters, *learners, scope.budget).led()?,
        Start::Changing(target) => World::changing(target, scope.budget, IN_FLIGHT)?,
    };
    Ok(world.keeping_stale_answers())
}

/// Says whether the trace breaks what must fall, replays, and is as short as it must be.
fn judge(
    world: &World,
    scope: &Scope,
    falls: &[String],
    explored: &Explored,
) -> Result<Hunted, String> {
    let Some(trace) = &explored.trace else {
        return Err(format!("not found in {} states or {} walks", explored.states, scope.walks));
    };
    let least = minimise(world, trace);
    let text = describe(&least);
    let Some(fall) = named(falls, &least.broken) else {
        return Err(format!("something else breaks:\n{text}"));
    };
    if replay(world, &least.actions).as_ref() != Some(&least) {
        return Err(format!("it does not replay:\n{text}"));
    }
    if least.actions.len() > scope.actions_max {
        return Err(format!("it takes {} actions:\n{text}", least.actions.len()));
    }
    if let Some(place) = superfluous(world, &least) {
        return Err(format!("action {} is superfluous:\n{text}", place + 1));
    }
    let (place, broken) = (format!("{} actions", least.actions.len()), fall.to_owned());
    Ok(Hunted { place, broken, events: None })
}

/// Returns what must fall, if a violation breaks that.
fn fall<'a>(falls: &'a [String], violation: &Violation) -> Option<&'a str> {
    [&violation.invariant, &violation.why].into_iter().find_map(|words| named(falls, words))
}

/// Returns what must fall, if that is what these words say is broken.
fn named<'a>(falls: &'a [String], words: &str) -> Option<&'a str> {
    falls.iter().map(String::as_str).find(|fall| words.starts_with(fall))
}

/// Returns an action without which the same breaks.
fn superfluous(world: &World, trace: &Trace) -> Option<usize> {
    (0..trace.actions.len()).find(|place| {
        let mut fewer = trace.actions.clone();
        fewer.remove(*place);
        replay(world, &fewer).is_some_and(|other| other.broken == trace.broken)
    })
}
