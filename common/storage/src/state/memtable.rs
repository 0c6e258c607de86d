//! How large the state's memtable is: it follows the values.
//!
//! It is a skip list, and each new key is a search through it. Of small values a large one holds so
//! many that every step of the search misses the processor's caches; of large values a small one
//! holds so few that tables are made and merged all the time. Measured: `common/MEASUREMENTS.md`.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rocksdb::{DB, WriteBatch};

use crate::options;
use crate::space::Sizes;

/// Entries are large from so many bytes on average, and small again below the second number.
const LARGE_BYTES: u64 = 2_048;
const SMALL_BYTES: u64 = 1_024;

/// Fewer tell nothing, unless they fill a memtable: they are counted on.
const ENTRIES_MIN: u64 = 1_000;

/// The size of a state's memtable, and what decides on it.
#[derive(Debug)]
pub(super) struct Memtable {
    sizes: Sizes,
    is_large: AtomicBool,
    entries: AtomicU64,
    bytes: AtomicU64,
}

impl Memtable {
    /// A state opens with the small one, as `options::state` has it.
    pub(super) fn new(sizes: Sizes) -> Self {
        let (entries, bytes) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { sizes, is_large: AtomicBool::new(false), entries, bytes }
    }

    /// Counts what is written.
    pub(super) fn wrote(&self, changes: &WriteBatch) {
        self.entries.fetch_add(changes.len() as u64, Ordering::Relaxed);
        self.bytes.fetch_add(changes.size_in_bytes() as u64, Ordering::Relaxed);
    }

    /// Follows what was written since this was asked last. It takes some milliseconds when it
    /// changes something: the database writes its options to the disk.
    pub(super) fn follow(&self, db: &DB) {
        let entries = self.entries.load(Ordering::Relaxed);
        let bytes = self.bytes.load(Ordering::Relaxed);
        if entries < ENTRIES_MIN && bytes < self.sizes.memtable_bytes() {
            return;
        }
        self.entries.fetch_sub(entries, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        let was_large = self.is_large.load(Ordering::Relaxed);
        let Some(is_large) = is_to_be_large(was_large, entries, bytes) else {
            return;
        };
        let size = match is_large {
            true => self.sizes.memtable_bytes(),
            false => self.sizes.small_memtable_bytes(),
        };
        let shape = options::shape(size).map(|(name, bytes)| (name, bytes.to_string()));
        let shape = shape.each_ref().map(|(name, bytes)| (*name, bytes.as_str()));
        // Both sizes work. Where this fails a flush does too, or the next one tries again.
        if db.set_options(&shape).is_ok() {
            self.is_large.store(is_large, Ordering::Relaxed);
        }
    }
}

/// Returns what is to be changed, if anything.
fn is_to_be_large(is_large: bool, entries: u64, bytes: u64) -> Option<bool> {
    let average = bytes / entries.max(1);
    let wanted = if is_large { average >= SMALL_BYTES } else { average >= LARGE_BYTES };
    (wanted != is_large).then_some(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_follows_the_average_and_does_not_swing_in_between() {
        assert_eq!(is_to_be_large(false, ENTRIES_MIN, ENTRIES_MIN * LARGE_BYTES), Some(true));
        assert_eq!(is_to_be_large(false, ENTRIES_MIN, ENTRIES_MIN * LARGE_BYTES - 1), None);
        assert_eq!(is_to_be_large(true, ENTRIES_MIN, ENTRIES_MIN * SMALL_BYTES), None);
        assert_eq!(is_to_be_large(true, ENTRIES_MIN, ENTRIES_MIN * SMALL_BYTES - 1), Some(false));
        assert_eq!(is_to_be_large(true, ENTRIES_MIN, ENTRIES_MIN * LARGE_BYTES), None);
    }

    /// What the database was told last, as it writes it down itself.
    fn told(db: &DB, name: &str) -> u64 {
        let files = std::fs::read_dir(db.path()).expect("it is there");
        let paths = files.map(|file| file.expect("it is readable").path());
        let options = paths.filter(|path| path.to_string_lossy().contains("OPTIONS-")).max();
        let text = std::fs::read_to_string(options.expect("there is one")).expect("it is text");
        let line = text.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix('='));
        line.expect("it is there").parse().expect("it is a number")
    }

    #[test]
    fn the_database_is_told_of_the_memtable_and_of_what_goes_with_it() {
        let place = tempfile::tempdir().expect("there is room");
        let sizes = Sizes::on(u64::MAX);
        let db = DB::open(&options::state(sizes), place.path()).expect("there is room");
        let memtable = Memtable::new(sizes);
        let small = sizes.small_memtable_bytes();
        let write = |count: u64, bytes: usize| {
            let mut changes = WriteBatch::default();
            (0..count).for_each(|key| changes.put(key.to_be_bytes(), vec![7; bytes]));
            memtable.wrote(&changes);
            memtable.follow(&db);
        };
        let names = ["write_buffer_size", "target_file_size_base", "max_bytes_for_level_base"];
        let all = || names.map(|name| told(&db, name));
        assert_eq!(all(), [small, 2 * small, 8 * small]);
        let large = sizes.memtable_bytes();
        write(ENTRIES_MIN - 10, 4_096);
        assert_eq!(all(), [small, 2 * small, 8 * small], "few tell nothing");
        write(10, 4_096);
        assert_eq!(all(), [large, 2 * large, 8 * large], "with those before they are enough");
        write(ENTRIES_MIN, 100);
        assert_eq!(all(), [small, 2 * small, 8 * small]);
        write(100, 400_000);
        assert_eq!(all(), [large, 2 * large, 8 * large], "few that fill it");
    }
}
