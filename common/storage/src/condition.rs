//! In what condition a log was found when it was opened.
//!
//! Opening changes nothing of what was found. A log that has lost something still opens, so that
//! its owner can decide: who lost the end of his log, or term and vote, has forgotten promises, and
//! must not keep his name ([`Loss`]); who merely cannot read some entries still knows which they
//! are, and gets them from another node ([`Damage`]).

use std::fmt;

use consensus::{Chain, EntryId, LogIndex};

/// The end of a log, as it once was durable or as it was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogEnd {
    /// The last entry.
    pub last: EntryId,
    /// Its chain value.
    pub chain: Chain,
    /// How many writes had been made durable, ever.
    pub writes: u64,
}

/// What was durable, so that promises rest on it, and is not there any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The log ended further on, or otherwise, when it was last written.
    End {
        /// The end that was durable.
        durable: LogEnd,
        /// The end that was found.
        found: LogEnd,
    },
    /// Neither copy of term and vote can be read, or they name two votes of one term.
    HardState,
    /// The tail file is missing or damaged, so nobody can tell whether the log ends where it did.
    Tail,
    /// The tail file is not the one that the last start went on from, so the log may be as old.
    OtherStart,
}

/// Entries that are in the log and cannot be read: from `first` to `last`.
///
/// Whatever takes their place must continue `before`, and end in `after`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The first of them.
    pub first: LogIndex,
    /// The last of them, with its term.
    pub last: EntryId,
    /// The chain value of the entry before them.
    pub before: Chain,
    /// The chain value of the last of them; `None` where only the entry behind tells.
    pub after: Option<Chain>,
}

/// All that is wrong with a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    /// What was forgotten: the owner takes another incarnation before it does anything else.
    pub losses: Vec<Loss>,
    /// What cannot be read, in order.
    pub damages: Vec<Damage>,
}

impl Condition {
    /// Says whether everything is there and can be read.
    pub fn is_whole(&self) -> bool {
        self.losses.is_empty() && self.damages.is_empty()
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::End { durable, found } => write!(
                f,
                "the log ended at entry {} when it was last written (write {}), and ends at {} \
                 now (write {})",
                durable.last, durable.writes, found.last, found.writes
            ),
            Self::HardState => f.write_str(
                "both copies of term and vote are damaged, or they contradict each other",
            ),
            Self::Tail => f.write_str(
                "the tail file is missing or damaged: whether the log still ends where it did \
                 cannot be told",
            ),
            Self::OtherStart => f.write_str(
                "the tail file is of an earlier start than the superblock: it, and perhaps the \
                 log, was put back",
            ),
        }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last.index {
            write!(f, "log entry {} is damaged", self.last)
        } else {
            write!(f, "log entries {} to {} are damaged", self.first, self.last)
        }
    }
}
