//! How a replica compares its state with the others', and what it does if its own differs.

use consensus::{
    Body, Input as Raw, LogIndex, Message, NodeId, Outgoing, RequestId, RoleKind, Timestamp,
};

use crate::lanes::{Difference, Reply};
use crate::replica::Replica;

/// The name of the transfer that a leader asks of itself; no client's.
const HAND_OVER: RequestId = RequestId::new(0);

impl Replica {
    /// Returns how this node's state differs from those of a majority, if it does: then nothing is
    /// answered from it, and this node does not lead.
    pub fn differs(&self) -> Option<Difference> {
        self.comparison.own()
    }

    /// Returns behind which entry a leader has last seen that a follower's state differs from its
    /// own.
    pub fn difference_of(&self, follower: NodeId) -> Option<LogIndex> {
        self.comparison.of(self.raft.term(), follower)
    }

    /// Takes a message that is not the core's; gives back all others.
    pub(super) fn compare(&mut self, raw: Raw) -> Option<Raw> {
        let Raw::Receive { from, incarnation, message } = &raw else {
            return Some(raw);
        };
        let Body::Effects { index, digest, judged } = message.body else {
            let may_lead = !matches!(message.body, Body::TimeoutNow { .. });
            return (may_lead || self.differs().is_none()).then_some(raw);
        };
        let term = self.raft.term();
        if message.term == term {
            let leads = self.raft.status().leader == Some(*from);
            if judged && leads {
                self.comparison.judged(index, digest);
            } else if !judged
                && self.raft.leads()
                && self.raft.configuration().recognises(*from, *incarnation)
            {
                self.comparison.heard(term, *from, index, digest);
            }
        }
        None
    }

    /// Reports to the leader, or judges what others report.
    pub(super) fn tell_effects(&mut self, now: Timestamp, send: &mut Vec<Outgoing>) {
        let (id, term) = (self.raft.id(), self.raft.term());
        let bodies = if self.raft.leads() {
            self.comparison.judge(now, term, (id, self.raft.configuration()))
        } else {
            let status = self.raft.status();
            let leader = status.leader.filter(|_| status.role == RoleKind::Follower);
            let report = leader.and_then(|to| Some((to, self.comparison.report(now, term, to)?)));
            report.into_iter().collect()
        };
        let message = |body| Message { term, body };
        send.extend(
            bodies.into_iter().map(|(to, body)| Outgoing::Message { to, message: message(body) }),
        );
    }

    /// A leader whose state differs from a majority's hands over to one of that majority, and gives
    /// its state to nobody.
    pub(super) fn leave_office(&mut self, now: Timestamp) {
        if self.differs().is_none() || !self.raft.leads() {
            return;
        }
        self.snapshots.stop_sending();
        if self.raft.is_transferring() {
            return;
        }
        let term = self.raft.term();
        let to = self.successor(now, |id| self.comparison.untried(term, id));
        self.comparison.tries(to);
        if let Some(to) = to {
            self.raft.step(now, Raw::Transfer { request: HAND_OVER, to });
        }
    }

    /// Returns the voter that had best lead next, of those that a leader which is to stop can
    /// reach: one whose state is this node's, as far as is known, that answers and whose disk does
    /// not hang, if there is one, and of those the one that has most of the log.
    pub fn successor(
        &self,
        now: Timestamp,
        is_reachable: impl Fn(NodeId) -> bool,
    ) -> Option<NodeId> {
        let configuration = self.raft.configuration();
        let best = |is_reachable: &dyn Fn(NodeId) -> bool| {
            let ready = |id| configuration.is_voter(id) && is_reachable(id);
            let most = || self.raft.peers().filter(|p| ready(p.id)).max_by_key(|peer| peer.matched);
            self.raft.successor(now, ready).or_else(|| most().map(|peer| peer.id))
        };
        // If it is this node's that is wrong, another one is better.
        let is_wrong = self.differs().is_some();
        let is_same = |id| is_reachable(id) && self.difference_of(id).is_some() == is_wrong;
        best(&is_same).or_else(|| best(&is_reachable))
    }

    /// Refuses what would be answered from a state that differs.
    pub(super) fn refuses_for_difference(&mut self, request: RequestId) -> bool {
        let differs = self.differs().is_some();
        if differs {
            self.reply.push(Reply::Differs { request });
        }
        differs
    }
}
