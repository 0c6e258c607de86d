//! Behaviours that other implementations pin down in their tests, and tables of the pure sets.
#![allow(clippy::unwrap_used)]

mod kit;

use consensus::*;
use kit::*;

#[test]
fn an_election_is_won_by_a_majority_whatever_the_size_s3_4() {
    for (voters, away, won) in [
        (1, 0, true),
        (2, 0, true),
        (2, 1, false),
        (3, 1, true),
        (3, 2, false),
        (4, 1, true),
        (4, 2, false),
        (5, 2, true),
        (5, 3, false),
    ] {
        let all: Vec<u64> = (1..=voters).collect();
        let mut cluster = Cluster::new(&all);
        for number in all.iter().rev().take(away) {
            cluster.isolate(*number);
        }
        cluster.campaign(1);
        assert_eq!(cluster.role(1) == RoleKind::Leader, won, "{away} of {voters} away");
    }
}

#[test]
fn of_two_candidates_the_one_that_is_heard_by_a_majority_leads_s3_4() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    for pair in [(1, 3), (3, 1)] {
        cluster.cut.insert((id(pair.0), id(pair.1)));
    }
    cluster.campaign(1);
    assert_eq!(cluster.leaders(), [1]);
    cluster.propose(1, 1, "only one and two have it");
    cluster.settle();
    // Three has not heard of it; two has, and a more recent log than three.
    cluster.campaign(3);
    assert_eq!(cluster.leaders(), [1]);
    cluster.heal();
    cluster.run(500);
    assert_eq!(cluster.leaders().len(), 1);
    assert_eq!(cluster.ids(3), cluster.ids(1));
}

#[test]
fn the_vote_of_a_newer_term_lets_a_leader_overwrite_what_nobody_committed_s3_6_1() {
    let mut cluster = Cluster::new(&[1, 2, 3, 4, 5]);
    // Node 3 led in term 3 and gave its entry to nobody; 4 and 5 had voted for it.
    cluster.start(1, &[2], hard_state(2, Some(1)));
    cluster.start(2, &[2], hard_state(2, Some(1)));
    cluster.start(3, &[3], hard_state(3, Some(3)));
    cluster.start(4, &[], hard_state(3, Some(3)));
    cluster.start(5, &[], hard_state(3, Some(3)));
    cluster.isolate(3);
    // The first campaign may only teach it the term.
    cluster.campaign(1);
    cluster.campaign(1);
    assert_eq!(cluster.leaders(), [1]);
    assert!(cluster.term(1) > 3);
    cluster.heal();
    cluster.run(500);
    for number in 2..=5 {
        assert_eq!(cluster.ids(number), cluster.ids(1), "node {number}");
    }
    assert!(!cluster.ids(3).contains(&at(3, 2)), "the entry of term 3 is gone");
}

#[test]
fn a_leader_never_overwrites_or_deletes_what_is_in_its_log_s3_5() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.start(1, &[2, 2, 2], hard_state(2, None));
    cluster.campaign(1);
    let (term, before) = (cluster.term(1), cluster.ids(1));
    // Of an older term, from a leader that does not know that it is none any more.
    for stale in [append(at(1, 1), vec![entry(2, 2)], 0), append(at(1, 1), vec![entry(1, 2)], 9)] {
        cluster.say(2, 1, term - 1, stale);
        cluster.settle();
        assert_eq!(cluster.role(1), RoleKind::Leader);
        assert_eq!(cluster.ids(1), before);
    }
}

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
        let found = Voters::Stable(half(&[1, 2, 3])).quorum_index(matched(indexes));
        assert_eq!(found, LogIndex::new(reached), "{indexes:?}");
    }
    let joint = Voters::Joint { outgoing: half(&[1, 2, 3]), incoming: half(&[3, 4, 5]) };
    for (indexes, reached) in [
        (&[7, 7, 7, 0, 0][..], 0),
        (&[0, 0, 7, 7, 7], 0),
        (&[7, 7, 0, 4, 4], 4),
        (&[2, 9, 7, 9, 9], 7),
    ] {
        assert_eq!(joint.quorum_index(matched(indexes)), LogIndex::new(reached), "{indexes:?}");
    }
    let vote = |granted: &'static [u64]| move |voter: NodeId| Some(granted.contains(&voter.get()));
    assert_eq!(joint.tally(vote(&[1, 2, 4, 5])), Tally::Won);
    assert_eq!(joint.tally(vote(&[1, 2, 3])), Tally::Lost, "one half is not enough");
    assert_eq!(joint.tally(vote(&[3, 4, 5])), Tally::Lost, "nor is the other");
    assert_eq!(joint.tally(vote(&[2, 3, 4])), Tally::Won, "a voter of both counts twice");
}
