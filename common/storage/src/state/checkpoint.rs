//! A state of one moment, read while changes go on: hard links to the files of the database, opened
//! for reading only.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use rocksdb::checkpoint::Checkpoint;
use rocksdb::{DB, IteratorMode, ReadOptions};
use state_machine::{HostError, Pair, StoreError, View, applied_in};

use crate::database::database;
use crate::error::StorageError;
use crate::files;
use crate::names::CHECKPOINTS;
use crate::options;
use crate::snapshot::{SnapshotFile, SnapshotHeader, SnapshotWriter, Snapshots};
use crate::state::{Live, StateStore, get, range, rotten};

/// So many bytes are read ahead.
const READAHEAD_BYTES: usize = 1024 * 1024;

/// The state of one moment. Its directory is removed at the end of its life.
pub struct StateCheckpoint {
    db: DB,
    /// Closed first, then removed.
    directory: Doomed,
}

/// A directory that is removed at the end of its life.
pub(super) struct Doomed(pub(super) PathBuf);

impl Drop for Doomed {
    fn drop(&mut self) {
        // What stays is removed when the node starts again.
        let _ = files::remove_directory(&self.0);
    }
}

impl StateStore {
    /// Flushes the state and keeps it as it is now, for any thread. Takes as long as the flush and
    /// some milliseconds a gigabyte; copies nothing.
    ///
    /// # Errors
    /// If the state cannot be flushed, or the files cannot be linked.
    pub fn checkpoint(&mut self) -> Result<StateCheckpoint, StorageError> {
        self.live.flush().map_err(|error| rotten("flushing the state", &error))?;
        self.checkpoints += 1;
        let all = self.data_directory.join(CHECKPOINTS);
        files::create_directory(&all)?;
        let directory = Doomed(all.join(self.checkpoints.to_string()));
        // Not even an unfinished one of before may be in the way.
        files::remove_directory(&directory.0)?;
        self.live.link(&directory.0)?;
        let db = DB::open_for_read_only(&options::reading(), &directory.0, false)
            .map_err(|error| database("opening a checkpoint", &error))?;
        Ok(StateCheckpoint { db, directory })
    }
}

impl Live {
    fn link(&self, directory: &Path) -> Result<(), StorageError> {
        Checkpoint::new(&self.db)
            .and_then(|checkpoint| checkpoint.create_checkpoint(directory))
            .map_err(|error| database("making a checkpoint", &error))
    }
}

impl StateCheckpoint {
    /// Shows every pair, in order.
    ///
    /// # Errors
    /// If the state cannot be read, or `visit` fails.
    pub fn for_each(
        &self,
        visit: impl FnMut(&[u8], &[u8]) -> Result<(), StorageError>,
    ) -> Result<(), StorageError> {
        for_each(&self.db, visit)
    }

    /// Writes a snapshot of this state. `written` is told after each pair how many bytes the file
    /// has; it may wait, to spare the disk, and ends the work by an error.
    ///
    /// # Errors
    /// If the state ends elsewhere than the header says, or cannot be read; if the snapshot cannot
    /// be written; or what `written` says. Nothing is left behind then.
    pub fn save(
        &self,
        snapshots: &Snapshots,
        header: &SnapshotHeader,
        written: impl FnMut(u64) -> Result<(), StorageError>,
    ) -> Result<SnapshotFile, StorageError> {
        self.save_to(snapshots.create(header)?, written)
    }

    /// Writes a snapshot of this state to a writer of one's own.
    ///
    /// # Errors
    /// As [`StateCheckpoint::save`].
    pub fn save_to(
        &self,
        mut writer: SnapshotWriter,
        mut written: impl FnMut(u64) -> Result<(), StorageError>,
    ) -> Result<SnapshotFile, StorageError> {
        check_applied(self, writer.header())?;
        self.for_each(|key, value| {
            writer.push(key, value)?;
            written(writer.written())
        })?;
        writer.finish()
    }
}

impl std::fmt::Debug for StateCheckpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "StateCheckpoint({})", self.directory.0.display())
    }
}

impl View for StateCheckpoint {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        get(&self.db, key)
    }

    fn range(&self, from: &[u8], to: Option<&[u8]>, limit: usize) -> Result<Vec<Pair>, StoreError> {
        range(&self.db, from, to, limit)
    }
}

/// A state that is read where it lies.
pub(crate) struct Lying<'a>(pub(crate) &'a DB);

impl View for Lying<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        get(self.0, key)
    }

    fn range(&self, from: &[u8], to: Option<&[u8]>, limit: usize) -> Result<Vec<Pair>, StoreError> {
        range(self.0, from, to, limit)
    }
}

/// A snapshot is labelled with the entry that its state ends at, and with no other (museum G8).
pub(crate) fn check_applied(state: &dyn View, header: &SnapshotHeader) -> Result<(), StorageError> {
    let (applied, _) = applied(state)?;
    let last = header.meta.last;
    if applied == last {
        return Ok(());
    }
    let why = format!("the state ends at entry {applied}");
    Err(StorageError::corrupt(format!("a snapshot up to entry {last}"), why))
}

/// Returns the last applied entry and the cluster time of a state.
pub(crate) fn applied(
    state: &dyn View,
) -> Result<(consensus::EntryId, consensus::ClusterTime), StorageError> {
    applied_in(state).map_err(|error| match error {
        HostError::Store(error) => match error.source.downcast::<StorageError>() {
            Ok(below) => *below,
            Err(source) => {
                StorageError::Database { doing: "reading the state", why: source.to_string() }
            }
        },
        HostError::Damaged(_) | HostError::Malformed { .. } | HostError::Gap { .. } => {
            StorageError::corrupt("the state", error.to_string())
        }
    })
}

/// Shows every pair of a state, in order, and keeps none in the cache.
pub(crate) fn for_each(
    db: &DB,
    mut visit: impl FnMut(&[u8], &[u8]) -> Result<(), StorageError>,
) -> Result<(), StorageError> {
    let mut read = ReadOptions::default();
    read.fill_cache(false);
    read.set_readahead_size(READAHEAD_BYTES);
    for item in db.iterator_opt(IteratorMode::Start, read) {
        let (key, value) = item.map_err(|error| rotten("reading the state", &error))?;
        visit(&key, &value)?;
    }
    Ok(())
}

/// Removes what a crash has left of checkpoints.
pub(crate) fn remove_all(data_directory: &Path) -> Result<(), StorageError> {
    files::remove_directory(&data_directory.join(CHECKPOINTS))
}
