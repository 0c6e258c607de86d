//! Which processes are connected as which node: more than one for long means that a copy runs.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use consensus::NodeId;

/// The processes that have dialled this node and are connected, shared by copies.
#[derive(Clone, Default)]
pub(crate) struct Presence(Arc<Mutex<BTreeMap<(NodeId, u64), Here>>>);

/// A process that is connected.
struct Here {
    connections: usize,
    since: Instant,
}

/// Keeps a process present as long as its connection lasts.
pub(crate) struct Present {
    presence: Presence,
    who: (NodeId, u64),
}

impl Presence {
    /// A process has connected as this node.
    pub(crate) fn enter(&self, node: NodeId, boot: u64) -> Present {
        let who = (node, boot);
        let new = || Here { connections: 0, since: Instant::now() };
        self.lock().entry(who).or_insert_with(new).connections += 1;
        Present { presence: self.clone(), who }
    }

    /// Returns for how long at least two processes have been connected as this node.
    pub(crate) fn doubled(&self, node: NodeId) -> Option<Duration> {
        let present = self.lock();
        let mut since: Vec<Instant> =
            present.range((node, 0)..=(node, u64::MAX)).map(|(_, here)| here.since).collect();
        since.sort_unstable();
        since.get(1).map(Instant::elapsed)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(NodeId, u64), Here>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        let mut present = self.presence.lock();
        if let Some(here) = present.get_mut(&self.who) {
            here.connections -= 1;
            if here.connections == 0 {
                present.remove(&self.who);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_doubled_while_two_processes_are_connected_as_it() {
        let id = NodeId::new(2).expect("not 0");
        let presence = Presence::default();
        let one = presence.enter(id, 7);
        let again = presence.enter(id, 7);
        assert!(presence.doubled(id).is_none(), "one process, two connections");
        let other = presence.enter(id, 8);
        assert!(presence.doubled(id).is_some());
        drop(one);
        assert!(presence.doubled(id).is_some());
        drop(again);
        assert!(presence.doubled(id).is_none());
        drop(other);
    }
}
