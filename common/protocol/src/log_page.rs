//! A piece of a node's log, for people.

use bytes::Bytes;

use crate::entry::EntryKind;
use crate::error::ProtocolError;
use crate::wire::client as pb;

/// What is wanted of entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogDetail {
    /// Kinds and sizes.
    Sizes,
    /// Payloads, and what the machine says of its commands but for the values in them.
    Commands,
    /// Payloads, and all that the machine says of its commands.
    Values,
}

impl LogDetail {
    pub(crate) const fn code(self) -> u32 {
        match self {
            Self::Sizes => 0,
            Self::Commands => 1,
            Self::Values => 2,
        }
    }

    pub(crate) fn from_code(code: u32) -> Result<Self, ProtocolError> {
        match code {
            0 => Ok(Self::Sizes),
            1 => Ok(Self::Commands),
            2 => Ok(Self::Values),
            _ => Err(ProtocolError::Unknown { what: "the detail of a log", found: code.into() }),
        }
    }
}

/// Some entries, and where the log begins and ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogPage {
    /// The first index that the node still holds.
    pub first: u64,
    /// The last index.
    pub last: u64,
    /// The commit index.
    pub commit: u64,
    /// Contiguous entries.
    pub entries: Vec<LogEntry>,
}

/// An entry, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// Its index.
    pub index: u64,
    /// Its term.
    pub term: u64,
    /// Its cluster time, in nanoseconds.
    pub stamp_ns: u64,
    /// Its kind.
    pub kind: EntryKind,
    /// The size of its payload.
    pub payload_bytes: u32,
    /// The payload, if it was asked for and may be seen.
    pub payload: Option<Bytes>,
    /// What the machine says of its command, if that was asked for, may be seen, and is said.
    pub text: Option<String>,
}

impl LogPage {
    pub(crate) fn to_wire(&self) -> pb::Log {
        let entry = |entry: &LogEntry| pb::LogEntry {
            index: entry.index,
            term: entry.term,
            stamp_ns: entry.stamp_ns,
            kind: u32::from(entry.kind.code()),
            payload_bytes: entry.payload_bytes,
            payload: entry.payload.clone(),
            text: entry.text.clone(),
        };
        pb::Log {
            first: self.first,
            last: self.last,
            commit: self.commit,
            entries: self.entries.iter().map(entry).collect(),
        }
    }

    pub(crate) fn from_wire(log: pb::Log) -> Result<Self, ProtocolError> {
        let entry = |entry: pb::LogEntry| {
            Ok(LogEntry {
                index: entry.index,
                term: entry.term,
                stamp_ns: entry.stamp_ns,
                kind: EntryKind::from_code(u8::try_from(entry.kind).unwrap_or(0))?,
                payload_bytes: entry.payload_bytes,
                payload: entry.payload,
                text: entry.text,
            })
        };
        Ok(Self {
            first: log.first,
            last: log.last,
            commit: log.commit,
            entries: log.entries.into_iter().map(entry).collect::<Result<_, _>>()?,
        })
    }
}
