//! What may happen next, and how often what costs many states.

use consensus::{Incarnation, Message, SnapshotMeta, Term, Timer};

/// A message under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Letter {
    /// The sender's place among the nodes.
    pub from: usize,
    /// The sender's data directory.
    pub incarnation: Incarnation,
    /// The receiver's place.
    pub to: usize,
    /// What is said.
    pub message: Message,
}

/// A snapshot under way (§5).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Stream {
    /// The sender's place among the nodes.
    pub from: usize,
    /// The receiver's place.
    pub to: usize,
    /// The sender's term when it began.
    pub term: Term,
    /// What it covers.
    pub meta: SnapshotMeta,
}

/// Something that may happen next. Letters are named by what they say, so that a trace means the
/// same after other actions are taken out of it. What a node refuses to do has not happened.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// It arrives.
    Deliver(Letter),
    /// Delivered, and it will arrive again.
    Repeat(Letter),
    /// It is lost.
    Drop(Letter),
    /// A node's timer fires.
    Timeout(usize, Timer),
    /// The oldest write of a node reaches its disk, and is acknowledged.
    Persist(usize),
    /// Power is lost: so many of the writes under way survive, and the node starts again.
    Crash(usize, usize),
    /// Power is lost, and an old copy of the disk comes back: what it held so many writes ago. The
    /// node draws another incarnation, for it has forgotten what it promised.
    RollBack(usize, usize),
    /// A client asks this node for a write.
    Propose(usize),
    /// A client asks this node for a read: the leader, or a follower, which asks the leader.
    Read(usize),
    /// An operator asks this leader to hand over to another node (§3.10).
    Transfer(usize, usize),
    /// An operator asks this leader to change the members (§4.3), all of which it has just heard
    /// from: that it must have is about service, and with every timeout due nobody would count.
    Reconfigure(usize, Change),
    /// This node's state is durable, and its log is compacted behind it (§5.1).
    Compact(usize),
    /// A snapshot has arrived and is durable at its receiver, and its sender hears so.
    Arrive(Stream),
    /// A snapshot is broken off, and its sender hears so.
    Cut(Stream),
}

/// A change of members that an operator may ask a leader for, as seen from what is in force there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Change {
    /// The first node that is no member becomes a learner.
    Admit,
    /// The first learner becomes a voter.
    Promote,
    /// The first learner becomes a voter, and the first voter but for the leader leaves.
    Replace,
    /// The first voter but for the leader leaves.
    Remove,
    /// The leader itself leaves.
    Leave,
    /// The first voter that has forgotten becomes a learner, under its old incarnation.
    Demote,
    /// The first member that has forgotten is recorded with its new incarnation.
    Renew,
}

impl Change {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Admit,
        Self::Promote,
        Self::Replace,
        Self::Remove,
        Self::Leave,
        Self::Demote,
        Self::Renew,
    ];
}

/// How often the costly actions may be chosen in one trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Budget {
    /// Timeouts of all kinds.
    pub timeouts: u8,
    /// Crashes.
    pub crashes: u8,
    /// Disks that come back as they were before.
    pub rollbacks: u8,
    /// Writes.
    pub proposals: u8,
    /// Reads.
    pub reads: u8,
    /// Transfers of leadership.
    pub transfers: u8,
    /// Changes of members.
    pub changes: u8,
    /// Compactions of logs.
    pub compactions: u8,
    /// Messages that arrive twice.
    pub repeats: u8,
    /// Messages that are lost, and snapshots that are broken off.
    pub drops: u8,
}

impl Budget {
    /// Nothing but messages and writes under way.
    pub const NONE: Self = Self {
        timeouts: 0,
        crashes: 0,
        rollbacks: 0,
        proposals: 0,
        reads: 0,
        transfers: 0,
        changes: 0,
        compactions: 0,
        repeats: 0,
        drops: 0,
    };
    /// For breadth-first searches: a little of everything that clients and crashes do.
    pub const SMALL: Self = Self {
        timeouts: 2,
        crashes: 1,
        proposals: 1,
        reads: 1,
        transfers: 1,
        repeats: 1,
        ..Self::NONE
    };

    /// For random walks: much of it, and lost messages.
    pub const LARGE: Self = Self {
        timeouts: 40,
        crashes: 6,
        proposals: 6,
        reads: 3,
        repeats: 10,
        drops: 20,
        ..Self::NONE
    };

    /// For random walks: what operators do besides, and compactions.
    pub const OPERATED: Self = Self { transfers: 4, changes: 6, compactions: 6, ..Self::LARGE };

    /// For random walks: disks that forget besides, and what brings their nodes back.
    pub const FORGETFUL: Self = Self { rollbacks: 2, changes: 20, ..Self::OPERATED };
}
