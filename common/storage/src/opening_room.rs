//! Whether there is room for a start.

use std::path::Path;

use crate::error::StorageError;
use crate::reserve::Reserve;
use crate::space::{Sizes, Space};

/// What a start writes besides the write-ahead log's contents: new manifests and info logs.
const OPENING_BYTES: u64 = 1024 * 1024;

/// Checks that a database can be opened, before a start that fails for want of room writes half of
/// its new files: opening writes out what the write-ahead log holds. The reserve is given back if
/// that is what it takes.
pub(crate) fn check_room(database: &Path) -> Result<(), StorageError> {
    let needed = OPENING_BYTES + wal_bytes(database);
    let space = || database.ancestors().find_map(|above| Space::at(above).ok());
    let Some(found) = space() else {
        return Ok(());
    };
    if found.usable_bytes() >= needed {
        return Ok(());
    }
    let found = if give_reserve_back(database, &found)? { space().unwrap_or(found) } else { found };
    if found.usable_bytes() >= needed {
        return Ok(());
    }
    let (place, needs) = (database.display(), found.needs(needed));
    let why = format!("{found} at {place}, {needs} to start");
    Err(StorageError::Full { doing: "starting", why })
}

/// Gives back what the data directory with a database holds in reserve, if it does.
fn give_reserve_back(database: &Path, space: &Space) -> Result<bool, StorageError> {
    let directory = database.parent().unwrap_or(database);
    let reserve = Reserve::of(directory, Sizes::at(directory));
    let bytes = reserve.held_bytes();
    if bytes == 0 {
        return Ok(false);
    }
    reserve.give_back()?;
    let (directory, mega) = (directory.display(), bytes / 1_000_000);
    tracing::warn!(
        name: "reserve-to-start",
        "{space} at {directory}: the reserve of {mega} MB there is given back to start"
    );
    Ok(true)
}

fn wal_bytes(database: &Path) -> u64 {
    let Ok(children) = database.read_dir() else {
        return 0;
    };
    let is_wal = |path: &Path| path.extension().is_some_and(|extension| extension == "log");
    let files = children.flatten().filter(|child| is_wal(&child.path()));
    files.filter_map(|file| file.metadata().ok()).map(|found| found.len()).sum()
}
