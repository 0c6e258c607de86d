use std::sync::{Arc, Mutex};

use bytes::Bytes;
use consensus::{ClusterTime, EntryId, Payload, Term};
use state_machine::{Envelope, Kv, KvCommand, KvQuery, KvResponse};
use tempfile::{TempDir, tempdir};
use tokio::sync::mpsc;

use super::*;
use crate::lanes::REPORTS_MAX;

const NEVER: Duration = Duration::from_secs(3600);

fn put(index: u64) -> Entry {
    let key = Bytes::from(format!("k{index}"));
    let command = KvCommand::Put { key, value: Bytes::from_static(b"v") };
    Entry::new(
        EntryId { term: Term::new(1), index: LogIndex::new(index) },
        ClusterTime::new(index),
        Payload::Command(Envelope::sessionless(command.encode()).encode()),
    )
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
    let (reports, reported) = mpsc::channel(REPORTS_MAX);
    let read = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&read);
    let disk = move |range: Range<LogIndex>, _: usize| {
        let indexes: Vec<u64> = (range.start.get()..range.end.get()).take(2).collect();
        log.lock().expect("no panic").extend(&indexes);
        Ok(indexes.into_iter().map(put).collect())
    };
    let directory = tempdir().expect("a directory");
    let store = StateStore::open(directory.path()).expect("an empty store");
    let host = Host::open(store, Arc::new(Kv)).expect("an empty store");
    let flushing = Flushing {
        interval: NEVER,
        bytes_max: usize::MAX,
        has_room: Box::new(move || room.load(Ordering::Relaxed)),
        has_more_room: Arc::new(|| true),
        scrub_interval: NEVER,
        scrubbed: Arc::new(|_| {}),
    };
    (
        Apply::start(host, disk, flushing, (reports, Alive::new().0), Removed::default())
            .expect("a thread"),
        reported,
        read,
        directory,
    )
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
