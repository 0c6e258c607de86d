//! A directory for what can only be read from a file.

use std::cell::OnceCell;
use std::path::Path;

use tempfile::TempDir;

thread_local! {
    static DIRECTORY: OnceCell<TempDir> = const { OnceCell::new() };
}

/// Lends a directory in memory, where there is one, that this thread alone uses.
pub(crate) fn directory(with: impl FnOnce(&Path)) {
    let new = || {
        let memory = Path::new("/dev/shm");
        let made = match memory.is_dir() {
            true => tempfile::tempdir_in(memory),
            false => tempfile::tempdir(),
        };
        made.expect("a directory can be made")
    };
    DIRECTORY.with(|directory| with(directory.get_or_init(new).path()));
}
