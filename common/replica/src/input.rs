//! What happens to a replica: a closed list, in the words of its driver.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use consensus::{
    Configuration, EntryId, Incarnation, Input as Raw, LogIndex, NodeId, RequestId, SnapshotMeta,
    Term,
};

/// What a command is good for: it decides what it may be refused for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// It adds data.
    Data,
    /// It makes the state smaller, or mends things: it is taken when there is little room on the
    /// disk.
    Frees,
    /// The leader's own [`crate::Alarm`]: taken as one that frees, and also where clients wait in
    /// as great a number as may. They would keep it away for as long as they keep asking.
    Alarm,
    /// The leader's own note of an administrative act: taken as an alarm is. There is one for each
    /// act that waits itself, so that they are bounded with these.
    Note,
}

/// All that can happen to a replica.
#[derive(Clone, Debug)]
pub enum Input {
    /// Something for the consensus core, but for commands and questions of clients, and changes of
    /// members.
    Raft(Raw),
    /// A client's command.
    Propose {
        /// Named again in the reply.
        request: RequestId,
        /// The command, in its envelope.
        command: Bytes,
        /// What it is good for.
        purpose: Purpose,
    },
    /// Commands of a client that stand in the log in this order: behind one that is refused, all
    /// others are refused as well.
    ProposeAll {
        /// At least one.
        proposals: Vec<Proposal>,
    },
    /// A client's question.
    Query {
        /// Named again in the reply.
        request: RequestId,
        /// The question.
        query: Bytes,
        /// How new the answer must be.
        consistency: Consistency,
    },
    /// The state machine applied everything up to `index`.
    Applied {
        /// The last applied index.
        index: LogIndex,
        /// The machine's answers, ascending.
        responses: Vec<(LogIndex, Bytes)>,
    },
    /// The digests behind the last entries that were applied, up to `last`: to be told before
    /// [`Input::Applied`]. A replica that is never told compares nothing.
    Effects {
        /// The last of them.
        last: LogIndex,
        /// One an entry.
        digests: Vec<u64>,
    },
    /// There is a view of the state that holds everything up to here. To be told before
    /// [`Input::Applied`] if the view came with it.
    Viewed {
        /// What it holds.
        applied: LogIndex,
    },
    /// The state machine's state is durable up to `index`: the log is not needed for a restart.
    Flushed {
        /// The last index that the durable state covers.
        index: LogIndex,
        /// What the state takes on the disk, in bytes.
        state_bytes: u64,
    },
    /// An operator wants a snapshot of the present state.
    TakeSnapshot {
        /// Named again in the reply.
        request: RequestId,
    },
    /// News of the snapshots.
    Snapshot(SnapshotNews),
    /// An operator wants other members.
    Reconfigure {
        /// Named again in the reply.
        request: RequestId,
        /// The members and their roles.
        target: Configuration,
        /// Where the configuration stands that the operator has seen.
        expected_index: LogIndex,
        /// Which of these members were removed once, and by which entry, as the applied state
        /// tells.
        removed: BTreeMap<NodeId, LogIndex>,
    },
    /// The data directories with which members are connected to this node. To be told once a second
    /// or so: a leader takes in again who has another one than the configuration records, one
    /// change of members at a time.
    Directories {
        /// By member; who is not connected is missing.
        seen: BTreeMap<NodeId, Incarnation>,
    },
    /// The nodes that a change brings in, or moves, were asked who they are: each has answered, or
    /// was given up.
    Met {
        /// The change, as in [`crate::Meeting`].
        request: RequestId,
        /// Their answers; who is missing has not answered.
        answers: BTreeMap<NodeId, Answer>,
    },
    /// The disk was measured. To be told once a second or so, changed or not, for time counts. A
    /// replica that is never told takes everything.
    Space(Space),
    /// These members have an alarm in the state that is applied, since their disks have no room: to
    /// be told before [`Input::Applied`] when they change, and at the start.
    Alarms {
        /// All of them.
        raised: BTreeSet<NodeId>,
    },
    /// A piece of old entries was read and sent, or was not: see [`crate::Lanes::feed`].
    Fed {
        /// Which piece.
        number: u64,
        /// The follower.
        to: NodeId,
        /// What was sent; `None` if the entries are compacted, the network took nothing, or
        /// [`crate::Replica::wants`] the piece no longer.
        sent: Option<Sent>,
    },
    /// Another node says that this one was removed from the cluster.
    ToldRemoved {
        /// That node.
        by: NodeId,
        /// In its words.
        reason: String,
    },
    /// The node stops: all that wait are told.
    Abandon,
}

/// One of several commands; see [`Input::Propose`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// Named again in the reply.
    pub request: RequestId,
    /// The command, in its envelope.
    pub command: Bytes,
    /// What it is good for.
    pub purpose: Purpose,
}

/// The data directory that a node says to have; or why nobody was met, in the driver's words.
pub type Answer = Result<Incarnation, String>;

/// The room on the disk, as it was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// What is free and can be used, in bytes.
    pub usable_bytes: u64,
    /// What must be free so that everything taken so far can be flushed and compacted.
    pub needed_bytes: u64,
    /// What must be free so that a node that takes nothing more can go on.
    pub least_bytes: u64,
}

/// A piece of old entries that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The last entry of those that were.
    pub last: EntryId,
    /// What they took, in bytes.
    pub bytes: u64,
}

/// What becomes of snapshots, as their driver tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SnapshotNews {
    /// The present state is at hand to be written to a file, and durable; `None` if it cannot be
    /// kept.
    Checkpointed {
        /// The last entry that it covers.
        last: Option<EntryId>,
    },
    /// The state could not be made durable as it was asked for: there is no room, say.
    Unflushed,
    /// The state at hand is a file, whole and durable; `None` if it could not be written.
    Made {
        /// The last entry that it covers.
        last: Option<EntryId>,
    },
    /// Sending to a follower has ended.
    Sent {
        /// Which sending.
        number: u64,
        /// The follower.
        to: NodeId,
        /// How it ended.
        end: Transfer,
    },
    /// A file is not as it was written, and was set aside: it is there no more.
    Damaged {
        /// The last entry that it covered.
        last: EntryId,
    },
    /// A leader offers a snapshot.
    Offered {
        /// The driver's name for the offer.
        offer: u64,
    },
    /// A snapshot that was offered is here, whole and durable; `None` if it is not.
    Received {
        /// The leader.
        from: NodeId,
        /// Its term.
        term: Term,
        /// What it covers.
        meta: Option<SnapshotMeta>,
    },
}

/// How the transfer of a snapshot ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transfer {
    /// The follower has stored all of it.
    Delivered,
    /// It broke on the way: the follower keeps what it has, and goes on from there.
    Broken,
    /// It never began: there is no connection.
    NotBegun,
}

/// How new the answer to a question must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Consistency {
    /// As if there were one machine (§6.4). Whether a leader relies on its lease is a setting of
    /// the core's, and none of the client's business.
    Linearizable,
    /// Everything up to this index is applied here: a client sees what it has written (or seen
    /// elsewhere), from any node, without asking the leader.
    AtLeast(LogIndex),
    /// Whatever this node has applied.
    Stale,
}
