//! The snapshots of a node: `snapshots/<index>-<term>.snap` in its data directory.

use std::fs;
use std::path::{Path, PathBuf};

use consensus::{EntryId, LogIndex};
use protocol::Generation;

use crate::directory::DataDirectory;
use crate::error::StorageError;
use crate::files;
use crate::snapshot::header::{SnapshotHeader, SnapshotId};
use crate::snapshot::read::SnapshotReader;
use crate::snapshot::receive::SnapshotReceiver;
use crate::snapshot::write::{ASIDE, SnapshotWriter};

const WHOLE: &str = "snap";
const PARTIAL: &str = "part";

/// A snapshot on the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotFile {
    /// Where it is.
    pub path: PathBuf,
    /// Its name.
    pub id: SnapshotId,
    /// What it covers, and whose it is.
    pub header: SnapshotHeader,
    /// Its size.
    pub bytes: u64,
}

/// The directory of a node's snapshots; cheap to copy and to send to other threads.
#[derive(Clone, Debug)]
pub struct Snapshots {
    path: PathBuf,
    cluster: [u8; 16],
    generation: Generation,
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
        files::create_directory(&snapshots.path)?;
        for (path, _) in snapshots.files(ASIDE)? {
            files::remove(&path)?;
        }
        Ok(snapshots)
    }

    /// Names the directory, which may be missing.
    pub(crate) fn at(data_directory: &Path, cluster: [u8; 16], generation: Generation) -> Self {
        Self { path: data_directory.join("snapshots"), cluster, generation }
    }

    /// Returns where they are.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Begins to write a snapshot.
    ///
    /// # Errors
    /// If it is another cluster's or history's, or cannot be written.
    pub fn create(&self, header: &SnapshotHeader) -> Result<SnapshotWriter, StorageError> {
        let path = self.name(header.meta.last);
        self.judge(header, &path)?;
        SnapshotWriter::create(&path, header)
    }

    /// Begins to receive a snapshot, or goes on with what is there of it; what is there of others
    /// is removed.
    ///
    /// # Errors
    /// If the directory cannot be read or written.
    pub fn receive(&self, id: SnapshotId) -> Result<SnapshotReceiver, StorageError> {
        let ours = self.partial(id);
        for (path, _) in self.files(PARTIAL)? {
            if path != ours {
                files::remove(&path)?;
            }
        }
        SnapshotReceiver::open(self, id)
    }

    /// Returns the snapshots, the newest first, and what is wrong with files that are none of this
    /// node. Headers are read, not what follows them.
    ///
    /// # Errors
    /// If the directory cannot be read.
    pub fn list(&self) -> Result<(Vec<SnapshotFile>, Vec<StorageError>), StorageError> {
        let (mut whole, mut wrong) = (Vec::new(), Vec::new());
        for (path, bytes) in self.files(WHOLE)? {
            match self.look(&path, bytes) {
                Ok(file) => whole.push(file),
                Err(error) => wrong.push(error),
            }
        }
        whole.sort_by_key(|file| std::cmp::Reverse(file.header.meta.last.index));
        Ok((whole, wrong))
    }

    /// Returns the newest snapshot whose bytes are all as they were written, reading it as a whole.
    ///
    /// # Errors
    /// If the directory cannot be read.
    pub fn newest_valid(&self) -> Result<Option<SnapshotFile>, StorageError> {
        let (files, _) = self.list()?;
        let valid = |file: &SnapshotFile| {
            SnapshotReader::open(&file.path).and_then(|reader| reader.verify(|_| {})).is_ok()
        };
        Ok(files.into_iter().find(valid))
    }

    /// Removes a snapshot; who reads it can go on.
    ///
    /// # Errors
    /// If it cannot be removed.
    pub fn delete(&self, file: &SnapshotFile) -> Result<(), StorageError> {
        files::remove(&file.path)?;
        files::sync_parent(&file.path)
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
        let path = self.name(last);
        match fs::metadata(&path) {
            Ok(found) => self.look(&path, found.len()).map(Some),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StorageError::io("look at", &path, error)),
        }
    }

    /// Says whether a snapshot is of this node's history.
    pub(crate) fn judge(&self, header: &SnapshotHeader, path: &Path) -> Result<(), StorageError> {
        header.belongs_to(self.cluster, self.generation, path)
    }

    pub(crate) fn name(&self, last: EntryId) -> PathBuf {
        // As many digits as the greatest index has: names are in the order of their indexes.
        self.path.join(format!("{:020}-{}.{WHOLE}", last.index.get(), last.term))
    }

    pub(crate) fn partial(&self, id: SnapshotId) -> PathBuf {
        self.path.join(format!("{id}.{PARTIAL}"))
    }

    fn look(&self, path: &Path, bytes: u64) -> Result<SnapshotFile, StorageError> {
        let reader = SnapshotReader::open(path)?;
        self.judge(reader.header(), path)?;
        let (id, header) = (reader.id(), reader.header().clone());
        Ok(SnapshotFile { path: path.to_owned(), id, header, bytes })
    }

    /// Returns the files with this extension, and their sizes.
    fn files(&self, extension: &str) -> Result<Vec<(PathBuf, u64)>, StorageError> {
        let failed = |error| StorageError::io("list", &self.path, error);
        let mut files = Vec::new();
        for child in self.path.read_dir().map_err(failed)? {
            let child = child.map_err(failed)?;
            let path = child.path();
            if path.extension().is_some_and(|found| found == extension) {
                files.push((path, child.metadata().map_err(failed)?.len()));
            }
        }
        Ok(files)
    }
}

impl SnapshotHeader {
    /// Says whether this is a snapshot of that cluster and history.
    ///
    /// # Errors
    /// If it is not: whose it is.
    pub fn belongs_to(
        &self,
        cluster: [u8; 16],
        generation: Generation,
        path: &Path,
    ) -> Result<(), StorageError> {
        let foreign = |what: &'static str, owner: String, wanted: String| {
            Err(StorageError::ForeignSnapshot { path: path.to_owned(), what, owner, wanted })
        };
        if self.cluster != cluster {
            return foreign("cluster", files::hex(&self.cluster), files::hex(&cluster));
        }
        if self.generation != generation {
            return foreign("generation", self.generation.to_string(), generation.to_string());
        }
        Ok(())
    }
}
