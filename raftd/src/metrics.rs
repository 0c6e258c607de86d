//! What the node measures about itself: latencies of the last minute or so, and rates.
//!
//! The loop alone writes here. Lanes measure their own work and say so in their completions, so
//! nothing is shared between threads.

use std::time::Duration;

use consensus::Timestamp;

/// Buckets of each power of two: values are off by at most an eighth.
const STEPS: usize = 8;

/// Powers of two of microseconds that are told apart: up to about 18 minutes.
const POWERS: usize = 27;

/// How long a window gathers before the next begins, in nanoseconds. What is reported covers one
/// whole window and the part of the next that has passed.
const WINDOW_NS: u64 = 30_000_000_000;

/// How long a rate is counted, in nanoseconds.
const RATE_NS: u64 = 2_000_000_000;

/// All measures of a node.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    /// A batch of writes on the disk, with its sync.
    pub(crate) fsync: Latency,
    /// A batch of entries in the state machine.
    pub(crate) apply: Latency,
    /// From the arrival of a proposal to its answer.
    pub(crate) commit: Latency,
    /// Answered proposals and queries.
    pub(crate) operations: Rate,
}

/// Latencies of a recent window.
#[derive(Debug, Default)]
pub(crate) struct Latency {
    began: Timestamp,
    current: Histogram,
    previous: Histogram,
}

impl Latency {
    /// Counts one measurement.
    pub(crate) fn record(&mut self, now: Timestamp, took: Duration) {
        self.turn(now);
        self.current.record(took);
    }

    /// Returns the time that 99 of 100 measurements stayed below, in microseconds; `None` without
    /// any in the last window.
    pub(crate) fn p99_us(&mut self, now: Timestamp) -> Option<u64> {
        self.turn(now);
        let total = self.current.total + self.previous.total;
        let rank = total - total / 100;
        let mut seen = 0;
        let counts = self.current.counts.iter().zip(self.previous.counts.iter());
        for (bucket, (current, previous)) in counts.enumerate() {
            seen += u64::from(*current) + u64::from(*previous);
            if total > 0 && seen >= rank {
                return Some(upper_us(bucket));
            }
        }
        None
    }

    fn turn(&mut self, now: Timestamp) {
        let passed = now.since(self.began);
        if passed >= WINDOW_NS {
            let full = std::mem::take(&mut self.current);
            self.previous = if passed < 2 * WINDOW_NS { full } else { Histogram::default() };
            self.began = now;
        }
    }
}

/// Counts by size: logarithmic, with linear steps between the powers of two.
#[derive(Debug)]
struct Histogram {
    counts: Box<[u32; STEPS * POWERS]>,
    total: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: Box::new([0; STEPS * POWERS]), total: 0 }
    }
}

impl Histogram {
    fn record(&mut self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.counts[bucket(us)] += 1;
        self.total += 1;
    }
}

/// Microseconds below [`STEPS`] have a bucket each; above, each power of two has [`STEPS`].
fn bucket(us: u64) -> usize {
    let steps = STEPS as u64;
    if us < steps {
        return usize::try_from(us).unwrap_or(STEPS - 1);
    }
    let power = us.ilog2() - steps.ilog2();
    let step = usize::try_from((us >> power) - steps).unwrap_or(STEPS - 1);
    let power = usize::try_from(power).unwrap_or(POWERS);
    ((power + 1) * STEPS + step).min(STEPS * POWERS - 1)
}

/// The largest value of a bucket.
fn upper_us(bucket: usize) -> u64 {
    if bucket < STEPS {
        return bucket as u64;
    }
    let (power, step) = (bucket / STEPS - 1, bucket % STEPS);
    (((STEPS + step + 1) as u64) << power) - 1
}

/// Events a second over the last seconds.
#[derive(Debug, Default)]
pub(crate) struct Rate {
    began: Timestamp,
    count: u64,
    last: u64,
}

impl Rate {
    /// Counts events.
    pub(crate) fn add(&mut self, now: Timestamp, events: u64) {
        self.turn(now);
        self.count += events;
    }

    /// Returns events a second.
    pub(crate) fn per_s(&mut self, now: Timestamp) -> u64 {
        self.turn(now);
        self.last
    }

    fn turn(&mut self, now: Timestamp) {
        let passed = now.since(self.began);
        if passed >= RATE_NS {
            let count = std::mem::take(&mut self.count);
            let per_s = u128::from(count) * 1_000_000_000 / u128::from(passed);
            self.last = u64::try_from(per_s).unwrap_or(u64::MAX);
            self.began = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn buckets_are_ordered_and_narrow() {
        let mut last = 0;
        for us in 0..100_000_u64 {
            let bucket = bucket(us);
            assert!(bucket == last || bucket == last + 1, "no bucket is skipped at {us}");
            last = bucket;
            assert!(upper_us(bucket) >= us && upper_us(bucket) <= us + us / 8);
        }
        assert_eq!(bucket(u64::MAX), STEPS * POWERS - 1);
    }

    #[test]
    fn the_99th_percentile_leaves_one_of_a_hundred_aside() {
        let mut latency = Latency::default();
        let now = Timestamp::new(SECOND);
        assert_eq!(latency.p99_us(now), None);
        for _ in 0..99 {
            latency.record(now, Duration::from_micros(100));
        }
        latency.record(now, Duration::from_millis(50));
        assert_eq!(latency.p99_us(now), Some(103));
        latency.record(now, Duration::from_millis(50));
        assert!(latency.p99_us(now) >= Some(50_000));
    }

    #[test]
    fn old_measurements_are_forgotten() {
        let mut latency = Latency::default();
        latency.record(Timestamp::new(SECOND), Duration::from_micros(7));
        assert_eq!(latency.p99_us(Timestamp::new(31 * SECOND)), Some(7), "the window before");
        assert_eq!(latency.p99_us(Timestamp::new(200 * SECOND)), None);
    }

    #[test]
    fn a_rate_is_counted_over_two_seconds() {
        let mut rate = Rate::default();
        rate.add(Timestamp::new(SECOND), 500);
        rate.add(Timestamp::new(SECOND), 500);
        assert_eq!(rate.per_s(Timestamp::new(2 * SECOND)), 500);
        assert_eq!(rate.per_s(Timestamp::new(9 * SECOND)), 0);
    }
}
