//! Proposals while leadership is handed over (§3.10): held, and answered with what is certain.

use consensus::{Body, Input as Raw, Rejection, RoleKind, Timer, Verdict};
use replica::{Input, Limits, Reply};

use crate::kit::{MS, Node, appended, applied, at, id, request};

/// A leader of term 2 that hands over to node 2, which has everything.
fn handing_over(limits: Limits) -> Node {
    let mut node = Node::leader(&[1, 2, 3], limits);
    node.turn([Input::Raft(Raw::Transfer { request: request(1), to: id(2) })]);
    node
}

fn refused(number: u64, reason: Rejection) -> Reply {
    Reply::Refused { request: request(number), reason }
}

/// Node 2 asks for votes in term 3, as it was told to.
fn steps_down(node: &mut Node) {
    node.hear(2, 3, Body::RequestVote { last: at(2, 2), transfer: true });
    node.finish();
}

#[test]
fn writes_wait_for_the_successor_and_are_sent_to_it_s3_10() {
    let mut node = handing_over(Limits::default());
    node.propose([7, 8]);
    steps_down(&mut node);
    node.propose([9]);
    assert_eq!(node.take_replies(), [Reply::Done { request: request(1) }], "nobody leads yet");
    let log = node.log.len();
    // Another one than was wanted may lead as well.
    node.follow(4, at(2, 2), vec![], 2);
    let leader = Some(id(3));
    let expected = [7, 8, 9].map(|number| refused(number, Rejection::NotLeader { leader }));
    assert_eq!(node.take_replies(), expected);
    assert_eq!((node.log.len(), node.replica.unapplied_bytes()), (log, 0), "none was in any log");
    node.propose([10]);
    assert_eq!(node.take_replies(), [refused(10, Rejection::NotLeader { leader })]);
}

#[test]
fn writes_enter_the_log_here_when_the_successor_does_not_come_s3_10() {
    let mut node = handing_over(Limits::default());
    node.propose([7]);
    node.propose([8]);
    assert_eq!(node.log.len(), 2, "the successor must have the whole log");
    // It answers, and does not stand.
    node.now = node.now.after(200 * MS);
    node.hear(2, 2, appended(2));
    node.turn([Input::Raft(Raw::Timeout(Timer::Transfer))]);
    node.persist();
    node.hear(2, 2, appended(4));
    node.finish();
    let late = refused(1, Rejection::TransferTimedOut);
    assert_eq!(node.take_replies(), [late, applied(7, 3, "7"), applied(8, 4, "8")]);
}

#[test]
fn writes_are_given_up_when_nobody_leads_within_an_election_timeout() {
    let mut node = handing_over(Limits::default());
    node.propose([7]);
    steps_down(&mut node);
    node.take_replies();
    node.now = node.now.after(10_000 * MS);
    node.turn([Input::Raft(Raw::Timeout(Timer::Election))]);
    let nobody = Rejection::NotLeader { leader: None };
    assert_eq!(node.take_replies(), [refused(7, nobody)]);
    node.propose([8]);
    assert_eq!(node.take_replies(), [refused(8, nobody)]);
    // It leads again itself later: nothing of that is left.
    let term = node.replica.status().term.get();
    node.hear(2, term + 1, Body::PreVote { verdict: Verdict::Granted });
    node.persist();
    assert_eq!(node.replica.unapplied_bytes(), 0);
}

/// Such a node does not stand, and one that may not vote never does: no role tells it to give up.
#[test]
fn writes_are_given_up_in_time_by_a_node_that_does_not_stand() {
    let mut node = handing_over(Limits::default());
    node.propose([7]);
    let body = Body::RequestVote { last: at(2, 2), transfer: true };
    // Its own disk hangs: nothing is persisted any more.
    node.hear(2, 3, body);
    node.take_replies();
    let (until, timer) = node.replica.deadline().expect("it is not waited for without an end");
    let patience = Limits::default().behind_wait_ns;
    assert!(until <= node.now.after(patience), "{timer:?} at {until:?}");
    node.now = node.now.after(patience);
    node.turn([Input::Raft(Raw::Timeout(Timer::Election))]);
    assert_eq!(node.replica.status().role, RoleKind::Follower);
    assert_eq!(node.take_replies(), [refused(7, Rejection::NotLeader { leader: None })]);
}

#[test]
fn held_writes_count_by_the_limits_of_all() {
    let mut node = handing_over(Limits { proposals_max: 2, ..Limits::default() });
    node.propose([7, 8, 9]);
    assert_eq!(node.take_replies(), [refused(9, Rejection::Busy)]);
    node.turn([Input::Abandon]);
    let nobody = Rejection::NotLeader { leader: None };
    assert_eq!(node.take_replies(), [refused(7, nobody), refused(8, nobody)]);
}

/// They were counted when they came, and are taken anew now.
#[test]
fn held_writes_count_once_when_they_enter_the_log_here() {
    let mut node = handing_over(Limits::default());
    node.propose([7, 80]);
    assert_eq!((node.replica.held(), node.replica.unapplied_bytes()), (2, 3));
    node.now = node.now.after(200 * MS);
    node.hear(2, 2, appended(2));
    node.turn([Input::Raft(Raw::Timeout(Timer::Transfer))]);
    assert_eq!((node.replica.held(), node.replica.unapplied_bytes()), (0, 3));
    node.persist();
    node.hear(2, 2, appended(4));
    node.finish();
    assert_eq!(node.replica.unapplied_bytes(), 0);
}

#[test]
fn a_time_to_give_up_is_set_for_writes_that_wait_for_nobody_in_particular() {
    // It is over before any other timer is due.
    let limits = Limits { behind_wait_ns: 10 * MS, ..Limits::default() };
    let gives_up_at = |node: &Node| {
        let (due, timer) = node.replica.deadline().expect("there is always a timer");
        (timer == Timer::Question).then_some(due)
    };
    for (writes, waits) in [(vec![7], true), (vec![], false)] {
        let mut node = handing_over(limits);
        node.propose(writes);
        assert_eq!(gives_up_at(&node), None, "the transfer has a time of its own");
        steps_down(&mut node);
        let expected = Some(node.now.after(10 * MS)).filter(|_| waits);
        assert_eq!(gives_up_at(&node), expected, "there is somebody to tell: {waits}");
    }
}
