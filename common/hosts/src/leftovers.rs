//! What a run puts on the machine, and taking it off again: also what one before it has left that
//! was killed.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::call::{Clock, call};
use crate::failure::{Result, file};
use crate::network::PREFIX;

/// Returns where the control groups of containers go: below each hierarchy that a systemd uses.
pub(crate) fn hierarchies() -> Vec<PathBuf> {
    let places = ["/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified"].map(PathBuf::from);
    let hybrid: Vec<PathBuf> = places.into_iter().filter(|place| place.exists()).collect();
    if hybrid.is_empty() { vec!["/sys/fs/cgroup".into()] } else { hybrid }
}

/// Ends all containers of a run, and removes their groups, networks, mounts and files but for
/// `kept`.
///
/// # Errors
/// If something cannot be removed.
pub(crate) fn clean(clock: &Clock, directory: &Path, kept: Option<&Path>) -> Result<()> {
    end(clock, PREFIX)?;
    let listed = call(clock, "ip", &["netns", "list"])?;
    let spaces = listed.lines().filter_map(|line| line.split_whitespace().next());
    for space in spaces.filter(|name| name.starts_with(PREFIX)) {
        call(clock, "ip", &["netns", "del", space])?;
    }
    let table = Path::new("/proc/self/mounts");
    let mounts = fs::read_to_string(table).map_err(file("cannot read", table))?;
    let below = |place: &&str| Path::new(place).starts_with(directory);
    for mount in mounts.lines().filter_map(|line| line.split(' ').nth(1)).filter(below) {
        call(clock, "umount", &["--lazy", mount])?;
    }
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if Some(entry.path().as_path()) != kept {
            call(clock, "rm", &["-rf", "--one-file-system", &entry.path().display().to_string()])?;
        }
    }
    // It stays if something is kept in it.
    let _ = fs::remove_dir(directory);
    Ok(())
}

/// Kills every process in the control groups whose names begin so, and removes the groups.
///
/// # Errors
/// If processes do not end.
pub(crate) fn end(clock: &Clock, prefix: &str) -> Result<()> {
    let groups = || {
        let all =
            hierarchies().into_iter().flat_map(|place| fs::read_dir(place).into_iter().flatten());
        let named = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().starts_with(prefix);
        all.flatten().filter(named).map(|entry| entry.path()).collect::<Vec<PathBuf>>()
    };
    clock.wait(
        Duration::from_secs(30),
        || "the end of all processes in containers".to_owned(),
        || {
            for group in groups() {
                for pid in processes(&group) {
                    // It may have ended meanwhile.
                    let _ = kill_process(pid, Signal::KILL);
                }
                remove(&group);
            }
            Ok(groups().is_empty().then_some(()))
        },
    )
}

/// Returns the processes of a group and of those below it.
fn processes(group: &Path) -> Vec<Pid> {
    let own = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    let mut found: Vec<Pid> =
        own.lines().filter_map(|line| line.parse().ok().and_then(Pid::from_raw)).collect();
    for below in directories(group) {
        found.extend(processes(&below));
    }
    found
}

/// Removes a group and those below it, as far as they are empty.
fn remove(group: &Path) {
    for below in directories(group) {
        remove(&below);
    }
    // It is tried again as long as processes end.
    let _ = fs::remove_dir(group);
}

fn directories(of: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(of).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}
