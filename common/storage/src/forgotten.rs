//! What a data directory has forgotten, so that its node may not go on under the name under which
//! it has promised things.

use std::fmt;

use consensus::Incarnation;

/// The name that a directory has given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Former {
    /// Under which the cluster knows its node, if nobody has changed that.
    pub incarnation: Incarnation,
    /// Why it was given up.
    pub why: Forgotten,
}

/// How it is known that a directory has forgotten what its node has promised, or may have; what
/// weighs most comes last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Forgotten {
    /// It is a copy: the original may have promised more since, or may still run.
    Copied,
    /// Another process runs with a copy of it.
    RunsTwice,
    /// What says where its log ended is gone, so nobody can tell whether the log still ends there.
    TailLost,
    /// The end of its log is gone.
    LogEnd,
    /// Term and vote are gone.
    HardState,
    /// Its parts were written at different times: some are older than the rest.
    OtherTime,
    /// A peer knows that the node has promised more than this directory holds.
    PeerKnowsMore,
    /// Its log cannot be opened at all.
    LogLost,
    /// Entries of its log are damaged, and no other member has them any more.
    Unrepairable,
}

impl Forgotten {
    const ALL: [Self; 9] = [
        Self::Copied,
        Self::RunsTwice,
        Self::TailLost,
        Self::LogEnd,
        Self::HardState,
        Self::OtherTime,
        Self::PeerKnowsMore,
        Self::LogLost,
        Self::Unrepairable,
    ];

    /// Says whether an operator's word that the directory is the latest of its node, and the only
    /// one, would be enough: nothing is known to be lost.
    pub const fn is_mended_by_word(self) -> bool {
        match self {
            Self::Copied | Self::RunsTwice | Self::TailLost => true,
            Self::LogEnd
            | Self::HardState
            | Self::OtherTime
            | Self::PeerKnowsMore
            | Self::LogLost
            | Self::Unrepairable => false,
        }
    }

    /// Returns the number by which it is stored and sent.
    pub const fn code(self) -> u8 {
        match self {
            Self::Copied => 1,
            Self::LogEnd => 2,
            Self::HardState => 3,
            Self::PeerKnowsMore => 4,
            Self::RunsTwice => 5,
            Self::TailLost => 6,
            Self::OtherTime => 7,
            Self::LogLost => 8,
            Self::Unrepairable => 9,
        }
    }

    /// Returns what a number stands for.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|why| why.code() == code)
    }
}

impl fmt::Display for Forgotten {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Copied => "its data directory is a copy",
            Self::LogEnd => "its log has lost its end",
            Self::HardState => "its term and vote are lost",
            Self::PeerKnowsMore => "a peer knows that it has promised more than it remembers",
            Self::RunsTwice => "another process runs with a copy of its data directory",
            Self::TailLost => "the file that says where its log ended is lost",
            Self::OtherTime => "parts of its data directory are older than others",
            Self::LogLost => "its log is lost",
            Self::Unrepairable => "entries of its log are damaged, and no other member has them",
        })
    }
}
