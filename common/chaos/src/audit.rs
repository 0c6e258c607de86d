//! What log indexes tell of a history: each answered command names its place in the log.
//!
//! This finds at once what a search for an order finds only if somebody reads the right key: two
//! commands at one index are two histories, and a command behind another one in time is behind it
//! in the log, or the log was begun anew.

use std::collections::BTreeMap;

use crate::history::{Action, Operation, Outcome};

/// How many faults of one kind are told.
const TOLD_MAX: usize = 5;

/// Returns what is wrong with the places of commands in the log, a sentence each.
pub fn audit(history: &[Operation]) -> Vec<String> {
    let commands: Vec<(&Operation, u64)> = history.iter().filter_map(command).collect();
    let mut wrong = shared_places(&commands);
    wrong.extend(backward_places(&commands));
    wrong
}

/// Returns a command that was answered, and its index.
fn command(operation: &Operation) -> Option<(&Operation, u64)> {
    match (&operation.action, &operation.outcome) {
        (Action::Get, _) | (_, Outcome::Failed | Outcome::Unknown) => None,
        (
            Action::Put(_) | Action::Delete | Action::Swap { .. } | Action::Add(_),
            Outcome::Answered { index, .. },
        ) => Some((operation, *index)),
    }
}

fn shared_places(commands: &[(&Operation, u64)]) -> Vec<String> {
    let mut places: BTreeMap<u64, &Operation> = BTreeMap::new();
    let mut wrong = Vec::new();
    for (operation, index) in commands {
        if let Some(other) = places.insert(*index, operation) {
            let (one, two) = (other.line(), operation.line());
            wrong.push(format!("two commands were acknowledged at index {index}: {one} | {two}"));
        }
    }
    wrong.truncate(TOLD_MAX);
    wrong
}

fn backward_places(commands: &[(&Operation, u64)]) -> Vec<String> {
    let mut begun = commands.to_vec();
    begun.sort_by_key(|(operation, _)| operation.invoked_ns);
    let mut ended = commands.to_vec();
    ended.sort_by_key(|(operation, _)| operation.returned_ns);
    let mut ended = ended.into_iter().peekable();
    let mut highest: Option<(&Operation, u64)> = None;
    let mut wrong = Vec::new();
    for (operation, index) in begun {
        while let Some((earlier, at)) =
            ended.next_if(|(earlier, _)| earlier.returned_ns < operation.invoked_ns)
        {
            if highest.is_none_or(|(_, highest)| at > highest) {
                highest = Some((earlier, at));
            }
        }
        if let Some((earlier, at)) = highest
            && at >= index
        {
            wrong.push(format!(
                "index {index} was given after index {at} had been acknowledged: {} | {}",
                earlier.line(),
                operation.line()
            ));
        }
    }
    wrong.truncate(TOLD_MAX);
    wrong
}
