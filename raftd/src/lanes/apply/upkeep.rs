//! Looks after large values in the background: the pages of those that were just written are given
//! back, and the room of those that are overwritten or deleted is collected. Where room is short,
//! what nobody needs goes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use storage::{StateStore, StateUpkeep};

use crate::alive::Alive;
use crate::lanes::{Reports, guarded, step_back, waited};

/// How often is looked what there is to do, at the latest.
const INTERVAL: Duration = Duration::from_secs(5);

/// After so many bytes of commands, too: half of what fills a file.
const BYTES: usize = 16 << 20;

/// How often is looked whether enough is collected. It would not end by itself.
const STEP: Duration = Duration::from_secs(1);

/// When the state is looked after.
pub(super) struct Upkeep {
    next: Instant,
    /// What was applied since.
    bytes: usize,
    under_way: Arc<AtomicBool>,
    /// Held by the thread: it uses files of the node.
    alive: Alive,
}

impl Upkeep {
    /// Begins to wait for the first time.
    pub(super) fn new(alive: Alive) -> Self {
        Self { next: Instant::now() + INTERVAL, bytes: 0, under_way: Arc::default(), alive }
    }

    /// Notes that so many bytes of commands were applied.
    pub(super) fn note(&mut self, bytes: usize) {
        self.bytes += bytes;
    }

    /// Returns how long it is until the next look.
    pub(super) fn due_in(&self) -> Duration {
        match self.bytes >= BYTES {
            true => Duration::ZERO,
            false => self.next.saturating_duration_since(Instant::now()),
        }
    }

    /// Does what there is to do, on a thread of its own, if the last one has ended.
    pub(super) fn begin(&mut self, state: StateUpkeep, reports: &Reports) -> std::io::Result<()> {
        let was_written = std::mem::take(&mut self.bytes) > 0;
        self.next = Instant::now() + INTERVAL;
        if !was_written && !state.is_to_collect() || self.under_way.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let (under_way, reports, alive) =
            (Arc::clone(&self.under_way), reports.clone(), self.alive.clone());
        thread::Builder::new().name("upkeep".to_owned()).spawn(move || {
            guarded("upkeep", &reports, || {
                step_back();
                state.give_pages_back();
                while state.collect() && waited(STEP, &reports) {
                    state.give_pages_back();
                }
                under_way.store(false, Ordering::Release);
            });
            drop((state, alive));
        })?;
        Ok(())
    }
}

/// Gives up what nobody needs: a damaged state that was set aside.
pub(super) fn make_room(store: &StateStore) {
    if let Err(error) = store.remove_other() {
        tracing::debug!(%error, "what was set aside stays");
    }
}
