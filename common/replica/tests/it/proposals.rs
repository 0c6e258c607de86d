//! Proposals: each is answered once, and with what is certain at that time.

use bytes::Bytes;

use crate::kit::{Node, appended, applied, at, entry, id, proposal, request};
use consensus::{Input as Raw, Rejection};
use replica::{Input, Limits, Proposal, Purpose, Reply, Space};

fn refused(number: u64, reason: Rejection) -> Reply {
    Reply::Refused { request: request(number), reason }
}

fn not_leader(number: u64, leader: Option<u64>) -> Reply {
    refused(number, Rejection::NotLeader { leader: leader.map(id) })
}

#[test]
fn a_proposal_is_answered_when_it_is_applied_and_not_before() {
    let mut node = Node::leader(&[1], Limits::default());
    node.propose([7]);
    assert_eq!(node.replies, [], "it stands in the log");
    node.persist();
    assert_eq!(node.replies, [], "it is committed");
    node.apply();
    assert_eq!(node.replies, [applied(7, 3, "7")]);
    assert_eq!(node.replica.waiting(), (0, 0));
}

#[test]
fn a_proposal_waits_for_a_majority() {
    let mut node = Node::leader(&[1, 2, 3], Limits::default());
    node.propose([7]);
    node.finish();
    assert_eq!(node.replies, []);
    node.hear(2, 2, appended(3));
    node.finish();
    assert_eq!(node.replies, [applied(7, 3, "7")]);
}

#[test]
fn the_proposals_of_a_turn_are_one_write_and_each_has_its_answer() {
    let mut node = Node::leader(&[1], Limits::default());
    node.propose(10..=14);
    assert_eq!(node.writes.len(), 1);
    assert_eq!(node.writes[0].append.len(), 5);
    node.propose([15]);
    node.finish();
    let expected: Vec<Reply> = (10..=15).map(|n| applied(n, n - 7, &n.to_string())).collect();
    assert_eq!(node.replies, expected);
}

#[test]
fn answers_come_for_what_is_applied_and_the_rest_waits() {
    let mut node = Node::leader(&[1, 2, 3], Limits::default());
    node.propose([1, 2, 3]);
    node.persist();
    node.hear(2, 2, appended(4));
    node.finish();
    assert_eq!(node.take_replies(), [applied(1, 3, "1"), applied(2, 4, "2")]);
    assert_eq!(node.replica.waiting().0, 1);
    node.hear(2, 2, appended(5));
    node.finish();
    assert_eq!(node.take_replies(), [applied(3, 5, "3")]);
}

#[test]
fn who_does_not_lead_refuses_and_names_the_leader() {
    let mut node = Node::new(&[1, 2, 3], Limits::default());
    node.propose([1, 2]);
    assert_eq!(node.take_replies(), [not_leader(1, None), not_leader(2, None)]);
    node.follow(5, at(1, 1), vec![], 0);
    node.propose([3]);
    assert_eq!(node.take_replies(), [not_leader(3, Some(3))]);
    assert_eq!(node.log.len(), 1, "nothing was written");
    assert_eq!(node.replica.waiting(), (0, 0));
}

/// Makes the input of commands that come together.
fn batch(numbers: impl IntoIterator<Item = u64>, frees: impl Fn(u64) -> bool) -> Input {
    let one = |number: u64| Proposal {
        request: request(number),
        command: number.to_string().into(),
        purpose: if frees(number) { Purpose::Frees } else { Purpose::Data },
    };
    Input::ProposeAll { proposals: numbers.into_iter().map(one).collect() }
}

/// Were it refused as a whole, it would be so for ever, though nothing is under way.
#[test]
fn of_a_batch_that_is_larger_than_the_log_takes_at_once_the_beginning_is_taken() {
    let limits = Limits { proposals_max: 100_000, ..Limits::default() };
    let mut node = Node::leader(&[1, 2, 3], limits);
    let most = node.replica.raft().places();
    let last = node.replica.raft().last().index.get();
    node.turn([batch(1..=most + 2, |_| false)]);
    let over = [most + 1, most + 2].map(|n| refused(n, Rejection::Busy));
    assert_eq!(node.take_replies(), over);
    assert_eq!(node.replica.raft().last().index.get(), last + most);
    assert_eq!(node.replica.raft().places(), 0);
    node.turn([proposal(0, "0")]);
    assert_eq!(node.take_replies(), [refused(0, Rejection::Busy)]);
}

#[test]
fn behind_a_refused_command_of_a_batch_none_is_taken() {
    let limits = Limits { proposals_max: 4, proposal_bytes_max: 5, ..Limits::default() };
    let mut node = Node::leader(&[1], limits);
    // 100 has no room for its bytes; 4 and 5 would have.
    node.turn([batch([1, 2, 3, 100, 4, 5], |_| false), proposal(6, "6")]);
    assert_eq!(node.take_replies(), [100, 4, 5].map(|n| refused(n, Rejection::Busy)));
    node.finish();
    assert_eq!(
        node.take_replies(),
        [(1, 3), (2, 4), (3, 5), (6, 6)].map(|(n, at)| { applied(n, at, &n.to_string()) })
    );
    let space = Space { usable_bytes: 999, needed_bytes: 1_000, least_bytes: 200 };
    node.turn([Input::Space(space), batch([7, 8, 9], |number| number != 8)]);
    let no_room = |number| {
        let (request, voters) = (request(number), Vec::new());
        Reply::NoRoom { request, deletions: true, voters }
    };
    assert_eq!(node.take_replies(), [no_room(8), no_room(9)], "9 frees space, and waits for 8");
    node.finish();
    assert_eq!(node.take_replies(), [applied(7, 7, "7")]);
}

#[test]
fn a_batch_is_refused_as_a_whole_by_who_does_not_lead() {
    let mut node = Node::new(&[1, 2, 3], Limits::default());
    node.turn([batch([1, 2], |_| false)]);
    assert_eq!(node.take_replies(), [1, 2].map(|number| not_leader(number, None)));
}

#[test]
fn leadership_lost_within_the_turn_is_a_refusal() {
    let mut node = Node::leader(&[1, 2, 3], Limits::default());
    let message = consensus::Message {
        term: consensus::Term::new(9),
        body: consensus::Body::AppendEntries {
            prev: at(2, 2),
            entries: vec![],
            commit: consensus::LogIndex::new(2),
            round: consensus::ReadRound::ZERO,
        },
    };
    let incarnation = consensus::Incarnation::new(103);
    let heard = Input::Raft(Raw::Receive { from: id(3), incarnation, message });
    node.turn([proposal(1, "x"), heard]);
    assert_eq!(node.replies, [not_leader(1, Some(3))]);
}

#[test]
fn another_entry_applied_in_its_place_means_superseded() {
    let mut node = Node::leader(&[1, 2, 3], Limits::default());
    node.propose([1, 2, 3]);
    node.persist();
    node.follow(3, at(2, 2), vec![entry(3, 3, "theirs"), entry(3, 4, "theirs")], 2);
    node.persist();
    assert_eq!(node.replies, [], "a cut entry may still be committed by others");
    node.follow(3, at(3, 4), vec![], 4);
    node.finish();
    // The third stood behind them, where nobody has written anything else.
    let superseded = |number| Reply::Superseded { request: request(number) };
    assert_eq!(node.take_replies(), [1, 2, 3].map(superseded));
    assert_eq!(node.replica.waiting(), (0, 0));
}

#[test]
fn an_own_entry_that_another_leader_commits_is_applied() {
    let mut node = Node::leader(&[1, 2, 3], Limits::default());
    node.propose([1]);
    node.persist();
    node.follow(3, at(2, 3), vec![entry(3, 4, "theirs")], 4);
    node.finish();
    assert_eq!(node.replies, [applied(1, 3, "1")]);
}

/// Figure 3.7: entry (2,3) is cut here, this node leads again and writes (4,3), and a third node,
/// which still holds (2,3), is elected and commits it.
#[test]
fn an_entry_that_was_cut_and_comes_back_is_applied() {
    let mut node = Node::leader(&[1, 2, 3], Limits::default());
    node.propose([1]);
    node.persist();
    node.follow(3, at(2, 2), vec![entry(3, 3, "theirs")], 2);
    node.persist();
    node.campaign();
    assert_eq!(node.replica.status().term.get(), 4);
    node.propose([2]);
    assert_eq!(node.replies, [], "neither is decided");
    node.follow(5, at(2, 2), vec![entry(2, 3, "1"), entry(5, 4, "x"), entry(5, 5, "y")], 5);
    node.finish();
    let superseded = Reply::Superseded { request: request(2) };
    assert_eq!(node.replies, [applied(1, 3, "1"), superseded]);
}

#[test]
fn more_proposals_than_the_limit_are_refused_and_room_comes_back() {
    let limits = Limits { proposals_max: 3, ..Limits::default() };
    let mut node = Node::leader(&[1], limits);
    node.propose(1..=5);
    assert_eq!(node.take_replies(), [4, 5].map(|n| refused(n, Rejection::Busy)));
    node.propose([6]);
    assert_eq!(node.take_replies(), [refused(6, Rejection::Busy)]);
    node.finish();
    assert_eq!(node.take_replies().len(), 3);
    node.propose(7..=9);
    node.finish();
    assert_eq!(node.take_replies().len(), 3);
}

/// Who keeps asking would keep it away for ever: nobody would hear that disks are full.
#[test]
fn a_leaders_alarms_and_notes_are_taken_however_many_wait() {
    for purpose in [Purpose::Alarm, Purpose::Note] {
        let limits = Limits { proposals_max: 1, proposal_bytes_max: 10, ..Limits::default() };
        let mut node = Node::leader(&[1], limits);
        node.propose(1..=2);
        assert_eq!(node.take_replies(), [refused(2, Rejection::Busy)]);
        let command = Bytes::from_static(b"what its leader itself proposes");
        node.turn([Input::Propose { request: request(3), command, purpose }]);
        assert_eq!(node.take_replies(), []);
        node.finish();
        assert_eq!(node.take_replies().len(), 2);
    }
}

#[test]
fn more_bytes_than_the_limit_are_refused_and_room_comes_back() {
    let limits = Limits { proposal_bytes_max: 1_000, ..Limits::default() };
    let mut node = Node::leader(&[1], limits);
    let large = |number, bytes| proposal(number, &"x".repeat(bytes));
    node.turn([large(1, 600), large(2, 600), large(3, 400)]);
    assert_eq!(node.take_replies(), [refused(2, Rejection::Busy)]);
    node.turn([large(4, 1)]);
    assert_eq!(node.take_replies(), [refused(4, Rejection::Busy)]);
    node.finish();
    node.take_replies();
    node.turn([large(5, 1_000)]);
    node.finish();
    assert_eq!(node.take_replies().len(), 1);
}

/// What a refused turn had reserved is free again.
#[test]
fn refusals_of_a_follower_use_no_room() {
    let limits = Limits { proposals_max: 2, proposal_bytes_max: 4, ..Limits::default() };
    let mut node = Node::new(&[1, 2, 3], limits);
    for _ in 0..10 {
        node.propose([1, 2]);
        assert_eq!(node.take_replies(), [not_leader(1, None), not_leader(2, None)]);
    }
}

/// Entries of an earlier leadership that were cut are decided only when the log grows: if they used
/// up all the room, it never would.
#[test]
fn a_new_leadership_has_all_its_room_museum_i6() {
    let limits = Limits { proposals_max: 3, proposal_bytes_max: 3, ..Limits::default() };
    let mut node = Node::leader(&[1, 2, 3], limits);
    node.propose([1, 2, 3]);
    node.persist();
    node.follow(3, at(2, 2), vec![], 2);
    node.follow(3, at(2, 2), vec![entry(3, 3, "theirs")], 2);
    node.finish();
    assert_eq!(node.take_replies(), []);
    node.campaign();
    node.propose([4, 5, 6]);
    assert_eq!(node.take_replies(), []);
    node.persist();
    node.hear(2, 4, appended(7));
    node.finish();
    let replies = node.take_replies();
    assert_eq!(replies.len(), 6, "{replies:?}");
    assert_eq!(node.replica.waiting(), (0, 0));
}

#[test]
fn a_failed_disk_refuses_what_comes_and_keeps_waiting_what_was_written() {
    let mut node = Node::leader(&[1], Limits::default());
    node.propose([1]);
    let write = node.writes[0].id;
    node.turn([Input::Raft(Raw::WriteFailed { write })]);
    node.propose([2]);
    assert_eq!(node.take_replies(), [refused(2, Rejection::DiskFailed)]);
    node.turn([Input::Abandon]);
    assert_eq!(node.take_replies(), [Reply::Unknown { request: request(1) }]);
}

#[test]
fn abandoning_tells_each_writer_once_that_nobody_knows() {
    let mut node = Node::leader(&[1, 2, 3], Limits::default());
    node.propose([1, 2]);
    let inputs = [proposal(3, "never stepped"), Input::Abandon];
    node.turn(inputs);
    let unknown = |number| Reply::Unknown { request: request(number) };
    assert_eq!(node.take_replies(), [unknown(1), unknown(2), not_leader(3, None)]);
    assert_eq!(node.replica.waiting(), (0, 0));
    node.persist();
    node.hear(2, 2, appended(4));
    node.finish();
    assert_eq!(node.take_replies(), [], "nobody is told twice");
}
