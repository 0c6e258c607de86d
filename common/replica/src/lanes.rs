//! What a replica wants done: lanes that are ordered inside, parallel among, and never wait for
//! each other.

use std::collections::BTreeMap;
use std::ops::{Range, RangeInclusive};

use bytes::Bytes;
use consensus::{
    Basis, EntryId, Event, Incarnation, LogIndex, Member, NodeId, Outgoing, ReadRound, Rejection,
    RequestId, SnapshotMeta, Term, Write,
};

use crate::input::Consistency;
#[cfg(doc)]
use crate::input::SnapshotNews;

/// A question that the newest view may answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The request.
    pub request: RequestId,
    /// The question.
    pub query: Bytes,
    /// How new the answer must be.
    pub consistency: Consistency,
    /// The answer may leave only if this holds, by the clock as it stands after the state was
    /// read; if not, the question is to be put once more.
    pub basis: Basis,
}

/// What a replica wants done; lanes as in [`consensus::Actions`].
#[must_use = "dropped lanes are lost promises"]
#[derive(Clone, Debug, Default)]
pub struct Lanes {
    /// Disk.
    pub write: Option<Write>,
    /// Network. Entries that are to be sent are in memory.
    pub send: Vec<Outgoing>,
    /// Disk and network: pieces of old entries, one a follower, each to be read, and sent if
    /// [`crate::Replica::wants`] it still then; to be told by [`crate::Input::Fed`].
    pub feed: Vec<Piece>,
    /// State machine, before `apply`: replace the state by this snapshot, whose file was received.
    pub install: Option<SnapshotMeta>,
    /// State machine.
    pub apply: Option<RangeInclusive<LogIndex>>,
    /// Snapshots and their files, in order.
    pub snapshot: Vec<SnapshotAction>,
    /// Room on the disk: what has become of it, and what makes some.
    pub room: Vec<RoomAction>,
    /// Alarms that are to be raised or cleared through the log, to be told by
    /// [`crate::Input::Alarms`] when that is applied.
    pub alarm: Vec<Alarm>,
    /// How many messages with entries were not taken, for want of room on the disk or in memory:
    /// their leader sends them again.
    pub dropped: u64,
    /// State machine: a view is to be made of the present state; to be told by
    /// [`crate::Input::Viewed`].
    pub view: bool,
    /// State machine: a view is to be made with what is in `apply`: questions come just now.
    pub views: bool,
    /// Questions that the newest view answers.
    pub query: Vec<Question>,
    /// Clients.
    pub reply: Vec<Reply>,
    /// Network: the nodes to talk to from now on, if they are others than before.
    pub peers: Option<BTreeMap<NodeId, Member>>,
    /// Network: nodes to be asked who they are; to be told by [`crate::Input::Met`].
    pub meet: Option<Meeting>,
    /// This node was removed from the cluster: it has nothing to do any more, and ends.
    pub removed: Option<Removal>,
    /// States that differ: news, each told once. From [`Differing::Own`] on, the state is not to be
    /// used again when the node starts.
    pub differing: Vec<Differing>,
    /// Observers.
    pub event: Vec<Event>,
}

/// Two digests behind one entry: what applying did up to there was not the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Behind which entry it was noticed; it may have begun before.
    pub index: LogIndex,
    /// This node's digest.
    pub ours: u64,
    /// The other's.
    pub theirs: u64,
}

/// A state that differs from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Differing {
    /// This node's own, from a majority's.
    Own(Difference),
    /// A follower's, from the leader's.
    Peer {
        /// The follower.
        id: NodeId,
        /// How.
        difference: Difference,
        /// Whether a majority is with the leader. If not, nobody can tell whose is right.
        outvoted: bool,
    },
}

/// The nodes that a change of members brings in, or moves: each is to be asked who it is, at the
/// address that the change names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meeting {
    /// The change.
    pub request: RequestId,
    /// The nodes, as the change describes them.
    pub newcomers: BTreeMap<NodeId, Member>,
}

/// Entries that a follower lacks which is far behind: `AppendEntries` that is to be made of a range
/// of the log, of at least one entry and as many as one message may carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Names this piece.
    pub number: u64,
    /// The follower.
    pub to: NodeId,
    /// The leader's term.
    pub term: Term,
    /// The entry before them.
    pub prev: EntryId,
    /// Where they are: in memory, or all on the disk, unless they are compacted meanwhile.
    pub range: Range<LogIndex>,
    /// What is committed.
    pub commit: LogIndex,
    /// The newest read round.
    pub round: ReadRound,
}

/// How a node knows that it was removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removal {
    /// It has applied the entry that removed it.
    Applied {
        /// Where that stands in the log.
        index: LogIndex,
    },
    /// Another node has applied it, and says so.
    Told {
        /// That node.
        by: NodeId,
        /// In its words.
        reason: String,
    },
}

/// Something to be done about snapshots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SnapshotAction {
    /// Make the state durable while commands are applied, so that little is left to wait for when
    /// a checkpoint is asked for; to be told by [`crate::Input::Flushed`], or by
    /// [`SnapshotNews::Unflushed`].
    Flush,
    /// Keep the present state at hand, durable; to be told by [`SnapshotNews::Checkpointed`].
    Checkpoint,
    /// Write the state at hand to a file; to be told by [`SnapshotNews::Made`].
    Make(SnapshotMeta),
    /// Outgoing a file to a follower; to be told by [`SnapshotNews::Sent`].
    Send {
        /// Names this sending.
        number: u64,
        /// The follower.
        to: NodeId,
        /// This leader's term.
        term: Term,
        /// The last entry of the file.
        last: EntryId,
    },
    /// End a sending: more is written meanwhile than the log can keep for it. It need not be told.
    GiveUp {
        /// Which sending.
        number: u64,
        /// The follower.
        to: NodeId,
    },
    /// End all sending: this node leads no more. None of it need be told.
    StopSending,
    /// Receive what is offered; to be told by [`SnapshotNews::Received`].
    Receive {
        /// The driver's name for the offer.
        offer: u64,
    },
    /// Refuse what is offered: another snapshot is on its way here.
    Decline {
        /// The driver's name for the offer.
        offer: u64,
    },
    /// Delete a file.
    Delete {
        /// Its last entry.
        last: EntryId,
    },
}

/// How much room there is on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RoomLevel {
    /// More than twice of what is needed in hand.
    Enough,
    /// Less than that: time to do something.
    Low,
    /// Less than what is needed in hand: nothing is taken that adds data.
    Short,
}

/// Something to be done about the room on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoomAction {
    /// Tell people that there is more of it, or less.
    Tell {
        /// How much there was.
        before: RoomLevel,
        /// How much there is.
        level: RoomLevel,
    },
    /// Make the state durable, so that compaction can make room of what was deleted; to be told by
    /// [`crate::Input::Flushed`].
    Flush,
}

/// An alarm that a leader wants in the replicated state, or out of it: this member's disk has no
/// room for more data. To be proposed with [`crate::Purpose::Alarm`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alarm {
    /// The member.
    pub member: NodeId,
    /// Whether it is to be there.
    pub raised: bool,
}

/// An answer for a client, other than that to a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The command is applied.
    Applied {
        /// The request.
        request: RequestId,
        /// Where it stands.
        index: LogIndex,
        /// The machine's answer.
        response: Bytes,
    },
    /// A change of members is committed, or leadership was given up.
    Done {
        /// The request.
        request: RequestId,
    },
    /// Certainly without effect; another node may be asked.
    Refused {
        /// The request.
        request: RequestId,
        /// Why.
        reason: Rejection,
    },
    /// A change of members was not begun: certainly without effect.
    ChangeRefused {
        /// The request.
        request: RequestId,
        /// Why.
        why: ChangeRefusal,
    },
    /// Certainly without effect: the leader's disk has no room, or too few others have.
    NoRoom {
        /// The request.
        request: RequestId,
        /// Whether commands that free space are still taken.
        deletions: bool,
        /// The voters without room; none if it is the leader's own disk.
        voters: Vec<NodeId>,
    },
    /// Certainly without effect: this node's state differs from those of a majority.
    Differs {
        /// The request.
        request: RequestId,
    },
    /// Certainly without effect: another leader's entry has taken its place.
    Superseded {
        /// The request.
        request: RequestId,
    },
    /// The state was written to a file that ends at this entry; `None` if that failed.
    SnapshotTaken {
        /// The request.
        request: RequestId,
        /// Its last entry.
        last: Option<EntryId>,
    },
    /// Nobody knows yet.
    Unknown {
        /// The request.
        request: RequestId,
    },
    /// The index that a question asks for was not reached in time; another node may be further.
    Behind {
        /// The request.
        request: RequestId,
        /// What this node has applied.
        applied: LogIndex,
        /// Another node, which leads as far as this one knows.
        leader: Option<NodeId>,
    },
}

impl Reply {
    /// Returns the request that it answers.
    pub fn request(&self) -> RequestId {
        match self {
            Self::Applied { request, .. }
            | Self::Done { request }
            | Self::Refused { request, .. }
            | Self::ChangeRefused { request, .. }
            | Self::NoRoom { request, .. }
            | Self::Differs { request }
            | Self::Superseded { request }
            | Self::SnapshotTaken { request, .. }
            | Self::Unknown { request }
            | Self::Behind { request, .. } => *request,
        }
    }
}

/// Why a change of members was not begun, beyond the reasons of the core.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangeRefusal {
    /// The members were changed since the operator looked.
    Stale {
        /// Where the configuration stands.
        found: LogIndex,
        /// Where the one stands that the operator has seen.
        expected: LogIndex,
    },
    /// A node would come under the id of a member that was removed.
    IdUsed {
        /// The id.
        node: NodeId,
        /// The entry that removed the member.
        index: LogIndex,
    },
    /// The nodes of another change are being asked who they are.
    Meeting,
    /// Another change is not applied yet, or has just been made.
    UnderWay,
    /// The leader did not meet a node.
    NotMet {
        /// The node.
        node: NodeId,
        /// As the change describes it.
        member: Member,
        /// What was met instead.
        why: NotMet,
    },
}

/// What a leader has met instead of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotMet {
    /// Nobody, or nobody that could be that node; in the driver's words.
    Silent(String),
    /// The node with another data directory.
    Other(Incarnation),
}
