//! Term and vote (§3.8): what was promised is known again, whichever copy of it is damaged.

use std::fs;
use std::path::PathBuf;

use consensus::{HardState, Write};
use storage::{LogStore, StorageError};
use tempfile::tempdir;

use crate::corruption::copy_directory;
use crate::kit::{append, command, found, hard_state, nothing, reopen};

/// Writes what these say, and more behind it; flips a bit in many bytes of the last of their
/// records in turn, and demands that term and vote are what it said.
#[track_caller]
fn survives(states: &[HardState], behind: u64) {
    let place = tempdir().unwrap();
    let directory = found(place.path());
    let (mut log, _) = LogStore::open(&directory).unwrap();
    log.write(&[append(2, vec![command(2, 2, "before")])]).unwrap();
    let journal = journal(place.path().join("log"));
    let size = || usize::try_from(fs::metadata(&journal).unwrap().len()).unwrap();
    let mut begin = 0;
    for &state in states {
        begin = size();
        log.write(&[Write { hard_state: Some(state), ..nothing() }]).unwrap();
    }
    let end = size();
    for index in 3..3 + behind {
        let entries = vec![command(5, index, "behind")];
        log.write(&[Write { append: entries, ..nothing() }]).unwrap();
    }
    drop((log, directory));
    assert!(begin < end, "the record is in {journal:?}");
    let kept = tempdir().unwrap();
    copy_directory(place.path(), kept.path());
    for at in (begin..end).step_by(7) {
        fs::remove_dir_all(place.path()).unwrap();
        copy_directory(kept.path(), place.path());
        let mut bytes = fs::read(&journal).unwrap();
        bytes[at] ^= 1 << (at % 8);
        fs::write(&journal, bytes).unwrap();
        let opened = crate::kit::directory(place.path()).and_then(|it| LogStore::open(&it));
        let restored = match opened {
            Ok((log, restored)) => {
                drop(log);
                restored
            }
            // It stays down, which promises nothing.
            Err(StorageError::Corrupt { .. } | StorageError::LogLost { .. }) => continue,
            Err(error) => panic!("byte {at} of {begin}..{end}: {error}"),
        };
        // A node that knows of a loss takes no part under the name that it had.
        if restored.condition.losses.is_empty() {
            let said = states.last().copied().unwrap();
            assert_eq!(restored.hard_state, said, "byte {at} of {begin}..{end}");
            let (_, again) = reopen(place.path());
            assert_eq!(again.hard_state, said, "at the next start, byte {at} of {begin}..{end}");
        }
    }
}

/// Returns the write-ahead log that is written now.
fn journal(database: PathBuf) -> PathBuf {
    let files = fs::read_dir(database).unwrap().map(|file| file.unwrap().path());
    let logs = files.filter(|path| path.extension().is_some_and(|kind| kind == "log"));
    logs.max().expect("there is one")
}

/// A node enters a term, and votes in it later: without that vote it would vote there once more.
#[test]
fn a_vote_is_known_though_its_record_is_damaged_3_8() {
    survives(&[hard_state(5, None), hard_state(5, Some(3))], 2);
}

#[test]
fn a_vote_that_was_the_last_write_is_known_though_its_record_is_damaged_3_8() {
    survives(&[hard_state(5, None), hard_state(5, Some(3))], 0);
}

#[test]
fn a_term_is_known_though_its_record_is_damaged_3_8() {
    survives(&[hard_state(5, Some(3)), hard_state(6, None)], 2);
    survives(&[hard_state(5, Some(3)), hard_state(6, None)], 0);
}
