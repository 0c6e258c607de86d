//! Writes the state of one moment to a file.

use storage::{
    EntryReader, SnapshotFile, SnapshotHeader, Snapshots, StateCheckpoint, StorageError,
};

use crate::exit::{Exit, Failure, log_failure, state_failure, storage_failure};
use crate::lanes::pacer::Pacer;

/// The pace is looked at after so many bytes.
const STEP_BYTES: u64 = 256 * 1024;

/// Adds the chain value of the last entry, which only the log knows; that stays as long as the
/// snapshot is being made.
pub(super) fn chained(log: &dyn EntryReader, header: &mut SnapshotHeader) -> Result<(), Failure> {
    let last = header.meta.last;
    let chain = log.chain(last.index).map_err(|error| log_failure(&error))?;
    let gone = || Failure::new(Exit::Io, format!("entry {last} is compacted already"));
    header.meta.chain = chain.ok_or_else(gone)?;
    Ok(())
}

/// Writes the file. `lacks` says why so many bytes more would take too much of the disk, if they
/// would.
pub(super) fn run(
    snapshots: &Snapshots,
    checkpoint: &StateCheckpoint,
    header: &SnapshotHeader,
    bytes_per_s_max: u64,
    lacks: impl Fn(u64) -> Option<String>,
) -> Result<SnapshotFile, Failure> {
    let mut pacer = Pacer::new(bytes_per_s_max);
    let mut before = 0;
    room(&lacks).map_err(|error| storage_failure(&error))?;
    let made = checkpoint.save(snapshots, header, |written| {
        if written - before >= STEP_BYTES {
            room(&lacks)?;
            std::thread::sleep(pacer.pass(written - before));
            before = written;
        }
        Ok(())
    });
    made.map_err(|error| state_failure(&error))
}

/// A snapshot is a convenience: it must not take the space that the node needs to go on.
fn room(lacks: &impl Fn(u64) -> Option<String>) -> Result<(), StorageError> {
    match lacks(STEP_BYTES) {
        Some(why) => Err(StorageError::Full { doing: "writing a snapshot", why }),
        None => Ok(()),
    }
}
