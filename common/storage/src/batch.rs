//! One batch for the database, made of the writes that go to the disk together.

use consensus::{Chain, ClusterTime, Entry, EntryId, HardState, LogIndex, Payload, SnapshotMeta};
use consensus::{Term, Write};
use protocol::{EncodedEntry, encode_entry, peek_entry};
use rocksdb::{DB, WriteBatch};

use crate::compacted;
use crate::condition::LogEnd;
use crate::database::family;
use crate::error::StorageError;
use crate::layout::{
    COMPACTED_KEY, CONFIGURATION, END_KEY, End, FORMAT, FORMAT_KEY, HARD_STATE_KEY, LOG, META,
    OWNER_KEY, Owner, encode_hard_state, run_key,
};
use crate::record::{self, ENTRIES_MAX, Mark, PAYLOAD_BYTES_MAX, Record};
use crate::seek::record_with;

/// Up to so many keys are deleted one by one; more by a range tombstone.
const SINGLE_DELETES_MAX: u64 = 64;

/// What a log looks like without its entries.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    /// The entry before the first one that is kept.
    pub(crate) base: EntryId,
    /// Its chain value.
    pub(crate) base_chain: Chain,
    /// The end, and how many writes there were.
    pub(crate) end: LogEnd,
    pub(crate) stamp: ClusterTime,
    /// Where each term begins.
    pub(crate) runs: Vec<(LogIndex, Term)>,
}

/// A batch that is being filled; the shape follows.
pub(crate) struct Batch<'a> {
    db: &'a DB,
    owner: &'a Owner,
    shape: &'a mut Shape,
    batch: WriteBatch,
    /// The entries at the log's end that are not in the database yet.
    pending: Vec<EncodedEntry>,
    /// Term and vote, if they change.
    hard_state: Option<HardState>,
    /// Whether something is cut off or compacted.
    is_more_than_append: bool,
    /// Whether something is cut off.
    is_cut: bool,
    /// Under which index the first record stands that is left of a compacted head.
    kept_from: Option<LogIndex>,
}

/// A filled batch, and what is to be told beside it.
pub(crate) struct Filled {
    pub(crate) batch: WriteBatch,
    pub(crate) hard_state: Option<HardState>,
    /// Whether something is cut off, or a snapshot has taken its place.
    pub(crate) is_cut: bool,
    /// Where the head was dropped: under which index the first record stands that is left.
    pub(crate) kept_from: Option<LogIndex>,
}

impl<'a> Batch<'a> {
    pub(crate) fn new(db: &'a DB, owner: &'a Owner, shape: &'a mut Shape) -> Self {
        Self {
            db,
            owner,
            shape,
            batch: WriteBatch::default(),
            pending: Vec::new(),
            hard_state: None,
            is_more_than_append: false,
            is_cut: false,
            kept_from: None,
        }
    }

    /// Adds the writes, in order.
    pub(crate) fn fill(mut self, writes: &[Write]) -> Result<Filled, StorageError> {
        for write in writes {
            if let Some(from) = write.truncate_from {
                self.truncate(from)?;
            }
            if let Some(meta) = &write.compact_to {
                self.compact(meta)?;
            }
            for entry in &write.append {
                self.append(entry)?;
            }
            self.hard_state = write.hard_state.or(self.hard_state);
        }
        self.finish()
    }

    fn finish(mut self) -> Result<Filled, StorageError> {
        let meta = family(self.db, META)?;
        if self.shape.end.writes == 0 {
            self.batch.put_cf(meta, FORMAT_KEY, FORMAT.to_le_bytes());
            let incarnation = self.owner.incarnation.get().to_le_bytes();
            self.batch.put_cf(meta, OWNER_KEY, incarnation);
        }
        self.shape.end.writes += 1;
        let mark = Mark { writes: self.shape.end.writes, stamp: self.shape.stamp };
        put_records(&mut self.batch, self.db, self.owner, mark, &self.pending)?;
        if self.is_more_than_append || self.pending.is_empty() {
            let end = End { at: self.shape.end, stamp: self.shape.stamp };
            self.batch.put_cf(meta, END_KEY, end.encode());
        }
        if let Some(hard_state) = self.hard_state {
            self.batch.put_cf(meta, HARD_STATE_KEY, encode_hard_state(hard_state));
        }
        let Self { batch, hard_state, is_cut, kept_from, .. } = self;
        Ok(Filled { batch, hard_state, is_cut, kept_from })
    }

    fn append(&mut self, entry: &Entry) -> Result<(), StorageError> {
        let (id, end) = (entry.id, self.shape.end);
        if id.index != end.last.index.next() || id.term < end.last.term {
            let what = format!("entry {id} behind {}", end.last);
            return Err(StorageError::corrupt(what, "it does not follow"));
        }
        let mut encoded = encode_entry(&self.owner.generation, entry);
        let chain = encoded.chain(end.chain);
        if entry.chain == Chain::ZERO {
            encoded.set_chain(&self.owner.generation, chain);
        } else if entry.chain != chain {
            return Err(StorageError::Contradiction {
                entry: id,
                after: end.last,
                ours: chain,
                theirs: entry.chain,
            });
        }
        if matches!(entry.payload, Payload::Configuration(_)) {
            let key = id.index.get().to_be_bytes();
            self.batch.put_cf(family(self.db, CONFIGURATION)?, key, []);
        }
        if id.term != end.last.term || self.shape.runs.is_empty() {
            let term = id.term.get().to_le_bytes();
            self.batch.put_cf(family(self.db, META)?, run_key(id.index), term);
            self.shape.runs.push((id.index, id.term));
        }
        self.pending.push(encoded);
        (self.shape.end.last, self.shape.end.chain) = (id, chain);
        self.shape.stamp = self.shape.stamp.max(entry.stamp);
        Ok(())
    }

    /// Returns the index behind the last one that is in the database.
    fn stored_end(&self) -> LogIndex {
        let first = self.pending.first().and_then(|entry| peek_entry(&entry.header).ok());
        first.map_or_else(|| self.shape.end.last.index.next(), |header| header.id.index)
    }

    fn truncate(&mut self, from: LogIndex) -> Result<(), StorageError> {
        if from > self.shape.end.last.index {
            return Ok(());
        }
        if from <= self.shape.base.index {
            let what = format!("the log from {from}, which begins behind {}", self.shape.base);
            return Err(StorageError::corrupt(what, "what is compacted cannot be cut off"));
        }
        (self.is_more_than_append, self.is_cut) = (true, true);
        let stored_end = self.stored_end();
        if from >= stored_end {
            self.pending.truncate(usize::try_from(from.since(stored_end)).expect("it was pushed"));
        } else {
            self.pending.clear();
            self.cut_stored(from, stored_end)?;
        }
        let last = from.prev().unwrap_or_default();
        let chain = self.chain_at(last)?;
        self.forget_configurations(from)?;
        let meta = family(self.db, META)?;
        while let Some((first, _)) = self.shape.runs.last().copied().filter(|run| run.0 >= from) {
            self.batch.delete_cf(meta, run_key(first));
            self.shape.runs.pop();
        }
        let term = self.shape.runs.last().map_or(self.shape.base.term, |(_, term)| *term);
        self.shape.end.last = EntryId { term, index: last };
        self.shape.end.chain = chain;
        Ok(())
    }

    /// Cuts the stored records off: the one that `from` stands in keeps its beginning.
    fn cut_stored(&mut self, from: LogIndex, end: LogIndex) -> Result<(), StorageError> {
        let log = family(self.db, LOG)?;
        if end.since(from) <= SINGLE_DELETES_MAX {
            for index in from.get()..end.get() {
                self.batch.delete_cf(log, index.to_be_bytes());
            }
        } else {
            self.batch.delete_range_cf(log, from.get().to_be_bytes(), end.get().to_be_bytes());
        }
        let before = from.prev().expect("it is behind the base");
        if before == self.shape.base.index {
            return Ok(());
        }
        let (first, record) = self.record(before)?;
        if record.end() > from {
            let kept = record.encoded_before(from);
            let bytes = record::encode(self.owner, record.mark, &kept);
            self.batch.put_cf(log, first.get().to_be_bytes(), bytes);
        }
        Ok(())
    }

    fn forget_configurations(&mut self, from: LogIndex) -> Result<(), StorageError> {
        let configuration = family(self.db, CONFIGURATION)?;
        let end = self.shape.end.last.index.next();
        if end.since(from) <= SINGLE_DELETES_MAX {
            for index in from.get()..end.get() {
                self.batch.delete_cf(configuration, index.to_be_bytes());
            }
        } else {
            let (from, end) = (from.get().to_be_bytes(), end.get().to_be_bytes());
            self.batch.delete_range_cf(configuration, from, end);
        }
        Ok(())
    }

    /// Forgets the head of the log up to a snapshot's last entry; all of it, if that very entry is
    /// not in it (§5.1).
    fn compact(&mut self, meta: &SnapshotMeta) -> Result<(), StorageError> {
        let base = meta.last;
        if base.index <= self.shape.base.index {
            let what = format!("the log up to {base}, which begins behind {}", self.shape.base);
            return Err(StorageError::corrupt(what, "it was compacted further before"));
        }
        self.is_more_than_append = true;
        let kept = self.term(base.index) == Some(base.term);
        self.is_cut |= !kept;
        let last = self.shape.end.last;
        let chain = if kept { self.chain_at(base.index)? } else { meta.chain };
        if meta.chain != Chain::ZERO && meta.chain != chain {
            let (ours, theirs) = (chain, meta.chain);
            return Err(StorageError::Contradiction { entry: base, after: last, ours, theirs });
        }
        let end = if kept { base.index } else { last.index.max(base.index) }.next();
        self.drop_head(end, kept)?;
        let records = family(self.db, META)?;
        for (first, _) in &self.shape.runs {
            if *first < end {
                self.batch.delete_cf(records, run_key(*first));
            }
        }
        let runs = &mut self.shape.runs;
        let cut = runs.iter().rev().find(|(first, _)| *first <= end).map(|(_, term)| *term);
        runs.retain(|(first, _)| *first > end);
        if let Some(term) = cut.filter(|_| kept && end <= last.index) {
            self.batch.put_cf(records, run_key(end), term.get().to_le_bytes());
            runs.insert(0, (end, term));
        }
        let meta = SnapshotMeta { chain, ..meta.clone() };
        self.batch.put_cf(records, COMPACTED_KEY, compacted::encode(&meta));
        (self.shape.base, self.shape.base_chain) = (base, chain);
        if !kept {
            (self.shape.end.last, self.shape.end.chain) = (base, chain);
        }
        self.shape.stamp = self.shape.stamp.max(meta.stamp);
        Ok(())
    }

    /// Drops all before `end`. A record that goes on behind it stays whole.
    ///
    /// Nobody looks before the record that the log begins in, and files of nothing else are dropped
    /// as they are: so nothing is written for it, where the log goes on as it was. A tombstone
    /// would reach over the files of many records, and what overlaps is merged and written anew,
    /// while files of records that follow each other are only moved down.
    fn drop_head(&mut self, end: LogIndex, kept: bool) -> Result<(), StorageError> {
        let stored_end = self.stored_end();
        let to = if end >= stored_end {
            let gone = usize::try_from(end.since(stored_end)).unwrap_or(usize::MAX);
            self.pending.drain(..gone.min(self.pending.len()));
            stored_end
        } else {
            self.record(end)?.0
        };
        self.kept_from = Some(to);
        let (from, to) = (0_u64.to_be_bytes(), to.get().to_be_bytes());
        if !kept {
            self.batch.delete_range_cf(family(self.db, LOG)?, from, to);
        }
        let end = end.get().to_be_bytes();
        self.batch.delete_range_cf(family(self.db, CONFIGURATION)?, from, end);
        Ok(())
    }

    /// Returns the chain value of an entry of the log, or of what it begins behind.
    fn chain_at(&self, index: LogIndex) -> Result<Chain, StorageError> {
        if index == self.shape.base.index {
            return Ok(self.shape.base_chain);
        }
        let stored_end = self.stored_end();
        let place = usize::try_from(index.since(stored_end)).unwrap_or(usize::MAX);
        if index >= stored_end
            && let Some(entry) = self.pending.get(place)
        {
            return Ok(peek_entry(&entry.header).expect("it was made just now").chain);
        }
        let (_, record) = self.record(index)?;
        Ok(record.header(index).expect("the record holds it").chain)
    }

    fn record(&self, index: LogIndex) -> Result<(LogIndex, Record), StorageError> {
        record_with(self.db, self.owner, index)?
            .ok_or_else(|| StorageError::corrupt(format!("log entry {index}"), "it is missing"))
    }

    fn term(&self, index: LogIndex) -> Option<Term> {
        if index > self.shape.end.last.index {
            return None;
        }
        self.shape.runs.iter().rev().find(|(first, _)| *first <= index).map(|(_, term)| *term)
    }
}

/// Puts entries that follow each other into records of a bounded size.
pub(crate) fn put_records(
    batch: &mut WriteBatch,
    db: &DB,
    owner: &Owner,
    mark: Mark,
    entries: &[EncodedEntry],
) -> Result<(), StorageError> {
    let log = family(db, LOG)?;
    let mut rest = entries;
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = |entry: &&EncodedEntry| {
            bytes += entry.payload.len();
            bytes <= PAYLOAD_BYTES_MAX
        };
        let count = rest.iter().take(ENTRIES_MAX).take_while(fits).count().max(1);
        let (now, later) = rest.split_at(count);
        let first = peek_entry(&now[0].header).expect("it was made just now").id.index;
        batch.put_cf(log, first.get().to_be_bytes(), record::encode(owner, mark, now));
        rest = later;
    }
    Ok(())
}
