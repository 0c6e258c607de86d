//! Reads the log through in the background, so that what rots is found while others have it.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use storage::{EntryReader, StorageError};

use crate::alive::Alive;
use crate::exit::log_failure;
use crate::gauges::Gauges;
use crate::lanes::pacer::Pacer;
use crate::lanes::{Done, Reports, guarded, step_back, waited};

/// How fast the log is read, in bytes a second.
const SCRUB_BYTES_PER_S: u64 = 16 << 20;

/// The pace is looked at after so many bytes.
const STEP_BYTES: u64 = 256 * 1024;

/// The first time comes so soon after the start, where the interval is not shorter.
const FIRST_AFTER: Duration = Duration::from_secs(90);

/// Starts the thread. It ends with the node, or with damage: then the node ends, and the start that
/// follows fetches what is damaged from another member.
///
/// # Errors
/// If the system starts no thread.
pub(crate) fn start(
    log: Arc<dyn EntryReader>,
    interval: Duration,
    (reports, gauges): (Reports, Arc<Gauges>),
    alive: Alive,
) -> std::io::Result<()> {
    thread::Builder::new().name("log scrub".to_owned()).spawn(move || {
        guarded("log scrub", &reports, || {
            step_back();
            run(&*log, interval, &reports, &gauges);
        });
        drop((log, alive));
    })?;
    Ok(())
}

fn run(log: &dyn EntryReader, interval: Duration, reports: &Reports, gauges: &Gauges) {
    let mut wait = interval.min(FIRST_AFTER);
    while waited(wait, reports) {
        wait = interval;
        match read_through(log, reports) {
            // Whoever stops has not read all of it.
            Ok(_) if reports.is_closed() => {}
            Ok(bytes) => {
                gauges.scrubs().read_log(bytes);
                tracing::debug!(bytes, "the log was read through");
            }
            Err(error @ StorageError::Corrupt { .. }) => {
                // A loop that is gone needs no report.
                let _ = reports.blocking_send(Done::ApplyFailed(log_failure(&error)));
                return;
            }
            Err(error) => tracing::debug!(%error, "the log was not read through"),
        }
    }
}

fn read_through(log: &dyn EntryReader, reports: &Reports) -> Result<u64, StorageError> {
    let mut pacer = Pacer::new(SCRUB_BYTES_PER_S);
    let mut unpaced = 0;
    log.read_through(&mut |bytes| {
        unpaced += bytes;
        if unpaced >= STEP_BYTES {
            thread::sleep(pacer.pass(std::mem::take(&mut unpaced)));
        }
        !reports.is_closed()
    })
}
