//! A modelled disk: writes are queued, become durable in batches, in order, all of a batch or
//! nothing; a crash loses what is not durable.

use std::collections::{BTreeSet, VecDeque};

use consensus::{Entry, EntryId, HardState, LogIndex, SnapshotMeta, WriteId};
use protocol::Remembered;

use crate::log::Log;
use crate::rng::Rng;
use crate::store::State;

/// Of a thousand crashes that lose writes under way, so many leave damaged records of them.
const TORN: u64 = 300;

/// A whole state, as it travels and as it lies beside the log until it is installed.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    pub(crate) meta: SnapshotMeta,
    pub(crate) state: State,
}

/// What a node's disk holds, and what is on its way there.
#[derive(Clone, Debug)]
pub(crate) struct Disk {
    /// The durable log.
    pub(crate) log: Log,
    pub(crate) hard_state: HardState,
    /// Where the log ended when something was durable last, as noted outside of it.
    pub(crate) tail: LogIndex,
    /// Term and vote as a record of the log has them: it may be damaged, or passed over for the one
    /// before it. Those above are in the file beside the log.
    in_log: Option<HardState>,
    before: HardState,
    /// Entries whose bytes are not what was written; term and index of each are noted elsewhere.
    pub(crate) damaged: BTreeSet<LogIndex>,
    /// Whether this is a copy of a directory, which its first file tells at the start.
    pub(crate) copied: bool,
    /// The durable state, and how much of the log it covers.
    pub(crate) state: State,
    pub(crate) flushed: LogIndex,
    /// Snapshots, made here or received.
    pub(crate) files: Vec<Snapshot>,
    /// How often a process was started with it.
    pub(crate) starts: u64,
    /// What is remembered of other nodes.
    pub(crate) remembered: Vec<Remembered>,
    queue: VecDeque<consensus::Write>,
    /// Writes of the batch that is being written.
    batch: usize,
}

/// What a crash did to the writes under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    /// Nothing was under way.
    Nothing,
    /// The batch under way, or all, with what was queued behind.
    Writes,
    /// The same, but for damaged records at the log's end.
    Torn,
    /// The batch under way survived, though nobody was told.
    Survived,
}

impl Disk {
    pub(crate) fn new(log: Vec<Entry>, hard_state: HardState) -> Self {
        let log = Log::new(log);
        Self {
            tail: log.last().index,
            log,
            hard_state,
            damaged: BTreeSet::new(),
            copied: false,
            in_log: Some(hard_state),
            before: hard_state,
            state: State::default(),
            flushed: LogIndex::ZERO,
            files: Vec::new(),
            starts: 0,
            remembered: Vec::new(),
            queue: VecDeque::new(),
            batch: 0,
        }
    }

    /// Returns term and vote as a start finds them: the newer of the two that there are. In a term
    /// a vote is given once, so who has one has the newest.
    pub(crate) fn restored(&self) -> HardState {
        let known = |state: &HardState| (state.term, state.vote.is_some());
        [self.in_log, Some(self.hard_state)].into_iter().flatten().max_by_key(known).expect("two")
    }

    /// The log's record of term and vote rots, or is passed over for the one before it.
    pub(crate) fn rot_vote(&mut self, rng: &mut Rng) {
        self.in_log = rng.permille(500).then_some(self.before);
    }

    /// Queues a write; says whether the disk was idle and begins with it.
    pub(crate) fn queue(&mut self, write: consensus::Write) -> bool {
        self.queue.push_back(write);
        self.begin()
    }

    /// The batch under way is durable: returns the last write of it, and whether another begins.
    pub(crate) fn done(&mut self) -> Option<(WriteId, bool)> {
        let last = self.finish_batch()?;
        let more = self.begin();
        Some((last, more))
    }

    /// Cuts the power. The batch under way is durable or not, as chance has it.
    pub(crate) fn crash(&mut self, rng: &mut Rng) -> Lost {
        let busy = !self.queue.is_empty();
        let survived = rng.permille(500) && self.finish_batch().is_some();
        let torn = busy && !survived && rng.permille(TORN) && self.tear(rng);
        self.queue.clear();
        self.batch = 0;
        match (busy, survived) {
            (false, _) => Lost::Nothing,
            (true, true) => Lost::Survived,
            (true, false) if torn => Lost::Torn,
            (true, false) => Lost::Writes,
        }
    }

    /// Returns the first write of the batch under way.
    pub(crate) fn under_way(&self) -> Option<WriteId> {
        self.queue.front().filter(|_| self.batch > 0).map(|write| write.id)
    }

    pub(crate) fn last(&self) -> EntryId {
        self.log.last()
    }

    /// Says whether what the log lacks is in a durable state: the one in use, or a snapshot that
    /// waits for its installation.
    pub(crate) fn is_covered(&self) -> bool {
        let base = self.log.base();
        base.index <= self.flushed || self.file(base).is_some()
    }

    /// Returns the snapshot that ends at this entry.
    pub(crate) fn file(&self, last: EntryId) -> Option<&Snapshot> {
        self.files.iter().find(|file| file.meta.last == last)
    }

    /// Keeps a snapshot that is whole.
    pub(crate) fn keep(&mut self, snapshot: Snapshot) {
        self.delete(snapshot.meta.last);
        self.files.push(snapshot);
    }

    pub(crate) fn delete(&mut self, last: EntryId) {
        self.files.retain(|file| file.meta.last != last);
    }

    /// Some of the entries under way are on the disk, and damaged; says whether there are any.
    fn tear(&mut self, rng: &mut Rng) -> bool {
        let plain = |write: &&consensus::Write| {
            write.truncate_from.is_none() && write.compact_to.is_none() && !write.append.is_empty()
        };
        let Some(write) = self.queue.front().filter(plain) else {
            return false;
        };
        for entry in &write.append[..=rng.index(write.append.len())] {
            self.damaged.insert(entry.id.index);
            self.log.append(entry.clone());
        }
        true
    }

    /// Drops damaged records behind what was ever durable: nobody was told of them. Says whether
    /// there are any.
    pub(crate) fn drop_torn_end(&mut self) -> bool {
        let torn = self.damaged.split_off(&self.tail.next());
        let Some(first) = torn.first() else {
            return false;
        };
        self.log.truncate(*first);
        true
    }

    /// Says whether there is an entry at the end that can be lost.
    pub(crate) fn has_end(&self) -> bool {
        self.log.last().index > self.log.base().index
    }

    /// Takes the last entries away, as if they had never been written.
    pub(crate) fn lose_end(&mut self, entries: u64) {
        let end = self.log.last().index;
        let first = LogIndex::new(end.get().saturating_sub(entries)).max(self.log.base().index);
        self.log.truncate(first.next());
        self.damaged.retain(|index| *index <= first);
    }

    /// Returns a copy of what is durable.
    pub(crate) fn copy(&self) -> Self {
        Self { queue: VecDeque::new(), batch: 0, copied: true, ..self.clone() }
    }

    fn begin(&mut self) -> bool {
        let begins = self.batch == 0 && !self.queue.is_empty();
        if begins {
            self.batch = self.queue.len();
        }
        begins
    }

    fn finish_batch(&mut self) -> Option<WriteId> {
        let mut last = None;
        for write in self.queue.drain(..self.batch) {
            if let Some(hard_state) = write.hard_state {
                self.hard_state = hard_state;
            }
            if let Some(from) = write.truncate_from {
                self.damaged.retain(|index| *index < from);
            }
            self.log.follow(&write);
            if write.hard_state.is_some() {
                self.before = self.in_log.replace(self.hard_state).unwrap_or_default();
            }
            last = Some(write.id);
        }
        let (base, end) = (self.log.base().index, self.log.last().index);
        self.damaged.retain(|index| *index > base && *index <= end);
        self.tail = end;
        self.batch = 0;
        last
    }
}
