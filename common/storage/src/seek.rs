//! Finds records of the log: a record stands under its first index, and one is wanted by any.

use bytes::Bytes;
use consensus::LogIndex;
use rocksdb::{DB, DBRawIterator, ReadOptions};

use crate::database::{database, family};
use crate::error::StorageError;
use crate::layout::{LOG, Owner, index_of};
use crate::record::{ENTRIES_MAX, Record};

/// Returns the record that an entry stands in, with its first index; `None` if there is none.
pub(crate) fn record_with(
    db: &DB,
    owner: &Owner,
    index: LogIndex,
) -> Result<Option<(LogIndex, Record)>, StorageError> {
    let mut records = Records::new(db, *owner, index, None)?;
    let found = records.next_record()?;
    Ok(found.filter(|(first, record)| *first <= index && index < record.end()))
}

/// Reads records in order, from the one that an entry stands in.
pub(crate) struct Records<'a> {
    iterator: DBRawIterator<'a>,
    owner: Owner,
    is_begun: bool,
    from: LogIndex,
    /// The bytes of the records that were read.
    pub(crate) bytes: u64,
}

impl<'a> Records<'a> {
    /// Begins at the record that `from` stands in, or at the first one behind; never looks at a
    /// record that begins at `end` or later.
    pub(crate) fn new(
        db: &'a DB,
        owner: Owner,
        from: LogIndex,
        end: Option<LogIndex>,
    ) -> Result<Self, StorageError> {
        let mut read = ReadOptions::default();
        // Never seek across what was cut off: tombstones cost milliseconds.
        let lowest = from.get().saturating_sub(ENTRIES_MAX as u64);
        read.set_iterate_lower_bound(lowest.to_be_bytes());
        if let Some(end) = end {
            read.set_iterate_upper_bound(end.get().to_be_bytes());
        }
        let iterator = db.raw_iterator_cf_opt(family(db, LOG)?, read);
        Ok(Self { iterator, owner, is_begun: false, from, bytes: 0 })
    }

    /// Returns the next record with its first index.
    pub(crate) fn next_record(&mut self) -> Result<Option<(LogIndex, Record)>, StorageError> {
        if std::mem::replace(&mut self.is_begun, true) {
            self.iterator.next();
        } else {
            // At the very place first: what stands before it may be damaged.
            let from = self.from.get().to_be_bytes();
            self.iterator.seek(from);
            if self.iterator.key() != Some(&from[..]) {
                self.check()?;
                self.iterator.seek_for_prev(from);
                let is_before = self.iterator.valid();
                self.check()?;
                if !is_before {
                    self.iterator.seek(from);
                }
            }
        }
        self.check()?;
        let Some((key, value)) = self.iterator.item() else {
            return Ok(None);
        };
        let first = index_of(key)?;
        self.bytes += value.len() as u64;
        let record = Record::decode(&self.owner, first, Bytes::copy_from_slice(value))?;
        Ok(Some((first, record)))
    }

    fn check(&self) -> Result<(), StorageError> {
        self.iterator.status().map_err(|error| database("reading the log", &error))
    }
}
