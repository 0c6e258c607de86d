//! The explorer finds nothing in the core as it is, and short traces of bugs built into it.
#![allow(clippy::unwrap_used)]

use consensus::Mutation;
use simulator::explorer::{Budget, World, breadth_first, describe, minimise, random_walks, replay};

const SMALL: Budget =
    Budget { timeouts: 2, crashes: 1, proposals: 1, reads: 1, repeats: 1, drops: 0 };
const LARGE: Budget =
    Budget { timeouts: 40, crashes: 6, proposals: 6, reads: 6, repeats: 10, drops: 20 };

/// Random walks until the bug shows, and the same break with nothing superfluous before it.
fn walks_find(mutation: Mutation, learners: usize, invariant: &str) {
    let world = World::new(3, learners, LARGE, Some(mutation));
    let found = random_walks(&world, 1, 2_000, 300).trace;
    let found = found.unwrap_or_else(|| panic!("{} is not found", mutation.name()));
    let least = minimise(&world, &found);
    assert!(least.broken.starts_with(invariant), "{}\n{}", mutation.name(), describe(&least));
    assert_eq!(replay(&world, &least.actions).as_ref(), Some(&least), "it replays exactly");
    for superfluous in 0..least.actions.len() {
        let mut fewer = least.actions.clone();
        fewer.remove(superfluous);
        let still = replay(&world, &fewer).is_some_and(|other| other.broken == least.broken);
        assert!(!still, "action {} is superfluous\n{}", superfluous + 1, describe(&least));
    }
}

/// Breadth first: no shorter trace exists, for all shorter ones were taken.
fn breadth_first_finds(mutation: Mutation, actions: usize, invariant: &str) {
    let world = World::new(3, 0, SMALL, Some(mutation));
    let trace = breadth_first(&world, 200_000).trace.unwrap();
    let text = describe(&trace);
    assert!(trace.broken.starts_with(invariant), "{text}");
    assert_eq!(trace.actions.len(), actions, "{text}");
    assert_eq!(replay(&world, &trace.actions), Some(trace), "{text}");
}

#[test]
fn breadth_first_breaks_nothing_in_the_core_as_it_is() {
    for (learners, world) in [
        (0, World::new(3, 0, SMALL, None)),
        (0, World::new(3, 0, SMALL, None).led().unwrap()),
        (1, World::new(3, 1, SMALL, None).led().unwrap()),
    ] {
        let led = world.committed() > 0;
        let explored = breadth_first(&world, 20_000);
        assert!(explored.trace.is_none(), "{}", describe(&explored.trace.unwrap()));
        assert!(explored.states >= 20_000, "{learners} learners: {} states", explored.states);
        assert!(explored.committed >= if led { 3 } else { 0 }, "a proposal is committed");
    }
}

#[test]
fn random_walks_break_nothing_in_the_core_as_it_is() {
    for (voters, learners) in [(3, 0), (3, 2), (5, 0)] {
        let walked = random_walks(&World::new(voters, learners, LARGE, None), 7, 1_000, 300);
        assert!(walked.trace.is_none(), "{}", describe(&walked.trace.unwrap()));
        assert!(walked.committed >= 4, "{voters} voters: {} committed", walked.committed);
    }
}

#[test]
fn the_shortest_trace_of_a_campaign_before_it_is_durable() {
    let promises = "promises are durable (§3.8)";
    breadth_first_finds(Mutation::A0CampaignBeforeDurable, 3, promises);
}

#[test]
fn the_shortest_trace_of_a_vote_before_it_is_durable() {
    let promises = "promises are durable (§3.8)";
    breadth_first_finds(Mutation::A11VoteSentBeforeDurable, 5, promises);
}

#[test]
fn a_short_trace_of_an_entry_of_an_earlier_term_that_is_counted() {
    let counts = "a leader counts entries of its own term only (§3.6.2)";
    walks_find(Mutation::B1OldTermsCounted, 0, counts);
}

#[test]
fn a_short_trace_of_a_stale_read_before_the_own_term() {
    walks_find(Mutation::F1ReadBeforeOwnTerm, 0, "reads are not stale (§6.4)");
}

#[test]
fn a_short_trace_of_stale_votes_that_are_counted() {
    walks_find(Mutation::A7StaleVotesCounted, 0, "one leader a term (§3.4)");
}

#[test]
fn a_short_trace_of_a_match_that_moves_back() {
    walks_find(Mutation::B7MatchRegresses, 0, "match never moves back (§3.5)");
}
