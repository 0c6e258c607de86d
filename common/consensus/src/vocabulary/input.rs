//! All that can ever happen to a replica, as one closed enum.

use bytes::Bytes;

use super::configuration::Configuration;
use super::ids::{
    Chain, ClusterTime, EntryId, Incarnation, LogIndex, NodeId, RequestId, Term, WriteId,
};
use super::message::Message;

/// An input for [`crate::Raft::step`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Input {
    /// A message arrived. The transport vouches for sender and incarnation; nothing is assumed of
    /// order, and messages may be lost or repeated.
    Receive {
        /// The sender, as its certificate says.
        from: NodeId,
        /// The sender's data directory, as its handshake said.
        incarnation: Incarnation,
        /// What it said.
        message: Message,
    },
    /// A deadline passed. Early or stale ones are harmless.
    Timeout(Timer),
    /// A client's commands for the log.
    Propose {
        /// Named again in the reply.
        request: RequestId,
        /// At least one; appended in order, or refused together.
        commands: Vec<Bytes>,
    },
    /// Asks for an index behind which a linearizable read may be served (§6.4): of this node if it
    /// leads, else of the leader through this node.
    Read {
        /// Named again in the reply.
        request: RequestId,
    },
    /// Asks for a change of the cluster's members (§4.3).
    Reconfigure {
        /// Named again in the reply.
        request: RequestId,
        /// The configuration to reach; a stable one.
        target: Configuration,
    },
    /// Asks the leader to hand over (§3.10).
    Transfer {
        /// Named again in the reply.
        request: RequestId,
        /// The voter that shall lead.
        to: NodeId,
    },
    /// This write and all before it are on disk.
    Persisted {
        /// From [`crate::Write::id`].
        write: WriteId,
    },
    /// A write failed. From now on this node promises nothing (a failed fsync is not retried).
    WriteFailed {
        /// From [`crate::Write::id`].
        write: WriteId,
    },
    /// The state machine applied all entries up to here.
    Applied {
        /// The last applied index.
        index: LogIndex,
    },
    /// A local snapshot is durable; the log may be compacted behind it.
    SnapshotTaken {
        /// What it covers.
        meta: SnapshotMeta,
    },
    /// A snapshot that a leader sent is durable here and waits to be installed. The driver keeps
    /// one at most, until [`crate::Actions::install`] names it, or [`crate::Raft::installing`] says
    /// after this step that it is not wanted.
    SnapshotReceived {
        /// The leader.
        from: NodeId,
        /// The leader's term.
        term: Term,
        /// What it covers.
        meta: SnapshotMeta,
    },
    /// Sending a snapshot ended.
    SnapshotSent {
        /// The receiver.
        to: NodeId,
        /// Whether the receiver has confirmed all of it.
        delivered: bool,
    },
    /// The transport dropped something for this peer or lost its connection.
    Unreachable {
        /// The peer.
        peer: NodeId,
    },
    /// Nobody listens any more where this peer was connected: its process has ended, as its machine
    /// says. That may be wrong (a firewall says the same), and is then of no consequence.
    Gone {
        /// The peer.
        peer: NodeId,
    },
}

/// What a deadline is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// No leader heard from, or a campaign undecided, for a randomised election timeout.
    Election,
    /// The leader owes its followers a heartbeat.
    Heartbeat,
    /// The leader must show that it still reaches a quorum.
    QuorumCheck,
    /// A leadership transfer took too long.
    Transfer,
    /// The leader owes this follower a read index.
    ReadIndex,
    /// A follower that is far behind is owed the next of the entries that it lacks: a driver's, as
    /// [`Timer::Question`].
    Feed,
    /// A question that a driver holds until an index is applied has waited for too long. The core
    /// never sets it, and does nothing when it comes: it is here so that a driver that wraps the
    /// core has one kind of deadline.
    Question,
}

/// What a snapshot covers (§5.1).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SnapshotMeta {
    /// The last entry whose effect is inside, with the term of *that entry*.
    pub last: EntryId,
    /// The latest configuration at or before `last`.
    pub configuration: Configuration,
    /// Where that configuration stands in the log.
    pub configuration_index: LogIndex,
    /// Cluster time at `last`, or later: the next leader goes on from there.
    pub stamp: ClusterTime,
    /// The chain value of `last`; 0 where the core says what it covers, which does not know it.
    pub chain: Chain,
}
