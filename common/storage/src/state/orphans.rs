//! Files of large values that a crash, or a full disk, has left unfinished: nothing refers to them,
//! and RocksDB keeps them for ever, as it cannot tell them from files of a later version.

use std::path::Path;

use rocksdb::DB;
use rocksdb::checkpoint::Checkpoint;

use crate::error::StorageError;
use crate::files;
use crate::state::rotten;

/// The end of the name of a file of large values.
const VALUES: &str = ".blob";

/// No flush, however long the write-ahead log is: the state has none.
const UNFLUSHED: u64 = u64::MAX;

/// The files of large values that lay there before the database was opened.
#[derive(Debug)]
pub(super) struct Before(Vec<String>);

impl Before {
    /// Looks at the directory of a state that is not open, and may not be there.
    pub(super) fn look(state: &Path) -> Result<Self, StorageError> {
        values(state).map(Self)
    }

    /// Removes those that the database does not know. It must be open without compactions of its
    /// own: then nothing in this list is being written. `links` is a directory to be made, and
    /// removed, on the same file system.
    pub(super) fn remove_unknown(&self, db: &DB, links: &Path) -> Result<(), StorageError> {
        let known = db.property_int_value("rocksdb.num-blob-files").ok().flatten();
        if known.is_none_or(|known| known >= self.0.len() as u64) {
            return Ok(());
        }
        link(db, links)?;
        let known = values(links);
        files::remove_directory(links)?;
        let known = known?;
        for name in self.0.iter().filter(|name| !known.contains(name)) {
            let path = db.path().join(name);
            files::remove(&path)?;
            tracing::debug!(path = %path.display(), "a file that was never finished is removed");
        }
        Ok(())
    }
}

/// Makes hard links to all files that the database has now, without what is not flushed.
pub(super) fn link(db: &DB, directory: &Path) -> Result<(), StorageError> {
    if let Some(parent) = directory.parent() {
        files::create_directory(parent)?;
    }
    // Not even an unfinished one of before may be in the way.
    files::remove_directory(directory)?;
    Checkpoint::new(db)
        .and_then(|checkpoint| checkpoint.create_checkpoint_with_log_size(directory, UNFLUSHED))
        // The database removes none meanwhile: one that is not there was lost.
        .map_err(|error| rotten("linking the state's files", &error))
}

fn values(directory: &Path) -> Result<Vec<String>, StorageError> {
    let mut names = files::names(directory)?;
    names.retain(|name| name.ends_with(VALUES));
    Ok(names)
}
