//! The node's clock: nanoseconds since the daemon started, on a clock that never moves back and
//! goes on while the machine sleeps (`CLOCK_BOOTTIME`), so that a woken laptop knows that it slept.

use std::time::Duration;

use consensus::Timestamp;
use rustix::time::{ClockId, clock_gettime};

/// Reads the time since the daemon started.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    epoch_ns: u64,
}

impl Clock {
    /// Starts at zero.
    pub(crate) fn start() -> Self {
        Self { epoch_ns: boottime_ns() }
    }

    /// Returns the nanoseconds since the start.
    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::new(boottime_ns().saturating_sub(self.epoch_ns))
    }

    /// Returns the machine's own reading at the start, for seeds.
    pub(crate) fn epoch_ns(&self) -> u64 {
        self.epoch_ns
    }
}

/// Returns how long it is from `now` to `then`; zero when it has passed.
pub(crate) fn until(now: Timestamp, then: Timestamp) -> Duration {
    Duration::from_nanos(then.since(now))
}

fn boottime_ns() -> u64 {
    let time = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).expect("a boot is not before itself");
    let nanos = u64::try_from(time.tv_nsec).expect("nanoseconds are from 0 to 999,999,999");
    seconds * 1_000_000_000 + nanos
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_starts_at_zero_and_goes_on() {
        let clock = Clock::start();
        let first = clock.now();
        assert!(first < Timestamp::new(60_000_000_000), "a minute has not passed");
        assert!(clock.now() >= first);
        assert_eq!(until(Timestamp::new(5), Timestamp::new(7)), Duration::from_nanos(2));
        assert_eq!(until(Timestamp::new(7), Timestamp::new(5)), Duration::ZERO);
    }
}
