//! Leaders, as a node's turn shows them: a node follows only who leads its term, and a leader that
//! no quorum answers is one no longer.

use consensus::{NodeId, Raft, Timestamp};

use crate::broken::Broken;
use crate::quorum::decides;
use crate::watch::PATIENCE_NS;
use crate::world::World;

/// A leader looks for its quorum once in an election timeout, and answers count from when they came
/// on: so much later it has stepped down.
const STEPS_DOWN_NS: u64 = 3 * PATIENCE_NS;

/// A node that stood still has more timers due than fire in one turn.
const TURNS_MAX: u64 = 3;

impl World {
    /// Looks at whom a node follows behind a turn, or at who answers it.
    pub(crate) fn watch_leadership(
        &mut self,
        node: usize,
        before: &Raft,
        now: Timestamp,
    ) -> Result<(), Broken> {
        let place = &self.nodes[node];
        let raft = place.replica.as_ref().expect("it was stepped").raft();
        if let Some(leader) = raft.leader().filter(|leader| *leader != place.id) {
            self.oracle.follows(place.id, leader, raft.term())?;
        }
        self.has_a_quorum(node, before, now)
    }

    /// A leader steps down when an election timeout has passed without an answer of a quorum, of
    /// both halves of a joint configuration (§6.2, §4.3).
    fn has_a_quorum(&mut self, node: usize, before: &Raft, now: Timestamp) -> Result<(), Broken> {
        let place = &mut self.nodes[node];
        let raft = place.replica.as_ref().expect("it was stepped").raft();
        let long = raft.leading_since().is_some_and(|since| now.since(since) > STEPS_DOWN_NS);
        let is_late = |heard: Timestamp| now.since(heard) >= STEPS_DOWN_NS;
        let answers = |voter: NodeId| {
            voter == place.id || raft.peers().any(|peer| peer.id == voter && !is_late(peer.heard))
        };
        let alone = long && !decides(raft.configuration().voters(), answers);
        // New voters have an election timeout to answer (museum C19).
        let settled = before.leads() && before.configuration_index() == raft.configuration_index();
        let watch = &mut place.watch;
        watch.alone = if alone && settled { watch.alone + 1 } else { 0 };
        if watch.alone > TURNS_MAX {
            let why = format!("node {} leads term {} on at {now:?}", place.id, raft.term());
            return Err(Broken::new("a leader that no quorum answers steps down (§6.2)", why));
        }
        Ok(())
    }
}
