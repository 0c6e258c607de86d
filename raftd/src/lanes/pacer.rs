//! Keeps work at a rate by the clock of this process.

use std::time::{Duration, Instant};

use consensus::Timestamp;

/// Says how long to wait, so that bytes pass at a rate.
#[derive(Debug)]
pub(crate) struct Pacer {
    began: Instant,
    pacer: replica::Pacer,
}

impl Pacer {
    pub(crate) fn new(bytes_per_s_max: u64) -> Self {
        let pacer = replica::Pacer::new(bytes_per_s_max, Timestamp::ZERO);
        Self { began: Instant::now(), pacer }
    }

    /// Notes that bytes pass, and returns how long to wait before more do.
    pub(crate) fn pass(&mut self, bytes: u64) -> Duration {
        let passed = u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(self.pacer.pass(bytes, Timestamp::new(passed)))
    }
}
