//! How much of the log stays when the state is durable: enough that a follower that is a little
//! behind is fed with entries and needs no snapshot (§5.1.2, §5.1.3).

use std::collections::VecDeque;

use consensus::{LogIndex, Write};

use crate::cache::size;

/// Places are remembered about so many to the lower bound in bytes; finer is of no use.
const MARKS: u64 = 64;

/// What stays of the log behind a durable state.
///
/// The log is worth keeping as long as it is smaller than the snapshot that would replace it
/// (§5.1.3): so the bound in bytes is the size of the state, within these limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// At most so many entries.
    pub entries: u64,
    /// Roughly so many bytes of entries may always stay, however small the state.
    pub bytes_min: u64,
    /// At most so many bytes of entries, roughly, however large the state.
    pub bytes_max: u64,
}

impl Default for Keep {
    fn default() -> Self {
        let mib = 1024 * 1024;
        Self { entries: 100_000, bytes_min: 64 * mib, bytes_max: 1024 * mib }
    }
}

/// Decides how far the log is compacted.
#[derive(Clone, Debug)]
pub(crate) struct Compaction {
    keep: Keep,
    /// Places in the log, with the bytes up to there since this node started; ascending.
    marks: VecDeque<(LogIndex, u64)>,
    /// Bytes up to the end of the log since this node started.
    total: u64,
}

impl Compaction {
    pub(crate) fn new(keep: Keep) -> Self {
        Self { keep, marks: VecDeque::new(), total: 0 }
    }

    /// Follows a write of the log.
    pub(crate) fn follow(&mut self, write: &Write) {
        if let Some(from) = write.truncate_from {
            while self.marks.pop_back_if(|(index, _)| *index >= from).is_some() {}
            self.total = self.marks.back().map_or(0, |(_, total)| *total);
        }
        for entry in &write.append {
            self.total += size(entry) as u64;
            let last = self.marks.back().map_or(0, |(_, total)| *total);
            if self.total - last >= self.keep.bytes_min / MARKS {
                self.marks.push_back((entry.id.index, self.total));
            }
        }
    }

    /// Returns where the log shall begin anew, behind `base`, if a state of so many bytes is
    /// durable up to `flushed`; `None` if that is not worth a write.
    pub(crate) fn compact_to(
        &mut self,
        base: LogIndex,
        flushed: LogIndex,
        state_bytes: u64,
    ) -> Option<LogIndex> {
        let by_entries = flushed.get().saturating_sub(self.keep.entries);
        let bytes = state_bytes.max(self.keep.bytes_min).min(self.keep.bytes_max);
        let goal = self.total.saturating_sub(bytes);
        let place = self.marks.partition_point(|(_, total)| *total <= goal);
        let by_bytes = place.checked_sub(1).map_or(0, |place| self.marks[place].0.get());
        let to = LogIndex::new(by_entries.max(by_bytes)).min(flushed);
        if to <= base {
            return None;
        }
        self.marks.drain(..self.marks.partition_point(|(index, _)| *index <= to));
        Some(to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use consensus::{ClusterTime, Entry, EntryId, Payload, Term, WriteId};

    fn write(from: u64, to: u64, bytes: usize) -> Write {
        let entry = |index| {
            Entry::new(
                EntryId { term: Term::new(1), index: LogIndex::new(index) },
                ClusterTime::ZERO,
                Payload::Command(Bytes::from(vec![0; bytes])),
            )
        };
        Write {
            id: WriteId::ZERO,
            hard_state: None,
            truncate_from: None,
            append: (from..=to).map(entry).collect(),
            compact_to: None,
        }
    }

    fn keep(entries: u64, bytes_min: u64) -> Keep {
        Keep { entries, bytes_min, bytes_max: 1 << 41 }
    }

    fn to(compaction: &mut Compaction, base: u64, flushed: u64) -> Option<u64> {
        compaction.compact_to(LogIndex::new(base), LogIndex::new(flushed), 0).map(LogIndex::get)
    }

    #[test]
    fn the_last_entries_stay_museum_g21() {
        let mut compaction = Compaction::new(keep(10, 1 << 40));
        compaction.follow(&write(1, 100, 10));
        assert_eq!(to(&mut compaction, 0, 9), None, "fewer than are kept (museum G21)");
        assert_eq!(to(&mut compaction, 0, 10), None);
        assert_eq!(to(&mut compaction, 0, 80), Some(70));
        assert_eq!(to(&mut compaction, 70, 80), None, "done already");
    }

    #[test]
    fn a_log_of_large_entries_is_cut_shorter() {
        let mut compaction = Compaction::new(keep(1_000, 100_000));
        compaction.follow(&write(1, 100, 10_000));
        let place = to(&mut compaction, 0, 100).expect("a million bytes are too many");
        assert!((89..=92).contains(&place), "{place}");
        assert_eq!(to(&mut compaction, place, 100), None);
    }

    #[test]
    fn a_log_that_is_smaller_than_the_state_stays_within_the_limits() {
        let limits = Keep { entries: 1_000, bytes_min: 100_000, bytes_max: 700_000 };
        let place = |state_bytes| {
            let mut compaction = Compaction::new(limits);
            compaction.follow(&write(1, 100, 10_000));
            compaction
                .compact_to(LogIndex::ZERO, LogIndex::new(100), state_bytes)
                .map(LogIndex::get)
        };
        let stays = |place: Option<u64>| 100 - place.expect("more than the limit");
        assert!((8..=11).contains(&stays(place(0))));
        assert!((48..=51).contains(&stays(place(500_000))));
        assert!((68..=71).contains(&stays(place(u64::MAX))));
    }

    #[test]
    fn nothing_is_compacted_that_the_state_does_not_cover() {
        let mut compaction = Compaction::new(keep(1, 64));
        compaction.follow(&write(1, 100, 10_000));
        assert_eq!(to(&mut compaction, 0, 50), Some(50));
    }

    #[test]
    fn what_is_cut_off_does_not_count() {
        let mut compaction = Compaction::new(keep(1_000, 100_000));
        compaction.follow(&write(1, 100, 10_000));
        let cut = Write { truncate_from: Some(LogIndex::new(6)), ..write(6, 7, 10) };
        compaction.follow(&cut);
        assert_eq!(to(&mut compaction, 0, 7), None);
    }

    /// The log may be of millions of small entries, and what is remembered of them is in memory.
    #[test]
    fn few_places_are_remembered_and_none_that_is_compacted() {
        let entry_bytes = size(&write(1, 1, 4).append[0]) as u64;
        let mut compaction = Compaction::new(keep(1_000, MARKS * 10 * entry_bytes));
        let places = |compaction: &Compaction| -> Vec<u64> {
            compaction.marks.iter().map(|(index, _)| index.get()).collect()
        };
        compaction.follow(&write(1, 1_000, 4));
        let each_tenth: Vec<u64> = (10..=1_000).step_by(10).collect();
        assert_eq!(places(&compaction), each_tenth);
        assert_eq!(to(&mut compaction, 0, 1_000), Some(360), "640 entries stay");
        assert_eq!(places(&compaction), each_tenth[36..]);
    }
}
