//! Keeps work at a rate.

use consensus::Timestamp;

/// After a pause no more than this is caught up with, in nanoseconds.
const BURST_NS: u64 = 50_000_000;

/// Says how long to wait, so that bytes pass at a rate.
#[derive(Clone, Debug)]
pub struct Pacer {
    bytes_per_s_max: u64,
    /// When everything so far has passed at that rate.
    due: Timestamp,
}

impl Pacer {
    /// Begins with nothing that has passed.
    pub fn new(bytes_per_s_max: u64, now: Timestamp) -> Self {
        Self { bytes_per_s_max: bytes_per_s_max.max(1), due: now }
    }

    /// What passes from now on does so at this rate.
    pub fn set_rate(&mut self, bytes_per_s_max: u64) {
        self.bytes_per_s_max = bytes_per_s_max.max(1);
    }

    /// Notes that bytes pass, and returns how long to wait before more do, in nanoseconds.
    pub fn pass(&mut self, bytes: u64, now: Timestamp) -> u64 {
        let earliest = Timestamp::new(now.get().saturating_sub(BURST_NS));
        let takes = u128::from(bytes) * 1_000_000_000 / u128::from(self.bytes_per_s_max);
        let takes = u64::try_from(takes).unwrap_or(u64::MAX);
        self.due = Timestamp::new(self.due.max(earliest).get().saturating_add(takes));
        self.due.get().saturating_sub(now.get())
    }
}
