//! The rolling number over all that happens in a run: when, and what it made of the nodes. Two runs
//! share it only if they did the same at every event.

use crate::node::Node;
use crate::world::World;

impl World {
    /// Adds the state that an event has left.
    pub(crate) fn fold(&mut self) {
        let mut digest = fold(self.digest, self.now.get());
        for node in &self.nodes {
            for part in parts(node) {
                digest = fold(digest, part);
            }
        }
        self.digest = digest;
    }
}

/// What a node is at, in numbers.
fn parts(node: &Node) -> [u64; 6] {
    let raft = node.replica.as_ref().map(replica::Replica::raft);
    let (term, commit) = raft.map_or((0, 0), |raft| (raft.term().get(), raft.commit().get()));
    let (memory, disk) = (node.memory.last(), node.disk.last());
    [u64::from(node.life), term, commit, memory.index.get(), memory.term.get(), disk.index.get()]
}

/// One step of FNV-1a, a word at a time.
fn fold(digest: u64, part: u64) -> u64 {
    (digest ^ part).wrapping_mul(0x0100_0000_01b3)
}
