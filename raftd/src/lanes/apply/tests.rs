use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use consensus::{
    Chain, ClusterTime, Configuration, EntryId, Incarnation, Majority, Member, NodeId, Payload,
    SnapshotMeta, Term, Voters,
};
use protocol::Generation;
use state_machine::{Envelope, Kv, KvCommand, KvQuery, KvResponse, SystemCommand};
use storage::{SnapshotHeader, SnapshotWriter};
use tempfile::{TempDir, tempdir};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TryRecvError;

use super::*;
use crate::lanes::REPORTS_MAX;

const NEVER: Duration = Duration::from_secs(3600);

fn put(index: u64) -> Entry {
    put_value(index, Bytes::from_static(b"v"))
}

fn put_value(index: u64, value: Bytes) -> Entry {
    let key = Bytes::from(format!("k{index}"));
    let command = KvCommand::Put { key, value };
    entry(index, Payload::Command(Envelope::sessionless(command.encode()).encode()))
}

fn entry(index: u64, payload: Payload) -> Entry {
    let id = EntryId { term: Term::new(1), index: LogIndex::new(index) };
    Entry::new(id, ClusterTime::new(index), payload)
}

fn range(from: u64, to: u64) -> RangeInclusive<LogIndex> {
    LogIndex::new(from)..=LogIndex::new(to)
}

/// A lane over an empty store, with a disk that holds every entry and counts what is read. Each
/// test waits for its end: a process that ends while RocksDB is in use may be aborted.
fn lane() -> (Apply, mpsc::Receiver<Done>, Arc<Mutex<Vec<u64>>>, TempDir) {
    lane_on(Arc::new(AtomicBool::new(true)))
}

/// The same, on a disk that has room or has none.
fn lane_on(room: Arc<AtomicBool>) -> (Apply, mpsc::Receiver<Done>, Arc<Mutex<Vec<u64>>>, TempDir) {
    let has_room = Box::new(move || room.load(Ordering::Relaxed));
    lane_with(Flushing { has_room, ..flushing() }, Removed::default())
}

/// Nothing is due by itself, and there is room for all.
fn flushing() -> Flushing {
    Flushing {
        interval: NEVER,
        bytes_max: usize::MAX,
        has_room: Box::new(|| true),
        has_more_room: Arc::new(|| true),
        scrub_interval: NEVER,
        scrubbed: Arc::new(|_| {}),
    }
}

type Lane = (Apply, mpsc::Receiver<Done>, Arc<Mutex<Vec<u64>>>, TempDir);

fn lane_with(flushing: Flushing, removed: Removed) -> Lane {
    lane_alive(flushing, removed, Alive::new().0)
}

/// A lane whose threads can be waited for.
fn lane_alive(flushing: Flushing, removed: Removed, alive: Alive) -> Lane {
    let read = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&read);
    let disk = move |range: Range<LogIndex>, _: usize| {
        let indexes: Vec<u64> = (range.start.get()..range.end.get()).take(2).collect();
        log.lock().expect("no panic").extend(&indexes);
        Ok(indexes.into_iter().map(put).collect())
    };
    let (apply, reported, directory) = lane_reading(disk, (flushing, removed, alive));
    (apply, reported, read, directory)
}

/// A lane over an empty store, with any disk.
fn lane_reading(
    disk: impl Fn(Range<LogIndex>, usize) -> Result<Vec<Entry>, Failure> + Send + 'static,
    (flushing, removed, alive): (Flushing, Removed, Alive),
) -> (Apply, mpsc::Receiver<Done>, TempDir) {
    let (reports, reported) = mpsc::channel(REPORTS_MAX);
    let directory = tempdir().expect("a directory");
    let store = StateStore::open(directory.path()).expect("an empty store");
    let host = Host::open(store, Arc::new(Kv)).expect("an empty store");
    let apply = Apply::start(host, disk, flushing, (reports, alive), removed);
    (apply.expect("a thread"), reported, directory)
}

fn applied(reported: &mut mpsc::Receiver<Done>) -> (u64, usize, Option<View>) {
    match reported.blocking_recv().expect("a report") {
        Done::Applied { last, responses, view, .. } => (last.get(), responses.len(), view),
        other => panic!("unexpected: {other:?}"),
    }
}

#[test]
fn entries_at_hand_are_applied_and_answered() {
    let (mut lane, mut reported, read, _directory) = lane();
    lane.apply(range(1, 3), (1..=3).map(put).collect(), true);
    let (last, answers, view) = applied(&mut reported);
    assert_eq!((last, answers), (3, 3));
    let query = KvQuery::Get { key: Bytes::from_static(b"k3") }.encode();
    let answer = view.expect("it was asked for").0.query(&query).expect("memory does not fail");
    let answer = KvResponse::decode(&answer).expect("an answer");
    assert_eq!(answer, KvResponse::Value { revision: 3, value: Bytes::from_static(b"v") });
    assert!(read.lock().expect("no panic").is_empty(), "the disk was not asked");
    lane.finish().join().expect("no panic");
}

#[test]
fn missing_entries_are_read_from_the_disk() {
    let (mut lane, mut reported, read, _directory) = lane();
    lane.apply(range(1, 5), vec![put(1)], false);
    lane.apply(range(6, 6), vec![put(6)], false);
    let mut seen = Vec::new();
    while seen.last() != Some(&6) {
        let (last, _, view) = applied(&mut reported);
        assert!(view.is_none(), "nobody asked for a view");
        seen.push(last);
    }
    assert_eq!(*read.lock().expect("no panic"), [2, 3, 4, 5]);
    lane.finish().join().expect("no panic");
}

#[test]
fn what_was_handed_over_is_given_back_when_it_is_applied() {
    let (mut lane, mut reported, _, _directory) = lane();
    assert_eq!(lane.room_bytes(), QUEUE_BYTES_MAX);
    lane.apply(range(1, 2), vec![put(1), put(2)], false);
    assert!(lane.room_bytes() < QUEUE_BYTES_MAX);
    let Some(Done::Applied { bytes, .. }) = reported.blocking_recv() else {
        panic!("it is applied");
    };
    lane.applied(bytes);
    assert_eq!(lane.room_bytes(), QUEUE_BYTES_MAX);
    lane.finish().join().expect("no panic");
}

#[test]
fn a_view_of_the_present_state_can_be_had_alone() {
    let (lane, mut reported, _, _directory) = lane();
    lane.view();
    let done = reported.blocking_recv().expect("a report");
    assert!(matches!(done, Done::Viewed(View(view)) if view.applied() == LogIndex::ZERO));
    lane.finish().join().expect("no panic");
}

#[test]
fn a_gap_ends_the_lane_as_corrupt_data() {
    let (mut lane, mut reported, _, _directory) = lane();
    lane.apply(range(1, 2), vec![put(2)], false);
    let done = reported.blocking_recv().expect("a report");
    assert!(matches!(done, Done::ApplyFailed(Failure { exit: Exit::Data, .. })), "{done:?}");
    assert!(reported.blocking_recv().is_none(), "the lane has ended");
    lane.finish().join().expect("no panic");
}

#[test]
fn batches_are_bounded_and_never_empty() {
    let large =
        Entry { payload: Payload::Command(Bytes::from(vec![0; BATCH_BYTES_MAX])), ..put(1) };
    assert_eq!(batch_len(&[large.clone(), large]), 1);
    assert_eq!(batch_len(&[put(1), put(2)]), 2);
    assert_eq!(batch_len(&vec![put(1); BATCH_ENTRIES_MAX + 1]), BATCH_ENTRIES_MAX);
}

#[test]
fn a_checkpoint_is_durable_and_reported_with_its_last_entry() {
    let (mut lane, mut reported, _, _directory) = lane();
    lane.apply(range(1, 3), (1..=3).map(put).collect(), false);
    lane.checkpoint();
    assert_eq!(applied(&mut reported).0, 3);
    let done = reported.blocking_recv().expect("a report");
    assert!(matches!(done, Done::Flushed { index, .. } if index.get() == 3), "{done:?}");
    let done = reported.blocking_recv().expect("a report");
    let Done::Checkpointed { last, result: Ok(_) } = done else {
        panic!("unexpected: {done:?}");
    };
    assert_eq!(last, EntryId { term: Term::new(1), index: LogIndex::new(3) });
    lane.finish().join().expect("no panic");
}

#[test]
fn a_state_is_not_flushed_where_there_is_no_room_for_it() {
    let room = Arc::new(AtomicBool::new(false));
    let (mut lane, mut reported, _, _directory) = lane_on(Arc::clone(&room));
    lane.apply(range(1, 1), vec![put(1)], false);
    assert_eq!(applied(&mut reported).0, 1);
    lane.flush();
    let done = reported.blocking_recv().expect("a report");
    assert!(matches!(done, Done::Unflushed), "the flush is left out: {done:?}");
    room.store(true, Ordering::Relaxed);
    lane.flush();
    let done = reported.blocking_recv().expect("a report");
    assert!(matches!(done, Done::Flushed { index, .. } if index.get() == 1), "{done:?}");
    lane.finish().join().expect("no panic");
}

/// Whatever is applied while a flush is under way is flushed next, though nobody applies anything
/// any more: the log could never be compacted up to there, and a crash replayed it.
#[test]
fn what_is_applied_during_a_flush_becomes_durable_by_itself() {
    const COUNT: u64 = 100;
    let flushing = Flushing { interval: Duration::from_millis(100), ..flushing() };
    let (mut lane, mut reported, _, _directory) = lane_with(flushing, Removed::default());
    for index in 1..=COUNT {
        lane.apply(range(index, index), vec![put(index)], false);
        lane.flush();
    }
    wait("all is flushed", || match reported.try_recv() {
        Ok(Done::Flushed { index, .. }) => index.get() == COUNT,
        Ok(Done::Applied { .. }) | Err(TryRecvError::Empty) => false,
        other => panic!("unexpected: {other:?}"),
    });
    lane.finish().join().expect("no panic");
}

fn id(id: u64) -> NodeId {
    NodeId::new(id).expect("not 0")
}

/// A configuration of these voters.
fn of(ids: &[u64]) -> Configuration {
    let voters = Voters::Stable(Majority::new(ids.iter().map(|one| id(*one))));
    let member = |one: &u64| {
        let (name, address) = (format!("n{one}"), "192.0.2.1:7400".to_owned());
        (id(*one), Member { incarnation: Incarnation::default(), name, address })
    };
    let members: BTreeMap<NodeId, Member> = ids.iter().map(member).collect();
    Configuration::new(voters, BTreeSet::new(), members).expect("voters are members")
}

/// A snapshot behind which node 3 was removed and node 2 has no room on its disk.
fn snapshot(directory: &TempDir) -> PathBuf {
    let state = tempdir().expect("a directory");
    let store = StateStore::open(state.path()).expect("an empty store");
    let mut host = Host::open(store, Arc::new(Kv)).expect("an empty store");
    let alarm = SystemCommand::SetAlarm { member: id(2), raised: true };
    let entries = [
        Payload::Configuration(of(&[1, 2, 3])),
        Payload::Configuration(of(&[1, 2])),
        Payload::Command(Envelope::system(&alarm).encode()),
    ];
    let entries: Vec<Entry> = (1..).zip(entries).map(|(at, payload)| entry(at, payload)).collect();
    host.apply(&entries).expect("entries in order");
    let checkpoint = host.with_store(StateStore::checkpoint).expect("it is read again");
    let header = SnapshotHeader {
        cluster: [0; 16],
        generation: Generation::new([0; 32]),
        meta: SnapshotMeta {
            last: host.applied(),
            configuration: of(&[1, 2]),
            configuration_index: LogIndex::new(2),
            stamp: ClusterTime::new(3),
            chain: Chain::ZERO,
        },
        machine: "kv".to_owned(),
        machine_version: 1,
        made_unix_ms: 0,
    };
    let file = directory.path().join("of-a-leader.snap");
    let writer = SnapshotWriter::create(&file, &header).expect("there is room");
    let saved = checkpoint.expect("it is durable").save_to(writer, |_| Ok(()));
    saved.expect("there is room").path
}

/// Nobody applies those entries here any more: who was removed would be let in, and a leader would
/// take data for disks that have no room.
#[test]
fn what_a_snapshot_says_of_members_is_told_when_it_is_installed() {
    let removed = Removed::default();
    let (lane, mut reported, _, directory) = lane_with(flushing(), removed.clone());
    lane.install(snapshot(&directory));
    let done = reported.blocking_recv().expect("a report");
    let Done::Installed { last, alarms, .. } = done else { panic!("unexpected: {done:?}") };
    assert_eq!(last.get(), 3);
    assert_eq!(alarms, Some(BTreeSet::from([id(2)])));
    assert_eq!(removed.by(id(3)), Some(LogIndex::new(2)));
    lane.finish().join().expect("no panic");
}

/// What it was to apply from the disk is compacted, and what waits behind that begins too late: a
/// healthy node that was behind ended as one whose data is damaged.
#[test]
fn what_a_snapshot_takes_the_place_of_is_passed_over_until_it_is_installed() {
    let compacted = |_: Range<LogIndex>, _: usize| Ok(Vec::new());
    let given = (flushing(), Removed::default(), Alive::new().0);
    let (mut lane, mut reported, directory) = lane_reading(compacted, given);
    lane.apply(range(1, 2), vec![put(1)], false);
    lane.apply(range(3, 3), vec![put(3)], false);
    lane.install(snapshot(&directory));
    let Some(Done::Applied { last, bytes, .. }) = reported.blocking_recv() else {
        panic!("the entry at hand is applied");
    };
    assert_eq!(last.get(), 1);
    lane.applied(bytes);
    let done = reported.blocking_recv().expect("a report");
    let Done::Installed { last, bytes, .. } = done else { panic!("unexpected: {done:?}") };
    assert_eq!(last.get(), 3);
    lane.applied(bytes);
    assert_eq!(lane.room_bytes(), QUEUE_BYTES_MAX, "nothing waits any more");
    lane.apply(range(4, 4), vec![put(4)], false);
    let done = reported.blocking_recv().expect("a report");
    assert!(matches!(done, Done::Flushed { .. }), "{done:?}");
    assert_eq!(applied(&mut reported).0, 4);
    lane.finish().join().expect("no panic");
}

/// The node would go on, and its next start would take the damaged state for a whole one.
#[test]
fn a_state_that_cannot_be_condemned_ends_the_lane() {
    let (lane, mut reported, _, directory) = lane();
    std::fs::create_dir(directory.path().join("state-condemned")).expect("it is not there");
    lane.condemn("it differs".to_owned());
    let thread = lane.finish();
    let done = reported.blocking_recv();
    assert!(matches!(&done, Some(Done::ApplyFailed(Failure { exit: Exit::Io, .. }))), "{done:?}");
    thread.join().expect("no panic");
}

#[test]
fn a_state_counts_as_read_through_only_if_all_of_it_was_read() {
    let (room, looked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let whole = Arc::new(AtomicU64::new(0));
    let (has_room, looks, read) = (Arc::clone(&room), Arc::clone(&looked), Arc::clone(&whole));
    let flushing = Flushing {
        scrub_interval: Duration::from_millis(1),
        has_more_room: Arc::new(move || {
            looks.fetch_add(1, Ordering::Relaxed);
            has_room.load(Ordering::Relaxed)
        }),
        scrubbed: Arc::new(move |bytes| read.store(bytes, Ordering::Relaxed)),
        ..flushing()
    };
    let (alive, gone) = Alive::new();
    let (mut lane, mut reported, _, _directory) = lane_alive(flushing, Removed::default(), alive);
    // More than is read before it is looked whether there is room.
    let value = Bytes::from(vec![7; 200_000]);
    let entries = (1..=8).map(|index| put_value(index, value.clone())).collect();
    lane.apply(range(1, 8), entries, false);
    while applied(&mut reported).0 < 8 {}
    lane.checkpoint();
    let done = reported.blocking_recv().expect("a report");
    assert!(matches!(done, Done::Flushed { .. }), "{done:?}");
    wait("it was given up", || looked.load(Ordering::Relaxed) > 2);
    assert_eq!(whole.load(Ordering::Relaxed), 0, "it was given up for want of room");
    room.store(true, Ordering::Relaxed);
    wait("it is read", || whole.load(Ordering::Relaxed) > 0);
    drop(reported);
    lane.finish().join().expect("no panic");
    // The process ends next, and RocksDB with it: nobody may read any more.
    assert!(gone.wait(Duration::from_secs(60)), "a thread reads on");
}

/// Waits until something is so.
fn wait(what: &str, mut so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !so() {
        assert!(began.elapsed() < Duration::from_secs(60), "waited in vain: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}
