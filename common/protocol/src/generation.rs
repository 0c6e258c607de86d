//! The bootstrap record and its hash, the generation, which tells one history of a cluster from
//! every other one.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use consensus::Configuration;
use prost::Message as _;
use sha2::{Digest, Sha256};

use crate::configuration::{bounded, from_wire, to_wire};
use crate::error::ProtocolError;
use crate::limits::NAME_BYTES_MAX;
use crate::wire::peer as pb;

const VERSION: u32 = 1;

/// The SHA-256 of a bootstrap record.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation([u8; 32]);

impl Generation {
    /// Wraps a hash, as read from the wire or the disk.
    pub const fn new(hash: [u8; 32]) -> Self {
        Self(hash)
    }

    /// Reads a hash of any origin.
    ///
    /// # Errors
    /// If it is not 32 bytes long.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, ProtocolError> {
        let hash = bytes.try_into().map_err(|_| ProtocolError::Invalid {
            what: "a generation",
            why: format!("it has {} bytes, not 32", bytes.len()),
        })?;
        Ok(Self(hash))
    }

    /// Returns the hash.
    pub const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Returns the first and last four hexadecimal digits, for people.
    pub fn short(&self) -> String {
        let full = self.to_string();
        format!("{}..{}", &full[..4], &full[60..])
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for Generation {
    type Err = ProtocolError;

    /// Reads what [`Display`](fmt::Display) writes.
    fn from_str(text: &str) -> Result<Self, ProtocolError> {
        let invalid = || ProtocolError::Invalid {
            what: "a generation",
            why: "it is not written as 64 hexadecimal digits".into(),
        };
        let mut hash = [0; 32];
        if text.len() != 64 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(invalid());
        }
        for (byte, at) in hash.iter_mut().zip((0..64).step_by(2)) {
            *byte = u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| invalid())?;
        }
        Ok(Self(hash))
    }
}

impl fmt::Debug for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.short())
    }
}

/// What a cluster begins with. Written once, never edited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootstrapRecord {
    /// The cluster's id, as in its certificates.
    pub cluster: [u8; 16],
    /// The first members, with the incarnations of their data directories.
    pub configuration: Configuration,
    /// The name of the replicated machine.
    pub machine: String,
    /// Its version.
    pub machine_version: u32,
    /// The generation that this one continues after a restore or a recovery.
    pub parent: Option<Generation>,
}

impl BootstrapRecord {
    /// Encodes the record; equal records have equal bytes.
    pub fn encode(&self) -> Bytes {
        let record = pb::Bootstrap {
            version: VERSION,
            cluster: Bytes::copy_from_slice(&self.cluster),
            configuration: Some(to_wire(&self.configuration)),
            machine: self.machine.clone(),
            machine_version: self.machine_version,
            parent: self.parent.map_or_else(Bytes::new, |g| Bytes::copy_from_slice(g.bytes())),
        };
        record.encode_to_vec().into()
    }

    /// Decodes a record.
    ///
    /// # Errors
    /// If it is malformed, of another version, or has no valid configuration.
    pub fn decode(bytes: &[u8]) -> Result<Self, ProtocolError> {
        let what = "a bootstrap record";
        let record = pb::Bootstrap::decode(bytes)
            .map_err(|source| ProtocolError::Malformed { what, source })?;
        if record.version != VERSION {
            return Err(ProtocolError::Version { what, found: record.version, known: VERSION });
        }
        bounded("a machine's name", record.machine.len(), NAME_BYTES_MAX)?;
        let configuration =
            record.configuration.ok_or(ProtocolError::Missing { what: "a configuration" })?;
        Ok(Self {
            cluster: cluster(&record.cluster)?,
            configuration: from_wire(configuration)?,
            machine: record.machine,
            machine_version: record.machine_version,
            parent: optional_generation(&record.parent)?,
        })
    }

    /// Returns the hash that names the history which begins with this record.
    pub fn generation(&self) -> Generation {
        Generation(Sha256::digest(self.encode()).into())
    }
}

pub(crate) fn cluster(bytes: &[u8]) -> Result<[u8; 16], ProtocolError> {
    bytes.try_into().map_err(|_| ProtocolError::Invalid {
        what: "a cluster id",
        why: format!("it has {} bytes, not 16", bytes.len()),
    })
}

pub(crate) fn optional_generation(bytes: &[u8]) -> Result<Option<Generation>, ProtocolError> {
    if bytes.is_empty() { Ok(None) } else { Generation::from_slice(bytes).map(Some) }
}
