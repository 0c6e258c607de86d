//! The explorer finds nothing in the core. That it finds what there is to find is shown by the bugs
//! in `museum/` whose head says `Explore`.

use simulator::explorer::{Budget, World, breadth_first, describe, random_walks};

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
