//! Roles: what cannot be, cannot be written. A role's data lives in its variant, and what only a
//! role may do is a procedure on that data.

use crate::candidate::{Candidate, PreCandidate};
use crate::core::Core;
use crate::follower::Follower;
use crate::leader::Leader;
use crate::vocabulary::ids::{NodeId, Timestamp};
use crate::vocabulary::input::Timer;
use crate::vocabulary::status::RoleKind;

/// What a node is in its current term (§3.3).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Role {
    Follower(Follower),
    PreCandidate(PreCandidate),
    Candidate(Candidate),
    /// In a box: it is much larger than the others.
    Leader(Box<Leader>),
}

impl Role {
    pub(crate) fn kind(&self) -> RoleKind {
        match self {
            Self::Follower(_) => RoleKind::Follower,
            Self::PreCandidate(_) => RoleKind::PreCandidate,
            Self::Candidate(_) => RoleKind::Candidate,
            Self::Leader(_) => RoleKind::Leader,
        }
    }

    pub(crate) fn leader(&self) -> Option<&Leader> {
        match self {
            Self::Leader(leader) => Some(leader),
            Self::Follower(_) | Self::PreCandidate(_) | Self::Candidate(_) => None,
        }
    }

    pub(crate) fn leader_mut(&mut self) -> Option<&mut Leader> {
        match self {
            Self::Leader(leader) => Some(leader),
            Self::Follower(_) | Self::PreCandidate(_) | Self::Candidate(_) => None,
        }
    }

    /// Returns the leader of this term, if known.
    pub(crate) fn known_leader(&self, core: &Core) -> Option<NodeId> {
        match self {
            Self::Follower(follower) => follower.leader(),
            Self::PreCandidate(_) | Self::Candidate(_) => None,
            Self::Leader(_) => Some(core.id()),
        }
    }

    /// Returns when to campaign; `None` at a leader.
    pub(crate) fn election(&self) -> Option<Timestamp> {
        match self {
            Self::Follower(follower) => Some(follower.election()),
            Self::PreCandidate(candidate) => Some(candidate.election()),
            Self::Candidate(candidate) => Some(candidate.election()),
            Self::Leader(_) => None,
        }
    }

    /// Returns when to wake this node, and why.
    pub(crate) fn deadline(&self, core: &Core) -> Option<(Timestamp, Timer)> {
        match self {
            Self::Follower(follower) => follower.deadline(core),
            Self::PreCandidate(candidate) => Some((candidate.election(), Timer::Election)),
            Self::Candidate(candidate) => Some((candidate.election(), Timer::Election)),
            Self::Leader(leader) => Some(leader.deadline()),
        }
    }

    /// Says whether this node leads, or hears from a leader other than `candidate` (§4.2.3); `None`
    /// is a candidate that cannot be that leader.
    pub(crate) fn leader_alive(
        &self,
        core: &Core,
        now: Timestamp,
        candidate: Option<NodeId>,
    ) -> bool {
        match self {
            Self::Follower(follower) => {
                follower.hears_from_leader(core, now, candidate) || core.stands_by(now, candidate)
            }
            Self::PreCandidate(_) | Self::Candidate(_) => core.stands_by(now, candidate),
            // It steps down by itself when it loses contact with a quorum.
            Self::Leader(_) => true,
        }
    }

    /// Ends this role, and answers what only it could have finished.
    pub(crate) fn leave(self, core: &mut Core) {
        match self {
            Self::Follower(follower) => follower.leave(core),
            Self::PreCandidate(_) | Self::Candidate(_) => {}
            Self::Leader(leader) => leader.leave(core),
        }
    }
}
