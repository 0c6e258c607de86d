//! The faults, and what they are called.

/// What is done to the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// SIGKILL to one node, which is started again at the end.
    Kill,
    /// SIGKILL to all nodes at once.
    KillAll,
    /// SIGSTOP to a node, SIGCONT at the end.
    Pause,
    /// A node sends and does not hear, or hears and is not heard.
    OneWay,
    /// A node is cut off from all others.
    Partition,
    /// Two nodes do not reach each other, and both reach the others.
    Partial,
    /// A node is cut off and reached again, once a second.
    Flapping,
    /// All nodes lose packets.
    Loss,
    /// All nodes are far from each other: what they are sent takes 10 to 80 ms, each its own time.
    Delay,
    /// What nodes are sent takes up to 30 ms longer, each packet its own time, so that packets
    /// overtake each other; one in a hundred is lost.
    Reordering,
    /// All nodes get 1 to 8 Mbit/s and no more; what waits for longer than 250 ms is lost.
    Narrow,
    /// A node's disk has no room.
    FullDisk,
    /// All nodes' disks have no room.
    AllDisksFull,
    /// A node's disk fails and is read-only.
    ReadOnlyDisk,
    /// A node's syncs fail with EIO.
    SyncError,
    /// A write to a node's log is cut in half, and the process ends in the middle of it.
    TornWrite,
    /// A node loses what it had not synced, as when the power fails.
    PowerLoss,
    /// A node's syncs do not return.
    HangingSync,
    /// A node's disk takes no writes and says nothing (fsfreeze).
    FrozenDisk,
    /// A node's wall clock jumps by up to an hour.
    ClockJump,
    /// Leadership is handed over.
    Transfer,
    /// A snapshot is saved from a node.
    Snapshot,
    /// A member is added, and removed again.
    AddRemove,
    /// A member is replaced by a new one.
    Replace,
    /// A node's directory is replaced by an old copy while the others cannot tell: the writes since
    /// are on this node and on nodes that are down.
    RolledBack,
    /// The same with the bytes of the whole disk, as with a snapshot of a virtual machine.
    RolledBackDisk,
    /// The same with some thousand bytes missing at the end of its newest write-ahead log.
    CutLog,
    /// A follower's directory is replaced by an old copy while the leader lives.
    OldCopy,
    /// A second process with a copy of a node's directory, under the same address; some nodes reach
    /// the one and some the other.
    Cloned,
    /// The same with a copy of the whole disk's bytes.
    ClonedDisk,
    /// A node's directory is removed.
    Wiped,
    /// One of a node's files is damaged, emptied or removed, while it runs or not.
    RottenFile,
}

/// How a fault is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Course {
    /// It is switched on, held, and switched off; several may be on at once.
    Held,
    /// It is done in a moment.
    Done,
    /// It takes steps of its own, in which nothing else is done: it takes memory from a node, and
    /// no more than that may be forgotten at a time.
    Alone,
}

/// All faults, in the order of the table.
pub const FAULTS: [Fault; 32] = [
    Fault::Kill,
    Fault::KillAll,
    Fault::Pause,
    Fault::OneWay,
    Fault::Partition,
    Fault::Partial,
    Fault::Flapping,
    Fault::Loss,
    Fault::Delay,
    Fault::Reordering,
    Fault::Narrow,
    Fault::FullDisk,
    Fault::AllDisksFull,
    Fault::ReadOnlyDisk,
    Fault::SyncError,
    Fault::TornWrite,
    Fault::PowerLoss,
    Fault::HangingSync,
    Fault::FrozenDisk,
    Fault::ClockJump,
    Fault::Transfer,
    Fault::Snapshot,
    Fault::AddRemove,
    Fault::Replace,
    Fault::RolledBack,
    Fault::RolledBackDisk,
    Fault::CutLog,
    Fault::OldCopy,
    Fault::Cloned,
    Fault::ClonedDisk,
    Fault::Wiped,
    Fault::RottenFile,
];

impl Fault {
    /// Returns its name, as `--only` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::KillAll => "kill-all",
            Self::Pause => "pause",
            Self::OneWay => "one-way",
            Self::Partition => "partition",
            Self::Partial => "partial",
            Self::Flapping => "flapping",
            Self::Loss => "loss",
            Self::Delay => "delay",
            Self::Reordering => "reordering",
            Self::Narrow => "narrow",
            Self::FullDisk => "full-disk",
            Self::AllDisksFull => "all-disks-full",
            Self::ReadOnlyDisk => "read-only-disk",
            Self::SyncError => "sync-error",
            Self::TornWrite => "torn-write",
            Self::PowerLoss => "power-loss",
            Self::HangingSync => "hanging-sync",
            Self::FrozenDisk => "frozen-disk",
            Self::ClockJump => "clock-jump",
            Self::Transfer => "transfer",
            Self::Snapshot => "snapshot",
            Self::AddRemove => "add-remove",
            Self::Replace => "replace",
            Self::RolledBack => "rolled-back",
            Self::RolledBackDisk => "rolled-back-disk",
            Self::CutLog => "cut-log",
            Self::OldCopy => "old-copy",
            Self::Cloned => "cloned",
            Self::ClonedDisk => "cloned-disk",
            Self::Wiped => "wiped",
            Self::RottenFile => "rotten-file",
        }
    }

    /// Finds a fault by its name.
    pub fn named(name: &str) -> Option<Self> {
        FAULTS.into_iter().find(|fault| fault.name() == name)
    }

    /// Returns how it is carried out.
    pub fn course(self) -> Course {
        match self {
            Self::Kill
            | Self::KillAll
            | Self::Pause
            | Self::OneWay
            | Self::Partition
            | Self::Partial
            | Self::Flapping
            | Self::Loss
            | Self::Delay
            | Self::Reordering
            | Self::Narrow
            | Self::FullDisk
            | Self::AllDisksFull
            | Self::ReadOnlyDisk
            | Self::SyncError
            | Self::HangingSync
            | Self::FrozenDisk
            | Self::ClockJump => Course::Held,
            Self::TornWrite | Self::PowerLoss | Self::Transfer | Self::Snapshot => Course::Done,
            Self::AddRemove
            | Self::Replace
            | Self::RolledBack
            | Self::RolledBackDisk
            | Self::CutLog
            | Self::OldCopy
            | Self::Cloned
            | Self::ClonedDisk
            | Self::Wiped
            | Self::RottenFile => Course::Alone,
        }
    }

    /// Says whether it takes one node out entirely while it is on: nothing that is durable or
    /// visible to others happens there. What a status tolerates then is one less.
    pub fn takes_one_out(self) -> bool {
        match self {
            Self::Kill
            | Self::Pause
            | Self::Partition
            | Self::HangingSync
            | Self::FrozenDisk
            | Self::ReadOnlyDisk
            | Self::SyncError => true,
            Self::KillAll
            | Self::OneWay
            | Self::Partial
            | Self::Flapping
            | Self::Loss
            | Self::Delay
            | Self::Reordering
            | Self::Narrow
            | Self::FullDisk
            | Self::AllDisksFull
            | Self::TornWrite
            | Self::PowerLoss
            | Self::ClockJump
            | Self::Transfer
            | Self::Snapshot
            | Self::AddRemove
            | Self::Replace
            | Self::RolledBack
            | Self::RolledBackDisk
            | Self::CutLog
            | Self::OldCopy
            | Self::Cloned
            | Self::ClonedDisk
            | Self::Wiped
            | Self::RottenFile => false,
        }
    }
}
