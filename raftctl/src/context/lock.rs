//! Advisory locks between several raftctl, on files of their own: what is locked may be replaced by
//! a rename meanwhile, and a lock on the old file would keep nobody out of the new one.

use std::fs::{File, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::replace::give_to_owner;
use crate::codes;
use crate::report::{Report, Result};

/// How often it is tried again to get a lock.
const POLL: Duration = Duration::from_millis(7);

/// A lock, held as long as this value lives; the system ends it with the process.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

/// Returns the lock file of a file: hidden, beside it, never deleted.
pub(super) fn beside(file: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(file.file_name().unwrap_or_default());
    name.push(".lock");
    file.with_file_name(name)
}

/// Takes a lock if nobody holds it.
///
/// # Errors
/// If the lock file cannot be opened.
pub(crate) fn take(path: &Path) -> Result<Option<Lock>> {
    let mut options = File::options();
    let options = options.create(true).truncate(false).write(true).mode(0o600);
    let file = options.open(path).map_err(|error| Report::io(path, &error))?;
    give_to_owner(&file, path.parent());
    match file.try_lock() {
        Ok(()) => Ok(Some(Lock { _file: file })),
        Err(TryLockError::WouldBlock) => Ok(None),
        // A file system without locks: what is written is whole all the same.
        Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Unsupported => {
            Ok(Some(Lock { _file: file }))
        }
        Err(TryLockError::Error(error)) => Err(Report::io(path, &error)),
    }
}

/// Waits for a lock; `what` it protects is said when that takes too long.
///
/// # Errors
/// If the lock file cannot be opened, or another raftctl holds the lock for longer than `patience`.
pub(crate) async fn wait(path: &Path, what: &str, patience: Duration) -> Result<Lock> {
    let began = Instant::now();
    loop {
        if let Some(lock) = take(path)? {
            return Ok(lock);
        }
        if began.elapsed() >= patience {
            let message = format!(
                "another raftctl has been changing {what} for {patience:?}; nothing was changed"
            );
            return Err(Report::new(codes::LOCKED, message)
                .help("run the same command again")
                .help(format!("fuser -v {}    (which process holds the lock)", path.display())));
        }
        tokio::time::sleep(POLL).await;
    }
}
