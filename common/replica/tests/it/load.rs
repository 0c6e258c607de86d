//! What a replica tells of what waits in it.

use consensus::Input as Raw;
use replica::{Input, Limits};

use crate::kit::{Node, at, entry, id, request};

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
