//! What the files that this process has open are called by now, as the system tells it. A file that
//! was removed, renamed or replaced goes on taking writes, and nobody finds it again.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use crate::error::StorageError;
use crate::files;

/// Where the system lists them.
const OPEN: &str = "/proc/self/fd";

/// What the system puts behind the name of a file that has none any more.
const DELETED: &str = " (deleted)";

const REPLACED: &str = "was removed or replaced while it is in use";

/// The bytes at the end of a write-ahead log that are remembered.
const END_BYTES: u64 = 64;

/// The bytes of a record's head. The last is its kind, which is never 0.
const HEAD_BYTES: u64 = 7;

/// A write-ahead log as it was when it was looked at. It only grows: what stands in it stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    number: u64,
    bytes: u64,
    end: Vec<u8>,
}

/// Looks whether the manifest that is written in a database's directory is at its place. It is the
/// newest that is open: older ones, and tables, may be open without a name, since somebody still
/// reads what the database has no use for.
///
/// # Errors
/// [`StorageError::Gone`] if not. Where the system does not tell, nothing is found.
pub(crate) fn check_manifest(database: &Path) -> Result<(), StorageError> {
    let Some((directory, names)) = open_in(database) else { return Ok(()) };
    match newest(&names, manifest_number) {
        None => Err(gone(&directory, "does not hold the manifest that is in use any more")),
        Some((_, Some(name))) => Err(gone(&directory.join(name), REPLACED)),
        Some((_, None)) => Ok(()),
    }
}

/// Looks whether what this process has open of a directory is, among others, the file of this name:
/// one that was renamed is open under its new name, whatever is at its place now.
///
/// # Errors
/// [`StorageError::Gone`] if not. Where the system does not tell, nothing is found.
pub(crate) fn check_named(directory: &Path, name: &str) -> Result<(), StorageError> {
    let Some((directory, open)) = open_in(directory) else { return Ok(()) };
    match open.iter().any(|it| it == name) {
        true => Ok(()),
        false => Err(gone(&directory.join(name), REPLACED)),
    }
}

/// Looks whether the write-ahead log that is written is at its place, and begins as one, and still
/// holds what it held `before`. Returns how it is now, where the system tells.
///
/// # Errors
/// [`StorageError::Gone`] if not. Where the system does not tell, it is enough that there is one.
pub(crate) fn check_write_ahead_log(
    database: &Path,
    before: Option<&Written>,
) -> Result<Option<Written>, StorageError> {
    const NONE: &str = "has no write-ahead log any more";
    let Some((directory, names)) = open_in(database) else {
        let names = files::names(database).unwrap_or_else(|_| vec![".log".to_owned()]);
        let is_there = names.iter().any(|name| name.ends_with(".log"));
        return if is_there { Ok(None) } else { Err(gone(database, NONE)) };
    };
    let number = match newest(&names, log_number) {
        None => return Err(gone(&directory, NONE)),
        Some((_, Some(name))) => return Err(gone(&directory.join(name), REPLACED)),
        Some((number, None)) => number,
    };
    let path = directory.join(format!("{number:06}.log"));
    // What cannot be read is not known.
    let Ok(file) = File::open(&path) else { return Ok(None) };
    let Ok(bytes) = file.metadata().map(|found| found.len()) else { return Ok(None) };
    let begins = bytes < HEAD_BYTES || part(&file, 0, HEAD_BYTES).is_none_or(|head| head[6] != 0);
    let holds = before.filter(|before| before.number == number).is_none_or(|before| {
        let place = before.bytes - before.end.len() as u64;
        let end = part(&file, place, before.end.len() as u64);
        bytes >= before.bytes && end.is_none_or(|end| end == before.end)
    });
    if !begins || !holds {
        return Err(gone(&path, "was cut short while it is in use"));
    }
    let length = bytes.min(END_BYTES);
    Ok(part(&file, bytes - length, length).map(|end| Written { number, bytes, end }))
}

/// Reads so many bytes; `None` if that fails.
fn part(file: &File, at: u64, bytes: u64) -> Option<Vec<u8>> {
    let mut part = vec![0; usize::try_from(bytes).ok()?];
    file.read_exact_at(&mut part, at).ok()?;
    Some(part)
}

/// Returns a directory under its own name, and the names of what is open directly in it; `None`
/// where nothing is.
fn open_in(directory: &Path) -> Option<(PathBuf, Vec<String>)> {
    let directory = directory.canonicalize().ok()?;
    let open = fs::read_dir(OPEN).ok()?;
    let targets = open.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    let within = targets.filter(|target| target.parent() == Some(&directory));
    let names: Vec<String> =
        within.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect();
    (!names.is_empty()).then_some((directory, names))
}

/// Returns the highest number among the names, and that name if the file has lost it.
fn newest(names: &[String], number: fn(&str) -> Option<u64>) -> Option<(u64, Option<&str>)> {
    let numbered = names.iter().filter_map(|name| {
        let bare = name.strip_suffix(DELETED);
        Some((number(bare.unwrap_or(name))?, bare))
    });
    numbered.max_by_key(|(number, lost)| (*number, lost.is_none()))
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
    use std::os::unix::fs::FileExt as _;

    use super::*;

    /// The files of a database with a log, all open.
    fn opened() -> (tempfile::TempDir, Vec<File>) {
        let place = tempfile::tempdir().expect("there is room");
        let names = ["MANIFEST-000004", "000007.log", "000005.sst", "LOCK"];
        let files = names.map(|name| File::create(place.path().join(name)).expect("there is room"));
        (place, files.into())
    }

    fn check(database: &Path) -> Result<(), StorageError> {
        check_manifest(database)?;
        check_write_ahead_log(database, None).map(|_| ())
    }

    fn found(change: impl FnOnce(&Path)) -> Option<String> {
        let (place, files) = opened();
        assert!(check(place.path()).is_ok(), "all are there");
        change(place.path());
        let found = check(place.path()).err().map(|error| error.to_string());
        drop(files);
        found
    }

    #[test]
    fn what_is_written_must_be_found_under_its_name() {
        let is = |found: Option<String>, what: &str| {
            assert!(found.as_ref().is_some_and(|found| found.contains(what)), "{what}: {found:?}");
        };
        for name in ["MANIFEST-000004", "000007.log"] {
            is(found(|place| fs::remove_file(place.join(name)).unwrap()), REPLACED);
            let copied = |place: &Path| {
                fs::copy(place.join(name), place.join("t")).unwrap();
                fs::rename(place.join("t"), place.join(name)).unwrap();
            };
            is(found(copied), REPLACED);
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

    /// What is written went to the file with the other name: the next start found an old one.
    #[test]
    fn a_file_that_was_renamed_and_copied_back_is_another_one() {
        let place = tempfile::tempdir().unwrap();
        let [lock, tail] = ["lock", "tail"].map(|name| place.path().join(name));
        let files = [&lock, &tail].map(|path| File::create(path).unwrap());
        let check = || check_named(place.path(), "tail").map_err(|error| error.to_string());
        assert_eq!(check(), Ok(()));
        fs::rename(&tail, place.path().join("t")).unwrap();
        fs::copy(place.path().join("t"), &tail).unwrap();
        assert!(check().is_err_and(|why| why.contains(REPLACED)), "renamed");
        fs::remove_file(place.path().join("t")).unwrap();
        assert!(check().is_err_and(|why| why.contains(REPLACED)), "and removed");
        drop(files);
        assert_eq!(check(), Ok(()), "nothing is open");
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
            assert!(check(place.path()).is_ok(), "{name}");
        }
        fs::remove_file(place.path().join(newer[1])).unwrap();
        let why = check(place.path()).unwrap_err().to_string();
        assert!(why.contains("000011.log was removed or replaced"), "{why}");
        drop((files, written));
    }

    /// As a program does that copies what it takes for a log, and cuts off what it has copied; and
    /// who copies an older one over it.
    #[test]
    fn a_write_ahead_log_that_is_cut_short_is_noticed_also_when_it_grows_on() {
        let (place, files) = opened();
        let log = &files[1];
        let check = |before: Option<&Written>| check_write_ahead_log(place.path(), before);
        let empty = check(None).unwrap().unwrap();
        log.write_all_at(&[7; 200], 0).unwrap();
        let seen = check(Some(&empty)).unwrap().unwrap();
        log.write_all_at(&[8; 200], 200).unwrap();
        let later = check(Some(&seen)).expect("it grows").unwrap();
        log.set_len(0).unwrap();
        let why = check(Some(&seen)).unwrap_err().to_string();
        assert!(why.contains("000007.log was cut short while it is in use"), "{why}");
        // What is written next stands behind a hole.
        log.write_all_at(&[9; 200], 400).unwrap();
        assert!(check(None).is_err(), "it does not begin as one");
        log.write_all_at(&[7; 200], 0).unwrap();
        assert!(check(Some(&seen)).is_ok(), "so far it is the same");
        assert!(check(Some(&later)).is_err(), "what follows is not");
    }

    #[test]
    fn a_state_needs_no_write_ahead_log_and_a_directory_without_open_files_nothing() {
        let (place, mut files) = opened();
        files.remove(1);
        assert!(check_manifest(place.path()).is_ok());
        assert!(check(place.path()).is_err());
        files.clear();
        assert!(check(place.path()).is_ok());
        assert!(check_manifest(&place.path().join("nowhere")).is_ok());
    }
}
