use std::cell::Cell;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use consensus::{Chain, ClusterTime, Configuration, Entry, LogIndex, Payload};
use protocol::BootstrapRecord;
use state_machine::{Envelope, Host, Kv, KvCommand};
use storage::{DataDirectory, StateStore, StorageError};
use tempfile::{TempDir, tempdir};
use tokio::sync::mpsc;

use super::receive::{Begun, begin};
use super::*;
use crate::exit::Exit;
use crate::lanes::REPORTS_MAX;
use crate::troubles::Troubles;

const CLUSTER: [u8; 16] = [7; 16];

/// So many values, so large: it is looked several times whether there is room while they are
/// written.
const COUNT: u64 = 8;
const VALUE_BYTES: usize = 200_000;

/// A node's snapshots, a state that may become one, and its header.
struct Place {
    snapshots: Snapshots,
    checkpoint: StateCheckpoint,
    header: SnapshotHeader,
    reports: Reports,
    _reported: mpsc::Receiver<Done>,
    _directory: TempDir,
}

fn place() -> Place {
    let directory = tempdir().expect("a directory");
    let id = NodeId::new(1).expect("not 0");
    let mut data = DataDirectory::open_or_create(directory.path(), CLUSTER, id).expect("it is new");
    let (configuration, machine) = (Configuration::unknown(), "kv".to_owned());
    let record = BootstrapRecord {
        cluster: CLUSTER,
        configuration,
        machine,
        machine_version: 1,
        parent: None,
    };
    data.set_bootstrap(&record).expect("it has none");
    let store = StateStore::open(directory.path()).expect("an empty store");
    let mut host = Host::open(store, Arc::new(Kv)).expect("an empty store");
    for index in 1..=COUNT {
        let (key, value) = (Bytes::from(format!("k{index}")), Bytes::from(vec![7; VALUE_BYTES]));
        let command = Envelope::sessionless(KvCommand::Put { key, value }.encode()).encode();
        let id = EntryId { term: Term::new(1), index: LogIndex::new(index) };
        let entry = Entry::new(id, ClusterTime::new(index), Payload::Command(command));
        host.apply(&[entry]).expect("it is the next");
    }
    let checkpoint = host.with_store(StateStore::checkpoint).expect("it is read again");
    let header = SnapshotHeader {
        cluster: CLUSTER,
        generation: data.generation().expect("it was given"),
        meta: SnapshotMeta {
            last: host.applied(),
            configuration: Configuration::unknown(),
            configuration_index: LogIndex::ZERO,
            stamp: ClusterTime::new(COUNT),
            chain: Chain::ZERO,
        },
        machine: "kv".to_owned(),
        machine_version: 1,
        made_unix_ms: 0,
    };
    let (reports, reported) = mpsc::channel(REPORTS_MAX);
    Place {
        reports,
        _reported: reported,
        snapshots: Snapshots::open(&data).expect("it has a history"),
        checkpoint: checkpoint.expect("there is room"),
        header,
        _directory: directory,
    }
}

fn files(snapshots: &Snapshots) -> usize {
    std::fs::read_dir(snapshots.path()).expect("it is there").count()
}

/// Others fill the disk meanwhile: the log needs what is left more than a snapshot does.
#[test]
fn a_snapshot_is_given_up_while_it_is_made_when_there_is_no_room_any_more() {
    let Place { snapshots, checkpoint, header, reports, .. } = &place();
    let looks = Cell::new(0);
    let fills_up = |_| {
        looks.set(looks.get() + 1);
        (looks.get() > 1).then(|| "the disk is full".to_owned())
    };
    let made = make::run(snapshots, checkpoint, header, u64::MAX, (reports, fills_up));
    let failure = made.expect_err("it takes what the node needs");
    assert_eq!(failure.exit, Exit::Io, "{failure}");
    assert!(failure.message.contains("the disk is full"), "{failure}");
    assert_eq!(files(snapshots), 0, "nothing is left behind");
    let made = make::run(snapshots, checkpoint, header, u64::MAX, (reports, |_| None));
    made.expect("there is room");
    assert_eq!(files(snapshots), 1);
}

/// Its directory would stay in use for as long as the writing takes.
#[test]
fn a_snapshot_of_a_node_that_stops_is_given_up() {
    let Place { snapshots, checkpoint, header, .. } = &place();
    let (reports, reported) = mpsc::channel(REPORTS_MAX);
    drop(reported);
    let made = make::run(snapshots, checkpoint, header, u64::MAX, (&reports, |_| None));
    assert!(made.is_err_and(|failure| failure.message.contains("the node stops")));
    assert_eq!(files(snapshots), 0, "nothing is left behind");
}

#[test]
fn a_snapshot_is_received_where_there_is_room_for_the_file_and_the_state_made_of_it() {
    let Place { snapshots, header, .. } = &place();
    let head = header.encode();
    let free = |free: u64| move |needed: u64| (needed > free).then(|| "too little".to_owned());
    let refused = begin(snapshots, &head, 1_000_000, free(1_900_000)).err();
    assert!(matches!(refused, Some(StorageError::Full { .. })), "{refused:?}");
    let begun = begin(snapshots, &head, 1_000_000, free(2_000_000));
    assert!(matches!(begun, Ok(Begun::Partly(receiver)) if receiver.offset() == 0));
}

/// Each change of leaders left one more that reads the whole file.
#[test]
fn the_check_of_a_file_that_is_sent_ends_with_its_sending() {
    let Place { snapshots, checkpoint, header, reports, .. } = &place();
    let file =
        make::run(snapshots, checkpoint, header, u64::MAX, (reports, |_| None)).expect("it fits");
    let chunks = Cell::new(0);
    let wanted = |most| {
        chunks.set(chunks.get() + 1);
        chunks.get() <= most
    };
    assert!(send::check(&file.path, u64::MAX, || wanted(u32::MAX)).is_ok());
    assert!(chunks.replace(0) > 2, "it is read to its end");
    let mut bytes = std::fs::read(&file.path).expect("it is there");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&file.path, bytes).expect("there is room");
    assert!(send::check(&file.path, u64::MAX, || wanted(1)).is_ok(), "it does not get there");
    assert!(send::check(&file.path, u64::MAX, || true).is_err());
}

/// It would be installed, fail there, and be offered again for ever.
#[test]
fn a_snapshot_that_is_there_and_has_rotten_is_received_anew() {
    let Place { snapshots, checkpoint, header, reports, .. } = &place();
    let made = make::run(snapshots, checkpoint, header, u64::MAX, (reports, |_| None));
    let file = made.expect("there is room");
    let begun = || begin(snapshots, &header.encode(), file.bytes, |_| None);
    assert!(matches!(begun(), Ok(Begun::There(there)) if there.bytes == file.bytes));
    let mut bytes = std::fs::read(&file.path).expect("it is there");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file.path, bytes).expect("there is room");
    assert!(matches!(begun(), Ok(Begun::Partly(_))));
}

/// A lane at a place, and who takes its reports.
fn lane(place: &Place) -> (SnapshotLane, mpsc::Receiver<Done>) {
    let gauges = Arc::new(Gauges::at(place.snapshots.path(), Troubles::default()));
    let (reports, reported) = mpsc::channel(REPORTS_MAX);
    let about = About {
        cluster: CLUSTER,
        generation: place.header.generation,
        machine: "kv".to_owned(),
        machine_version: 1,
    };
    let snapshots = (place.snapshots.clone(), Arc::new(NoLog) as Arc<dyn EntryReader>);
    let with = (gauges, Alive::new().0, reports);
    let lane = SnapshotLane::new(snapshots, Vec::new(), about, u64::MAX, with);
    (lane, reported)
}

/// Newer ones came from a leader while it was written: two stay, and the node ended in a panic.
#[tokio::test]
async fn who_asked_for_a_snapshot_hears_of_it_though_it_is_deleted_at_once() {
    let place = place();
    let Place { snapshots, checkpoint, header, reports, .. } = &place;
    let made = make::run(snapshots, checkpoint, header, u64::MAX, (reports, |_| None));
    let (mut lane, _reported) = lane(&place);
    let last = lane.made(made).expect("there is room");
    lane.delete(last);
    let Response::Snapshot(SnapshotAnswer::Taken(info)) = lane.taken(Some(last)) else {
        panic!("it was made")
    };
    assert_eq!(info.last, last);
}

/// It kept a whole state on the disk until the next snapshot was made.
#[tokio::test]
async fn a_state_of_which_no_snapshot_is_made_does_not_stay_on_the_disk() {
    let place = place();
    let (mut lane, _reported) = lane(&place);
    let Place { checkpoint, _directory: directory, .. } = place;
    let kept = || {
        let place = directory.path().join("checkpoints");
        std::fs::read_dir(place).expect("it is there").count()
    };
    assert!(lane.checkpointed(Ok(checkpoint)));
    assert_eq!(kept(), 1);
    lane.forget();
    let began = Instant::now();
    while kept() > 0 {
        assert!(began.elapsed() < Duration::from_secs(60), "it stays");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Two followers were sent the damaged one, and the second of them told of it late.
#[tokio::test]
async fn a_snapshot_that_was_made_anew_is_not_set_aside_for_its_damaged_predecessor() {
    let place = place();
    let (mut lane, _reported) = lane(&place);
    let file = |made_unix_ms| SnapshotFile {
        path: place.snapshots.path().join("1.snap"),
        id: place.header.id(),
        header: SnapshotHeader { made_unix_ms, ..place.header.clone() },
        bytes: 1,
    };
    assert!(lane.made(Ok(file(1))).is_some());
    assert!(lane.set_aside(&file(1), "a wrong sum"));
    assert!(!lane.set_aside(&file(1), "a wrong sum"), "it is not there any more");
    assert!(lane.made(Ok(file(2))).is_some());
    assert!(!lane.set_aside(&file(1), "a wrong sum"));
    assert_eq!(lane.file(place.header.meta.last).header, file(2).header);
}

/// A node that leads no more would go on to send it, and who looks would not see it.
#[tokio::test]
async fn the_late_end_of_a_sending_does_not_end_the_one_that_took_its_place() {
    let place = place();
    let (mut lane, _reported) = lane(&place);
    let to = NodeId::new(2).expect("not 0");
    let task = tokio::spawn(std::future::pending::<()>());
    let sent_bytes = Arc::new(AtomicU64::new(3));
    let sending = Sending { number: 2, size_bytes: 9, sent_bytes, task: task.abort_handle() };
    lane.sending.insert(to, sending);
    lane.sent(1, to);
    assert_eq!(lane.progress(to), Some((3, 9)));
    lane.stop_sending();
    assert!(task.await.is_err_and(|ended| ended.is_cancelled()));
}

struct NoLog;

impl EntryReader for NoLog {
    fn read(&self, _: Range<LogIndex>, _: usize) -> Result<Vec<Entry>, StorageError> {
        Ok(Vec::new())
    }

    fn read_through(&self, _: &mut dyn FnMut(u64) -> bool) -> Result<u64, StorageError> {
        Ok(0)
    }

    fn check_files(&self) -> Result<(), StorageError> {
        Ok(())
    }

    fn bytes(&self) -> u64 {
        0
    }
}
