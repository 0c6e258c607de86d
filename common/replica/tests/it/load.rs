//! What a replica tells of what waits in it.

use consensus::{Input as Raw, Rejection};
use replica::{Input, Limits, Reply};

use crate::kit::{Node, applied, at, entry, id, proposal, request};

/// A command of so many bytes as its number has digits.
#[test]
fn writes_count_until_they_are_applied_and_are_owed_an_answer() {
    let mut node = Node::leader(&[1], Limits::default());
    let load = |node: &Node| {
        let replica = &node.replica;
        (replica.waiting().0, replica.unapplied_bytes(), replica.held(), replica.owes_answers())
    };
    assert_eq!(load(&node), (0, 0, 0, false));
    node.propose([7, 80]);
    assert_eq!(load(&node), (2, 3, 0, true));
    node.finish();
    assert_eq!(load(&node), (0, 0, 0, false));
}

#[test]
fn who_led_once_owes_answers_and_who_hands_over_holds_writes() {
    let mut node = Node::leader(&[1, 2, 3], Limits::default());
    node.propose([7]);
    node.turn([Input::Raft(Raw::Transfer { request: request(1), to: id(2) })]);
    node.propose([80, 90]);
    let replica = &node.replica;
    assert_eq!((replica.waiting().0, replica.held(), replica.unapplied_bytes()), (3, 2, 5));
    // Another one leads: what was held is sent to it, and what was written is not decided.
    node.follow(3, at(2, 2), vec![entry(3, 3, "theirs")], 2);
    let replica = &node.replica;
    assert_eq!((replica.waiting().0, replica.held()), (1, 0));
    assert!(replica.owes_answers());
    node.follow(3, at(3, 3), vec![], 3);
    node.finish();
    assert!(!node.replica.owes_answers());
}

/// The names of writes for the core are the replica's own, and never those that the driver gives.
#[test]
fn what_is_refused_in_the_turn_of_a_write_is_not_taken_for_the_write() {
    let mut node = Node::leader(&[1], Limits::default());
    for turn in 0..4 {
        // Node 9 is no voter.
        let to_nobody = |number| Input::Raft(Raw::Transfer { request: request(number), to: id(9) });
        let inputs = (0..6).map(to_nobody).chain([proposal(100 + turn, "put")]);
        node.turn(inputs);
        let reason = Rejection::Invalid;
        let refused = |number| Reply::Refused { request: request(number), reason };
        assert_eq!(node.take_replies(), [0, 1, 2, 3, 4, 5].map(refused), "in turn {turn}");
        node.finish();
        assert_eq!(node.take_replies(), [applied(100 + turn, 3 + turn, "put")]);
    }
}
