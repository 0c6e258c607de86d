//! The log matching property (§3.5): two logs that hold the same entry agree up to it.

use crate::vocabulary::entry::Entry;
use crate::vocabulary::ids::{EntryId, LogIndex};
use crate::vocabulary::log_view::LogView;

/// Says whether a follower's log agrees with its leader's up to `prev`, so that what follows may be
/// appended. What is compacted was committed, so it agrees by definition (museum B16).
pub(crate) fn agrees(log: &LogView, prev: EntryId) -> bool {
    prev.index < log.base().index || log.contains(prev)
}

/// Returns the place of the first of `entries` that the log does not hold, if any: because it is
/// new, or because another stands in its place. Nothing is cut unless one really conflicts: the
/// message may be an old one (museum B5).
pub(crate) fn first_missing(log: &LogView, entries: &[Entry]) -> Option<usize> {
    entries.iter().position(|entry| entry.id.index > log.base().index && !log.contains(entry.id))
}

/// Returns where a leader goes on after a refusal: behind the last entry that may agree, before
/// what was refused, so that the next message differs (museum B19), and never before what is known
/// to match.
pub(crate) fn resume_at(agree: LogIndex, refused: LogIndex, matched: LogIndex) -> LogIndex {
    agree.next().min(refused).max(matched.next())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vocabulary::entry::Payload;
    use crate::vocabulary::ids::{ClusterTime, Term};
    use crate::vocabulary::log_view::TermRun;

    fn at(term: u64, index: u64) -> EntryId {
        EntryId { term: Term::new(term), index: LogIndex::new(index) }
    }

    /// Entries 1 to 4 of term 1 are compacted; 5 and 6 are of term 1, 7 to 9 of term 3.
    fn log() -> LogView {
        let run = |term, first| TermRun { term: Term::new(term), first: LogIndex::new(first) };
        let runs = vec![run(1, 5), run(3, 7)];
        LogView::restore(at(1, 4), runs, LogIndex::new(9)).expect("it is sound")
    }

    fn entries(ids: &[(u64, u64)]) -> Vec<Entry> {
        let entry = |(term, index): &(u64, u64)| {
            let (id, stamp) = (at(*term, *index), ClusterTime::ZERO);
            Entry::new(id, stamp, Payload::Noop)
        };
        ids.iter().map(entry).collect()
    }

    #[test]
    fn logs_agree_at_an_entry_that_both_hold_s3_5() {
        for (prev, agree) in [
            (at(1, 4), true),
            (at(1, 6), true),
            (at(3, 9), true),
            (at(2, 8), false),
            (at(3, 10), false),
            (at(1, 2), true),
            // The base is compacted, but its term is known.
            (at(2, 4), false),
        ] {
            assert_eq!(agrees(&log(), prev), agree, "{prev}");
        }
    }

    #[test]
    fn only_a_real_conflict_or_news_is_missing_s3_5_museum_b5() {
        for (ids, missing) in [
            (&[][..], None),
            (&[(1, 6), (3, 7)], None),
            (&[(1, 3), (1, 4), (1, 5)], None),
            // What is compacted is never cut, whatever a message says of it.
            (&[(2, 3), (2, 4)], None),
            (&[(3, 9), (3, 10)], Some(1)),
            (&[(1, 6), (2, 7)], Some(1)),
            (&[(4, 5)], Some(0)),
        ] {
            assert_eq!(first_missing(&log(), &entries(ids)), missing, "{ids:?}");
        }
    }

    #[test]
    fn a_refused_leader_goes_back_but_not_before_what_matches_s3_5_museum_b19() {
        for (agree, refused, matched, next) in
            [(3, 9, 0, 4), (9, 9, 0, 9), (12, 9, 0, 9), (3, 9, 5, 6), (0, 1, 0, 1)]
        {
            let index = LogIndex::new;
            assert_eq!(resume_at(index(agree), index(refused), index(matched)), index(next));
        }
    }
}
