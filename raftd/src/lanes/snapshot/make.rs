//! Writes the state of one moment to a file.

use std::time::Instant;

use consensus::LogIndex;
use storage::{SnapshotFile, SnapshotHeader, Snapshots, StateCheckpoint, StorageError};

use crate::exit::{Failure, storage_failure};
use crate::gauges::Gauges;
use crate::lanes::pacer::Pacer;
use crate::lanes::snapshot::SNAPSHOTS_KEPT;

/// The pace is looked at after so many bytes.
const STEP_BYTES: u64 = 256 * 1024;

/// Writes the file, then removes older ones. The state is durable up to `flushed`.
pub(super) fn run(
    shelf: &Snapshots,
    checkpoint: &StateCheckpoint,
    header: &SnapshotHeader,
    (bytes_per_s_max, gauges): (u64, &Gauges),
    flushed: LogIndex,
) -> Result<SnapshotFile, Failure> {
    let mut pacer = Pacer::new(bytes_per_s_max, Instant::now());
    let mut before = 0;
    room(gauges).map_err(|error| storage_failure(&error))?;
    let made = checkpoint.save(shelf, header, |written| {
        if written - before >= STEP_BYTES {
            room(gauges)?;
            std::thread::sleep(pacer.pass(written - before, Instant::now()));
            before = written;
        }
        Ok(())
    });
    let made = made.map_err(|error| storage_failure(&error))?;
    if let Err(error) = shelf.keep(SNAPSHOTS_KEPT, flushed) {
        tracing::warn!(%error, "an old snapshot cannot be removed");
    }
    Ok(made)
}

/// A snapshot is a convenience: it must not take the space that the node needs to go on.
fn room(gauges: &Gauges) -> Result<(), StorageError> {
    match gauges.lacks(STEP_BYTES) {
        Some(why) => Err(StorageError::Full { doing: "writing a snapshot", why }),
        None => Ok(()),
    }
}
