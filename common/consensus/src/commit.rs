//! The commit rule (§3.6.2) and the leader's check that it still reaches a quorum (§6.2).

use crate::ids::{LogIndex, NodeId, Timestamp};
use crate::raft::Raft;

impl Raft {
    /// Commits what a quorum holds on its disks, if it is of the leader's own term; entries of
    /// earlier terms are committed only together with one (§3.6.2, museum B1, B2).
    pub(crate) fn advance_commit(&mut self) {
        let Some(leader) = self.role.leader() else {
            return;
        };
        // The leader counts itself only for what is durable here (museum B20).
        let own = self.durability.durable();
        let matched = |id: NodeId| match leader.progress.get(&id) {
            Some(progress) => progress.matched,
            None if id == self.id => own,
            None => LogIndex::ZERO,
        };
        let reached = self.membership.latest().voters().quorum_index(matched);
        let own_term = self.log.term(reached) == Some(self.term());
        if reached > self.commit && own_term {
            self.commit = reached;
        }
    }

    /// Steps down if no quorum has answered for an election timeout: a leader that reaches nobody
    /// must not keep clients waiting (§6.2), and makes room for one that does (museum D5).
    pub(crate) fn check_quorum(&mut self, now: Timestamp) {
        let patience_ns = self.config.election_timeout_ns.start;
        let Some(contact) = self.quorum_contact(now) else {
            return;
        };
        if now.since(contact) >= patience_ns {
            self.follow(now, self.term(), None);
        } else if let Some(leader) = self.role.leader_mut() {
            leader.quorum_check = contact.after(patience_ns);
        }
    }

    /// Returns when a leader last heard from a quorum; `None` if this node does not lead.
    pub(crate) fn quorum_contact(&self, now: Timestamp) -> Option<Timestamp> {
        let leader = self.role.leader()?;
        // The same arithmetic as for the log: the latest time that a quorum has reached.
        let heard = |id: NodeId| match leader.progress.get(&id) {
            Some(progress) => LogIndex::new(progress.heard.get()),
            None if id == self.id => LogIndex::new(now.get()),
            None => LogIndex::ZERO,
        };
        let quorum = self.membership.latest().voters().quorum_index(heard);
        Some(Timestamp::new(quorum.get()))
    }
}
