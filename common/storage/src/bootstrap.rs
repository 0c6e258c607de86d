//! The bootstrap record, in two files: no single bad sector takes it. The superblock names the
//! record, so that each copy is known to be whole.

use std::path::Path;

use protocol::{BootstrapRecord, Generation};

use crate::error::StorageError;
use crate::files;
use crate::names::{BOOTSTRAP, BOOTSTRAP_SECOND};

/// A bootstrap record is far smaller, in bytes.
const BYTES_MAX: u64 = 1024 * 1024;

/// Reads the first copy that is whole.
///
/// # Errors
/// [`StorageError::RecordLost`] if there is none; what is the matter with the first file is said.
pub(crate) fn read(
    directory: &Path,
    generation: Generation,
) -> Result<BootstrapRecord, StorageError> {
    read_copy(directory, BOOTSTRAP, generation).or_else(|first| {
        read_copy(directory, BOOTSTRAP_SECOND, generation).map_err(|_| lost(first))
    })
}

fn lost(error: StorageError) -> StorageError {
    if let StorageError::Corrupt { what, why } = error {
        return StorageError::RecordLost { what, why };
    }
    error
}

/// Stores both copies, durably.
///
/// # Errors
/// If one of them cannot be written.
pub(crate) fn store(directory: &Path, record: &BootstrapRecord) -> Result<(), StorageError> {
    let bytes = record.encode();
    files::replace(&directory.join(BOOTSTRAP_SECOND), &bytes)?;
    files::replace(&directory.join(BOOTSTRAP), &bytes)
}

/// Makes a copy that is damaged or missing anew from the other one.
///
/// # Errors
/// If it cannot be written. Without a copy that is whole nothing is done: who needs the record
/// says so.
pub(crate) fn mend(directory: &Path, generation: Generation) -> Result<(), StorageError> {
    let Ok(record) = read(directory, generation) else { return Ok(()) };
    for name in [BOOTSTRAP, BOOTSTRAP_SECOND] {
        if let Err(error) = read_copy(directory, name, generation) {
            tracing::warn!(
                name: "bootstrap-record-mended",
                "{error}: it is written anew from the other copy"
            );
            files::replace(&directory.join(name), &record.encode())?;
        }
    }
    Ok(())
}

/// Checks both copies.
///
/// # Errors
/// The first that is not whole.
pub(crate) fn check(directory: &Path, generation: Generation) -> Result<(), StorageError> {
    let mut copies = [BOOTSTRAP, BOOTSTRAP_SECOND].into_iter();
    copies.try_for_each(|name| read_copy(directory, name, generation).map(drop))
}

/// Reads the record of a history that is not the directory's any more; `None` unless both copies
/// are there and the same: nothing else says that they are whole.
pub(crate) fn left(directory: &Path) -> Option<BootstrapRecord> {
    let copy = |name| files::read(&directory.join(name), BYTES_MAX).ok().flatten();
    let first = copy(BOOTSTRAP)?;
    (copy(BOOTSTRAP_SECOND)? == first).then(|| BootstrapRecord::decode(&first).ok()).flatten()
}

fn read_copy(
    directory: &Path,
    name: &str,
    generation: Generation,
) -> Result<BootstrapRecord, StorageError> {
    let path = directory.join(name);
    let corrupt = |why: String| StorageError::corrupt(path.display().to_string(), why);
    let bytes = files::read(&path, BYTES_MAX)?.ok_or_else(|| corrupt("it is missing".into()))?;
    if bytes.is_empty() {
        return Err(corrupt("it is empty".into()));
    }
    let record = BootstrapRecord::decode(&bytes).map_err(|why| corrupt(why.to_string()))?;
    if record.generation() != generation {
        return Err(corrupt("it is not the record that the superblock names".into()));
    }
    Ok(record)
}
