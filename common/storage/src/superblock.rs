//! Whose data directory this is, and whether it remembers what its node has promised: two copies,
//! each with a checksum, so far apart that no sector holds parts of both.
//!
//! ```text
//!  0  magic "raftd-sb"    45  generation 32 bytes     109  born u64, ns since 1970, or 0
//!  8  format u32, 2       77  seal u64                117  what was forgotten u8, or 0
//! 12  cluster 16 bytes    85  starts u64              118  former incarnation u64
//! 28  node u64            93  boot u64                126  crc32c u32 of the bytes before
//! 36  incarnation u64    101  inode u64, or 0
//! 44  1 if there is a generation, else 0              4096  the second copy
//! ```
//!
//! The file names its own inode and the time when that was made. It is made anew at every start, so
//! whatever copies it, or puts an older one in its place, does not fit what it says; a directory
//! that is renamed does.

use std::fs::File;
use std::path::Path;

use consensus::{Incarnation, NodeId};
use protocol::Generation;

use crate::error::StorageError;
use crate::files;
use crate::forgotten::{Forgotten, Former};
use crate::inode::Inode;

const MAGIC: &[u8; 8] = b"raftd-sb";
const FORMAT: u32 = 2;
const CHECKED: usize = 126;

/// The size of one copy.
const COPY_BYTES: usize = CHECKED + 4;

/// Where the second copy begins.
const SECOND_AT: usize = 4096;

/// The most that is read of the file.
const FILE_BYTES_MAX: u64 = 2 * SECOND_AT as u64;

/// What a data directory says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Superblock {
    pub(crate) cluster: [u8; 16],
    pub(crate) node: NodeId,
    /// The name under which the node's votes and acknowledgements count.
    pub(crate) incarnation: Incarnation,
    /// The directory's first incarnation, with which the log's records are sealed.
    pub(crate) seal: Incarnation,
    pub(crate) generation: Option<Generation>,
    /// How often a node was started with it.
    pub(crate) starts: u64,
    /// A random number of the last start.
    pub(crate) boot: u64,
    /// The file that says all this.
    pub(crate) inode: Inode,
    /// The name that was given up, as long as the node has not come back under the new one.
    pub(crate) former: Option<Former>,
}

impl Superblock {
    /// Reads the first copy that is whole, and which file it was found in. `None` without a file.
    ///
    /// # Errors
    /// If no copy is whole, or it is of another format.
    pub(crate) fn read(path: &Path) -> Result<Option<(Self, Inode)>, StorageError> {
        let Some(bytes) = files::read(path, FILE_BYTES_MAX)? else {
            return Ok(None);
        };
        let file = File::open(path).map_err(|error| StorageError::io("open", path, error))?;
        let decoded = Self::decode(&bytes).map_err(|error| {
            let StorageError::Corrupt { why, .. } = error else { return error };
            StorageError::corrupt(path.display().to_string(), why)
        })?;
        Ok(Some((decoded, Inode::of(&file, path)?)))
    }

    /// Writes a new file, which names itself, in the place of the one that is there.
    ///
    /// # Errors
    /// If it cannot be written: the one that is there stays.
    pub(crate) fn store(&mut self, path: &Path) -> Result<(), StorageError> {
        let mut inode = Inode::UNKNOWN;
        files::replace_with(path, |file| {
            inode = Inode::of(file, path)?;
            Ok(Self { inode, ..*self }.encode())
        })?;
        self.inode = inode;
        Ok(())
    }

    /// Says whether both copies are whole, and the same.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub(crate) fn has_two_copies(path: &Path) -> Result<bool, StorageError> {
        let bytes = files::read(path, FILE_BYTES_MAX)?.unwrap_or_default();
        let (first, second) = copies(&bytes);
        let gap = bytes.get(first.len()..SECOND_AT).unwrap_or_default();
        let is_whole = Self::decode_copy(first).is_ok() && first == second;
        Ok(is_whole && gap.iter().all(|byte| *byte == 0))
    }

    fn encode(&self) -> Vec<u8> {
        let mut copy = Vec::with_capacity(COPY_BYTES);
        copy.extend_from_slice(MAGIC);
        copy.extend_from_slice(&FORMAT.to_le_bytes());
        copy.extend_from_slice(&self.cluster);
        copy.extend_from_slice(&self.node.get().to_le_bytes());
        copy.extend_from_slice(&self.incarnation.get().to_le_bytes());
        copy.push(u8::from(self.generation.is_some()));
        copy.extend_from_slice(self.generation.map_or([0; 32], |g| *g.bytes()).as_slice());
        let Inode { number, born_ns } = self.inode;
        for number in [self.seal.get(), self.starts, self.boot, number, born_ns] {
            copy.extend_from_slice(&number.to_le_bytes());
        }
        copy.push(self.former.map_or(0, |former| former.why.code()));
        let former = self.former.map_or(0, |former| former.incarnation.get());
        copy.extend_from_slice(&former.to_le_bytes());
        copy.extend_from_slice(&crc32c::crc32c(&copy).to_le_bytes());
        let mut both = copy.clone();
        both.resize(SECOND_AT, 0);
        both.extend_from_slice(&copy);
        both
    }

    /// Decodes the first copy that is whole.
    fn decode(bytes: &[u8]) -> Result<Self, StorageError> {
        let (first, second) = copies(bytes);
        let decoded = Self::decode_copy(first);
        if matches!(decoded, Err(StorageError::Corrupt { .. }))
            && let Ok(second) = Self::decode_copy(second)
        {
            return Ok(second);
        }
        decoded
    }

    fn decode_copy(bytes: &[u8]) -> Result<Self, StorageError> {
        let corrupt = |why: &str| StorageError::corrupt("the superblock", why);
        if bytes.len() < 12 {
            return Err(corrupt("wrong size"));
        }
        if !bytes.starts_with(MAGIC) {
            return Err(corrupt("it does not begin as one"));
        }
        let format = u32::from_le_bytes(bytes[8..12].try_into().expect("four bytes"));
        let copy: &[u8; COPY_BYTES] = match bytes.try_into() {
            Ok(copy) => copy,
            Err(_) if (1..FORMAT).contains(&format) => return Err(older(format)),
            Err(_) => return Err(corrupt("wrong size")),
        };
        let stored = u32::from_le_bytes(copy[CHECKED..].try_into().expect("four bytes"));
        if crc32c::crc32c(&copy[..CHECKED]) != stored {
            // The formats before were shorter.
            let is_older = (1..FORMAT).contains(&format) && copy[81..89] == *MAGIC;
            return Err(if is_older { older(format) } else { corrupt("wrong checksum") });
        }
        if format != FORMAT {
            let what = "the superblock".into();
            return Err(StorageError::NewerFormat { what, found: format, known: FORMAT });
        }
        let number =
            |at: usize| u64::from_le_bytes(copy[at..at + 8].try_into().expect("eight bytes"));
        let generation: [u8; 32] = copy[45..77].try_into().expect("32 bytes");
        let why = match copy[117] {
            0 => None,
            code => Some(Forgotten::from_code(code).ok_or_else(|| corrupt("an unknown reason"))?),
        };
        let incarnation = Incarnation::new(number(118));
        Ok(Self {
            cluster: copy[12..28].try_into().expect("16 bytes"),
            node: NodeId::new(number(28)).ok_or_else(|| corrupt("node 0"))?,
            incarnation: Incarnation::new(number(36)),
            seal: Incarnation::new(number(77)),
            generation: (copy[44] == 1).then(|| Generation::new(generation)),
            starts: number(85),
            boot: number(93),
            inode: Inode { number: number(101), born_ns: number(109) },
            former: why.map(|why| Former { incarnation, why }),
        })
    }
}

fn older(format: u32) -> StorageError {
    let why = format!("it has format {format}, which this build does not read any more");
    StorageError::corrupt("the superblock", why)
}

/// Returns the places of both copies, as far as the file reaches.
fn copies(bytes: &[u8]) -> (&[u8], &[u8]) {
    let copy = |at: usize| {
        let from = bytes.get(at..).unwrap_or_default();
        &from[..from.len().min(COPY_BYTES)]
    };
    (copy(0), copy(SECOND_AT))
}
