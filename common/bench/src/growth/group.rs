//! A control group that bounds the memory of what runs in it, page cache included.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The file with the bound, and the one with the bound of what may be swapped out, in the second
/// and in the first version of control groups.
const LIMITS: [(&str, &str); 2] =
    [("memory.max", "memory.swap.max"), ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes")];

/// Enters a group, and becomes a program: what that allocates counts from the beginning.
const ENTER: &str = "echo $$ > \"$0\" && exec \"$@\"";

/// How often an empty group is removed in vain, as its last process may still be on its way out.
const TRIES: u32 = 40;

/// A group; dropping it removes it, so its processes end before.
#[derive(Debug)]
pub(crate) struct Group {
    directory: PathBuf,
}

impl Group {
    /// Makes a group below that of this process, or next to it.
    ///
    /// # Errors
    /// If this machine lets nobody do so: why not.
    pub(crate) fn make(name: &str, memory_bytes: u64) -> Result<Self, String> {
        let mounts = read("/proc/self/mounts")?;
        let own = read("/proc/self/cgroup")?;
        let (root, path) = place(&mounts, &own)
            .ok_or("no control groups for memory are mounted on this machine")?;
        let mut why = None;
        // The second version bounds no group below one that has processes itself.
        for above in root.join(path).ancestors().filter(|above| above.starts_with(&root)) {
            match Self::make_in(above, name, memory_bytes) {
                Ok(group) => return Ok(group),
                Err(error) => why = why.or(Some(error)),
            }
        }
        Err(why.unwrap_or_else(|| format!("{} is no place for a group", root.display())))
    }

    fn make_in(above: &Path, name: &str, memory_bytes: u64) -> Result<Self, String> {
        let directory = above.join(format!("raftd-growth-{}-{name}", std::process::id()));
        let shown = directory.display();
        fs::create_dir(&directory).map_err(|error| format!("cannot make {shown}: {error}"))?;
        let group = Self { directory };
        let found = LIMITS.into_iter().find(|(limit, _)| group.directory.join(limit).exists());
        let (limit, swap) =
            found.ok_or_else(|| format!("groups below {} do not bound memory", above.display()))?;
        let file = group.directory.join(limit);
        fs::write(&file, memory_bytes.to_string())
            .map_err(|error| format!("cannot write {}: {error}", file.display()))?;
        // In one version this bounds swap alone, in the other both; not all machines have it.
        let swapped = if limit == LIMITS[0].0 { 0 } else { memory_bytes };
        let _ = fs::write(group.directory.join(swap), swapped.to_string());
        Ok(group)
    }

    /// Returns a command that becomes this program, within the group.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", ENTER]).arg(self.directory.join("cgroup.procs")).arg(program);
        command
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for _ in 0..TRIES {
            if fs::remove_dir(&self.directory).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        eprintln!("cannot remove the control group {}", self.directory.display());
    }
}

fn read(file: &str) -> Result<String, String> {
    fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))
}

/// Finds where groups for memory are mounted, and the place of this process in there. The first
/// version goes before: where both are mounted, it has the memory.
fn place(mounts: &str, own: &str) -> Option<(PathBuf, PathBuf)> {
    let mounted = |wanted: &dyn Fn(&str, &str) -> bool| {
        let fields = mounts.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let mut found = fields.filter(|fields| fields.len() > 3 && wanted(fields[2], fields[3]));
        found.next().map(|fields| PathBuf::from(fields[1]))
    };
    let belongs = |controllers: &dyn Fn(&str) -> bool| {
        let lines = own.lines().map(|line| line.splitn(3, ':').collect::<Vec<_>>());
        let mut found = lines.filter(|line| line.len() == 3 && controllers(line[1]));
        found.next().map(|line| PathBuf::from(line[2].trim_start_matches('/')))
    };
    let has_memory = |list: &str| list.split(',').any(|one| one == "memory");
    let first = mounted(&|kind, options| kind == "cgroup" && has_memory(options));
    if let Some(root) = first {
        return Some((root, belongs(&has_memory)?));
    }
    Some((mounted(&|kind, _| kind == "cgroup2")?, belongs(&str::is_empty)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_that_has_the_memory_is_found() {
        let second = "cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid 0 0\n";
        let own = "0::/user.slice/session-1.scope\n";
        let found = place(second, own).expect("it is mounted");
        let path = |text: &str| PathBuf::from(text);
        assert_eq!(found, (path("/sys/fs/cgroup"), path("user.slice/session-1.scope")));
        let both = "cgroup /sys/fs/cgroup/pids cgroup rw,pids 0 0\n\
                    cgroup /sys/fs/cgroup/memory cgroup rw,relatime,memory 0 0\n\
                    cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
        let own = "5:pids:/\n4:memory:/a/b\n0::/\n";
        let found = place(both, own).expect("it is mounted");
        assert_eq!(found, (path("/sys/fs/cgroup/memory"), path("a/b")));
        assert_eq!(place("proc /proc proc rw 0 0\n", own), None);
    }

    #[test]
    fn a_command_that_cannot_enter_its_group_does_not_run_without_it() {
        let group = std::mem::ManuallyDrop::new(Group { directory: PathBuf::from("/none") });
        let ran = group.command(Path::new("true")).output().expect("there is a shell");
        assert!(!ran.status.success());
    }
}
