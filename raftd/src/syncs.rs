//! Whether the disk finishes what it is given, also when nobody writes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// The look that is under way, and since when.
#[derive(Clone, Debug, Default)]
pub(crate) struct Syncs(Arc<Mutex<Option<Instant>>>);

impl Syncs {
    /// Returns for how long a look has been under way, in milliseconds.
    pub(crate) fn wait_ms(&self) -> Option<u64> {
        let since = *self.under_way();
        since.map(|since| u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// A look begins.
    pub(crate) fn begin(&self) {
        *self.under_way() = Some(Instant::now());
    }

    /// The look has ended.
    pub(crate) fn end(&self) {
        *self.under_way() = None;
    }

    fn under_way(&self) -> MutexGuard<'_, Option<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
