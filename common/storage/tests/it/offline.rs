//! A stopped node is read as a whole, and nothing of it is written; the first damage is told.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::kit;
use crate::kit::snapshots::{apply, header, open, put};
use crate::kit::{append, at, compact, found, hard_state, record, reopen, unchained};
use consensus::{Entry, LogIndex, Payload};
use storage::{LogStore, Part, StateStore, StoppedNode, StorageError, Verified};
use tempfile::{TempDir, tempdir};

/// A stopped node: entries 1 to 60, all but the last ten applied and durable, a snapshot at 40.
fn stopped() -> TempDir {
    let place = tempdir().unwrap();
    let directory = found(place.path());
    let (mut log, _) = LogStore::open(&directory).unwrap();
    let puts: Vec<Entry> = (2..=60).map(|index| put(1, index, &format!("k{index}"), "v")).collect();
    log.write(&[append(1, puts)]).unwrap();
    let mut host = apply(StateStore::open(place.path()).unwrap(), 40, "v");
    let checkpoint = host.with_store(StateStore::checkpoint).unwrap().unwrap();
    checkpoint.save(&open(&directory), &header(&directory, 1, 40), |_| Ok(())).unwrap();
    for index in 41..=50 {
        host.apply(&[put(1, index, &format!("k{index}"), "v")]).unwrap();
    }
    host.persist().unwrap();
    place
}

fn verify(path: &Path) -> Result<Verified, StorageError> {
    Ok(StoppedNode::open(path)?.verify(|_, _, _| {})?.unwrap())
}

/// All files below a directory, with their bytes.
fn files(path: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for child in fs::read_dir(path).unwrap().map(|child| child.unwrap().path()) {
        if child.is_dir() {
            all.extend(files(&child));
        } else {
            all.insert(child.clone(), fs::read(&child).unwrap());
        }
    }
    all
}

#[test]
fn everything_is_read_and_nothing_is_written() {
    let place = stopped();
    let before = files(place.path());
    let mut told = Vec::new();
    let node = StoppedNode::open(place.path()).unwrap();
    let found = node.verify(|part, done, all| told.push((part, done, all))).unwrap().unwrap();
    assert_eq!((found.base, found.last, found.applied), (at(0, 0), at(1, 60), at(1, 50)));
    assert_eq!((found.hard_state, found.configurations), (hard_state(1, Some(1)), 1));
    assert_eq!((found.pairs, found.snapshots.len()), (51, 1));
    for (part, end) in [(Part::Log, 60), (Part::State, 51)] {
        let (_, done, all) = told.iter().rfind(|(found, _, _)| *found == part).unwrap();
        assert_eq!((*done, *all), (end, end), "{part:?}");
    }
    assert!(files(place.path()) == before, "a byte or a file changed");
}

/// RocksDB takes a list that ends early for a whole one: then tables with acknowledged data may lie
/// there unread.
#[test]
fn tables_that_the_state_does_not_name_are_told() {
    let place = stopped();
    assert_eq!(verify(place.path()).unwrap().unnamed_tables, 0);
    let is_table = |path: &PathBuf| path.extension().is_some_and(|end| end == "sst");
    let state = place.path().join("state");
    let (table, _) = files(&state).into_iter().find(|(path, _)| is_table(path)).unwrap();
    fs::copy(table, state.join("999999.sst")).unwrap();
    assert_eq!(verify(place.path()).unwrap().unnamed_tables, 1);
}

#[test]
fn entries_of_a_range_are_read() {
    let place = stopped();
    let node = StoppedNode::open(place.path()).unwrap();
    let log = node.log().unwrap();
    assert_eq!(log.range(), LogIndex::new(1)..LogIndex::new(61));
    let range = LogIndex::new(58)..LogIndex::new(61);
    let entries = unchained(log.entries(range).unwrap().map(Result::unwrap).collect());
    assert_eq!(entries, [58, 59, 60].map(|index| put(1, index, &format!("k{index}"), "v")));
    let first = log.entries(LogIndex::new(1)..LogIndex::new(2)).unwrap().next().unwrap().unwrap();
    assert!(matches!(first.payload, Payload::Configuration(_)));
}

#[test]
fn a_running_node_is_left_alone_and_a_stopped_one_is_held() {
    let place = stopped();
    let running = kit::directory(place.path()).unwrap();
    let refused = StoppedNode::open(place.path()).unwrap_err().to_string();
    let pid = std::process::id();
    assert!(refused.ends_with(&format!("is in use: raftd (pid {pid}) is running")), "{refused}");
    drop(running);
    let one = StoppedNode::open(place.path()).unwrap();
    let other = StoppedNode::open(place.path()).unwrap();
    assert!(matches!(kit::directory(place.path()), Err(StorageError::InUse { .. })));
    drop((one, other));
    kit::directory(place.path()).unwrap();
}

#[test]
fn what_is_no_data_directory_or_has_no_history_is_told() {
    let place = tempdir().unwrap();
    assert!(matches!(StoppedNode::open(place.path()), Err(StorageError::Io { .. })));
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
    drop(kit::directory(place.path()).unwrap());
    let node = StoppedNode::open(place.path()).unwrap();
    assert_eq!((node.verify(|_, _, _| {}).unwrap(), node.generation()), (None, None));
    assert!(node.log().is_err());
}

#[test]
fn a_compacted_log_is_read_from_its_head_and_needs_the_state_or_a_snapshot() {
    let place = stopped();
    let configuration = {
        let directory = kit::directory(place.path()).unwrap();
        record(directory.incarnation()).configuration
    };
    let (mut log, _) = reopen(place.path());
    log.write(&[compact(1, 30, &configuration)]).unwrap();
    drop(log);
    let found = verify(place.path()).unwrap();
    assert_eq!((found.base, found.last), (at(1, 30), at(1, 60)));
    fs::remove_dir_all(place.path().join("state")).unwrap();
    assert_eq!(verify(place.path()).unwrap().applied, at(0, 0), "the snapshot serves");
    fs::remove_dir_all(place.path().join("snapshots")).unwrap();
    let gap = verify(place.path()).unwrap_err();
    assert!(matches!(gap, StorageError::Gap { .. }), "{gap}");
}

/// Opens a node's files as its next start would, so that everything is in table files.
fn settle(path: &Path) {
    drop(reopen(path));
}

#[test]
fn damage_in_tables_and_snapshots_is_found_wherever_it_is() {
    let place = stopped();
    settle(place.path());
    verify(place.path()).unwrap();
    let victims: Vec<(PathBuf, Vec<u8>)> = files(place.path())
        .into_iter()
        .filter(|(path, _)| path.extension().is_some_and(|e| e == "sst" || e == "snap"))
        .collect();
    assert!(victims.len() >= 4, "{}", victims.len());
    for (path, bytes) in victims {
        let step = (bytes.len() / 60).max(1);
        let mut missed = Vec::new();
        for place_of_damage in (0..bytes.len()).step_by(step) {
            let mut damaged = bytes.clone();
            damaged[place_of_damage] ^= 0x10;
            fs::write(&path, &damaged).unwrap();
            match verify(place.path()) {
                Ok(_) => missed.push(place_of_damage),
                Err(StorageError::Corrupt { .. } | StorageError::LogLost { .. }) => {}
                Err(other) => panic!("{other}"),
            }
        }
        assert!(missed.is_empty(), "{}: {missed:?}", path.display());
        fs::write(&path, &bytes).unwrap();
    }
    verify(place.path()).unwrap();
}

#[test]
fn the_first_damage_is_named_with_its_place() {
    let place = stopped();
    let path = place.path().join("superblock");
    let mut bytes = fs::read(&path).unwrap();
    bytes[100] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let error = verify(place.path()).unwrap_err().to_string();
    assert!(error.contains("superblock is damaged: one of its two copies"), "{error}");
    bytes[100] ^= 1;
    fs::write(&path, &bytes).unwrap();

    // Between its copies nothing is read from, and yet every byte is to be as it was written.
    bytes[2_000] ^= 1;
    fs::write(&path, &bytes).unwrap();
    assert!(verify(place.path()).is_err());
    bytes[2_000] ^= 1;
    fs::write(&path, &bytes).unwrap();
    verify(place.path()).unwrap();

    kit::directory(place.path()).unwrap().peers().store(&[]).unwrap();
    verify(place.path()).unwrap();
    let peers = place.path().join("peers");
    let memory = fs::read(&peers).unwrap();
    let mut damaged = memory.clone();
    *damaged.last_mut().unwrap() ^= 1;
    fs::write(&peers, damaged).unwrap();
    let error = verify(place.path()).unwrap_err().to_string();
    assert!(error.contains("peers is damaged"), "{error}");
    fs::write(&peers, memory).unwrap();

    let current = place.path().join("state/CURRENT");
    let named = fs::read(&current).unwrap();
    fs::remove_file(&current).unwrap();
    let missing = verify(place.path()).unwrap_err();
    assert!(matches!(missing, StorageError::Corrupt { .. }), "{missing}");
    fs::write(&current, named).unwrap();

    for name in ["bootstrap", "bootstrap-second"] {
        let bootstrap = place.path().join(name);
        let record = fs::read(&bootstrap).unwrap();
        fs::write(&bootstrap, b"x").unwrap();
        let error = verify(place.path()).unwrap_err().to_string();
        assert!(error.contains(&format!("{name} is damaged")), "{error}");
        fs::write(&bootstrap, record).unwrap();
    }

    let (files, _) = open(&kit::directory(place.path()).unwrap()).list().unwrap();
    let mut bytes = fs::read(&files[0].path).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&files[0].path, bytes).unwrap();
    let error = verify(place.path()).unwrap_err().to_string();
    assert!(error.contains(".snap, chunk 1 at byte"), "{error}");
}
