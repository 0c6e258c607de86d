//! Holds back what leaves this node until what it claims is on disk (§3.8).
//!
//! One rule for everything: a held promise is released when the write that was the latest at the
//! time of the promise is acknowledged. Acknowledgements name writes, never entries (no ABA).

use std::collections::VecDeque;

use crate::vocabulary::ids::{LogIndex, NodeId, Term, Timestamp, WriteId};
use crate::vocabulary::message::Message;

/// Which writes are under way, and what waits for them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Durability {
    /// The last number that was given out.
    last: WriteId,
    /// Writes under way, ascending.
    pending: VecDeque<Pending>,
    /// The last write that carries term and vote.
    hard_state: WriteId,
    /// All up to here is on disk, and is still what the log says.
    durable: LogIndex,
    /// Promises, each with the write that it waits for, ascending.
    held: VecDeque<(WriteId, Promise)>,
    /// The disk has failed: nothing is promised any more.
    failed: bool,
}

/// A write under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Pending {
    id: WriteId,
    /// The log's end as this write leaves it on disk.
    mark: LogIndex,
    /// When it was handed out.
    begun: Timestamp,
}

/// Something that may be said only once it is durable.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Promise {
    /// A message to a peer.
    Message { to: NodeId, message: Message },
    /// The candidate's vote for itself, which counts like any other only when it is on disk.
    OwnVote { term: Term },
}

impl Promise {
    fn term(&self) -> Term {
        match self {
            Self::Message { message, .. } => message.term,
            Self::OwnVote { term } => *term,
        }
    }
}

impl Durability {
    pub(crate) fn new(durable: LogIndex) -> Self {
        Self {
            last: WriteId::ZERO,
            pending: VecDeque::new(),
            hard_state: WriteId::ZERO,
            durable,
            held: VecDeque::new(),
            failed: false,
        }
    }

    /// Returns the last index that is on disk.
    pub(crate) fn durable(&self) -> LogIndex {
        self.durable
    }

    /// Says whether term and vote, as handed out so far, are on disk.
    pub(crate) fn hard_state_durable(&self) -> bool {
        self.pending.front().is_none_or(|write| write.id > self.hard_state)
    }

    /// Returns when the oldest write was handed out that is not finished, and where it leaves the
    /// log's end on disk.
    pub(crate) fn oldest(&self) -> Option<(Timestamp, LogIndex)> {
        self.pending.front().map(|write| (write.begun, write.mark))
    }

    /// Numbers a new write, after which the log on disk ends at `mark`.
    pub(crate) fn begin(&mut self, begun: Timestamp, mark: LogIndex, hard_state: bool) -> WriteId {
        self.last = self.last.next();
        self.pending.push_back(Pending { id: self.last, mark, begun });
        if hard_state {
            self.hard_state = self.last;
        }
        self.last
    }

    /// Keeps a promise until all writes under way are done; gives it back if there are none. One
    /// that waits for the same write already is kept once: a peer that asks again and again does
    /// not fill the memory of a node with a slow disk.
    pub(crate) fn hold(&mut self, promise: Promise) -> Option<Promise> {
        let Some(Pending { id: write, .. }) = self.pending.back().copied() else {
            return Some(promise);
        };
        let mut beside = self.held.iter().rev().take_while(|(id, _)| *id == write);
        if !beside.any(|(_, held)| *held == promise) {
            self.held.push_back((write, promise));
        }
        None
    }

    /// Notes that the log was cut: nothing on disk, or on its way there, vouches any more for
    /// `from` or anything behind it (museum B22).
    pub(crate) fn truncate(&mut self, from: LogIndex) {
        let end = from.prev().expect("the place before the log is never cut off");
        self.durable = self.durable.min(end);
        for write in &mut self.pending {
            write.mark = end.min(write.mark);
        }
    }

    /// Drops promises made in terms before `term`: nobody waits for them any more.
    pub(crate) fn forget_before(&mut self, term: Term) {
        self.held.retain(|(_, promise)| promise.term() >= term);
    }

    /// Drops everything: this node promises nothing any more.
    pub(crate) fn fail(&mut self) {
        self.held.clear();
        self.failed = true;
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.failed
    }

    /// Notes that `write` and all before it are on disk, and returns what may be said now.
    ///
    /// # Panics
    /// If that write was never handed out.
    pub(crate) fn persisted(&mut self, write: WriteId) -> Vec<Promise> {
        assert!(write <= self.last, "the driver acknowledges only writes that it was given");
        while let Some(done) = self.pending.pop_front_if(|pending| pending.id <= write) {
            self.durable = self.durable.max(done.mark);
        }
        let ready = self.held.iter().take_while(|(id, _)| *id <= write).count();
        self.held.drain(..ready).map(|(_, promise)| promise).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vocabulary::ids::EntryId;
    use crate::vocabulary::message::Body;

    #[test]
    fn a_promise_that_is_asked_for_again_waits_once_for_each_write() {
        let mut durability = Durability::new(LogIndex::ZERO);
        let vote = || Promise::OwnVote { term: Term::new(2) };
        assert_eq!(durability.hold(vote()), Some(vote()), "nothing is under way");
        let first = durability.begin(Timestamp::ZERO, LogIndex::new(1), true);
        for _ in 0..1000 {
            assert_eq!(durability.hold(vote()), None);
        }
        assert_eq!(durability.held.len(), 1);
        let second = durability.begin(Timestamp::ZERO, LogIndex::new(2), false);
        assert_eq!(durability.hold(vote()), None);
        assert_eq!(durability.persisted(first), [vote()]);
        assert_eq!(durability.persisted(second), [vote()], "what it says now is of now");
    }

    #[test]
    fn promises_of_terms_that_have_passed_are_dropped_and_those_of_the_new_one_stay_s3_8() {
        let to = NodeId::new(2).expect("not 0");
        let message = |term| {
            let body = Body::SnapshotInstalled { last: EntryId::ZERO };
            Promise::Message { to, message: Message { term: Term::new(term), body } }
        };
        let vote = |term| Promise::OwnVote { term: Term::new(term) };
        let mut durability = Durability::new(LogIndex::ZERO);
        let write = durability.begin(Timestamp::ZERO, LogIndex::new(1), true);
        for promise in [message(2), vote(2), message(3), vote(3)] {
            assert_eq!(durability.hold(promise), None);
        }
        durability.forget_before(Term::new(3));
        assert_eq!(durability.persisted(write), [message(3), vote(3)]);
    }

    #[test]
    fn term_and_vote_are_durable_when_the_write_is_done_that_carries_them_s3_8() {
        let mut durability = Durability::new(LogIndex::ZERO);
        assert!(durability.hard_state_durable(), "nothing is under way");
        let mut begin = |carries| durability.begin(Timestamp::ZERO, LogIndex::new(1), carries);
        let [before, carrier, behind] = [begin(false), begin(true), begin(false)];
        assert!(!durability.hard_state_durable());
        durability.persisted(before);
        assert!(!durability.hard_state_durable());
        durability.persisted(carrier);
        assert!(durability.hard_state_durable(), "what follows carries neither");
        durability.persisted(behind);
        assert!(durability.hard_state_durable());
    }
}
