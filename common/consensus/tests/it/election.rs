//! §3.3, §3.4, §3.6.1, §9.6: terms, votes, who may lead; more of it stands in the scenarios.
use crate::kit::*;
use consensus::*;

#[test]
fn election_timeouts_are_drawn_over_the_whole_range_s3_4() {
    let mut drawn: Vec<u64> = Vec::new();
    let mut cluster = Cluster::new(&[1, 2, 3]);
    for _ in 0..200 {
        cluster.pass(1_000);
        cluster.time_out(1);
        let (deadline, _) = cluster.node(1).raft.deadline().unwrap();
        drawn.push(deadline.since(cluster.now));
        cluster.letters.clear();
    }
    assert!(drawn.iter().all(|ns| (150 * MS..300 * MS).contains(ns)));
    let low = drawn.iter().filter(|ns| **ns < 225 * MS).count();
    assert!((60..=140).contains(&low), "about half in each half: {low} of 200");
}

/// A wiped directory under a member's id does not campaign, since its own log does not name it; and
/// what it answers does not count.
#[test]
fn a_node_with_another_data_directory_neither_votes_nor_campaigns_museum_c21() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    let message = Message { term: Term::new(5), body: granted(1) };
    let wiped = Incarnation::new(999);
    cluster.step(1, Input::Receive { from: id(2), incarnation: wiped, message });
    assert_eq!(cluster.term(1), 1);
    let ignored = Event::Ignored { from: id(2), why: Ignored::OtherIncarnation };
    assert!(cluster.node(1).events.contains(&ignored));
}

/// A voter was away when the id of another one was given to a new data directory. It hears that
/// one's request all the same: its log may be the only one that is long enough, and is judged like
/// any other. Where the last three of five needed each other, nobody could lead (seed 47002327).
#[test]
fn a_candidate_that_was_taken_in_again_meanwhile_gets_a_vote_for_its_directory_s3_4_s4_2_2() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    let asks = |cluster: &mut Cluster, incarnation, term, last| {
        let message = Message { term: Term::new(term), body: request_vote(last) };
        cluster.step(1, Input::Receive { from: id(2), incarnation, message });
        bodies(&cluster.take_from(1), 2)
    };
    let (old, new) = (incarnation(2), Incarnation::new(999));
    let answer = |candidate, verdict| [Body::Vote { candidate, verdict }];
    let behind = answer(new, Verdict::LogBehind);
    assert_eq!(asks(&mut cluster, new, 2, EntryId::ZERO), behind, "its log is judged");
    let given = answer(new, Verdict::Granted);
    assert_eq!(asks(&mut cluster, new, 2, at(1, 4)), given);
    assert_eq!(asks(&mut cluster, new, 2, at(1, 4)), given, "the same one asks again");
    let vote = Some(Vote { candidate: id(2), incarnation: new });
    assert_eq!(cluster.node(1).hard_state, HardState { term: Term::new(2), vote });
    // A copy of the directory before is another candidate: the term's vote is given.
    let refused = answer(old, Verdict::AlreadyVoted);
    assert_eq!(asks(&mut cluster, old, 2, at(1, 4)), refused);
}

/// The vote that a node's directory asked for does not elect another directory under its id.
#[test]
fn a_vote_for_another_data_directory_is_not_counted_s3_4() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.pass(1_000);
    cluster.time_out(1);
    cluster.say(2, 1, 2, Body::PreVote { verdict: Verdict::Granted });
    assert_eq!(cluster.role(1), RoleKind::Candidate);
    let other = Body::Vote { candidate: Incarnation::new(999), verdict: Verdict::Granted };
    cluster.say(2, 1, 2, other);
    assert_eq!(cluster.role(1), RoleKind::Candidate);
    cluster.say(2, 1, 2, granted(1));
    assert_eq!(cluster.role(1), RoleKind::Leader);
}

#[test]
fn absurd_terms_and_indexes_are_ignored() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    let before = cluster.node(1).raft.clone();
    cluster.say(2, 1, u64::MAX, request_vote(at(1, 1)));
    cluster.say(2, 1, 5, request_vote(at(1, u64::MAX)));
    cluster.say(2, 1, 1, append(at(1, 1), vec![entry(1, 3)], 0));
    cluster.say(2, 1, 1, append(at(1, 1), vec![entry(2, 2)], 0));
    cluster.say(1, 1, 5, request_vote(at(1, 1)));
    cluster.say(9, 1, 5, granted(1));
    assert_eq!(cluster.node(1).raft, before, "refused input changes nothing");
    assert_eq!(cluster.node(1).events.len(), 6);
}

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
fn a_stuck_candidate_of_a_higher_term_is_freed_museum_d4() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.campaign(1);
    cluster.start(3, &[], hard_state(9, Some(3)));
    cluster.run(2_000);
    assert_eq!(cluster.leaders().len(), 1);
    assert!(cluster.term(3) >= 9);
    assert_eq!(cluster.ids(3), cluster.ids(1));
}

#[test]
fn a_partial_partition_does_not_unseat_the_leader_for_ever_museum_d5() {
    let mut cluster = Cluster::new(&[1, 2, 3, 4, 5]);
    cluster.campaign(3);
    for (a, b) in [(4, 1), (4, 3), (4, 5), (5, 1), (5, 2)] {
        cluster.cut.insert((id(a), id(b)));
        cluster.cut.insert((id(b), id(a)));
    }
    cluster.run(5_000);
    assert_eq!((cluster.leaders(), cluster.term(3)), (vec![3], 2));
}

#[test]
fn a_cold_cluster_elects_and_serves() {
    let mut cluster = Cluster::new(&[1, 2, 3, 4, 5]);
    cluster.run(2_000);
    assert_eq!(cluster.leaders().len(), 1);
    let leader = cluster.leaders()[0];
    cluster.propose(leader, 1, "x");
    cluster.read(leader, 2);
    cluster.settle();
    assert!(cluster.take_replies(leader).len() >= 2);
    assert_eq!(cluster.term(leader), 2, "one election is enough on a quiet network");
}
