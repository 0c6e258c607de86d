//! A snapshot fills an empty data directory as the beginning of a new history, once.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use crate::kit;
use crate::kit::snapshots::{apply, header, open};
use crate::kit::{at, configuration, directory, found, node, read, record};
use consensus::{ClusterTime, LogIndex, Payload, Term};
use protocol::BootstrapRecord;
use state_machine::{Host, Kv};
use storage::{
    DataDirectory, LogStore, Restoration, SnapshotFile, SnapshotReader, StateStore, StorageError,
    reconcile,
};
use tempfile::tempdir;

/// Takes a snapshot of a state up to this entry, of the history of `directory`.
fn snapshot(directory: &DataDirectory, to: u64) -> SnapshotFile {
    let elsewhere = tempdir().unwrap();
    let mut host = apply(StateStore::open(elsewhere.path()).unwrap(), to, "value");
    let checkpoint = host.with_store(StateStore::checkpoint).unwrap().unwrap();
    checkpoint.save(&open(directory), &header(directory, 1, to), |_| Ok(())).unwrap()
}

fn begin(path: &Path) -> Result<Restoration, StorageError> {
    Restoration::begin(path, kit::CLUSTER, node(1))
}

/// The record of a history that goes on from a snapshot of this one.
fn child(restoration: &Restoration, parent: &DataDirectory) -> BootstrapRecord {
    BootstrapRecord { parent: parent.generation(), ..record(restoration.incarnation()) }
}

#[test]
fn a_restored_node_goes_on_behind_the_snapshot_in_a_new_history() {
    let (old, new) = (tempdir().unwrap(), tempdir().unwrap());
    let parent = found(old.path());
    let file = snapshot(&parent, 50);
    let restoration = begin(new.path()).unwrap();
    let record = child(&restoration, &parent);
    restoration.fill(&record, &mut SnapshotReader::open(&file.path).unwrap()).unwrap();

    let directory = directory(new.path()).unwrap();
    assert_eq!(directory.generation(), Some(record.generation()));
    assert_eq!(directory.bootstrap().unwrap(), Some(record.clone()));
    let (log, restored) = LogStore::open(&directory).unwrap();
    assert_eq!((restored.log.base(), restored.log.last()), (at(1, 50), at(2, 51)));
    assert_eq!((restored.hard_state.term, restored.hard_state.vote), (Term::new(2), None));
    assert_eq!(restored.membership.latest(), &record.configuration);
    assert_eq!(restored.membership.index(), LogIndex::new(51));
    assert!(restored.stamp >= ClusterTime::new(500), "cluster time never moves back");
    let entries = read(&log, 51, 51).unwrap();
    assert_eq!(entries[0].payload, Payload::Configuration(record.configuration.clone()));
    let mut state = StateStore::open(new.path()).unwrap();
    assert_eq!(reconcile(&restored, &mut state, &open(&directory)).unwrap(), None);
    let mut host = Host::open(state, Arc::new(Kv)).unwrap();
    assert_eq!(host.applied(), at(1, 50));
    host.apply(&entries).unwrap();
    assert_eq!(host.applied(), at(2, 51));
}

#[test]
fn only_an_empty_directory_is_filled() {
    let (old, new) = (tempdir().unwrap(), tempdir().unwrap());
    let parent = found(old.path());
    let file = snapshot(&parent, 50);
    drop(parent);
    let Err(StorageError::NotEmpty { found, .. }) = begin(old.path()) else { panic!("it began") };
    assert!(found.contains("has a history there"), "{found}");
    fs::write(new.path().join("letters.txt"), "dear").unwrap();
    let Err(StorageError::NotEmpty { found, .. }) = begin(new.path()) else { panic!("it began") };
    assert!(found.contains("letters.txt"), "{found}");
    assert_eq!(fs::read_dir(new.path()).unwrap().count(), 1, "nothing was written");
    assert!(file.path.exists());
}

#[test]
fn a_directory_that_was_never_bootstrapped_is_empty_and_one_in_use_is_not() {
    let (old, new) = (tempdir().unwrap(), tempdir().unwrap());
    let parent = found(old.path());
    let file = snapshot(&parent, 50);
    let held = directory(new.path()).unwrap();
    assert!(matches!(begin(new.path()), Err(StorageError::InUse { .. })));
    let incarnation = held.incarnation();
    drop(held);
    let restoration = begin(new.path()).unwrap();
    assert_eq!(restoration.incarnation(), incarnation);
    let record = child(&restoration, &parent);
    restoration.fill(&record, &mut SnapshotReader::open(&file.path).unwrap()).unwrap();
    let Err(StorageError::NotEmpty { .. }) = begin(new.path()) else { panic!("only once") };
}

#[test]
fn a_damaged_snapshot_leaves_the_directory_empty_and_it_can_be_filled_again() {
    let (old, new) = (tempdir().unwrap(), tempdir().unwrap());
    let parent = found(old.path());
    let file = snapshot(&parent, 50);
    let bytes = fs::read(&file.path).unwrap();
    let damaged = old.path().join("damaged.snap");
    fs::write(&damaged, &bytes[..bytes.len() - 1]).unwrap();
    let restoration = begin(new.path()).unwrap();
    let record = child(&restoration, &parent);
    let refused = restoration.fill(&record, &mut SnapshotReader::open(&damaged).unwrap());
    assert!(matches!(refused, Err(StorageError::Corrupt { .. })), "{refused:?}");
    assert_eq!(directory(new.path()).unwrap().generation(), None);
    let restoration = begin(new.path()).unwrap();
    restoration.fill(&record, &mut SnapshotReader::open(&file.path).unwrap()).unwrap();
    assert_eq!(directory(new.path()).unwrap().generation(), Some(record.generation()));
}

#[test]
fn a_restore_that_was_interrupted_before_its_last_step_is_no_history() {
    let (old, new) = (tempdir().unwrap(), tempdir().unwrap());
    let parent = found(old.path());
    let file = snapshot(&parent, 50);
    let restoration = begin(new.path()).unwrap();
    let record = child(&restoration, &parent);
    let (superblock, empty) = (new.path().join("superblock"), new.path().join("empty"));
    fs::hard_link(&superblock, &empty).unwrap();
    restoration.fill(&record, &mut SnapshotReader::open(&file.path).unwrap()).unwrap();
    // As if the process had been killed just before.
    fs::rename(&empty, &superblock).unwrap();
    let mut unfinished = directory(new.path()).unwrap();
    assert_eq!(unfinished.generation(), None);
    let refused = LogStore::bootstrap(&mut unfinished, &record).unwrap_err().to_string();
    assert!(refused.contains("it goes on from generation"), "{refused}");
    let original = BootstrapRecord { parent: None, ..record.clone() };
    assert!(LogStore::bootstrap(&mut unfinished, &original).is_err(), "the log is in the way");
    let refused = LogStore::join(&mut unfinished, &record).unwrap_err().to_string();
    assert!(refused.contains("a restore was not finished"), "{refused}");
    drop(unfinished);
    let restoration = begin(new.path()).unwrap();
    restoration.fill(&record, &mut SnapshotReader::open(&file.path).unwrap()).unwrap();
    let (_, restored) = LogStore::open(&directory(new.path()).unwrap()).unwrap();
    assert_eq!(restored.log.last(), at(2, 51));
}

#[test]
fn a_directory_has_no_history_before_the_last_step() {
    let (old, new) = (tempdir().unwrap(), tempdir().unwrap());
    let parent = found(old.path());
    let file = snapshot(&parent, 50);
    let restoration = begin(new.path()).unwrap();
    let record = child(&restoration, &parent);
    let filled = restoration.pour(&record, &mut SnapshotReader::open(&file.path).unwrap()).unwrap();
    drop(filled);
    assert_eq!(directory(new.path()).unwrap().generation(), None);
    let restoration = begin(new.path()).unwrap();
    let filled = restoration.pour(&record, &mut SnapshotReader::open(&file.path).unwrap()).unwrap();
    filled.found(&record).unwrap();
    assert_eq!(directory(new.path()).unwrap().generation(), Some(record.generation()));
}

#[test]
fn a_record_that_does_not_belong_to_directory_and_snapshot_is_refused() {
    let (old, new) = (tempdir().unwrap(), tempdir().unwrap());
    let parent = found(old.path());
    let file = snapshot(&parent, 50);
    let good = child(&begin(new.path()).unwrap(), &parent);
    let other = configuration(consensus::Incarnation::new(1), "host:1");
    let bad = [
        BootstrapRecord { configuration: other, ..good.clone() },
        BootstrapRecord { parent: None, ..good.clone() },
        BootstrapRecord { machine: "register".into(), ..good.clone() },
        BootstrapRecord { machine_version: 2, ..good.clone() },
        BootstrapRecord { cluster: [9; 16], ..good },
    ];
    for record in bad {
        let mut reader = SnapshotReader::open(&file.path).unwrap();
        let refused = begin(new.path()).unwrap().fill(&record, &mut reader);
        assert!(matches!(refused, Err(StorageError::Corrupt { .. })), "{record:?}");
    }
}
