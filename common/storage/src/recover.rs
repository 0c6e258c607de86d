//! What a node finds when it opens its log: identities from the term runs, not from the entries, so
//! that a long log opens as fast as a short one.

use bytes::Bytes;
use consensus::{
    Chain, ClusterTime, Configuration, HardState, LogIndex, LogView, Membership, Payload,
    SnapshotMeta, Term, TermRun,
};
use rocksdb::{DB, Direction, IteratorMode};

use crate::compacted;
use crate::condition::Condition;
use crate::database::{database, family};
use crate::error::StorageError;
use crate::layout::{
    COMPACTED_KEY, CONFIGURATION, FORMAT, FORMAT_KEY, HARD_STATE_KEYS, LAST_KEY, LOG, META, Owner,
    RUN_PREFIX, decode_hard_state, index_of,
};
use crate::persistent_log::RestoredLog;

pub(crate) fn recover(db: &DB, owner: Owner) -> Result<RestoredLog, StorageError> {
    let meta = family(db, META)?;
    let get = |key: &[u8]| {
        db.get_cf(meta, key).map_err(|error| database("reading the log's records", &error))
    };
    if let Some(format) = get(FORMAT_KEY)? {
        let found = format.first_chunk::<4>().map_or(0, |bytes| u32::from_le_bytes(*bytes));
        if found != FORMAT {
            let what = "the log".into();
            return Err(StorageError::NewerFormat { what, found, known: FORMAT });
        }
    } else if has_entries(db)? {
        return Err(StorageError::corrupt("the log", "it has entries and no format"));
    }
    let (last, stamp) = match get(LAST_KEY)? {
        None => (LogIndex::ZERO, ClusterTime::ZERO),
        Some(bytes) => decode_last(&bytes)?,
    };
    let base = match get(COMPACTED_KEY)? {
        None => compacted::nothing(),
        Some(bytes) => compacted::decode(&bytes.into())?,
    };
    let log = LogView::restore(base.last, runs(db)?, last)
        .ok_or_else(|| StorageError::corrupt("the log's term runs", "they contradict its end"))?;
    check_end(db, owner, &log)?;
    let hard_state = hard_state(&get, last)?;
    if log.last().term > hard_state.term {
        let why = format!("term {} is below the log's {}", hard_state.term, log.last().term);
        return Err(StorageError::corrupt("the hard state", why));
    }
    let stamp = stamp.max(base.stamp);
    let membership = membership(db, owner, base)?;
    let (chain, condition) = (Chain::ZERO, Condition::default());
    Ok(RestoredLog { hard_state, log, membership, stamp, chain, condition })
}

/// Term and vote are read from the first copy that is whole. A node whose both copies are damaged
/// must not go on as if it had never voted.
fn hard_state(
    get: &impl Fn(&[u8]) -> Result<Option<Vec<u8>>, StorageError>,
    last: LogIndex,
) -> Result<HardState, StorageError> {
    let copies = [get(HARD_STATE_KEYS[0])?, get(HARD_STATE_KEYS[1])?];
    if copies.iter().all(Option::is_none) && last == LogIndex::ZERO {
        return Ok(HardState::default());
    }
    let whole = copies.iter().flatten().find_map(|copy| decode_hard_state(copy));
    whole.ok_or_else(|| StorageError::corrupt("the hard state", "both copies are damaged"))
}

fn decode_last(bytes: &[u8]) -> Result<(LogIndex, ClusterTime), StorageError> {
    let bytes: &[u8; 16] = bytes.try_into().map_err(|_| {
        StorageError::corrupt("the record of the log's end", format!("{} bytes", bytes.len()))
    })?;
    let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
    Ok((LogIndex::new(number(0)), ClusterTime::new(number(8))))
}

fn runs(db: &DB) -> Result<Vec<TermRun>, StorageError> {
    let mut runs = Vec::new();
    let mode = IteratorMode::From(RUN_PREFIX, Direction::Forward);
    for item in db.iterator_cf(family(db, META)?, mode) {
        let (key, value) = item.map_err(|error| database("reading the term runs", &error))?;
        if !key.starts_with(RUN_PREFIX) {
            break;
        }
        let term = value.first_chunk::<8>().map(|bytes| u64::from_le_bytes(*bytes));
        let term = term.ok_or_else(|| StorageError::corrupt("a term run", "it has no term"))?;
        runs.push(TermRun { term: Term::new(term), first: index_of(&key)? });
    }
    Ok(runs)
}

/// The last entry must be there, whole, and the one that the records name; nothing may follow it.
fn check_end(db: &DB, owner: Owner, view: &LogView) -> Result<(), StorageError> {
    let last = view.last();
    let log = family(db, LOG)?;
    let found = match db.iterator_cf(log, IteratorMode::End).next() {
        Some(item) => {
            let (key, record) = item.map_err(|error| database("reading the log's end", &error))?;
            let index = index_of(&key)?;
            Some((index, Bytes::from(record)))
        }
        None => None,
    };
    match found {
        None if last == view.base() => Ok(()),
        Some((index, record)) if index == last.index => {
            let entry = owner.entry(index, &record)?;
            if entry.id != last {
                let why = format!("the records name {last}, the log holds {}", entry.id);
                return Err(StorageError::corrupt("the log's end", why));
            }
            Ok(())
        }
        found => {
            let end = found.map_or(LogIndex::ZERO, |(index, _)| index);
            let why = format!("the records name {last}, the log ends at {end}");
            Err(StorageError::corrupt("the log's end", why))
        }
    }
}

fn membership(db: &DB, owner: Owner, base: SnapshotMeta) -> Result<Membership, StorageError> {
    let log = family(db, LOG)?;
    let mut in_log: Vec<(LogIndex, Configuration)> = Vec::new();
    for item in db.iterator_cf(family(db, CONFIGURATION)?, IteratorMode::Start) {
        let (key, _) = item.map_err(|error| database("reading the configurations", &error))?;
        let index = index_of(&key)?;
        let record = db
            .get_cf(log, &key)
            .map_err(|error| database("reading a configuration", &error))?
            .ok_or_else(|| StorageError::corrupt(format!("log entry {index}"), "it is missing"))?;
        match owner.entry(index, &record.into())?.payload {
            Payload::Configuration(configuration) => in_log.push((index, configuration)),
            Payload::Noop | Payload::Command(_) => {
                let why = "it is recorded as a configuration and is none";
                return Err(StorageError::corrupt(format!("log entry {index}"), why));
            }
        }
    }
    Membership::restore((base.configuration_index, base.configuration), in_log)
        .ok_or_else(|| StorageError::corrupt("the configurations", "they are out of order"))
}

fn has_entries(db: &DB) -> Result<bool, StorageError> {
    Ok(db.iterator_cf(family(db, LOG)?, IteratorMode::Start).next().is_some())
}
