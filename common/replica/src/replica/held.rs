//! Proposals that come while leadership is handed over (§3.10): they are held, not refused.
//!
//! The core takes none of them, for the successor must have the whole log; and who is told "try
//! again later" waits for much longer than the two round trips that it takes. Either it fails, and
//! they enter the log here; or somebody else leads, and they are refused with its name. None of
//! them was in any log until then, so that refusing is certain.

use std::mem;

use consensus::{RoleKind, Timestamp};

use crate::replica::Replica;

impl Replica {
    /// Says whether proposals wait: leadership is handed over, or was, and nobody is known to lead
    /// yet. That is waited for until this node stands itself, and for a bounded time: one whose
    /// disk hangs, or that may not vote, never stands.
    pub(super) fn holds(&self, now: Timestamp) -> bool {
        let awaits = || self.raft.role() == RoleKind::Follower && self.raft.leader().is_none();
        let in_time = || self.held_until.is_some_and(|until| now < until);
        !self.raft.has_failed() && (self.raft.is_transferring() || in_time() && awaits())
    }

    /// Returns when those that wait for another leader are given up.
    pub(super) fn gives_up_at(&self) -> Option<Timestamp> {
        self.held_until.filter(|_| !self.proposed.is_empty() && !self.raft.is_transferring())
    }

    /// Steps all proposals that have gathered as one, so that the core works once a turn.
    pub(super) fn flush_proposals(&mut self, now: Timestamp) {
        if self.holds(now) {
            if self.raft.is_transferring() {
                self.held_until = Some(now.after(self.limits.behind_wait_ns));
            }
            return;
        }
        let held = self.held_until.take().is_some();
        if held && self.raft.leads() {
            // There was room for them when they came; there may be none now.
            let held = mem::take(&mut self.proposed);
            self.unapplied_bytes -= held.iter().map(|it| it.command.len()).sum::<usize>();
            self.propose_all(now, held);
        }
        if !self.proposed.is_empty() {
            self.step_proposals(now);
        }
    }
}
