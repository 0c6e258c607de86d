//! When a leader may serve a read without the log (§6.4), and without asking anybody (§6.4.1).

use crate::vocabulary::ids::{LogIndex, Timestamp};

const MILLION: u64 = 1_000_000;

/// Says whether a leader's commit index is up to date: its first entry, the no-op, is committed
/// (§6.4, museum F1).
pub(crate) fn knows_what_is_committed(commit: LogIndex, first: LogIndex) -> bool {
    commit >= first
}

/// Returns until when a leader's lease lasts by its own clock, if a quorum has answered a round
/// that was not sent before `sent`. Each of these voters stands by the leader for `held_ns` from
/// when it heard of the round. In the worst case the leader's clock is late by the error, and a
/// voter's early by as much.
pub(crate) fn lease_until(sent: Timestamp, held_ns: u64, clock_error_ppm: u32) -> Timestamp {
    let error = u64::from(clock_error_ppm);
    let (late, early) = (MILLION - error.min(MILLION), MILLION + error);
    let lease_ns = u128::from(held_ns) * u128::from(late) / u128::from(early);
    sent.after(u64::try_from(lease_ns).expect("it is at most the time that it is held"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_read_before_the_own_term_has_committed_s6_4_museum_f1() {
        let knows =
            |commit, first| knows_what_is_committed(LogIndex::new(commit), LogIndex::new(first));
        assert!(!knows(4, 5));
        assert!(knows(5, 5));
        assert!(knows(9, 5));
    }

    #[test]
    fn a_lease_ends_before_the_voters_patience_whatever_the_clocks_say_s6_4_1() {
        let lease = |ppm| lease_until(Timestamp::new(1_000), 300_000_000, ppm);
        assert_eq!(lease(0), Timestamp::new(300_001_000));
        assert_eq!(lease(500_000), Timestamp::new(100_001_000), "a third: half as fast, and more");
        for ppm in [1, 200, 10_000, 499_999] {
            let (error, lease_ns) = (u64::from(ppm), lease(ppm).since(Timestamp::new(1_000)));
            // True time that passes at most while the leader's slow clock counts the lease, and at
            // least while a voter's fast clock counts its patience.
            let leads = u128::from(lease_ns) * 1_000_000 * u128::from(1_000_000 + error);
            let stands = 300_000_000 * 1_000_000 * u128::from(1_000_000 - error);
            assert!(leads <= stands, "{ppm} ppm");
        }
    }
}
