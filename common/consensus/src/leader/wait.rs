//! How long a leader waits for an answer before it takes for lost what it has sent.
//!
//! Messages that are slow are no lost ones: where a connection carries less than is sent, sending
//! them again lets all that follow wait for the copies, which are then sent again as well. So each
//! time that one is taken for lost, the next one has twice as long; and what has arrived in time
//! shows how long it takes.

use crate::vocabulary::ids::Timestamp;

/// A wait is no longer than so many election timeouts: what was lost behind all is missed so long.
const PATIENCES_MAX: u64 = 8;

/// For how long an answer is awaited, at most times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Wait {
    ns: u64,
}

impl Wait {
    /// Says whether an answer has been awaited for long enough, which is never below `least_ns`.
    pub(super) fn is_over(self, since: Timestamp, now: Timestamp, least_ns: u64) -> bool {
        now.since(since) >= self.ns.max(least_ns)
    }

    /// Something was taken for lost that had `least_ns` at least.
    pub(super) fn lengthen(&mut self, least_ns: u64, patience_ns: u64) {
        let longest_ns = patience_ns.saturating_mul(PATIENCES_MAX);
        self.ns = self.ns.max(least_ns).saturating_mul(2).min(longest_ns);
    }

    /// An answer came after so long: twice as long is long enough.
    pub(super) fn answered(&mut self, took_ns: u64) {
        self.ns = self.ns.min(took_ns.saturating_mul(2));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits_ns(wait: Wait) -> u64 {
        let is_over = |ns: &u64| wait.is_over(Timestamp::ZERO, Timestamp::new(*ns), 50);
        (0..).find(is_over).expect("it ends")
    }

    #[test]
    fn a_wait_is_doubled_up_to_a_limit_and_follows_the_answers() {
        let mut wait = Wait::default();
        let mut waits = vec![waits_ns(wait)];
        for _ in 0..6 {
            wait.lengthen(50, 100);
            waits.push(waits_ns(wait));
        }
        assert_eq!(waits, [50, 100, 200, 400, 800, 800, 800]);
        wait.answered(300);
        assert_eq!(waits_ns(wait), 600, "it took so long, and was not lost");
        wait.answered(1_000);
        assert_eq!(waits_ns(wait), 600, "what is slow once makes it no longer");
        wait.answered(1);
        assert_eq!(waits_ns(wait), 50);
    }
}
