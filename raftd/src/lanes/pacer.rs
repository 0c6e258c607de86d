//! Keeps work at a rate.

use std::time::{Duration, Instant};

/// After a pause no more than this is caught up with.
const BURST: Duration = Duration::from_millis(50);

/// Says how long to wait, so that bytes pass at a rate.
#[derive(Debug)]
pub(crate) struct Pacer {
    bytes_per_s_max: u64,
    /// When everything so far has passed at that rate.
    due: Instant,
}

impl Pacer {
    pub(crate) fn new(bytes_per_s_max: u64, now: Instant) -> Self {
        Self { bytes_per_s_max: bytes_per_s_max.max(1), due: now }
    }

    /// What passes from now on does so at this rate.
    pub(crate) fn set_rate(&mut self, bytes_per_s_max: u64) {
        self.bytes_per_s_max = bytes_per_s_max.max(1);
    }

    /// Notes that bytes pass, and returns how long to wait before more do.
    pub(crate) fn pass(&mut self, bytes: u64, now: Instant) -> Duration {
        let earliest = now.checked_sub(BURST).unwrap_or(now);
        let takes = Duration::from_secs_f64(bytes as f64 / self.bytes_per_s_max as f64);
        self.due = self.due.max(earliest) + takes;
        self.due.saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_pass_at_the_rate_and_pauses_are_not_caught_up_with() {
        let begin = Instant::now();
        let mut pacer = Pacer::new(1_000, begin);
        assert_eq!(pacer.pass(100, begin), Duration::from_millis(100));
        assert_eq!(pacer.pass(100, begin), Duration::from_millis(200));
        let later = begin + Duration::from_secs(60);
        assert_eq!(pacer.pass(100, later), Duration::from_millis(50));
        assert_eq!(pacer.pass(100, later), Duration::from_millis(150));
    }
}
