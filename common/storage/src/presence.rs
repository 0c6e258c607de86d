//! Whether the files that a process has open are still those that its next start will find. Who
//! removes or replaces a data directory under a running node leaves it with files that nobody can
//! open again: it would go on, and count, and all that it promises would end with its process.

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rocksdb::DB;
use rustix::fs::{Access, Mode, OFlags};
use rustix::io::Errno;

use crate::error::StorageError;
use crate::files;
use crate::inode::Inode;
use crate::names::{BOOTSTRAP, BOOTSTRAP_SECOND, LOCK, STATE_CURRENT, SUPERBLOCK, TAIL};
use crate::open_files;
use crate::state::place;
use crate::superblock::Superblock;

const CURRENT: &str = "CURRENT";

/// Files that are fewer than they should be are counted so often, with so much time in between.
const LOOKS: u32 = 4;
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// What must be at its place as long as a node runs.
#[derive(Clone, Debug)]
pub struct Presence {
    directory: PathBuf,
    lock: Inode,
    /// The node has had a bootstrap record since it was started.
    is_bootstrapped: bool,
}

impl Presence {
    /// Remembers a directory by the file that locks it.
    pub(crate) fn of(directory: &Path, lock: &File) -> Result<Self, StorageError> {
        let lock = Inode::of(lock, &directory.join(LOCK))?;
        Ok(Self { directory: directory.to_owned(), lock, is_bootstrapped: false })
    }

    /// Looks whether the directory is still the one that this process has opened, and its files are
    /// there. What is found once may be a change under way; found twice, it is so.
    ///
    /// # Errors
    /// [`StorageError::Gone`] if not. A system that does not say is no reason.
    pub fn check(&mut self) -> Result<(), StorageError> {
        self.check_place()?;
        self.check_bootstrap()?;
        match place::current(&self.directory) {
            Ok(state) => {
                must_be(&state.path().join(CURRENT))?;
                open_files::check_manifest(state.path())
            }
            Err(StorageError::Corrupt { .. }) => {
                Err(gone(&self.directory.join(STATE_CURRENT), "does not name a state any more"))
            }
            Err(_) => Ok(()),
        }
    }

    /// Looks for the directory alone: a node without a history has nothing else in it.
    ///
    /// # Errors
    /// As [`Presence::check`].
    pub fn check_place(&self) -> Result<(), StorageError> {
        let lock = self.directory.join(LOCK);
        match File::open(&lock) {
            Ok(file) => {
                let found = Inode::of(&file, &lock).unwrap_or(Inode::UNKNOWN);
                if !self.lock.may_be(found) {
                    return Err(gone(&self.directory, "is another directory than before"));
                }
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(gone(&lock, "was removed"));
            }
            Err(_) => return Ok(()),
        }
        must_name_itself(&self.directory.join(SUPERBLOCK))
    }

    /// Looks whether a file could be made in the directory and in those below it. Nothing is
    /// written: a file without a name is begun and let go. An idle node would hear of a file system
    /// that has become read-only with its next write alone.
    ///
    /// # Errors
    /// [`StorageError::Io`] with the first place where it could not. Want of room is no reason.
    pub fn check_writable(&self) -> Result<(), StorageError> {
        let below = fs::read_dir(&self.directory).into_iter().flatten().flatten();
        let below = below.filter(|child| child.file_type().is_ok_and(|kind| kind.is_dir()));
        let places = [self.directory.clone()].into_iter().chain(below.map(|child| child.path()));
        places.into_iter().try_for_each(|place| may_write(&place))
    }

    /// Writes something into the directory that nobody keeps, and waits until the disk has it.
    ///
    /// # Errors
    /// [`StorageError::Io`] if the disk does not take it. Not every file system lets one do so
    /// without leaving a trace: then nothing is done.
    pub fn sync(&self) -> Result<(), StorageError> {
        let begun = rustix::fs::open(&self.directory, OFlags::TMPFILE | OFlags::WRONLY, Mode::RUSR);
        let Ok(begun) = begun else { return Ok(()) };
        let mut file = File::from(begun);
        let written = file.write_all(&[0]).and_then(|()| file.sync_all());
        written.map_err(|error| StorageError::io("write in", &self.directory, error))
    }

    /// Looks whether there is one copy of the bootstrap record, once there was one.
    fn check_bootstrap(&mut self) -> Result<(), StorageError> {
        let first = self.directory.join(BOOTSTRAP);
        let second = self.directory.join(BOOTSTRAP_SECOND);
        match (first.try_exists(), second.try_exists()) {
            (Ok(false), Ok(false)) if self.is_bootstrapped => {
                Err(gone(&first, "was removed, and so was its second copy"))
            }
            (Ok(true), _) | (_, Ok(true)) => {
                self.is_bootstrapped = true;
                Ok(())
            }
            (Ok(false) | Err(_), Ok(false) | Err(_)) => Ok(()),
        }
    }
}

fn may_write(place: &Path) -> Result<(), StorageError> {
    let begun = rustix::fs::open(place, OFlags::TMPFILE | OFlags::WRONLY, Mode::RUSR);
    let found = match begun {
        // Not every file system has files without a name.
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL | Errno::NOSYS) => {
            rustix::fs::access(place, Access::WRITE_OK | Access::EXEC_OK)
        }
        Ok(_) | Err(Errno::NOSPC | Errno::DQUOT | Errno::NOENT) => Ok(()),
        Err(error) => Err(error),
    };
    found.map_err(|error| StorageError::io("write in", place, error.into()))
}

/// Looks whether the files are there that a log needs, but for the write-ahead log.
pub(crate) fn check_log(db: &DB) -> Result<(), StorageError> {
    let tail = db.path().with_file_name(TAIL);
    must_be(&tail)?;
    open_files::check_named(tail.parent().unwrap_or(&tail), TAIL)?;
    must_be(&db.path().join(CURRENT))?;
    check_tables(db)?;
    open_files::check_manifest(db.path())
}

/// Looks whether the tables are there that a database is made of. One may go between the list and
/// the look: then the next list does not have it.
pub(crate) fn check_tables(db: &DB) -> Result<(), StorageError> {
    let missing = missing_tables(db);
    if missing.is_empty() {
        return Ok(());
    }
    let still = missing_tables(db);
    missing.into_iter().filter(|path| still.contains(path)).try_for_each(|path| must_be(&path))
}

/// Looks whether the files with a state's large values are there. The database tells how many it
/// has and not which. There are more while it makes or removes one, and one may go between two
/// looks: too few count where that stays so.
pub(crate) fn check_values(db: &DB) -> Result<(), StorageError> {
    let all = || db.property_int_value("rocksdb.num-blob-files").ok().flatten();
    for _ in 0..LOOKS {
        let before = all();
        let Ok(names) = files::names(db.path()) else { return Ok(()) };
        let found = names.iter().filter(|name| name.ends_with(".blob")).count() as u64;
        if before != all() || before.is_none_or(|count| found >= count) {
            return Ok(());
        }
        thread::sleep(BETWEEN_LOOKS);
    }
    Err(gone(db.path(), "has lost a .blob file that is in use"))
}

fn missing_tables(db: &DB) -> Vec<PathBuf> {
    // One that cannot list its files says so when it is written to.
    let tables = db.live_files().unwrap_or_default().into_iter();
    let paths = tables.map(|table| db.path().join(table.name.trim_start_matches('/')));
    paths.filter(|path| must_be(path).is_err()).collect()
}

fn must_be(path: &Path) -> Result<(), StorageError> {
    match fs::metadata(path) {
        Ok(found) if !found.is_file() => Err(gone(path, "is no file any more")),
        Err(error) if error.kind() == ErrorKind::NotFound => Err(gone(path, "was removed")),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// A superblock that is not the file which it names is a copy for the next start.
fn must_name_itself(path: &Path) -> Result<(), StorageError> {
    must_be(path)?;
    match Superblock::read(path) {
        Ok(Some((superblock, found))) if !superblock.inode.may_be(found) => {
            Err(gone(path, "was replaced by a copy"))
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

fn gone(path: &Path, what: &'static str) -> StorageError {
    StorageError::Gone { path: path.to_owned(), what }
}
