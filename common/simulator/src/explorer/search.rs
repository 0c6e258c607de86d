//! Searches: breadth first for the shortest trace, random walks for depth, and taking actions out
//! of a long trace until none is superfluous.

use std::collections::{HashSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::action::Action;
use super::key::whole;
use super::world::World;

/// A way to a broken invariant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// What happens, in order.
    pub actions: Vec<Action>,
    /// The invariant, and how it is broken.
    pub broken: String,
}

/// What a search gave.
#[derive(Clone, Debug, Default)]
pub struct Explored {
    /// Different states that were reached.
    pub states: usize,
    /// Steps of the longest way among them.
    pub depth: usize,
    /// The most entries committed in any state: a search that commits nothing shows little.
    pub committed: usize,
    /// A way to a broken invariant, if one was found.
    pub trace: Option<Trace>,
}

/// Visits states in the order of their distance, until one is broken or `states_max` are known.
pub fn breadth_first(start: &World, states_max: usize) -> Explored {
    let mut known = HashSet::from([whole(&mut start.clone())]);
    // Each state with its parent's place and the action that led there.
    let mut ways: Vec<(usize, Option<Action>)> = vec![(0, None)];
    let mut open = VecDeque::from([(0, 0, start.clone())]);
    let mut explored = Explored { states: 1, ..Explored::default() };
    while let Some((place, depth, world)) = open.pop_front() {
        explored.depth = explored.depth.max(depth);
        for action in world.actions() {
            let mut next = world.clone();
            match step(&mut next, &action) {
                Ok(false) => {}
                Ok(true) => {
                    explored.committed = explored.committed.max(next.oracle.committed());
                    if known.insert(whole(&mut next)) {
                        ways.push((place, Some(action)));
                        open.push_back((ways.len() - 1, depth + 1, next));
                    }
                }
                Err(broken) => {
                    let mut actions = vec![action];
                    let mut at = place;
                    while let (parent, Some(action)) = &ways[at] {
                        actions.push(action.clone());
                        at = *parent;
                    }
                    actions.reverse();
                    explored.states = known.len();
                    explored.trace = Some(Trace { actions, broken });
                    return explored;
                }
            }
        }
        explored.states = known.len();
        if known.len() >= states_max {
            return explored;
        }
    }
    explored
}

/// Walks at random up to `walks` times, `depth` steps each, until one breaks something. States
/// are not told apart, so their number stays 0.
pub fn random_walks(start: &World, seed: u64, walks: u64, depth: usize) -> Explored {
    let mut rng = seed;
    let mut explored = Explored::default();
    for _ in 0..walks {
        let mut world = start.clone();
        let mut actions = Vec::new();
        for _ in 0..depth {
            let choices = world.actions();
            if choices.is_empty() {
                break;
            }
            let action = choices[draw(&mut rng, choices.len())].clone();
            actions.push(action.clone());
            if let Err(broken) = step(&mut world, &action) {
                explored.trace = Some(Trace { actions, broken });
                return explored;
            }
            explored.depth = explored.depth.max(actions.len());
            explored.committed = explored.committed.max(world.oracle.committed());
        }
    }
    explored
}

/// Takes actions out while the same invariant still breaks: in halves, quarters, then one by one,
/// until none is superfluous (delta debugging, Zeller 1999).
pub fn minimise(start: &World, trace: &Trace) -> Trace {
    let mut best = trace.clone();
    let mut chunk = best.actions.len().div_ceil(2).max(1);
    loop {
        let (mut at, before) = (0, best.actions.len());
        while at < best.actions.len() {
            let mut fewer = best.actions.clone();
            fewer.drain(at..(at + chunk).min(fewer.len()));
            match replay(start, &fewer) {
                Some(shorter) if same(&shorter.broken, &trace.broken) => best = shorter,
                Some(_) | None => at += chunk,
            }
        }
        if chunk == 1 && best.actions.len() == before {
            return best;
        }
        chunk = (chunk / 2).max(1);
    }
}

/// Takes the actions in order, leaving out what cannot happen; returns the trace up to the break.
pub fn replay(start: &World, actions: &[Action]) -> Option<Trace> {
    let mut world = start.clone();
    let mut taken = Vec::new();
    for action in actions {
        match step(&mut world, action) {
            Ok(true) => taken.push(action.clone()),
            Ok(false) => {}
            Err(broken) => {
                taken.push(action.clone());
                return Some(Trace { actions: taken, broken });
            }
        }
    }
    None
}

/// Two breaks are of one kind if they name the same invariant.
fn same(one: &str, other: &str) -> bool {
    one.split(':').next() == other.split(':').next()
}

/// Takes an action; the core's own checks count as broken invariants.
pub(super) fn step(world: &mut World, action: &Action) -> Result<bool, String> {
    catch_unwind(AssertUnwindSafe(|| world.take(action))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        Err(format!("the core's own checks: {}", text.unwrap_or("a panic")))
    })
}

/// SplitMix64.
fn draw(rng: &mut u64, bound: usize) -> usize {
    *rng = rng.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut mixed = *rng;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    usize::try_from((mixed ^ (mixed >> 31)) % bound as u64).expect("it is below a usize")
}
