//! A log whose database cannot be opened: its directory, or what says which files belong to it, is
//! gone or makes no sense. What is left is no log to go on with, and making a new one in its place
//! would forget everything without a word.

use std::io::ErrorKind;
use std::path::Path;

use rocksdb::ErrorKind as DatabaseError;

use crate::database::database;
use crate::error::StorageError;
use crate::files;

const CURRENT: &str = "CURRENT";
const CURRENT_BYTES_MAX: u64 = 64;

/// Looks whether a log that must be there can be opened. RocksDB would make a new one where the
/// first of its files is missing.
///
/// # Errors
/// [`StorageError::LogLost`] if not, or what the system says.
pub(crate) fn check(log: &Path) -> Result<(), StorageError> {
    let lost = |why: String| Err(StorageError::LogLost { why });
    match std::fs::metadata(log) {
        Ok(found) if !found.is_dir() => return lost(format!("{} is no directory", log.display())),
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return lost(format!("{} is missing", log.display()));
        }
        Err(error) => return Err(StorageError::io("look at", log, error)),
    }
    let current = log.join(CURRENT);
    let Some(bytes) = files::read(&current, CURRENT_BYTES_MAX)? else {
        return lost(format!("{} is missing", current.display()));
    };
    let name = std::str::from_utf8(&bytes).ok().and_then(|text| text.strip_suffix('\n'));
    let Some(manifest) = name.filter(|name| name.starts_with("MANIFEST-")) else {
        let said = String::from_utf8_lossy(&bytes);
        return lost(format!("{} says {said:?}", current.display()));
    };
    let manifest = log.join(manifest);
    match manifest.try_exists() {
        Ok(true) => Ok(()),
        Ok(false) => lost(format!("{} is missing", manifest.display())),
        Err(error) => Err(StorageError::io("look at", &manifest, error)),
    }
}

/// Turns the database's refusal to open the log into ours: what may pass by itself is none of it.
pub(crate) fn opening(error: &rocksdb::Error) -> StorageError {
    let ours = database("opening the log", error);
    let text = error.to_string();
    let is_lost = matches!(error.kind(), DatabaseError::Corruption | DatabaseError::NotFound)
        || text.contains("No such file");
    if is_lost { StorageError::LogLost { why: text } } else { ours }
}

/// Turns damage of what the log says of itself into its loss; a contradiction is none.
pub(crate) fn reading(error: StorageError) -> StorageError {
    let StorageError::Corrupt { what, .. } = &error else { return error };
    if what.starts_with("the database") { is_lost(error) } else { error }
}

/// Turns a contradiction within a log that is known to be damaged into its loss: a write is missing
/// that took the place of a part of it, and others follow. In a whole log it is none.
pub(crate) fn contradiction(error: StorageError, is_suspect: bool) -> StorageError {
    if is_suspect { is_lost(error) } else { error }
}

/// Turns damage of what says which files belong to the log into its loss.
pub(crate) fn is_lost(error: StorageError) -> StorageError {
    let StorageError::Corrupt { what, why } = error else { return error };
    StorageError::LogLost { why: format!("{what} is damaged: {why}") }
}
