//! States that differ: who is told, who answers no more, and who does not lead.

use consensus::{
    Body, Incarnation, Input as Raw, LogIndex, Message, Outgoing, Rejection, RoleKind, Term, Timer,
};
use replica::{Consistency, Difference, Input, Limits, Reply};

use crate::kit::{MS, Node, appended, at, entry, id, request};

const OURS: u64 = 20;
const THEIRS: u64 = 99;

fn effects(index: u64, digest: u64, judged: bool) -> Body {
    Body::Effects { index: LogIndex::new(index), digest, judged }
}

fn told(digests: &[u64], last: u64) -> Input {
    Input::Effects { last: LogIndex::new(last), digests: digests.to_vec() }
}

/// A leader of three in term 2 that has applied both its entries; the others have them.
fn leader() -> Node {
    let mut node = Node::leader(&[1, 2, 3], Limits::default());
    node.turn([told(&[10, OURS], 2)]);
    for peer in [2, 3] {
        node.hear(peer, 2, appended(2));
    }
    node.sent.clear();
    node
}

/// A follower of node 3 in term 3 that has applied entry 3.
fn follower() -> Node {
    let mut node = leader();
    node.follow(3, at(2, 2), vec![entry(3, 3, "x")], 3);
    node.finish();
    node.turn([told(&[OURS], 3)]);
    node
}

fn sent_to(node: &mut Node, peer: u64) -> Vec<Body> {
    let sent = std::mem::take(&mut node.sent).into_iter();
    let bodies = sent.filter_map(|sent| match sent {
        Outgoing::Message { to, message } if to == id(peer) => Some(message.body),
        Outgoing::Message { .. } | Outgoing::Entries { .. } | Outgoing::Snapshot { .. } => None,
    });
    bodies.collect()
}

fn effects_to(node: &mut Node, peer: u64) -> Vec<Body> {
    let mut bodies = sent_to(node, peer);
    bodies.retain(|body| matches!(body, Body::Effects { .. }));
    bodies
}

#[test]
fn a_leader_whose_state_is_wrong_answers_nothing_and_hands_over() {
    let mut node = leader();
    node.hear(2, 2, effects(2, THEIRS, false));
    assert_eq!(node.replica.differs(), None, "one of two is no majority against this node");
    node.hear(3, 2, effects(2, THEIRS, false));
    let difference = Difference { index: LogIndex::new(2), ours: OURS, theirs: THEIRS };
    assert_eq!(node.replica.differs(), Some(difference));
    node.propose([1]);
    node.ask(2, Consistency::Linearizable);
    node.ask(3, Consistency::Stale);
    let differs = |number| Reply::Differs { request: request(number) };
    assert_eq!(node.take_replies(), [1, 2, 3].map(differs));
    assert_eq!(node.replica.status().last, at(2, 2), "nothing was written");
    assert!(node.replica.raft().is_transferring());
    let orders = [2, 3].map(|peer| {
        let order = |sent: &&Outgoing| {
            matches!(sent, Outgoing::Message { to, message }
            if *to == id(peer) && matches!(message.body, Body::TimeoutNow { .. }))
        };
        node.sent.iter().filter(order).count()
    });
    assert_eq!(orders.iter().sum::<usize>(), 1, "one is to lead, once: {orders:?}");
}

/// Who was asked to lead since the last time.
fn asked_to_lead(node: &mut Node) -> Vec<u64> {
    let sent = std::mem::take(&mut node.sent).into_iter();
    let asked = sent.filter_map(|sent| match sent {
        Outgoing::Message { to, message } => {
            matches!(message.body, Body::TimeoutNow { .. }).then_some(to.get())
        }
        Outgoing::Entries { .. } | Outgoing::Snapshot { .. } => None,
    });
    asked.collect()
}

/// It asked one whose state is wrong as well for ever: that does not take over, and nothing was
/// written any more.
#[test]
fn a_leader_whose_state_is_wrong_asks_one_after_the_other_to_lead() {
    let mut node = Node::new(&[1, 2, 3, 4, 5], Limits::default());
    node.campaign();
    let answer = |node: &mut Node| {
        for peer in [2, 3, 4, 5] {
            node.hear(peer, 2, appended(2));
        }
    };
    answer(&mut node);
    node.finish();
    node.turn([told(&[10, OURS], 2)]);
    node.hear(5, 2, effects(2, THEIRS + 1, false));
    for peer in [2, 3, 4] {
        node.hear(peer, 2, effects(2, THEIRS, false));
    }
    assert!(node.replica.differs().is_some());
    let mut asked = Vec::new();
    for _ in 0..5 {
        asked.extend(asked_to_lead(&mut node));
        node.now = node.now.after(400 * MS);
        answer(&mut node);
        node.turn([Input::Raft(Raw::Timeout(Timer::Transfer))]);
    }
    asked.dedup();
    asked.sort_unstable();
    assert_eq!(asked, [2, 3, 4, 5], "each of them");
}

#[test]
fn who_stops_hands_over_to_one_whose_state_does_not_differ_if_there_is_one() {
    let mut node = leader();
    node.hear(2, 2, effects(2, OURS, false));
    node.hear(3, 2, effects(2, THEIRS, false));
    let now = node.now;
    assert_eq!(node.replica.successor(now, |_| true), Some(id(2)));
    assert_eq!(node.replica.successor(now, |to| to == id(3)), Some(id(3)));
}

#[test]
fn a_follower_whose_state_is_wrong_is_told_and_named() {
    let mut node = leader();
    node.hear(3, 2, effects(2, OURS, false));
    node.hear(2, 2, effects(2, THEIRS, false));
    assert_eq!(effects_to(&mut node, 2), [effects(2, OURS, true)]);
    let named = [2, 3].map(|peer| node.replica.difference_of(id(peer)));
    assert_eq!(named, [Some(LogIndex::new(2)), None]);
    assert_eq!(node.replica.differs(), None);
    node.propose([1]);
    assert_eq!(node.take_replies(), [], "the leader is right, and goes on");
    assert!(!node.replica.raft().is_transferring());
}

/// Of another term, from who is no member, and from another data directory.
#[test]
fn reports_that_do_not_count_are_not_heard() {
    let mut node = leader();
    node.hear(2, 1, effects(2, THEIRS, false));
    node.hear(9, 2, effects(2, THEIRS, false));
    let message = Message { term: Term::new(2), body: effects(2, THEIRS, false) };
    let incarnation = Incarnation::new(777);
    node.turn([Input::Raft(Raw::Receive { from: id(3), incarnation, message })]);
    // A verdict is for followers.
    node.hear(2, 2, effects(2, THEIRS, true));
    assert_eq!(node.replica.differs(), None);
    assert_eq!([2, 3, 9].map(|peer| node.replica.difference_of(id(peer))), [None; 3]);
}

#[test]
fn a_follower_reports_to_its_leader_and_to_nobody_else() {
    let mut node = follower();
    node.now = node.now.after(60 * MS);
    node.turn([]);
    let sent = node.sent.clone();
    assert_eq!(effects_to(&mut node, 3).last(), Some(&effects(3, OURS, false)));
    node.sent = sent;
    assert_eq!(effects_to(&mut node, 2), []);
    node.turn([]);
    assert_eq!(effects_to(&mut node, 3), [], "it has said so just now");
    // Not known to be anybody's follower, it tells nobody.
    node.campaign();
    node.sent.clear();
    node.turn([told(&[OURS + 1], 4)]);
    assert_eq!((effects_to(&mut node, 2), effects_to(&mut node, 3)), (vec![], vec![]));
}

#[test]
fn a_follower_that_is_told_so_answers_nothing_and_does_not_take_over() {
    let order = || Body::TimeoutNow { last: at(3, 3) };
    let mut right = follower();
    right.hear(2, 3, effects(3, THEIRS, true));
    assert_eq!(right.replica.differs(), None, "node 2 does not lead");
    right.hear(3, 3, effects(3, OURS, true));
    assert_eq!(right.replica.differs(), None, "it is the same");
    right.hear(3, 3, order());
    assert_eq!(right.replica.status().role, RoleKind::Candidate);

    let mut wrong = follower();
    wrong.hear(3, 3, effects(3, THEIRS, true));
    let difference = Difference { index: LogIndex::new(3), ours: OURS, theirs: THEIRS };
    assert_eq!(wrong.replica.differs(), Some(difference));
    wrong.hear(3, 3, order());
    assert_eq!(wrong.replica.status().role, RoleKind::Follower);
    wrong.ask(5, Consistency::Stale);
    assert_eq!(wrong.take_replies(), [Reply::Differs { request: request(5) }]);
    // Where the leader is, it still says.
    wrong.propose([6]);
    let reason = Rejection::NotLeader { leader: Some(id(3)) };
    assert_eq!(wrong.take_replies(), [Reply::Refused { request: request(6), reason }]);
    // All that follows is made of the wrong state as well: entries are taken all the same.
    wrong.follow(3, at(3, 3), vec![entry(3, 4, "y")], 3);
    assert_eq!(wrong.replica.status().last, at(3, 4));
}
