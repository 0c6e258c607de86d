//! What a node tries and cannot do, though it serves.

use crate::wire::client as pb;

/// What a node cannot do at present. It serves all the same, so that nothing else shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// Take the configuration that it was told to read again: it would not start with it.
    Settings,
    /// Take the certificates that were put in the place of those in use.
    Certificates,
    /// Make a snapshot: its log grows, and members that are far behind stay there.
    Snapshots,
    /// Store what the other members have promised: after a restart it would not recognise one that
    /// has forgotten.
    Promises,
    /// Open the files of its log again, or make durable otherwise what they held.
    Files,
    /// Hold room on its disk in reserve.
    Reserve,
    /// Listen where metrics are asked for.
    Metrics,
    /// Write in its data directory: its next write will end it.
    Directory,
    /// Take another client's connection: all places are taken, and clients are refused.
    Places,
    /// Something that this version does not know.
    Other,
}

impl Trouble {
    /// All that this version knows.
    pub const ALL: [Self; 9] = [
        Self::Settings,
        Self::Certificates,
        Self::Snapshots,
        Self::Promises,
        Self::Files,
        Self::Reserve,
        Self::Metrics,
        Self::Directory,
        Self::Places,
    ];

    /// Returns its name, for programs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Settings => "settings",
            Self::Certificates => "certificates",
            Self::Snapshots => "snapshots",
            Self::Promises => "promises",
            Self::Files => "files",
            Self::Reserve => "reserve",
            Self::Metrics => "metrics",
            Self::Directory => "directory",
            Self::Places => "places",
            Self::Other => "other",
        }
    }

    const fn code(self) -> u32 {
        match self {
            Self::Other => 0,
            Self::Settings => 1,
            Self::Certificates => 2,
            Self::Snapshots => 3,
            Self::Promises => 4,
            Self::Files => 5,
            Self::Reserve => 6,
            Self::Metrics => 7,
            Self::Directory => 8,
            Self::Places => 9,
        }
    }
}

/// One of a node's troubles, as it tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TroubleReport {
    /// What it cannot do.
    pub what: Trouble,
    /// Why, as it was found last.
    pub why: String,
    /// For how long, in milliseconds.
    pub for_ms: u64,
}

impl TroubleReport {
    pub(crate) fn to_wire(&self) -> pb::Trouble {
        pb::Trouble { what: self.what.code(), why: self.why.clone(), for_ms: self.for_ms }
    }

    pub(crate) fn from_wire(trouble: pb::Trouble) -> Self {
        let what = Trouble::ALL.into_iter().find(|known| known.code() == trouble.what);
        Self { what: what.unwrap_or(Trouble::Other), why: trouble.why, for_ms: trouble.for_ms }
    }
}
