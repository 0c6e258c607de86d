//! A full disk: the failed write poisons the log, and nothing that was acknowledged is lost.
//!
//! Needs a small file system of its own, which only root may mount; without one the test says so
//! and shows nothing.

use std::sync::mpsc::channel;
use std::thread::spawn;
use std::time::Duration;

use crate::kit::{append, command, found, read, reopen};
use fixtures::SmallDisk;
use state_machine::{Batch, OrderedStore, View};
use storage::{LogStore, StateStore, StorageError};
use tempfile::tempdir;

const MIB: usize = 1024 * 1024;

/// What compresses badly, or it would fit.
fn noise(seed: u64) -> impl Iterator<Item = u8> {
    std::iter::successors(Some(seed), |state| {
        Some(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1))
    })
    .map(|state| (state >> 56) as u8)
}

fn large(index: u64) -> consensus::Entry {
    let text: String = noise(index).take(MIB / 2).map(|byte| char::from(byte & 0x7f)).collect();
    command(2, index, &format!("{index} {text}"))
}

/// How often it is tried: where a flush finds no room before the log does, RocksDB waits for room
/// instead of refusing the write, until there is some.
const TRIES: usize = 5;

/// Writes until a write is refused; `None` if one waits.
fn write_until_refused(
    mut log: LogStore,
    disk: &SmallDisk,
) -> Option<(LogStore, u64, StorageError)> {
    let (ended, end) = channel();
    let writer = spawn(move || {
        let mut acknowledged = 1;
        while acknowledged < 96 {
            match log.write(&[append(2, vec![large(acknowledged + 1)])]) {
                Ok(_) => acknowledged += 1,
                Err(refused) => {
                    let _ = ended.send((log, acknowledged, refused));
                    return;
                }
            }
        }
    });
    let written = end.recv_timeout(Duration::from_secs(60)).ok();
    if written.is_none() {
        disk.free();
    }
    writer.join().unwrap();
    written
}

#[test]
fn a_write_to_a_full_disk_fails_as_such_and_poisons_the_log() {
    let full = (0..TRIES).find_map(|_| {
        let place = tempdir().unwrap();
        let disk = SmallDisk::mount(place.path(), 48)?;
        disk.fill(24);
        let directory = found(disk.path());
        let log = LogStore::open(&directory).unwrap().0;
        write_until_refused(log, &disk).map(|written| (written, directory, disk, place))
    });
    let Some(((mut log, acknowledged, refused), directory, disk, _place)) = full else {
        let place = tempdir().unwrap();
        let cannot_be_shown = SmallDisk::mount(place.path(), 1).is_none();
        assert!(cannot_be_shown, "each time RocksDB waited for room");
        return;
    };
    assert!(matches!(refused, StorageError::Full { .. }), "{refused}");
    assert!(refused.to_string().starts_with("the disk is full while writing the log"), "{refused}");
    assert!(acknowledged > 10, "{acknowledged}");

    disk.free();
    for _ in 0..3 {
        let later = log.write(&[append(2, vec![large(acknowledged + 1)])]).unwrap_err();
        assert!(matches!(later, StorageError::Poisoned(_)), "space alone heals nothing: {later}");
    }
    let readable = read(&log, 2, acknowledged).unwrap();
    assert_eq!(readable.len() as u64, acknowledged - 1);
    drop((log, directory));

    let (mut log, restored) = reopen(disk.path());
    assert_eq!(restored.log.last().index.get(), acknowledged);
    assert_eq!(read(&log, 2, acknowledged).unwrap(), readable);
    log.write(&[append(2, vec![large(acknowledged + 1)])]).unwrap();
}

#[test]
fn a_state_that_cannot_be_flushed_is_the_last_flushed_one_after_reopening() {
    let place = tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(place.path(), 24) else { return };
    let key = |number: usize| format!("key {number:06}").into_bytes();
    let batch = |value: u8| {
        let mut batch = Batch::new();
        // What compresses badly, or it would fit.
        let noise =
            |n: usize| (0..1_000).map(move |i| ((n * 7919 + i * i * 31) >> 3) as u8 ^ value);
        for number in 0..8_000 {
            batch.put(key(number).into(), noise(number).collect::<Vec<u8>>().into());
        }
        batch
    };
    let mut state = StateStore::open(disk.path()).unwrap();
    let mut small = Batch::new();
    small.put(key(0).into(), b"before".to_vec().into());
    state.write(small).unwrap();
    state.persist().unwrap();
    disk.fill(19);
    state.write(batch(1)).unwrap();
    let refused = state.persist().unwrap_err();
    assert!(refused.to_string().contains("the disk is full while flushing"), "{refused}");
    drop(state);

    disk.free();
    let mut state = StateStore::open(disk.path()).unwrap();
    assert_eq!(state.get(&key(0)).unwrap().unwrap(), b"before"[..]);
    assert_eq!(state.get(&key(1)).unwrap(), None);
    state.write(batch(2)).unwrap();
    state.persist().unwrap();
    drop(state);
    let state = StateStore::open(disk.path()).unwrap();
    assert_eq!(state.range(b"", None, 10_000).unwrap().len(), 8_000);
}
