//! What both databases have in common: column families, errors, and the room that opening needs.

use std::path::{Path, PathBuf};

use rocksdb::DB;

use crate::error::{StorageError, full};
use crate::space::Space;

/// What a start writes besides the write-ahead log's contents: new manifests and info logs.
const OPENING_BYTES: u64 = 1024 * 1024;

/// Checks that a database can be opened, before a start that fails for want of room writes half of
/// its new files: opening writes out what the write-ahead log holds.
pub(crate) fn check_room(database: &Path) -> Result<(), StorageError> {
    let there = database.ancestors().find_map(|above| Space::at(above).ok());
    let Some(space) = there else {
        return Ok(());
    };
    let needed = OPENING_BYTES + wal_bytes(database);
    if space.usable_bytes() >= needed {
        return Ok(());
    }
    let (place, needs) = (database.display(), space.needs(needed));
    let why = format!("{space} at {place}, {needs} to start");
    Err(StorageError::Full { doing: "starting", why })
}

fn wal_bytes(database: &Path) -> u64 {
    let Ok(children) = database.read_dir() else {
        return 0;
    };
    let is_wal = |path: &Path| path.extension().is_some_and(|extension| extension == "log");
    let files = children.flatten().filter(|child| is_wal(&child.path()));
    files.filter_map(|file| file.metadata().ok()).map(|found| found.len()).sum()
}

/// Returns a column family.
pub(crate) fn family<'a>(
    db: &'a DB,
    name: &str,
) -> Result<&'a rocksdb::ColumnFamily, StorageError> {
    db.cf_handle(name)
        .ok_or_else(|| StorageError::corrupt(format!("column family {name}"), "it is missing"))
}

/// Turns the database's error into ours. Its text names the file, and the system's reason behind
/// it.
pub(crate) fn database(doing: &'static str, error: &rocksdb::Error) -> StorageError {
    let why = error.to_string();
    let path = file_in(&why);
    if why.contains("No space left on device") || why.contains("Disk quota exceeded") {
        let why = path.as_deref().map_or(why.clone(), |path| full(path, &why));
        return StorageError::Full { doing, why };
    }
    // EPERM, EACCES, EROFS.
    let denied = [("not permitted", 1), ("Permission denied", 13), ("Read-only file system", 30)];
    let denied = denied.iter().find(|(text, _)| why.contains(text));
    if let (Some((_, number)), Some(path)) = (denied, path) {
        return StorageError::io("use", &path, std::io::Error::from_raw_os_error(*number));
    }
    if error.kind() == rocksdb::ErrorKind::Corruption {
        return StorageError::corrupt(format!("the database ({doing})"), why);
    }
    StorageError::Database { doing, why }
}

/// Returns the file that the database's word is about: `IO error: While appending to file: FILE:`
fn file_in(why: &str) -> Option<PathBuf> {
    let begin = why.find(" /")? + 1;
    let end = why[begin..].find(": ").map_or(why.len(), |end| begin + end);
    Some(PathBuf::from(&why[begin..end]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_found_in_the_databases_word() {
        let full = "IO error: No space left on device: While appending to file: /d/log/9.log: No";
        assert_eq!(file_in(full).as_deref(), Some(std::path::Path::new("/d/log/9.log")));
        let denied = "IO error: While open a file for appending: /d/LOCK: Permission denied";
        assert_eq!(file_in(denied).as_deref(), Some(std::path::Path::new("/d/LOCK")));
        assert_eq!(file_in("Corruption: block checksum mismatch"), None);
    }
}
