//! Peers that dial this node: whoever arrives is there, and says which process it is. That is news
//! for the one who dials it: there is no need to wait longer, and a connection to the process
//! before is of no more use.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use consensus::NodeId;
use tokio::sync::watch;

/// The process that each peer last arrived as; none yet if `None`.
#[derive(Clone, Default)]
pub(crate) struct Arrivals(Arc<Mutex<BTreeMap<NodeId, watch::Sender<Option<u64>>>>>);

impl Arrivals {
    /// Notes that a peer has arrived, as the process that started with this number.
    pub(crate) fn note(&self, peer: NodeId, boot: u64) {
        if let Some(news) = self.lock().get(&peer) {
            news.send_replace(Some(boot));
        }
    }

    /// Returns the news of a peer.
    pub(crate) fn of(&self, peer: NodeId) -> watch::Receiver<Option<u64>> {
        self.lock().entry(peer).or_default().subscribe()
    }

    /// Forgets all who are no peers.
    pub(crate) fn retain(&self, peers: &BTreeSet<NodeId>) {
        self.lock().retain(|peer, _| peers.contains(peer));
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<NodeId, watch::Sender<Option<u64>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
