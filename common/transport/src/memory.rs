//! What this node remembers of the other members, shared by all connections: whoever meets a peer
//! judges it by the same memory, and whoever tells peers hears of what is new.

use std::sync::{Arc, Mutex, PoisonError};

use consensus::{Incarnation, LogIndex, Message, NodeId, Term};
use protocol::{Hello, Memory, Refusal, Remembered, Speaker};
use tokio::sync::watch;

/// A [`Memory`], shared by copies.
#[derive(Clone, Debug)]
pub struct SharedMemory {
    memory: Arc<Mutex<Memory>>,
    /// The count of what others should hear of.
    news: watch::Sender<u64>,
}

impl Default for SharedMemory {
    fn default() -> Self {
        Self { memory: Arc::default(), news: watch::Sender::new(0) }
    }
}

impl SharedMemory {
    /// Takes over what this node has remembered before.
    pub fn recall(&self, memory: impl IntoIterator<Item = Remembered>) {
        self.with(|known| known.recall(memory));
    }

    /// Returns all that is remembered.
    pub fn all(&self) -> Vec<Remembered> {
        self.with(|known| known.all())
    }

    /// Forgets nodes that were removed from the cluster.
    pub fn forget(&self, is_gone: impl Fn(NodeId) -> bool) {
        self.with(|known| known.forget(is_gone));
    }

    /// Says how much of its log this node keeps for certain: durable here, and committed.
    pub fn keep(&self, own: Remembered) {
        self.with(|known| known.keep(own));
    }

    /// Notes what a message promises ([`Memory::note`]).
    pub fn note(
        &self,
        from: (NodeId, Incarnation),
        message: &Message,
        at: (Incarnation, Option<Term>, LogIndex),
    ) {
        self.with(|known| known.note(from, message, at));
    }

    pub(crate) fn to_tell(&self) -> Vec<Remembered> {
        self.with(|known| known.to_tell())
    }

    pub(crate) fn meet(&self, ours: &Hello, theirs: &Hello) -> Result<(), Refusal> {
        self.with(|known| known.meet(ours, theirs))
    }

    pub(crate) fn still_hears(&self, speaker: Speaker) -> Result<(), Refusal> {
        self.with(|known| known.still_hears(speaker))
    }

    pub(crate) fn told(&self, ours: &Hello, told: &[Remembered]) -> Option<String> {
        self.with(|known| known.told(ours, told))
    }

    /// Returns the count of what others should hear of.
    pub fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    fn with<R>(&self, act: impl FnOnce(&mut Memory) -> R) -> R {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let before = memory.news();
        let (result, news) = (act(&mut memory), memory.news());
        drop(memory);
        // Each message of a peer comes by here, and next to none is news.
        if news > before {
            self.news.send_modify(|count| *count = news.max(*count));
        }
        result
    }
}
