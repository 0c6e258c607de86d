//! A piece of a node's log, for people.

use bytes::Bytes;

use crate::entry::EntryKind;
use crate::error::ProtocolError;
use crate::wire::client as pb;

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
