//! Identities and measures: newtypes with no arithmetic but what the domain has.

use std::fmt;
use std::num::NonZeroU64;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u64);

        impl $name {
            /// The smallest value, which stands for "none so far".
            pub const ZERO: Self = Self(0);

            /// Wraps a raw number, as read from the wire or the disk.
            pub const fn new(value: u64) -> Self {
                Self(value)
            }

            /// Returns the raw number, to be written to the wire, the disk or a screen.
            pub const fn get(self) -> u64 {
                self.0
            }

            /// Returns the successor.
            ///
            /// # Panics
            /// At `u64::MAX`, which input limits keep out of reach (see `Raft::step`).
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0.checked_add(1).expect("input limits keep counters below u64::MAX"))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

number!(
    /// A term of office (§3.3): at most one leader each, never decreasing on a node.
    Term
);
number!(
    /// A position in the log. The first entry has index 1; 0 is the place before it.
    LogIndex
);
number!(
    /// The number of a disk write. Acknowledgements name a write, never an entry (no ABA).
    WriteId
);
number!(
    /// The driver's name for a client request, unique while the node runs.
    RequestId
);
number!(
    /// A round of heartbeats that confirms leadership for reads (§6.4); unique within a term.
    ReadRound
);
number!(
    /// A follower's name for one question to its leader for a read index (§6.4); never used twice.
    ReadTicket
);
number!(
    /// Nanoseconds since the driver's epoch on a monotonic clock; never wall clock.
    Timestamp
);
number!(
    /// A checksum over an entry and all before it, so that two logs with one chain value at one
    /// place are the same up to there. It passes through the core, which never looks at it; 0 is
    /// the place before the log.
    Chain
);
number!(
    /// Cluster time in nanoseconds, stamped on entries by leaders; never moves back (§6.3).
    ClusterTime
);

impl LogIndex {
    /// Returns the index before this one, or `None` at 0.
    #[must_use]
    pub const fn prev(self) -> Option<Self> {
        match self.0.checked_sub(1) {
            Some(value) => Some(Self(value)),
            None => None,
        }
    }

    /// Returns the index `count` places further, saturating.
    #[must_use]
    pub const fn advanced(self, count: u64) -> Self {
        Self(self.0.saturating_add(count))
    }

    /// Returns how many indexes lie in `earlier..self`; 0 when `earlier` is not earlier.
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl Timestamp {
    /// Returns the time `nanos` later, saturating.
    #[must_use]
    pub const fn after(self, nanos: u64) -> Self {
        Self(self.0.saturating_add(nanos))
    }

    /// Returns the nanoseconds from `earlier` to here; 0 when `earlier` is later.
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl ClusterTime {
    /// Returns the cluster time `nanos` later, saturating.
    #[must_use]
    pub const fn after(self, nanos: u64) -> Self {
        Self(self.0.saturating_add(nanos))
    }
}

/// A node's number within its cluster: allocated once, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(NonZeroU64);

impl NodeId {
    /// Wraps a raw number; `None` for 0, which is no node (museum A5).
    pub const fn new(value: u64) -> Option<Self> {
        match NonZeroU64::new(value) {
            Some(value) => Some(Self(value)),
            None => None,
        }
    }

    /// Returns the raw number.
    pub const fn get(self) -> u64 {
        self.0.get()
    }
}

impl From<NonZeroU64> for NodeId {
    fn from(value: NonZeroU64) -> Self {
        Self(value)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The random name of one data directory. A wiped or re-created directory has another one, so that
/// a node that lost its memory is not taken for the node that it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(u64);

impl Incarnation {
    /// Wraps a raw number.
    pub const fn new(value: u64) -> Self {
        Self(value)
    }

    /// Returns the raw number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// An entry's identity. Two entries with the same identity have the same contents (§3.5), and the
/// derived order *is* "at least as up-to-date as" (§3.6.1): term first, then index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId {
    /// The term in which a leader created the entry.
    pub term: Term,
    /// Its place in the log.
    pub index: LogIndex,
}

impl EntryId {
    /// The place before the first entry of every log.
    pub const ZERO: Self = Self { term: Term::ZERO, index: LogIndex::ZERO };
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@t{}", self.index, self.term)
    }
}
