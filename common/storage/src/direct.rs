//! Whether a file system lets a process write past the page cache.

use std::path::Path;

use rustix::fs::{Mode, OFlags};

/// Says whether files in a directory, or where it will be made, can be opened for direct I/O. A
/// file without a name is begun and let go; where that cannot be done the answer is no, which is
/// always right: it only costs time.
pub(crate) fn is_possible(directory: &Path) -> bool {
    let Some(there) = directory.ancestors().find(|above| above.is_dir()) else { return false };
    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::DIRECT | OFlags::CLOEXEC;
    rustix::fs::open(there, flags, Mode::RUSR | Mode::WUSR).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_is_still_to_be_made_is_judged_by_the_one_above() {
        let place = tempfile::tempdir().expect("there is room");
        let below = place.path().join("log").join("deeper");
        assert_eq!(is_possible(&below), is_possible(place.path()));
        assert!(!is_possible(Path::new("/proc/self")), "nobody makes files there");
        assert!(!is_possible(Path::new("")));
    }
}
