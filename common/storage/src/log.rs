//! The log on RocksDB: term, vote and entries, one synced batch a write.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use consensus::{ClusterTime, Entry, EntryId, HardState, LogIndex, Payload, Term, Write};
use protocol::BootstrapRecord;
use rocksdb::{ColumnFamilyDescriptor, DB, DEFAULT_COLUMN_FAMILY_NAME, WriteBatch};

use crate::batch::{Batch, Shape};
use crate::condition::{Damage, Loss};
use crate::database::{database, family};
use crate::directory::DataDirectory;
use crate::error::StorageError;
use crate::files;
use crate::layout::{CONFIGURATION, LOG, META, Owner};
use crate::lost;
use crate::names;
use crate::opening_room::check_room;
use crate::options;
use crate::persistent_log::RestoredLog;
use crate::reader::{Head, LogReader, note_damage};
use crate::recover::recover;
use crate::repair;
use crate::tables;
use crate::tail::{Tail, TailFound};
use crate::wal;

/// A database that has stopped all writes, because it cannot write out what it holds in memory, is
/// given so long to go on.
const STOPPED_MAX: Duration = Duration::from_secs(10);
const STOPPED_POLL: Duration = Duration::from_millis(2);

/// The durable log of one node.
pub struct LogStore {
    db: Arc<DB>,
    owner: Owner,
    shape: Shape,
    /// What the log begins behind, for readers, who must know it before they can miss an entry.
    head: Head,
    tail: Tail,
    damages: Vec<Damage>,
    copies: Vec<repair::Copy>,
    /// Term and vote as they were found.
    hard_state: HardState,
    /// The data directory.
    directory: PathBuf,
    /// Where it is noted that something is damaged.
    marker: PathBuf,
    poisoned: Option<String>,
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
        let found = TailFound::read(directory.path(), &owner)?;
        let marker = directory.path().join(names::DAMAGED);
        repair::take_over(directory.path())?;
        if directory.generation().is_some() {
            lost::check(&path)?;
        }
        check_room(&path)?;
        let mut options = options::log(&path);
        if let Err(damaged) = wal::check(&path) {
            if !wal::is_skippable(&path, &damaged) {
                return Err(lost::is_lost(damaged));
            }
            // Opening writes out what can be read, and drops the rest: that it was damaged must be
            // known later, too, for the entries are then missing and nothing else shows.
            note_damage(&marker, &damaged.to_string())?;
            options::skip_damage(&mut options);
        }
        // The default one is never written; left out, it would get RocksDB's own memtable of
        // 64 MiB, and the largest one decides how much of a write-ahead log is allocated at once.
        let families = [DEFAULT_COLUMN_FAMILY_NAME, LOG, CONFIGURATION, META]
            .map(|name| ColumnFamilyDescriptor::new(name, options.clone()));
        let db = DB::open_cf_descriptors(&options, &path, families)
            .map_err(|error| lost::opening(&error))?;
        let (mut restored, shape) =
            recover(&db, owner, found, marker.exists()).map_err(lost::reading)?;
        if directory.generation().is_some() && found.newest.is_none() {
            restored.condition.losses.push(Loss::Tail);
        }
        let damages = restored.condition.damages.clone();
        if restored.condition.is_whole() && marker.exists() {
            let known = (owner, shape.clone(), restored.hard_state);
            if copy_to_new_files((directory.path(), &db), known)? {
                drop(db);
                files::remove(&marker)?;
                return Self::open_as(directory, generation);
            }
        }
        // Reading all of a damaged one would end in damage.
        if restored.condition.is_whole() {
            tables::merge_small(&db, &path)?;
        }
        let noted = (restored.hard_state, shape.end, directory.boot());
        let mut tail = Tail::open(directory.path(), owner, found, noted)?;
        // The owner has given up his name by the next start, and then there is one again. A crash
        // may have ended the first write of a log, or the start that it belongs to.
        let is_begun = directory.generation().is_none() && shape.end.writes > 0;
        if is_begun || restored.condition.losses.contains(&Loss::Tail) {
            tail.note(shape.end, None, true)?;
        }
        let store = Self {
            db: Arc::new(db),
            owner,
            head: Arc::new(Mutex::new((shape.base.index, shape.base_chain))),
            shape,
            tail,
            damages,
            copies: Vec::new(),
            hard_state: restored.hard_state,
            directory: directory.path().to_owned(),
            marker,
            poisoned: None,
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
        let done = self.do_write(writes);
        if let Err(error) = &done {
            self.poisoned = Some(error.to_string());
            // Found by the database when it merged files: the next start is to look for it.
            if matches!(error, StorageError::Corrupt { .. })
                && let Err(error) = note_damage(&self.marker, &error.to_string())
            {
                tracing::warn!(name: "damage-not-noted", "{error}");
            }
        }
        done
    }

    /// Takes copies of damaged entries. With the last of them, a whole log is made, which takes the
    /// place of this one when it is opened again.
    ///
    /// # Errors
    /// [`StorageError::Corrupt`] if they are not the entries of one damage, all of them; another
    /// one if they cannot be written.
    pub fn repair(&mut self, entries: &[Entry]) -> Result<(), StorageError> {
        let first = entries.first().map(|entry| entry.id.index);
        let place = self.damages.iter().position(|damage| Some(damage.first) == first);
        let Some(place) = place else {
            return Err(StorageError::corrupt("copies of entries", "nothing there is damaged"));
        };
        let damage = &self.damages[place];
        self.copies.push(repair::accept(&self.db, &self.owner, damage, entries)?);
        self.damages.remove(place);
        if self.damages.is_empty() {
            // Nothing is written to this one any more.
            self.poisoned = Some("the log was repaired, and is to be opened again".into());
            let place = (&*self.directory, &*self.db);
            let hard_state = self.hard_state;
            repair::rebuild(place, &self.owner, &mut self.shape, hard_state, &mut self.copies)
                .map_err(repair::elsewhere)?;
        }
        Ok(())
    }

    /// Returns a reader, for any thread.
    pub fn reader(&self) -> LogReader {
        LogReader::new(Arc::clone(&self.db), self.owner, Arc::clone(&self.head), &self.marker)
    }

    fn do_write(&mut self, writes: &[Write]) -> Result<usize, StorageError> {
        let filled = Batch::new(&self.db, &self.owner, &mut self.shape).fill(writes)?;
        let head = (self.shape.base.index, self.shape.base_chain);
        *self.head.lock().unwrap_or_else(PoisonError::into_inner) = head;
        let bytes = filled.batch.size_in_bytes();
        self.commit(&filled.batch, "writing the log")?;
        let must_not_wait = filled.is_cut || self.shape.end.writes == 1;
        self.tail.note(self.shape.end, filled.hard_state, must_not_wait)?;
        if let Some(kept_from) = filled.kept_from {
            self.give_space_back(kept_from);
        }
        Ok(bytes)
    }

    /// Writes a batch and syncs it. A database that cannot write out its memory, on a full disk for
    /// example, would hold the writer until it can, for ever if need be, and say nothing: so it is
    /// told to refuse instead, and asked again for a while.
    fn commit(&self, batch: &WriteBatch, doing: &'static str) -> Result<(), StorageError> {
        let options = options::synced();
        let since = Instant::now();
        loop {
            let again = WriteBatch::from_data(batch.data());
            match self.db.write_opt(again, &options) {
                Err(error) if error.kind() == rocksdb::ErrorKind::Incomplete => {
                    if since.elapsed() > STOPPED_MAX {
                        return Err(self.stopped(doing));
                    }
                    std::thread::sleep(STOPPED_POLL);
                }
                done => return done.map_err(|error| database(doing, &error)),
            }
        }
    }

    /// Says why the database takes no writes.
    fn stopped(&self, doing: &'static str) -> StorageError {
        if let Err(StorageError::Full { why, .. }) = check_room(self.db.path()) {
            return StorageError::Full { doing, why };
        }
        let seconds = STOPPED_MAX.as_secs();
        let why = format!(
            "it has taken no writes for {seconds} s, because it cannot write out what it holds"
        );
        StorageError::Database { doing, why }
    }

    /// Drops the files that hold compacted records only; what is left goes with later compactions
    /// of the database. An error costs space and nothing else.
    ///
    /// A record goes with all that is in it, and the last one before the head may go on behind it:
    /// so what counts is the first record that is kept, not where the log begins.
    fn give_space_back(&self, kept_from: LogIndex) {
        let last = kept_from.prev().unwrap_or_default();
        let (from, to) = (0_u64.to_be_bytes(), last.get().to_be_bytes());
        if let Ok(log) = family(&self.db, LOG) {
            let _ = self.db.delete_file_in_range_cf(log, from, to);
        }
    }
}

/// Copies a log into new files: one of its own is damaged where no entry shows it, in what is
/// compacted or written over, and the database would find that again whenever it merges the file.
/// `false` where there is no room: all that is needed can be read, and the next start tries again.
fn copy_to_new_files(
    place: (&Path, &DB),
    (owner, mut shape, hard_state): (Owner, Shape, HardState),
) -> Result<bool, StorageError> {
    match repair::rebuild(place, &owner, &mut shape, hard_state, &mut []) {
        Ok(()) => {
            tracing::warn!(
                name: "log-made-anew",
                "a file of the log was damaged, and no entry with it: the log is in new files now"
            );
            Ok(true)
        }
        Err(error @ StorageError::Full { .. }) => {
            repair::give_up(place.0)?;
            tracing::warn!(name: "log-not-made-anew", "a file of the log is damaged: {error}");
            Ok(false)
        }
        Err(error) => Err(error),
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
    let id = EntryId { term: Term::new(1), index: LogIndex::new(1) };
    let payload = Payload::Configuration(record.configuration.clone());
    Write {
        id: consensus::WriteId::ZERO,
        hard_state: Some(HardState { term: Term::new(1), vote: None }),
        truncate_from: None,
        append: vec![Entry::new(id, ClusterTime::ZERO, payload)],
        compact_to: None,
    }
}
