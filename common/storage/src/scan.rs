//! Reads every entry of a log, checks it, and says which are damaged.

use bytes::Bytes;
use consensus::{Chain, EntryId, LogIndex, Term};
use protocol::EntryHeader;
use rocksdb::{DB, DBRawIterator, ReadOptions};

use crate::batch::Shape;
use crate::condition::Damage;
use crate::database::{database, family};
use crate::error::StorageError;
use crate::layout::{LOG, Owner, index_of};
use crate::record::Record;

/// Where a database says nothing but that a block is damaged, the next index that can be read is
/// looked for in steps: so many single ones, then wider ones.
const PROBES_SINGLE: u64 = 512;
const PROBE_STEP: u64 = 64;

/// What a scan has found, and how far it is.
#[derive(Clone, Debug)]
pub(crate) struct Scan {
    /// The next index to be looked at.
    pub(crate) next: LogIndex,
    /// The chain value of the entry before, where that could be read.
    chain: Option<Chain>,
    /// What is damaged, in order.
    pub(crate) damages: Vec<Damage>,
    /// The bytes that were read.
    pub(crate) bytes: u64,
}

impl Scan {
    /// Begins behind an entry.
    pub(crate) fn behind(base: LogIndex, chain: Chain) -> Self {
        Self { next: base.next(), chain: Some(chain), damages: Vec::new(), bytes: 0 }
    }

    /// Looks at all up to the log's end.
    ///
    /// # Errors
    /// If two whole entries that stand side by side do not belong to one log, or the database
    /// fails.
    pub(crate) fn run(
        mut self,
        db: &DB,
        owner: &Owner,
        shape: &Shape,
    ) -> Result<Vec<Damage>, StorageError> {
        while self.next <= shape.end.last.index {
            self.step(db, owner, shape, u64::MAX)?;
        }
        Ok(self.damages)
    }

    /// Looks at about so many bytes more.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub(crate) fn step(
        &mut self,
        db: &DB,
        owner: &Owner,
        shape: &Shape,
        bytes_max: u64,
    ) -> Result<(), StorageError> {
        let mut read = ReadOptions::default();
        read.fill_cache(false);
        let mut records = db.raw_iterator_cf_opt(family(db, LOG)?, read);
        let from = self.next.get().to_be_bytes();
        records.seek_for_prev(from);
        if !records.valid() {
            records.seek(from);
        }
        let begun = self.bytes;
        while self.next <= shape.end.last.index && self.bytes - begun < bytes_max {
            let Some((key, value)) = records.item() else {
                return self.unreadable(&mut records, shape);
            };
            let first = index_of(key)?;
            let bytes = Bytes::copy_from_slice(value);
            self.bytes += bytes.len() as u64;
            match Record::decode(owner, first, bytes) {
                Ok(record) => self.record(first, &record, shape)?,
                Err(error) => {
                    tracing::warn!(name: "record-damaged", "{error}");
                    // What it held ends where the next one begins.
                    if first > self.next {
                        self.missing(first, shape);
                    }
                    records.next();
                    let next = match records.key() {
                        Some(key) => index_of(key)?,
                        None if records.status().is_ok() => shape.end.last.index.next(),
                        None => first.next(),
                    };
                    self.missing(next, shape);
                    continue;
                }
            }
            records.next();
        }
        Ok(())
    }

    /// The database gives no record where there should be one.
    fn unreadable(
        &mut self,
        records: &mut DBRawIterator<'_>,
        shape: &Shape,
    ) -> Result<(), StorageError> {
        let end = shape.end.last.index.next();
        if let Err(error) = records.status()
            && error.kind() != rocksdb::ErrorKind::Corruption
        {
            return Err(database("reading the log", &error));
        }
        let mut probe = self.next.next();
        while probe < end {
            records.seek(probe.get().to_be_bytes());
            if let Some(key) = records.key() {
                let found = index_of(key)?;
                self.missing(found.min(end), shape);
                return Ok(());
            }
            if records.status().is_ok() {
                break;
            }
            let far = probe.since(self.next) > PROBES_SINGLE;
            probe = probe.advanced(if far { PROBE_STEP } else { 1 });
        }
        self.missing(end, shape);
        Ok(())
    }

    fn record(
        &mut self,
        first: LogIndex,
        record: &Record,
        shape: &Shape,
    ) -> Result<(), StorageError> {
        if first > self.next {
            self.missing(first, shape);
        }
        for (header, bytes) in record.raw_headers() {
            let id = header.id;
            if id.index < self.next || id.index > shape.end.last.index {
                continue;
            }
            if let Some(before) = self.chain
                && protocol::chain_of(before, bytes) != header.chain
            {
                let why = "it and the entry before it are whole, and do not belong to one log";
                return Err(StorageError::corrupt(format!("log entry {id}"), why));
            }
            if let Err(error) = record.entry(id.index) {
                tracing::warn!(name: "record-damaged", "{error}");
                self.damaged(header, shape);
            }
            self.chain = Some(header.chain);
            self.next = id.index.next();
        }
        Ok(())
    }

    /// The contents of an entry are damaged.
    fn damaged(&mut self, header: &EntryHeader, shape: &Shape) {
        let after = Some(header.chain);
        self.add(Damage { first: self.next, last: header.id, before: self.before(shape), after });
    }

    /// Entries up to `end` are damaged, with their headers.
    fn missing(&mut self, end: LogIndex, shape: &Shape) {
        let Some(index) = end.prev().filter(|last| *last >= self.next) else {
            return;
        };
        let run = shape.runs.iter().rev().find(|(first, _)| *first <= index);
        let last = EntryId { term: run.map_or(Term::ZERO, |(_, term)| *term), index };
        let at_end = index >= shape.end.last.index;
        let after = at_end.then_some(shape.end.chain);
        self.add(Damage { first: self.next, last, before: self.before(shape), after });
        self.chain = after;
        self.next = end;
    }

    /// Damage that goes on where the last one ended is one.
    fn add(&mut self, damage: Damage) {
        match self.damages.last_mut().filter(|last| last.last.index.next() == damage.first) {
            Some(last) => (last.last, last.after) = (damage.last, damage.after),
            None => self.damages.push(damage),
        }
    }

    fn before(&self, shape: &Shape) -> Chain {
        // Behind damage this one is merged with it, which has the value from before.
        self.chain.unwrap_or(shape.base_chain)
    }
}
