//! The joint-consensus rule (§4.3): explored to its end at small scope. That it is needed is shown
//! by the bugs C7 in `museum/`, which the same search finds.

use simulator::explorer::{Budget, World, describe, exhaust};

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
    let world = World::changing(&[1, 2, 4], BOTH, 64).unwrap();
    let explored = exhaust(&world, 20_000, &mut |_| {});
    assert!(explored.trace.is_none(), "{}", describe(&explored.trace.unwrap()));
    assert!(explored.committed >= 3, "{} committed", explored.committed);
}

/// Explores all there is; returns how many entries are committed where most are.
fn breaks_nothing(target: &[u64], budget: Budget, states_min: usize) -> usize {
    let world = World::changing(target, budget, 64).unwrap();
    let explored = exhaust(&world, 1_000_000, &mut |_| {});
    assert!(explored.trace.is_none(), "{}", describe(&explored.trace.unwrap()));
    assert!(explored.states < 1_000_000, "that is not all");
    assert!(explored.states > states_min, "{} states", explored.states);
    explored.committed
}
