//! Nodes that an earlier `dev` has left behind: it was killed, and could not stop them.

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// Returns the processes that run raftd with a configuration below this directory.
pub(super) fn left_behind(directory: &Path) -> Vec<u32> {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let runs_there = |pid: &u32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        is_node_of(&line, directory)
    };
    pids.filter(runs_there).collect()
}

/// Says whether a command line (proc(5): words that end with a NUL) is that of such a node.
fn is_node_of(line: &[u8], directory: &Path) -> bool {
    let mut words = line.split(|byte| *byte == 0).skip_while(|word| *word != b"--config");
    let file = words.nth(1).map(|word| Path::new(std::ffi::OsStr::from_bytes(word)));
    file.is_some_and(|file| file.starts_with(directory))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_known_by_its_configuration() {
        let directory = Path::new("/home/me/dev");
        assert!(is_node_of(b"raftd\0--config\0/home/me/dev/n1/raftd.toml\0", directory));
        assert!(!is_node_of(b"raftd\0--config\0/home/me/dev2/n1/raftd.toml\0", directory));
        assert!(!is_node_of(b"cat\0/home/me/dev/n1/raftd.toml\0", directory));
        assert!(!is_node_of(b"raftd\0--config\0", directory));
        assert!(!is_node_of(b"", directory));
    }
}
