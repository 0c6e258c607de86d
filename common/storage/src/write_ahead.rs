//! The log's write-ahead log while it is written. Somebody may rotate it as if it were a log for
//! people, remove it, or put an old copy in its place, on all machines in the same minute. All that
//! it held is in memory as well, so it is written to tables, and a new one is begun.

use std::sync::{Mutex, PoisonError};

use rocksdb::{DB, FlushOptions, WriteOptions};

use crate::database::{database, family};
use crate::error::StorageError;
use crate::layout::{CONFIGURATION, LOG, META};
use crate::open_files::{self, Written};

/// A key that nobody has: to delete it gives the database something to write to a table.
const NOBODYS_KEY: &[u8] = b"nobody";

/// What was seen of the write-ahead log.
#[derive(Debug, Default)]
pub(crate) struct WriteAhead(Mutex<Option<Written>>);

impl WriteAhead {
    /// Looks whether it is at its place and whole. If not, makes durable otherwise what it held,
    /// and begins a new one. What was acknowledged in between was in memory alone for so long.
    ///
    /// # Errors
    /// [`StorageError::Gone`] if that does not help; what the database says.
    pub(crate) fn check(&self, db: &DB) -> Result<(), StorageError> {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Err(lost) = open_files::check_write_ahead_log(db.path(), &mut seen) else {
            return Ok(());
        };
        renew(db)?;
        open_files::check_write_ahead_log(db.path(), &mut seen)?;
        tracing::warn!(
            name: "write-ahead-log-renewed",
            "{lost}; all that it held was written to tables, and a new one is begun: nothing is \
             lost, but somebody touches the data directory while raftd runs"
        );
        Ok(())
    }
}

fn renew(db: &DB) -> Result<(), StorageError> {
    const DOING: &str = "beginning another write-ahead log";
    let failed = |error| database(DOING, &error);
    let meta = family(db, META)?;
    db.delete_cf_opt(meta, NOBODYS_KEY, &WriteOptions::default()).map_err(failed)?;
    let families = [meta, family(db, LOG)?, family(db, CONFIGURATION)?];
    let mut flush = FlushOptions::default();
    flush.set_wait(true);
    db.flush_cfs_opt(&families.each_ref(), &flush).map_err(failed)
}
