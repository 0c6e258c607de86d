//! Collects the room of large values that are no longer in the state.
//!
//! A large value lies apart from the tables, in a file that is written once: merging tables moves
//! its key alone. What is overwritten or deleted stays in such files until all that a file holds is
//! dead, or until the values that live in it are written once more, to a new one. That costs writes
//! and wins room, so it begins when a third of these files is dead, and eight memtables at least,
//! and ends at a fifth; where the disk is short of room, less is worth it. The oldest files come
//! first, since most of them is dead, and so many at a time as there is room in hand for.
//!
//! RocksDB knows what is dead only where it has merged tables, and collects in its compactions:
//! here is decided when, and how much. It would by itself rewrite the oldest quarter of a large
//! state with every compaction.

use std::sync::Mutex;

use rocksdb::DB;

use crate::space::{Sizes, Space};

/// So many memtables' worth of files are collected in one compaction, and where the disk is short
/// of room: a compaction writes before it deletes.
const MEMTABLES: u64 = 8;
const MEMTABLES_WHEN_SHORT: u64 = 2;

/// Fewer dead values than fill so many memtables are left where they are, or than fill one where
/// the disk is short of room: of values that are written again soon, whole files die by themselves.
const LEAST_MEMTABLES: u64 = 8;

/// The bytes of the files of large values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Held {
    files: u64,
    bytes: u64,
    /// Those of them that nothing in the state refers to.
    dead: u64,
}

/// When the room of dead values is collected.
#[derive(Debug)]
pub(super) struct Collection {
    sizes: Sizes,
    /// How many files a compaction collects; 0 when none does.
    files: Mutex<u64>,
}

impl Collection {
    /// A state opens without it, as `options::state` has it.
    pub(super) fn new(sizes: Sizes) -> Self {
        Self { sizes, files: Mutex::new(0) }
    }

    /// Says whether there is something for [`Collection::follow`] to do.
    pub(super) fn is_due(&self, db: &DB) -> bool {
        let files = self.files.lock().expect("nothing panics while it is held");
        *files > 0 || self.wanted(db, false) > 0
    }

    /// Begins it, goes on or ends it, whatever is right by now, and says whether it goes on. The
    /// database writes its options to the disk when they change.
    pub(super) fn follow(&self, db: &DB) -> bool {
        let mut files = self.files.lock().expect("nothing panics while it is held");
        let wanted = self.wanted(db, *files > 0);
        // The database takes a share, cut down to whole files.
        let share = (wanted as f64 + 0.5) / held(db).files.max(1) as f64;
        let share = share.min(1.0).to_string();
        let told = [
            ("enable_blob_garbage_collection", if wanted > 0 { "true" } else { "false" }),
            ("blob_garbage_collection_age_cutoff", &share),
        ];
        // Where this fails the next one tries again.
        if wanted != *files && db.set_options(&told).is_ok() {
            *files = wanted;
        }
        *files > 0
    }

    /// Returns how many files are to be collected at a time; 0 if none.
    fn wanted(&self, db: &DB, is_on: bool) -> u64 {
        let held = held(db);
        match is_to_be_on(is_on, self.is_short(db), held, self.sizes) {
            Some(bytes) => (held.files * bytes).div_ceil(held.bytes.max(1)).max(1),
            None => 0,
        }
    }

    fn is_short(&self, db: &DB) -> bool {
        let needed = self.sizes.needed_bytes(0, bytes(db));
        Space::at(db.path()).is_ok_and(|space| space.free_bytes < needed)
    }
}

/// Returns what the files of large values take on the disk, in bytes, dead values with them.
pub(super) fn bytes(db: &DB) -> u64 {
    number(db, "rocksdb.live-blob-file-size")
}

fn held(db: &DB) -> Held {
    Held {
        files: number(db, "rocksdb.num-blob-files"),
        bytes: bytes(db),
        dead: number(db, "rocksdb.live-blob-file-garbage-size"),
    }
}

fn number(db: &DB, name: &str) -> u64 {
    db.property_int_value(name).ok().flatten().unwrap_or(0)
}

/// Returns how many bytes of files are to be collected at a time; `None` if none.
fn is_to_be_on(is_on: bool, is_short: bool, held: Held, sizes: Sizes) -> Option<u64> {
    let memtable = sizes.memtable_bytes();
    let least = match (is_on, is_short) {
        (true, _) => 1,
        (false, true) => memtable,
        (false, false) => LEAST_MEMTABLES * memtable,
    };
    let share = match (is_short, is_on) {
        (false, false) => held.bytes / 3,
        (false, true) => held.bytes / 5,
        (true, false) => held.bytes / 16,
        (true, true) => held.bytes / 32,
    };
    let memtables = if is_short { MEMTABLES_WHEN_SHORT } else { MEMTABLES };
    (held.dead >= share.max(least)).then_some(memtables * memtable)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    #[test]
    fn it_begins_at_a_third_and_ends_at_a_fifth() {
        let sizes = Sizes::on(u64::MAX);
        let held = |dead| Held { files: 30, bytes: 900 * MIB, dead: dead * MIB };
        let wanted = |is_on, dead| is_to_be_on(is_on, false, held(dead), sizes);
        assert_eq!(wanted(false, 299), None);
        assert_eq!(wanted(false, 300), Some(MEMTABLES * 32 * MIB));
        assert_eq!(wanted(true, 180), Some(MEMTABLES * 32 * MIB));
        assert_eq!(wanted(true, 179), None);
    }

    #[test]
    fn a_disk_that_is_short_of_room_gets_what_there_is_in_small_steps() {
        let sizes = Sizes::on(u64::MAX);
        let held = |dead| Held { files: 30, bytes: 960 * MIB, dead: dead * MIB };
        let wanted = |is_on, dead| is_to_be_on(is_on, true, held(dead), sizes);
        assert_eq!(wanted(false, 59), None);
        assert_eq!(wanted(false, 60), Some(MEMTABLES_WHEN_SHORT * 32 * MIB));
        assert_eq!(wanted(true, 30), Some(MEMTABLES_WHEN_SHORT * 32 * MIB));
        assert_eq!(wanted(true, 29), None);
    }

    #[test]
    fn little_is_not_worth_it() {
        let sizes = Sizes::on(u64::MAX);
        let held =
            |mebibytes: u64| Held { files: 1, bytes: mebibytes * MIB, dead: mebibytes * MIB };
        assert_eq!(is_to_be_on(false, false, held(255), sizes), None);
        assert!(is_to_be_on(false, false, held(256), sizes).is_some());
        assert_eq!(is_to_be_on(false, true, held(31), sizes), None);
        assert!(is_to_be_on(false, true, held(32), sizes).is_some());
        let nothing = Held { files: 0, bytes: 0, dead: 0 };
        assert_eq!(is_to_be_on(true, true, nothing, sizes), None, "it ends");
    }
}
