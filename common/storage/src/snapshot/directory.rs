//! The snapshots of a node: what there is, what is written and received, what is removed.

use std::fs;
use std::path::{Path, PathBuf};

use consensus::{EntryId, LogIndex};
use protocol::Generation;

use crate::directory::DataDirectory;
use crate::error::StorageError;
use crate::files;
use crate::snapshot::header::{SnapshotHeader, SnapshotId};
use crate::snapshot::place::{ASIDE, DAMAGED, PARTIAL, Place, SnapshotFile, WHOLE};
use crate::snapshot::receive::SnapshotReceiver;
use crate::snapshot::write::SnapshotWriter;

/// The directory of a node's snapshots; cheap to copy and to send to other threads.
#[derive(Clone, Debug)]
pub struct Snapshots {
    place: Place,
}

impl Snapshots {
    /// Opens the directory or makes it, and removes what was being written when the node stopped.
    /// What was being received stays, to be gone on with. To be called before anything is written.
    ///
    /// # Errors
    /// If it cannot be read or written, or the node has no history yet.
    pub fn open(directory: &DataDirectory) -> Result<Self, StorageError> {
        let generation = directory.generation().ok_or_else(|| {
            StorageError::corrupt("the superblock", "snapshots are opened before the bootstrap")
        })?;
        let snapshots = Self::at(directory.path(), directory.cluster(), generation);
        files::create_directory(snapshots.path())?;
        for (path, _) in snapshots.place.files(ASIDE)? {
            files::remove(&path)?;
        }
        Ok(snapshots)
    }

    /// Names the directory, which may be missing.
    pub(crate) fn at(data_directory: &Path, cluster: [u8; 16], generation: Generation) -> Self {
        Self { place: Place::at(data_directory, cluster, generation) }
    }

    /// Returns where they are.
    pub fn path(&self) -> &Path {
        self.place.path()
    }

    /// Begins to write a snapshot.
    ///
    /// # Errors
    /// If it is another cluster's or history's, or cannot be written.
    pub fn create(&self, header: &SnapshotHeader) -> Result<SnapshotWriter, StorageError> {
        let path = self.place.name(header.meta.last);
        self.place.check_owner(header, &path)?;
        SnapshotWriter::create(&path, header)
    }

    /// Begins to receive a snapshot, or goes on with what is there of it; what is there of others
    /// is removed.
    ///
    /// # Errors
    /// If the directory cannot be read or written.
    pub fn receive(&self, id: SnapshotId) -> Result<SnapshotReceiver, StorageError> {
        let ours = self.place.partial(id);
        for (path, _) in self.place.files(PARTIAL)? {
            if path != ours {
                files::remove(&path)?;
            }
        }
        SnapshotReceiver::open(&self.place, id)
    }

    /// Returns the snapshots, the newest first, and what is wrong with files that are none of this
    /// node. Headers are read, not what follows them.
    ///
    /// # Errors
    /// If the directory cannot be read.
    pub fn list(&self) -> Result<(Vec<SnapshotFile>, Vec<StorageError>), StorageError> {
        let (mut whole, mut wrong) = (Vec::new(), Vec::new());
        for (path, bytes) in self.place.files(WHOLE)? {
            match self.place.look(&path, bytes) {
                Ok(file) => whole.push(file),
                Err(error) => wrong.push(error),
            }
        }
        whole.sort_by_key(|file| std::cmp::Reverse(file.header.meta.last.index));
        Ok((whole, wrong))
    }

    /// Removes a snapshot; a reader that has it open can go on.
    ///
    /// # Errors
    /// If it cannot be removed.
    pub fn delete(&self, file: &SnapshotFile) -> Result<(), StorageError> {
        files::remove(&file.path)?;
        files::sync_parent(&file.path)
    }

    /// Sets a snapshot aside that is not as it was written, in the place of one that was set aside
    /// before; returns where it is. It may still be there from which nothing can be read.
    ///
    /// # Errors
    /// If the directory cannot be read or written.
    pub fn set_aside(&self, file: &SnapshotFile) -> Result<PathBuf, StorageError> {
        let aside = file.path.with_extension(DAMAGED);
        for (other, _) in self.place.files(DAMAGED)?.iter().filter(|(other, _)| *other != aside) {
            files::remove(other)?;
        }
        fs::rename(&file.path, &aside)
            .map_err(|error| StorageError::io("rename to", &aside, error))?;
        files::sync_parent(&aside)?;
        Ok(aside)
    }

    /// Returns the snapshot that was set aside, if one lies there.
    ///
    /// # Errors
    /// If the directory cannot be read.
    pub fn damaged(&self) -> Result<Option<PathBuf>, StorageError> {
        Ok(self.place.files(DAMAGED)?.pop().map(|(path, _)| path))
    }

    /// Removes all but the newest `count` snapshots, and returns what was removed. One beyond
    /// `persisted` stays in any case: the state is not durable without it.
    ///
    /// # Errors
    /// If the directory cannot be read, or a file cannot be removed.
    pub fn keep(
        &self,
        count: usize,
        persisted: LogIndex,
    ) -> Result<Vec<SnapshotFile>, StorageError> {
        let (files, _) = self.list()?;
        let mut removed = Vec::new();
        for file in files.into_iter().skip(count) {
            if file.header.meta.last.index <= persisted {
                self.delete(&file)?;
                removed.push(file);
            }
        }
        Ok(removed)
    }

    /// Returns the snapshot up to this very entry, if there is one.
    ///
    /// # Errors
    /// If its header cannot be read, or is another cluster's or history's.
    pub fn find(&self, last: EntryId) -> Result<Option<SnapshotFile>, StorageError> {
        let path = self.place.name(last);
        match fs::metadata(&path) {
            Ok(found) => self.place.look(&path, found.len()).map(Some),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StorageError::io("look at", &path, error)),
        }
    }
}
