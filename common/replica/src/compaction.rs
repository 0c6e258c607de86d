//! How much of the log stays when the state is durable: enough that a follower that is a little
//! behind is fed with entries and needs no snapshot (§5.1.2, §5.1.3).

use std::collections::VecDeque;

use consensus::{LogIndex, Write};

use crate::cache::size;

/// Places are remembered about so many to the lower bound in bytes; finer is of no use.
const MARKS: u64 = 64;

/// So many times what is worth keeping stays for a follower that is fed, while there is room: the
/// log grows while a snapshot is made, and again while it is sent.
const FED_TIMES: u64 = 2;

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
    /// Bytes up to the last place that was forgotten, since this node started.
    forgotten: u64,
    /// Bytes up to the end of the log since this node started.
    total: u64,
}

impl Compaction {
    pub(crate) fn new(keep: Keep) -> Self {
        Self { keep, marks: VecDeque::new(), forgotten: 0, total: 0 }
    }

    /// Follows a write of the log.
    pub(crate) fn follow(&mut self, write: &Write) {
        if let Some(from) = write.truncate_from {
            while self.marks.pop_back_if(|(index, _)| *index >= from).is_some() {}
            self.total = self.marks.back().map_or(self.forgotten, |(_, total)| *total);
        }
        for entry in &write.append {
            self.total += size(entry) as u64;
            let last = self.marks.back().map_or(self.forgotten, |(_, total)| *total);
            if self.total - last >= self.keep.bytes_min / MARKS {
                self.marks.push_back((entry.id.index, self.total));
            }
        }
    }

    /// Returns roughly how many bytes of entries follow `index`, of those that came since this node
    /// started.
    pub(crate) fn bytes_behind(&self, index: LogIndex) -> u64 {
        let place = self.marks.partition_point(|(at, _)| *at <= index);
        let before = place.checked_sub(1).map_or(self.forgotten, |place| self.marks[place].1);
        self.total - before
    }

    /// Returns how many bytes of entries may stay for a follower that is sent a snapshot, or fed
    /// behind one. With room on the disk, so many that only one which cannot keep up has more: its
    /// way carries less than is written, if more comes than the state has while that is sent.
    pub(crate) fn fed_bytes_max(&self, state_bytes: u64, has_room: bool) -> u64 {
        match has_room {
            true => state_bytes.max(self.keep.bytes_max).saturating_mul(FED_TIMES),
            false => self.keep.bytes_max,
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
        let mut old = self.marks.drain(..self.marks.partition_point(|(index, _)| *index <= to));
        self.forgotten = old.next_back().map_or(self.forgotten, |(_, total)| total);
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
    fn what_stays_for_who_is_fed_follows_the_state_and_the_room() {
        let limits = Keep { entries: 1_000, bytes_min: 64_000, bytes_max: 700_000 };
        let mut compaction = Compaction::new(limits);
        assert_eq!(compaction.fed_bytes_max(10, true), 1_400_000);
        assert_eq!(compaction.fed_bytes_max(1_000_000, true), 2_000_000);
        assert_eq!(compaction.fed_bytes_max(1_000_000, false), 700_000);
        let behind = |compaction: &Compaction, index| compaction.bytes_behind(LogIndex::new(index));
        assert_eq!(behind(&compaction, 0), 0);
        compaction.follow(&write(1, 100, 10_000));
        assert!((490_000..=505_000).contains(&behind(&compaction, 50)));
        assert_eq!(behind(&compaction, 100), 0);
        assert!(to(&mut compaction, 0, 100).is_some());
        assert!(behind(&compaction, 0) <= 100_000, "what is compacted does not count");
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
