//! What a replica wants done, in lanes: each is in order, and none waits for another.

use std::ops::{Range, RangeInclusive};

use super::entry::Entry;
use super::ids::{
    EntryId, Incarnation, LogIndex, NodeId, ReadRound, RequestId, Term, Timestamp, WriteId,
};
use super::input::SnapshotMeta;
use super::message::Message;
use super::status::RoleKind;

/// Everything that came out of the inputs since the last drain. Every action may start at once.
#[must_use = "dropped actions are lost promises"]
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Actions {
    /// Disk: at most one write, merged, to be done atomically and acknowledged by its number.
    pub write: Option<Write>,
    /// Network: in order for each peer; loss is allowed.
    pub send: Vec<Outgoing>,
    /// State machine: committed, durable here, contiguous with the range before.
    pub apply: Option<RangeInclusive<LogIndex>>,
    /// State machine: replace the state by this snapshot, before anything in `apply`. The log on
    /// disk begins behind it already; it is applied when that is told.
    pub install: Option<SnapshotMeta>,
    /// Answers for clients.
    pub reply: Vec<Reply>,
    /// News for observers; never needed for safety.
    pub event: Vec<Event>,
}

impl Actions {
    /// Says whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.write.is_none()
            && self.send.is_empty()
            && self.apply.is_none()
            && self.install.is_none()
            && self.reply.is_empty()
            && self.event.is_empty()
    }
}

/// One atomic disk write: truncate, compact, then append, with the hard state, all or nothing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Write {
    /// Acknowledged by [`crate::Input::Persisted`].
    pub id: WriteId,
    /// Term and vote, if they changed.
    pub hard_state: Option<HardState>,
    /// Delete this index and all behind it, before appending.
    pub truncate_from: Option<LogIndex>,
    /// Contiguous entries, directly behind what remains of the log, or behind `compact_to`.
    pub append: Vec<Entry>,
    /// Delete all up to and with its last entry, which becomes the log's new base. If the log does
    /// not hold that very entry, delete everything.
    pub compact_to: Option<SnapshotMeta>,
}

/// Term and vote: one atomic record (§3.8).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct HardState {
    /// The current term.
    pub term: Term,
    /// This node's vote in `term`.
    pub vote: Option<Vote>,
}

/// A vote: it is given to a node with its data directory (§3.4). The same id with another directory
/// is another candidate: both can ask for votes in one term, if a node was taken in again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Vote {
    /// Who has it.
    pub candidate: NodeId,
    /// The data directory that asked.
    pub incarnation: Incarnation,
}

/// Something for a peer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Outgoing {
    /// A small message, for the control stream. Its `AppendEntries` have no entries.
    Message {
        /// The receiver.
        to: NodeId,
        /// What to say.
        message: Message,
    },
    /// `AppendEntries` whose bytes the driver fetches from its cache or disk. It may split the
    /// range into several messages, each with its own `prev`.
    Entries {
        /// The receiver.
        to: NodeId,
        /// The leader's term.
        term: Term,
        /// The entry before `range`.
        prev: EntryId,
        /// What to send; never empty.
        range: Range<LogIndex>,
        /// The leader's commit index.
        commit: LogIndex,
        /// The newest read round.
        round: ReadRound,
    },
    /// The receiver needs entries that are compacted: send a snapshot, and say
    /// [`crate::Input::SnapshotSent`] when the transfer has ended.
    Snapshot {
        /// The receiver.
        to: NodeId,
        /// The leader's term.
        term: Term,
        /// A snapshot that ends before this index is of no use.
        at_least: LogIndex,
    },
}

/// An answer for a client.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Reply {
    /// The commands stand in the log at `range` in `term`; their fate is decided when an entry is
    /// applied at these indexes: theirs if the term agrees.
    Appended {
        /// The request.
        request: RequestId,
        /// The term of the entries.
        term: Term,
        /// Where they stand.
        range: Range<LogIndex>,
    },
    /// A read may be served once `index` is applied, on this basis.
    ReadAt {
        /// The request.
        request: RequestId,
        /// The read index (§6.4).
        index: LogIndex,
        /// Why nothing newer was acknowledged when the read arrived.
        basis: Basis,
    },
    /// Done: a change of members is committed, or a transfer has happened.
    Done {
        /// The request.
        request: RequestId,
    },
    /// Leadership was lost before a change of members was committed: another leader may finish it,
    /// or another configuration may take its place.
    Undecided {
        /// The request.
        request: RequestId,
    },
    /// Refused, and nothing was written: safe to try again, here or elsewhere.
    Rejected {
        /// The request.
        request: RequestId,
        /// Why.
        reason: Rejection,
    },
}

/// Why a read may be served from this node's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Basis {
    /// A quorum confirmed the leader after the read had arrived, so that the read index is as new
    /// as anything that was acknowledged before (§6.4): true whatever the clocks say.
    Round,
    /// The leader's lease (§6.4.1), as the clock stood when it was read before the step. The
    /// process may have been stopped since, so the clock is read once more behind the read.
    Lease {
        /// No other leader is elected before this.
        until: Timestamp,
    },
    /// Nothing was confirmed, because nothing was asked for: the client takes whatever this node
    /// has applied, or named the index itself. The core never says so; drivers do, that answer such
    /// reads on their own.
    Local,
}

impl Basis {
    /// Says whether an answer may leave, with the clock read again *after* the state was. If not,
    /// the answer is thrown away and the read asked for once more.
    pub fn holds(self, now: Timestamp) -> bool {
        match self {
            Self::Round | Self::Local => true,
            Self::Lease { until } => now < until,
        }
    }
}

/// Why a request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rejection {
    /// Another node leads, or nobody known.
    NotLeader {
        /// The leader, if known.
        leader: Option<NodeId>,
    },
    /// A limit on unfinished work is reached.
    Busy,
    /// Another change of members is under way, or the leader has not committed an entry of its own
    /// term, before which no change may begin.
    Reconfiguring,
    /// Leadership is being handed over.
    Transferring,
    /// Leadership was lost before the read could be confirmed.
    NoQuorum,
    /// The request names a configuration that cannot be reached, or a node that cannot lead.
    Invalid,
    /// This node is to become a voter and has not caught up with the log (§4.2.1).
    NotCaughtUp {
        /// The member.
        node: NodeId,
    },
    /// A majority of the voters to be does not answer.
    WouldLoseQuorum,
    /// The successor did not take over within an election timeout; this node goes on leading.
    TransferTimedOut,
    /// The disk failed; this node promises nothing any more.
    DiskFailed,
}

/// News for observers: logs, metrics, tests.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// The role changed, in this term.
    Role(RoleKind, Term),
    /// The known leader changed.
    Leader(Option<NodeId>),
    /// Another configuration is in force now.
    Configuration {
        /// Where it stands in the log.
        index: LogIndex,
    },
    /// A message changed nothing.
    Ignored {
        /// The sender.
        from: NodeId,
        /// Why.
        why: Ignored,
    },
    /// This leader's disk hangs, or has failed, and this voter is to lead next.
    HandsOver {
        /// The voter.
        to: NodeId,
    },
    /// A voter refused its vote or pre-vote to this node: shown when there is no leader.
    VoteRefused {
        /// The voter.
        by: NodeId,
        /// Its reason.
        verdict: super::message::Verdict,
    },
}

/// Why a message changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ignored {
    /// It came from this node itself.
    FromSelf,
    /// It is an answer, and its sender is no member of the configuration.
    NotMember,
    /// The sender's data directory is not the one that the configuration records.
    OtherIncarnation,
    /// Its term or an index lies implausibly far ahead (limit `TERM_JUMP_MAX`, `INDEX_MAX`).
    Implausible,
    /// It contradicts itself, or answers what was never asked.
    Malformed,
}
