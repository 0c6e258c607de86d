//! Repairs a damaged log: other copies of the very same entries, which the chain proves, and all
//! that can still be read, make a new database that takes the place of the damaged one.
//!
//! Nothing is written over in place: a database reads a damaged block again as long as the file is
//! there, whatever was written later. The old database goes when the new one is complete and
//! durable, and a file says so; a crash in between begins anew.

use std::path::Path;

use consensus::{Entry, EntryId, HardState, LogIndex, Term};
use protocol::{EncodedEntry, EntryKind, chain_of, encode_entry, peek_entry};
use rocksdb::{ColumnFamilyDescriptor, DB, DEFAULT_COLUMN_FAMILY_NAME, WriteBatch};

use crate::batch::{Shape, put_records};
use crate::condition::Damage;
use crate::database::{database, family};
use crate::error::StorageError;
use crate::files;
use crate::layout::{
    COMPACTED_KEY, CONFIGURATION, END_KEY, End, FORMAT, FORMAT_KEY, HARD_STATE_KEY, LOG, META,
    OWNER_KEY, Owner, encode_hard_state, run_key,
};
use crate::names::{LOG as LOG_DIRECTORY, REPAIRED, REPAIRED_DONE};
use crate::options;
use crate::record::{Mark, Record};
use crate::seek::{Records, record_with};

/// So many bytes of entries are written at once.
const BATCH_BYTES: usize = 1024 * 1024;

/// Copies of the entries of one damage.
#[derive(Debug)]
pub(crate) struct Copy {
    first: LogIndex,
    entries: Vec<EncodedEntry>,
}

/// Checks that entries are those of a damage.
///
/// # Errors
/// If they are others, or not all of them.
pub(crate) fn accept(
    db: &DB,
    owner: &Owner,
    damage: &Damage,
    entries: &[Entry],
) -> Result<Copy, StorageError> {
    let next = behind(db, owner, damage.last.index)?;
    let entries = check(owner, damage, entries, next.as_ref())?;
    Ok(Copy { first: damage.first, entries })
}

/// Makes the new database of what can be read and of the copies.
///
/// # Errors
/// If it cannot be written, or something else turns out to be damaged.
pub(crate) fn rebuild(
    (directory, db): (&Path, &DB),
    owner: &Owner,
    shape: &mut Shape,
    hard_state: HardState,
    copies: &mut [Copy],
) -> Result<(), StorageError> {
    copies.sort_by_key(|copy| copy.first);
    let path = directory.join(REPAIRED);
    // After a loss of power, what is begun here must not meet the note that another is complete.
    files::remove(&directory.join(REPAIRED_DONE))?;
    files::remove_directory(&path)?;
    files::sync_parent(&path)?;
    let new = create(&path)?;
    shape.end.writes += 1;
    let mut builder = Builder { db: &new, owner, shape, batch: Vec::new(), bytes: 0, term: None };
    let mut copies = copies.iter().peekable();
    let mut next = builder.shape.base.index.next();
    while next <= builder.shape.end.last.index {
        if let Some(copy) = copies.next_if(|copy| copy.first == next) {
            for entry in &copy.entries {
                builder.push(entry.clone())?;
            }
            next = copy.first.advanced(copy.entries.len() as u64);
            continue;
        }
        let until = copies.peek().map_or(LogIndex::new(u64::MAX), |copy| copy.first);
        let (_, record) = record_with(db, owner, next)?
            .ok_or_else(|| StorageError::corrupt(format!("log entry {next}"), "it is missing"))?;
        for entry in record.encoded_from(next) {
            if next < until && next <= builder.shape.end.last.index {
                builder.push(entry)?;
                next = next.next();
            }
        }
    }
    builder.finish(db, hard_state)?;
    new.flush().map_err(|error| database("repairing the log", &error))?;
    drop(new);
    files::replace(&directory.join(REPAIRED_DONE), b"complete\n")
}

/// Says of damage that is found while the new database is made that it is none of the copies: the
/// next start looks for it.
pub(crate) fn elsewhere(error: StorageError) -> StorageError {
    let StorageError::Corrupt { what, why } = error else { return error };
    StorageError::Database { doing: "repairing the log", why: format!("{what}: {why}") }
}

/// Puts a repaired log that is complete into the place of the damaged one.
pub(crate) fn take_over(directory: &Path) -> Result<(), StorageError> {
    let (done, repaired) = (directory.join(REPAIRED_DONE), directory.join(REPAIRED));
    if !done.exists() {
        return Ok(());
    }
    let log = directory.join(LOG_DIRECTORY);
    if repaired.exists() {
        files::remove_directory(&log)?;
        std::fs::rename(&repaired, &log)
            .map_err(|error| StorageError::io("rename to", &log, error))?;
        files::sync_parent(&log)?;
    }
    files::remove(&done)
}

/// Removes a new database that could not be finished.
pub(crate) fn give_up(directory: &Path) -> Result<(), StorageError> {
    files::remove_directory(&directory.join(REPAIRED))
}

fn create(path: &Path) -> Result<DB, StorageError> {
    let options = options::log(path);
    let families = [DEFAULT_COLUMN_FAMILY_NAME, LOG, CONFIGURATION, META]
        .map(|name| ColumnFamilyDescriptor::new(name, options.clone()));
    DB::open_cf_descriptors(&options, path, families)
        .map_err(|error| database("repairing the log", &error))
}

/// Writes entries in order.
struct Builder<'a> {
    db: &'a DB,
    owner: &'a Owner,
    shape: &'a mut Shape,
    batch: Vec<EncodedEntry>,
    bytes: usize,
    /// The term of the entry before.
    term: Option<Term>,
}

impl Builder<'_> {
    fn push(&mut self, entry: EncodedEntry) -> Result<(), StorageError> {
        self.bytes += entry.len();
        self.batch.push(entry);
        if self.bytes > BATCH_BYTES { self.write(WriteBatch::default()) } else { Ok(()) }
    }

    fn write(&mut self, mut batch: WriteBatch) -> Result<(), StorageError> {
        let meta = family(self.db, META)?;
        for entry in &self.batch {
            let header = peek_entry(&entry.header)
                .map_err(|why| StorageError::corrupt("a log entry", why.to_string()))?;
            let id: EntryId = header.id;
            if header.kind == EntryKind::Configuration {
                let key = id.index.get().to_be_bytes();
                batch.put_cf(family(self.db, CONFIGURATION)?, key, []);
            }
            if self.term != Some(id.term) {
                batch.put_cf(meta, run_key(id.index), id.term.get().to_le_bytes());
                self.term = Some(id.term);
            }
            self.shape.stamp = self.shape.stamp.max(header.stamp);
        }
        let mark = Mark { writes: self.shape.end.writes, stamp: self.shape.stamp };
        put_records(&mut batch, self.db, self.owner, mark, &self.batch)?;
        self.batch.clear();
        self.bytes = 0;
        let done = self.db.write_opt(batch, &options::synced());
        done.map_err(|error| database("repairing the log", &error))
    }

    fn finish(mut self, old: &DB, hard_state: HardState) -> Result<(), StorageError> {
        let mut batch = WriteBatch::default();
        let meta = family(self.db, META)?;
        batch.put_cf(meta, FORMAT_KEY, FORMAT.to_le_bytes());
        batch.put_cf(meta, OWNER_KEY, self.owner.incarnation.get().to_le_bytes());
        batch.put_cf(meta, HARD_STATE_KEY, encode_hard_state(hard_state));
        let base = old.get_cf(family(old, META)?, COMPACTED_KEY);
        if let Some(base) = base.map_err(|error| database("reading the log's records", &error))? {
            batch.put_cf(meta, COMPACTED_KEY, base);
        }
        self.write(batch)?;
        let end = End { at: self.shape.end, stamp: self.shape.stamp };
        let mut batch = WriteBatch::default();
        batch.put_cf(meta, END_KEY, end.encode());
        self.write(batch)
    }
}

/// Says whether these are the damaged entries: they continue the chain, and what follows continues
/// it behind them.
fn check(
    owner: &Owner,
    damage: &Damage,
    entries: &[Entry],
    next: Option<&(EntryId, Vec<u8>)>,
) -> Result<Vec<EncodedEntry>, StorageError> {
    let refused = |why: String| StorageError::corrupt(format!("a copy for \"{damage}\""), why);
    let mut encoded = Vec::with_capacity(entries.len());
    let (mut chain, mut index) = (damage.before, damage.first);
    for entry in entries {
        let made = encode_entry(&owner.generation, entry);
        chain = made.chain(chain);
        if entry.id.index != index || entry.chain != chain {
            return Err(refused(format!("entry {} is not the one that was written", entry.id)));
        }
        index = index.next();
        encoded.push(made);
    }
    if index != damage.last.index.next() {
        return Err(refused(format!("it has {} entries", entries.len())));
    }
    let goes_on = match (damage.after, next) {
        (Some(after), _) => after == chain,
        (None, Some((_, header))) => {
            protocol::peek_entry(header).is_ok_and(|next| next.chain == chain_of(chain, header))
        }
        (None, None) => true,
    };
    if !goes_on {
        return Err(refused("what stands behind it does not continue it".into()));
    }
    Ok(encoded)
}

/// Returns the first entry behind an index, if it can be read: its identity and header.
fn behind(
    db: &DB,
    owner: &Owner,
    last: LogIndex,
) -> Result<Option<(EntryId, Vec<u8>)>, StorageError> {
    let mut records = Records::new(db, *owner, last.next(), None)?;
    loop {
        match records.next_record() {
            Ok(Some((_, record))) if record.end() <= last.next() => {}
            Ok(Some((_, record))) => {
                let mut headers = record.raw_headers();
                let found = headers.find(|(header, _)| header.id.index == last.next());
                return Ok(found.map(|(header, bytes)| (header.id, bytes.to_vec())));
            }
            // Damage before it; it is looked for under its own index.
            Ok(None) | Err(StorageError::Corrupt { .. }) => {
                let found = whole(record_with(db, owner, last.next()));
                return Ok(found.and_then(|(_, record)| {
                    let mut headers = record.raw_headers();
                    let found = headers.find(|(header, _)| header.id.index == last.next());
                    found.map(|(header, bytes)| (header.id, bytes.to_vec()))
                }));
            }
            Err(error) => return Err(error),
        }
    }
}

/// A record that cannot be read is as good as none.
fn whole(found: Result<Option<(LogIndex, Record)>, StorageError>) -> Option<(LogIndex, Record)> {
    found.ok().flatten()
}
