//! What is committed (§3.6.2), as a leader decides it and as a follower learns it (§3.5).

use crate::vocabulary::ids::{LogIndex, Term};
use crate::vocabulary::log_view::LogView;

/// Returns a leader's commit index when a quorum holds its log up to `reached` on its disks. Only
/// entries of the leader's own term are committed by counting; those before come with one of them
/// (§3.6.2, museum B1, B2). The commit index never moves back.
pub(crate) fn by_counting(
    log: &LogView,
    own_term: Term,
    commit: LogIndex,
    reached: LogIndex,
) -> LogIndex {
    if reached > commit && log.term(reached) == Some(own_term) { reached } else { commit }
}

/// Returns a follower's commit index when its leader has committed up to `told`, and the message
/// has shown that the logs agree up to `verified`. What stands behind that may be another leader's
/// leftovers (museum B3).
pub(crate) fn by_message(commit: LogIndex, told: LogIndex, verified: LogIndex) -> LogIndex {
    commit.max(told.min(verified))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vocabulary::ids::EntryId;
    use crate::vocabulary::log_view::TermRun;

    const fn index(number: u64) -> LogIndex {
        LogIndex::new(number)
    }

    #[test]
    fn entries_of_earlier_terms_are_committed_with_one_of_the_own_s3_6_2_museum_b1() {
        let run = |term, first| TermRun { term: Term::new(term), first: index(first) };
        let runs = vec![run(1, 1), run(2, 3), run(4, 5)];
        let log = LogView::restore(EntryId::ZERO, runs, index(6)).expect("it is sound");
        for (reached, commit) in [(0, 1), (1, 1), (2, 1), (4, 1), (5, 5), (6, 6)] {
            let found = by_counting(&log, Term::new(4), index(1), index(reached));
            assert_eq!(found, index(commit), "a quorum has {reached}");
        }
        assert_eq!(by_counting(&log, Term::new(4), index(6), index(5)), index(6), "never back");
    }

    #[test]
    fn a_follower_believes_no_commit_beyond_what_the_message_shows_s3_5_museum_b3() {
        for (told, verified, commit) in [(9, 5, 5), (4, 5, 4), (1, 5, 2), (9, 0, 2)] {
            let found = by_message(index(2), index(told), index(verified));
            assert_eq!(found, index(commit), "{told} told, {verified} verified");
        }
    }
}
