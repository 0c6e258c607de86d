//! What a replica wants done: lanes that are ordered inside, parallel among, and never wait for
//! each other.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use bytes::Bytes;
use consensus::{
    Basis, EntryId, Event, LogIndex, Member, NodeId, Outgoing, Rejection, RequestId, SnapshotMeta,
    Term, Write,
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

/// What a replica wants done; lanes as in [`Actions`].
#[must_use = "dropped lanes are lost promises"]
#[derive(Clone, Debug, Default)]
pub struct Lanes {
    /// Disk.
    pub write: Option<Write>,
    /// Network.
    pub send: Vec<Outgoing>,
    /// State machine, before `apply`: replace the state by this snapshot, whose file was received.
    pub install: Option<SnapshotMeta>,
    /// State machine.
    pub apply: Option<RangeInclusive<LogIndex>>,
    /// Snapshots and their files, in order.
    pub snapshot: Vec<SnapshotAction>,
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
    /// This node was removed from the cluster: it has nothing to do any more, and ends.
    pub removed: Option<Removal>,
    /// Observers.
    pub event: Vec<Event>,
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
    /// a checkpoint is asked for; to be told by [`crate::Input::Flushed`].
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
    },
}
