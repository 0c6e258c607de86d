//! When a snapshot is made, who is sent which, and which files and entries stay for it.

use crate::kit::{MS, Node, appended, at, entry, id, proposal, request};
use consensus::{Body, EntryId, LogIndex, ReadRound, Rejection};
use replica::{Input, Keep, Limits, Reply, SnapshotAction, SnapshotNews, Space, Transfer};

/// A leader of nodes 2 and 3 with ten entries and a log that keeps none; node 3 has nothing.
fn leader() -> Node {
    leader_that_keeps(Keep { entries: 0, bytes_min: 1 << 30, bytes_max: 1 << 30 })
}

fn leader_that_keeps(keep: Keep) -> Node {
    let mut node = Node::leader(&[1, 2, 3], Limits { keep, ..Limits::default() });
    node.propose(1..=8);
    node.finish();
    node.hear(2, 2, appended(10));
    node.finish();
    flushed(&mut node, 10);
    assert_eq!(node.replica.status().base.index.get(), 10);
    node
}

fn flushed(node: &mut Node, index: u64) {
    node.turn([Input::Flushed { index: LogIndex::new(index), state_bytes: 0 }]);
    node.finish();
}

/// Writes an entry, which node 2 has as well, and makes the state durable.
fn write(node: &mut Node, index: u64) {
    write_bytes(node, index, 3);
}

fn write_bytes(node: &mut Node, index: u64, bytes: usize) {
    node.turn([proposal(100 + index, &"x".repeat(bytes))]);
    node.hear(2, 2, appended(index));
    node.finish();
    flushed(node, index);
}

/// Node 3 says that it lacks what the leader sends: it needs a snapshot, and is sent one when the
/// last one that did not get through was long enough ago.
fn lacks_all(node: &mut Node) {
    node.now = node.now.after(1_300 * MS);
    let (refused, hint) = (at(2, 10), EntryId::ZERO);
    node.hear(3, 2, Body::Conflict { refused, hint, round: ReadRound::ZERO });
    node.turn([Input::Raft(consensus::Input::Timeout(consensus::Timer::Heartbeat))]);
}

fn news(node: &mut Node, news: SnapshotNews) -> Vec<SnapshotAction> {
    node.snapshots.clear();
    node.turn([Input::Snapshot(news)]);
    std::mem::take(&mut node.snapshots)
}

/// Makes the snapshot that somebody waits for; returns what follows.
fn make(node: &mut Node, index: u64) -> Vec<SnapshotAction> {
    let last = at(2, index);
    assert_eq!(std::mem::take(&mut node.snapshots), [SnapshotAction::Flush]);
    flushed(node, index);
    assert_eq!(std::mem::take(&mut node.snapshots), [SnapshotAction::Checkpoint]);
    let todo = news(node, SnapshotNews::Checkpointed { last: Some(last) });
    let [SnapshotAction::Make(meta)] = &todo[..] else { panic!("{todo:?}") };
    assert_eq!(meta.last, last);
    news(node, SnapshotNews::Made { last: Some(last) })
}

fn sends(number: u64, index: u64) -> SnapshotAction {
    let term = consensus::Term::new(2);
    SnapshotAction::Send { number, to: id(3), term, last: at(2, index) }
}

#[test]
fn who_needs_compacted_entries_is_sent_a_snapshot_that_is_made_first() {
    let mut node = leader();
    lacks_all(&mut node);
    assert_eq!(make(&mut node, 10), [sends(1, 10)]);
    lacks_all(&mut node);
    assert_eq!(node.snapshots, [], "it is on its way");
    let end = Transfer::Broken;
    assert_eq!(news(&mut node, SnapshotNews::Sent { number: 1, to: id(3), end }), []);
    lacks_all(&mut node);
    assert_eq!(std::mem::take(&mut node.snapshots), [sends(2, 10)], "from the file that is there");
}

#[test]
fn the_end_of_an_earlier_sending_does_not_end_the_one_that_is_under_way() {
    let mut node = leader();
    lacks_all(&mut node);
    make(&mut node, 10);
    let broken = |number| SnapshotNews::Sent { number, to: id(3), end: Transfer::Broken };
    news(&mut node, broken(1));
    lacks_all(&mut node);
    assert_eq!(std::mem::take(&mut node.snapshots), [sends(2, 10)]);
    news(&mut node, broken(1));
    lacks_all(&mut node);
    assert_eq!(node.snapshots, [], "the second is on its way");
    news(&mut node, broken(2));
    lacks_all(&mut node);
    assert_eq!(std::mem::take(&mut node.snapshots), [sends(3, 10)]);
}

#[test]
fn what_follows_a_snapshot_on_its_way_stays_and_not_for_ever() {
    let mut node = leader();
    lacks_all(&mut node);
    make(&mut node, 10);
    let base = |node: &Node| node.replica.status().base.index.get();
    write(&mut node, 11);
    assert_eq!(base(&node), 10, "it is on its way");
    let end = Transfer::Delivered;
    news(&mut node, SnapshotNews::Sent { number: 1, to: id(3), end });
    write(&mut node, 12);
    assert_eq!(base(&node), 10, "it is here, and what follows is being sent");
    node.now = node.now.after(60_000 * MS);
    write(&mut node, 13);
    assert_eq!(base(&node), 13, "it has not come for it");
}

/// It once needed one snapshot after another: the log behind it was compacted after a minute, while
/// it was being fed.
#[test]
fn who_takes_over_what_follows_its_snapshot_is_fed_however_long_that_takes() {
    let mut node = leader();
    lacks_all(&mut node);
    make(&mut node, 10);
    let base = |node: &Node| node.replica.status().base.index.get();
    for number in 11..=40 {
        write(&mut node, number);
    }
    let end = Transfer::Delivered;
    news(&mut node, SnapshotNews::Sent { number: 1, to: id(3), end });
    node.hear(3, 2, appended(10));
    for step in 1..=18 {
        node.now = node.now.after(10_000 * MS);
        node.hear(3, 2, appended(10 + step));
        write(&mut node, 40 + step);
        assert_eq!(base(&node), 10 + step, "it lacks what follows");
    }
    node.hear(3, 2, appended(58));
    write(&mut node, 59);
    write(&mut node, 60);
    assert_eq!(base(&node), 58, "it needed long, and so much more may have come");
    node.hear(3, 2, appended(60));
    write(&mut node, 61);
    assert_eq!(base(&node), 61, "it has caught up");
}

#[test]
fn who_installs_a_large_state_is_given_the_time_for_that() {
    let mut node = leader();
    lacks_all(&mut node);
    make(&mut node, 10);
    let base = |node: &Node| node.replica.status().base.index.get();
    let state_bytes = 120 * 32 * 1024 * 1024;
    node.turn([Input::Flushed { index: LogIndex::new(10), state_bytes }]);
    let end = Transfer::Delivered;
    news(&mut node, SnapshotNews::Sent { number: 1, to: id(3), end });
    node.now = node.now.after(179_000 * MS);
    write(&mut node, 11);
    assert_eq!(base(&node), 10, "it takes nothing while it installs");
    node.now = node.now.after(1_000 * MS);
    write(&mut node, 12);
    assert_eq!(base(&node), 12, "it has not come for it");
}

/// The numbers of the sendings that were given up.
fn given_up(node: &mut Node) -> Vec<u64> {
    let number = |action| match action {
        SnapshotAction::GiveUp { number, .. } => Some(number),
        _ => None,
    };
    std::mem::take(&mut node.snapshots).into_iter().filter_map(number).collect()
}

/// Behind a slow way a transfer took days, and the disk was full before.
#[test]
fn a_transfer_that_the_log_outgrows_ends() {
    let mut node = leader_that_keeps(Keep { entries: 1_000, bytes_min: 0, bytes_max: 10_000 });
    lacks_all(&mut node);
    make(&mut node, 10);
    let base = |node: &Node| node.replica.status().base.index.get();
    write_bytes(&mut node, 11, 15_000);
    assert_eq!(given_up(&mut node), []);
    assert_eq!(base(&node), 10, "it is on its way");
    write_bytes(&mut node, 12, 15_000);
    assert_eq!(given_up(&mut node), [1], "more than twice what is kept");
    assert_eq!(base(&node), 12);
    let end = Transfer::Delivered;
    news(&mut node, SnapshotNews::Sent { number: 1, to: id(3), end });
    write_bytes(&mut node, 13, 15_000);
    assert_eq!(base(&node), 13, "what a driver tells late does not count");
    lacks_all(&mut node);
    assert_eq!(make(&mut node, 13), [sends(2, 13)], "it begins anew");
}

#[test]
fn a_transfer_keeps_less_of_the_log_where_the_disk_has_little_room() {
    let mut node = leader_that_keeps(Keep { entries: 1_000, bytes_min: 0, bytes_max: 10_000 });
    lacks_all(&mut node);
    make(&mut node, 10);
    let space =
        |usable_bytes| Input::Space(Space { usable_bytes, needed_bytes: 100_000, least_bytes: 0 });
    write_bytes(&mut node, 11, 100);
    node.turn([space(150_000)]);
    write_bytes(&mut node, 12, 100);
    assert_eq!(given_up(&mut node), [], "so much stays anyway");
    write_bytes(&mut node, 13, 10_500);
    assert_eq!(given_up(&mut node), [1]);
    assert_eq!(node.replica.status().base.index.get(), 13);
}

/// It once waited until another leader was elected.
#[test]
fn who_waits_for_a_snapshot_that_cannot_be_made_gets_the_next_one() {
    let mut node = leader();
    lacks_all(&mut node);
    assert_eq!(std::mem::take(&mut node.snapshots), [SnapshotAction::Flush]);
    flushed(&mut node, 10);
    assert_eq!(news(&mut node, SnapshotNews::Checkpointed { last: None }), []);
    node.snapshots.clear();
    lacks_all(&mut node);
    assert_eq!(make(&mut node, 10), [sends(1, 10)]);
}

#[test]
fn an_operator_is_told_what_was_made_and_two_files_stay_beside_those_being_sent() {
    let mut node = leader();
    lacks_all(&mut node);
    make(&mut node, 10);
    for index in 11..=13 {
        node.propose([100 + index]);
        node.hear(2, 2, appended(index));
        node.finish();
        node.take_replies();
        node.turn([Input::TakeSnapshot { request: request(index) }]);
        let expected: &[SnapshotAction] = match index {
            13 => &[SnapshotAction::Delete { last: at(2, 11) }],
            _ => &[],
        };
        assert_eq!(make(&mut node, index), expected, "the one up to 10 is being sent");
        let (request, last) = (request(index), Some(at(2, index)));
        assert_eq!(node.take_replies(), [Reply::SnapshotTaken { request, last }]);
    }
    let end = Transfer::Delivered;
    let after = news(&mut node, SnapshotNews::Sent { number: 1, to: id(3), end });
    assert_eq!(after, [SnapshotAction::Delete { last: at(2, 10) }]);
}

#[test]
fn one_snapshot_is_received_at_a_time() {
    let mut node = Node::new(&[1, 2, 3], Limits::default());
    let offered = |offer| SnapshotNews::Offered { offer };
    assert_eq!(news(&mut node, offered(1)), [SnapshotAction::Receive { offer: 1 }]);
    assert_eq!(news(&mut node, offered(2)), [SnapshotAction::Decline { offer: 2 }]);
    let term = consensus::Term::new(1);
    news(&mut node, SnapshotNews::Received { from: id(3), term, meta: None });
    assert_eq!(news(&mut node, offered(3)), [SnapshotAction::Receive { offer: 3 }]);
}

#[test]
fn a_state_that_cannot_be_made_durable_ends_the_waiting_for_a_snapshot() {
    let mut node = leader();
    lacks_all(&mut node);
    node.turn([Input::TakeSnapshot { request: request(9) }]);
    node.take_replies();
    assert_eq!(std::mem::take(&mut node.snapshots), [SnapshotAction::Flush]);
    assert_eq!(news(&mut node, SnapshotNews::Unflushed), []);
    assert_eq!(node.take_replies(), [Reply::SnapshotTaken { request: request(9), last: None }]);
    assert_eq!(news(&mut node, SnapshotNews::Unflushed), [], "nobody waits any more");
    lacks_all(&mut node);
    assert_eq!(make(&mut node, 10), [sends(1, 10)]);
}

#[test]
fn a_damaged_file_is_sent_to_nobody_and_another_one_is_made() {
    let mut node = leader();
    lacks_all(&mut node);
    assert_eq!(make(&mut node, 10), [sends(1, 10)]);
    assert_eq!(news(&mut node, SnapshotNews::Damaged { last: at(2, 10) }), []);
    let end = Transfer::Broken;
    news(&mut node, SnapshotNews::Sent { number: 1, to: id(3), end });
    node.snapshots.clear();
    lacks_all(&mut node);
    assert_eq!(make(&mut node, 10), [sends(2, 10)]);
}

#[test]
fn what_follows_a_snapshot_that_never_gets_through_does_not_stay_for_ever() {
    let mut node = leader();
    let base = |node: &Node| node.replica.status().base.index.get();
    lacks_all(&mut node);
    make(&mut node, 10);
    for attempt in 1..=8 {
        let end = Transfer::Broken;
        news(&mut node, SnapshotNews::Sent { number: attempt, to: id(3), end });
        node.now = node.now.after(10_000 * MS);
        lacks_all(&mut node);
        assert_eq!(std::mem::take(&mut node.snapshots), [sends(attempt + 1, 10)]);
    }
    news(&mut node, SnapshotNews::Sent { number: 9, to: id(3), end: Transfer::Broken });
    node.propose([100]);
    node.hear(2, 2, appended(11));
    node.finish();
    flushed(&mut node, 11);
    assert_eq!(base(&node), 11, "it had 60 seconds for it");
}

#[test]
fn operators_beyond_the_limit_are_refused_and_the_others_have_the_same_snapshot() {
    let mut node = leader();
    node.take_replies();
    node.turn((1..=65).map(|number| Input::TakeSnapshot { request: request(number) }));
    let busy = Reply::Refused { request: request(65), reason: Rejection::Busy };
    assert_eq!(node.take_replies(), [busy]);
    make(&mut node, 10);
    let taken = |number| Reply::SnapshotTaken { request: request(number), last: Some(at(2, 10)) };
    assert_eq!(node.take_replies(), (1..=64).map(taken).collect::<Vec<Reply>>());
}

#[test]
fn an_operator_who_waits_for_a_snapshot_is_told_when_the_node_stops() {
    let mut node = leader();
    node.take_replies();
    node.turn([Input::TakeSnapshot { request: request(9) }, Input::Abandon]);
    assert_eq!(node.take_replies(), [Reply::Unknown { request: request(9) }]);
}

/// Another leader's snapshots count, and if it leads again it begins anew.
#[test]
fn who_leads_no_more_sends_no_snapshot_and_keeps_nothing_behind_one() {
    for is_sent in [false, true] {
        let mut node = leader();
        lacks_all(&mut node);
        make(&mut node, 10);
        if is_sent {
            let end = Transfer::Delivered;
            news(&mut node, SnapshotNews::Sent { number: 1, to: id(3), end });
        }
        node.follow(3, at(2, 10), vec![entry(3, 11, "theirs")], 11);
        let stops = [SnapshotAction::StopSending].into_iter().filter(|_| !is_sent);
        assert_eq!(std::mem::take(&mut node.snapshots), stops.collect::<Vec<_>>());
        node.finish();
        node.campaign();
        node.hear(2, 4, appended(12));
        node.finish();
        flushed(&mut node, 12);
        assert_eq!(node.replica.status().base.index.get(), 12, "it was sent: {is_sent}");
    }
}

/// What it sent was installed, and so the wrong state could become that of a majority.
#[test]
fn of_a_state_that_differs_nobody_is_sent_a_snapshot() {
    let effects = |digest| Body::Effects { index: LogIndex::new(10), digest, judged: false };
    for is_sending in [false, true] {
        let mut node = leader();
        if is_sending {
            lacks_all(&mut node);
            assert_eq!(make(&mut node, 10), [sends(1, 10)]);
            node.snapshots.clear();
        }
        node.turn([Input::Effects { last: LogIndex::new(10), digests: vec![7] }]);
        node.hear(2, 2, effects(8));
        node.hear(3, 2, effects(8));
        assert!(node.replica.differs().is_some());
        lacks_all(&mut node);
        let stops = [SnapshotAction::StopSending].into_iter().filter(|_| is_sending);
        assert_eq!(node.snapshots, stops.collect::<Vec<_>>());
    }
}
