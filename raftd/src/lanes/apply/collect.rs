//! Collects, in the background, the room of large values that are overwritten or deleted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use storage::StateCollection;

use crate::alive::Alive;
use crate::lanes::{Reports, guarded, step_back};

/// How often is looked whether it is worth it: by then a disk at its limit has written some hundred
/// megabytes.
const INTERVAL: Duration = Duration::from_secs(5);

/// How often is looked whether it has done enough. It would not end by itself.
const STEP: Duration = Duration::from_secs(1);

/// How often is looked whether the node stops.
const POLL: Duration = Duration::from_millis(200);

/// When the room of dead values is collected.
pub(super) struct Collecting {
    next: Instant,
    under_way: Arc<AtomicBool>,
    /// Held by the thread: it uses files of the node.
    alive: Alive,
}

impl Collecting {
    /// Begins to wait for the first time.
    pub(super) fn new(alive: Alive) -> Self {
        Self { next: Instant::now() + INTERVAL, under_way: Arc::default(), alive }
    }

    /// Returns how long it is until the next look.
    pub(super) fn due_in(&self) -> Duration {
        self.next.saturating_duration_since(Instant::now())
    }

    /// Begins on a thread of its own if that is worth it, and the last one has ended.
    pub(super) fn begin(
        &mut self,
        collection: StateCollection,
        reports: &Reports,
    ) -> std::io::Result<()> {
        self.next = Instant::now() + INTERVAL;
        if !collection.is_worth_it() || self.under_way.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let (under_way, reports, alive) =
            (Arc::clone(&self.under_way), reports.clone(), self.alive.clone());
        thread::Builder::new().name("collect".to_owned()).spawn(move || {
            guarded("collect", &reports, || {
                step_back();
                while collection.follow() && waited(STEP, &reports) {}
                under_way.store(false, Ordering::Release);
            });
            drop((collection, alive));
        })?;
        Ok(())
    }
}

/// Waits; `false` if the node stops before the time is over.
fn waited(time: Duration, reports: &Reports) -> bool {
    let end = Instant::now() + time;
    while Instant::now() < end {
        if reports.is_closed() {
            return false;
        }
        thread::sleep(POLL);
    }
    true
}
