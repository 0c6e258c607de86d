//! What reading everything from the disk in the background has shown: when it was last whole, and
//! what was damaged and has been mended.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use protocol::ReadThrough;

/// What is told of what was mended is no longer than so many bytes.
const MENDED_BYTES_MAX: usize = 1_000;

/// What was found, shared by the threads that read and whoever tells of it.
#[derive(Debug, Default)]
pub(crate) struct Scrubs(Mutex<Found>);

#[derive(Debug, Default)]
struct Found {
    log: Option<(Instant, u64)>,
    state: Option<(Instant, u64)>,
    mended: Vec<String>,
    /// How often all is read, in seconds.
    interval_s: u64,
}

impl Scrubs {
    /// From now on, all is read once in so many seconds.
    pub(crate) fn every(&self, interval_s: u64) {
        self.found().interval_s = interval_s;
    }

    /// Returns in how many seconds all is read once.
    pub(crate) fn interval_s(&self) -> u64 {
        self.found().interval_s
    }

    /// All of the log was read, and was whole.
    pub(crate) fn read_log(&self, bytes: u64) {
        self.found().log = Some((Instant::now(), bytes));
    }

    /// All of the state was read, and was whole.
    pub(crate) fn read_state(&self, bytes: u64) {
        self.found().state = Some((Instant::now(), bytes));
    }

    /// Something was damaged, and is whole again.
    pub(crate) fn mend(&self, what: String) {
        let mut found = self.found();
        let bytes: usize = found.mended.iter().map(String::len).sum();
        if bytes + what.len() <= MENDED_BYTES_MAX && !found.mended.contains(&what) {
            found.mended.push(what);
        }
    }

    /// Returns when all of the log was last read.
    pub(crate) fn log(&self) -> Option<ReadThrough> {
        self.found().log.map(shown)
    }

    /// Returns when all of the state was last read.
    pub(crate) fn state(&self) -> Option<ReadThrough> {
        self.found().state.map(shown)
    }

    /// Returns what was damaged and is whole again; empty if nothing was.
    pub(crate) fn mended(&self) -> String {
        self.found().mended.join("; ")
    }

    /// A panic elsewhere leaves it as it was.
    fn found(&self) -> MutexGuard<'_, Found> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn shown((at, bytes): (Instant, u64)) -> ReadThrough {
    let ago_ms = u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX);
    ReadThrough { ago_ms, bytes }
}
