//! Questions: linearizable, at least as new as an index, or stale.

use crate::kit::{MS, Node, at, entry, request};
use consensus::{Body, Input as Raw, LogIndex, NodeId, Outgoing, Rejection, Timer};
use replica::{Consistency, Input, Limits, Reply};

fn at_least(index: u64) -> Consistency {
    Consistency::AtLeast(LogIndex::new(index))
}

/// A follower of node 3 that has applied three entries.
fn follower(limits: Limits) -> Node {
    let mut node = Node::new(&[1, 2, 3], limits);
    node.follow(2, at(1, 1), vec![entry(2, 2, "a"), entry(2, 3, "b")], 3);
    node.finish();
    node
}

#[test]
fn an_index_that_is_applied_is_answered_at_once_without_the_leader() {
    let mut node = follower(Limits::default());
    node.sent.clear();
    node.ask(1, at_least(3));
    assert_eq!(node.take_questions(), [1]);
    assert!(node.sent.is_empty(), "nobody is asked");
}

#[test]
fn a_question_waits_for_its_index_and_sees_it_applied() {
    let mut node = follower(Limits::default());
    node.ask(1, at_least(5));
    node.ask(2, at_least(4));
    assert_eq!(node.take_questions(), []);
    node.follow(2, at(2, 3), vec![entry(2, 4, "c")], 4);
    node.finish();
    assert_eq!(node.take_questions(), [2]);
    node.follow(2, at(2, 4), vec![entry(2, 5, "d")], 5);
    assert_eq!(node.take_questions(), [], "committed is not applied");
    node.finish();
    assert_eq!((node.take_questions(), node.replica.waiting()), (vec![1], (0, 0)));
}

#[test]
fn a_question_for_an_index_that_does_not_come_is_told_how_far_the_node_is() {
    let limits = Limits { behind_wait_ns: 200 * MS, ..Limits::default() };
    let mut node = follower(limits);
    node.ask(1, at_least(9));
    node.now = node.now.after(100 * MS);
    node.ask(2, at_least(9));
    node.now = node.now.after(99 * MS);
    node.turn([]);
    assert_eq!(node.take_replies(), []);
    node.now = node.now.after(MS);
    node.turn([]);
    let behind = |number| Reply::Behind {
        request: request(number),
        applied: LogIndex::new(3),
        leader: NodeId::new(3),
    };
    assert_eq!(node.take_replies(), [behind(1)]);
    node.now = node.now.after(100 * MS);
    node.turn([]);
    assert_eq!((node.take_replies(), node.replica.waiting()), (vec![behind(2)], (0, 0)));
}

#[test]
fn questions_that_wait_are_bounded_and_end_with_the_node_museum_f12() {
    let limits = Limits { questions_max: 2, ..Limits::default() };
    let mut node = follower(limits);
    (1..=3).for_each(|number| node.ask(number, at_least(9)));
    let busy = Reply::Refused { request: request(3), reason: Rejection::Busy };
    assert_eq!(node.take_replies(), [busy]);
    node.turn([Input::Abandon]);
    assert_eq!(node.take_replies().len(), 2);
    node.now = node.now.after(10_000 * MS);
    node.turn([]);
    assert_eq!(node.take_replies(), [], "each is told once");
}

#[test]
fn a_question_that_the_core_refuses_when_the_node_stops_is_told_once() {
    let mut node = follower(Limits::default());
    node.ask(1, Consistency::Linearizable);
    // Its leader is silent: the election timeout drops what it was asked to confirm.
    let silent = Input::Raft(Raw::Timeout(Timer::Election));
    node.now = node.now.after(10_000 * MS);
    node.turn([Input::Abandon, silent]);
    assert_eq!(node.take_replies().len(), 1);
}

#[test]
fn a_linearizable_question_at_a_follower_waits_for_the_leaders_index_s6_4() {
    let mut node = follower(Limits::default());
    node.sent.clear();
    node.ask(1, Consistency::Linearizable);
    let asked = node.sent.iter().find_map(|send| match send {
        Outgoing::Message { to, message } => match message.body {
            Body::ReadIndex { ticket } => Some((*to, ticket)),
            _ => None,
        },
        Outgoing::Entries { .. } | Outgoing::Snapshot { .. } => None,
    });
    let (leader, ticket) = asked.unwrap();
    assert_eq!(Some(leader), NodeId::new(3));
    node.hear(3, 2, Body::ReadIndexReply { ticket, index: Some(LogIndex::new(4)) });
    assert_eq!(node.take_questions(), [], "this node has not applied that yet");
    node.follow(2, at(2, 3), vec![entry(2, 4, "c")], 4);
    node.finish();
    assert_eq!(node.take_questions(), [1]);
}

#[test]
fn a_stale_question_waits_for_nothing() {
    let mut node = Node::new(&[1, 2, 3], Limits::default());
    node.ask(1, Consistency::Stale);
    assert_eq!((node.take_questions(), node.take_replies()), (vec![1], vec![]));
}

#[test]
fn a_linearizable_question_fails_with_the_leader_and_leaves_nothing_behind_museum_f4() {
    let mut node = follower(Limits::default());
    node.ask(1, Consistency::Linearizable);
    let (commit, round) = (LogIndex::new(3), consensus::ReadRound::ZERO);
    node.hear(2, 3, Body::AppendEntries { prev: at(2, 3), entries: vec![], commit, round });
    let refused = Reply::Refused { request: request(1), reason: Rejection::NoQuorum };
    assert_eq!((node.take_replies(), node.replica.waiting()), (vec![refused], (0, 0)));
    node.turn([replica::Input::Raft(Raw::Applied { index: LogIndex::new(3) })]);
    assert_eq!(node.take_questions(), []);
}

#[test]
fn a_linearizable_question_does_not_wait_for_ever_for_an_index_that_is_never_fed() {
    let limits = Limits { behind_wait_ns: 200 * MS, ..Limits::default() };
    let mut node = follower(limits);
    node.sent.clear();
    node.ask(1, Consistency::Linearizable);
    let ticket = node.sent.iter().find_map(|send| match send {
        Outgoing::Message {
            message: consensus::Message { body: Body::ReadIndex { ticket }, .. },
            ..
        } => Some(*ticket),
        Outgoing::Message { .. } | Outgoing::Entries { .. } | Outgoing::Snapshot { .. } => None,
    });
    // Entry 4 removes this node, so that nobody sends it.
    let index = Some(LogIndex::new(4));
    node.hear(3, 2, Body::ReadIndexReply { ticket: ticket.unwrap(), index });
    let (due, _) = node.replica.deadline().unwrap();
    assert!(due <= node.now.after(200 * MS), "it wakes in time");
    node.now = node.now.after(200 * MS);
    node.turn([]);
    let behind =
        Reply::Behind { request: request(1), applied: LogIndex::new(3), leader: NodeId::new(3) };
    assert_eq!((node.take_replies(), node.replica.waiting()), (vec![behind], (0, 0)));
}

#[test]
fn a_question_is_answered_by_a_view_that_holds_all_that_is_applied() {
    let mut node = Node::leader(&[1], Limits::default());
    node.propose([1]);
    node.persist();
    let (first, last) = node.to_apply.pop_front().unwrap();
    assert_eq!((first, last), (3, 3));
    let index = consensus::LogIndex::new(last);
    node.turn([replica::Input::Applied { index, responses: Vec::new() }]);
    node.ask(7, Consistency::Stale);
    node.ask(8, Consistency::Stale);
    assert_eq!((node.take_questions(), node.views_asked), (vec![], 1), "the view is older");
    node.turn([replica::Input::Viewed { applied: index }]);
    assert_eq!(node.take_questions(), [7, 8]);
    node.ask(9, Consistency::Stale);
    assert_eq!((node.take_questions(), node.views_asked), (vec![9], 1), "it is new enough");
}

/// A client that is told nothing waits for as long as it has time, and asks nobody else.
#[test]
fn a_question_that_waits_for_a_view_is_told_when_the_node_stops() {
    let mut node = Node::leader(&[1], Limits::default());
    node.propose([1]);
    node.persist();
    let (_, last) = node.to_apply.pop_front().unwrap();
    node.turn([Input::Applied { index: LogIndex::new(last), responses: Vec::new() }]);
    node.take_replies();
    node.ask(7, Consistency::Stale);
    assert_eq!(node.take_questions(), [], "the view is older");
    node.turn([Input::Abandon]);
    let reason = Rejection::NotLeader { leader: None };
    assert_eq!(node.take_replies(), [Reply::Refused { request: request(7), reason }]);
}
