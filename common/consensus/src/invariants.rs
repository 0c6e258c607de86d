//! What must hold of every state, and of every step between two states (after LogCabin's
//! `Invariants`). Cheap enough to run in release.

use crate::RoleKind;
use crate::raft::Raft;
use crate::role::Role;

impl Raft {
    /// Checks the state between two steps.
    ///
    /// # Panics
    /// If an invariant is broken: the process must not go on.
    pub fn check_state(&self) {
        let (base, last) = (self.log.base(), self.log.last());
        assert!(base.index <= last.index, "the log ends at or behind its base");
        assert!(last.term <= self.term(), "no entry is of a term to come");
        assert!(self.durability.durable() <= last.index, "only what is in the log is durable");
        assert!(self.commit <= last.index, "only what is in the log is committed");
        assert!(self.applied <= self.handed, "only what was handed out is applied");
        assert!(self.handed <= self.commit, "only what is committed is handed out");
        let installing = self.install.is_some();
        assert!(base.index <= self.applied || installing, "only what is applied is compacted");
        assert!(base.index <= self.handed, "what is compacted is not handed out again");
        assert!(self.membership.index() <= last.index, "the configuration stands in the log");
        match &self.role {
            Role::Follower(follower) => {
                assert!(follower.leader != Some(self.id), "nobody follows itself");
                let waiting = follower.forwarding.len();
                assert!(waiting <= self.config.reads_max as usize, "reads are bounded (F12)");
                assert!(follower.leader.is_some() || waiting == 0, "reads wait for a leader");
            }
            Role::PreCandidate(_) => {}
            Role::Candidate(_) => {
                assert!(self.hard_state.voted_for == Some(self.id), "a candidate votes for itself");
            }
            Role::Leader(leader) => {
                assert!(self.hard_state.voted_for == Some(self.id), "a leader has its own vote");
                assert!(leader.first <= last.index, "a leader's no-op is in its log");
                leader.reads.check(self.config.reads_max as usize);
                let first = self.log.term(leader.first);
                assert!(
                    first == Some(self.term()) || leader.first <= base.index,
                    "a leader's no-op is of its own term"
                );
                for progress in leader.progress.values() {
                    assert!(progress.matched <= last.index, "nobody agrees beyond the log");
                    assert!(progress.next > progress.matched, "next is above matched (B8)");
                    assert!(progress.next <= last.index.next(), "next is at most one behind");
                    assert!(progress.round <= leader.reads.round, "rounds are not answered early");
                    let read = progress.forwarded.and_then(|read| read.at);
                    let begun = read.is_none_or(|(round, _)| round <= leader.reads.round);
                    assert!(begun, "forwarded reads wait for a round that has begun");
                }
            }
        }
    }

    /// Checks the step from `before` to this state.
    ///
    /// # Panics
    /// If an invariant is broken.
    pub fn check_transition(&self, before: &Self) {
        assert!(self.term() >= before.term(), "terms never decrease (§3.3)");
        assert!(self.commit >= before.commit, "the commit index never moves back (§3.6)");
        assert!(self.handed >= before.handed, "nothing is handed out twice");
        assert!(self.applied >= before.applied, "nothing is unapplied");
        assert!(self.stamp >= before.stamp, "cluster time never moves back (§6.3)");
        assert!(self.log.base().index >= before.log.base().index, "compaction is for ever");
        let committed = before.log.id(before.commit);
        if let Some(id) = committed.filter(|id| id.index >= self.log.base().index) {
            assert!(self.log.contains(id), "committed entries stay (§3.6)");
        }
        if self.term() > before.term() {
            return;
        }
        if let Some(voted) = before.hard_state.voted_for {
            assert!(self.hard_state.voted_for == Some(voted), "one vote a term (§3.4)");
        }
        if let (Some(then), Some(leader)) = (before.role.leader(), self.role.leader()) {
            assert!(leader.handed_over >= then.handed_over, "a lease given up stays so (E10)");
            assert!(leader.reads.round >= then.reads.round, "rounds are never reused (F3)");
        }
        if before.role.kind() == RoleKind::Leader {
            let still = matches!(self.role.kind(), RoleKind::Leader);
            assert!(self.log.contains(before.log.last()) || !still, "a leader appends only (§3.5)");
            assert!(
                self.role.kind() != RoleKind::Candidate,
                "a leader does not stand again in its own term"
            );
        }
    }
}
