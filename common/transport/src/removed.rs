//! Members that were removed: whoever applies the log says who, and the handshake refuses them with
//! the log entry that removed them. Nothing else is a reason to say so: a node's own configuration
//! may be old, and refusing the live majority would last for ever.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use consensus::{LogIndex, NodeId};

use crate::guard::Guard;

/// The removed members, shared by copies.
#[derive(Clone, Debug, Default)]
pub struct Removed {
    known: Arc<Mutex<Known>>,
    guard: Guard,
}

#[derive(Debug, Default)]
struct Known {
    removed: BTreeMap<NodeId, LogIndex>,
    /// The nodes that this one talks to: members, and those that have yet to hear of their removal.
    peers: BTreeSet<NodeId>,
}

impl Removed {
    /// Nobody so far; the guard closes the connections of those who come.
    pub(crate) fn new(guard: Guard) -> Self {
        Self { known: Arc::default(), guard }
    }

    /// Returns who looks after the connections.
    pub fn guard(&self) -> &Guard {
        &self.guard
    }

    /// Takes over who was removed, and by which entry, as far as the log is applied.
    pub fn replace(&self, removed: impl IntoIterator<Item = (NodeId, LogIndex)>) {
        let removed = removed.into_iter().collect();
        self.guard.remove(&removed);
        self.lock().removed = removed;
    }

    /// Returns which entry removed a node, whether it has heard of that or not.
    pub fn by(&self, node: NodeId) -> Option<LogIndex> {
        self.lock().removed.get(&node).copied()
    }

    pub(crate) fn set_peers(&self, peers: BTreeSet<NodeId>) {
        self.lock().peers = peers;
    }

    /// Returns what removed a node to which this one does not talk any more, or that has had its
    /// time to hear of it.
    pub(crate) fn index_of(&self, node: NodeId) -> Option<LogIndex> {
        let is_gone = self.guard.is_gone(node);
        let known = self.lock();
        known.removed.get(&node).copied().filter(|_| is_gone || !known.peers.contains(&node))
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_removed_is_refused_once_nobody_talks_to_it_any_more() {
        let id = |id| NodeId::new(id).expect("not 0");
        let removed = Removed::default();
        removed.replace([(id(4), LogIndex::new(7))]);
        assert_eq!(removed.index_of(id(4)), Some(LogIndex::new(7)));
        assert_eq!(removed.index_of(id(3)), None);
        removed.set_peers(BTreeSet::from([id(4)]));
        assert_eq!(removed.index_of(id(4)), None, "it has yet to hear of it");
        assert_eq!(removed.by(id(4)), Some(LogIndex::new(7)));
        removed.set_peers(BTreeSet::new());
        assert_eq!(removed.index_of(id(4)), Some(LogIndex::new(7)));
    }
}
