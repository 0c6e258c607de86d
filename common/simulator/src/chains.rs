//! Chain values: each entry's is a checksum over all of the log up to there, so that two logs that
//! differ are told apart by whoever stores the next entry. They are ours, not Raft's.

use consensus::{Chain, Write};

use crate::broken::Broken;
use crate::world::World;

impl World {
    /// Looks at the chain values of what a node appends: each goes on from the one before, the
    /// first from `before`, which is that of the last entry or of the snapshot in its place.
    pub(crate) fn chains(
        &self,
        node: usize,
        mut before: Chain,
        write: &Write,
    ) -> Result<(), Broken> {
        for entry in &write.append {
            if entry.chain != protocol::chain(before, entry) {
                let why = format!("node {}: entry {}", self.nodes[node].id, entry.id);
                return Err(Broken::new("an entry's chain goes on from the one before", why));
            }
            before = entry.chain;
        }
        Ok(())
    }
}
