//! What a node finds when it opens its log, held against what the tail file says of its end.
//!
//! Identities come from the term runs, not from the entries, so that a long log opens as fast as a
//! short one. All entries are read if something is known to be wrong, or if that takes no time.

use bytes::Bytes;
use consensus::{
    Configuration, EntryId, HardState, LogIndex, LogView, Membership, Payload, SnapshotMeta, Term,
    TermRun,
};
use rocksdb::{DB, Direction, IteratorMode, ReadOptions};

use crate::batch::Shape;
use crate::compacted;
use crate::condition::{Condition, LogEnd, Loss};
use crate::database::{database, family};
use crate::error::StorageError;
use crate::layout::{
    COMPACTED_KEY, CONFIGURATION, END_KEY, End, FORMAT, FORMAT_KEY, HARD_STATE_KEY, LOG, META,
    OWNER_KEY, Owner, RUN_PREFIX, decode_hard_state, index_of,
};
use crate::lost;
use crate::persistent_log::RestoredLog;
use crate::reader;
use crate::record::Record;
use crate::scan::Scan;
use crate::seek::record_with;
use crate::tail::TailFound;

/// A log of up to so many bytes is read as a whole at every start: that takes some 100 ms.
const SCAN_BYTES_MAX: u64 = 128 * 1024 * 1024;

/// Reads what a log says of itself. `is_suspect` if something is known to be damaged.
pub(crate) fn recover(
    db: &DB,
    owner: Owner,
    tail: TailFound,
    is_suspect: bool,
) -> Result<(RestoredLog, Shape), StorageError> {
    let meta = family(db, META)?;
    let get = |key: &[u8]| {
        db.get_cf(meta, key).map_err(|error| database("reading the log's records", &error))
    };
    check_format(db, owner, &get)?;
    let base = match get(COMPACTED_KEY)? {
        None => compacted::nothing(),
        Some(bytes) => compacted::decode(&bytes.into())?,
    };
    let (mut end, is_end_damaged) = end(db, owner, &base, &get)?;
    let is_suspect = is_suspect || is_end_damaged;
    let mut condition = Condition::default();
    let found = end.at;
    if let Some(noted) = tail.newest {
        judge_end(&mut end.at, noted.end, is_suspect, &mut condition)?;
    }
    let runs = runs(db)?;
    let mut shape = Shape {
        base: base.last,
        base_chain: base.chain,
        end: end.at,
        stamp: end.stamp.max(base.stamp),
        runs: runs.iter().map(|run| (run.first, run.term)).collect(),
    };
    let hard_state = hard_state(get(HARD_STATE_KEY)?.as_deref(), tail, &shape, &mut condition);
    if is_suspect || reader::bytes(db) <= SCAN_BYTES_MAX {
        let scan = Scan::behind(base.last.index, base.chain);
        let scanned = scan.run(db, &owner, &shape);
        condition.damages = scanned.map_err(|error| lost::contradiction(error, is_suspect))?;
    }
    let (stamp, chain) = (shape.stamp, shape.end.chain);
    if !condition.damages.is_empty() {
        // Until they are repaired, nothing follows from what is left but where others may be found.
        let log = LogView::default();
        let membership = membership_of_the_rest(db, owner, base);
        return Ok((RestoredLog { hard_state, log, membership, stamp, chain, condition }, shape));
    }
    let view = |last: EntryId| {
        LogView::restore(base.last, runs.clone(), last.index).filter(|log| log.last() == last)
    };
    let mut log = view(shape.end.last);
    if log.is_none() && shape.end != found {
        // All is whole and ends elsewhere: what is damaged had taken the place of a part of it.
        condition.losses.push(Loss::End { durable: shape.end, found });
        shape.end = found;
        log = view(found.last);
    }
    let contradict = || {
        let error = StorageError::corrupt("the log's term runs", "they contradict its end");
        lost::contradiction(error, is_suspect)
    };
    let log = log.ok_or_else(contradict)?;
    let (last, chain) = (shape.end.last, shape.end.chain);
    if last.term > hard_state.term {
        let why = format!("term {} is below the log's {}", hard_state.term, last.term);
        return Err(StorageError::corrupt("the hard state", why));
    }
    let membership = membership(db, owner, base)?;
    Ok((RestoredLog { hard_state, log, membership, stamp, chain, condition }, shape))
}

fn check_format(
    db: &DB,
    owner: Owner,
    get: &impl Fn(&[u8]) -> Result<Option<Vec<u8>>, StorageError>,
) -> Result<(), StorageError> {
    let number = |bytes: &[u8]| bytes.first_chunk::<4>().map_or(0, |b| u32::from_le_bytes(*b));
    match get(FORMAT_KEY)? {
        Some(format) if number(&format) != FORMAT => {
            let (what, found) = ("the log".into(), number(&format));
            return Err(StorageError::NewerFormat { what, found, known: FORMAT });
        }
        Some(_) => {}
        None if has_entries(db)? => {
            return Err(StorageError::corrupt("the log", "it has entries and no format"));
        }
        None => return Ok(()),
    }
    let made_by = get(OWNER_KEY)?.and_then(|bytes| bytes.first_chunk::<8>().copied());
    if made_by.map(u64::from_le_bytes) != Some(owner.incarnation.get()) {
        let why = "it was written by another node or directory";
        return Err(StorageError::corrupt("the log", why));
    }
    Ok(())
}

/// Returns where the database says that the log ends, and whether what is there is damaged.
fn end(
    db: &DB,
    owner: Owner,
    base: &SnapshotMeta,
    get: &impl Fn(&[u8]) -> Result<Option<Vec<u8>>, StorageError>,
) -> Result<(End, bool), StorageError> {
    let noted = match get(END_KEY)? {
        None => None,
        Some(bytes) => Some(End::decode(&bytes).ok_or_else(|| {
            StorageError::corrupt("the record of the log's end", "wrong checksum")
        })?),
    };
    let mut read = ReadOptions::default();
    let lowest = base.last.index.get().saturating_sub(crate::record::ENTRIES_MAX as u64);
    read.set_iterate_lower_bound(lowest.to_be_bytes());
    let mut records = db.raw_iterator_cf_opt(family(db, LOG)?, read);
    records.seek_to_last();
    let mut is_damaged = false;
    let newest = loop {
        let Some((key, value)) = records.item() else {
            is_damaged |= records.status().is_err();
            break None;
        };
        match Record::decode(&owner, index_of(key)?, Bytes::copy_from_slice(value)) {
            Ok(record) => break Some(record),
            Err(error) => tracing::warn!(name: "record-damaged", "{error}"),
        }
        is_damaged = true;
        records.prev();
    };
    let newest = newest.map(|record| {
        let (last, chain) = record.last();
        let at = LogEnd { last, chain, writes: record.mark.writes };
        End { at, stamp: record.mark.stamp }
    });
    Ok(match (noted, newest) {
        (None, None) => (End::default(), is_damaged),
        (Some(noted), Some(newest)) if newest.at.writes > noted.at.writes => (newest, is_damaged),
        (None, Some(newest)) => (newest, is_damaged),
        (Some(noted), newest) => {
            let newest = newest.map(|newest| (newest.at.last, newest.at.chain));
            let found = newest.unwrap_or((base.last, base.chain));
            let is_end = found == (noted.at.last, noted.at.chain)
                || noted.at.last == base.last
                    && newest.is_none_or(|(n, _)| n.index <= base.last.index);
            (noted, is_damaged || !is_end)
        }
    })
}

/// Holds the log's end against the one that was noted beside it.
fn judge_end(
    found: &mut LogEnd,
    durable: LogEnd,
    is_suspect: bool,
    condition: &mut Condition,
) -> Result<(), StorageError> {
    if durable.writes < found.writes || durable == *found {
        return Ok(());
    }
    if durable.writes == found.writes {
        let why = format!(
            "it is {} with chain value {:016x}, the tail file says {} with {:016x}",
            found.last,
            found.chain.get(),
            durable.last,
            durable.chain.get()
        );
        return Err(StorageError::corrupt("the log's end", why));
    }
    if is_suspect {
        // It is there, and damaged: which entry it must be is known.
        *found = durable;
    } else {
        condition.losses.push(Loss::End { durable, found: *found });
    }
    Ok(())
}

/// Term and vote are read from the log and from the tail file: what is damaged or missing in one of
/// them is in the other. In a term there is one vote, so whoever has one has the newest. A node
/// whose both copies are damaged must not go on as if it had never voted.
fn hard_state(
    stored: Option<&[u8]>,
    tail: TailFound,
    shape: &Shape,
    condition: &mut Condition,
) -> HardState {
    let copy = tail.newest.map(|newest| newest.hard_state);
    match (stored.and_then(decode_hard_state), copy) {
        (Some(stored), Some(copy)) => {
            // In one term a vote is given once and stays (§3.4). Where one copy lacks it, a
            // damaged record of the write-ahead log was passed over, or nobody had heard of it.
            let known = |state: HardState| (state.term, state.vote.is_some());
            let votes = stored.vote.zip(copy.vote);
            if copy.term == stored.term && votes.is_some_and(|(one, other)| one != other) {
                condition.losses.push(Loss::HardState);
            }
            if known(copy) > known(stored) { copy } else { stored }
        }
        (Some(only), None) | (None, Some(only)) => only,
        (None, None) if stored.is_none() && shape.end.writes == 0 => HardState::default(),
        (None, None) => {
            condition.losses.push(Loss::HardState);
            HardState { term: shape.end.last.term, vote: None }
        }
    }
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

fn membership(db: &DB, owner: Owner, base: SnapshotMeta) -> Result<Membership, StorageError> {
    let mut in_log: Vec<(LogIndex, Configuration)> = Vec::new();
    for item in db.iterator_cf(family(db, CONFIGURATION)?, IteratorMode::Start) {
        let (key, _) = item.map_err(|error| database("reading the configurations", &error))?;
        let index = index_of(&key)?;
        let corrupt = |why: &str| StorageError::corrupt(format!("log entry {index}"), why);
        let (_, record) =
            record_with(db, &owner, index)?.ok_or_else(|| corrupt("it is missing"))?;
        match record.entry(index)?.payload {
            Payload::Configuration(configuration) => in_log.push((index, configuration)),
            Payload::Noop | Payload::Command(_) => {
                return Err(corrupt("it is recorded as a configuration and is none"));
            }
        }
    }
    Membership::restore((base.configuration_index, base.configuration), in_log)
        .ok_or_else(|| StorageError::corrupt("the configurations", "they are out of order"))
}

/// Returns the configurations that can be read in a damaged log.
fn membership_of_the_rest(db: &DB, owner: Owner, base: SnapshotMeta) -> Membership {
    let mut in_log = Vec::new();
    if let Ok(configurations) = family(db, CONFIGURATION) {
        for (key, _) in db.iterator_cf(configurations, IteratorMode::Start).flatten() {
            if let Ok(index) = index_of(&key)
                && let Ok(Some((_, record))) = record_with(db, &owner, index)
                && let Ok(entry) = record.entry(index)
                && let Payload::Configuration(configuration) = entry.payload
            {
                in_log.push((index, configuration));
            }
        }
    }
    let base = (base.configuration_index, base.configuration);
    let nothing = (LogIndex::ZERO, Configuration::unknown());
    Membership::restore(base, in_log)
        .or_else(|| Membership::restore(nothing, Vec::new()))
        .expect("nothing is out of order")
}

fn has_entries(db: &DB) -> Result<bool, StorageError> {
    Ok(db.iterator_cf(family(db, LOG)?, IteratorMode::Start).next().is_some())
}
