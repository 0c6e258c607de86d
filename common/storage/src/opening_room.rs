//! Whether there is room for a start.

use std::path::Path;

use crate::error::StorageError;
use crate::space::Space;

/// What a start writes besides the write-ahead log's contents: new manifests and info logs.
const OPENING_BYTES: u64 = 1024 * 1024;

/// Checks that a database can be opened, before a start that fails for want of room writes half of
/// its new files: opening writes out what the write-ahead log holds.
pub(crate) fn check_room(database: &Path) -> Result<(), StorageError> {
    let there = database.ancestors().find_map(|above| Space::at(above).ok());
    let Some(space) = there else {
        return Ok(());
    };
    let needed = OPENING_BYTES + wal_bytes(database);
    if space.usable_bytes() >= needed {
        return Ok(());
    }
    let (place, needs) = (database.display(), space.needs(needed));
    let why = format!("{space} at {place}, {needs} to start");
    Err(StorageError::Full { doing: "starting", why })
}

fn wal_bytes(database: &Path) -> u64 {
    let Ok(children) = database.read_dir() else {
        return 0;
    };
    let is_wal = |path: &Path| path.extension().is_some_and(|extension| extension == "log");
    let files = children.flatten().filter(|child| is_wal(&child.path()));
    files.filter_map(|file| file.metadata().ok()).map(|found| found.len()).sum()
}
