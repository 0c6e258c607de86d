//! The joint-consensus rule (rule 5 of the design, §4.3): explored to its end at small scope, and
//! shown to be needed.
#![allow(clippy::unwrap_used)]

use simulator::Mutation;
use simulator::explorer::{Budget, Explored, World, describe, exhaust, minimise, random_walks};

/// Nothing but messages, each of them lost, late or repeated at will.
const MESSAGES: Budget = Budget::NONE;

/// One election besides.
const ELECTION: Budget = Budget { timeouts: 1, ..MESSAGES };

/// One crash, with any part of the writes under way lost.
const CRASH: Budget = Budget { crashes: 1, ..MESSAGES };

/// One election and one crash, in any order.
const BOTH: Budget = Budget { crashes: 1, ..ELECTION };

#[test]
fn a_replaced_voter_breaks_nothing_whatever_becomes_of_the_messages() {
    assert_eq!(breaks_nothing(&[1, 2, 4], MESSAGES, 1_000), 4, "some see the change's end");
}

#[test]
fn a_replaced_voter_breaks_nothing_whoever_crashes_and_whatever_is_lost() {
    assert_eq!(breaks_nothing(&[1, 2, 4], CRASH, 20_000), 4, "some see the change's end");
}

#[test]
fn a_voter_that_leaves_breaks_nothing_whoever_crashes_and_campaigns_in_between() {
    assert!(breaks_nothing(&[1, 2], BOTH, 20_000) >= 4, "some see the change's end");
}

#[test]
fn an_election_during_the_change_breaks_nothing_in_the_first_states() {
    let world = World::changing(&[1, 2, 4], BOTH, 64, None).unwrap();
    let explored = exhaust(&world, 20_000, &mut |_| {});
    assert!(explored.trace.is_none(), "{}", describe(&explored.trace.unwrap()));
    assert!(explored.committed >= 3, "{} committed", explored.committed);
}

/// Explores all there is; returns how many entries are committed where most are.
fn breaks_nothing(target: &[u64], budget: Budget, states_min: usize) -> usize {
    let world = World::changing(target, budget, 64, None).unwrap();
    let explored = exhaust(&world, 1_000_000, &mut |_| {});
    assert!(explored.trace.is_none(), "{}", describe(&explored.trace.unwrap()));
    assert!(explored.states < 1_000_000, "that is not all");
    assert!(explored.states > states_min, "{} states", explored.states);
    explored.committed
}

#[test]
fn to_leave_a_joint_configuration_before_it_is_committed_loses_what_is_committed() {
    loses(Mutation::C7JointLeftEarly);
}

#[test]
fn to_count_under_one_half_loses_what_is_committed() {
    loses(Mutation::C7OneHalfCounted);
}

/// What one node has committed another leads without, or commits otherwise, within few steps: the
/// search that finds nothing with the rule finds it without, and so do walks at random.
fn loses(mutation: Mutation) {
    let world = World::changing(&[1, 2, 4], BOTH, 64, Some(mutation)).unwrap();
    is_lost(&world, &exhaust(&world, 1_000_000, &mut |_| {}));
    let world = World::changing(&[1, 2, 4], ELECTION, 64, Some(mutation)).unwrap();
    is_lost(&world, &random_walks(&world, 1, 20_000, 60));
}

fn is_lost(world: &World, explored: &Explored) {
    let least = minimise(world, explored.trace.as_ref().unwrap());
    let text = describe(&least);
    let breaks = [
        "committed entries stay (§3.6)",
        "leaders have all that is committed (§3.6)",
        "committed is durable on a quorum (§3.6)",
    ];
    assert!(breaks.iter().any(|broken| least.broken.starts_with(broken)), "{text}");
    assert!(least.actions.len() <= 12, "{text}");
}
