//! Tables of the pure sets: majorities, and joint ones (§4.3).

use crate::kit::*;
use consensus::*;

#[test]
fn a_majority_is_more_than_half_and_nobody_decides_nothing() {
    let majority = |voters: u64| Majority::new((1..=voters).map(id));
    for (voters, quorum) in [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3), (6, 4), (7, 4)] {
        assert_eq!(majority(voters).quorum(), quorum, "{voters} voters");
    }
    assert_eq!(majority(0).tally(|_| Some(true)), Tally::Lost);
    let votes = |granted: u64, refused: u64| {
        move |voter: NodeId| match voter.get() {
            number if number <= granted => Some(true),
            number if number <= granted + refused => Some(false),
            _ => None,
        }
    };
    for (granted, refused, tally) in [
        (0, 0, Tally::Undecided),
        (2, 2, Tally::Undecided),
        (3, 0, Tally::Won),
        (3, 2, Tally::Won),
        (2, 3, Tally::Lost),
        (0, 3, Tally::Lost),
    ] {
        assert_eq!(majority(5).tally(votes(granted, refused)), tally, "{granted} to {refused}");
    }
}

#[test]
fn what_a_quorum_has_reached_is_the_lower_of_both_halves_s4_3() {
    let half = |ids: &[u64]| Majority::new(ids.iter().map(|number| id(*number)));
    let matched = |indexes: &'static [u64]| {
        move |voter: NodeId| LogIndex::new(indexes[voter.get() as usize - 1])
    };
    for (indexes, reached) in
        [(&[5, 5, 5][..], 5), (&[9, 5, 1], 5), (&[9, 9, 1], 9), (&[9, 0, 0], 0)]
    {
        let found = Voters::Stable(half(&[1, 2, 3])).reached(matched(indexes));
        assert_eq!(found, LogIndex::new(reached), "{indexes:?}");
    }
    let joint = Voters::Joint { outgoing: half(&[1, 2, 3]), incoming: half(&[3, 4, 5]) };
    for (indexes, reached) in [
        (&[7, 7, 7, 0, 0][..], 0),
        (&[0, 0, 7, 7, 7], 0),
        (&[7, 7, 0, 4, 4], 4),
        (&[2, 9, 7, 9, 9], 7),
    ] {
        assert_eq!(joint.reached(matched(indexes)), LogIndex::new(reached), "{indexes:?}");
    }
    let vote = |granted: &'static [u64]| move |voter: NodeId| Some(granted.contains(&voter.get()));
    assert_eq!(joint.tally(vote(&[1, 2, 4, 5])), Tally::Won);
    assert_eq!(joint.tally(vote(&[1, 2, 3])), Tally::Lost, "one half is not enough");
    assert_eq!(joint.tally(vote(&[3, 4, 5])), Tally::Lost, "nor is the other");
    assert_eq!(joint.tally(vote(&[2, 3, 4])), Tally::Won, "a voter of both counts twice");
}
