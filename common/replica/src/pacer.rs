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

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    #[test]
    fn bytes_pass_at_the_rate_that_is_set_last() {
        let now = Timestamp::new(10 * S);
        let mut pacer = Pacer::new(100, now);
        assert_eq!(pacer.pass(50, now), S / 2);
        assert_eq!(pacer.pass(50, now), S, "what waits adds up");
        pacer.set_rate(200);
        assert_eq!(pacer.pass(200, now), 2 * S);
        pacer.set_rate(0);
        assert_eq!(pacer.pass(1, now), 3 * S, "a rate of 0 is one of 1");
        // After a pause only a little of it is made up for.
        let later = now.after(100 * S);
        pacer.set_rate(100);
        assert_eq!(pacer.pass(50, later), S / 2 - BURST_NS);
    }
}
