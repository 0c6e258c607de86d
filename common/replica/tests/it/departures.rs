//! Nodes that leave: they are talked to a little longer, and end when they know.

use crate::kit::{MS, Node, appended, at, configuration, id, reconfigure};
use consensus::{
    ClusterTime, Configuration, Entry, Input as Raw, LogIndex, Majority, Payload, Timer, Voters,
};
use replica::{Input, Limits, Removal};

fn without(gone: u64) -> Configuration {
    let rest = [1, 2, 3].into_iter().filter(|number| *number != gone).collect::<Vec<u64>>();
    configuration(&rest)
}

/// The configuration on the way from three nodes to two of them.
fn joint(gone: u64) -> Configuration {
    let all = configuration(&[1, 2, 3]);
    let half = |configuration: &Configuration| Majority::new(configuration.voters().iter());
    let (outgoing, incoming) = (half(&all), half(&without(gone)));
    let voters = Voters::Joint { outgoing, incoming };
    Configuration::new(voters, [].into(), all.members().clone()).unwrap()
}

#[test]
fn who_is_removed_is_talked_to_for_a_while() {
    let mut node = Node::leader(&[1, 2, 3], Limits::default());
    node.hear(3, 2, appended(2));
    assert_eq!(node.peers, [[1, 2, 3]], "once at the start");
    node.turn([reconfigure(1, without(3), 1)]);
    node.finish();
    for index in [3, 4] {
        node.hear(2, 2, appended(index));
        node.finish();
    }
    assert_eq!(node.replica.status().configuration, &without(3));
    assert_eq!(node.peers.last().unwrap()[..], [1, 2, 3], "it has yet to hear of it");
    let before = node.peers.len();
    for _ in 0..100 {
        node.now = node.now.after(60 * MS);
        node.turn([Input::Raft(Raw::Timeout(Timer::Heartbeat))]);
        node.hear(2, 2, appended(4));
    }
    assert_eq!(node.peers[before..], [[1, 2]]);
    assert_eq!(node.removed, None);
}

#[test]
fn a_node_that_has_applied_its_removal_ends_and_not_before_it_is_committed() {
    let mut node = Node::new(&[1, 2, 3], Limits::default());
    let entry = |index, configuration| {
        let payload = Payload::Configuration(configuration);
        Entry::new(at(2, index), ClusterTime::ZERO, payload)
    };
    let entries = vec![entry(2, joint(1)), entry(3, without(1))];
    node.follow(2, at(1, 1), entries, 2);
    node.finish();
    assert_eq!(node.replica.status().applied, LogIndex::new(2));
    assert_eq!(node.removed, None, "it stands in the log, and may yet be cut");
    node.follow(2, at(2, 3), vec![], 3);
    node.finish();
    assert_eq!(node.removed, Some(Removal::Applied { index: LogIndex::new(3) }));
}

#[test]
fn a_node_that_is_told_of_its_removal_ends() {
    let mut node = Node::new(&[1, 2, 3], Limits::default());
    let (by, reason) = (id(2), "removed by entry 7".to_owned());
    node.turn([Input::ToldRemoved { by, reason: reason.clone() }]);
    assert_eq!(node.removed, Some(Removal::Told { by, reason }));
}

/// Its leader may be gone, and then it is this node that brings it the removal.
#[test]
fn a_follower_talks_to_who_was_removed_for_five_seconds() {
    let mut node = Node::new(&[1, 2, 3], Limits::default());
    let entry = |index, configuration| {
        let payload = Payload::Configuration(configuration);
        Entry::new(at(2, index), ClusterTime::ZERO, payload)
    };
    node.follow(2, at(1, 1), vec![entry(2, joint(2)), entry(3, without(2))], 3);
    node.finish();
    let removed = node.now;
    node.now = removed.after(5_000 * MS - 1);
    node.turn([]);
    assert_eq!(node.peers.last().unwrap()[..], [1, 2, 3]);
    node.now = removed.after(5_000 * MS);
    node.turn([]);
    assert_eq!(node.peers.last().unwrap()[..], [1, 3]);
}

/// It was talked to where it had been, until its farewell was over.
#[test]
fn who_was_removed_and_is_back_is_talked_to_where_it_is_now() {
    let mut node = Node::new(&[1, 2, 3], Limits::default());
    let entry = |index, configuration| {
        let payload = Payload::Configuration(configuration);
        Entry::new(at(2, index), ClusterTime::ZERO, payload)
    };
    let all = configuration(&[1, 2, 3]);
    let mut members = all.members().clone();
    members.get_mut(&id(3)).unwrap().address = "elsewhere:7400".to_owned();
    let moved = Configuration::new(all.voters().clone(), [].into(), members).unwrap();
    let entries = vec![entry(2, joint(3)), entry(3, without(3))];
    node.follow(2, at(1, 1), entries, 2);
    assert_eq!(node.addresses[&3], "", "it is leaving");
    node.follow(2, at(2, 3), vec![entry(4, moved)], 3);
    assert_eq!(node.addresses[&3], "elsewhere:7400");
}

#[test]
fn who_is_removed_is_talked_to_for_as_long_as_its_leader_feeds_it() {
    let mut node = Node::leader(&[1, 2, 3], Limits::default());
    node.hear(3, 2, appended(2));
    node.turn([reconfigure(1, without(3), 1)]);
    node.finish();
    // Node 2 answers, but its disk is slow: the removal is not committed, and not dismissed.
    let heartbeats = |node: &mut Node, count: u64, matched: u64| {
        for _ in 0..count {
            node.now = node.now.after(60 * MS);
            node.turn([Input::Raft(Raw::Timeout(Timer::Heartbeat))]);
            node.hear(2, 2, appended(matched));
            node.finish();
        }
    };
    heartbeats(&mut node, 1, 3);
    assert_eq!(node.replica.status().configuration, &without(3));
    heartbeats(&mut node, 100, 3);
    assert_eq!(node.replica.status().commit, LogIndex::new(3));
    assert_eq!(node.peers.last().unwrap()[..], [1, 2, 3], "after six seconds");
    heartbeats(&mut node, 10, 4);
    assert_eq!(node.peers.last().unwrap()[..], [1, 2]);
}
