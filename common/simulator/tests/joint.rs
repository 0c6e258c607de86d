//! The joint-consensus rule (rule 5 of the design, §4.3): explored to its end at small scope, and
//! shown to be needed.
#![allow(clippy::unwrap_used)]

use simulator::Mutation;
use simulator::explorer::{Budget, World, describe, exhaust, minimise, random_walks};

/// Nothing but messages, each of them lost, late or repeated at will.
const MESSAGES: Budget =
    Budget { timeouts: 0, crashes: 0, proposals: 0, reads: 0, repeats: 0, drops: 0 };

/// One election besides.
const ELECTION: Budget = Budget { timeouts: 1, ..MESSAGES };

#[test]
fn a_replaced_voter_breaks_nothing_whatever_becomes_of_the_messages() {
    let world = World::changing(&[1, 2, 4], MESSAGES, None).unwrap();
    let explored = exhaust(&world, 1_000_000);
    assert!(explored.trace.is_none(), "{}", describe(&explored.trace.unwrap()));
    assert!(explored.states < 1_000_000, "that is not all");
    assert!(explored.states > 10_000, "{} states", explored.states);
    assert_eq!(explored.committed, 4, "the change comes to its end in some of them");
}

#[test]
fn a_voter_that_leaves_breaks_nothing_whatever_election_comes_in_between() {
    let world = World::changing(&[1, 2], ELECTION, None).unwrap();
    let explored = exhaust(&world, 1_000_000);
    assert!(explored.trace.is_none(), "{}", describe(&explored.trace.unwrap()));
    assert!(explored.states < 1_000_000, "that is not all");
    assert!(explored.states > 10_000, "{} states", explored.states);
}

#[test]
fn an_election_during_the_change_breaks_nothing_in_the_first_states() {
    let world = World::changing(&[1, 2, 4], ELECTION, None).unwrap();
    let explored = exhaust(&world, 20_000);
    assert!(explored.trace.is_none(), "{}", describe(&explored.trace.unwrap()));
    assert!(explored.committed >= 3, "{} committed", explored.committed);
}

#[test]
fn to_leave_a_joint_configuration_before_it_is_committed_loses_what_is_committed() {
    loses(Mutation::C7JointLeftEarly);
}

#[test]
fn to_count_under_one_half_loses_what_is_committed() {
    loses(Mutation::C7OneHalfCounted);
}

/// What one node has committed another leads without, or commits otherwise, within few steps.
fn loses(mutation: Mutation) {
    let world = World::changing(&[1, 2, 4], ELECTION, Some(mutation)).unwrap();
    let trace = random_walks(&world, 1, 20_000, 60).trace.unwrap();
    let least = minimise(&world, &trace);
    let text = describe(&least);
    let breaks = [
        "committed entries stay (§3.6)",
        "leaders have all that is committed (§3.6)",
        "committed is durable on a quorum (§3.6)",
    ];
    assert!(breaks.iter().any(|broken| least.broken.starts_with(broken)), "{text}");
    assert!(least.actions.len() <= 12, "{text}");
}
