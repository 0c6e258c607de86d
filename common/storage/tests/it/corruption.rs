//! Damage on the disk: an error, or the same entries as before, never others and never fewer.

use std::fs;
use std::path::{Path, PathBuf};

use crate::kit::{
    EVERYTHING, append, at, command, compact, directory, found, hard_state, read, record, reopen,
    replace,
};
use consensus::Entry;
use storage::{Condition, LogStore, Loss, StorageError};
use tempfile::{TempDir, tempdir};

/// The last entry of the logs that are damaged here.
const LAST: u64 = 90;

const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

pub(crate) const BLOCK_BYTES: usize = 32 * 1024;
pub(crate) const HEAD_BYTES: usize = 7;

/// A closed database, to be copied and damaged.
struct Original {
    place: TempDir,
    copies: TempDir,
    entries: Vec<Entry>,
    /// The same with their chain values.
    chained: Vec<Entry>,
    /// The tail file as it was before the last write.
    tail_before: Vec<u8>,
}

impl Original {
    /// Entries that only the write-ahead log holds; it is longer than a block.
    fn logged() -> Self {
        let place = tempdir().unwrap();
        let directory = found(place.path());
        let (mut log, _) = LogStore::open(&directory).unwrap();
        let mut tail_before = Vec::new();
        for index in 2..=LAST {
            tail_before = fs::read(place.path().join("tail")).unwrap();
            let bytes = if index % 9 == 0 { 4_000 } else { 100 };
            let text = format!("{index} {}", "x".repeat(bytes));
            log.write(&[append(2, vec![command(2, index, &text)])]).unwrap();
        }
        let entries = read(&log, 1, LAST).unwrap();
        let range = consensus::LogIndex::new(1)..consensus::LogIndex::new(LAST + 1);
        let chained = log.reader().read(range, EVERYTHING).unwrap();
        Self { place, copies: tempdir().unwrap(), entries, chained, tail_before }
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

    /// Copies it, with other contents of a file; returns where the copy is.
    fn copy_with(&self, name: &Path, bytes: &[u8]) -> PathBuf {
        let copy = self.copies.path().join("copy");
        let _ = fs::remove_dir_all(&copy);
        copy_directory(self.place.path(), &copy);
        fs::write(copy.join("log").join(name), bytes).unwrap();
        copy
    }

    /// Opens a copy in which a file has other contents; returns all that it holds then, and what it
    /// says of itself.
    fn open_with(
        &self,
        name: &Path,
        bytes: &[u8],
    ) -> Result<(Vec<Entry>, Condition), StorageError> {
        open(&self.copy_with(name, bytes))
    }

    /// The same where the process ended before the last write was told to anybody.
    fn open_torn(&self, name: &Path, bytes: &[u8]) -> Result<Vec<Entry>, StorageError> {
        let copy = self.copy_with(name, bytes);
        fs::write(copy.join("tail"), &self.tail_before).unwrap();
        let (entries, condition) = open(&copy)?;
        assert!(condition.is_whole(), "{condition:?}");
        Ok(entries)
    }

    /// Flips a bit; says whether that was noticed. What is damaged is repaired from the original.
    fn notices(&self, (name, bytes): &(PathBuf, Vec<u8>), at: usize, bit: usize) -> bool {
        let mut bytes = bytes.clone();
        bytes[at] ^= 1 << bit;
        match self.open_with(name, &bytes) {
            Ok((entries, condition)) if condition.is_whole() => {
                let same = entries == self.entries;
                assert!(same, "{} entries, bit {bit} of {at} in {name:?}", entries.len());
                false
            }
            Ok((_, condition)) => {
                assert_eq!(condition.losses, [], "bit {bit} of {at} in {name:?}");
                if (at + bit).is_multiple_of(5) {
                    self.repair(&condition);
                }
                true
            }
            Err(StorageError::Corrupt { .. } | StorageError::LogLost { .. }) => true,
            Err(error) => panic!("bit {bit} of {at} in {name:?}: {error}"),
        }
    }
}

impl Original {
    /// Repairs the copy.
    fn repair(&self, condition: &Condition) {
        let copy = self.copies.path().join("copy");
        let (mut log, _) = LogStore::open(&directory(&copy).unwrap()).unwrap();
        for damage in &condition.damages {
            let place = |index: consensus::LogIndex| index.get() as usize - 1;
            let entries = &self.chained[place(damage.first)..=place(damage.last.index)];
            log.repair(entries).unwrap();
        }
        drop(log);
        let (entries, condition) = open(&copy).unwrap();
        assert!(condition.is_whole(), "{condition:?}");
        assert!(entries == self.entries, "it is as it was");
    }
}

/// Opens a log; returns all that it holds, unless it is damaged, and what it says of itself.
fn open(path: &Path) -> Result<(Vec<Entry>, Condition), StorageError> {
    let (log, restored) = LogStore::open(&directory(path)?)?;
    let entries = read(&log, 1, restored.log.last().index.get())?;
    Ok((entries, restored.condition))
}

pub(crate) fn copy_directory(from: &Path, to: &Path) {
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
pub(crate) fn records(journal: &[u8]) -> Vec<usize> {
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
                for byte in 0..HEAD_BYTES {
                    let bit = (5 * byte + which) % 8;
                    let noticed = original.notices(&file, starts[which] + byte, bit);
                    assert!(noticed, "record {which} of {count}, byte {byte}, bit {bit}");
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
        let found = original.open_torn(&journal.0, &journal.1[..end]).unwrap();
        assert_eq!(found, before, "cut at {end} of {}", journal.1.len());
    }
}

#[test]
fn zeros_behind_the_last_write_are_nothing_museum_h3() {
    let original = Original::logged();
    let (name, mut bytes) = original.files(".log").pop().unwrap();
    for zeros in [1, 6, 7, 100, 2 * BLOCK_BYTES] {
        bytes.extend(std::iter::repeat_n(0, zeros));
        let (entries, condition) = original.open_with(&name, &bytes).unwrap();
        assert!(condition.is_whole() && entries == original.entries, "{zeros}");
    }
}

#[test]
fn a_log_goes_on_after_a_torn_tail() {
    let original = Original::logged();
    let (name, bytes) = original.files(".log").pop().unwrap();
    original.open_torn(&name, &bytes[..bytes.len() - 3]).unwrap();
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
fn a_log_whose_table_is_missing_is_lost() {
    let original = Original::flushed();
    let files = original.files(".sst");
    for (name, _) in &files {
        let copy = original.copies.path().join(name);
        copy_directory(original.place.path(), &copy);
        fs::remove_file(copy.join("log").join(name)).unwrap();
        let refused = LogStore::open(&directory(&copy).unwrap()).err().unwrap();
        assert!(matches!(refused, StorageError::LogLost { .. }), "{name:?}: {refused}");
    }
}

/// Whoever deletes the log must not get a node that votes as if it never had.
#[test]
fn a_log_without_what_says_which_files_it_has_is_lost_and_left_as_it_is() {
    let original = Original::flushed();
    let manifest = original.files("MANIFEST").pop().unwrap().0;
    let (manifest, nowhere) = (manifest.to_str().unwrap(), "MANIFEST-999999");
    for (name, contents) in [
        ("", None),
        ("CURRENT", None),
        ("CURRENT", Some("".to_owned())),
        ("CURRENT", Some("nonsense".to_owned())),
        ("CURRENT", Some(format!("{nowhere}\n"))),
        (manifest, None),
        (manifest, Some("nonsense".to_owned())),
    ] {
        let copy = original.copies.path().join("copy");
        let _ = fs::remove_dir_all(&copy);
        copy_directory(original.place.path(), &copy);
        let path = copy.join("log").join(name);
        match &contents {
            Some(contents) => fs::write(path, contents).unwrap(),
            None if name.is_empty() => fs::remove_dir_all(path).unwrap(),
            None => fs::remove_file(path).unwrap(),
        }
        let names = |path: &Path| {
            let all = fs::read_dir(path.join("log")).map(|all| all.count());
            all.unwrap_or_default()
        };
        let before = names(&copy);
        for _ in 0..2 {
            let refused = open(&copy).unwrap_err();
            let told = refused.to_string();
            assert!(matches!(refused, StorageError::LogLost { .. }), "{name} {contents:?}: {told}");
            assert!(told.contains(name) || told.contains(nowhere), "{name} {contents:?}: {told}");
        }
        assert_eq!(names(&copy), before, "{name} {contents:?}: nothing is made anew");
    }
}

/// Cut off between two records, a write-ahead log looks whole; the tail file knows better.
#[test]
fn a_shortened_write_ahead_log_has_lost_its_end() {
    let original = Original::logged();
    let (name, bytes) = original.files(".log").pop().unwrap();
    let starts = records(&bytes);
    let ends = [bytes.len() - 3, bytes.len() - 3_000, starts[starts.len() - 1], starts[2], 0];
    for end in ends {
        let (_, condition) = original.open_with(&name, &bytes[..end]).unwrap();
        assert_eq!(condition.damages, []);
        let [Loss::End { durable, found }] = condition.losses[..] else {
            panic!("cut at {end}: {condition:?}");
        };
        assert_eq!(durable.last, at(2, LAST), "cut at {end}");
        assert!(found.last.index < durable.last.index && found.writes < durable.writes);
        // It is told until its owner has acted on it.
        let copy = original.copies.path().join("copy");
        assert_eq!(open(&copy).unwrap().1.losses, condition.losses);
    }
}

/// Neither place alone is needed.
#[test]
fn term_and_vote_survive_the_damage_of_either_copy() {
    let original = Original::logged();
    let tail = fs::read(original.place.path().join("tail")).unwrap();
    let copy = original.copies.path().join("copy");
    copy_directory(original.place.path(), &copy);
    fs::write(copy.join("tail"), vec![0x55; tail.len()]).unwrap();
    let (log, restored) = LogStore::open(&directory(&copy).unwrap()).unwrap();
    assert_eq!(restored.condition.losses, [Loss::Tail], "where the log ended is not known");
    assert_eq!(restored.hard_state, hard_state(2, Some(1)));
    drop(log);
    let (_, restored) = LogStore::open(&directory(&copy).unwrap()).unwrap();
    assert!(restored.condition.is_whole(), "it is written anew, when its owner has been told");
}

#[test]
fn an_entry_that_does_not_continue_the_log_is_refused_naming_both_values() {
    let place = tempdir().unwrap();
    let directory = found(place.path());
    let (mut log, _) = LogStore::open(&directory).unwrap();
    log.write(&[append(2, vec![command(2, 2, "ours")])]).unwrap();
    let last = log.reader().chain(consensus::LogIndex::new(2)).unwrap().unwrap();
    let good = protocol::chain(last, &command(2, 3, "next"));
    let theirs = protocol::chain(consensus::Chain::new(77), &command(2, 3, "next"));
    let wrong = Entry { chain: theirs, ..command(2, 3, "next") };
    let refused = log.write(&[append(2, vec![wrong])]).unwrap_err();
    let StorageError::Contradiction { entry, after, ours, theirs: said } = refused else {
        panic!("{refused}");
    };
    assert_eq!((entry, after, ours, said), (at(2, 3), at(2, 2), good, theirs));
    let text = refused.to_string();
    let values = [format!("{:016x}", good.get()), format!("{:016x}", theirs.get())];
    assert!(values.iter().all(|value| text.contains(value)), "{text}");
    assert!(log.write(&[append(2, vec![command(2, 3, "next")])]).is_err(), "it is poisoned");
}

#[test]
fn a_copy_that_is_another_entry_repairs_nothing() {
    let original = Original::logged();
    let (name, mut bytes) = original.files(".log").pop().unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let (_, condition) = original.open_with(&name, &bytes).unwrap();
    let damage = condition.damages[0];
    let copy = original.copies.path().join("copy");
    let (mut log, _) = LogStore::open(&directory(&copy).unwrap()).unwrap();
    let place = |index: consensus::LogIndex| index.get() as usize - 1;
    let copies = &original.chained[place(damage.first)..=place(damage.last.index)];
    let mut others = copies.to_vec();
    let mut chain = damage.before;
    for entry in &mut others {
        entry.payload = consensus::Payload::Command(vec![1, 2, 3].into());
        entry.chain = protocol::chain(chain, entry);
        chain = entry.chain;
    }
    assert!(log.repair(&others).is_err(), "they do not lead to what stands behind");
    assert!(log.repair(&copies[1..]).is_err(), "one is missing");
    log.repair(copies).unwrap();
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
    let expected = "the log is damaged: it was written by another node or directory";
    assert_eq!(refused.to_string(), expected);
}

/// What is compacted, and still lies in a file with what is not, is read by nobody but the database
/// itself, when it merges files: the node ended, and so did every start behind it.
#[test]
fn damage_that_no_entry_shows_is_left_behind_with_the_files_that_have_it() {
    let place = tempdir().unwrap();
    let founded = found(place.path());
    let initial = record(founded.incarnation()).configuration;
    let (mut log, _) = LogStore::open(&founded).unwrap();
    let payload = "x".repeat(6_000);
    for index in 2..=9 {
        log.write(&[append(2, vec![command(2, index, &payload)])]).unwrap();
    }
    drop((log, founded));
    // What is in memory goes to a table when it is opened again.
    let (mut log, _) = reopen(place.path());
    log.write(&[compact(2, 6, &initial)]).unwrap();
    drop(log);
    let tables = fs::read_dir(place.path().join("log")).unwrap().map(|child| child.unwrap().path());
    let tables = tables.filter(|path| path.extension().is_some_and(|it| it == "sst"));
    let table = tables.max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
    let mut bytes = fs::read(&table).unwrap();
    bytes[100] ^= 1;
    fs::write(&table, bytes).unwrap();
    let (log, _) = reopen(place.path());
    assert!(log.reader().read_through(&mut |_| true).is_ok(), "what is compacted is not read");
    drop(log);

    let (mut next, mut refused, mut since) = (10, 0, 0);
    let began = std::time::Instant::now();
    // It merges in the background, when a few starts have each left a table.
    while since < 6 {
        assert!(began.elapsed() < PATIENCE, "the database does not meet it");
        let (mut log, restored) = reopen(place.path());
        assert!(restored.condition.is_whole(), "{:?}", restored.condition);
        assert_eq!(restored.log.last(), at(2, next - 1));
        assert_eq!(read(&log, 7, next - 1).unwrap().len() as u64, next - 7);
        // Tables are merged that overlap: what is written follows no more than the table that is
        // damaged, it takes the place of its end.
        let entries = (9..=next).map(|index| command(2, index, &payload)).collect();
        match log.write(&[replace(2, 9, entries)]) {
            Ok(_) => next += 1,
            Err(error) => {
                assert!(matches!(error, StorageError::Corrupt { .. }), "{error}");
                refused += 1;
            }
        }
        since += u64::from(refused > 0);
    }
    assert_eq!(refused, 1, "it is met once");
    assert!(!place.path().join("log-damaged").exists());
}
