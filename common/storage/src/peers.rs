//! What this node remembers of the other members, in a small file of its own that is never needed
//! to start: without it, or with an older one, less is noticed.
//!
//! ```text
//!  0  magic "raftd-pm"   8  crc32c u32 of the bytes behind   12  a frame of protocol
//! ```

use std::path::{Path, PathBuf};

use protocol::{FrameReader, Remembered, decode_memory, encode_memory};

use crate::error::StorageError;
use crate::files;
use crate::names::PEERS;

const MAGIC: &[u8; 8] = b"raftd-pm";
const HEAD_BYTES: usize = 12;

/// A memory of the members is far smaller, in bytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Where a node remembers the other members.
#[derive(Clone, Debug)]
pub struct PeerMemory(PathBuf);

impl PeerMemory {
    /// Names the file in a data directory.
    pub(crate) fn at(data_directory: &Path) -> Self {
        Self(data_directory.join(PEERS))
    }

    /// Reads what was remembered; nothing if there is no file.
    ///
    /// # Errors
    /// If it cannot be read, or is damaged: then nothing is remembered.
    pub fn load(&self) -> Result<Vec<Remembered>, StorageError> {
        let Some(bytes) = files::read(&self.0, FILE_BYTES_MAX)? else {
            return Ok(Vec::new());
        };
        let corrupt = |why: String| StorageError::corrupt(self.0.display().to_string(), why);
        let (head, frame) = bytes
            .split_at_checked(HEAD_BYTES)
            .filter(|(head, _)| head.starts_with(MAGIC))
            .ok_or_else(|| corrupt("it does not begin as one".into()))?;
        if crc32c::crc32c(frame).to_le_bytes() != head[8..] {
            return Err(corrupt("wrong checksum".into()));
        }
        let mut reader = FrameReader::new();
        reader.extend(frame);
        let frame = reader.next_frame().map_err(|error| corrupt(error.to_string()))?;
        let frame = frame.ok_or_else(|| corrupt("it is too short".into()))?;
        decode_memory(&frame).map_err(|error| corrupt(error.to_string()))
    }

    /// Replaces what is remembered, durably.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn store(&self, memory: &[Remembered]) -> Result<(), StorageError> {
        let frame = encode_memory(memory);
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&crc32c::crc32c(&frame).to_le_bytes());
        bytes.extend_from_slice(&frame);
        files::replace(&self.0, &bytes)
    }
}
