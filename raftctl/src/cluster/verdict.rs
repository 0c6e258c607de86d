//! The verdict over a survey.

use std::fmt;

use crate::cluster::remarks::Remark;
use crate::exit::Exit;

/// One word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    /// Every member does what it should.
    Healthy,
    /// It serves, and something is wrong.
    Degraded,
    /// A change of members is under way.
    Joint,
    /// A majority answers, and nobody leads.
    NoLeader,
    /// Fewer than a majority of the voters answer.
    NoQuorum,
    /// No node has a history.
    Uninitialised,
    /// Nodes are there and refuse this client, so that nothing is known of the cluster.
    Unknown,
}

impl Health {
    /// Returns how `status --check` ends.
    pub(crate) const fn exit(self) -> Exit {
        match self {
            Self::Healthy => Exit::Done,
            Self::Degraded | Self::Joint => Exit::Degraded,
            Self::NoLeader | Self::NoQuorum | Self::Uninitialised | Self::Unknown => {
                Exit::Unhealthy
            }
        }
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Healthy => "HEALTHY",
            Self::Degraded => "DEGRADED",
            Self::Joint => "JOINT",
            Self::NoLeader => "NO LEADER",
            Self::NoQuorum => "NO QUORUM",
            Self::Uninitialised => "UNINITIALISED",
            Self::Unknown => "UNKNOWN",
        })
    }
}

/// The verdict over a survey.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// One word.
    pub(crate) health: Health,
    /// Why; empty if all is well.
    pub(crate) reason: String,
    /// How many more voters may fail, whichever they are; `None` if nothing is known.
    pub(crate) tolerates: Option<usize>,
    /// What should be looked at, with the code that explains it.
    pub(crate) remarks: Vec<Remark>,
}
