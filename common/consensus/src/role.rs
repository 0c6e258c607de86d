//! Roles: what cannot be, cannot be written. A role's data lives in its variant.

use std::collections::BTreeMap;

use crate::forward::Forwarding;
use crate::ids::{ClusterTime, LogIndex, NodeId, RequestId, Timestamp};
use crate::message::Verdict;
use crate::progress::Progress;
use crate::reads::Reads;
use crate::status::RoleKind;
use crate::transfer::Transfer;

/// What a node is in its current term (§3.3).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Role {
    Follower(Follower),
    PreCandidate(Candidacy),
    Candidate(Candidacy),
    Leader(Leader),
}

/// Follows a leader, or waits for one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Follower {
    /// The leader of this term, if known.
    pub(crate) leader: Option<NodeId>,
    /// When that leader was last heard from.
    pub(crate) heard: Timestamp,
    /// When to campaign.
    pub(crate) election: Timestamp,
    /// Reads that wait for the leader's answer.
    pub(crate) forwarding: Forwarding,
}

impl Follower {
    pub(crate) fn new(leader: Option<NodeId>, heard: Timestamp, election: Timestamp) -> Self {
        Self { leader, heard, election, forwarding: Forwarding::default() }
    }
}

/// Asks for votes, or whether it would get them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Candidacy {
    /// Each voter's last answer; a voter counts once.
    pub(crate) votes: BTreeMap<NodeId, Verdict>,
    /// When to try again.
    pub(crate) election: Timestamp,
}

/// Leads.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Leader {
    /// This leader's first entry, the no-op; nothing may be read before it is committed (§6.4).
    pub(crate) first: LogIndex,
    /// When it was elected.
    pub(crate) since: Timestamp,
    /// Cluster time at that moment.
    pub(crate) stamp: ClusterTime,
    /// All other members.
    pub(crate) progress: BTreeMap<NodeId, Progress>,
    /// When heartbeats are due.
    pub(crate) heartbeat: Timestamp,
    /// When contact with a quorum must be shown.
    pub(crate) quorum_check: Timestamp,
    /// Reads that wait for confirmation.
    pub(crate) reads: Reads,
    /// Who asked for the change of members that is under way.
    pub(crate) change: Option<RequestId>,
    /// Until when members are fed that leave with the latest configuration.
    pub(crate) departing: Option<Timestamp>,
    /// The transfer of leadership that is under way.
    pub(crate) transfer: Option<Transfer>,
    /// A successor was told to campaign: the lease is gone for the rest of the term (museum E10).
    pub(crate) handed_over: bool,
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
}
