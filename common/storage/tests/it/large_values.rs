//! Values that lie apart from the state's tables: their room comes back, and what rots or is
//! missing of them is found.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use fixtures::SmallDisk;
use rustix::fs::{Mode, OFlags};
use state_machine::{Batch, OrderedStore, View};
use storage::{StateStore, StorageError};
use tempfile::tempdir;

const KIB: usize = 1024;
const MIB: u64 = 1024 * 1024;

/// What compresses badly.
fn noise(seed: usize, bytes: usize) -> Vec<u8> {
    let mut state = seed as u64;
    let mut next = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u8
    };
    (0..bytes).map(|_| next()).collect()
}

fn key(number: usize) -> Vec<u8> {
    format!("key {number:06}").into_bytes()
}

/// Writes values of 64 KiB, those of a seed, and flushes them.
fn put(store: &mut StateStore, keys: impl Iterator<Item = usize>, seed: usize) {
    for number in keys {
        let mut batch = Batch::new();
        batch.put(key(number).into(), noise(seed + number, 64 * KIB).into());
        store.write(batch).unwrap();
    }
    store.flush_later().run().unwrap();
}

fn delete(store: &mut StateStore, keys: impl Iterator<Item = usize>) {
    let mut batch = Batch::new();
    keys.for_each(|number| batch.delete(key(number).into()));
    store.write(batch).unwrap();
    store.flush_later().run().unwrap();
}

fn check(store: &StateStore, keys: impl Iterator<Item = usize>, seed: usize) {
    for number in keys {
        let found = store.get(&key(number)).unwrap();
        assert!(found.is_some_and(|it| it == noise(seed + number, 64 * KIB)), "key {number}");
    }
}

fn blobs(state: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(state).unwrap().map(|file| file.unwrap().path());
    let mut blobs: Vec<_> =
        files.filter(|path| path.extension().is_some_and(|it| it == "blob")).collect();
    blobs.sort();
    blobs
}

/// Collects as a node does, until the state takes no more than that, and it has ended.
fn collect(store: &StateStore, bytes_max: u64) {
    let begun = Instant::now();
    loop {
        let goes_on = store.upkeep().collect();
        let bytes = store.bytes();
        if !goes_on && bytes <= bytes_max {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{bytes} bytes, goes on: {goes_on}");
        sleep(Duration::from_millis(20));
    }
}

#[test]
fn the_room_of_overwritten_values_is_collected_and_the_others_are_kept() {
    let place = tempdir().unwrap();
    let mut store = StateStore::open(place.path()).unwrap();
    // 75 MiB, written more and more rarely: something in each file stays.
    let round_of = |number: usize| number % 12;
    for round in 0..12 {
        let written = (0..1_200).filter(|number| round_of(*number) >= round);
        put(&mut store, written, round * 10_000);
    }
    // All that was written is 487 MiB. Eight memtables may be dead, and what is in three others is
    // dead only to who merges the tables.
    collect(&store, 75 * MIB + (8 + 3) * 32 * MIB);
    let all = |store: &StateStore| {
        for round in 0..12 {
            check(store, (0..1_200).filter(|n| round_of(*n) == round), round * 10_000);
        }
    };
    all(&store);
    store.persist().unwrap();
    drop(store);
    all(&StateStore::open(place.path()).unwrap());
}

#[test]
fn files_whose_values_are_all_deleted_go_and_a_view_of_them_stays() {
    let place = tempdir().unwrap();
    let mut store = StateStore::open(place.path()).unwrap();
    put(&mut store, 0..1_000, 0);
    assert!(!blobs(&place.path().join("state")).is_empty(), "they lie apart");
    assert!(store.bytes() > 62 * MIB, "they count: {}", store.bytes());
    let checkpoint = store.checkpoint().unwrap();
    delete(&mut store, 0..1_000);
    collect(&store, MIB);
    assert_eq!(store.get(&key(1)).unwrap(), None);
    let mut pairs = 0;
    let mut seen = |key: &[u8], value: &[u8]| {
        assert!(key == self::key(pairs) && value == noise(pairs, 64 * KIB), "{pairs}");
        pairs += 1;
        Ok(())
    };
    checkpoint.for_each(&mut seen).unwrap();
    assert_eq!(pairs, 1_000);
}

/// Says whether a file below this directory is open for reads past what the system has in memory.
fn reads_past_memory(place: &Path) -> bool {
    let open = fs::read_dir("/proc/self/fd").unwrap().flatten().filter(|descriptor| {
        fs::read_link(descriptor.path()).is_ok_and(|file| file.starts_with(place))
    });
    let mut flags = open.filter_map(|descriptor| {
        let about = Path::new("/proc/self/fdinfo").join(descriptor.file_name());
        let about = fs::read_to_string(about).ok()?;
        let flags = about.lines().find_map(|line| line.strip_prefix("flags:"))?;
        Some(OFlags::from_bits_retain(u32::from_str_radix(flags.trim(), 8).unwrap()))
    });
    flags.any(|flags| flags.contains(OFlags::DIRECT))
}

/// What is in memory may be right while the disk is not.
#[test]
fn all_is_read_through_from_the_disk_and_not_from_memory() {
    let place = tempdir().unwrap();
    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::DIRECT;
    if rustix::fs::open(place.path(), flags, Mode::RUSR).is_err() {
        eprintln!("NOT SHOWN HERE: this file system has no reads past memory");
        return;
    }
    let mut store = StateStore::open(place.path()).unwrap();
    put(&mut store, 0..10, 0);
    assert!(!reads_past_memory(place.path()), "others are faster from memory");
    let mut from_disk = false;
    let read = store.scrub_later().run(|_| {
        from_disk |= reads_past_memory(place.path());
        true
    });
    assert!(read.unwrap() > 10 * 64 * KIB as u64 && from_disk);
}

/// A minute after each start all nodes took a file that had just been collected for rot, and threw
/// their states away.
#[test]
fn files_of_values_that_go_while_all_is_read_through_are_no_rot() {
    let place = tempdir().unwrap();
    let mut store = StateStore::open(place.path()).unwrap();
    put(&mut store, 0..1_000, 0);
    let before = blobs(&place.path().join("state"));
    let mut is_first = true;
    let read = store.scrub_later().run(|_| {
        if std::mem::take(&mut is_first) {
            delete(&mut store, 0..1_000);
            collect(&store, MIB);
            // The database counts them no more a moment before they are gone.
            let begun = Instant::now();
            while before.iter().any(|file| file.exists()) {
                assert!(begun.elapsed() < Duration::from_secs(60), "not all are collected");
                sleep(Duration::from_millis(5));
            }
        }
        true
    });
    assert!(read.unwrap() > 62 * MIB);
    assert_eq!(fs::read_dir(place.path().join("checkpoints")).unwrap().count(), 0);
}

/// It was removed where there was no room for others beside it, with the last copy of all that was
/// whole in it.
#[test]
fn a_state_that_is_set_aside_stays_whatever_room_there_is() {
    let place = tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(place.path(), 400) else { return };
    let lies = disk.path().join("damaged-state");
    for keys in [0..200, 0..2_000] {
        let mut store = StateStore::open(disk.path()).unwrap();
        put(&mut store, keys, 0);
        drop(store);
        // What was never in force is no state: its directory is the newest one.
        fs::create_dir(disk.path().join("state-1")).unwrap();
        let snapshot = disk.path().join("7.snap");
        fs::write(&snapshot, b"made of it").unwrap();
        let aside = StateStore::set_aside(disk.path(), &[snapshot]).unwrap();
        assert_eq!(aside.as_ref(), Some(&lies));
        assert!(!blobs(&lies).is_empty() && lies.join("7.snap").exists());
        let store = StateStore::open(disk.path()).unwrap();
        assert!(store.remove_other().unwrap());
        assert!(!lies.exists());
    }
}

/// They were kept for ever, since RocksDB cannot tell them from files of a later version.
#[test]
fn files_of_values_that_were_never_finished_are_removed_at_the_next_start() {
    let place = tempdir().unwrap();
    let mut store = StateStore::open(place.path()).unwrap();
    put(&mut store, 0..100, 0);
    drop(store);
    let state = place.path().join("state");
    let known = blobs(&state);
    let part = fs::read(&known[0]).unwrap();
    fs::write(state.join("000901.blob"), &part[..part.len() / 2]).unwrap();
    fs::write(state.join("000902.blob"), b"").unwrap();
    let mut store = StateStore::open(place.path()).unwrap();
    assert_eq!(blobs(&state), known);
    check(&store, 0..100, 0);
    // The database collects by itself again.
    put(&mut store, 0..1_000, 1);
    delete(&mut store, 0..1_000);
    collect(&store, MIB);
}

/// Every second one: no file is dead as a whole, and the disk has room for a part of them only.
#[test]
fn deleting_makes_room_also_on_a_disk_that_has_little() {
    let place = tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(place.path(), 96) else { return };
    let mut store = StateStore::open(disk.path()).unwrap();
    put(&mut store, 0..1_000, 0);
    let before = store.bytes();
    disk.fill(14);
    delete(&mut store, (0..1_000).filter(|number| number % 2 == 0));
    collect(&store, before * 5 / 8);
    check(&store, (0..1_000).filter(|number| number % 2 == 1), 0);
}

#[test]
fn a_flipped_bit_in_a_value_is_found_when_it_is_read_and_when_all_is() {
    let place = tempdir().unwrap();
    let mut store = StateStore::open(place.path()).unwrap();
    put(&mut store, 0..4, 0);
    drop(store);
    let file = blobs(&place.path().join("state")).pop().unwrap();
    let whole = fs::read(&file).unwrap();
    for at in (0..whole.len()).step_by(whole.len() / 50) {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        fs::write(&file, &bytes).unwrap();
        let Ok(store) = StateStore::open(place.path()) else { continue };
        match store.scrub_later().run(|_| true) {
            Err(StorageError::Corrupt { .. }) => {}
            // Heads and ends that nothing is read by.
            Ok(_) => check(&store, 0..4, 0),
            Err(other) => panic!("byte {at}: {other:?}"),
        }
        for number in 0..4 {
            if let Ok(found) = store.get(&key(number)) {
                assert!(found.is_some_and(|it| it == noise(number, 64 * KIB)), "byte {at}");
            }
        }
    }
}

#[test]
fn a_missing_file_of_values_is_missed_at_the_next_flush_and_when_it_is_read() {
    let place = tempdir().unwrap();
    let mut store = StateStore::open(place.path()).unwrap();
    put(&mut store, 0..4, 0);
    fs::remove_file(&blobs(&place.path().join("state"))[0]).unwrap();
    let mut batch = Batch::new();
    batch.put(key(9).into(), b"small".to_vec().into());
    store.write(batch).unwrap();
    match store.flush_later().run() {
        Err(StorageError::Gone { path, .. }) => assert_eq!(path, place.path().join("state")),
        other => panic!("{other:?}"),
    }
    drop(store);
    let found = StateStore::open(place.path()).and_then(|store| store.scrub_later().run(|_| true));
    assert!(matches!(found, Err(StorageError::Corrupt { .. })), "{found:?}");
}
