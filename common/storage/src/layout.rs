//! Keys and values of the log's database.
//!
//! | column family | key | value |
//! |---|---|---|
//! | `log` | index of a write's first entry, big-endian | all its entries (`record.rs`) |
//! | `configuration` | index of a configuration entry | nothing |
//! | `meta` | `format` | version |
//! | `meta` | `owner` | the incarnation that the directory had when the log was made |
//! | `meta` | `hard-state` | term, vote, checksum; a copy is in the tail file (`tail.rs`) |
//! | `meta` | `end` | the log's end, if the last write was not merely an append |
//! | `meta` | `base` | what the log begins behind, if its head was compacted |
//! | `meta` | `run` + first index | term |
//!
//! Records are sealed by a checksum over node, incarnation, generation and their place, so that one
//! in the wrong place is noticed.

use consensus::{
    Chain, ClusterTime, EntryId, HardState, Incarnation, LogIndex, NodeId, Term, Vote,
};
use protocol::Generation;

use crate::condition::LogEnd;
use crate::error::StorageError;

pub(crate) const LOG: &str = "log";
pub(crate) const CONFIGURATION: &str = "configuration";
pub(crate) const META: &str = "meta";

pub(crate) const FORMAT_KEY: &[u8] = b"format";
pub(crate) const OWNER_KEY: &[u8] = b"owner";
pub(crate) const HARD_STATE_KEY: &[u8] = b"hard-state";
pub(crate) const END_KEY: &[u8] = b"end";
pub(crate) const COMPACTED_KEY: &[u8] = b"base";
pub(crate) const RUN_PREFIX: &[u8] = b"run";

/// The version of this layout.
pub(crate) const FORMAT: u32 = 3;

/// Whose records these are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) node: NodeId,
    pub(crate) incarnation: Incarnation,
    pub(crate) generation: Generation,
}

impl Owner {
    /// Returns the checksum of a record's head.
    pub(crate) fn seal(&self, first: LogIndex, head: &[u8]) -> u32 {
        let mut bytes = [0; 24];
        bytes[..8].copy_from_slice(&self.node.get().to_le_bytes());
        bytes[8..16].copy_from_slice(&self.incarnation.get().to_le_bytes());
        bytes[16..24].copy_from_slice(&first.get().to_le_bytes());
        let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes), self.generation.bytes());
        crc32c::crc32c_append(crc, head)
    }
}

/// The log's end as the database knows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) at: LogEnd,
    /// The highest cluster time that was ever in the log, or later.
    pub(crate) stamp: ClusterTime,
}

impl End {
    pub(crate) fn encode(&self) -> [u8; 44] {
        let LogEnd { last, chain, writes } = self.at;
        let numbers = [last.term.get(), last.index.get(), chain.get(), writes, self.stamp.get()];
        let mut bytes = [0; 44];
        for (place, number) in numbers.into_iter().enumerate() {
            bytes[8 * place..8 * place + 8].copy_from_slice(&number.to_le_bytes());
        }
        let checksum = crc32c::crc32c(&bytes[..40]);
        bytes[40..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; 44] = bytes.try_into().ok()?;
        if crc32c::crc32c(&bytes[..40]).to_le_bytes() != bytes[40..] {
            return None;
        }
        let number = |place: usize| {
            let at = 8 * place;
            u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
        };
        let last = EntryId { term: Term::new(number(0)), index: LogIndex::new(number(1)) };
        let at = LogEnd { last, chain: Chain::new(number(2)), writes: number(3) };
        Some(Self { at, stamp: ClusterTime::new(number(4)) })
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

const HARD_STATE_BYTES: usize = 28;

/// Term, vote (see [`hard_state_numbers`]) and checksum: one record.
pub(crate) fn encode_hard_state(hard_state: HardState) -> [u8; HARD_STATE_BYTES] {
    let mut bytes = [0; HARD_STATE_BYTES];
    for (place, number) in hard_state_numbers(hard_state).into_iter().enumerate() {
        bytes[8 * place..8 * place + 8].copy_from_slice(&number.to_le_bytes());
    }
    let checksum = crc32c::crc32c(&bytes[..24]);
    bytes[24..].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

/// Term, candidate (0 is none), and the candidate's data directory.
pub(crate) fn hard_state_numbers(hard_state: HardState) -> [u64; 3] {
    let HardState { term, vote } = hard_state;
    let (candidate, incarnation) =
        vote.map_or((0, 0), |vote| (vote.candidate.get(), vote.incarnation.get()));
    [term.get(), candidate, incarnation]
}

/// The opposite of [`hard_state_numbers`].
pub(crate) fn hard_state_of([term, candidate, incarnation]: [u64; 3]) -> HardState {
    let incarnation = Incarnation::new(incarnation);
    let vote = NodeId::new(candidate).map(|candidate| Vote { candidate, incarnation });
    HardState { term: Term::new(term), vote }
}

pub(crate) fn decode_hard_state(bytes: &[u8]) -> Option<HardState> {
    let bytes: &[u8; HARD_STATE_BYTES] = bytes.try_into().ok()?;
    let stored = u32::from_le_bytes(bytes[24..].try_into().expect("four bytes"));
    if crc32c::crc32c(&bytes[..24]) != stored {
        return None;
    }
    let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
    Some(hard_state_of([number(0), number(8), number(16)]))
}
