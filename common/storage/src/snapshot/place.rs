//! Where the snapshots of a node are: `snapshots/<index>-<term>.snap` in its data directory.

use std::path::{Path, PathBuf};

use consensus::EntryId;
use protocol::Generation;

use crate::error::StorageError;
use crate::files;
use crate::names::SNAPSHOTS;
use crate::snapshot::header::{SnapshotHeader, SnapshotId};
use crate::snapshot::read::SnapshotReader;

/// The extension of a snapshot that is whole.
pub(crate) const WHOLE: &str = "snap";

/// The extension of a snapshot that is being received.
pub(crate) const PARTIAL: &str = "part";

/// The extension of a snapshot that is being written.
pub(crate) const ASIDE: &str = "tmp";

/// The extension of a snapshot that is not as it was written.
pub(crate) const DAMAGED: &str = "damaged";

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

/// The directory of a node's snapshots, and whose they must be.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    path: PathBuf,
    cluster: [u8; 16],
    generation: Generation,
}

impl Place {
    /// Names the directory, which may be missing.
    pub(crate) fn at(data_directory: &Path, cluster: [u8; 16], generation: Generation) -> Self {
        Self { path: data_directory.join(SNAPSHOTS), cluster, generation }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Says whether a snapshot is of this node's history.
    pub(crate) fn check_owner(
        &self,
        header: &SnapshotHeader,
        path: &Path,
    ) -> Result<(), StorageError> {
        header.belongs_to(self.cluster, self.generation, path)
    }

    pub(crate) fn name(&self, last: EntryId) -> PathBuf {
        // As many digits as the greatest index has: names are in the order of their indexes.
        self.path.join(format!("{:020}-{}.{WHOLE}", last.index.get(), last.term))
    }

    pub(crate) fn partial(&self, id: SnapshotId) -> PathBuf {
        self.path.join(format!("{id}.{PARTIAL}"))
    }

    /// Reads the header of a file, and checks that it is of this history.
    pub(crate) fn look(&self, path: &Path, bytes: u64) -> Result<SnapshotFile, StorageError> {
        let reader = SnapshotReader::open(path)?;
        self.check_owner(reader.header(), path)?;
        let (id, header) = (reader.id(), reader.header().clone());
        Ok(SnapshotFile { path: path.to_owned(), id, header, bytes })
    }

    /// Returns the files with this extension, and their sizes.
    pub(crate) fn files(&self, extension: &str) -> Result<Vec<(PathBuf, u64)>, StorageError> {
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
