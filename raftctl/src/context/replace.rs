//! Replacing a small file as a whole: beside it, synced, renamed; a link stays a link, its target
//! is what is replaced.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{Error, ErrorKind, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::report::{Report, Result};
use crate::signals;

/// So many links in a row are followed, as many as the kernel follows.
const LINKS_MAX: usize = 40;

/// Follows links, also one whose target is not there yet, to the file that is meant.
///
/// # Errors
/// If they go in a circle, or something else than a plain file is there.
pub(super) fn destination(path: &Path) -> Result<PathBuf> {
    let mut place = path.to_owned();
    for _ in 0..=LINKS_MAX {
        let found = match std::fs::symlink_metadata(&place) {
            Ok(found) => found,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(place),
            Err(error) => return Err(Report::io(&place, &error)),
        };
        if found.is_file() {
            return Ok(place);
        }
        if !found.is_symlink() {
            return Err(Report::io(&place, &Error::other("this is no plain file")));
        }
        let target = std::fs::read_link(&place).map_err(|error| Report::io(&place, &error))?;
        place = directory_of(&place).join(target);
    }
    Err(Report::io(path, &Error::other("the links go in a circle")))
}

/// Replaces a file: after a crash it is the old one or the new one, whole.
///
/// # Errors
/// If it cannot be written.
pub(super) fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let path = destination(path)?;
    // A signal leaves the old file or the new one, and nothing beside it.
    let _hold = signals::hold();
    let failed = |error: Error| Report::io(&path, &error);
    let temporary = temporary(&path).map_err(failed)?;
    let written = write(&temporary, &path, bytes, mode)
        .and_then(|()| std::fs::rename(&temporary, &path))
        .inspect_err(|_| {
            // The first error is the one to tell; what cannot be removed is harmless.
            let _ = std::fs::remove_file(&temporary);
        });
    written.map_err(failed)?;
    File::open(directory_of(&path)).and_then(|opened| opened.sync_all()).map_err(failed)
}

fn write(temporary: &Path, path: &Path, bytes: &[u8], mode: u32) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(temporary)?;
    // Whatever the umask took away is wanted.
    file.set_permissions(Permissions::from_mode(mode))?;
    give_to_owner(&file, if path.exists() { Some(path) } else { path.parent() });
    file.write_all(bytes)?;
    file.sync_all()
}

/// Lets a new file belong to whoever owns what is there already: root with a user's home
/// (`sudo -E`) must not lock that user out. Only root can give a file away; for others there is
/// nothing to do.
pub(super) fn give_to_owner(file: &File, of: Option<&Path>) {
    let owner = of.and_then(|path| std::fs::metadata(path).ok());
    if let (Some(owner), Ok(made)) = (owner, file.metadata())
        && made.uid() != owner.uid()
    {
        let _ = std::os::unix::fs::fchown(file, Some(owner.uid()), Some(owner.gid()));
    }
}

/// Returns a hidden name that nobody else uses, in the same directory: no rename crosses file
/// systems.
fn temporary(path: &Path) -> std::io::Result<PathBuf> {
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(|error| Error::other(error.to_string()))?;
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{:016x}.new", u64::from_le_bytes(random)));
    Ok(path.with_file_name(name))
}

fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
