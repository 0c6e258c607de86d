//! Keys and values of the log's database.
//!
//! | column family | key | value |
//! |---|---|---|
//! | `log` | index, big-endian | seal, entry |
//! | `configuration` | index of a configuration entry | nothing |
//! | `meta` | `format` | version |
//! | `meta` | `hard-state`, `hard-state-copy` | term, vote, checksum |
//! | `meta` | `last` | last index, highest stamp |
//! | `meta` | `base` | what the log begins behind, if its head was compacted |
//! | `meta` | `run` + first index | term |
//!
//! A seal is a checksum over node, incarnation, index and the entry's own checksum, so that a
//! record in the wrong place is noticed.

use bytes::Bytes;
use consensus::{Entry, HardState, Incarnation, LogIndex, NodeId, Term};
use protocol::{EncodedEntry, Generation, decode_entry, peek_entry};

use crate::error::StorageError;

pub(crate) const LOG: &str = "log";
pub(crate) const CONFIGURATION: &str = "configuration";
pub(crate) const META: &str = "meta";

pub(crate) const FORMAT_KEY: &[u8] = b"format";
pub(crate) const HARD_STATE_KEYS: [&[u8]; 2] = [b"hard-state", b"hard-state-copy"];
pub(crate) const LAST_KEY: &[u8] = b"last";
pub(crate) const COMPACTED_KEY: &[u8] = b"base";
pub(crate) const RUN_PREFIX: &[u8] = b"run";

/// The version of this layout.
pub(crate) const FORMAT: u32 = 1;

const SEAL_BYTES: usize = 4;

/// Whose records these are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) node: NodeId,
    pub(crate) incarnation: Incarnation,
    pub(crate) generation: Generation,
}

impl Owner {
    fn seal(&self, index: LogIndex, checksum: u32) -> u32 {
        let mut bytes = [0; 28];
        bytes[..8].copy_from_slice(&self.node.get().to_le_bytes());
        bytes[8..16].copy_from_slice(&self.incarnation.get().to_le_bytes());
        bytes[16..24].copy_from_slice(&index.get().to_le_bytes());
        bytes[24..].copy_from_slice(&checksum.to_le_bytes());
        crc32c::crc32c(&bytes)
    }

    /// Encodes a record of the log.
    pub(crate) fn record(&self, index: LogIndex, entry: &EncodedEntry, record: &mut Vec<u8>) {
        record.clear();
        record.extend_from_slice(&self.seal(index, entry.checksum()).to_le_bytes());
        record.extend_from_slice(&entry.header);
        record.extend_from_slice(&entry.payload);
    }

    /// Decodes a record of the log and checks everything about it.
    pub(crate) fn entry(&self, index: LogIndex, record: &Bytes) -> Result<Entry, StorageError> {
        let what = || format!("log entry {index}");
        let corrupt = |why: String| StorageError::corrupt(what(), why);
        let Some(stored) = record.first_chunk::<SEAL_BYTES>().copied() else {
            return Err(corrupt("the record is empty".into()));
        };
        let mut bytes = record.slice(SEAL_BYTES..);
        let header = peek_entry(&bytes).map_err(|why| corrupt(why.to_string()))?;
        if header.id.index != index {
            return Err(corrupt(format!("the record is entry {}'s", header.id)));
        }
        let checksum = header.checksum();
        let entry =
            decode_entry(&self.generation, &mut bytes).map_err(|why| corrupt(why.to_string()))?;
        if self.seal(index, checksum) != u32::from_le_bytes(stored) {
            return Err(corrupt("the record was written by another node or directory".into()));
        }
        if !bytes.is_empty() {
            return Err(corrupt(format!("{} bytes follow it", bytes.len())));
        }
        Ok(entry)
    }
}

pub(crate) fn run_key(first: LogIndex) -> Vec<u8> {
    [RUN_PREFIX, &first.get().to_be_bytes()].concat()
}

pub(crate) fn index_of(key: &[u8]) -> Result<LogIndex, StorageError> {
    let tail = key.last_chunk::<8>().ok_or_else(|| {
        StorageError::corrupt("a key of the log's database", format!("{} bytes", key.len()))
    })?;
    Ok(LogIndex::new(u64::from_be_bytes(*tail)))
}

/// Term, vote (0 is none) and checksum: one record.
pub(crate) fn encode_hard_state(hard_state: HardState) -> [u8; 20] {
    let mut bytes = [0; 20];
    bytes[..8].copy_from_slice(&hard_state.term.get().to_le_bytes());
    let vote = hard_state.voted_for.map_or(0, NodeId::get);
    bytes[8..16].copy_from_slice(&vote.to_le_bytes());
    let checksum = crc32c::crc32c(&bytes[..16]);
    bytes[16..].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

pub(crate) fn decode_hard_state(bytes: &[u8]) -> Option<HardState> {
    let bytes: &[u8; 20] = bytes.try_into().ok()?;
    let stored = u32::from_le_bytes(bytes[16..].try_into().expect("four bytes"));
    if crc32c::crc32c(&bytes[..16]) != stored {
        return None;
    }
    let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
    Some(HardState { term: Term::new(number(0)), voted_for: NodeId::new(number(8)) })
}
