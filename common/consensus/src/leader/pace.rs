//! How fast a follower's disk is, as its leader can tell: by what it acknowledges, and when.
//!
//! Heartbeats say that a node lives. Only an acknowledgement of entries says that its disk does.

use crate::vocabulary::ids::{LogIndex, Timestamp};

/// The slowest acknowledgement counts for so many election timeouts at least, and for twice as many
/// at most.
const MEMORY: u64 = 10;

/// What is known of a follower's disk.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Pace {
    /// When it last had all there was, or acknowledged some more of it.
    current: Timestamp,
    /// When it last acknowledged something new.
    proven: Timestamp,
    /// How long the slowest acknowledgement took, in this period and in the one before.
    slowest_ns: (Option<u64>, Option<u64>),
    /// When this period began.
    period: Timestamp,
}

impl Pace {
    /// A follower of which nothing is known has one election timeout to show what it can.
    pub(super) fn new(now: Timestamp) -> Self {
        Self { current: now, proven: now, slowest_ns: (None, None), period: now }
    }

    /// Notes that it has all there is.
    pub(super) fn keeps_up(&mut self, now: Timestamp) {
        self.current = now;
    }

    /// Notes that it acknowledged something new, which was sent at that time where that is known.
    pub(super) fn acknowledged(
        &mut self,
        now: Timestamp,
        sent: Option<Timestamp>,
        patience_ns: u64,
    ) {
        (self.current, self.proven) = (now, now);
        let periods = now.since(self.period) / MEMORY.saturating_mul(patience_ns).max(1);
        if periods > 0 {
            self.slowest_ns = (None, self.slowest_ns.0.filter(|_| periods == 1));
            self.period = now;
        }
        let took_ns = sent.map(|sent| now.since(sent));
        self.slowest_ns.0 = self.slowest_ns.0.max(took_ns);
    }

    /// Says whether it has acknowledged something new within this time.
    pub(super) fn is_proven(&self, now: Timestamp, within_ns: u64) -> bool {
        now.since(self.proven) < within_ns
    }

    /// Returns when it last acknowledged something new.
    pub(super) fn proven(&self) -> Timestamp {
        self.proven
    }

    /// Says whether it lacks something, and has acknowledged nothing for this time.
    pub(super) fn stands_still(&self, now: Timestamp, for_ns: u64) -> bool {
        now.since(self.current) >= for_ns
    }

    /// Returns how long its slowest acknowledgement of late took; `None` if none is known.
    pub(super) fn slowest_ns(&self) -> Option<u64> {
        self.slowest_ns.0.max(self.slowest_ns.1)
    }
}

/// A message with entries that is not acknowledged yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Sent {
    /// The last entry in it.
    pub(super) last: LogIndex,
    pub(super) when: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE_NS: u64 = 100;

    #[test]
    fn the_slowest_acknowledgement_counts_for_a_while() {
        let mut pace = Pace::new(Timestamp::ZERO);
        let mut acknowledge = |now: u64, took_ns: u64| {
            let sent = Timestamp::new(now - took_ns);
            pace.acknowledged(Timestamp::new(now), Some(sent), PATIENCE_NS);
            pace.slowest_ns()
        };
        assert_eq!(acknowledge(50, 40), Some(40));
        assert_eq!(acknowledge(60, 5), Some(40));
        assert_eq!(acknowledge(1_060, 5), Some(40), "the period before counts");
        assert_eq!(acknowledge(2_060, 6), Some(6), "it is long ago");
        assert_eq!(acknowledge(2_070, 90), Some(90));
        assert_eq!(acknowledge(9_000, 7), Some(7), "nothing was written meanwhile");
    }

    #[test]
    fn who_has_everything_does_not_stand_still() {
        let mut pace = Pace::new(Timestamp::ZERO);
        pace.keeps_up(Timestamp::new(500));
        assert!(!pace.stands_still(Timestamp::new(599), PATIENCE_NS));
        assert!(!pace.is_proven(Timestamp::new(500), PATIENCE_NS), "it was asked for nothing");
        assert!(pace.stands_still(Timestamp::new(600), PATIENCE_NS));
        pace.acknowledged(Timestamp::new(600), None, PATIENCE_NS);
        assert!(!pace.stands_still(Timestamp::new(650), PATIENCE_NS));
        assert!(pace.is_proven(Timestamp::new(650), PATIENCE_NS));
        assert_eq!(pace.slowest_ns(), None, "nobody knows when that was sent");
    }

    #[test]
    fn what_was_acknowledged_is_proof_for_so_long_and_no_longer() {
        let mut pace = Pace::new(Timestamp::ZERO);
        pace.acknowledged(Timestamp::new(600), None, PATIENCE_NS);
        assert!(pace.is_proven(Timestamp::new(699), PATIENCE_NS));
        assert!(!pace.is_proven(Timestamp::new(700), PATIENCE_NS));
        assert!(!pace.stands_still(Timestamp::new(699), PATIENCE_NS));
        assert!(pace.stands_still(Timestamp::new(700), PATIENCE_NS));
    }
}
