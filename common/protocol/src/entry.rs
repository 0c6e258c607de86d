//! Entries in bytes: a header of fixed size and the payload, the same on every wire and disk.
//!
//! ```text
//!  0  version  u8     2        8  term   u64      32  chain   u64, see below
//!  1  kind     u8             16  index  u64      40  crc32c  u32, of the payload
//!  2  reserved u16    0       24  stamp  u64      44  crc32c  u32, of generation and 44 bytes
//!  4  payload  u32 bytes                          all little-endian; 48 bytes, then the payload
//! ```
//!
//! The header is whole by itself, so that an entry whose payload is damaged still says which it is.
//! The chain value is a checksum over the one of the entry before, and over all that is in the
//! header but the chain value and the last checksum: two logs that have one value at one place are
//! the same up to there. The leader makes it; whoever stores the entry makes it again and compares.

use bytes::{Buf, Bytes};
use consensus::{Chain, ClusterTime, Entry, EntryId, LogIndex, Payload, Term};

use crate::configuration::{decode_configuration, encode_configuration};
use crate::error::ProtocolError;
use crate::generation::Generation;
use crate::limits::{COMMAND_BYTES_MAX, PAYLOAD_COPY_BYTES_MAX};

/// The size of an entry's header.
pub const ENTRY_HEADER_BYTES: usize = 48;

const VERSION: u8 = 2;
const CHAIN_AT: usize = 32;
const PAYLOAD_CHECKSUM_AT: usize = 40;
const CHECKSUM_AT: usize = 44;

/// Odd, and without a pattern: what chain values are mixed with.
const MIX: [u64; 2] = [0x9e37_79b9_7f4a_7c15, 0xd6e8_feb8_6659_fd93];

/// What kind of payload an entry has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EntryKind {
    /// Nothing.
    Noop,
    /// A command for the state machine.
    Command,
    /// A configuration.
    Configuration,
}

impl EntryKind {
    /// Returns the number that stands for it in bytes.
    pub const fn code(self) -> u8 {
        match self {
            Self::Noop => 1,
            Self::Command => 2,
            Self::Configuration => 3,
        }
    }

    /// Reads the number that stands for it in bytes.
    ///
    /// # Errors
    /// If it stands for nothing in this version.
    pub const fn from_code(code: u8) -> Result<Self, ProtocolError> {
        match code {
            1 => Ok(Self::Noop),
            2 => Ok(Self::Command),
            3 => Ok(Self::Configuration),
            _ => Err(ProtocolError::Unknown { what: "an entry's kind", found: code as u64 }),
        }
    }
}

/// An entry in bytes; the payload is shared, not copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedEntry {
    /// The header.
    pub header: [u8; ENTRY_HEADER_BYTES],
    /// The payload.
    pub payload: Bytes,
}

impl EncodedEntry {
    /// Returns the size of header and payload.
    pub fn len(&self) -> usize {
        ENTRY_HEADER_BYTES + self.payload.len()
    }

    /// Says whether there are no bytes, which is never so.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Returns the checksum of the header.
    pub fn checksum(&self) -> u32 {
        u32_at(&self.header, CHECKSUM_AT)
    }

    /// Returns the chain value that this entry has behind one with `before`.
    pub fn chain(&self, before: Chain) -> Chain {
        chain_of(before, &self.header)
    }

    /// Puts a chain value into the header.
    pub fn set_chain(&mut self, generation: &Generation, chain: Chain) {
        self.header[CHAIN_AT..CHAIN_AT + 8].copy_from_slice(&chain.get().to_le_bytes());
        seal(generation, &mut self.header);
    }
}

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryHeader {
    /// Term and index.
    pub id: EntryId,
    /// Cluster time.
    pub stamp: ClusterTime,
    /// The kind of payload.
    pub kind: EntryKind,
    /// The payload's size.
    pub payload_bytes: usize,
    /// The chain value.
    pub chain: Chain,
    payload_checksum: u32,
    checksum: u32,
}

impl EntryHeader {
    /// Returns the checksum of the header that it carries.
    pub const fn checksum(&self) -> u32 {
        self.checksum
    }

    /// Returns the checksum of the payload that the header carries.
    pub const fn payload_checksum(&self) -> u32 {
        self.payload_checksum
    }
}

/// Encodes an entry of this history. The same entry always has the same bytes.
///
/// # Panics
/// If the payload is over [`COMMAND_BYTES_MAX`] by more than an envelope: requests are checked
/// before they are proposed.
pub fn encode_entry(generation: &Generation, entry: &Entry) -> EncodedEntry {
    let (kind, payload) = match &entry.payload {
        Payload::Noop => (EntryKind::Noop, Bytes::new()),
        Payload::Command(bytes) => (EntryKind::Command, bytes.clone()),
        Payload::Configuration(configuration) => {
            (EntryKind::Configuration, encode_configuration(configuration))
        }
    };
    let size = u32::try_from(payload.len()).expect("payloads are far below 4 GiB");
    assert!(payload.len() <= 2 * COMMAND_BYTES_MAX, "payloads are checked when proposed");
    let mut header = [0; ENTRY_HEADER_BYTES];
    header[0] = VERSION;
    header[1] = kind.code();
    header[4..8].copy_from_slice(&size.to_le_bytes());
    header[8..16].copy_from_slice(&entry.id.term.get().to_le_bytes());
    header[16..24].copy_from_slice(&entry.id.index.get().to_le_bytes());
    header[24..32].copy_from_slice(&entry.stamp.get().to_le_bytes());
    header[CHAIN_AT..CHAIN_AT + 8].copy_from_slice(&entry.chain.get().to_le_bytes());
    let checksum = crc32c::crc32c(&payload).to_le_bytes();
    header[PAYLOAD_CHECKSUM_AT..PAYLOAD_CHECKSUM_AT + 4].copy_from_slice(&checksum);
    seal(generation, &mut header);
    EncodedEntry { header, payload }
}

/// Returns the chain value that an entry has behind one with `before`; never 0.
pub fn chain(before: Chain, entry: &Entry) -> Chain {
    // The generation is in the header's checksum only, which is no part of the chain.
    encode_entry(&Generation::new([0; 32]), entry).chain(before)
}

/// Returns the chain value that the entry with this header has behind one with `before`.
///
/// # Panics
/// If it is no header.
pub fn chain_of(before: Chain, header: &[u8]) -> Chain {
    let mut state = before.get();
    let words = header[..CHAIN_AT].chunks_exact(8).map(|word| u64_at(word, 0));
    let checksum = u64::from(u32_at(header, PAYLOAD_CHECKSUM_AT));
    for word in words.chain([checksum]) {
        let product = u128::from(state ^ word ^ MIX[0]) * u128::from(MIX[1]);
        let [low, high] = [product as u64, (product >> 64) as u64];
        state = (low ^ high).rotate_left(23).wrapping_add(MIX[0]);
    }
    Chain::new(state.max(1))
}

/// Reads a header without its payload.
///
/// # Errors
/// If it is cut off, of another version, of unknown kind, or announces too large a payload.
pub fn peek_entry(bytes: &[u8]) -> Result<EntryHeader, ProtocolError> {
    let what = "an entry";
    let Some(header) = bytes.get(..ENTRY_HEADER_BYTES) else {
        let (needed, found) = (ENTRY_HEADER_BYTES, bytes.len());
        return Err(ProtocolError::Truncated { what, needed, found });
    };
    if header[0] != VERSION {
        let (found, known) = (u32::from(header[0]), u32::from(VERSION));
        return Err(ProtocolError::Version { what, found, known });
    }
    let reserved = u64::from(u16::from_le_bytes([header[2], header[3]]));
    if reserved != 0 {
        return Err(ProtocolError::Unknown { what: "an entry's reserved part", found: reserved });
    }
    let payload_bytes = u32_at(header, 4) as usize;
    if payload_bytes > 2 * COMMAND_BYTES_MAX {
        let (found, limit) = (payload_bytes, 2 * COMMAND_BYTES_MAX);
        return Err(ProtocolError::TooLarge { what: "an entry's payload", found, limit });
    }
    Ok(EntryHeader {
        id: EntryId {
            term: Term::new(u64_at(header, 8)),
            index: LogIndex::new(u64_at(header, 16)),
        },
        stamp: ClusterTime::new(u64_at(header, 24)),
        kind: EntryKind::from_code(header[1])?,
        payload_bytes,
        chain: Chain::new(u64_at(header, CHAIN_AT)),
        payload_checksum: u32_at(header, PAYLOAD_CHECKSUM_AT),
        checksum: u32_at(header, CHECKSUM_AT),
    })
}

/// Reads a header without its payload, and checks it.
///
/// # Errors
/// As [`peek_entry`]; if it is damaged or of another history.
pub fn check_header(generation: &Generation, bytes: &[u8]) -> Result<EntryHeader, ProtocolError> {
    let header = peek_entry(bytes)?;
    let found = header_checksum(generation, bytes);
    if found != header.checksum {
        let what = format!("entry {}", header.id);
        return Err(ProtocolError::Checksum { what, found, expected: header.checksum });
    }
    Ok(header)
}

/// Takes one entry off the front of `bytes` and checks it.
///
/// # Errors
/// If it is cut off, damaged, of another history, or of another version; `bytes` is then spent.
pub fn decode_entry(generation: &Generation, bytes: &mut Bytes) -> Result<Entry, ProtocolError> {
    let header = check_header(generation, bytes)?;
    bytes.advance(ENTRY_HEADER_BYTES);
    if bytes.remaining() < header.payload_bytes {
        let (needed, found) = (header.payload_bytes, bytes.remaining());
        return Err(ProtocolError::Truncated { what: "an entry's payload", needed, found });
    }
    decode_payload(&header, bytes.split_to(header.payload_bytes))
}

/// Makes an entry of a header and its payload, which is checked. An entry has one encoding:
/// whatever else decodes to the same would have another chain value, and is refused.
///
/// # Errors
/// If the payload is damaged, not this header's, or encoded otherwise than here.
pub fn decode_payload(header: &EntryHeader, mut payload: Bytes) -> Result<Entry, ProtocolError> {
    let found = crc32c::crc32c(&payload);
    if found != header.payload_checksum || payload.len() != header.payload_bytes {
        let (what, expected) = (format!("entry {}", header.id), header.payload_checksum);
        return Err(ProtocolError::Checksum { what, found, expected });
    }
    if payload.len() <= PAYLOAD_COPY_BYTES_MAX {
        payload = Bytes::copy_from_slice(&payload);
    }
    let otherwise = |why: &str| ProtocolError::Invalid { what: "an entry", why: why.to_owned() };
    let payload = match header.kind {
        EntryKind::Noop if payload.is_empty() => Payload::Noop,
        EntryKind::Noop => return Err(otherwise("it is without effect and has a payload")),
        EntryKind::Command => Payload::Command(payload),
        EntryKind::Configuration => {
            let configuration = decode_configuration(&payload)?;
            if encode_configuration(&configuration) != payload {
                return Err(otherwise("its configuration is encoded otherwise than all are"));
            }
            Payload::Configuration(configuration)
        }
    };
    Ok(Entry { id: header.id, stamp: header.stamp, chain: header.chain, payload })
}

fn seal(generation: &Generation, header: &mut [u8; ENTRY_HEADER_BYTES]) {
    let checksum = header_checksum(generation, header);
    header[CHECKSUM_AT..].copy_from_slice(&checksum.to_le_bytes());
}

fn header_checksum(generation: &Generation, header: &[u8]) -> u32 {
    let crc = crc32c::crc32c(generation.bytes());
    crc32c::crc32c_append(crc, &header[..CHECKSUM_AT])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}
