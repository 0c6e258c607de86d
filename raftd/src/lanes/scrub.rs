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

#[cfg(test)]
mod tests {
    use std::ops::Range;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Instant;

    use consensus::{Entry, LogIndex};
    use tokio::sync::mpsc;

    use super::*;
    use crate::lanes::REPORTS_MAX;
    use crate::troubles::Troubles;

    /// A log that cannot be read through the first time, for want of files or memory.
    #[derive(Default)]
    struct SecondTime(AtomicU32);

    impl EntryReader for SecondTime {
        fn read(&self, _: Range<LogIndex>, _: usize) -> Result<Vec<Entry>, StorageError> {
            Ok(Vec::new())
        }

        fn read_through(&self, _: &mut dyn FnMut(u64) -> bool) -> Result<u64, StorageError> {
            match self.0.fetch_add(1, Ordering::Relaxed) {
                0 => {
                    let source = std::io::Error::other("too many open files");
                    Err(StorageError::Io { doing: "open", path: "a table".into(), source })
                }
                _ => Ok(7),
            }
        }

        fn check_files(&self) -> Result<(), StorageError> {
            Ok(())
        }

        fn bytes(&self) -> u64 {
            7
        }
    }

    /// What rots behind that would never be found.
    #[test]
    fn a_log_that_could_not_be_read_through_once_is_read_the_next_time() {
        let place = tempfile::tempdir().expect("a directory");
        let gauges = Arc::new(Gauges::at(place.path(), Troubles::default()));
        let (reports, _reported) = mpsc::channel(REPORTS_MAX);
        let log = Arc::new(SecondTime::default());
        let lane = (reports, Arc::clone(&gauges));
        start(log, Duration::from_millis(1), lane, Alive::new().0).expect("a thread");
        let began = Instant::now();
        while gauges.scrubs().log().is_none_or(|read| read.bytes != 7) {
            assert!(began.elapsed() < Duration::from_secs(60), "it is not read again");
            thread::sleep(Duration::from_millis(1));
        }
    }
}
