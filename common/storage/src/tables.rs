//! Small tables of the log that starts leave behind.
//!
//! A start writes what the write-ahead log holds into a table of its own. Tables that follow each
//! other are never merged, which keeps the log's cost at an append's; but a node that is started
//! again and again would have a table, and keep a file open, for each start, until the process may
//! open no more.

use std::path::Path;

use rocksdb::{BottommostLevelCompaction, CompactOptions, DB, LiveFile};

use crate::database::{database, family};
use crate::error::StorageError;
use crate::layout::LOG;
use crate::space::Space;

/// A table below this size is small, in bytes.
const SMALL_BYTES: usize = 1024 * 1024;

/// So many small ones in a row are merged: with less, a start would take longer for nothing.
const ROW: usize = 32;

/// Merging needs room for its result; so many times as much must be free.
const ROOM: u64 = 4;

/// Merges small tables that follow each other, where they are many and there is room.
///
/// # Errors
/// If the database does not tell its files.
pub(crate) fn merge_small(db: &DB, path: &Path) -> Result<(), StorageError> {
    let failed = |error| database("listing the tables of the log", &error);
    let mut tables = db.live_files().map_err(failed)?;
    tables.retain(|table| table.column_family_name == LOG);
    tables.sort_by(|one, other| one.start_key.cmp(&other.start_key));
    let is_small = |table: &LiveFile| table.size < SMALL_BYTES;
    for row in tables.chunk_by(|one, other| is_small(one) && is_small(other)) {
        let bytes: usize = row.iter().map(|table| table.size).sum();
        let [first, .., last] = row else { continue };
        if row.len() < ROW || !Space::at(path).is_ok_and(|it| it.free_bytes / ROOM > bytes as u64) {
            continue;
        }
        let mut how = CompactOptions::default();
        // Those at the bottom would stay as they are otherwise.
        how.set_bottommost_level_compaction(BottommostLevelCompaction::Force);
        let range = (first.start_key.as_deref(), last.end_key.as_deref());
        db.compact_range_cf_opt(family(db, LOG)?, range.0, range.1, &how);
    }
    Ok(())
}
