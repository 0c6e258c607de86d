//! Reads entries back, and checks each.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use consensus::{Entry, LogIndex};
use rocksdb::{DB, Direction, IteratorMode, ReadOptions};

use crate::database::{database, family};
use crate::error::StorageError;
use crate::layout::{LOG, Owner};

/// Reads the log from any thread.
#[derive(Clone)]
pub struct LogReader {
    db: Arc<DB>,
    owner: Owner,
    /// What the log begins behind, or is about to.
    head: Arc<AtomicU64>,
}

impl LogReader {
    pub(crate) fn new(db: Arc<DB>, owner: Owner, head: Arc<AtomicU64>) -> Self {
        Self { db, owner, head }
    }

    /// Returns the entries of `range`, in order: at least the first, then as many as fit into
    /// `bytes_max`. None if the head of the log is compacted meanwhile, and the first with it.
    ///
    /// # Errors
    /// If an entry is missing or damaged, or the database fails.
    pub fn read(
        &self,
        range: Range<LogIndex>,
        bytes_max: usize,
    ) -> Result<Vec<Entry>, StorageError> {
        let mut entries = Vec::new();
        if range.is_empty() {
            return Ok(entries);
        }
        let (from, to) = (range.start.get().to_be_bytes(), range.end.get().to_be_bytes());
        let mut read = ReadOptions::default();
        // Never seek across what was cut off: tombstones cost milliseconds.
        read.set_iterate_lower_bound(from);
        read.set_iterate_upper_bound(to);
        let log = family(&self.db, LOG)?;
        let mode = IteratorMode::From(&from, Direction::Forward);
        let (mut next, mut bytes) = (range.start, 0);
        for item in self.db.iterator_cf_opt(log, read, mode) {
            let (key, record) = item.map_err(|error| database("reading the log", &error))?;
            if *key != next.get().to_be_bytes() {
                break;
            }
            bytes += record.len();
            if bytes > bytes_max && !entries.is_empty() {
                return Ok(entries);
            }
            entries.push(self.owner.entry(next, &Bytes::from(record))?);
            next = next.next();
        }
        if next < range.end {
            let head = self.head.load(Ordering::Acquire);
            if head > 0 && range.start.get() <= head {
                return Ok(Vec::new());
            }
            return Err(StorageError::corrupt(format!("log entry {next}"), "it is missing"));
        }
        Ok(entries)
    }

    /// Returns roughly how many bytes the log takes on disk.
    pub fn bytes(&self) -> u64 {
        let size = |name| {
            let family = family(&self.db, LOG).ok()?;
            self.db.property_int_value_cf(family, name).ok().flatten()
        };
        size("rocksdb.live-sst-files-size").unwrap_or(0)
            + size("rocksdb.cur-size-all-mem-tables").unwrap_or(0)
    }
}
