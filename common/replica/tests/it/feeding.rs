//! Followers that are far behind: what the cache has no longer goes out in pieces, one at a time
//! and at a rate.

use crate::kit::{MS, Node, appended, at, id, request};
use bytes::Bytes;
use consensus::{Body, EntryId, LogIndex, Outgoing, RoleKind, Term, Timer};
use replica::{FeedLimits, Input, Limits, Pacer, Piece, Purpose, Sent};

/// One piece takes a tenth of a second.
const FEED: FeedLimits =
    FeedLimits { bytes_per_s_max: 10_000, piece_bytes_max: 600, piece_entries_max: 4 };

/// A leader of three, whose cache has only the newest of 40 entries: node 3 has nothing, and node 2
/// has all.
fn leader() -> Node {
    let limits = Limits { cache_bytes_max: 300, feed: FEED, ..Limits::default() };
    let mut node = Node::leader(&[1, 2, 3], limits);
    for first in (1..=40).step_by(4) {
        node.propose(first..first + 4);
        node.hear(2, 2, appended(first + 5));
        node.finish();
    }
    node.sent.clear();
    node
}

/// Node 3 tells that it has the log up to `matched`, and needs what follows.
fn needs(node: &mut Node, matched: u64) {
    node.hear(3, 2, appended(matched));
}

fn take_piece(node: &mut Node) -> Piece {
    assert_eq!(node.pieces.len(), 1, "one piece a follower: {:?}", node.pieces);
    node.pieces.pop().expect("one")
}

/// The driver has sent these entries of a piece.
fn sent(node: &mut Node, piece: &Piece, last: u64, bytes: u64) {
    let last = at(if last < 2 { 1 } else { 2 }, last);
    let sent = Some(Sent { last, bytes });
    node.turn([Input::Fed { number: piece.number, to: piece.to, sent }]);
}

fn not_sent(node: &mut Node, piece: &Piece) {
    node.turn([Input::Fed { number: piece.number, to: piece.to, sent: None }]);
}

/// Time passes until the next piece is due.
fn wait(node: &mut Node) -> u64 {
    let began = node.now;
    while node.pieces.is_empty() {
        let (due, timer) = node.replica.deadline().expect("a leader has one");
        node.now = node.now.max(due);
        assert!(node.now.since(began) < 10_000 * MS, "no piece is due");
        if timer != Timer::Feed {
            node.hear(2, 2, appended(42));
        }
        node.turn([Input::Raft(consensus::Input::Timeout(timer))]);
    }
    node.now.since(began)
}

fn entries_to_3(node: &Node) -> Vec<(EntryId, u64)> {
    let entries = |send: &Outgoing| match send {
        Outgoing::Entries { to, prev, range, .. } if *to == id(3) => Some((*prev, range.end.get())),
        _ => None,
    };
    node.sent.iter().filter_map(entries).collect()
}

#[test]
fn what_the_cache_has_goes_out_at_once_and_nothing_else() {
    let mut node = leader();
    needs(&mut node, 41);
    assert_eq!(entries_to_3(&node), [(at(2, 41), 43)]);
    assert_eq!(node.pieces, []);
    let mut node = leader();
    needs(&mut node, 2);
    assert_eq!(entries_to_3(&node), []);
    let piece = take_piece(&mut node);
    assert_eq!((piece.to, piece.term, piece.prev), (id(3), Term::new(2), at(2, 2)));
    assert_eq!(piece.range, LogIndex::new(3)..LogIndex::new(7), "no more than a message carries");
    assert!(node.replica.wants(&piece));
}

#[test]
fn one_piece_is_under_way_at_a_time_and_they_go_out_at_the_rate() {
    let mut node = leader();
    needs(&mut node, 2);
    let first = take_piece(&mut node);
    // Whatever the follower says meanwhile, the next one waits for this one.
    needs(&mut node, 2);
    assert_eq!(node.pieces, []);
    // Not all that was asked for went into the message.
    sent(&mut node, &first, 5, 1_000);
    assert_eq!(node.pieces, [], "it is too early");
    assert_eq!(wait(&mut node), 100 * MS);
    let second = take_piece(&mut node);
    assert_eq!((second.prev, second.range.start), (at(2, 5), LogIndex::new(6)));
    assert_ne!(first.number, second.number);
}

#[test]
fn a_follower_whose_rest_is_in_memory_keeps_up_from_there_on() {
    let mut node = leader();
    needs(&mut node, 2);
    // The first message has not all that was asked for.
    let piece = take_piece(&mut node);
    sent(&mut node, &piece, 5, 100);
    let mut next = 6;
    while entries_to_3(&node).is_empty() {
        wait(&mut node);
        let piece = take_piece(&mut node);
        assert_eq!(piece.range.start.get(), next, "nothing is left out, nothing comes twice");
        next = piece.range.end.get();
        sent(&mut node, &piece, next - 1, 100);
    }
    assert_eq!(entries_to_3(&node), [(at(2, next - 1), 43)]);
    node.sent.clear();
    node.propose([41]);
    assert_eq!(entries_to_3(&node), [(at(2, 42), 44)]);
    assert_eq!(node.pieces, []);
}

#[test]
fn what_goes_on_is_joined() {
    let mut node = leader();
    needs(&mut node, 2);
    let piece = take_piece(&mut node);
    node.propose([41]);
    assert_eq!(entries_to_3(&node), [], "it would overtake the pieces");
    sent(&mut node, &piece, 6, 100);
    let mut last = LogIndex::ZERO;
    while entries_to_3(&node).is_empty() {
        wait(&mut node);
        let piece = take_piece(&mut node);
        last = LogIndex::new(piece.range.end.get() - 1);
        sent(&mut node, &piece, last.get(), 100);
    }
    assert_eq!(entries_to_3(&node), [(at(2, last.get()), 44)]);
}

#[test]
fn what_does_not_go_on_counts_alone_and_a_piece_read_before_is_not_wanted() {
    let mut node = leader();
    needs(&mut node, 10);
    let piece = take_piece(&mut node);
    assert_eq!(piece.prev, at(2, 10));
    // The leader looks again for the place where the logs agree.
    node.turn([Input::Raft(consensus::Input::Unreachable { peer: id(3) })]);
    needs(&mut node, 20);
    assert_eq!(node.pieces, []);
    assert!(!node.replica.wants(&piece));
    not_sent(&mut node, &piece);
    let piece = take_piece(&mut node);
    assert_eq!(piece.prev, at(2, 20));
}

#[test]
fn a_piece_that_cannot_be_sent_lets_the_leader_begin_anew() {
    let mut node = leader();
    needs(&mut node, 2);
    let piece = take_piece(&mut node);
    not_sent(&mut node, &piece);
    assert_eq!(node.pieces, []);
    assert!(!node.replica.wants(&piece));
    needs(&mut node, 6);
    let again = take_piece(&mut node);
    assert_eq!(again.prev, at(2, 6));
    // The one before is forgotten.
    sent(&mut node, &piece, 6, 100);
    assert!(node.replica.wants(&again));
}

#[test]
fn nobody_is_fed_by_who_leads_no_more() {
    let mut node = leader();
    needs(&mut node, 2);
    let piece = take_piece(&mut node);
    node.hear(2, 3, Body::Appended { matched: LogIndex::ZERO, round: Default::default() });
    assert_eq!(node.replica.raft().role(), RoleKind::Follower);
    assert!(!node.replica.wants(&piece));
    not_sent(&mut node, &piece);
    assert!(node.replica.deadline().is_none_or(|(_, timer)| timer != Timer::Feed));
    assert_eq!(node.pieces, []);
}

#[test]
fn a_follower_is_fed_twice_as_fast_as_the_log_grows() {
    let mut node = leader();
    needs(&mut node, 2);
    let piece = take_piece(&mut node);
    // It grows by 100 entries in 100 ms, so by a thousand a second, of a hundred bytes each.
    for number in 0..25u64 {
        let command = Bytes::from_static(b"x");
        let inputs = (0..4).map(|more| Input::Propose {
            request: request(1_000 + 4 * number + more),
            command: command.clone(),
            purpose: Purpose::Data,
        });
        node.turn(inputs);
        node.hear(2, 2, appended(42 + 4 * (number + 1)));
        node.finish();
    }
    node.now = node.now.after(100 * MS);
    sent(&mut node, &piece, 6, 400);
    let (due, _) = node.replica.deadline().expect("a piece is due");
    // After a pause, half of it is caught up with.
    assert!(due.since(node.now) <= 2 * MS, "200 kB a second, not 10: {}", due.since(node.now));
}

#[test]
fn bytes_pass_at_the_rate_and_pauses_are_not_caught_up_with() {
    let begin = consensus::Timestamp::new(1_000 * MS);
    let mut pacer = Pacer::new(1_000, begin);
    assert_eq!(pacer.pass(100, begin), 100 * MS);
    assert_eq!(pacer.pass(100, begin), 200 * MS);
    let later = begin.after(60_000 * MS);
    assert_eq!(pacer.pass(100, later), 50 * MS);
    assert_eq!(pacer.pass(100, later), 150 * MS);
}

#[test]
fn a_piece_is_waited_for_and_then_the_time_of_the_next_one() {
    let mut node = leader();
    needs(&mut node, 2);
    let piece = take_piece(&mut node);
    let feeds_at = |node: &Node| {
        let (due, timer) = node.replica.deadline().expect("a leader has one");
        (timer == Timer::Feed).then_some(due)
    };
    assert_eq!(feeds_at(&node), None, "it is read and sent");
    // Sooner than the next heartbeat.
    sent(&mut node, &piece, 6, 300);
    assert_eq!(feeds_at(&node), Some(node.now.after(30 * MS)));
}

#[test]
fn behind_a_piece_that_brings_the_rest_there_is_nothing_to_send() {
    let mut node = leader();
    needs(&mut node, 2);
    // Four at a time; also of the last four the first is not in memory any more.
    for first in (3..=39).step_by(4) {
        wait(&mut node);
        let piece = take_piece(&mut node);
        assert_eq!(piece.range, LogIndex::new(first)..LogIndex::new(first + 4));
        sent(&mut node, &piece, first + 3, 100);
    }
    node.now = node.now.after(1_000 * MS);
    node.turn([]);
    assert_eq!((node.pieces.len(), entries_to_3(&node)), (0, vec![]));
    node.propose([41]);
    assert_eq!(entries_to_3(&node), [(at(2, 42), 44)], "it keeps up");
}

/// What went out has used up its time already, whatever the leader finds out meanwhile.
#[test]
fn what_a_leader_sends_anew_to_who_is_fed_waits_until_its_time() {
    let mut node = leader();
    needs(&mut node, 2);
    let piece = take_piece(&mut node);
    sent(&mut node, &piece, 6, 1_000);
    node.now = node.now.after(99 * MS);
    node.turn([Input::Raft(consensus::Input::Unreachable { peer: id(3) })]);
    needs(&mut node, 41);
    assert_eq!((node.pieces.len(), entries_to_3(&node)), (0, vec![]), "though it is in memory");
    node.now = node.now.after(MS);
    node.turn([]);
    assert_eq!((node.pieces.len(), entries_to_3(&node)), (0, vec![(at(2, 41), 43)]));
}

/// It is a follower of nobody then, and the term is still that in which the piece was made.
#[test]
fn a_leader_that_has_lost_its_quorum_feeds_nobody_any_more() {
    let mut node = leader();
    needs(&mut node, 2);
    let piece = take_piece(&mut node);
    node.now = node.now.after(1_000 * MS);
    node.turn([Input::Raft(consensus::Input::Timeout(Timer::QuorumCheck))]);
    let raft = node.replica.raft();
    assert_eq!((raft.role(), raft.term()), (RoleKind::Follower, piece.term));
    assert!(!node.replica.wants(&piece));
    sent(&mut node, &piece, 6, 100);
    node.now = node.now.after(1_000 * MS);
    node.turn([]);
    assert_eq!(node.pieces, []);
}

/// The log grows by 20 entries a second, so that 40 entries a second go out: of that size which
/// those have on average that were sent so far.
#[test]
fn the_rate_of_growth_is_that_of_entries_as_large_as_those_sent() {
    let mut node = leader();
    needs(&mut node, 2);
    let piece = take_piece(&mut node);
    node.propose([41, 42]);
    node.hear(2, 2, appended(44));
    node.finish();
    node.now = node.now.after(100 * MS);
    // Four of a thousand bytes: at 40 kB a second they take a tenth of one, and half of the pause
    // before is caught up with.
    sent(&mut node, &piece, 6, 4_000);
    needs(&mut node, 6);
    assert_eq!(wait(&mut node), 50 * MS);
    let piece = take_piece(&mut node);
    // Four of two thousand. In 150 ms it grew by two entries of 1,500 bytes: it is 40 kB again.
    sent(&mut node, &piece, 10, 8_000);
    needs(&mut node, 10);
    assert_eq!(wait(&mut node), 200 * MS);
}

/// They begin just behind those of the feed, for the log has not grown but by them: they are not
/// taken for its continuation, and forgotten with it.
#[test]
fn what_is_sent_in_a_new_term_outlives_the_feed_of_an_older_one() {
    let mut node = leader();
    needs(&mut node, 2);
    let piece = take_piece(&mut node);
    node.hear(2, 3, appended(0));
    node.persist();
    assert_eq!(node.replica.raft().role(), RoleKind::Follower);
    node.campaign();
    assert_eq!((node.replica.raft().term(), entries_to_3(&node)), (Term::new(4), vec![]));
    assert!(!node.replica.wants(&piece));
    not_sent(&mut node, &piece);
    assert_eq!(entries_to_3(&node), [(at(2, 42), 44)], "the first entry of the new term");
}
