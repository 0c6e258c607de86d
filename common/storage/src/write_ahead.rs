//! The log's write-ahead log while it is written. Somebody may rotate it as if it were a log for
//! people, remove it, or put an old copy in its place, on all machines in the same minute. All that
//! it held is in memory as well, so it is written to tables, and a new one is begun.

use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rocksdb::{DB, FlushOptions, WriteOptions};

use crate::database::{database, family};
use crate::error::StorageError;
use crate::layout::{CONFIGURATION, LOG, META};
use crate::open_files::{self, Written};

/// A key that nobody has: to delete it gives the database something to write to a table.
const NOBODYS_KEY: &[u8] = b"nobody";

/// What is seen is looked at again so much later: the database begins another one by itself.
const AGAIN_AFTER: Duration = Duration::from_millis(20);

/// What was seen of the write-ahead log.
#[derive(Debug, Default)]
pub(crate) struct WriteAhead(Mutex<Option<Written>>);

impl WriteAhead {
    /// Looks whether it is at its place and whole. If not, makes durable otherwise what it held,
    /// and begins a new one. Until then all of that is in memory alone.
    ///
    /// # Errors
    /// [`StorageError::Gone`] if that does not help; what the database says. The next look finds
    /// the same.
    pub(crate) fn check(&self, db: &DB) -> Result<(), StorageError> {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let look = |before: Option<&Written>| open_files::check_write_ahead_log(db.path(), before);
        let first = look(seen.as_ref());
        let found = first.or_else(|_| {
            thread::sleep(AGAIN_AFTER);
            look(seen.as_ref())
        });
        let lost = match found {
            Ok(written) => {
                *seen = written;
                return Ok(());
            }
            Err(lost) => lost,
        };
        if let Err(error) = renew(db) {
            tracing::warn!(
                name: "write-ahead-log-lost",
                "{lost}; what it held is in memory alone, and cannot be written to tables: {error}"
            );
            return Err(error);
        }
        *seen = look(None)?;
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
    // Where it would have to wait, it is tried at the next look.
    let mut write = WriteOptions::default();
    write.set_no_slowdown(true);
    db.delete_cf_opt(meta, NOBODYS_KEY, &write).map_err(failed)?;
    let families = [meta, family(db, LOG)?, family(db, CONFIGURATION)?];
    let mut flush = FlushOptions::default();
    flush.set_wait(true);
    db.flush_cfs_opt(&families.each_ref(), &flush).map_err(failed)
}
