//! Damage of a whole write that no entry shows: what it held is in the tail file, or known to be
//! lost.

use std::fs;
use std::path::{Path, PathBuf};

use consensus::Write;
use storage::{LogStore, Loss, StorageError};
use tempfile::tempdir;

use crate::corruption::{BLOCK_BYTES, HEAD_BYTES, records};
use crate::kit::{append, at, command, directory, found, hard_state, nothing, reopen, replace};

/// Returns the file of the write-ahead log, and where its last record begins.
fn journal(data: &Path) -> (PathBuf, usize) {
    let files = fs::read_dir(data.join("log")).unwrap().map(|file| file.unwrap().path());
    let of_writes = |file: &PathBuf| file.extension().is_some_and(|kind| kind == "log");
    let file = files.filter(of_writes).max_by_key(|file| fs::metadata(file).unwrap().len());
    let file = file.unwrap();
    let last = *records(&fs::read(&file).unwrap()).last().unwrap();
    (file, last)
}

/// Flips a bit in a record.
fn damage((file, record): (&Path, usize)) {
    let mut bytes = fs::read(file).unwrap();
    bytes[record + HEAD_BYTES] ^= 1;
    fs::write(file, bytes).unwrap();
}

/// No entry shows that this write is missing, and the node would vote once more in the same term.
#[test]
fn a_vote_whose_write_is_damaged_is_not_forgotten() {
    // Behind it nothing, or more than what the database drops with a damaged record: its block.
    for sizes_behind in [&[][..], &[2 * BLOCK_BYTES, 1]] {
        let place = tempdir().unwrap();
        let directory = found(place.path());
        let (mut log, _) = LogStore::open(&directory).unwrap();
        for vote in [None, Some(2)] {
            log.write(&[Write { hard_state: Some(hard_state(5, vote)), ..nothing() }]).unwrap();
        }
        let (file, vote) = journal(place.path());
        for (index, size) in (2..).zip(sizes_behind) {
            let append = vec![command(5, index, &"x".repeat(*size))];
            log.write(&[Write { append, ..nothing() }]).unwrap();
        }
        drop((log, directory));
        damage((&file, vote));
        // The start behind finds a log that was made anew, or is still to be repaired.
        for _ in 0..2 {
            let (_, restored) = reopen(place.path());
            assert_eq!(restored.condition.is_whole(), sizes_behind.is_empty());
            assert_eq!(restored.hard_state, hard_state(5, Some(2)), "before {sizes_behind:?}");
        }
    }
}

/// What it replaced is whole, and no part of the log any more: the node ended so at every start.
#[test]
fn a_log_has_lost_its_end_when_the_write_that_replaced_it_is_damaged() {
    let place = tempdir().unwrap();
    let directory = found(place.path());
    let (mut log, _) = LogStore::open(&directory).unwrap();
    log.write(&[append(2, (2..=9).map(|index| command(2, index, "old")).collect())]).unwrap();
    log.write(&[replace(3, 5, vec![command(3, 5, "new"), command(3, 6, "new")])]).unwrap();
    drop((log, directory));
    let (file, last) = journal(place.path());
    damage((&file, last));
    let (_, restored) = reopen(place.path());
    let ends: Vec<_> = restored.condition.losses.iter().map(ToString::to_string).collect();
    let [Loss::End { durable, found }] = restored.condition.losses[..] else { panic!("{ends:?}") };
    assert_eq!((durable.last, found.last), (at(3, 6), at(2, 9)));
    assert_eq!((restored.log.last(), restored.hard_state), (at(2, 9), hard_state(3, Some(1))));
}

/// What follows the damaged write continues it, and not what is left: the node ended so at every
/// start, and nobody took its place.
#[test]
fn a_log_is_lost_when_a_whole_write_follows_a_damaged_one_that_replaced_a_part() {
    // What is replaced is one record, or a record an entry.
    for at_once in [true, false] {
        let place = tempdir().unwrap();
        let data = found(place.path());
        let (mut log, _) = LogStore::open(&data).unwrap();
        let old: Vec<_> = (2..=9).map(|index| command(2, index, "old")).collect();
        let size = if at_once { old.len() } else { 1 };
        for entries in old.chunks(size) {
            log.write(&[append(2, entries.to_vec())]).unwrap();
        }
        let (file, before) = journal(place.path());
        let large = "x".repeat(2 * BLOCK_BYTES);
        let new = vec![command(3, 5, &large), command(3, 6, &large)];
        log.write(&[replace(3, 5, new)]).unwrap();
        log.write(&[append(3, vec![command(3, 7, "new")])]).unwrap();
        drop((log, data));
        let all = records(&fs::read(&file).unwrap());
        let first = *all.iter().find(|record| **record > before).unwrap();
        damage((&file, first));
        // The start behind finds the same.
        for _ in 0..2 {
            let opened = LogStore::open(&directory(place.path()).unwrap());
            let why = opened.err().expect("it is lost");
            assert!(matches!(why, StorageError::LogLost { .. }), "{at_once}: {why}");
        }
    }
}
