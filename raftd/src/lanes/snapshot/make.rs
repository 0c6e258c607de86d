//! Writes the state of one moment to a file.

use std::io::ErrorKind;

use storage::{
    EntryReader, SnapshotFile, SnapshotHeader, Snapshots, StateCheckpoint, StorageError,
};

use crate::exit::{Exit, Failure, log_failure, state_failure, storage_failure};
use crate::lanes::pacer::Pacer;
use crate::lanes::{Reports, waited};

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

/// Writes the file, as long as the node does not stop: its directory is not given back meanwhile.
/// `lacks` says why so many bytes more would take too much of the disk, if they would.
pub(super) fn run(
    snapshots: &Snapshots,
    checkpoint: &StateCheckpoint,
    header: &SnapshotHeader,
    bytes_per_s_max: u64,
    (reports, lacks): (&Reports, impl Fn(u64) -> Option<String>),
) -> Result<SnapshotFile, Failure> {
    let mut pacer = Pacer::new(bytes_per_s_max);
    let mut before = 0;
    room(&lacks).map_err(|error| storage_failure(&error))?;
    let made = checkpoint.save(snapshots, header, |written| {
        if written - before >= STEP_BYTES {
            room(&lacks)?;
            let goes_on = waited(pacer.pass(written - before), reports) && !reports.is_closed();
            goes_on.then_some(()).ok_or_else(|| stopped(snapshots))?;
            before = written;
        }
        Ok(())
    });
    made.map_err(|error| state_failure(&error))
}

fn stopped(snapshots: &Snapshots) -> StorageError {
    let source = std::io::Error::new(ErrorKind::Interrupted, "the node stops");
    StorageError::Io { doing: "write a snapshot in", path: snapshots.path().to_owned(), source }
}

/// A snapshot is a convenience: it must not take the space that the node needs to go on.
fn room(lacks: &impl Fn(u64) -> Option<String>) -> Result<(), StorageError> {
    match lacks(STEP_BYTES) {
        Some(why) => Err(StorageError::Full { doing: "writing a snapshot", why }),
        None => Ok(()),
    }
}
