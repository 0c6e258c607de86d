//! A modelled disk: writes are queued, become durable in batches, in order, all of a batch or
//! nothing; a crash loses what is not durable.

use std::collections::VecDeque;

use consensus::{Entry, EntryId, HardState, WriteId};

use crate::chance::Chance;

/// What a node's disk holds, and what is on its way there.
#[derive(Clone, Debug)]
pub(crate) struct Disk {
    /// The durable log; entry `i` has index `i + 1`.
    pub(crate) log: Vec<Entry>,
    pub(crate) hard_state: HardState,
    queue: VecDeque<consensus::Write>,
    /// Writes of the batch that is being written.
    batch: usize,
}

impl Disk {
    pub(crate) fn new(log: Vec<Entry>, hard_state: HardState) -> Self {
        Self { log, hard_state, queue: VecDeque::new(), batch: 0 }
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
    pub(crate) fn crash(&mut self, chance: &mut Chance) {
        if chance.permille(500) {
            self.finish_batch();
        }
        self.queue.clear();
        self.batch = 0;
    }

    pub(crate) fn last(&self) -> EntryId {
        self.log.last().map_or(EntryId::ZERO, |entry| entry.id)
    }

    /// Says whether this entry is durable here.
    pub(crate) fn has(&self, id: EntryId) -> bool {
        place(id).and_then(|place| self.log.get(place)).is_some_and(|entry| entry.id == id)
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
                cut(&mut self.log, from);
            }
            self.log.extend(write.append);
            last = Some(write.id);
        }
        self.batch = 0;
        last
    }
}

/// Removes the entry at an index and all behind it.
pub(crate) fn cut(log: &mut Vec<Entry>, from: consensus::LogIndex) {
    let keep = usize::try_from(from.get() - 1).expect("a log fits into memory");
    log.truncate(keep);
}

/// Returns the place of an entry in a vector that begins at index 1.
pub(crate) fn place(id: EntryId) -> Option<usize> {
    usize::try_from(id.index.get().checked_sub(1)?).ok()
}
