//! The user who gets what root has restored: raftd runs as another user, who must own all of it.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, lchown};
use std::path::Path;

use storage::rights::{group, user};

/// The user that the units run raftd as, if this machine has one.
const SERVICE_USER: &str = "raftd";

/// Whose the data directory is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// This user's and group's: the directory, or the one that it is made in, is theirs.
    Given(u32, u32),
    /// Nothing tells: root runs the command, and all is root's.
    Unknown,
    /// That of whoever runs the command.
    Present,
}

/// Whose a restored directory is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Taken {
    /// The owner, for people.
    pub(super) owner: String,
    /// What is to be run before raftd is started; empty, or with what joins it to that.
    pub(super) first: String,
}

impl Owner {
    /// Finds out before anything is written.
    pub(super) fn of(data_dir: &Path) -> Self {
        if !rustix::process::geteuid().is_root() {
            return Self::Present;
        }
        let absolute = std::path::absolute(data_dir).unwrap_or_else(|_| data_dir.to_owned());
        let found = absolute.ancestors().find_map(|above| fs::metadata(above).ok());
        match found.map(|found| (found.uid(), found.gid())) {
            Some((uid, gid)) if uid != 0 => Self::Given(uid, gid),
            Some(_) | None => Self::Unknown,
        }
    }

    /// Gives it to them. Says whose it is now, and what is to be run before raftd is started, if
    /// anything is.
    pub(super) fn take(self, data_dir: &Path) -> Taken {
        let shown = data_dir.display();
        match self {
            Self::Present => {
                let uid = rustix::process::geteuid().as_raw();
                Taken { owner: user(uid), first: String::new() }
            }
            Self::Unknown => Taken {
                owner:
                    "root, and raftd runs as another user: which one, the directory does not tell"
                        .to_owned(),
                first: format!("chown -R {SERVICE_USER}:{SERVICE_USER} {shown}, then: "),
            },
            Self::Given(uid, gid) => {
                let owner = format!("{}:{}", user(uid), group(gid));
                match give(data_dir, uid, gid) {
                    Ok(()) => Taken { owner, first: String::new() },
                    Err(error) => Taken {
                        first: format!("chown -R {owner} {shown}, then: "),
                        owner: format!("root in part: {error}"),
                    },
                }
            }
        }
    }
}

/// Changes the owner of a directory and all that is in it; links are not followed.
fn give(path: &Path, uid: u32, gid: u32) -> std::io::Result<()> {
    if fs::symlink_metadata(path)?.is_dir() {
        for child in path.read_dir()? {
            give(&child?.path(), uid, gid)?;
        }
    }
    lchown(path, Some(uid), Some(gid))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::chown;

    const NOBODY: u32 = 65_534;

    #[test]
    fn what_root_restores_belongs_to_the_directory_s_owner() {
        let place = tempfile::tempdir().expect("a directory");
        let data = place.path().join("data");
        if !rustix::process::geteuid().is_root() {
            assert_eq!(Owner::of(&data), Owner::Present, "only root can give files away");
            return;
        }
        assert_eq!(Owner::of(&data), Owner::Unknown);
        chown(place.path(), Some(NOBODY), Some(NOBODY)).expect("root may");
        let owner = Owner::of(&data);
        assert_eq!(owner, Owner::Given(NOBODY, NOBODY), "that of the directory above");
        fs::create_dir_all(data.join("log")).expect("a directory");
        fs::write(data.join("log/CURRENT"), "").expect("a file");
        let taken = owner.take(&data);
        assert_eq!((taken.owner.as_str(), taken.first.as_str()), ("nobody:nogroup", ""));
        for path in [data.clone(), data.join("log"), data.join("log/CURRENT")] {
            let found = fs::metadata(&path).expect("it is there");
            assert_eq!((found.uid(), found.gid()), (NOBODY, NOBODY), "{}", path.display());
        }
    }

    #[test]
    fn where_the_owner_is_not_known_the_command_is_told() {
        let taken = Owner::Unknown.take(Path::new("/var/lib/raftd"));
        assert_eq!(taken.first, "chown -R raftd:raftd /var/lib/raftd, then: ");
    }
}
