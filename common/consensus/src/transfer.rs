//! Handing leadership over (§3.10).

use crate::actions::{Rejection, Reply};
use crate::ids::{EntryId, NodeId, RequestId, Timestamp};
use crate::message::{Body, Message};
use crate::raft::Raft;
use crate::role::Role;

/// A transfer under way. While it lasts, the leader takes no proposals, so that its successor can
/// catch up.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Transfer {
    /// The successor.
    pub(crate) to: NodeId,
    /// When to give up.
    pub(crate) until: Timestamp,
    /// Who asked.
    request: RequestId,
    /// Whether the successor has been told.
    told: bool,
}

impl Raft {
    /// Begins to hand over to a voter; anything else is refused.
    pub(crate) fn transfer(&mut self, now: Timestamp, request: RequestId, to: NodeId) {
        let id = self.id;
        let known = self.leader();
        let voter = self.membership.latest().is_voter(to);
        let patience_ns = self.config.election_timeout_ns.start;
        let Some(leader) = self.role.leader_mut() else {
            self.reject(request, Rejection::NotLeader { leader: known });
            return;
        };
        if to == id {
            self.out.reply.push(Reply::Done { request });
        } else if !voter {
            self.reject(request, Rejection::Invalid);
        } else if leader.transfer.is_some() {
            self.reject(request, Rejection::Transferring);
        } else {
            let until = now.after(patience_ns);
            leader.transfer = Some(Transfer { to, until, request, told: false });
            self.advance_transfer();
        }
    }

    /// Tells the successor to campaign as soon as it has everything.
    pub(crate) fn advance_transfer(&mut self) {
        let (term, last) = (self.term(), self.log.last());
        let Some(leader) = self.role.leader_mut() else {
            return;
        };
        let Some(transfer) = &mut leader.transfer else {
            return;
        };
        let matched = leader.progress.get(&transfer.to).map(|progress| progress.matched);
        if !transfer.told && matched == Some(last.index) {
            transfer.told = true;
            leader.handed_over = true;
            let to = transfer.to;
            self.send(to, Message { term, body: Body::TimeoutNow { last } });
        }
    }

    /// The successor did not take over within an election timeout: go on leading.
    pub(crate) fn abort_transfer(&mut self, now: Timestamp) {
        if let Some(leader) = self.role.leader_mut()
            && let Some(transfer) = leader.transfer.take_if(|transfer| now >= transfer.until)
        {
            self.reject(transfer.request, Rejection::TransferTimedOut);
        }
    }

    /// The leader asks this node to campaign at once. Pre-vote and the wait are left out: that
    /// leader lives, and wants it (§3.10).
    pub(crate) fn on_timeout_now(&mut self, now: Timestamp, from: NodeId, last: EntryId) {
        let follows = match &self.role {
            Role::Follower(follower) => follower.leader == Some(from),
            Role::PreCandidate(_) | Role::Candidate(_) | Role::Leader(_) => false,
        };
        if follows && self.log.last() == last && self.may_campaign() {
            self.campaign(now, true);
        }
    }

    /// Says whether this node hands leadership over, and takes no writes meanwhile.
    pub fn is_transferring(&self) -> bool {
        self.role.leader().is_some_and(|leader| leader.transfer.is_some())
    }
}

impl Transfer {
    /// The leader has stepped down: whoever asked may look who leads now.
    pub(crate) fn into_request(self) -> RequestId {
        self.request
    }
}
