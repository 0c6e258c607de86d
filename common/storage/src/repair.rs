//! Puts entries into the place of damaged ones: other copies of the very same entries, which the
//! chain proves.

use consensus::{Entry, EntryId, LogIndex, Payload, Term};
use protocol::{EncodedEntry, chain_of, encode_entry};
use rocksdb::{DB, WriteBatch};

use crate::batch::{Shape, put_records};
use crate::condition::Damage;
use crate::database::family;
use crate::error::StorageError;
use crate::layout::{CONFIGURATION, END_KEY, End, LOG, META, Owner, run_key};
use crate::record::{Mark, Record};
use crate::seek::{Records, record_with};

/// Makes a batch that replaces the damaged entries.
///
/// # Errors
/// If these are other entries; if the database fails.
pub(crate) fn replace(
    db: &DB,
    owner: &Owner,
    shape: &mut Shape,
    damage: &Damage,
    entries: &[Entry],
) -> Result<WriteBatch, StorageError> {
    let next = behind(db, owner, damage.last.index)?;
    let mut encoded = check(owner, damage, entries, next.as_ref())?;
    let (first, end) = (damage.first, damage.last.index.next());
    let mut batch = WriteBatch::default();
    // Whole neighbours may stand in one record with them.
    let (mut from, mut to) = (first, end);
    if let Some((begins, record)) = whole(record_with(db, owner, first)) {
        from = begins;
        encoded.splice(0..0, record.encoded_before(first));
    }
    if let Some((_, record)) = whole(record_with(db, owner, damage.last.index)) {
        to = record.end();
        encoded.extend(record.encoded_from(end));
    }
    let (from, to) = (from.get().to_be_bytes(), to.get().to_be_bytes());
    batch.delete_range_cf(family(db, LOG)?, from, to);
    shape.end.writes += 1;
    let stamp = entries.iter().map(|entry| entry.stamp).fold(shape.stamp, Ord::max);
    shape.stamp = stamp;
    put_records(&mut batch, db, owner, Mark { writes: shape.end.writes, stamp }, &encoded)?;
    let meta = family(db, META)?;
    let mut term = term_before(db, owner, shape, first)?;
    for entry in entries {
        if matches!(entry.payload, Payload::Configuration(_)) {
            let key = entry.id.index.get().to_be_bytes();
            batch.put_cf(family(db, CONFIGURATION)?, key, []);
        }
        begin_run(&mut batch, meta, &mut term, entry.id);
    }
    if let Some((id, _)) = next {
        begin_run(&mut batch, meta, &mut term, id);
    }
    batch.put_cf(meta, END_KEY, End { at: shape.end, stamp }.encode());
    Ok(batch)
}

fn begin_run(
    batch: &mut WriteBatch,
    meta: &rocksdb::ColumnFamily,
    term: &mut Option<Term>,
    id: EntryId,
) {
    if *term != Some(id.term) {
        batch.put_cf(meta, run_key(id.index), id.term.get().to_le_bytes());
        *term = Some(id.term);
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

fn term_before(
    db: &DB,
    owner: &Owner,
    shape: &Shape,
    first: LogIndex,
) -> Result<Option<Term>, StorageError> {
    let before = first.prev().unwrap_or_default();
    if before == shape.base.index {
        // The first entry of a log always begins a run.
        return Ok(None);
    }
    let (_, record) = record_with(db, owner, before)?
        .ok_or_else(|| StorageError::corrupt(format!("log entry {before}"), "it is missing"))?;
    Ok(record.header(before).map(|header| header.id.term))
}

/// A record whose head is damaged is replaced with all that was in it.
fn whole(found: Result<Option<(LogIndex, Record)>, StorageError>) -> Option<(LogIndex, Record)> {
    found.ok().flatten()
}
