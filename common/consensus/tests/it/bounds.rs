//! Bounds of time, to the nanosecond: what is due, is due then, and not before.

use crate::kit::{self, Cluster, MS, at, bodies, configuration, granted, id};
use consensus::*;

/// The shortest election timeout.
const PATIENCE_NS: u64 = 150 * MS;

/// Three voters and a learner that has everything; node 1 was elected just now.
fn led() -> Cluster {
    let mut cluster = Cluster::with(configuration(&[1, 2, 3], &[4]), Config::new(1));
    cluster.campaign(1);
    cluster
}

fn just_before(time: Timestamp) -> Timestamp {
    Timestamp::new(time.get() - 1)
}

fn due(cluster: &Cluster, number: u64) -> Timestamp {
    cluster.node(number).raft.deadline().unwrap().0
}

/// The members say that they live, and what they have.
fn hear(cluster: &mut Cluster, members: &[u64], matched: u64) {
    let (matched, round) = (LogIndex::new(matched), ReadRound::ZERO);
    for member in members {
        cluster.say(*member, 1, 2, Body::Appended { matched, round });
    }
}

/// Asks for this change, and returns the reply that comes at once, if any.
fn change(cluster: &mut Cluster, target: &Configuration) -> Option<Reply> {
    let request = RequestId::new(kit::CHANGE);
    cluster.step(1, Input::Reconfigure { request, target: target.clone() });
    cluster.take_replies(1).pop()
}

fn would_lose_quorum() -> Option<Reply> {
    let request = RequestId::new(kit::CHANGE);
    Some(Reply::Rejected { request, reason: Rejection::WouldLoseQuorum })
}

#[test]
fn an_election_begins_when_the_timeout_has_passed_and_not_before_s3_4() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    let fires = |cluster: &mut Cluster| {
        let due = due(cluster, 1);
        let waits_ns = due.since(cluster.now);
        assert!((PATIENCE_NS..2 * PATIENCE_NS).contains(&waits_ns), "{waits_ns}");
        cluster.now = just_before(due);
        let before = cluster.node(1).raft.clone();
        cluster.time_out(1);
        assert_eq!(cluster.node(1).raft, before, "a timer that comes early changes nothing");
        cluster.now = due;
        cluster.time_out(1);
        assert_eq!(cluster.role(1), RoleKind::PreCandidate);
    };
    fires(&mut cluster);
    fires(&mut cluster);
    cluster.say(2, 1, 2, Body::PreVote { verdict: Verdict::Granted });
    assert_eq!((cluster.role(1), cluster.term(1)), (RoleKind::Candidate, 2));
    fires(&mut cluster);
    cluster.say(2, 1, 3, Body::PreVote { verdict: Verdict::Granted });
    cluster.say(2, 1, 3, granted(1));
    let before = cluster.node(1).raft.clone();
    cluster.pass(1_000);
    cluster.time_out(1);
    assert_eq!(cluster.role(1), RoleKind::Leader);
    assert_eq!(cluster.node(1).raft, before, "a leader does not campaign against itself");
}

/// A higher term is no reason to wait anew, but who is due to campaign lets its candidate try.
#[test]
fn a_higher_term_leaves_the_election_where_it_was_unless_it_is_due_s3_4() {
    let of_term_5 = Body::Vote { candidate: kit::incarnation(1), verdict: Verdict::StaleTerm };
    let mut cluster = Cluster::new(&[1, 2, 3]);
    let first = due(&cluster, 1);
    cluster.now = just_before(first);
    cluster.say(2, 1, 5, of_term_5.clone());
    assert_eq!((cluster.term(1), due(&cluster, 1)), (5, first));
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.now = first;
    cluster.say(2, 1, 5, of_term_5);
    assert_eq!(cluster.term(1), 5);
    assert!(due(&cluster, 1) >= first.after(PATIENCE_NS));
}

#[test]
fn a_follower_stands_by_its_leader_for_the_shortest_timeout_s4_2_3_s9_6() {
    let mut cluster = led();
    let until = cluster.now.after(PATIENCE_NS);
    let mut asks = |now| {
        cluster.now = now;
        cluster.say(3, 2, 3, Body::RequestPreVote { last: at(2, 2) });
        bodies(&cluster.take_from(2), 3)
    };
    assert_eq!(asks(just_before(until)), [Body::PreVote { verdict: Verdict::LeaderAlive }]);
    assert_eq!(asks(until), [Body::PreVote { verdict: Verdict::Granted }]);
}

#[test]
fn a_leader_without_a_quorum_leads_for_an_election_timeout_and_no_longer_s6_2() {
    let mut cluster = led();
    let until = cluster.now.after(PATIENCE_NS);
    cluster.isolate(1);
    cluster.now = just_before(until);
    cluster.step(1, Input::Timeout(Timer::QuorumCheck));
    assert_eq!(cluster.role(1), RoleKind::Leader);
    cluster.now = until;
    cluster.step(1, Input::Timeout(Timer::QuorumCheck));
    assert_eq!(cluster.role(1), RoleKind::Follower);
}

/// Only a new voter needs time to answer (museum C19); those that vote already had theirs.
#[test]
fn a_change_without_new_voters_leaves_a_leader_no_more_time_s6_2() {
    let mut cluster = led();
    cluster.isolate(1);
    let until = cluster.now.after(PATIENCE_NS);
    cluster.pass(100);
    let target = configuration(&[1, 2, 3], &[4, 5]);
    assert_eq!(change(&mut cluster, &target), None);
    assert_eq!(cluster.status(1).configuration, &target);
    cluster.now = until;
    cluster.step(1, Input::Timeout(Timer::QuorumCheck));
    assert_eq!(cluster.role(1), RoleKind::Follower);
}

#[test]
fn a_successor_votes_and_was_heard_within_an_election_timeout_s3_10() {
    let mut cluster = led();
    let successor = |cluster: &Cluster, wanted| {
        cluster.node(1).raft.successor(cluster.now, |node| node == id(wanted))
    };
    assert_eq!(successor(&cluster, 2), Some(id(2)));
    assert_eq!(successor(&cluster, 4), None, "a learner cannot lead, whatever it has");
    let until = cluster.now.after(PATIENCE_NS);
    cluster.now = just_before(until);
    assert_eq!(successor(&cluster, 2), Some(id(2)));
    cluster.now = until;
    assert_eq!(successor(&cluster, 2), None, "it was silent for too long");
}

#[test]
fn a_successors_disk_does_not_stand_still_for_an_election_timeout_s3_10() {
    let mut cluster = led();
    cluster.held_disks.insert(id(2));
    cluster.propose(1, 1, "x");
    cluster.settle();
    let until = cluster.now.after(PATIENCE_NS);
    let successor = |cluster: &Cluster, wanted| {
        cluster.node(1).raft.successor(cluster.now, |node| node == id(wanted))
    };
    cluster.now = just_before(until);
    hear(&mut cluster, &[2, 3], 2);
    assert_eq!(successor(&cluster, 2), Some(id(2)));
    cluster.now = until;
    assert_eq!(successor(&cluster, 2), None, "it answers, but acknowledges nothing");
    assert_eq!(successor(&cluster, 3), Some(id(3)), "this one has everything");
}

/// Ours: evidence of a disk that works is good for two election timeouts.
#[test]
fn a_change_asks_nobody_who_has_acknowledged_within_two_election_timeouts_s6_2() {
    let target = configuration(&[1, 2, 3], &[4, 5]);
    let mut cluster = led();
    cluster.now = just_before(cluster.now.after(2 * PATIENCE_NS));
    assert_eq!(change(&mut cluster, &target), None);
    assert_eq!(cluster.status(1).configuration, &target, "it begins at once");

    let mut cluster = led();
    cluster.now = cluster.now.after(2 * PATIENCE_NS);
    assert_eq!(change(&mut cluster, &target), would_lose_quorum(), "all are silent");
    hear(&mut cluster, &[2, 3], 2);
    assert_eq!(change(&mut cluster, &target), None);
    assert_ne!(cluster.status(1).configuration, &target, "an entry without effect comes first");
    assert_eq!(cluster.status(1).last, at(2, 3));
    cluster.settle();
    assert_eq!(cluster.status(1).configuration, &target);
}

#[test]
fn a_leader_whose_own_disk_hangs_does_not_count_for_a_change_s6_2() {
    for (hangs_ns, refused) in [(PATIENCE_NS - 1, None), (PATIENCE_NS, would_lose_quorum())] {
        let mut cluster = Cluster::new(&[1, 2]);
        cluster.campaign(1);
        cluster.held_disks.insert(id(1));
        cluster.propose(1, 1, "x");
        cluster.settle();
        cluster.take_replies(1);
        cluster.now = cluster.now.after(hangs_ns);
        hear(&mut cluster, &[2], 3);
        assert_eq!(change(&mut cluster, &configuration(&[1, 2], &[4])), refused, "{hangs_ns} ns");
    }
}
