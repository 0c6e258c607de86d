//! Takes clients' and operators' requests in, and refuses those that only a leader can serve.

use bytes::Bytes;

use super::Raft;
use crate::role::Role;
use crate::vocabulary::actions::Rejection;
use crate::vocabulary::configuration::Configuration;
use crate::vocabulary::ids::{NodeId, RequestId, Timestamp};

impl Raft {
    pub(super) fn propose(&mut self, now: Timestamp, request: RequestId, commands: Vec<Bytes>) {
        match &mut self.role {
            Role::Leader(leader) => leader.propose(&mut self.core, now, request, commands),
            Role::Follower(_) | Role::PreCandidate(_) | Role::Candidate(_) => {
                self.reject_as_no_leader(request);
            }
        }
    }

    /// Takes a read: one to answer if this node leads, else one to ask the leader for.
    pub(super) fn read(&mut self, request: RequestId) {
        match &mut self.role {
            Role::Leader(leader) => leader.read(&mut self.core, request),
            Role::Follower(follower) => follower.read(&mut self.core, request),
            Role::PreCandidate(_) | Role::Candidate(_) => self.reject_as_no_leader(request),
        }
    }

    pub(super) fn reconfigure(
        &mut self,
        now: Timestamp,
        request: RequestId,
        target: &Configuration,
    ) {
        match &mut self.role {
            Role::Leader(leader) => leader.reconfigure(&mut self.core, now, request, target),
            Role::Follower(_) | Role::PreCandidate(_) | Role::Candidate(_) => {
                self.reject_as_no_leader(request);
            }
        }
    }

    pub(super) fn transfer(&mut self, now: Timestamp, request: RequestId, to: NodeId) {
        match &mut self.role {
            Role::Leader(leader) => leader.transfer(&mut self.core, now, request, to),
            Role::Follower(_) | Role::PreCandidate(_) | Role::Candidate(_) => {
                self.reject_as_no_leader(request);
            }
        }
    }

    fn reject_as_no_leader(&mut self, request: RequestId) {
        let leader = self.role.known_leader(&self.core);
        self.core.reject(request, Rejection::NotLeader { leader });
    }
}
