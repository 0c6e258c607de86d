//! Room on the disk: what is refused, what is dropped, and when it is taken again.

use crate::kit::{Node, appended, at, configuration, entry, id, proposal, request};
use bytes::Bytes;
use consensus::{
    Body, ClusterTime, Configuration, Entry, EntryId, Incarnation, Input as Raw, LogIndex, Message,
    Outgoing, Payload, Term, Timestamp,
};
use replica::{Alarm, Input, Limits, Purpose, ROOM_STEADY_NS, Reply, RoomAction, RoomLevel, Space};

fn space(usable_bytes: u64) -> Input {
    Input::Space(Space { usable_bytes, needed_bytes: 1_000, least_bytes: 200 })
}

fn deletion(number: u64) -> Input {
    let command = Bytes::from_static(b"delete");
    Input::Propose { request: request(number), command, purpose: Purpose::Frees }
}

fn no_room(number: u64, deletions: bool) -> Reply {
    Reply::NoRoom { request: request(number), deletions, voters: Vec::new() }
}

fn tell(before: RoomLevel, level: RoomLevel) -> RoomAction {
    RoomAction::Tell { before, level }
}

#[test]
fn a_leader_without_room_takes_what_frees_and_refuses_what_adds() {
    let mut node = Node::leader(&[1], Limits::default());
    node.turn([space(999), proposal(1, "put"), deletion(2)]);
    assert_eq!(node.take_replies(), [no_room(1, true)]);
    assert_eq!(node.room, [tell(RoomLevel::Enough, RoomLevel::Short), RoomAction::Flush]);
    node.finish();
    assert_eq!(node.take_replies().len(), 1, "the deletion is applied");
    node.turn([space(199), deletion(3), proposal(4, "put")]);
    assert_eq!(node.take_replies(), [no_room(3, false), no_room(4, false)]);
}

/// They are written twice before they free anything.
#[test]
fn deletions_that_are_under_way_take_room_as_well() {
    let mut node = Node::leader(&[1], Limits::default());
    let large = |number| {
        let command = Bytes::from("d".repeat(200));
        Input::Propose { request: request(number), command, purpose: Purpose::Frees }
    };
    node.turn([space(900), large(1), large(2)]);
    assert_eq!(node.take_replies(), [no_room(2, false)]);
    node.finish();
    assert_eq!(node.take_replies().len(), 1, "the first is applied");
    node.turn([space(900), large(3)]);
    assert_eq!(node.take_replies(), [], "nothing is under way any more");
}

#[test]
fn room_counts_when_it_lasts() {
    let mut node = Node::leader(&[1], Limits::default());
    node.turn([space(999), space(10_000), proposal(1, "put")]);
    assert_eq!(node.take_replies(), [no_room(1, true)], "it is not steady yet");
    node.now = node.now.after(ROOM_STEADY_NS - 1);
    node.turn([space(999), space(10_000), proposal(2, "put")]);
    assert_eq!(node.take_replies(), [no_room(2, true)], "it came and went");
    node.now = node.now.after(ROOM_STEADY_NS);
    node.turn([proposal(3, "put")]);
    assert_eq!(node.take_replies(), []);
    assert_eq!(node.room.last(), Some(&tell(RoomLevel::Short, RoomLevel::Enough)));
    node.finish();
    assert_eq!(node.take_replies().len(), 1);
}

#[test]
fn what_is_under_way_is_counted_until_it_is_written() {
    let mut node = Node::leader(&[1], Limits::default());
    node.turn([space(2_300), proposal(1, &"x".repeat(600))]);
    node.turn([proposal(2, &"x".repeat(100))]);
    assert_eq!(node.take_replies(), [no_room(2, true)]);
    node.finish();
    assert_eq!(node.take_replies().len(), 1);
    node.turn([space(2_300)]);
    node.now = node.now.after(ROOM_STEADY_NS);
    node.turn([proposal(3, &"x".repeat(20))]);
    assert_eq!(node.take_replies(), [], "all is written");
    assert_eq!(node.replica.room(), RoomLevel::Enough);
}

#[test]
fn without_room_the_state_is_flushed_from_time_to_time_but_not_at_the_end() {
    let mut node = Node::leader(&[1], Limits::default());
    let flushes = |node: &Node| node.room.iter().filter(|a| **a == RoomAction::Flush).count();
    for _ in 0..10 {
        node.now = node.now.after(1_000_000_000);
        node.turn([space(999)]);
    }
    assert_eq!(flushes(&node), 2);
    for _ in 0..10 {
        node.now = node.now.after(1_000_000_000);
        node.turn([space(199)]);
    }
    assert_eq!(flushes(&node), 2, "the flush itself might not find room");
}

#[test]
fn a_follower_at_its_end_drops_commands_and_takes_what_a_leader_needs() {
    let mut node = Node::new(&[1, 2, 3], Limits::default());
    node.turn([space(199)]);
    let noop = Entry::new(at(5, 2), ClusterTime::ZERO, Payload::Noop);
    node.follow(5, at(1, 1), vec![noop], 1);
    node.finish();
    assert_eq!((node.log.len(), node.dropped), (2, 0));
    node.follow(5, at(5, 2), vec![entry(5, 3, "put")], 2);
    assert_eq!((node.log.len(), node.dropped), (2, 1));
    node.turn([space(200)]);
    node.follow(5, at(5, 2), vec![entry(5, 3, "put")], 2);
    assert_eq!((node.log.len(), node.dropped), (3, 1), "it is sent again");
}

#[test]
fn a_follower_whose_disk_is_behind_drops_entries_until_it_has_written_some() {
    let limits = Limits { unwritten_bytes_max: 100, ..Limits::default() };
    let mut node = Node::new(&[1, 2, 3], limits);
    node.follow(5, at(1, 1), vec![entry(5, 2, "a"), entry(5, 3, "b")], 1);
    node.follow(5, at(5, 3), vec![entry(5, 4, "c")], 1);
    assert_eq!((node.log.len(), node.dropped), (3, 1));
    node.finish();
    node.follow(5, at(5, 3), vec![entry(5, 4, "c")], 1);
    assert_eq!((node.log.len(), node.dropped), (4, 1));
}

/// Its leader could not tell them from what is slow, and would wait for ever longer (§3.5).
#[test]
fn a_follower_that_dropped_entries_asks_for_them_as_soon_as_there_is_room() {
    let limits = Limits { unwritten_bytes_max: 100, ..Limits::default() };
    let mut node = Node::new(&[1, 2, 3], limits);
    node.follow(5, at(1, 1), vec![entry(5, 2, "a"), entry(5, 3, "b")], 1);
    node.follow(5, at(5, 3), vec![entry(5, 4, "c")], 1);
    node.follow(5, at(5, 4), vec![entry(5, 5, "d"), entry(5, 6, "e")], 1);
    assert_eq!((node.dropped, node.sent.as_slice()), (2, [].as_slice()), "there is no room yet");
    node.persist();
    let refusals = |node: &Node| -> Vec<(EntryId, EntryId)> {
        let refusal = |sent: &Outgoing| match sent {
            Outgoing::Message { to, message, .. } if *to == id(3) => match message.body {
                Body::Conflict { refused, hint, .. } => Some((refused, hint)),
                _ => None,
            },
            _ => None,
        };
        node.sent.iter().filter_map(refusal).collect()
    };
    let (last_dropped, last) = (at(5, 6), at(5, 3));
    assert_eq!(refusals(&node), [(last_dropped, last)]);
    node.follow(5, at(5, 3), vec![entry(5, 4, "c")], 1);
    node.persist();
    assert_eq!(refusals(&node).len(), 1, "it asks once");
    assert_eq!((node.log.len(), node.dropped), (4, 2));
}

/// It leads no more, and the next leader finds out by itself.
#[test]
fn what_was_dropped_of_an_earlier_leader_is_not_asked_for() {
    let limits = Limits { unwritten_bytes_max: 100, ..Limits::default() };
    let mut node = Node::new(&[1, 2, 3], limits);
    node.follow(5, at(1, 1), vec![entry(5, 2, "a"), entry(5, 3, "b")], 1);
    node.follow(5, at(5, 3), vec![entry(5, 4, "c")], 1);
    node.follow(6, at(5, 3), vec![], 1);
    node.persist();
    assert_eq!(node.dropped, 1);
    assert!(!node.sent.iter().any(is_refusal), "{:?}", node.sent);
}

/// Also at the disk's end, whatever is written meanwhile.
#[test]
fn a_follower_without_room_on_disk_asks_when_there_is_some() {
    let mut node = Node::new(&[1, 2, 3], Limits::default());
    node.turn([space(199)]);
    node.follow(5, at(1, 1), vec![entry(5, 2, "put")], 1);
    node.persist();
    assert!(!node.sent.iter().any(is_refusal), "the disk is full still");
    node.turn([space(200)]);
    node.persist();
    assert!(node.sent.iter().any(is_refusal));
}

fn is_refusal(sent: &Outgoing) -> bool {
    let Outgoing::Message { message, .. } = sent else { return false };
    matches!(message.body, Body::Conflict { .. })
}

/// What fills the memory may wait for a commitment, and that for the next leader's first entry.
#[test]
fn entries_that_wait_for_a_commitment_keep_no_others_away() {
    let limits = Limits { cache_bytes_max: 100, ..Limits::default() };
    let mut node = Node::new(&[1, 2, 3], limits);
    let many = (2..=9).map(|index| entry(5, index, "x")).collect();
    node.follow(5, at(1, 1), many, 1);
    node.finish();
    let noop = Entry::new(at(6, 10), ClusterTime::ZERO, Payload::Noop);
    node.follow(6, at(5, 9), vec![noop], 1);
    node.finish();
    assert_eq!((node.replica.raft().last(), node.dropped), (at(6, 10), 0));
    node.follow(6, at(6, 10), vec![], 10);
    node.follow(6, at(6, 10), vec![entry(6, 11, "y")], 10);
    assert_eq!(node.dropped, 1, "the state machine is behind");
    node.finish();
    assert_eq!(node.replica.raft().applied(), LogIndex::new(10));
}

#[test]
fn entries_are_taken_while_no_more_than_twice_the_memory_waits_to_be_applied() {
    let limits = Limits { cache_bytes_max: 100, ..Limits::default() };
    let mut node = Node::new(&[1, 2, 3], limits);
    // A hundred bytes each, with what an entry takes beside its command.
    let follow = |node: &mut Node, index: u64| {
        node.follow(5, at(5, index - 1), vec![entry(5, index, "four")], index);
        (node.log.len(), node.dropped)
    };
    node.follow(5, at(1, 1), vec![entry(5, 2, "four"), entry(5, 3, "four")], 3);
    assert_eq!(node.replica.cache_bytes(), 200);
    assert_eq!(follow(&mut node, 4), (4, 0));
    assert_eq!(follow(&mut node, 5), (4, 1));
    node.finish();
    assert_eq!(follow(&mut node, 5), (5, 1), "all of it is applied");
}

/// It is judged as it comes: what is measured later in the turn is for what comes then.
#[test]
fn a_command_that_was_taken_stays_so_when_the_disk_is_measured() {
    let mut node = Node::leader(&[1], Limits::default());
    node.turn([proposal(1, "put"), space(999), proposal(2, "put")]);
    assert_eq!(node.take_replies(), [no_room(2, true)]);
    node.finish();
    assert_eq!(node.take_replies().len(), 1);
}

#[test]
fn a_leader_that_is_to_stop_names_the_voter_with_most_of_the_log_in_reach() {
    let mut node = Node::leader(&[1, 2, 3], Limits::default());
    node.propose([1]);
    node.hear(3, 2, appended(3));
    let successor = |node: &Node, reach: &[u64]| {
        node.replica.successor(node.now, |id| reach.contains(&id.get())).map(|id| id.get())
    };
    assert_eq!(successor(&node, &[2, 3]), Some(3));
    assert_eq!(successor(&node, &[2]), Some(2));
    assert_eq!(successor(&node, &[]), None);
}

#[test]
fn no_learner_is_named_though_it_has_all_and_nobody_else_is_in_reach() {
    let four = configuration(&[1, 2, 3, 4]);
    let voters = configuration(&[1, 2, 3]).voters().clone();
    let members = Configuration::new(voters, [id(4)].into(), four.members().clone()).unwrap();
    let mut node = Node::restarted(members, Limits::default());
    node.campaign();
    node.hear(2, 2, appended(2));
    node.hear(4, 2, appended(2));
    let successor = |node: &Node, reach: &[u64]| {
        node.replica.successor(node.now, |id| reach.contains(&id.get())).map(|id| id.get())
    };
    assert_eq!(successor(&node, &[4]), None);
    assert_eq!(successor(&node, &[3, 4]), Some(3), "as it votes");
}

fn lacks(lacks: bool) -> Body {
    Body::Room { lacks }
}

fn alarms(ids: &[u64]) -> Input {
    Input::Alarms { raised: ids.iter().map(|number| id(*number)).collect() }
}

fn refused(number: u64, voters: &[u64]) -> Reply {
    let voters = voters.iter().map(|number| id(*number)).collect();
    Reply::NoRoom { request: request(number), deletions: true, voters }
}

#[test]
fn a_leader_refuses_data_while_too_few_voters_have_room() {
    let mut node = Node::leader(&[1, 2, 3], Limits::default());
    node.hear(2, 2, lacks(true));
    assert_eq!(node.alarms.pop(), Some(Alarm { member: id(2), raised: true }));
    node.turn([proposal(1, "put")]);
    assert_eq!(node.take_replies(), [], "two of three have room");
    node.hear(3, 2, lacks(true));
    assert_eq!(node.alarms.pop(), Some(Alarm { member: id(3), raised: true }));
    node.turn([proposal(2, "put"), deletion(3)]);
    assert_eq!(node.take_replies(), [refused(2, &[2, 3])], "before any alarm is in the log");
    node.turn([alarms(&[2, 3])]);
    node.hear(3, 2, lacks(false));
    assert_eq!(node.alarms.pop(), Some(Alarm { member: id(3), raised: false }));
    node.turn([proposal(4, "put")]);
    assert_eq!(node.take_replies(), [refused(4, &[2, 3])], "the log still says so");
    node.turn([alarms(&[2]), proposal(5, "put")]);
    assert_eq!(node.take_replies(), []);
    assert_eq!(node.alarms, []);
}

#[test]
fn the_next_leader_refuses_by_what_the_log_says() {
    let mut node = Node::new(&[1, 2, 3], Limits::default());
    node.turn([alarms(&[2, 3])]);
    assert!(node.replica.alarms().eq([2, 3].map(id)), "any node tells who has one");
    node.campaign();
    node.turn([proposal(1, "put")]);
    assert_eq!(node.take_replies(), [refused(1, &[2, 3])]);
    assert_eq!(node.alarms, [], "nobody has said anything to it");
}

#[test]
fn only_members_are_heard_and_only_in_the_leaders_term() {
    let mut node = Node::leader(&[1, 2, 3], Limits::default());
    node.hear(2, 1, lacks(true));
    node.hear(9, 2, lacks(true));
    let message = Message { term: Term::new(2), body: lacks(true) };
    let (from, incarnation) = (id(3), Incarnation::new(999));
    node.turn([Input::Raft(Raw::Receive { from, incarnation, message })]);
    assert_eq!(node.alarms, []);
    assert_eq!(node.replica.shortage(), None);
}

#[test]
fn a_follower_without_room_tells_its_leader_and_a_leader_the_log() {
    let mut node = Node::new(&[1, 2, 3], Limits::default());
    node.follow(5, at(1, 1), vec![], 1);
    let said = |node: &mut Node| -> Vec<Body> {
        let sent = node.sent.drain(..).filter_map(|send| match send {
            Outgoing::Message { message, .. } => Some(message.body),
            Outgoing::Entries { .. } | Outgoing::Snapshot { .. } => None,
        });
        sent.filter(|body| matches!(body, Body::Room { .. })).collect()
    };
    assert_eq!(said(&mut node), []);
    node.turn([space(999)]);
    node.turn([space(999)]);
    assert_eq!(said(&mut node), [lacks(true)]);
    node.now = node.now.after(1_000_000_000);
    node.turn([space(999)]);
    assert_eq!(said(&mut node), [lacks(true)]);
    node.turn([space(10_000)]);
    node.now = node.now.after(ROOM_STEADY_NS);
    node.turn([space(10_000)]);
    assert_eq!(said(&mut node), [lacks(false)]);

    let mut node = Node::leader(&[1, 2, 3], Limits::default());
    node.turn([space(999)]);
    assert_eq!(node.alarms, [Alarm { member: id(1), raised: true }]);
}

#[test]
fn a_replica_that_is_told_of_no_disk_takes_everything() {
    let mut node = Node::leader(&[1], Limits::default());
    node.now = Timestamp::new(node.now.get() + ROOM_STEADY_NS);
    node.propose([1]);
    assert_eq!(node.take_replies(), []);
    let write = node.writes[0].id;
    node.turn([Input::Raft(Raw::Persisted { write })]);
    assert_eq!(node.replica.room(), RoomLevel::Enough);
}
