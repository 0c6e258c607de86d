//! Explains "Permission denied": which part of the path is in the way, who owns it, which user this
//! process runs as, and the command that mends it, on one line.
//!
//! The kernel names only the path. The rest is known here, so the operator need not find it out.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::process::{getegid, geteuid};

use crate::names::{LOCK, SUPERBLOCK};

/// What a process wants of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// To read what another user may own, such as configuration and credentials.
    Read,
    /// To own it, as its data directory.
    Own,
    /// To use it, wherever it is.
    Use,
    /// To look into another user's data directory, which stays that user's.
    Look,
}

/// Explains an error that is about rights: owner, group and mode of the file or directory that is
/// in the way, the user of this process, and what to run. `None` for all other errors.
pub fn explain(path: &Path, error: &io::Error, want: Want) -> Option<String> {
    let errno = Errno::from_io_error(error)?;
    if errno == Errno::ROFS {
        return Some(read_only(path));
    }
    if errno != Errno::ACCESS && errno != Errno::PERM {
        return None;
    }
    let (place, found) = in_the_way(path);
    let locked = found.as_ref().is_some_and(is_locked);
    let user = user(geteuid().as_raw());
    let uid = geteuid().as_raw();
    let of_it = if place == path { "it".to_owned() } else { place.display().to_string() };
    let may = |found: &Metadata| found.uid() == uid && found.mode() & 0o200 != 0;
    let may = want != Want::Read && want != Want::Look && found.as_ref().is_some_and(may);
    let owner =
        found.as_ref().map_or_else(|| "its owner".to_owned(), |found| self::user(found.uid()));
    let whose = found.map_or_else(|| "there".to_owned(), |found| owner_and_mode(&found));
    let facts = format!("{of_it} is {whose}, this process is {user} (uid {uid})");
    if uid == 0 {
        let why = "which root may do but for a file that is immutable (lsattr), a network file \
                   system (root_squash), or a process without root's capabilities";
        return Some(format!("{facts}, {why}"));
    }
    if may {
        return Some(format!("{facts}, which may do that but for what is immutable (lsattr)"));
    }
    if locked && want != Want::Look {
        return Some(format!("{facts}; run: chmod u+rwX {}", place.display()));
    }
    Some(match (remedy(path, &place, want), want) {
        (Some(command), _) => format!("{facts}; run as root: {command}"),
        (None, Want::Look) if owner == self::user(0) => format!("{facts}; run this as root"),
        (None, Want::Look) => format!("{facts}; run this as {owner}, or as root"),
        (None, Want::Read | Want::Own | Want::Use) => facts,
    })
}

/// Says that a file system cannot be written, and where that comes from.
fn read_only(path: &Path) -> String {
    let there = path.ancestors().find(|above| above.exists()).unwrap_or(Path::new("/"));
    let directory = data_directory(path).unwrap_or_else(|| there.to_owned());
    format!(
        "its file system is read-only for this process, user {}: `mount -o remount,rw` it, after a \
         look at `dmesg` (errors make a file system read-only), then start raftd; under a unit \
         with ProtectSystem=, it needs ReadWritePaths={}",
        user(geteuid().as_raw()),
        directory.display()
    )
}

/// Returns the first part of a path that this process may not use, as far as it can see.
fn in_the_way(path: &Path) -> (PathBuf, Option<Metadata>) {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut parts: Vec<&Path> = path.ancestors().collect();
    parts.reverse();
    let mut last = (PathBuf::from("/"), None);
    for part in parts {
        match fs::metadata(part) {
            // What is missing or cannot be seen is up to the directory above it.
            Err(_) => return last,
            Ok(found) => last = (part.to_owned(), Some(found)),
        }
    }
    last
}

/// Says whether this user owns something, and the mode keeps him out of it all the same.
fn is_locked(found: &Metadata) -> bool {
    let needed = if found.is_dir() { 0o700 } else { 0o600 };
    found.uid() == geteuid().as_raw() && found.mode() & needed != needed
}

fn owner_and_mode(found: &Metadata) -> String {
    let (owner, group) = (user(found.uid()), group(found.gid()));
    format!("{owner}:{group} {:04o}", found.mode() & 0o7777)
}

/// Returns the command that gives this process what it wants; `None` if that would give away what
/// may be needed by others.
fn remedy(path: &Path, place: &Path, want: Want) -> Option<String> {
    let (user, group) = (user(geteuid().as_raw()), group(getegid().as_raw()));
    let own = |whole: &Path| Some(format!("chown -R {user}:{group} {}", whole.display()));
    match want {
        Want::Own | Want::Use if place == path => match data_directory(path) {
            Some(whole) => own(&whole),
            None if is_data_directory(path) => own(path),
            // What it holds, or may hold, is not known to be ours.
            None => Some(format!("chown {user}:{group} {}", path.display())),
        },
        Want::Own => match data_directory(path) {
            Some(whole) => own(&whole),
            // It is to be made in a directory of another user, which stays that user's.
            None if path.extension().is_none() => {
                Some(format!("install -d -o {user} -g {group} -m 0700 {}", path.display()))
            }
            None => None,
        },
        Want::Use | Want::Look => None,
        Want::Read => {
            let place = place.display();
            Some(format!("chgrp -R {group} {place} && chmod -R g+rX {place}"))
        }
    }
}

/// Returns the data directory that a path is in, or is.
fn data_directory(path: &Path) -> Option<PathBuf> {
    // Without the right to look into it, its name in a path of ours must do.
    let above = path.ancestors().skip(1).find(|above| is_data_directory(above));
    let found = above.map(Path::to_owned);
    found.or_else(|| {
        let name = path.file_name()?;
        (name == LOCK || name == SUPERBLOCK).then(|| path.parent().map(Path::to_owned))?
    })
}

fn is_data_directory(path: &Path) -> bool {
    path.join(SUPERBLOCK).exists() || path.join(LOCK).exists()
}

/// Returns a user's name, or the number of one without a name.
pub fn user(id: u32) -> String {
    name_in("/etc/passwd", id).unwrap_or_else(|| id.to_string())
}

/// Returns a group's name, or the number of one without a name.
pub fn group(id: u32) -> String {
    name_in("/etc/group", id).unwrap_or_else(|| id.to_string())
}

/// Reads `name:password:id:..`, which both files have in common. Who is known to a directory
/// service only stays a number, which every command takes as well.
fn name_in(file: &str, id: u32) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let id = id.to_string();
    let line = text.lines().find(|line| line.split(':').nth(2) == Some(&id))?;
    line.split(':').next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_errors_need_no_explanation() {
        let missing = io::Error::from(io::ErrorKind::NotFound);
        assert_eq!(explain(Path::new("/nowhere"), &missing, Want::Own), None);
        let full = io::Error::from_raw_os_error(28);
        assert_eq!(explain(Path::new("/"), &full, Want::Own), None);
    }

    #[test]
    fn a_refusal_names_owner_mode_and_process() {
        let place = tempfile::tempdir().expect("a directory");
        fs::write(place.path().join(LOCK), "").expect("a file");
        let denied = io::Error::from_raw_os_error(13);
        let said = explain(&place.path().join(LOCK), &denied, Want::Own).expect("it is explained");
        assert!(said.contains(&user(geteuid().as_raw())), "{said}");
        assert!(said.contains("06") && said.contains("uid "), "{said}");
    }

    #[test]
    fn the_data_directory_is_what_is_given_away() {
        let place = tempfile::tempdir().expect("a directory");
        let root = place.path();
        fs::write(root.join(SUPERBLOCK), "").expect("a file");
        fs::create_dir(root.join("log")).expect("a directory");
        assert_eq!(data_directory(&root.join("log/CURRENT")).as_deref(), Some(root));
        assert_eq!(data_directory(&root.join(LOCK)).as_deref(), Some(root));
        let file = root.join("log/CURRENT");
        let said = remedy(&file, &file, Want::Own).expect("a command");
        assert!(said.ends_with(&format!(" {}", root.display())), "{said}");
        assert!(said.starts_with("chown -R "), "{said}");
    }

    /// A file system's root, or a home, was to be given away with all that is in it.
    #[test]
    fn what_is_not_known_for_a_data_directory_is_given_away_alone() {
        let place = tempfile::tempdir().expect("a directory");
        let parent = place.path();
        fs::create_dir(parent.join("data")).expect("a directory");
        let said = remedy(parent, parent, Want::Own).expect("a command");
        assert!(said.starts_with("chown ") && !said.contains("-R"), "{said}");
    }

    #[test]
    fn who_owns_what_keeps_him_out_changes_its_mode() {
        use std::os::unix::fs::PermissionsExt as _;
        let place = tempfile::tempdir().expect("a directory");
        for (mode, is_locked) in [(0o700, false), (0o500, true), (0o000, true)] {
            fs::set_permissions(place.path(), fs::Permissions::from_mode(mode))
                .expect("it is ours");
            let found = fs::metadata(place.path()).expect("it is there");
            assert_eq!(super::is_locked(&found), is_locked, "{mode:o}");
        }
        fs::set_permissions(place.path(), fs::Permissions::from_mode(0o700)).expect("it is ours");
    }

    #[test]
    fn a_shared_directory_is_not_given_away() {
        let place = tempfile::tempdir().expect("a directory");
        let wanted = place.path().join("raftd");
        assert_eq!(remedy(&wanted, place.path(), Want::Use), None);
        assert_eq!(remedy(place.path(), place.path(), Want::Look), None);
        assert_eq!(remedy(&wanted.with_extension("snap"), place.path(), Want::Own), None);
        let said = remedy(&wanted, place.path(), Want::Own).expect("a command");
        assert!(said.starts_with("install -d -o "), "{said}");
        assert!(said.ends_with("/raftd"), "{said}");
    }

    #[test]
    fn a_read_only_file_system_is_told_as_one() {
        let error = io::Error::from_raw_os_error(30);
        let said = explain(Path::new("/var/lib/raftd/LOCK"), &error, Want::Own).expect("told");
        assert!(said.contains("read-only") && said.contains("ReadWritePaths=/var/lib"), "{said}");
    }
}
