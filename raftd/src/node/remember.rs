//! What this node remembers of the other members: noted from their messages, and kept in a file
//! now and then, never on the way of a write.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use consensus::{EntryId, Incarnation, Message, NodeId, Term, Timestamp};
use protocol::{Remembered, Trouble};
use storage::{Forgotten, PeerMemory};
use tokio::task::spawn_blocking;
use transport::SharedMemory;

use crate::exit::{Exit, Failure, chain};
use crate::logging::repeat::{self, Kind};
use crate::node::Node;
use crate::troubles::Troubles;

/// How long acknowledgements alone may wait to be kept, in nanoseconds, and what could not be kept
/// until it is tried again. Everything else is kept at once.
const KEPT_EVERY_NS: u64 = 10_000_000_000;

/// Keeps what is remembered.
pub(crate) struct Keeper {
    memory: SharedMemory,
    file: PeerMemory,
    /// What was given to be kept last, and when.
    kept: Vec<Remembered>,
    kept_at: Timestamp,
    /// Whether that is still being written, and whether it could not be.
    writing: Arc<AtomicBool>,
    failed: Arc<AtomicBool>,
    troubles: Troubles,
    /// The last term whose leader's log was found to be this node's.
    vouched: Term,
}

impl Keeper {
    /// Recalls what was kept. A file that cannot be read is no reason not to start.
    pub(crate) fn new(memory: SharedMemory, file: PeerMemory, troubles: Troubles) -> Self {
        match file.load() {
            Ok(known) => memory.recall(known),
            Err(error) => tracing::warn!(
                name: "memory-not-kept",
                "what the other members have promised is not known any more: {}",
                chain(&error)
            ),
        }
        let (kept, kept_at) = (memory.all(), Timestamp::ZERO);
        let (writing, failed) = <(Arc<AtomicBool>, Arc<AtomicBool>)>::default();
        Self { memory, file, kept, kept_at, writing, failed, troubles, vouched: Term::ZERO }
    }

    /// Says whether the log of this term's leader was found to be this node's.
    pub(super) fn is_vouched(&self, term: Term) -> bool {
        self.vouched == term
    }

    /// The log of this term's leader is this node's.
    pub(super) fn vouch(&mut self, term: Term) {
        self.vouched = term;
    }

    /// Keeps what is new.
    fn keep(&mut self, now: Timestamp) {
        let all = self.memory.all();
        let matters = |known: &Remembered| {
            let Remembered { node, incarnation, starts, boot, term, voted, .. } = *known;
            (node, incarnation, starts, boot, term, voted)
        };
        let is_late = now.since(self.kept_at) >= KEPT_EVERY_NS;
        let is_news = !all.iter().map(matters).eq(self.kept.iter().map(matters));
        let is_stored = all == self.kept && !self.failed.load(Ordering::Relaxed);
        if is_stored || !(is_news || is_late) || self.writing.swap(true, Ordering::Relaxed) {
            return;
        }
        (self.kept, self.kept_at) = (all.clone(), now);
        let (file, writing) = (self.file.clone(), Arc::clone(&self.writing));
        let (failed, troubles) = (Arc::clone(&self.failed), self.troubles.clone());
        spawn_blocking(move || {
            let stored = file.store(&all).map_err(|error| chain(&error));
            if let Err(why) = &stored {
                repeat::tell(Kind::Memory, "this node", why);
            }
            troubles.tell(Trouble::Promises, &stored);
            failed.store(stored.is_err(), Ordering::Relaxed);
            writing.store(false, Ordering::Relaxed);
        });
    }
}

impl Node {
    /// Notes what a member promises.
    pub(super) fn note(&self, from: NodeId, incarnation: Incarnation, message: &Message) {
        let raft = self.replica.raft();
        let leads = Some(raft.term()).filter(|_| raft.leads());
        let at = (raft.incarnation(), leads, raft.commit());
        self.keeper.memory.note((from, incarnation), message, at);
    }

    /// Keeps what members have promised.
    pub(crate) fn remember(&mut self, now: Timestamp) {
        let raft = self.replica.raft();
        let identity = &self.identity;
        self.keeper.memory.keep(Remembered {
            node: raft.id(),
            incarnation: raft.incarnation(),
            starts: identity.starts,
            boot: identity.boot,
            term: Term::ZERO,
            voted: None,
            acknowledged: EntryId::ZERO,
            kept: raft.durable().min(raft.commit()),
        });
        self.keeper.keep(now);
    }

    /// A peer knows that this node has promised more than it holds, or runs twice: it goes on only
    /// as one that has forgotten.
    pub(super) fn forgets(&mut self, by: NodeId, runs_twice: bool, reason: &str) {
        let why = if runs_twice { Forgotten::RunsTwice } else { Forgotten::PeerKnowsMore };
        let failure = Failure::new(Exit::Forgotten, format!("node {by} says: {reason}"));
        let hint = "this node gives up its name, and neither votes nor counts until its cluster \
                    has taken it in again: start it again (systemd does)";
        self.fail(failure.forgotten(why).hint(hint));
    }
}
