//! The data directory of a stopped node, read by others and never written: not a byte, not a file.

use std::fs::File;
use std::io::Read as _;
use std::ops::Range;
use std::path::{Path, PathBuf};

use consensus::{Entry, EntryId, Incarnation, LogIndex, NodeId};
use protocol::{BootstrapRecord, Generation};
use rocksdb::{ColumnFamilyDescriptor, DB};
use rustix::fs::{FlockOperation, flock};

use crate::batch::Shape;
use crate::bootstrap;
use crate::condition::Loss;
use crate::directory;
use crate::error::StorageError;
use crate::forgotten::Former;
use crate::layout::{CONFIGURATION, LOG, META, Owner};
use crate::lost;
use crate::names::{self, LOCK, SUPERBLOCK};
use crate::options;
use crate::persistent_log::RestoredLog;
use crate::processor;
use crate::record::Record;
use crate::recover::recover;
use crate::seek::Records;
use crate::superblock::Superblock;
use crate::tail::TailFound;
use crate::wal;

mod verify;

pub use verify::{Part, Verified};

/// A data directory whose node does not run, and cannot be started as long as the value lives.
#[derive(Debug)]
pub struct StoppedNode {
    path: PathBuf,
    superblock: Superblock,
    is_copy: bool,
    _lock: File,
}

impl StoppedNode {
    /// Looks into a data directory.
    ///
    /// # Errors
    /// [`StorageError::InUse`] if the node runs; if it is no data directory, or cannot be read.
    pub fn open(path: &Path) -> Result<Self, StorageError> {
        processor::check()?;
        let lock = lock(path)?;
        let file = path.join(SUPERBLOCK);
        let (superblock, inode) = Superblock::read(&file)?
            .ok_or_else(|| StorageError::corrupt(file.display().to_string(), "it is missing"))?;
        let is_copy = !superblock.inode.may_be(inode);
        Ok(Self { path: path.to_owned(), superblock, is_copy, _lock: lock })
    }

    /// Returns the cluster's id.
    pub fn cluster(&self) -> [u8; 16] {
        self.superblock.cluster
    }

    /// Returns whose directory it is.
    pub fn node(&self) -> NodeId {
        self.superblock.node
    }

    /// Says whether it is a copy that no node was started with.
    pub fn is_copy(&self) -> bool {
        self.is_copy
    }

    /// Returns the name that it has given up, and why.
    pub fn former(&self) -> Option<Former> {
        self.superblock.former
    }

    /// Returns the directory's random name.
    pub fn incarnation(&self) -> Incarnation {
        self.superblock.incarnation
    }

    /// Returns the history; `None` before the node is bootstrapped.
    pub fn generation(&self) -> Option<Generation> {
        self.superblock.generation
    }

    /// Returns the bootstrap record.
    ///
    /// # Errors
    /// If it cannot be read, or is not the one that the superblock names.
    pub fn bootstrap(&self) -> Result<Option<BootstrapRecord>, StorageError> {
        let generation = self.superblock.generation;
        generation.map(|generation| bootstrap::read(&self.path, generation)).transpose()
    }

    /// Opens the log.
    ///
    /// # Errors
    /// If the node has no history, or the log is damaged in what a start would look at.
    pub fn log(&self) -> Result<StoppedLog, StorageError> {
        let generation = self.superblock.generation.ok_or_else(|| {
            let what = format!("data directory {}", self.path.display());
            StorageError::corrupt(what, "its node belongs to no cluster yet, so there is no log")
        })?;
        let Superblock { node, seal: incarnation, .. } = self.superblock;
        let owner = Owner { node, incarnation, generation };
        let path = self.path.join(names::LOG);
        let tail = TailFound::read(&self.path, &owner)?;
        lost::check(&path)?;
        let mut options = options::reading();
        let damaged = match wal::check(&path) {
            Ok(()) => None,
            Err(damaged) if wal::is_skippable(&path, &damaged) => {
                options::skip_damage(&mut options);
                Some(damaged)
            }
            Err(damaged) => return Err(lost::is_lost(damaged)),
        };
        let families = [LOG, CONFIGURATION, META]
            .map(|name| ColumnFamilyDescriptor::new(name, options.clone()));
        let db = DB::open_cf_descriptors_read_only(&options, &path, families, false)
            .map_err(|error| lost::opening(&error))?;
        let is_suspect = damaged.is_some() || self.path.join(names::DAMAGED).exists();
        let found = recover(&db, owner, tail, is_suspect).map_err(lost::reading)?;
        let (mut restored, shape) = found;
        match tail.newest {
            None => restored.condition.losses.push(Loss::Tail),
            Some(newest) if !newest.is_of(self.superblock.boot) => {
                restored.condition.losses.push(Loss::OtherStart);
            }
            Some(_) => {}
        }
        Ok(StoppedLog { db, owner, restored, shape, tail })
    }
}

/// Keeps the node from being started; others may look as well.
fn lock(path: &Path) -> Result<File, StorageError> {
    let file = path.join(LOCK);
    let mut lock = File::open(&file).map_err(|error| StorageError::io("open", &file, error))?;
    if flock(&lock, FlockOperation::NonBlockingLockShared).is_err() {
        let mut pid = String::new();
        // A process that has not told yet is one all the same.
        let _ = (&mut lock).take(20).read_to_string(&mut pid);
        return Err(directory::in_use(path, &pid));
    }
    Ok(lock)
}

/// The log of a stopped node.
pub struct StoppedLog {
    db: DB,
    owner: Owner,
    restored: RestoredLog,
    /// Where it begins and ends, and where its terms begin, also where it is damaged.
    shape: Shape,
    tail: TailFound,
}

impl StoppedLog {
    /// Returns what the node would find at its start.
    pub fn restored(&self) -> &RestoredLog {
        &self.restored
    }

    /// Returns the indexes that the log holds, those of damaged entries too.
    pub fn range(&self) -> Range<LogIndex> {
        self.shape.base.index.next()..self.shape.end.last.index.next()
    }

    /// Returns what is left of a range without the damaged entries.
    pub fn readable(&self, range: Range<LogIndex>) -> Vec<Range<LogIndex>> {
        let (mut parts, mut next) = (Vec::new(), range.start);
        for damage in &self.restored.condition.damages {
            parts.push(next..damage.first.min(range.end));
            next = next.max(damage.last.index.next());
        }
        parts.push(next..range.end);
        parts.retain(|part| !part.is_empty());
        parts
    }

    /// Returns the identity that the term runs give an entry of the log.
    fn expected(&self, index: LogIndex) -> Option<EntryId> {
        let run = self.shape.runs.iter().rev().find(|(first, _)| *first <= index);
        run.filter(|_| self.range().contains(&index))
            .map(|(_, term)| EntryId { term: *term, index })
    }

    /// Reads the entries of a range that the log holds, in order. Each is checked by itself, and
    /// against the term runs; the first damage is the last item.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn entries(
        &self,
        range: Range<LogIndex>,
    ) -> Result<impl Iterator<Item = Result<Entry, StorageError>> + '_, StorageError> {
        let mut records = Records::new(&self.db, self.owner, range.start, Some(range.end))?;
        let (mut next, mut broken) = (range.start, false);
        let mut current: Option<Record> = None;
        Ok(std::iter::from_fn(move || {
            if broken || next >= range.end {
                return None;
            }
            let entry = self.entry(next, &mut current, &mut records);
            next = next.next();
            broken = entry.is_err();
            Some(entry)
        }))
    }

    fn entry(
        &self,
        index: LogIndex,
        current: &mut Option<Record>,
        records: &mut Records<'_>,
    ) -> Result<Entry, StorageError> {
        let corrupt = |why: &str| StorageError::corrupt(format!("log entry {index}"), why);
        while current.as_ref().is_none_or(|record| record.end() <= index) {
            let found = records.next_record().map_err(|error| {
                if let StorageError::Corrupt { what, why } = &error
                    && what.starts_with("the database")
                {
                    let near = format!("log entry {index} or one near it");
                    return StorageError::corrupt(near, why.clone());
                }
                error
            })?;
            *current = Some(found.ok_or_else(|| corrupt("it is missing"))?.1);
        }
        let record = current.as_ref().expect("it was read just now");
        if record.header(index).is_none() {
            return Err(corrupt("it is missing"));
        }
        let entry = record.entry(index)?;
        match self.expected(index) {
            Some(expected) if expected == entry.id => Ok(entry),
            expected => {
                let expected = expected.map_or_else(|| "no entry".to_owned(), |id| id.to_string());
                Err(corrupt(&format!("it is {}, the term runs say {expected}", entry.id)))
            }
        }
    }
}
