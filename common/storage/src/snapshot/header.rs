//! What a snapshot says of itself before its first chunk.
//!
//! ```text
//!   0  magic "raftsnap"         64  last entry: term u64     104  last entry: chain value u64
//!   8  format u32, 2            72  last entry: index u64    112  machine's version u32
//!  12  all of it u32 bytes      80  configuration's index    116  machine's name u32 bytes
//!  16  cluster 16 bytes         88  cluster time u64         120  configuration u32 bytes
//!  32  generation 32 bytes      96  made u64, ms since 1970  124  name, configuration
//!                                                                 crc32c u32 of all before
//! ```

use std::fmt;

use consensus::{Chain, ClusterTime, EntryId, LogIndex, SnapshotMeta, Term};
use protocol::limits::NAME_BYTES_MAX;
use protocol::{Generation, decode_configuration, encode_configuration};
use sha2::{Digest, Sha256};

const MAGIC: &[u8; 8] = b"raftsnap";
const FORMAT: u32 = 2;
const MADE_AT: usize = 96;
const FIXED_BYTES: usize = 124;
const CHECKSUM_BYTES: usize = 4;

/// As many of the first bytes as tell the header's size.
pub(crate) const PREFIX_BYTES: usize = 16;

/// The largest header, in bytes: 64 members have far less.
const HEADER_BYTES_MAX: usize = 128 * 1024;

/// What a snapshot covers, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotHeader {
    /// The cluster's id.
    pub cluster: [u8; 16],
    /// The history within the cluster.
    pub generation: Generation,
    /// The last entry inside, the configuration in force there, and cluster time.
    pub meta: SnapshotMeta,
    /// The name of the replicated machine.
    pub machine: String,
    /// Its version.
    pub machine_version: u32,
    /// When it was made by that node's wall clock, in milliseconds since 1970; for people.
    pub made_unix_ms: u64,
}

/// The name of a snapshot: a hash of its header without the time of the making. Nodes that take a
/// snapshot behind the same entry give it the same name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SnapshotId([u8; 32]);

impl SnapshotId {
    /// Wraps a hash, as read from the wire.
    pub const fn new(hash: [u8; 32]) -> Self {
        Self(hash)
    }

    /// Returns the hash.
    pub const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for SnapshotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for SnapshotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_string()[..8])
    }
}

/// Why bytes are no header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HeaderError {
    /// They are not what was written.
    Damaged(String),
    /// A newer version wrote them.
    Newer(u32),
}

impl SnapshotHeader {
    /// Returns the name of the snapshot.
    pub fn id(&self) -> SnapshotId {
        let mut bytes = self.fields();
        bytes[MADE_AT..MADE_AT + 8].fill(0);
        SnapshotId(Sha256::digest(&bytes).into())
    }

    /// Encodes the header; equal headers have equal bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = self.fields();
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
        bytes
    }

    fn fields(&self) -> Vec<u8> {
        let configuration = encode_configuration(&self.meta.configuration);
        let size = FIXED_BYTES + self.machine.len() + configuration.len() + CHECKSUM_BYTES;
        let narrow = |size: usize| u32::try_from(size).expect("a header is small").to_le_bytes();
        let mut bytes = Vec::with_capacity(size);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&FORMAT.to_le_bytes());
        bytes.extend_from_slice(&narrow(size));
        bytes.extend_from_slice(&self.cluster);
        bytes.extend_from_slice(self.generation.bytes());
        let SnapshotMeta { last, configuration_index, stamp, chain, .. } = &self.meta;
        let numbers = [last.term.get(), last.index.get(), configuration_index.get(), stamp.get()];
        for number in numbers.into_iter().chain([self.made_unix_ms, chain.get()]) {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&self.machine_version.to_le_bytes());
        bytes.extend_from_slice(&narrow(self.machine.len()));
        bytes.extend_from_slice(&narrow(configuration.len()));
        bytes.extend_from_slice(self.machine.as_bytes());
        bytes.extend_from_slice(&configuration);
        bytes
    }

    /// Returns the size of the header that begins with these bytes.
    pub(crate) fn size(prefix: &[u8; PREFIX_BYTES]) -> Result<usize, HeaderError> {
        if !prefix.starts_with(MAGIC) {
            return Err(HeaderError::Damaged("it does not begin as a snapshot".into()));
        }
        let format = u32_at(prefix, 8);
        if format != FORMAT {
            return Err(HeaderError::Newer(format));
        }
        let size = u32_at(prefix, 12) as usize;
        if (FIXED_BYTES + CHECKSUM_BYTES..=HEADER_BYTES_MAX).contains(&size) {
            return Ok(size);
        }
        Err(HeaderError::Damaged(format!("its header claims to have {size} bytes")))
    }

    /// Decodes a header of exactly these bytes.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, HeaderError> {
        let damaged = |why: String| HeaderError::Damaged(why);
        let prefix = bytes.first_chunk().ok_or_else(|| damaged("it is cut off".into()))?;
        if Self::size(prefix)? != bytes.len() {
            return Err(damaged(format!("its header has {} bytes", bytes.len())));
        }
        let (fields, checksum) = bytes.split_at(bytes.len() - CHECKSUM_BYTES);
        if crc32c::crc32c(fields) != u32_at(checksum, 0) {
            return Err(damaged("wrong checksum".into()));
        }
        let (name, configuration) = (u32_at(fields, 116) as usize, u32_at(fields, 120) as usize);
        let rest = &fields[FIXED_BYTES..];
        if name > NAME_BYTES_MAX || name.checked_add(configuration) != Some(rest.len()) {
            return Err(damaged("its parts do not fit".into()));
        }
        let machine = std::str::from_utf8(&rest[..name]).map_err(|why| damaged(why.to_string()))?;
        let configuration = decode_configuration(&rest[name..])
            .map_err(|why| damaged(format!("its configuration: {why}")))?;
        let last = EntryId {
            term: Term::new(u64_at(fields, 64)),
            index: LogIndex::new(u64_at(fields, 72)),
        };
        let configuration_index = LogIndex::new(u64_at(fields, 80));
        let stamp = ClusterTime::new(u64_at(fields, 88));
        let chain = Chain::new(u64_at(fields, 104));
        Ok(Self {
            cluster: fields[16..32].try_into().expect("16 bytes"),
            generation: Generation::new(fields[32..64].try_into().expect("32 bytes")),
            meta: SnapshotMeta { last, configuration, configuration_index, stamp, chain },
            machine: machine.to_owned(),
            machine_version: u32_at(fields, 112),
            made_unix_ms: u64_at(fields, MADE_AT),
        })
    }
}

impl HeaderError {
    /// Adds which file it is.
    pub(crate) fn of(self, file: &str) -> crate::StorageError {
        let what = format!("snapshot {file}, header at byte 0");
        match self {
            Self::Damaged(why) => crate::StorageError::corrupt(what, why),
            Self::Newer(found) => crate::StorageError::NewerFormat { what, found, known: FORMAT },
        }
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}
