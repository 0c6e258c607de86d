//! A modelled disk: writes are queued, become durable in batches, in order, all of a batch or
//! nothing; a crash loses what is not durable.

use std::collections::VecDeque;

use consensus::{Entry, EntryId, HardState, LogIndex, SnapshotMeta, WriteId};
use state_machine::MemoryStore;

use crate::log::Log;
use crate::rng::Rng;

/// A whole state, as it travels and as it lies beside the log until it is installed.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    pub(crate) meta: SnapshotMeta,
    pub(crate) state: MemoryStore,
}

/// What a node's disk holds, and what is on its way there.
#[derive(Clone, Debug)]
pub(crate) struct Disk {
    /// The durable log.
    pub(crate) log: Log,
    pub(crate) hard_state: HardState,
    /// The durable state, and how much of the log it covers.
    pub(crate) state: MemoryStore,
    pub(crate) flushed: LogIndex,
    /// Snapshots, made here or received.
    pub(crate) files: Vec<Snapshot>,
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
    /// The batch under way survived, though nobody was told.
    Survived,
}

impl Disk {
    pub(crate) fn new(log: Vec<Entry>, hard_state: HardState) -> Self {
        Self {
            log: Log::new(log),
            hard_state,
            state: MemoryStore::new(),
            flushed: LogIndex::ZERO,
            files: Vec::new(),
            queue: VecDeque::new(),
            batch: 0,
        }
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
        self.queue.clear();
        self.batch = 0;
        match (busy, survived) {
            (false, _) => Lost::Nothing,
            (true, true) => Lost::Survived,
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
            self.log.follow(&write);
            last = Some(write.id);
        }
        self.batch = 0;
        last
    }
}
