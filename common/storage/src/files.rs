//! Small files that must survive a loss of power whole: written to a file beside, synced, renamed,
//! and the directory synced before the function returns.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::Access;

use crate::error::StorageError;

/// Creates a directory, with its parents, that only its owner may enter; durably, with all of them.
pub(crate) fn create_directory(path: &Path) -> Result<(), StorageError> {
    let is_missing = |above: &&Path| !above.as_os_str().is_empty() && !above.exists();
    let missing = path.ancestors().take_while(is_missing).count();
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|source| StorageError::io("create", path, leads_nowhere(path, source)))?;
    // Who made the directory itself before need not have synced its name.
    for made in path.ancestors().take(missing.max(1)) {
        let Some(above) = made.parent() else { continue };
        if !above.as_os_str().is_empty() {
            sync_above(above, made)?;
        } else if missing > 0 {
            sync_directory(Path::new("."))?;
        }
    }
    Ok(())
}

/// Says where a symbolic link leads that stands for a directory, or for one above it, if nothing is
/// there: the system says no more than that a file exists.
fn leads_nowhere(path: &Path, error: std::io::Error) -> std::io::Error {
    let link = path.ancestors().find(|above| above.is_symlink() && !above.exists());
    let target = link.and_then(|link| Some((link, fs::read_link(link).ok()?)));
    target.map_or(error, |(link, target)| {
        std::io::Error::other(format!(
            "{} is a symbolic link to {}, and nothing is there: is its file system mounted?",
            link.display(),
            target.display()
        ))
    })
}

/// Takes away what users that are neither the owner nor of its group may do in a directory of ours.
/// Its group may be there on purpose, for a backup.
pub(crate) fn close_to_others(path: &Path) -> Result<(), StorageError> {
    let found = fs::metadata(path).map_err(|e| StorageError::io("look at", path, e))?;
    let mode = found.mode() & 0o7777;
    if mode & 0o007 == 0 {
        return Ok(());
    }
    let closed = mode & !0o007;
    let path_shown = path.display();
    match fs::set_permissions(path, fs::Permissions::from_mode(closed)) {
        Ok(()) => {
            tracing::info!(
                name: "directory-closed",
                "data directory {path_shown} was open to every user (mode {mode:04o}): it is \
                 {closed:04o} now"
            );
        }
        Err(error) => {
            tracing::warn!(
                name: "directory-open",
                "data directory {path_shown} is open to every user (mode {mode:04o}): {error}; \
                 run: chmod o-rwx {path_shown}"
            );
        }
    }
    Ok(())
}

/// Replaces a file's contents as a whole (museum H2, G12).
pub(crate) fn replace(path: &Path, contents: &[u8]) -> Result<(), StorageError> {
    replace_with(path, |_| Ok(contents))
}

/// Replaces a file's contents as a whole by what may name the very file that they are written to.
pub(crate) fn replace_with<C: AsRef<[u8]>>(
    path: &Path,
    contents: impl FnOnce(&File) -> Result<C, StorageError>,
) -> Result<(), StorageError> {
    let aside = aside(path);
    let replaced = write_aside(&aside, contents).and_then(|()| {
        fs::rename(&aside, path).map_err(|e| StorageError::io("rename to", path, e))
    });
    if let Err(error) = replaced {
        // On a full disk even an empty file is one too many; the first error is the one to tell.
        let _ = fs::remove_file(&aside);
        return Err(error);
    }
    sync_parent(path)
}

fn write_aside<C: AsRef<[u8]>>(
    aside: &Path,
    contents: impl FnOnce(&File) -> Result<C, StorageError>,
) -> Result<(), StorageError> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(aside).map_err(|e| StorageError::io("create", aside, e))?;
    let contents = contents(&file)?;
    file.write_all(contents.as_ref()).map_err(|e| StorageError::io("write", aside, e))?;
    file.sync_all().map_err(|e| StorageError::io("sync", aside, e))
}

/// Returns where a file's next contents are written before they take its place.
pub(crate) fn aside(path: &Path) -> PathBuf {
    path.with_extension("new")
}

/// Returns a file's contents; `None` if there is no such file.
pub(crate) fn read(path: &Path, bytes_max: u64) -> Result<Option<Vec<u8>>, StorageError> {
    // Who opens a FIFO waits for its writer, for ever.
    let found = fs::metadata(path).ok().filter(|found| !found.is_file());
    if let Some(found) = found {
        let what = if found.is_dir() { "a directory" } else { "no plain file" };
        let why = std::io::Error::other(format!("it is {what}"));
        return Err(StorageError::io("read", path, why));
    }
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(StorageError::io("open", path, error)),
    };
    let mut contents = Vec::new();
    file.take(bytes_max)
        .read_to_end(&mut contents)
        .map_err(|error| StorageError::io("read", path, error))?;
    Ok(Some(contents))
}

/// Makes a new or removed name in a file's directory durable.
pub(crate) fn sync_parent(path: &Path) -> Result<(), StorageError> {
    sync_directory(path.parent().unwrap_or(Path::new(".")))
}

/// Makes durable what was moved from one directory into another: never is it in neither.
pub(crate) fn sync_moved(from: &Path, to: &Path) -> Result<(), StorageError> {
    sync_directory(to)?;
    sync_directory(from)
}

/// Removes a file, if it is there.
pub(crate) fn remove(path: &Path) -> Result<(), StorageError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(StorageError::io("remove", path, error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Removes a directory with all that is in it, if it is there.
pub(crate) fn remove_directory(path: &Path) -> Result<(), StorageError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(StorageError::io("remove", path, error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Returns the names in a directory, in order; none if there is no such directory.
pub(crate) fn names(path: &Path) -> Result<Vec<String>, StorageError> {
    let children = match path.read_dir() {
        Ok(children) => children,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(StorageError::io("list", path, error)),
    };
    let mut names = Vec::new();
    for child in children {
        let child = child.map_err(|error| StorageError::io("list", path, error))?;
        names.push(child.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

/// Writes bytes for people.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Checks that this process may read and write a file, or a directory and all that is in it.
pub(crate) fn check_rights(path: &Path) -> Result<(), StorageError> {
    let denied = |error| StorageError::io("use", path, error);
    let found = fs::symlink_metadata(path).map_err(denied)?;
    let (wanted, is_directory) = match found.is_dir() {
        true => (Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK, true),
        false => (Access::READ_OK | Access::WRITE_OK, false),
    };
    rustix::fs::access(path, wanted).map_err(|errno| denied(errno.into()))?;
    if is_directory {
        for child in path.read_dir().map_err(denied)? {
            let child = child.map_err(denied)?.path();
            let checked = check_rights(&child);
            // Removed meanwhile, or a link to nowhere, which its reader will name.
            let is_gone = matches!(
                &checked,
                Err(StorageError::Io { source, .. })
                    if source.kind() == std::io::ErrorKind::NotFound
            );
            if !is_gone {
                checked?;
            }
        }
    }
    Ok(())
}

/// Makes durable whatever lies in a directory, however it came there. What is on the disk already
/// costs next to nothing.
pub(crate) fn sync_found(path: &Path) -> Result<(), StorageError> {
    let children = path.read_dir().map_err(|e| StorageError::io("list", path, e))?;
    for child in children {
        let child = child.map_err(|e| StorageError::io("list", path, e))?;
        let (path, kind) = (child.path(), child.file_type());
        let kind = kind.map_err(|e| StorageError::io("look at", &path, e))?;
        if kind.is_dir() {
            sync_found(&path)?;
        } else if kind.is_file() {
            let file = File::open(&path).map_err(|e| StorageError::io("open", &path, e))?;
            file.sync_all().map_err(|e| StorageError::io("sync", &path, e))?;
        }
    }
    sync_directory(path)
}

fn sync_directory(path: &Path) -> Result<(), StorageError> {
    let directory = File::open(path).map_err(|e| StorageError::io("open", path, e))?;
    directory.sync_all().map_err(|e| StorageError::io("sync", path, e))
}

/// Makes durable that a directory is there which this process may use. One above that others own
/// can be one to pass through alone: then all of the file system is synced, from below.
fn sync_above(above: &Path, made: &Path) -> Result<(), StorageError> {
    match File::open(above) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            let below = File::open(made).map_err(|e| StorageError::io("open", made, e))?;
            rustix::fs::syncfs(&below).map_err(|e| StorageError::io("sync", made, e.into()))
        }
        Ok(_) | Err(_) => sync_directory(above),
    }
}

#[cfg(test)]
mod tests {
    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    /// Whoever opened it would wait for its writer, for ever.
    #[test]
    fn a_fifo_or_a_directory_in_the_place_of_a_file_is_refused_at_once() {
        let place = tempfile::tempdir().expect("a directory");
        let fifo = place.path().join("peers");
        mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a FIFO");
        let why = read(&fifo, 10).expect_err("it is none").to_string();
        assert!(why.ends_with("peers: it is no plain file"), "{why}");
        let why = read(place.path(), 10).expect_err("it is none").to_string();
        assert!(why.ends_with("it is a directory"), "{why}");
        assert!(matches!(read(&place.path().join("absent"), 10), Ok(None)));
    }
}
