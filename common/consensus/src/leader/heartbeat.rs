//! Showing that this leader lives, and looking whether a quorum of voters does (§6.2).

use super::progress::Progress;
use super::{Leader, Leadership};
use crate::core::Core;
use crate::vocabulary::ids::{EntryId, NodeId, ReadRound, Timestamp};
use crate::vocabulary::message::Body;

impl Leader {
    /// The heartbeat timer fired: try stalled windows again, and show that this leader lives.
    pub(crate) fn heartbeat(&mut self, core: &mut Core, now: Timestamp) {
        if now < self.heartbeat {
            return;
        }
        self.heartbeat = now.after(core.config().heartbeat_ns);
        for progress in self.progress.values_mut() {
            progress.retry(now, core.patience_ns(), core.config().heartbeat_ns);
        }
        self.repeat_order(core);
        self.evade_own_disk(core, now);
        self.renew_lease(core, now);
        self.broadcast_heartbeat(core);
        self.ask_for_lost(core, now);
    }

    /// Asks followers that have acknowledged nothing for a while whether they have what was sent
    /// last: who does not, refuses, and is sent the rest again.
    fn ask_for_lost(&mut self, core: &mut Core, now: Timestamp) {
        let round = self.reads.newest();
        for (peer, progress) in &mut self.progress {
            let sent = progress.ask_for_lost(now, core.patience_ns(), core.config().heartbeat_ns);
            if let Some(prev) = sent.and_then(|index| core.log().id(index)) {
                send_empty(core, *peer, prev, round);
            }
        }
    }

    /// Sends every member a heartbeat: an empty `AppendEntries` at a place that is known to agree,
    /// so that it never fails the check (museum B26).
    pub(super) fn broadcast_heartbeat(&self, core: &mut Core) {
        let round = self.reads.newest();
        for (peer, progress) in &self.progress {
            // Below the base only a snapshot helps; the place before the log always agrees.
            let prev = core.log().id(progress.matched()).unwrap_or(EntryId::ZERO);
            send_empty(core, *peer, prev, round);
        }
    }

    /// Ends leadership if no quorum has answered for an election timeout: a leader that reaches
    /// nobody must not keep clients waiting (§6.2), and makes room for one that does (museum D5).
    pub(crate) fn check_quorum(&mut self, core: &Core, now: Timestamp) -> Leadership {
        if now < self.quorum_check {
            return Leadership::GoesOn;
        }
        let contact = self.quorum_contact(core, now);
        if now.since(contact) >= core.patience_ns() {
            return Leadership::Ends;
        }
        self.quorum_check = contact.after(core.patience_ns());
        Leadership::GoesOn
    }

    /// Returns the latest time at which this leader had heard from a quorum.
    pub(crate) fn quorum_contact(&self, core: &Core, now: Timestamp) -> Timestamp {
        self.quorum(core, now, Progress::heard)
    }
}

/// Sends an `AppendEntries` without entries. It names no commit index beyond what `prev` covers:
/// the follower may hold other entries behind it (museum B13).
pub(super) fn send_empty(core: &mut Core, to: NodeId, prev: EntryId, round: ReadRound) {
    let commit = core.commit().min(prev.index);
    core.send(to, Body::AppendEntries { prev, entries: Vec::new(), commit, round });
}
