//! What a replica tells about itself.

use super::configuration::Configuration;
use super::ids::{EntryId, Incarnation, LogIndex, NodeId, Term, Timestamp};
use super::message::Verdict;

/// A role without its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RoleKind {
    /// Follows, or waits for a leader.
    Follower,
    /// Asks whether it could win (§9.6).
    PreCandidate,
    /// Asks for votes (§3.4).
    Candidate,
    /// Leads.
    Leader,
}

/// All that a replica tells about itself, between two steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status<'a> {
    /// This node.
    pub id: NodeId,
    /// This node's data directory.
    pub incarnation: Incarnation,
    /// The current term.
    pub term: Term,
    /// The candidate that has this node's vote in this term.
    pub voted_for: Option<NodeId>,
    /// What this node is.
    pub role: RoleKind,
    /// The leader of this term, if known.
    pub leader: Option<NodeId>,
    /// The entry before the first one that is still in the log.
    pub base: EntryId,
    /// The last entry of the log.
    pub last: EntryId,
    /// The last index that is on this node's disk.
    pub durable: LogIndex,
    /// The highest index known to be committed.
    pub commit: LogIndex,
    /// The highest index that the state machine has applied.
    pub applied: LogIndex,
    /// The configuration in force: the latest in the log, committed or not (§4.1).
    pub configuration: &'a Configuration,
    /// Where it stands in the log.
    pub configuration_index: LogIndex,
    /// When this node became leader; `None` if it does not lead.
    pub leading_since: Option<Timestamp>,
    /// When this node last heard from a leader, or, if it led since, from a quorum. `None` at a
    /// leader, and at a node that has heard from none since it started.
    pub contact: Option<Timestamp>,
    /// Until when this leader may serve reads by its lease (§6.4.1), as far as is known now.
    pub lease_until: Option<Timestamp>,
    /// What a leader knows of each other member; empty elsewhere.
    pub peers: Vec<PeerStatus>,
    /// Which voters have refused this candidate, and why.
    pub refusals: Vec<(NodeId, Verdict)>,
    /// Whether the disk has failed.
    pub failed: bool,
}

/// What a leader knows of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerStatus {
    /// The member.
    pub id: NodeId,
    /// The highest index known to agree and to be durable there.
    pub matched: LogIndex,
    /// The next index to send.
    pub next: LogIndex,
    /// How it is being fed.
    pub flow: FlowKind,
    /// When it was last heard from.
    pub heard: Timestamp,
    /// How a member that does not vote catches up (§4.2.1).
    pub catch_up: Option<CatchUp>,
}

/// How a new member catches up: in rounds, each of which brings what the log held when the round
/// began (§4.2.1). It has caught up when its lag is small, whatever the rounds took: a slow disk
/// makes rounds long, and a long way in one round is one round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CatchUp {
    /// The round under way, or the last one; from 1 on.
    pub round: u32,
    /// How long the last complete round took, in nanoseconds.
    pub last_round_ns: Option<u64>,
    /// How many entries it lacks.
    pub lag: u64,
}

/// How a leader feeds a follower.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FlowKind {
    /// Looks for the place where the logs agree: one message at a time.
    Probe,
    /// Streams entries, a window ahead of the acknowledgements.
    Replicate,
    /// Waits for a snapshot to arrive.
    Snapshot,
}
