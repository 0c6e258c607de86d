//! Reads entries back, and checks each.

use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use consensus::{Chain, Entry, LogIndex};
use protocol::ENTRY_HEADER_BYTES;
use rocksdb::DB;

use crate::database::family;
use crate::error::StorageError;
use crate::files;
use crate::layout::{LOG, Owner};
use crate::presence;
use crate::read_through::read_through;
use crate::seek::{Records, record_with};
use crate::write_ahead::WriteAhead;

/// What the log begins behind, or is about to: index and chain value.
pub(crate) type Head = Arc<Mutex<(LogIndex, Chain)>>;

/// Reads the log from any thread.
#[derive(Clone)]
pub struct LogReader {
    db: Arc<DB>,
    owner: Owner,
    head: Head,
    /// Where it is noted that something is damaged.
    marker: Arc<Path>,
    write_ahead: Arc<WriteAhead>,
}

impl LogReader {
    pub(crate) fn new(db: Arc<DB>, owner: Owner, head: Head, marker: &Path) -> Self {
        Self { db, owner, head, marker: marker.into(), write_ahead: Arc::default() }
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
        self.noting(self.do_read(range, bytes_max))
    }

    /// Notes that something is damaged: the start that follows is to read all, and repair it.
    fn noting<T>(&self, read: Result<T, StorageError>) -> Result<T, StorageError> {
        if let Err(error @ StorageError::Corrupt { .. }) = &read
            && let Err(error) = note_damage(&self.marker, &error.to_string())
        {
            tracing::warn!(name: "damage-not-noted", "{error}");
        }
        read
    }

    fn do_read(
        &self,
        range: Range<LogIndex>,
        bytes_max: usize,
    ) -> Result<Vec<Entry>, StorageError> {
        let mut entries = Vec::new();
        let (head, _) = self.head();
        if range.is_empty() || (head > LogIndex::ZERO && range.start <= head) {
            return Ok(entries);
        }
        let mut records = Records::new(&self.db, self.owner, range.start, Some(range.end))?;
        let (mut next, mut bytes) = (range.start, 0);
        while next < range.end {
            let Some((first, record)) = records.next_record()? else {
                break;
            };
            if first > next {
                break;
            }
            while next < record.end().min(range.end) {
                bytes += ENTRY_HEADER_BYTES + record.payload_bytes(next);
                if bytes > bytes_max && !entries.is_empty() {
                    return Ok(entries);
                }
                entries.push(record.entry(next)?);
                next = next.next();
            }
        }
        if next < range.end {
            let (head, _) = self.head();
            if head > LogIndex::ZERO && range.start <= head {
                return Ok(Vec::new());
            }
            return Err(StorageError::corrupt(format!("log entry {next}"), "it is missing"));
        }
        Ok(entries)
    }

    /// Returns the chain value of an entry, or of what the log begins behind; `None` if that is not
    /// known any more.
    ///
    /// # Errors
    /// If the entry is damaged, or the database fails.
    pub fn chain(&self, index: LogIndex) -> Result<Option<Chain>, StorageError> {
        let found = record_with(&self.db, &self.owner, index)?;
        if let Some(header) = found.as_ref().and_then(|(_, record)| record.header(index)) {
            return Ok(Some(header.chain));
        }
        let (head, chain) = self.head();
        Ok((head == index).then_some(chain))
    }

    /// Reads all of the log from the disk, past caches, and checks it; returns the bytes. `pass` is
    /// told of so many bytes at a time; it may wait, and ends the work by `false`.
    ///
    /// # Errors
    /// [`StorageError::Corrupt`] if anything is damaged. Other errors say nothing about the log:
    /// files come and go meanwhile.
    pub fn read_through(&self, pass: &mut dyn FnMut(u64) -> bool) -> Result<u64, StorageError> {
        let mut read = || read_through(self.db.path(), &self.owner, pass);
        // Files come and go while they are read, so damage counts when it is seen twice.
        let mut found = read();
        if matches!(found, Err(StorageError::Corrupt { .. })) {
            found = read();
        }
        self.noting(found)
    }

    /// Looks whether the log's files are at their places. A write-ahead log that is not is mended
    /// by another one.
    ///
    /// # Errors
    /// [`StorageError::Gone`] if one is missing. Seen once, it may be a change under way.
    pub fn check_files(&self) -> Result<(), StorageError> {
        presence::check_log(&self.db)?;
        self.write_ahead.check(&self.db)
    }

    /// Returns roughly how many bytes the log takes on disk.
    pub fn bytes(&self) -> u64 {
        bytes(&self.db)
    }

    fn head(&self) -> (LogIndex, Chain) {
        *self.head.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Notes that something in a log is damaged, so that the next start reads all of it.
pub(crate) fn note_damage(marker: &Path, why: &str) -> Result<(), StorageError> {
    files::replace(marker, format!("{why}\n").as_bytes())
}

/// Returns roughly how many bytes a log takes on disk.
pub(crate) fn bytes(db: &DB) -> u64 {
    let size = |name| {
        let family = family(db, LOG).ok()?;
        db.property_int_value_cf(family, name).ok().flatten()
    };
    size("rocksdb.live-sst-files-size").unwrap_or(0)
        + size("rocksdb.cur-size-all-mem-tables").unwrap_or(0)
}
