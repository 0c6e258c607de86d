//! Feeding a follower that needs compacted entries: with a snapshot (§5).

use super::Leader;
use crate::core::Core;
use crate::vocabulary::ids::{EntryId, NodeId, ReadRound, Timestamp};

impl Leader {
    /// Sending a snapshot ended, or none could be made: probe what the follower has now, with the
    /// next heartbeat (museum G9).
    pub(crate) fn snapshot_sent(&mut self, core: &Core, now: Timestamp, to: NodeId) {
        if let Some(progress) = self.progress.get_mut(&to) {
            progress.snapshot_ended(now, core.patience_ns());
        }
    }

    /// A follower holds a snapshot up to `last` on its disk, and with it all that was before.
    pub(crate) fn on_snapshot_installed(
        &mut self,
        core: &mut Core,
        now: Timestamp,
        from: NodeId,
        last: EntryId,
    ) {
        let agrees = core.log().term(last.index).is_none_or(|term| term == last.term);
        let end = core.last_index();
        let sound = agrees && last.index <= end;
        if let Some(progress) = self.heard_from(core, now, from, sound, ReadRound::ZERO) {
            progress.acknowledge(last.index, end, now, core.patience_ns());
            self.advance_transfer(core);
        }
    }
}
