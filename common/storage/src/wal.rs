//! Reads RocksDB's write-ahead logs before RocksDB does: damage must not pass for a torn tail.
//!
//! The last record of a write-ahead log may be cut off: a process that is killed leaves such a
//! record behind, it was never acknowledged, and RocksDB drops it. But RocksDB believes the length
//! in a record's head. With one flipped bit there, near the end of the file, it drops everything
//! behind, synced or not, or never returns. So a record that looks cut off is taken for one only if
//! no whole record follows.
//!
//! The file is a row of blocks of 32 KiB, and a block is a row of records; a rest of a block that
//! is smaller than a head is padding:
//! ```text
//!  0  crc32c u32, masked, over type and payload     4  payload u16 bytes     6  type u8
//! ```
//! Given up: if a client stores bytes that look like a whole record, and the write is torn just
//! before them, the node refuses to start. Refusing is the safe side.

use std::path::Path;

use crate::error::StorageError;
use crate::files;

const BLOCK_BYTES: usize = 32 * 1024;
const HEAD_BYTES: usize = 7;

/// What stands at some place of a write-ahead log.
enum Found {
    /// A record of so many bytes.
    Whole(usize),
    /// The beginning of a record, up to the end of the file.
    Cut,
    /// Neither.
    Damaged,
}

/// Checks the write-ahead logs of a database, and the manifest in force, which has the same form.
///
/// # Errors
/// If one is damaged or cannot be read. What RocksDB itself notices is left to RocksDB.
pub(crate) fn check(database: &Path) -> Result<(), StorageError> {
    let children = match database.read_dir() {
        Ok(children) => children,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(StorageError::io("list", database, error)),
    };
    for child in children {
        let path = child.map_err(|error| StorageError::io("list", database, error))?.path();
        if path.extension().is_some_and(|extension| extension == "log") {
            check_file(&path)?;
        }
    }
    let current = files::read(&database.join("CURRENT"), 64)?.unwrap_or_default();
    match std::str::from_utf8(&current).map(str::trim_end) {
        Ok(name) if name.starts_with("MANIFEST-") => check_file(&database.join(name)),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Says whether a database with this damage can be opened without what is damaged: it stands in a
/// write-ahead log, and not in the manifest, which says what files there are.
pub(crate) fn is_skippable(database: &Path, error: &StorageError) -> bool {
    let StorageError::Corrupt { what, .. } = error else {
        return false;
    };
    let path = Path::new(what);
    path.parent() == Some(database) && path.extension().is_some_and(|kind| kind == "log")
}

fn check_file(path: &Path) -> Result<(), StorageError> {
    // No larger than all that the memtables hold.
    let bytes = files::read(path, u64::MAX)?.unwrap_or_default();
    match damage(&bytes) {
        None => Ok(()),
        Some(at) => {
            let why = format!("the record at byte {at} of {} is not what was written", bytes.len());
            Err(StorageError::corrupt(path.display().to_string(), why))
        }
    }
}

/// Returns where the first record stands that is neither whole nor a torn tail.
fn damage(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    while at < bytes.len() {
        let left = BLOCK_BYTES - at % BLOCK_BYTES;
        if left < HEAD_BYTES {
            at += left;
            continue;
        }
        match found(bytes, at) {
            Found::Whole(size) => at += size,
            Found::Cut if is_torn(bytes, at) => return None,
            // A file system may have made the file longer before its contents.
            Found::Damaged if bytes[at..].iter().all(|byte| *byte == 0) => return None,
            Found::Cut | Found::Damaged => return Some(at),
        }
    }
    None
}

fn found(bytes: &[u8], at: usize) -> Found {
    let block_end = at - at % BLOCK_BYTES + BLOCK_BYTES;
    let Some(head) = bytes.get(at..at + HEAD_BYTES) else {
        return Found::Cut;
    };
    let size = HEAD_BYTES + usize::from(u16::from_le_bytes([head[4], head[5]]));
    match bytes.get(at..at + size) {
        Some(record) if at + size <= block_end && is_whole(record) => Found::Whole(size),
        None if bytes.len() < block_end => Found::Cut,
        Some(_) | None => Found::Damaged,
    }
}

/// Says whether nothing whole stands at `at` or behind: neither the record itself, up to the end of
/// the file and with another length in its head, nor any later one.
fn is_torn(bytes: &[u8], at: usize) -> bool {
    let whole = |later| matches!(found(bytes, later), Found::Whole(_));
    !is_whole(&bytes[at..]) && !(at + 1..bytes.len()).any(whole)
}

fn is_whole(record: &[u8]) -> bool {
    let Some((head, _)) = record.split_first_chunk::<HEAD_BYTES>() else {
        return false;
    };
    let stored = u32::from_le_bytes([head[0], head[1], head[2], head[3]]);
    // Type 0 is padding; RocksDB masks checksums, so that one over checksums is a good one too.
    head[6] != 0
        && crc32c::crc32c(&record[6..]).rotate_right(15).wrapping_add(0xa282_ead8) == stored
}
