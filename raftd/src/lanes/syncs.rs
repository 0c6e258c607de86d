//! Looks whether the disk still finishes what it is given, also when nobody writes: an idle node
//! would count, and tell of its disk with the next write alone.

use std::thread;
use std::time::Duration;

use storage::Presence;

use crate::lanes::Reports;
use crate::lanes::presence::wait;
use crate::syncs::Syncs;

/// How often is looked.
const INTERVAL: Duration = Duration::from_secs(5);

/// Starts the thread. The node does not wait for it: where the disk hangs, so does the thread.
///
/// # Errors
/// If the system starts no thread.
pub(crate) fn start(presence: Presence, syncs: Syncs, reports: Reports) -> std::io::Result<()> {
    thread::Builder::new().name("syncs".to_owned()).spawn(move || {
        while !reports.is_closed() {
            syncs.begin();
            // What fails is told by whoever looks whether it can be written there.
            let _ = presence.sync();
            syncs.end();
            wait(INTERVAL, &reports);
        }
    })?;
    Ok(())
}
