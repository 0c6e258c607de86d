//! Taking over the leader's state in the place of compacted entries (§5, figure 5.3).

use super::Follower;
use crate::core::Core;
use crate::vocabulary::ids::NodeId;
use crate::vocabulary::input::SnapshotMeta;
use crate::vocabulary::message::Body;

impl Follower {
    /// Takes a snapshot of the leader that it follows, which is durable here. One that covers
    /// nothing new is confirmed, and not installed (museum G2, G6).
    pub(crate) fn on_snapshot(&mut self, core: &mut Core, from: NodeId, meta: SnapshotMeta) {
        let last = meta.last;
        if last.index > core.commit() {
            core.install(meta);
        }
        core.promise(from, Body::SnapshotInstalled { last });
    }
}
