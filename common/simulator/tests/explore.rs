//! The explorer finds nothing in the core as it is, and short traces of bugs built into it.
#![allow(clippy::unwrap_used)]

use consensus::Mutation;
use simulator::explorer::{
    Budget, Trace, World, breadth_first, describe, minimise, random_walks, replay,
};

const SMALL: Budget = Budget {
    timeouts: 2,
    crashes: 1,
    proposals: 1,
    reads: 1,
    transfers: 1,
    repeats: 1,
    ..Budget::NONE
};
const LARGE: Budget = Budget {
    timeouts: 40,
    crashes: 6,
    proposals: 6,
    reads: 3,
    repeats: 10,
    drops: 20,
    ..Budget::NONE
};
/// What operators do besides, and compactions.
const OPERATED: Budget = Budget { transfers: 4, changes: 6, compactions: 6, ..LARGE };

/// Random walks until the bug shows, and the same break with nothing superfluous before it.
fn walks_find(mutation: Mutation, learners: usize, invariant: &str) {
    shows(&World::new(3, learners, LARGE, Some(mutation)), invariant);
}

/// The same from a leader of three voters and a learner, within so many actions.
fn is_shown(mutation: Mutation, scope: Budget, actions_max: usize, invariant: &str) {
    let world = World::new(3, 1, scope, Some(mutation)).led().unwrap();
    let least = shows(&world, invariant);
    assert!(least.actions.len() <= actions_max, "{}", describe(&least));
}

fn shows(world: &World, invariant: &str) -> Trace {
    let found = random_walks(world, 1, 2_000, 300).trace.expect("it shows");
    let least = minimise(world, &found);
    assert!(least.broken.starts_with(invariant), "{}", describe(&least));
    assert_eq!(replay(world, &least.actions).as_ref(), Some(&least), "it replays exactly");
    for superfluous in 0..least.actions.len() {
        let mut fewer = least.actions.clone();
        fewer.remove(superfluous);
        let still = replay(world, &fewer).is_some_and(|other| other.broken == least.broken);
        assert!(!still, "action {} is superfluous\n{}", superfluous + 1, describe(&least));
    }
    least
}

/// Breadth first: no shorter trace exists, for all shorter ones were taken.
fn breadth_first_finds(mutation: Mutation, actions: usize, invariant: &str) {
    let world = World::new(3, 0, SMALL, Some(mutation));
    shortest(&world, actions, invariant);
}

fn shortest(world: &World, actions: usize, invariant: &str) {
    let trace = breadth_first(world, 200_000).trace.unwrap();
    let text = describe(&trace);
    assert!(trace.broken.starts_with(invariant), "{text}");
    assert_eq!(trace.actions.len(), actions, "{text}");
    assert_eq!(replay(world, &trace.actions), Some(trace), "{text}");
}

#[test]
fn breadth_first_breaks_nothing_in_the_core_as_it_is() {
    for (learners, world) in [
        (0, World::new(3, 0, SMALL, None)),
        (0, World::new(3, 0, SMALL, None).led().unwrap()),
        (1, World::new(3, 1, SMALL, None).led().unwrap()),
    ] {
        let led = world.committed() > 0;
        let explored = breadth_first(&world, 60_000);
        assert!(explored.trace.is_none(), "{}", describe(&explored.trace.unwrap()));
        assert!(explored.states >= 20_000, "{learners} learners: {} states", explored.states);
        assert!(explored.committed >= if led { 3 } else { 0 }, "a proposal is committed");
    }
}

#[test]
fn random_walks_break_nothing_in_the_core_as_it_is() {
    let world = |voters, learners| World::new(voters, learners, LARGE, None);
    for world in [world(3, 0), world(3, 2), world(5, 0).led().unwrap()] {
        let walked = random_walks(&world, 7, 1_000, 300);
        assert!(walked.trace.is_none(), "{}", describe(&walked.trace.unwrap()));
        assert!(walked.committed >= 4, "{} committed", walked.committed);
    }
}

#[test]
fn what_operators_ask_for_breaks_nothing_in_the_core_as_it_is() {
    for (voters, learners) in [(3, 1), (4, 2)] {
        let world = World::new(voters, learners, OPERATED, None).led().unwrap();
        let walked = random_walks(&world, 7, 1_000, 300);
        assert!(walked.trace.is_none(), "{}", describe(&walked.trace.unwrap()));
        assert!(walked.committed >= 4, "{voters} voters: {} committed", walked.committed);
    }
    let scope = Budget { timeouts: 1, proposals: 1, ..Budget::NONE };
    for scope in [
        Budget { reads: 2, ..scope },
        Budget { transfers: 1, ..scope },
        Budget { changes: 1, ..scope },
        Budget { compactions: 1, drops: 1, ..scope },
    ] {
        let explored = breadth_first(&World::new(3, 1, scope, None).led().unwrap(), 20_000);
        assert!(explored.trace.is_none(), "{}", describe(&explored.trace.unwrap()));
        assert!(explored.committed >= 3, "{} committed", explored.committed);
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

#[test]
fn a_short_trace_of_a_stale_read_by_an_old_answer() {
    let scope = Budget { timeouts: 2, proposals: 2, reads: 3, repeats: 4, ..Budget::NONE };
    is_shown(Mutation::F4AnswerOfAnyLeader, scope, 20, "reads are not stale (§6.4)");
}

#[test]
fn the_shortest_trace_of_a_write_while_leadership_is_handed_over() {
    let scope = Budget { transfers: 1, ..SMALL };
    let world = World::new(3, 0, scope, Some(Mutation::E5WritesDuringTransfer)).led().unwrap();
    shortest(&world, 2, "who hands over takes no writes (§3.10)");
}

#[test]
fn a_short_trace_of_a_learner_that_leadership_is_handed_to() {
    let scope = Budget { transfers: 2, ..Budget::NONE };
    is_shown(Mutation::E7TransferToNonVoter, scope, 12, "only voters lead (§4.2.1)");
}

#[test]
fn a_short_trace_of_a_change_during_another_that_loses_what_is_committed() {
    let scope = Budget { timeouts: 2, changes: 2, drops: 2, ..Budget::NONE };
    let loses = "leaders have all that is committed (§3.6)";
    is_shown(Mutation::C24ChangeDuringJoint, scope, 16, loses);
}

#[test]
fn the_shortest_trace_of_a_snapshot_that_is_labelled_with_the_present_term() {
    let scope = Budget { timeouts: 1, compactions: 1, ..Budget::NONE };
    let world = World::new(3, 0, scope, Some(Mutation::G8SnapshotOfPresentTerm)).led().unwrap();
    shortest(&world, 9, "a snapshot names its last entry, which is committed (§5.1)");
}

#[test]
fn the_shortest_trace_of_a_snapshot_that_is_acknowledged_before_it_is_durable() {
    let scope = Budget { timeouts: 1, compactions: 1, proposals: 1, ..Budget::NONE };
    let world = World::new(1, 1, scope, Some(Mutation::G18SnapshotAckedEarly)).led().unwrap();
    shortest(&world, 5, "promises are durable (§3.8)");
}

#[test]
fn a_short_trace_of_a_configuration_that_outlives_its_log() {
    let scope = Budget { timeouts: 4, compactions: 2, changes: 3, drops: 6, ..Budget::NONE };
    let latest = "the configuration in force is the log's latest (§4.1)";
    is_shown(Mutation::G5ConfigurationOfOldLog, scope, 20, latest);
}

#[test]
fn a_snapshot_for_a_learner_breaks_nothing_whoever_crashes_and_whatever_is_lost() {
    let scope = Budget { crashes: 1, drops: 1, ..Budget::NONE };
    let scope = Budget { timeouts: 1, proposals: 1, compactions: 1, ..scope };
    let explored = breadth_first(&World::new(1, 1, scope, None).led().unwrap(), 1_000_000);
    assert!(explored.trace.is_none(), "{}", describe(&explored.trace.unwrap()));
    assert!(explored.states < 1_000_000, "that is not all");
    assert!(explored.states > 50_000, "{} states", explored.states);
    assert_eq!(explored.committed, 4, "two leaders' no-ops and a write are committed in some");
}
