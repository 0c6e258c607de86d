//! The room on a data directory's file system, and how much of it the databases need in hand.
//!
//! A log-structured store writes before it deletes: a flush writes what the write-ahead log holds
//! already, a compaction writes its whole result beside its input. A disk is therefore full long
//! before its last byte is used, and how long before follows from the sizes of memtables and
//! tables, not from a share of the disk. These sizes in turn follow the disk: on one of 100 MB a
//! memtable of 32 MiB would need all of it.

use std::io;
use std::path::Path;

const MIB: u64 = 1024 * 1024;

/// The largest memtable: small ones keep flush stalls short, 18 ms at full rate with this, 100 ms
/// with 64 MiB.
const MEMTABLE_BYTES_MAX: u64 = 32 * MIB;

/// The log's is smaller: twice as much of a write-ahead log is allocated at once, and a new node
/// took 79 MB for nothing with 32 MiB.
const LOG_MEMTABLE_BYTES_MAX: u64 = 8 * MIB;

/// A state's of small values: the search for a key's place in it stays within the caches.
const SMALL_MEMTABLE_BYTES_MAX: u64 = 4 * MIB;

/// The smallest: each entry fits.
const MEMTABLE_BYTES_MIN: u64 = MIB;

/// A memtable takes at most this part of the disk.
const MEMTABLE_PART: u64 = 64;

/// Memtables that may have to be written out at once (two of the log, two of the state), and what
/// the write-ahead log still holds of them.
const MEMTABLES_IN_HAND: u64 = 6;

/// Those of them that a node which takes nothing more still has to write out.
const MEMTABLES_LEAST: u64 = 3;

/// Those that deletions may fill before what they have freed is there.
const MEMTABLES_OF_DELETIONS: u64 = 2;

/// A compaction takes about a dozen tables of twice a memtable each; one runs at a time.
const COMPACTED_MEMTABLES_MAX: u64 = 24;

/// Manifests, journals for people, term and vote.
const SMALL_FILES_BYTES: u64 = 2 * MIB;

/// A file system with fewer free inodes than this has no room, whatever its bytes.
const INODES_MIN: u64 = 64;

/// A file system's size and what is free on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Its size, in bytes.
    pub total_bytes: u64,
    /// What this process may still use, in bytes.
    pub free_bytes: u64,
    /// How many files may still be made; `None` where there is no such limit.
    pub free_inodes: Option<u64>,
    /// What the node's reserve holds there besides ([`crate::Reserve`]), in bytes.
    pub reserve_bytes: u64,
}

impl Space {
    /// Asks the system about the file system that a path is on.
    ///
    /// # Errors
    /// The system's.
    pub fn at(path: &Path) -> io::Result<Self> {
        let found = rustix::fs::statvfs(path)?;
        Ok(Self {
            total_bytes: found.f_blocks * found.f_frsize,
            free_bytes: found.f_bavail * found.f_frsize,
            free_inodes: (found.f_files > 0).then_some(found.f_favail),
            reserve_bytes: 0,
        })
    }

    /// Returns the free bytes that can be used, those of the reserve with them: none without
    /// inodes.
    pub fn usable_bytes(&self) -> u64 {
        if self.lacks_inodes() { 0 } else { self.free_bytes.saturating_add(self.reserve_bytes) }
    }

    /// Says how much must be free instead: bytes, or inodes where it is these that are short.
    pub fn needs(&self, bytes: u64) -> String {
        if self.lacks_inodes() {
            return format!("{INODES_MIN} are needed");
        }
        let tenths = bytes.div_ceil(100_000);
        format!("{}.{} MB are needed", tenths / 10, tenths % 10)
    }

    /// Says whether it is files that there is no room for.
    pub fn lacks_inodes(&self) -> bool {
        self.free_inodes.is_some_and(|free| free < INODES_MIN)
    }
}

impl std::fmt::Display for Space {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.free_inodes {
            Some(free) if self.lacks_inodes() => write!(f, "{free} inodes are free"),
            Some(_) | None => {
                let mega =
                    |bytes: u64| format!("{}.{} MB", bytes / 1_000_000, bytes / 100_000 % 10);
                write!(f, "{}", mega(self.free_bytes))?;
                if self.reserve_bytes > 0 {
                    write!(f, " (and {} in reserve)", mega(self.reserve_bytes))?;
                }
                write!(f, " of {} are free", mega(self.total_bytes))
            }
        }
    }
}

/// How large a node's databases let things become, and so what they need in hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    memtable_bytes: u64,
}

impl Sizes {
    /// Returns the sizes for the file system that a directory is on, or will be.
    pub fn at(directory: &Path) -> Self {
        let there = directory.ancestors().find_map(|above| Space::at(above).ok());
        Self::on(there.map_or(u64::MAX, |space| space.total_bytes))
    }

    /// Returns the sizes for a file system of so many bytes.
    pub fn on(total_bytes: u64) -> Self {
        let memtable = total_bytes / MEMTABLE_PART;
        Self { memtable_bytes: memtable.clamp(MEMTABLE_BYTES_MIN, MEMTABLE_BYTES_MAX) }
    }

    /// Returns the bytes of a memtable, before it is written out.
    pub(crate) fn memtable_bytes(self) -> u64 {
        self.memtable_bytes
    }

    /// Returns the bytes of a memtable of a state whose values are small.
    pub(crate) fn small_memtable_bytes(self) -> u64 {
        self.memtable_bytes.min(SMALL_MEMTABLE_BYTES_MAX)
    }

    /// Returns the bytes of a memtable of the log.
    pub(crate) fn log_memtable_bytes(self) -> u64 {
        self.memtable_bytes.min(LOG_MEMTABLE_BYTES_MAX)
    }

    /// Returns what must be free so that everything taken so far can be flushed and compacted: the
    /// databases write before they delete.
    pub fn needed_bytes(self, log_bytes: u64, state_bytes: u64) -> u64 {
        let compacted = log_bytes.max(state_bytes);
        SMALL_FILES_BYTES
            + MEMTABLES_IN_HAND * self.memtable_bytes
            + compacted.min(COMPACTED_MEMTABLES_MAX * self.memtable_bytes)
    }

    /// Returns what must be free so that a node that takes nothing more can go on.
    pub fn least_bytes(self) -> u64 {
        SMALL_FILES_BYTES + MEMTABLES_LEAST * self.memtable_bytes
    }

    /// Returns the size of the reserve: with it alone a node goes on, and takes deletions until
    /// there is room again.
    pub fn reserve_bytes(self) -> u64 {
        self.least_bytes() + MEMTABLES_OF_DELETIONS * self.memtable_bytes
    }

    /// Returns what the databases may write between two looks at the disk, unasked: the log's
    /// memtable and its next write-ahead log, and the state's memtable.
    pub(crate) fn unasked_bytes(self) -> u64 {
        2 * self.log_memtable_bytes() + self.memtable_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memtables_follow_the_disk() {
        let memtable = |mebibytes: u64| Sizes::on(mebibytes * MIB).memtable_bytes();
        assert_eq!(memtable(1), MIB);
        assert_eq!(memtable(24), MIB);
        assert_eq!(memtable(128), 2 * MIB);
        assert_eq!(memtable(2048), 32 * MIB);
        assert_eq!(memtable(1 << 20), 32 * MIB);
    }

    #[test]
    fn a_small_disk_can_hold_a_node() {
        let sizes = Sizes::on(24 * MIB);
        assert!(sizes.needed_bytes(MIB, MIB) < 12 * MIB, "half of it stays for data");
    }

    #[test]
    fn what_is_needed_grows_with_the_data_up_to_one_compaction() {
        let sizes = Sizes::on(1 << 40);
        let needed = |mebibytes: u64| sizes.needed_bytes(0, mebibytes * MIB);
        assert_eq!(needed(100) - needed(0), 100 * MIB);
        assert_eq!(sizes.needed_bytes(100 * MIB, 0), needed(100), "one compaction at a time");
        assert_eq!(needed(100_000), needed(1_000_000), "a compaction takes some tables only");
        assert!(sizes.least_bytes() < needed(0));
    }

    #[test]
    fn without_inodes_there_is_no_room() {
        let space =
            Space { total_bytes: 100, free_bytes: 50, free_inodes: Some(3), reserve_bytes: 9 };
        assert_eq!(space.usable_bytes(), 0);
        assert_eq!(space.to_string(), "3 inodes are free");
        assert_eq!(space.needs(40), "64 are needed");
        let space = Space { free_inodes: None, ..space };
        assert_eq!(space.usable_bytes(), 59);
        let space = Space { total_bytes: 9_000_000, free_bytes: 50_000, ..space };
        let space = Space { reserve_bytes: 7_340_032, ..space };
        assert_eq!(space.to_string(), "0.0 MB (and 7.3 MB in reserve) of 9.0 MB are free");
    }
}
