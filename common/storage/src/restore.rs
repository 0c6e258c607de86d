//! A new history from a snapshot: fills an empty data directory, once (raft(7), GENERATIONS).
//!
//! The log begins behind the snapshot's last entry, and its first entry is the configuration of the
//! bootstrap record, in a term of its own: when it is applied, the members of the old history get
//! their tombstones. All of it counts when the directory is given its generation, which is the last
//! step; a crash before leaves a directory without a history, to be filled again.

use std::io::Read;
use std::path::Path;

use consensus::{Entry, EntryId, HardState, Incarnation, NodeId, Payload, Write, WriteId};
use protocol::BootstrapRecord;
use rustix::fs::Access;

use crate::directory::DataDirectory;
use crate::error::StorageError;
use crate::files;
use crate::log::LogStore;
use crate::names::{LOCK, LOG, RESERVE, RESET_KEY, TAIL};
use crate::snapshot::{SnapshotHeader, SnapshotReader};
use crate::state::{StateStore, checkpoint, place};

/// What an empty directory may hold before it is a node's.
const EMPTY: [&str; 6] =
    ["lost+found", LOCK, "superblock.new", RESERVE, RESET_KEY, "reset-key.new"];

/// An empty data directory that a snapshot is about to fill; nobody else uses it meanwhile.
#[derive(Debug)]
pub struct Restoration {
    directory: DataDirectory,
}

impl Restoration {
    /// Opens the directory of this node, or makes one, and gives it its incarnation, which the
    /// bootstrap record must name.
    ///
    /// # Errors
    /// [`StorageError::NotEmpty`] if it has a history or anything that is not a node's; if another
    /// process uses it, it belongs to another node, or cannot be written.
    pub fn begin(path: &Path, cluster: [u8; 16], node: NodeId) -> Result<Self, StorageError> {
        let not_empty =
            |found: String| Err(StorageError::NotEmpty { path: path.to_owned(), found });
        is_known(path)?;
        let directory = DataDirectory::open_or_create(path, cluster, node)?;
        match directory.generation() {
            None => Ok(Self { directory }),
            Some(generation) => not_empty(format!(
                "node {node} has a history there, of generation {}",
                generation.short()
            )),
        }
    }

    /// Looks whether a directory could be filled, and changes nothing.
    ///
    /// # Errors
    /// As [`Restoration::begin`].
    pub fn check(path: &Path, cluster: [u8; 16], node: NodeId) -> Result<(), StorageError> {
        if is_known(path)? {
            return Self::begin(path, cluster, node).map(drop);
        }
        let mut above = path.ancestors().filter(|place| !place.as_os_str().is_empty());
        let there = above.find(|place| place.exists()).unwrap_or(Path::new("."));
        let wanted = Access::WRITE_OK | Access::EXEC_OK;
        let failed = |error| StorageError::io("make a directory in", there, error);
        if !there.is_dir() {
            return Err(failed(std::io::ErrorKind::NotADirectory.into()));
        }
        rustix::fs::access(there, wanted).map_err(|errno| failed(errno.into()))
    }

    /// Returns the directory's random name.
    pub fn incarnation(&self) -> Incarnation {
        self.directory.incarnation()
    }

    /// Fills the directory; the snapshot is verified on the way. The record must have been stored
    /// beside the authority before.
    ///
    /// # Errors
    /// As [`Restoration::pour`] and [`Filled::found`].
    pub fn fill<R: Read>(
        self,
        record: &BootstrapRecord,
        snapshot: &mut SnapshotReader<R>,
    ) -> Result<(), StorageError> {
        self.pour(record, snapshot)?.found(record)
    }

    /// Does all of [`Restoration::fill`] but the last step: the directory has no history yet.
    ///
    /// # Errors
    /// If the record and the snapshot do not belong together, the snapshot is damaged, or the
    /// directory cannot be written: it is as empty as before then.
    pub fn pour<R: Read>(
        self,
        record: &BootstrapRecord,
        snapshot: &mut SnapshotReader<R>,
    ) -> Result<Filled, StorageError> {
        self.judge(record, snapshot.header())?;
        let path = self.directory.path().to_owned();
        files::remove_directory(&path.join(LOG))?;
        files::remove(&path.join(TAIL))?;
        checkpoint::remove_all(&path)?;
        place::remove_all(&path)?;
        let mut state = StateStore::open(&path)?;
        state.replace_from(snapshot)?;
        drop(state);
        LogStore::restore(&self.directory, record, first_write(record, snapshot.header()))?;
        Ok(Filled { directory: self.directory })
    }

    /// One voter alone: others would not know which file to begin with.
    fn judge(&self, record: &BootstrapRecord, header: &SnapshotHeader) -> Result<(), StorageError> {
        let (node, ours) = (self.directory.node(), self.directory.incarnation());
        let configuration = &record.configuration;
        let alone = configuration.members().len() == 1 && configuration.recognises(node, ours);
        let child = record.parent == Some(header.generation)
            && record.cluster == header.cluster
            && record.cluster == self.directory.cluster()
            && (&record.machine, record.machine_version)
                == (&header.machine, header.machine_version);
        let why = match (alone, child) {
            (true, true) => return Ok(()),
            (false, _) => "it does not name this data directory, and this one alone",
            (true, false) => "it is not the record of a history that begins with the snapshot",
        };
        Err(StorageError::corrupt("the bootstrap record", why))
    }
}

/// A directory in which everything is but its generation.
#[derive(Debug)]
pub struct Filled {
    directory: DataDirectory,
}

impl Filled {
    /// Gives the directory its generation: from here on it counts.
    ///
    /// # Errors
    /// If it cannot be written: it may have its generation then, or not.
    pub fn found(mut self, record: &BootstrapRecord) -> Result<(), StorageError> {
        self.directory.set_bootstrap(record)
    }
}

/// What the log begins with.
fn first_write(record: &BootstrapRecord, header: &SnapshotHeader) -> Write {
    let meta = header.meta.clone();
    let term = meta.last.term.next();
    let id = EntryId { term, index: meta.last.index.next() };
    let payload = Payload::Configuration(record.configuration.clone());
    Write {
        id: WriteId::ZERO,
        hard_state: Some(HardState { term, vote: None }),
        truncate_from: None,
        append: vec![Entry::new(id, meta.stamp, payload)],
        compact_to: Some(meta),
    }
}
/// Says whether a directory is a node's already.
///
/// # Errors
/// If there is anything else in it.
fn is_known(path: &Path) -> Result<bool, StorageError> {
    let names = files::names(path)?;
    let known = names.iter().any(|name| name == "superblock");
    match names.iter().find(|name| !known && !EMPTY.contains(&name.as_str())) {
        None => Ok(known),
        Some(name) => {
            let found = format!("there is \"{name}\"");
            Err(StorageError::NotEmpty { path: path.to_owned(), found })
        }
    }
}
