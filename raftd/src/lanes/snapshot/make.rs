//! Writes the state of one moment to a file.

use std::time::Instant;

use consensus::LogIndex;
use storage::{SnapshotFile, SnapshotHeader, Snapshots, StateCheckpoint};

use crate::bootstrap::failure;
use crate::exit::Failure;
use crate::lanes::pacer::Pacer;
use crate::lanes::snapshot::SNAPSHOTS_KEPT;

/// The pace is looked at after so many bytes.
const STEP_BYTES: u64 = 256 * 1024;

/// Writes the file, then removes older ones. The state is durable up to `flushed`.
pub(super) fn run(
    shelf: &Snapshots,
    checkpoint: &StateCheckpoint,
    header: &SnapshotHeader,
    bytes_per_s_max: u64,
    flushed: LogIndex,
) -> Result<SnapshotFile, Failure> {
    let mut pacer = Pacer::new(bytes_per_s_max, Instant::now());
    let mut before = 0;
    let made = checkpoint.save(shelf, header, |written| {
        if written - before >= STEP_BYTES {
            std::thread::sleep(pacer.pass(written - before, Instant::now()));
            before = written;
        }
        Ok(())
    });
    let made = made.map_err(|error| failure(&error))?;
    if let Err(error) = shelf.keep(SNAPSHOTS_KEPT, flushed) {
        tracing::warn!(%error, "an old snapshot cannot be removed");
    }
    Ok(made)
}
