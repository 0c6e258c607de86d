//! What both databases have in common: column families and errors.

use std::path::PathBuf;

use rocksdb::DB;

use crate::error::{StorageError, full};

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
