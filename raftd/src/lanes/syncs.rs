//! Looks whether the disk still finishes what it is given, also when nobody writes: an idle node
//! would count, and tell of its disk with the next write alone.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use storage::Presence;

use crate::lanes::Reports;
use crate::lanes::presence::wait;

/// How often is looked.
const INTERVAL: Duration = Duration::from_secs(5);

/// The look that is under way, and since when.
#[derive(Clone, Debug, Default)]
pub(crate) struct Syncs(Arc<Mutex<Option<Instant>>>);

impl Syncs {
    /// Returns for how long a look has been under way, in milliseconds.
    pub(crate) fn wait_ms(&self) -> Option<u64> {
        let since = *self.under_way();
        since.map(|since| u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    fn under_way(&self) -> MutexGuard<'_, Option<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts the thread. The node does not wait for it: where the disk hangs, so does the thread.
///
/// # Errors
/// If the system starts no thread.
pub(crate) fn start(presence: Presence, syncs: Syncs, reports: Reports) -> std::io::Result<()> {
    thread::Builder::new().name("syncs".to_owned()).spawn(move || {
        while !reports.is_closed() {
            *syncs.under_way() = Some(Instant::now());
            // What fails is told by whoever looks whether it can be written there.
            let _ = presence.sync();
            *syncs.under_way() = None;
            wait(INTERVAL, &reports);
        }
    })?;
    Ok(())
}
