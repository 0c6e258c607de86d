//! Reads the state through in the background, so that what rots is found before it is needed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use storage::{StateScrub, StorageError};

use crate::alive::Alive;
use crate::exit::state_failure;
use crate::lanes::pacer::Pacer;
use crate::lanes::{Done, Reports, guarded, step_back};

/// How fast the state is read, in bytes a second.
const SCRUB_BYTES_PER_S: u64 = 16 << 20;

/// The pace is looked at after so many bytes.
const STEP_BYTES: u64 = 256 * 1024;

/// The first one begins so soon after the start, where the interval is not shorter.
const FIRST_AFTER: Duration = Duration::from_secs(60);

/// Says whether there is more room on the disk than must be in hand.
type HasRoom = Arc<dyn Fn() -> bool + Send + Sync>;

/// When the state is read through.
pub(super) struct Scrubbing {
    interval: Duration,
    next: Instant,
    under_way: Arc<AtomicBool>,
    /// Held by the thread: it reads files of the node.
    alive: Alive,
    /// Told how many bytes were read, each time that all of it was whole.
    read: Arc<dyn Fn(u64) + Send + Sync>,
}

impl Scrubbing {
    /// Begins to wait for the first time.
    pub(super) fn new(
        interval: Duration,
        alive: Alive,
        read: Arc<dyn Fn(u64) + Send + Sync>,
    ) -> Self {
        let next = Instant::now() + interval.min(FIRST_AFTER);
        Self { interval, next, under_way: Arc::default(), alive, read }
    }

    /// Returns how long it is until the next time.
    pub(super) fn due_in(&self) -> Duration {
        self.next.saturating_duration_since(Instant::now())
    }

    /// Begins on a thread of its own, if it is time and the last one has ended.
    pub(super) fn begin(
        &mut self,
        scrub: impl FnOnce() -> StateScrub,
        reports: &Reports,
        has_room: &HasRoom,
    ) -> std::io::Result<()> {
        self.next = Instant::now() + self.interval;
        if self.under_way.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let (scrub, under_way) = (scrub(), Arc::clone(&self.under_way));
        let (reports, alive, read) = (reports.clone(), self.alive.clone(), Arc::clone(&self.read));
        let has_room = Arc::clone(has_room);
        thread::Builder::new().name("scrub".to_owned()).spawn(move || {
            guarded("scrub", &reports, || {
                step_back();
                run(scrub, &reports, (&*read, &*has_room));
                under_way.store(false, Ordering::Release);
            });
            drop(alive);
        })?;
        Ok(())
    }
}

fn run(scrub: StateScrub, reports: &Reports, (whole, has_room): (&dyn Fn(u64), &dyn Fn() -> bool)) {
    let began = Instant::now();
    let mut pacer = Pacer::new(SCRUB_BYTES_PER_S);
    let (mut unpaced, mut goes_on) = (0, true);
    let read = scrub.run(|bytes| {
        unpaced += bytes;
        if unpaced >= STEP_BYTES {
            thread::sleep(pacer.pass(std::mem::take(&mut unpaced)));
            goes_on = has_room();
        }
        // A node that stops does not wait for it.
        goes_on && !reports.is_closed()
    });
    match read {
        // Whoever stops has not read all of it.
        Ok(_) if reports.is_closed() || !goes_on => {}
        Ok(bytes) => {
            whole(bytes);
            tracing::debug!(bytes, took = ?began.elapsed(), "the state was read through");
        }
        Err(error @ StorageError::Corrupt { .. }) => {
            // A loop that is gone needs no report.
            let _ = reports.blocking_send(Done::ApplyFailed(state_failure(&error)));
        }
        Err(error) => tracing::debug!(%error, "the state was not read through"),
    }
}
