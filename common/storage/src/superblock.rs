//! Whose data directory this is: two copies, each with a checksum.
//!
//! ```text
//!  0  magic "raftd-sb"    12  cluster 16 bytes    44  1 if there is a generation, else 0
//!  8  format u32, 1       28  node u64            45  generation 32 bytes
//!                         36  incarnation u64     77  crc32c u32 of the bytes before
//! ```

use consensus::{Incarnation, NodeId};
use protocol::Generation;

use crate::error::StorageError;

const MAGIC: &[u8; 8] = b"raftd-sb";
const FORMAT: u32 = 1;
const CHECKED: usize = 77;

/// The size of one copy.
pub(crate) const COPY_BYTES: usize = 81;

/// What a data directory says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Superblock {
    pub(crate) cluster: [u8; 16],
    pub(crate) node: NodeId,
    pub(crate) incarnation: Incarnation,
    pub(crate) generation: Option<Generation>,
}

impl Superblock {
    /// Encodes both copies.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut copy = Vec::with_capacity(COPY_BYTES);
        copy.extend_from_slice(MAGIC);
        copy.extend_from_slice(&FORMAT.to_le_bytes());
        copy.extend_from_slice(&self.cluster);
        copy.extend_from_slice(&self.node.get().to_le_bytes());
        copy.extend_from_slice(&self.incarnation.get().to_le_bytes());
        copy.push(u8::from(self.generation.is_some()));
        copy.extend_from_slice(self.generation.map_or([0; 32], |g| *g.bytes()).as_slice());
        copy.extend_from_slice(&crc32c::crc32c(&copy).to_le_bytes());
        copy.repeat(2)
    }

    /// Decodes the first copy that is whole.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, StorageError> {
        let (first, second) = bytes.split_at(COPY_BYTES.min(bytes.len()));
        let decoded = Self::decode_copy(first);
        if matches!(decoded, Err(StorageError::Corrupt { .. })) {
            return Self::decode_copy(second);
        }
        decoded
    }

    /// Says whether both copies are whole, and the same.
    pub(crate) fn has_two_copies(bytes: &[u8]) -> bool {
        let (first, second) = bytes.split_at(COPY_BYTES.min(bytes.len()));
        Self::decode_copy(first).is_ok() && first == second
    }

    fn decode_copy(bytes: &[u8]) -> Result<Self, StorageError> {
        let corrupt = |why: &str| StorageError::corrupt("the superblock", why);
        let copy: &[u8; COPY_BYTES] = bytes.try_into().map_err(|_| corrupt("wrong size"))?;
        if !copy.starts_with(MAGIC) {
            return Err(corrupt("it does not begin as one"));
        }
        let stored = u32::from_le_bytes(copy[CHECKED..].try_into().expect("four bytes"));
        if crc32c::crc32c(&copy[..CHECKED]) != stored {
            return Err(corrupt("wrong checksum"));
        }
        let format = u32::from_le_bytes(copy[8..12].try_into().expect("four bytes"));
        if format != FORMAT {
            let what = "the superblock".into();
            return Err(StorageError::NewerFormat { what, found: format, known: FORMAT });
        }
        let number =
            |at: usize| u64::from_le_bytes(copy[at..at + 8].try_into().expect("eight bytes"));
        let generation: [u8; 32] = copy[45..77].try_into().expect("32 bytes");
        Ok(Self {
            cluster: copy[12..28].try_into().expect("16 bytes"),
            node: NodeId::new(number(28)).ok_or_else(|| corrupt("node 0"))?,
            incarnation: Incarnation::new(number(36)),
            generation: (copy[44] == 1).then(|| Generation::new(generation)),
        })
    }
}
