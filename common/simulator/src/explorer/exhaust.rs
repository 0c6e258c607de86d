//! The search to the end: all states that can be reached, but for those that another one covers.
//!
//! Where letters stay under way for ever, of two states whose nodes agree the one with more letters
//! covers the other: whatever may follow in the other may follow in it, action by action. So only
//! the greatest sets of letters are kept for what the nodes, the budget and the oracle are, and a
//! delivery that changes nothing but for letters in answer is taken at once.

use std::collections::HashMap;
use std::sync::Arc;

use super::action::Action;
use super::digest::hash;
use super::key::key;
use super::search::{Explored, Trace, step};
use super::world::{Posted, World};

/// How often a search tells how far it is.
const PROGRESS_STATES: usize = 20_000;

/// Visits every state that can be reached, in whatever order needs least memory, until one is
/// broken or `states_max` were visited: fewer states than that mean that there are no more. Tells
/// `progress` now and then how many there were.
pub fn exhaust(start: &World, states_max: usize, progress: &mut dyn FnMut(usize)) -> Explored {
    let mut search = Search::default();
    let mut explored = Explored::default();
    let mut path: Vec<Action> = Vec::new();
    // The states on the way here.
    let mut open: Vec<Open> = search.enter(start.clone(), 0).into_iter().collect();
    while let Some(frame) = open.last_mut() {
        let Some(action) = frame.todo.pop() else {
            open.pop();
            path.truncate(open.last().map_or(0, |frame| frame.way));
            continue;
        };
        if let Some(answers) = search.idle(&frame.world, &action) {
            search.grow(frame, &answers, action, &mut path);
            continue;
        }
        let mut next = frame.world.clone();
        next.posted.clear();
        match step(&mut next, &action) {
            Ok(false) => {}
            Ok(true) => {
                explored.committed = explored.committed.max(next.oracle.committed());
                if let Some(answers) = search.learn(frame, &mut next, &action) {
                    search.grow(frame, &answers, action, &mut path);
                } else if let Some(next) = search.enter(next, path.len() + 1) {
                    path.push(action);
                    open.push(next);
                    if search.states.is_multiple_of(PROGRESS_STATES) {
                        progress(search.states);
                    }
                }
                explored.depth = explored.depth.max(path.len());
                explored.states = search.states;
                if explored.states >= states_max {
                    return explored;
                }
            }
            Err(broken) => {
                path.push(action);
                explored.trace = Some(Trace { actions: path, broken });
                return explored;
            }
        }
    }
    explored
}

/// A state on the way.
struct Open {
    world: World,
    /// The identity of all but the letters.
    key: u64,
    /// What is still to be tried.
    todo: Vec<Action>,
    /// Steps up to here.
    way: usize,
}

/// What is known of all states so far.
#[derive(Default)]
struct Search {
    /// States that were entered.
    states: usize,
    /// The greatest sets of letters, by the identity of all but the letters.
    known: HashMap<u64, Vec<Letters>>,
    /// The places of letters in sets of them, by their numbers.
    places: HashMap<u64, usize>,
    /// The answers to letters that change nothing at a node in some state.
    idle: HashMap<(u64, u64), Answers>,
}

/// What a node says to a letter.
type Answers = Arc<[Arc<Posted>]>;

impl Search {
    /// Returns a state for a visit, if no other covers it.
    fn enter(&mut self, mut world: World, way: usize) -> Option<Open> {
        let key = key(&mut world);
        let letters = self.letters(&world);
        let known = self.known.get(&key).into_iter().flatten();
        if known.into_iter().any(|other| other.covers(&letters)) {
            return None;
        }
        self.keep(key, letters);
        self.states += 1;
        let todo = world.actions();
        Some(Open { world, key, todo, way })
    }

    /// Returns the answers to a delivery that is known to do nothing else.
    fn idle(&self, world: &World, action: &Action) -> Option<Answers> {
        self.idle.get(&delivery(world, action)?).cloned()
    }

    /// Returns the answers if an action did nothing else, and notes it.
    fn learn(&mut self, before: &Open, after: &mut World, action: &Action) -> Option<Answers> {
        let delivery = delivery(&before.world, action)?;
        if key(after) != before.key {
            return None;
        }
        let answers: Answers = after.posted.as_slice().into();
        self.idle.insert(delivery, Arc::clone(&answers));
        Some(answers)
    }

    /// Takes an action that only adds letters to a state, unless they are all there.
    fn grow(&mut self, open: &mut Open, answers: &Answers, action: Action, path: &mut Vec<Action>) {
        let before = open.todo.len();
        for posted in &**answers {
            if open.world.take_in(posted) {
                open.todo.push(Action::Deliver(posted.letter.clone()));
            }
        }
        if open.todo.len() > before {
            path.push(action);
            open.way = path.len();
            let letters = self.letters(&open.world);
            self.keep(open.key, letters);
        }
    }

    fn keep(&mut self, key: u64, letters: Letters) {
        let known = self.known.entry(key).or_default();
        known.retain(|other| !letters.covers(other));
        known.push(letters);
    }

    fn letters(&mut self, world: &World) -> Letters {
        let mut letters = Letters::default();
        for posted in &world.letters {
            let next = self.places.len();
            letters.insert(*self.places.entry(posted.number).or_insert(next));
        }
        letters
    }
}

/// A delivery in numbers: the state of the receiver, and the letter.
fn delivery(world: &World, action: &Action) -> Option<(u64, u64)> {
    let Action::Deliver(letter) = action else {
        return None;
    };
    Some((world.nodes[letter.to].key?, hash(letter)))
}

/// A set of letters, a bit each.
#[derive(Default)]
struct Letters(Vec<u64>);

impl Letters {
    fn insert(&mut self, place: usize) {
        let word = place / 64;
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << (place % 64);
    }

    fn covers(&self, other: &Self) -> bool {
        let word = |at: usize| self.0.get(at).copied().unwrap_or(0);
        other.0.iter().enumerate().all(|(at, bits)| bits & !word(at) == 0)
    }
}
