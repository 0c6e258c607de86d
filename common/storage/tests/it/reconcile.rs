//! Log and state join at the start: a state that is behind the log's base is brought up to it by a
//! snapshot, or the node says what is missing (museum G3, G14).

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use crate::kit;
use crate::kit::snapshots::{apply, header, open};
use crate::kit::{append, at, compact, found, hard_state, record, reopen};
use consensus::Write;
use fixtures::SmallDisk;
use state_machine::{Host, Kv};
use storage::{
    DataDirectory, LogStore, SnapshotFile, SnapshotReader, StateStore, StorageError, reconcile,
};
use tempfile::{TempDir, tempdir};

/// A node whose state ends at 20 and whose log begins behind 50, with these snapshots.
fn node(snapshots: &[(u64, u64)]) -> (TempDir, Vec<SnapshotFile>) {
    let place = tempdir().unwrap();
    let files = node_at(place.path(), snapshots);
    (place, files)
}

fn node_at(place: &Path, snapshots: &[(u64, u64)]) -> Vec<SnapshotFile> {
    let directory = found(place);
    let mut host = apply(StateStore::open(place).unwrap(), 20, "old");
    host.persist().unwrap();
    let initial = record(directory.incarnation()).configuration;
    let (mut log, _) = LogStore::open(&directory).unwrap();
    let install = Write {
        hard_state: Some(hard_state(1, None)),
        append: (51..=60).map(|index| kit::command(1, index, "x")).collect(),
        ..compact(1, 50, &initial)
    };
    log.write(&[install]).unwrap();
    snapshots.iter().map(|(term, to)| snapshot(&directory, *term, *to)).collect()
}

fn snapshot(directory: &DataDirectory, term: u64, to: u64) -> SnapshotFile {
    let elsewhere = tempdir().unwrap();
    let mut host = apply(StateStore::open(elsewhere.path()).unwrap(), to, "new");
    let checkpoint = host.with_store(StateStore::checkpoint).unwrap().unwrap();
    let header = header(directory, term, to);
    let saved = checkpoint.save(&open(directory), &header, |_| Ok(()));
    if term == 1 {
        return saved.unwrap();
    }
    // The state says otherwise: such a file can only be made by hand.
    assert!(matches!(saved, Err(StorageError::Corrupt { .. })));
    open(directory).create(&header).unwrap().finish().unwrap()
}

fn start(place: &TempDir) -> (Result<Option<SnapshotFile>, StorageError>, u64) {
    let directory = kit::directory(place.path()).unwrap();
    let (_, restored) = LogStore::open(&directory).unwrap();
    let mut state = StateStore::open(place.path()).unwrap();
    let done = reconcile(&restored, &mut state, &open(&directory));
    let host = Host::open(state, Arc::new(Kv)).unwrap();
    (done, host.applied().index.get())
}

#[test]
fn a_state_behind_the_log_is_brought_up_by_the_snapshot() {
    let (place, files) = node(&[(1, 50)]);
    let (done, applied) = start(&place);
    assert_eq!((done.unwrap().as_ref(), applied), (files.first(), 50));
    let (done, applied) = start(&place);
    assert_eq!((done.unwrap(), applied), (None, 50), "once is enough");
}

#[test]
fn a_state_within_the_log_is_left_alone() {
    let (place, _) = node(&[(1, 50)]);
    start(&place).0.unwrap();
    let mut host = Host::open(StateStore::open(place.path()).unwrap(), Arc::new(Kv)).unwrap();
    host.apply(&[kit::command(1, 51, "x")]).unwrap();
    host.persist().unwrap();
    drop(host);
    let (done, applied) = start(&place);
    assert_eq!((done.unwrap(), applied), (None, 51));
}

#[test]
fn without_a_snapshot_in_between_the_gap_is_named_museum_g14() {
    // One that is too old, and one of an entry that this log does not have.
    let (place, _) = node(&[(1, 49), (2, 55)]);
    let (done, applied) = start(&place);
    let error = done.unwrap_err();
    assert!(matches!(error, StorageError::Gap { .. }));
    let wanted = "the log begins behind entry 50@t1, the state ends at 20@t1: no snapshot stands";
    assert!(error.to_string().starts_with(wanted), "{error}");
    assert_eq!(applied, 20, "the state is as it was");
}

#[test]
fn a_damaged_snapshot_is_named_and_an_older_one_serves() {
    let (place, files) = node(&[(1, 50), (1, 58)]);
    let mut bytes = fs::read(&files[1].path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&files[1].path, bytes).unwrap();
    let (done, applied) = start(&place);
    assert_eq!((done.unwrap().unwrap(), applied), (files[0].clone(), 50));

    let (place, files) = node(&[(1, 50)]);
    fs::write(&files[0].path, b"raftsnap").unwrap();
    let (done, _) = start(&place);
    let error = done.unwrap_err().to_string();
    assert!(error.contains(files[0].path.to_str().unwrap()), "{error}");
    assert!(error.contains("the file ends within it"), "{error}");
}

/// It was removed before anybody knew whether there was another one.
#[test]
fn a_state_that_was_set_aside_makes_way_for_a_whole_snapshot_only() {
    let place = tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(place.path(), 256) else { return };
    let files = node_at(disk.path(), &[(1, 50)]);
    let aside = disk.path().join("damaged-state");
    let full = || {
        let directory = kit::directory(disk.path()).unwrap();
        let (_, restored) = LogStore::open(&directory).unwrap();
        let mut state = StateStore::open(disk.path()).unwrap();
        fs::create_dir_all(&aside).unwrap();
        let mut file = fs::File::create(aside.join("table")).unwrap();
        while file.write_all(&[0; 65_536]).is_ok() {}
        drop(file);
        reconcile(&restored, &mut state, &open(&directory))
    };
    let whole = fs::read(&files[0].path).unwrap();
    let mut damaged = whole.clone();
    *damaged.last_mut().unwrap() ^= 1;
    fs::write(&files[0].path, damaged).unwrap();
    assert!(full().is_err());
    assert!(aside.exists(), "it may be the last one");
    fs::remove_file(aside.join("table")).unwrap();
    fs::write(&files[0].path, whole).unwrap();
    assert_eq!(full().unwrap().as_ref(), files.first());
    assert!(!aside.exists(), "there was no room for both");
}

#[test]
fn a_state_beyond_the_log_or_of_another_history_is_refused() {
    let place = tempdir().unwrap();
    let directory = found(place.path());
    let (mut log, _) = LogStore::open(&directory).unwrap();
    log.write(&[append(2, (2..=30).map(|index| kit::command(2, index, "x")).collect())]).unwrap();
    drop((log, directory));
    for (to, why) in [
        (40, "the state ends at entry 40@t1, the log at 30@t2 already: the log is older"),
        (20, "it ends at entry 20@t1, the log has"),
    ] {
        let place_of_state = tempdir().unwrap();
        let mut host = apply(StateStore::open(place_of_state.path()).unwrap(), to, "x");
        host.persist().unwrap();
        drop(host);
        let mut state = StateStore::open(place_of_state.path()).unwrap();
        let (_, restored) = reopen(place.path());
        let snapshots = open(&kit::directory(place.path()).unwrap());
        let error = reconcile(&restored, &mut state, &snapshots).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn a_snapshot_whose_contents_end_elsewhere_than_its_header_says_is_not_taken() {
    let place = tempdir().unwrap();
    let directory = found(place.path());
    let file = open(&directory).create(&header(&directory, 1, 9)).unwrap().finish().unwrap();
    let mut state = StateStore::open(place.path()).unwrap();
    let error = state.replace_from(&mut SnapshotReader::open(&file.path).unwrap()).unwrap_err();
    assert!(error.to_string().contains("a snapshot up to entry 9@t1"), "{error}");
    assert_eq!(at(0, 0), Host::open(state, Arc::new(Kv)).unwrap().applied());
}
