//! One run in a slot at a time; and what an earlier run in it left behind when it was killed.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, Signal, kill_process};

use super::command::call;
use super::network::prefix;
use crate::failure::{Failure, Result, file};

/// How many runs a machine can have at once.
const SLOTS: u8 = 8;

/// A slot, held as long as this lives.
#[derive(Debug)]
pub(crate) struct Slot {
    /// Which one.
    pub(crate) number: u8,
    /// Where its disks lie.
    pub(crate) directory: PathBuf,
    _lock: File,
}

impl Slot {
    /// Takes a free slot below `base` and removes what is left of the run before.
    ///
    /// # Errors
    /// If all are taken, or the leftovers cannot be removed.
    pub(crate) fn take(base: &Path) -> Result<Self> {
        fs::create_dir_all(base).map_err(file("cannot make", base))?;
        for number in 0..SLOTS {
            let path = base.join(format!("slot-{number}.lock"));
            let lock = File::options().create(true).truncate(false).write(true).open(&path);
            let lock = lock.map_err(file("cannot open", &path))?;
            if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
                let directory = base.join(format!("slot-{number}"));
                clean(number, &directory)?;
                fs::create_dir_all(&directory).map_err(file("cannot make", &directory))?;
                return Ok(Self { number, directory, _lock: lock });
            }
        }
        Err(Failure::Machine(format!("{SLOTS} runs are under way already")))
    }

    /// Removes everything of this slot: processes, namespaces, mounts, files.
    ///
    /// # Errors
    /// If something cannot be removed.
    pub(crate) fn clean(&self) -> Result<()> {
        clean(self.number, &self.directory)
    }
}

fn clean(slot: u8, directory: &Path) -> Result<()> {
    let mounts = mounts_below(directory)?;
    for mount in &mounts {
        // Only a frozen one can be thawed; a process that waits for it cannot end before.
        let _ = call("fsfreeze", &["--unfreeze", mount]);
    }
    let listed = call("ip", &["netns", "list"])?;
    let ours = prefix(slot);
    let spaces: Vec<&str> = listed
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| name.starts_with(&ours))
        .collect();
    for space in &spaces {
        for pid in call("ip", &["netns", "pids", space])?.split_whitespace() {
            if let Some(pid) = pid.parse().ok().and_then(Pid::from_raw) {
                // It may have ended meanwhile.
                let _ = kill_process(pid, Signal::KILL);
            }
        }
    }
    for space in &spaces {
        call("ip", &["netns", "del", space])?;
    }
    for mount in &mounts {
        unmount(mount)?;
    }
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(file("cannot remove", directory)),
    }
}

/// Unmounts, as soon as the processes that were killed have ended.
fn unmount(mount: &str) -> Result<()> {
    for _ in 0..100 {
        if call("umount", &[mount]).is_ok() {
            return Ok(());
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    call("umount", &[mount]).map(drop)
}

fn mounts_below(directory: &Path) -> Result<Vec<String>> {
    let path = Path::new("/proc/self/mounts");
    let mounts = fs::read_to_string(path).map_err(file("cannot read", path))?;
    let places = mounts.lines().filter_map(|line| line.split(' ').nth(1));
    Ok(places.filter(|place| Path::new(place).starts_with(directory)).map(str::to_owned).collect())
}
