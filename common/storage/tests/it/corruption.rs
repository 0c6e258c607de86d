//! Damage on the disk: an error, or the same entries as before, never others and never fewer.

use std::fs;
use std::path::{Path, PathBuf};

use crate::kit::{append, command, directory, found, read, record, reopen};
use consensus::Entry;
use storage::{LogStore, StorageError};
use tempfile::{TempDir, tempdir};

/// The last entry of the logs that are damaged here.
const LAST: u64 = 90;

const BLOCK_BYTES: usize = 32 * 1024;
const HEAD_BYTES: usize = 7;

/// A closed database, to be copied and damaged.
struct Original {
    place: TempDir,
    copies: TempDir,
    entries: Vec<Entry>,
}

impl Original {
    /// Entries that only the write-ahead log holds; it is longer than a block.
    fn logged() -> Self {
        let place = tempdir().unwrap();
        let directory = found(place.path());
        let (mut log, _) = LogStore::open(&directory).unwrap();
        for index in 2..=LAST {
            let bytes = if index % 9 == 0 { 4_000 } else { 100 };
            let text = format!("{index} {}", "x".repeat(bytes));
            log.write(&[append(2, vec![command(2, index, &text)])]).unwrap();
        }
        let entries = read(&log, 1, LAST).unwrap();
        Self { place, copies: tempdir().unwrap(), entries }
    }

    /// The same entries in table files: opening a database moves them there.
    fn flushed() -> Self {
        let original = Self::logged();
        drop(reopen(original.place.path()));
        original
    }

    /// Returns the files of the database whose names have this in them, and their bytes.
    fn files(&self, part: &str) -> Vec<(PathBuf, Vec<u8>)> {
        let mut files: Vec<PathBuf> = fs::read_dir(self.place.path().join("log"))
            .unwrap()
            .map(|file| PathBuf::from(file.unwrap().file_name()))
            .filter(|name| name.to_str().unwrap().contains(part))
            .collect();
        files.sort();
        let read = |name| (PathBuf::clone(&name), fs::read(self.path("log", &name)).unwrap());
        files.into_iter().map(read).filter(|(_, bytes)| !bytes.is_empty()).collect()
    }

    fn path(&self, below: &str, name: &Path) -> PathBuf {
        self.place.path().join(below).join(name)
    }

    /// Opens a copy in which a file has other contents; returns all that it holds then.
    fn open_with(&self, name: &Path, bytes: &[u8]) -> Result<Vec<Entry>, StorageError> {
        let copy = self.copies.path().join("copy");
        let _ = fs::remove_dir_all(&copy);
        copy_directory(self.place.path(), &copy);
        fs::write(copy.join("log").join(name), bytes).unwrap();
        let (log, restored) = LogStore::open(&directory(&copy)?)?;
        read(&log, 1, restored.log.last().index.get())
    }

    /// Flips a bit; says whether that was noticed.
    fn notices(&self, (name, bytes): &(PathBuf, Vec<u8>), at: usize, bit: usize) -> bool {
        let mut bytes = bytes.clone();
        bytes[at] ^= 1 << bit;
        match self.open_with(name, &bytes) {
            Ok(entries) => {
                let same = entries == self.entries;
                assert!(same, "{} entries, bit {bit} of {at} in {name:?}", entries.len());
                false
            }
            Err(StorageError::Corrupt { .. } | StorageError::Database { .. }) => true,
            Err(error) => panic!("bit {bit} of {at} in {name:?}: {error}"),
        }
    }
}

fn copy_directory(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for child in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(child.file_name());
        if child.file_type().unwrap().is_dir() {
            copy_directory(&child.path(), &target);
        } else {
            fs::copy(child.path(), target).unwrap();
        }
    }
}

/// Returns where the records of a journal start.
fn records(journal: &[u8]) -> Vec<usize> {
    let (mut starts, mut at) = (Vec::new(), 0);
    while at + HEAD_BYTES <= journal.len() {
        let left = BLOCK_BYTES - at % BLOCK_BYTES;
        if left < HEAD_BYTES {
            at += left;
            continue;
        }
        starts.push(at);
        at += HEAD_BYTES + usize::from(u16::from_le_bytes([journal[at + 4], journal[at + 5]]));
    }
    assert_eq!(at, journal.len(), "the journal ends with a record");
    starts
}

#[test]
fn a_flipped_bit_anywhere_in_a_file_never_changes_what_is_read() {
    for (original, part) in [
        (Original::logged(), ".log"),
        (Original::flushed(), ".sst"),
        (Original::flushed(), "MANIFEST"),
        (Original::flushed(), "CURRENT"),
    ] {
        let files = original.files(part);
        assert!(!files.is_empty(), "{part}");
        for file in &files {
            let size = file.1.len();
            for at in (0..size).step_by((size / 97).max(1)) {
                assert!(original.notices(file, at, at % 8), "byte {at} of {:?}", file.0);
            }
        }
    }
}

/// RocksDB takes a record that is too long for one that was cut off, and forgets all behind it.
#[test]
fn a_flipped_bit_in_the_head_of_a_record_is_no_torn_tail_museum_h5() {
    for (original, part) in [(Original::logged(), ".log"), (Original::flushed(), "MANIFEST")] {
        for file in original.files(part) {
            let starts = records(&file.1);
            let count = starts.len();
            assert!(count > 4, "{count} records in {:?}", file.0);
            for which in [0, count / 2, count - 2, count - 1] {
                for bit in 0..8 * HEAD_BYTES {
                    let at = starts[which] + bit / 8;
                    let noticed = original.notices(&file, at, bit % 8);
                    assert!(noticed, "record {which} of {count}, bit {bit} of its head");
                }
            }
        }
    }
}

#[test]
fn a_torn_last_write_is_dropped_and_everything_before_it_is_there() {
    let original = Original::logged();
    let journal = original.files(".log").pop().unwrap();
    let last = *records(&journal.1).last().unwrap();
    let before = &original.entries[..original.entries.len() - 1];
    for end in (last..journal.1.len()).step_by(5).chain(last..last + 9) {
        let found = original.open_with(&journal.0, &journal.1[..end]).unwrap();
        assert_eq!(found, before, "cut at {end} of {}", journal.1.len());
    }
}

#[test]
fn zeros_behind_the_last_write_are_nothing_museum_h3() {
    let original = Original::logged();
    let (name, mut bytes) = original.files(".log").pop().unwrap();
    for zeros in [1, 6, 7, 100, 2 * BLOCK_BYTES] {
        bytes.extend(std::iter::repeat_n(0, zeros));
        assert_eq!(original.open_with(&name, &bytes).unwrap(), original.entries, "{zeros}");
    }
}

#[test]
fn a_log_goes_on_after_a_torn_tail() {
    let original = Original::logged();
    let (name, bytes) = original.files(".log").pop().unwrap();
    original.open_with(&name, &bytes[..bytes.len() - 3]).unwrap();
    let copy = original.copies.path().join("copy");
    let (mut log, _) = reopen(&copy);
    let again = command(3, LAST, "again");
    log.write(&[append(3, vec![again.clone()])]).unwrap();
    drop(log);
    let (log, _) = reopen(&copy);
    let expected = [&original.entries[..original.entries.len() - 1], &[again]].concat();
    assert_eq!(read(&log, 1, LAST).unwrap(), expected);
}

#[test]
fn a_missing_table_is_an_error() {
    let original = Original::flushed();
    let files = original.files(".sst");
    for (name, _) in &files {
        let copy = original.copies.path().join(name);
        copy_directory(original.place.path(), &copy);
        fs::remove_file(copy.join("log").join(name)).unwrap();
        assert!(LogStore::open(&directory(&copy).unwrap()).is_err(), "{name:?}");
    }
}

/// Whoever deletes the log must not get a node that votes as if it never had.
#[test]
fn a_founded_directory_without_its_log_is_refused() {
    let place = tempdir().unwrap();
    let founded = found(place.path());
    fs::remove_dir_all(place.path().join("log")).unwrap();
    let Err(refused) = LogStore::open(&founded) else { panic!("it opened") };
    let expected = "the log is damaged: it is empty beside a bootstrap record";
    assert_eq!(refused.to_string(), expected);
}

#[test]
fn the_log_of_another_directory_is_refused() {
    let (ours, theirs) = (tempdir().unwrap(), tempdir().unwrap());
    let mut directories = [ours.path(), theirs.path()].map(|path| directory(path).unwrap());
    let record = record(directories[0].incarnation());
    for directory in &mut directories {
        LogStore::bootstrap(directory, &record).unwrap();
    }
    fs::remove_dir_all(ours.path().join("log")).unwrap();
    copy_directory(&theirs.path().join("log"), &ours.path().join("log"));
    let Err(refused) = LogStore::open(&directories[0]) else { panic!("it opened") };
    let expected = "log entry 1 is damaged: the record was written by another node or directory";
    assert_eq!(refused.to_string(), expected);
}
