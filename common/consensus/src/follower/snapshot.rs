//! Taking over the leader's state in the place of compacted entries (§5, figure 5.3).

use super::Follower;
use crate::core::Core;
use crate::vocabulary::ids::NodeId;
use crate::vocabulary::input::SnapshotMeta;
use crate::vocabulary::message::Body;

impl Follower {
    /// Takes a snapshot of the leader that it follows, which is durable here. One that covers
    /// nothing new is confirmed, and not installed (museum G2, G6).
    ///
    /// # Panics
    /// If it ends at a committed index, in another term than the log has there: two histories have
    /// met, and whatever is confirmed of either is wrong.
    pub(crate) fn on_snapshot(&mut self, core: &mut Core, from: NodeId, meta: SnapshotMeta) {
        let last = meta.last;
        let own = core.log().term(last.index).filter(|_| last.index <= core.commit());
        assert!(
            own.is_none_or(|own| own == last.term),
            "a snapshot of node {from} ends at {last}, where this log holds an entry of term {} \
             that is committed",
            own.unwrap_or_default()
        );
        if last.index > core.commit() {
            core.install(meta);
        }
        core.promise(from, Body::SnapshotInstalled { last });
    }
}
