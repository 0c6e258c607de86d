//! What the files that this process has open are called by now, as the system tells it. A file that
//! was removed, renamed or replaced goes on taking writes, and nobody finds it again.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::StorageError;

/// Where the system lists them.
const OPEN: &str = "/proc/self/fd";

/// What the system puts behind the name of a file that has none any more.
const DELETED: &str = " (deleted)";

/// What a database writes to as long as it is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needed {
    /// A manifest.
    Manifest,
    /// A write-ahead log besides.
    Log,
}

/// Looks whether the manifest and the write-ahead log that are written in a database's directory
/// are at their places. Those are the newest of their kind that are open: older ones, and tables,
/// may be open without a name, since somebody still reads what the database has no use for.
///
/// # Errors
/// [`StorageError::Gone`] if not. Where the system does not tell, nothing is found.
pub(crate) fn check(database: &Path, needed: Needed) -> Result<(), StorageError> {
    let Ok(directory) = database.canonicalize() else { return Ok(()) };
    let open = open_in(&directory);
    if open.is_empty() {
        return Ok(());
    }
    let named = |path: &PathBuf| path.file_name().and_then(|name| name.to_str()).map(str::to_owned);
    let names: Vec<String> = open.iter().filter_map(named).collect();
    let is_written = |number: fn(&str) -> Option<u64>, missing| {
        let newest = names.iter().filter_map(|name| {
            let name = name.as_str();
            let bare = name.strip_suffix(DELETED).unwrap_or(name);
            Some((number(bare)?, name != bare, bare))
        });
        match newest.max_by_key(|(number, is_deleted, _)| (*number, !is_deleted)) {
            None => Err(gone(&directory, missing)),
            Some((_, true, name)) => {
                Err(gone(&directory.join(name), "was removed or replaced while it is in use"))
            }
            Some((_, false, _)) => Ok(()),
        }
    };
    is_written(manifest_number, "does not hold the manifest that is in use any more")?;
    match needed {
        Needed::Manifest => Ok(()),
        Needed::Log => is_written(log_number, "has no write-ahead log any more"),
    }
}

/// Returns the names of what is open directly in a directory.
fn open_in(directory: &Path) -> Vec<PathBuf> {
    let Ok(open) = fs::read_dir(OPEN) else { return Vec::new() };
    let targets = open.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    targets.filter(|target| target.parent() == Some(directory)).collect()
}

fn log_number(name: &str) -> Option<u64> {
    number(name.strip_suffix(".log")?)
}

fn manifest_number(name: &str) -> Option<u64> {
    number(name.strip_prefix("MANIFEST-")?)
}

fn number(text: &str) -> Option<u64> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}

fn gone(path: &Path, what: &'static str) -> StorageError {
    StorageError::Gone { path: path.to_owned(), what }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    /// The files of a database with a log, all open.
    fn opened() -> (tempfile::TempDir, Vec<File>) {
        let place = tempfile::tempdir().expect("there is room");
        let names = ["MANIFEST-000004", "000007.log", "000005.sst", "LOCK"];
        let files = names.map(|name| File::create(place.path().join(name)).expect("there is room"));
        (place, files.into())
    }

    fn found(change: impl FnOnce(&Path)) -> Option<String> {
        let (place, files) = opened();
        assert!(check(place.path(), Needed::Log).is_ok(), "all are there");
        change(place.path());
        let found = check(place.path(), Needed::Log).err().map(|error| error.to_string());
        drop(files);
        found
    }

    #[test]
    fn what_is_open_must_be_found_under_its_name() {
        let is = |found: Option<String>, what: &str| {
            assert!(found.as_ref().is_some_and(|found| found.contains(what)), "{what}: {found:?}");
        };
        let replaced = "was removed or replaced while it is in use";
        for name in ["MANIFEST-000004", "000007.log"] {
            is(found(|place| fs::remove_file(place.join(name)).unwrap()), replaced);
            let copied = |place: &Path| {
                fs::copy(place.join(name), place.join("t")).unwrap();
                fs::rename(place.join("t"), place.join(name)).unwrap();
            };
            is(found(copied), replaced);
        }
        // As a program does that rotates what it takes for logs.
        let rotated = |place: &Path| {
            fs::rename(place.join("000007.log"), place.join("000007.log.1")).unwrap();
            File::create(place.join("000007.log")).unwrap();
        };
        is(found(rotated), "has no write-ahead log any more");
        let renamed =
            |place: &Path| fs::rename(place.join("MANIFEST-000004"), place.join("x")).unwrap();
        is(found(renamed), "manifest");
        assert_eq!(found(|place| fs::remove_file(place.join("LOCK")).unwrap()), None);
    }

    /// A state that is read through has tables open that a compaction removes meanwhile: that ended
    /// healthy nodes.
    #[test]
    fn what_the_database_has_no_use_for_may_be_open_without_a_name() {
        assert_eq!(found(|place| fs::remove_file(place.join("000005.sst")).unwrap()), None);
        let (place, files) = opened();
        let newer = ["MANIFEST-000010", "000011.log"];
        let written = newer.map(|name| File::create(place.path().join(name)).unwrap());
        for name in ["MANIFEST-000004", "000007.log"] {
            fs::remove_file(place.path().join(name)).unwrap();
            assert!(check(place.path(), Needed::Log).is_ok(), "{name}");
        }
        fs::remove_file(place.path().join(newer[1])).unwrap();
        let why = check(place.path(), Needed::Log).unwrap_err().to_string();
        assert!(why.contains("000011.log was removed or replaced"), "{why}");
        drop((files, written));
    }

    #[test]
    fn a_state_needs_no_write_ahead_log_and_a_directory_without_open_files_nothing() {
        let (place, mut files) = opened();
        files.remove(1);
        assert!(check(place.path(), Needed::Manifest).is_ok());
        assert!(check(place.path(), Needed::Log).is_err());
        files.clear();
        assert!(check(place.path(), Needed::Log).is_ok());
        assert!(check(&place.path().join("nowhere"), Needed::Log).is_ok());
    }
}
