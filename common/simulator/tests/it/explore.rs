//! The explorer finds nothing in the core. That it finds what there is to find is shown by the bugs
//! in `museum/` whose head says `Explore`.

use simulator::explorer::{Action, Budget, Change, World, breadth_first, describe, random_walks};

#[test]
fn breadth_first_breaks_nothing_in_the_core_as_it_is() {
    for (learners, world) in [
        (0, World::new(3, 0, Budget::SMALL)),
        (0, World::new(3, 0, Budget::SMALL).led().unwrap()),
        (1, World::new(3, 1, Budget::SMALL).led().unwrap()),
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
    let world = |voters, learners| World::new(voters, learners, Budget::LARGE);
    for world in [world(3, 0), world(3, 2), world(5, 0).led().unwrap()] {
        let walked = random_walks(&world, 7, 1_000, 300);
        assert!(walked.trace.is_none(), "{}", describe(&walked.trace.unwrap()));
        assert!(walked.committed >= 4, "{} committed", walked.committed);
    }
}

#[test]
fn what_operators_ask_for_breaks_nothing_in_the_core_as_it_is() {
    for (voters, learners) in [(3, 1), (4, 2)] {
        let world = World::new(voters, learners, Budget::OPERATED).led().unwrap();
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
        let explored = breadth_first(&World::new(3, 1, scope).led().unwrap(), 20_000);
        assert!(explored.trace.is_none(), "{}", describe(&explored.trace.unwrap()));
        assert!(explored.committed >= 3, "{} committed", explored.committed);
    }
}

#[test]
fn a_snapshot_for_a_learner_breaks_nothing_whoever_crashes_and_whatever_is_lost() {
    let scope = Budget { crashes: 1, drops: 1, ..Budget::NONE };
    let scope = Budget { timeouts: 1, proposals: 1, compactions: 1, ..scope };
    let explored = breadth_first(&World::new(1, 1, scope).led().unwrap(), 1_000_000);
    assert!(explored.trace.is_none(), "{}", describe(&explored.trace.unwrap()));
    assert!(explored.states < 1_000_000, "that is not all");
    assert!(explored.states > 50_000, "{} states", explored.states);
    assert_eq!(explored.committed, 4, "two leaders' no-ops and a write are committed in some");
}

#[test]
fn disks_that_come_back_as_they_were_break_nothing_and_their_nodes_return_through_the_log() {
    for (voters, learners) in [(3, 0), (4, 1)] {
        let world = World::new(voters, learners, Budget::FORGETFUL).led().unwrap();
        let walked = random_walks(&world, 7, 1_000, 300);
        assert!(walked.trace.is_none(), "{}", describe(&walked.trace.unwrap()));
        assert!(walked.committed >= 4, "{voters} voters: {} committed", walked.committed);
    }
    let scope = Budget { timeouts: 1, proposals: 1, rollbacks: 1, ..Budget::NONE };
    for scope in [scope, Budget { changes: 1, ..scope }] {
        let explored = breadth_first(&World::new(3, 0, scope).led().unwrap(), 20_000);
        assert!(explored.trace.is_none(), "{}", describe(&explored.trace.unwrap()));
        assert!(explored.committed >= 3, "{} committed", explored.committed);
    }
}

#[test]
fn all_that_follows_an_old_copy_of_a_voter_breaks_nothing() {
    let scope = Budget { timeouts: 1, rollbacks: 1, proposals: 1, ..Budget::NONE };
    let explored = breadth_first(&World::new(2, 1, scope).led().unwrap(), 400_000);
    assert!(explored.trace.is_none(), "{}", describe(&explored.trace.unwrap()));
    assert!(explored.states < 400_000, "that is not all");
    assert!(explored.states > 1_000, "{} states", explored.states);
}

#[test]
fn a_disk_that_comes_back_unnoticed_loses_what_is_committed() {
    let scope = Budget { timeouts: 1, rollbacks: 1, proposals: 1, ..Budget::NONE };
    let world = World::new(3, 0, scope).led().unwrap().noticing_nothing();
    let trace = breadth_first(&world, 1_000_000).trace.expect("it is found");
    let lost = ["leaders have all that is committed", "committed is durable on a quorum"];
    assert!(lost.iter().any(|what| trace.broken.starts_with(what)), "{}", describe(&trace));
}

#[test]
fn a_node_that_has_forgotten_counts_again_when_it_was_demoted_renewed_and_promoted() {
    let budget = Budget { rollbacks: 1, changes: 4, proposals: 1, ..Budget::NONE };
    let mut world = World::new(3, 0, budget).led().unwrap();
    world.take(&Action::Propose(0)).unwrap();
    settle(&mut world);
    let far = world.actions().into_iter().rfind(|action| matches!(action, Action::RollBack(2, _)));
    assert!(world.take(&far.expect("its disk was written")).unwrap());
    assert!(!world.counts(2, 0), "it has another incarnation");
    assert!(!world.take(&Action::Reconfigure(0, Change::Renew)).unwrap(), "it is a voter");
    for change in [Change::Demote, Change::Renew, Change::Promote] {
        assert!(!world.counts(2, 0), "before {change:?}");
        assert!(world.take(&Action::Reconfigure(0, change)).unwrap(), "{change:?}");
        settle(&mut world);
    }
    assert!(world.counts(2, 0) && world.counts(2, 1) && world.counts(2, 2));
}

/// Lets everything that is said and written arrive.
fn settle(world: &mut World) {
    let quiet = |action: &Action| {
        matches!(action, Action::Persist(_) | Action::Deliver(_) | Action::Arrive(_))
    };
    while let Some(action) = world.actions().into_iter().find(quiet) {
        world.take(&action).unwrap();
    }
}
