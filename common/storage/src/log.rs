//! The log on RocksDB: term, vote and entries, one synced batch a write.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use consensus::{
    ClusterTime, Entry, EntryId, HardState, LogIndex, Payload, SnapshotMeta, Term, Write,
};
use protocol::{BootstrapRecord, encode_entry};
use rocksdb::{ColumnFamilyDescriptor, DB, DEFAULT_COLUMN_FAMILY_NAME, WriteBatch};

use crate::compacted;
use crate::database::{check_room, database, family};
use crate::directory::DataDirectory;
use crate::error::StorageError;
use crate::layout::{
    COMPACTED_KEY, CONFIGURATION, FORMAT, FORMAT_KEY, HARD_STATE_KEYS, LAST_KEY, LOG, META, Owner,
    encode_hard_state, run_key,
};
use crate::names;
use crate::options;
use crate::persistent_log::RestoredLog;
use crate::reader::LogReader;
use crate::recover::recover;
use crate::space::Sizes;
use crate::wal;

/// Up to so many keys are deleted one by one; more by a range tombstone.
const SINGLE_DELETES_MAX: u64 = 64;

/// The durable log of one node.
pub struct LogStore {
    db: Arc<DB>,
    owner: Owner,
    /// The entry before the first one that is kept.
    base: EntryId,
    /// The same for readers, who must know it before they can miss an entry.
    head: Arc<AtomicU64>,
    last: LogIndex,
    last_term: Term,
    stamp: ClusterTime,
    runs: Vec<(LogIndex, Term)>,
    poisoned: Option<String>,
    record: Vec<u8>,
}

impl LogStore {
    /// Opens the log of a directory that has a generation, and reads what is needed to go on.
    ///
    /// # Errors
    /// If it is damaged, of a newer format, or cannot be read.
    pub fn open(directory: &DataDirectory) -> Result<(Self, RestoredLog), StorageError> {
        let generation = directory.generation().ok_or_else(|| {
            StorageError::corrupt("the superblock", "the log is opened before the bootstrap")
        })?;
        let opened = Self::open_as(directory, generation)?;
        // The generation is stored behind the first write: without it, what was promised is gone.
        if opened.1.hard_state.term == Term::ZERO {
            return Err(StorageError::corrupt("the log", "it is empty beside a bootstrap record"));
        }
        Ok(opened)
    }

    /// Makes the log of a cluster's first members: term 1, and the configuration as entry 1. Only
    /// then is the directory given its generation, so a crash in between leaves it uninitialised.
    ///
    /// # Errors
    /// If it cannot be written, or the directory has another history; if the record goes on from
    /// another history, which a snapshot must bring ([`crate::Restoration`]).
    pub fn bootstrap(
        directory: &mut DataDirectory,
        record: &BootstrapRecord,
    ) -> Result<(), StorageError> {
        if let Some(parent) = record.parent {
            let why = format!("it goes on from generation {}, not from nothing", parent.short());
            return Err(StorageError::corrupt("the bootstrap record", why));
        }
        if directory.generation().is_none() {
            let (mut log, restored) = Self::open_as(directory, record.generation())?;
            refuse_restored(&restored)?;
            if restored.log.last().index == LogIndex::ZERO {
                log.write(&[first_write(record)])?;
            }
        }
        directory.set_bootstrap(record)
    }

    /// Makes the log of a history that begins with a snapshot. The directory is given its
    /// generation later.
    pub(crate) fn restore(
        directory: &DataDirectory,
        record: &BootstrapRecord,
        first: Write,
    ) -> Result<(), StorageError> {
        let (mut log, _) = Self::open_as(directory, record.generation())?;
        log.write(&[first])?;
        Ok(())
    }

    /// Makes the empty log of a node that joins later: term 1 and nothing else. Entries, and with
    /// them the right to vote, come from a leader.
    ///
    /// # Errors
    /// If it cannot be written, or the directory has another history.
    pub fn join(
        directory: &mut DataDirectory,
        record: &BootstrapRecord,
    ) -> Result<(), StorageError> {
        if directory.generation().is_none() {
            let (mut log, restored) = Self::open_as(directory, record.generation())?;
            refuse_restored(&restored)?;
            if restored.hard_state.term == Term::ZERO {
                let first = Write { append: Vec::new(), ..first_write(record) };
                log.write(&[first])?;
            }
        }
        directory.set_bootstrap(record)
    }

    fn open_as(
        directory: &DataDirectory,
        generation: protocol::Generation,
    ) -> Result<(Self, RestoredLog), StorageError> {
        let path = directory.path().join(names::LOG);
        let owner = Owner { node: directory.node(), incarnation: directory.seal(), generation };
        wal::check(&path)?;
        check_room(&path)?;
        let options = options::log(Sizes::at(&path));
        // The default one is never written; left out, it would get RocksDB's own memtable of
        // 64 MiB, and the largest one decides how much of a write-ahead log is allocated at once.
        let families = [DEFAULT_COLUMN_FAMILY_NAME, LOG, CONFIGURATION, META]
            .map(|name| ColumnFamilyDescriptor::new(name, options.clone()));
        let db = DB::open_cf_descriptors(&options, &path, families)
            .map_err(|error| database("opening the log", &error))?;
        let restored = recover(&db, owner)?;
        let last = restored.log.last();
        let runs = restored.log.runs().iter().map(|run| (run.first, run.term)).collect();
        let store = Self {
            db: Arc::new(db),
            owner,
            base: restored.log.base(),
            head: Arc::new(AtomicU64::new(restored.log.base().index.get())),
            last: last.index,
            last_term: last.term,
            stamp: restored.stamp,
            runs,
            poisoned: None,
            record: Vec::new(),
        };
        Ok((store, restored))
    }

    /// Makes all these writes durable, in order, by one batch and one sync; returns its bytes.
    ///
    /// # Errors
    /// If that fails, nothing is known of what is on disk: the store refuses every later write.
    pub fn write(&mut self, writes: &[Write]) -> Result<usize, StorageError> {
        if let Some(why) = &self.poisoned {
            return Err(StorageError::Poisoned(why.clone()));
        }
        let mut batch = WriteBatch::default();
        let base = self.base;
        let done = self.fill(&mut batch, writes).and_then(|()| {
            let bytes = batch.size_in_bytes();
            let written = self.db.write_opt(batch, &options::synced());
            written.map(|()| bytes).map_err(|error| database("writing the log", &error))
        });
        match &done {
            Ok(_) if self.base != base => self.give_space_back(),
            Ok(_) => {}
            Err(error) => self.poisoned = Some(error.to_string()),
        }
        done
    }

    /// Returns a reader, for any thread.
    pub fn reader(&self) -> LogReader {
        LogReader::new(Arc::clone(&self.db), self.owner, Arc::clone(&self.head))
    }

    fn fill(&mut self, batch: &mut WriteBatch, writes: &[Write]) -> Result<(), StorageError> {
        for write in writes {
            if let Some(from) = write.truncate_from {
                self.truncate(batch, from)?;
            }
            if let Some(meta) = &write.compact_to {
                self.compact(batch, meta)?;
            }
            for entry in &write.append {
                self.append(batch, entry)?;
            }
            if let Some(hard_state) = write.hard_state {
                let meta = family(&self.db, META)?;
                for key in HARD_STATE_KEYS {
                    batch.put_cf(meta, key, encode_hard_state(hard_state));
                }
            }
        }
        let meta = family(&self.db, META)?;
        batch.put_cf(meta, FORMAT_KEY, FORMAT.to_le_bytes());
        let mut last = [0; 16];
        last[..8].copy_from_slice(&self.last.get().to_le_bytes());
        last[8..].copy_from_slice(&self.stamp.get().to_le_bytes());
        batch.put_cf(meta, LAST_KEY, last);
        Ok(())
    }

    fn append(&mut self, batch: &mut WriteBatch, entry: &Entry) -> Result<(), StorageError> {
        let index = entry.id.index;
        if index != self.last.next() || entry.id.term < self.last_term {
            let what = format!("entry {} behind {}@t{}", entry.id, self.last, self.last_term);
            return Err(StorageError::corrupt(what, "it does not follow"));
        }
        let key = index.get().to_be_bytes();
        let encoded = encode_entry(&self.owner.generation, entry);
        self.owner.record(index, &encoded, &mut self.record);
        batch.put_cf(family(&self.db, LOG)?, key, &self.record);
        if matches!(entry.payload, Payload::Configuration(_)) {
            batch.put_cf(family(&self.db, CONFIGURATION)?, key, []);
        }
        if entry.id.term != self.last_term || self.runs.is_empty() {
            let term = entry.id.term.get().to_le_bytes();
            batch.put_cf(family(&self.db, META)?, run_key(index), term);
            self.runs.push((index, entry.id.term));
            self.last_term = entry.id.term;
        }
        self.last = index;
        self.stamp = self.stamp.max(entry.stamp);
        Ok(())
    }

    fn truncate(&mut self, batch: &mut WriteBatch, from: LogIndex) -> Result<(), StorageError> {
        if from > self.last {
            return Ok(());
        }
        if from <= self.base.index {
            let what = format!("the log from {from}, which begins behind {}", self.base);
            return Err(StorageError::corrupt(what, "what is compacted cannot be cut off"));
        }
        let log = family(&self.db, LOG)?;
        let configuration = family(&self.db, CONFIGURATION)?;
        let end = self.last.next();
        if end.since(from) <= SINGLE_DELETES_MAX {
            for index in from.get()..end.get() {
                batch.delete_cf(log, index.to_be_bytes());
                batch.delete_cf(configuration, index.to_be_bytes());
            }
        } else {
            let (from, end) = (from.get().to_be_bytes(), end.get().to_be_bytes());
            batch.delete_range_cf(log, from, end);
            batch.delete_range_cf(configuration, from, end);
        }
        let meta = family(&self.db, META)?;
        while let Some((first, _)) = self.runs.last().copied().filter(|(first, _)| *first >= from) {
            batch.delete_cf(meta, run_key(first));
            self.runs.pop();
        }
        self.last = from.prev().unwrap_or_default();
        self.last_term = self.runs.last().map_or(self.base.term, |(_, term)| *term);
        Ok(())
    }

    /// Forgets the head of the log up to a snapshot's last entry; all of it, if that very entry is
    /// not in it (§5.1).
    fn compact(&mut self, batch: &mut WriteBatch, meta: &SnapshotMeta) -> Result<(), StorageError> {
        let base = meta.last;
        if base.index <= self.base.index {
            let what = format!("the log up to {base}, which begins behind {}", self.base);
            return Err(StorageError::corrupt(what, "it was compacted further before"));
        }
        let kept = self.term(base.index) == Some(base.term);
        let end = if kept { base.index } else { self.last.max(base.index) }.next();
        let (from, to) = (self.base.index.next().get().to_be_bytes(), end.get().to_be_bytes());
        batch.delete_range_cf(family(&self.db, LOG)?, from, to);
        batch.delete_range_cf(family(&self.db, CONFIGURATION)?, from, to);
        let records = family(&self.db, META)?;
        for (first, _) in &self.runs {
            if *first < end {
                batch.delete_cf(records, run_key(*first));
            }
        }
        let cut = self.runs.iter().rev().find(|(first, _)| *first <= end).map(|(_, term)| *term);
        self.runs.retain(|(first, _)| *first > end);
        if let Some(term) = cut.filter(|_| kept && end <= self.last) {
            batch.put_cf(records, run_key(end), term.get().to_le_bytes());
            self.runs.insert(0, (end, term));
        }
        batch.put_cf(records, COMPACTED_KEY, compacted::encode(meta));
        self.base = base;
        self.head.store(base.index.get(), Ordering::Release);
        if !kept {
            self.last = base.index;
        }
        self.last_term = self.runs.last().map_or(base.term, |(_, term)| *term);
        self.stamp = self.stamp.max(meta.stamp);
        Ok(())
    }

    fn term(&self, index: LogIndex) -> Option<Term> {
        if index > self.last {
            return None;
        }
        self.runs.iter().rev().find(|(first, _)| *first <= index).map(|(_, term)| *term)
    }

    /// Drops the files that hold compacted entries only; what is left goes with later compactions
    /// of the database. An error costs space and nothing else.
    fn give_space_back(&self) {
        let (from, to) = (0_u64.to_be_bytes(), self.base.index.get().to_be_bytes());
        if let Ok(log) = family(&self.db, LOG) {
            let _ = self.db.delete_file_in_range_cf(log, from, to);
        }
    }
}

/// A restore that did not come to its end is no log to begin with.
fn refuse_restored(found: &RestoredLog) -> Result<(), StorageError> {
    if found.log.base() == EntryId::ZERO {
        return Ok(());
    }
    let why = format!("it begins behind entry {}: a restore was not finished", found.log.base());
    Err(StorageError::corrupt("the log", why))
}

/// What every first member has in its log, byte for byte the same.
fn first_write(record: &BootstrapRecord) -> Write {
    let id = consensus::EntryId { term: Term::new(1), index: LogIndex::new(1) };
    let payload = Payload::Configuration(record.configuration.clone());
    Write {
        id: consensus::WriteId::ZERO,
        hard_state: Some(HardState { term: Term::new(1), voted_for: None }),
        truncate_from: None,
        append: vec![Entry { id, stamp: ClusterTime::ZERO, payload }],
        compact_to: None,
    }
}
