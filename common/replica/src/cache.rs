//! The tail of the log in memory: what is being written, sent and applied is not read back from
//! the disk.

use std::collections::VecDeque;
use std::ops::Range;

use consensus::{Configuration, Entry, LogIndex, Payload, SnapshotMeta, Write};

/// What an entry takes in memory beside its payload, in bytes; roughly.
const ENTRY_OVERHEAD_BYTES: usize = 96;

/// The last entries of the log, bounded in bytes.
///
/// Entries that are not known to be durable are never evicted: the disk cannot serve them yet.
#[derive(Clone, Debug)]
pub(crate) struct Cache {
    entries: VecDeque<Entry>,
    bytes: usize,
    bytes_max: usize,
}

impl Cache {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { entries: VecDeque::new(), bytes: 0, bytes_max }
    }

    /// Follows a write of the log: cut, compact, then append. Behind it the log ends at `last`: one
    /// that was dropped for a snapshot ends there, whatever of it is still here.
    pub(crate) fn follow(&mut self, write: &Write, last: LogIndex) {
        if let Some(from) = write.truncate_from {
            self.cut(from);
        }
        if let Some(meta) = &write.compact_to {
            self.compact(meta);
        }
        for entry in &write.append {
            if self.entries.back().is_some_and(|last| last.id.index.next() != entry.id.index) {
                self.entries.clear();
                self.bytes = 0;
            }
            self.bytes += size(entry);
            self.entries.push_back(entry.clone());
        }
        self.cut(last.next());
    }

    fn cut(&mut self, from: LogIndex) {
        while let Some(entry) = self.entries.pop_back_if(|entry| entry.id.index >= from) {
            self.bytes -= size(&entry);
        }
    }

    /// A log that does not go on from a snapshot's last entry was dropped for it. What is merely
    /// compacted may still be waited for by the state machine.
    fn compact(&mut self, meta: &SnapshotMeta) {
        let last = meta.last;
        let Some(first) = self.entries.front().map(|entry| entry.id.index) else {
            return;
        };
        let place = usize::try_from(last.index.since(first)).ok();
        let here = place.and_then(|place| self.entries.get(place));
        if first <= last.index && here.is_none_or(|entry| entry.id != last) {
            self.entries.clear();
            self.bytes = 0;
        }
    }

    /// Makes room from the front, up to what is durable.
    pub(crate) fn evict(&mut self, durable: LogIndex) {
        while self.bytes > self.bytes_max
            && self.entries.front().is_some_and(|entry| entry.id.index <= durable)
        {
            let entry = self.entries.pop_front().expect("there is a first one");
            self.bytes -= size(&entry);
        }
    }

    /// Returns the entries of `range` from its start on, as many as fit into `bytes_max` and at
    /// least one; `None` if the first is not here.
    pub(crate) fn get(&self, range: Range<LogIndex>, bytes_max: usize) -> Option<Vec<Entry>> {
        let first = self.entries.front()?.id.index;
        if range.start < first || range.is_empty() {
            return None;
        }
        let skip = usize::try_from(range.start.since(first)).ok()?;
        let count = usize::try_from(range.end.since(range.start)).ok()?;
        let mut bytes = 0;
        let fits = |entry: &&Entry| {
            let first = bytes == 0;
            bytes += size(entry);
            first || bytes <= bytes_max
        };
        let entries: Vec<Entry> = self
            .entries
            .range(skip.min(self.entries.len())..)
            .take(count)
            .take_while(fits)
            .cloned()
            .collect();
        if entries.is_empty() { None } else { Some(entries) }
    }

    /// Says whether the entry at an index is here, and all behind it.
    pub(crate) fn has(&self, index: LogIndex) -> bool {
        self.entries.front().is_some_and(|first| first.id.index <= index)
    }

    /// Says whether all entries of a range are here and fit into `bytes_max`, or are a single one.
    pub(crate) fn fits(&self, range: Range<LogIndex>, bytes_max: usize) -> bool {
        let end = range.end;
        let entries = self.get(range, bytes_max);
        entries.and_then(|entries| entries.last().map(|last| last.id.index.next())) == Some(end)
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// Returns what an entry counts for, in bytes.
pub(crate) fn size(entry: &Entry) -> usize {
    let payload = match &entry.payload {
        Payload::Noop => 0,
        Payload::Command(bytes) => bytes.len(),
        Payload::Configuration(configuration) => configuration_bytes(configuration),
    };
    ENTRY_OVERHEAD_BYTES + payload
}

fn configuration_bytes(configuration: &Configuration) -> usize {
    configuration.members().values().map(|m| 64 + m.name.len() + m.address.len()).sum()
}

#[cfg(test)]
mod tests {
    use consensus::{EntryId, Term, WriteId};

    use super::*;

    fn write(append: &[(u64, u64)], compact_to: Option<(u64, u64)>) -> Write {
        let id = |(term, index): (u64, u64)| EntryId {
            term: Term::new(term),
            index: LogIndex::new(index),
        };
        let entry = |at: &(u64, u64)| Entry::new(id(*at), Default::default(), Payload::Noop);
        let meta = |at: (u64, u64)| SnapshotMeta {
            last: id(at),
            configuration: Configuration::unknown(),
            configuration_index: LogIndex::ZERO,
            stamp: Default::default(),
            chain: Default::default(),
        };
        Write {
            id: WriteId::new(1),
            hard_state: None,
            truncate_from: None,
            compact_to: compact_to.map(meta),
            append: append.iter().map(entry).collect(),
        }
    }

    fn held(cache: &Cache) -> Vec<u64> {
        cache.entries.iter().map(|entry| entry.id.index.get()).collect()
    }

    #[test]
    fn a_log_that_is_dropped_for_a_snapshot_leaves_nothing_here() {
        // All of it is here, or only what lies behind the snapshot's place.
        for first in 5..=8 {
            let mut cache = Cache::new(usize::MAX);
            let old: Vec<_> = (first..=9).map(|index| (2, index)).collect();
            cache.follow(&write(&old, None), LogIndex::new(9));
            cache.follow(&write(&[], Some((3, 7))), LogIndex::new(7));
            assert_eq!((held(&cache), cache.bytes()), (vec![], 0), "from {first} on");
        }
    }

    #[test]
    fn a_log_that_goes_on_behind_a_snapshot_stays_here() {
        let mut cache = Cache::new(usize::MAX);
        cache.follow(&write(&[(2, 6), (2, 7), (2, 8)], None), LogIndex::new(8));
        cache.follow(&write(&[(2, 9)], Some((2, 7))), LogIndex::new(9));
        assert_eq!(held(&cache), [6, 7, 8, 9]);
    }

    /// Entries 6 to 9, each of a payload of so many bytes.
    fn filled(bytes_max: usize, payload: usize) -> Cache {
        let mut cache = Cache::new(bytes_max);
        let mut write = write(&[(2, 6), (2, 7), (2, 8), (2, 9)], None);
        for entry in &mut write.append {
            entry.payload = Payload::Command(vec![0; payload].into());
        }
        cache.follow(&write, LogIndex::new(9));
        cache
    }

    fn range(range: Range<u64>) -> Range<LogIndex> {
        LogIndex::new(range.start)..LogIndex::new(range.end)
    }

    #[test]
    fn a_range_is_found_from_its_start_on_as_far_as_it_is_here_and_fits() {
        let (cache, one) = (filled(usize::MAX, 100), ENTRY_OVERHEAD_BYTES + 100);
        let got = |wanted: Range<u64>, bytes_max: usize| {
            let entries = cache.get(range(wanted), bytes_max)?;
            Some(entries.iter().map(|entry| entry.id.index.get()).collect::<Vec<_>>())
        };
        assert_eq!(got(6..10, usize::MAX), Some(vec![6, 7, 8, 9]));
        assert_eq!(got(7..9, usize::MAX), Some(vec![7, 8]));
        assert_eq!(got(8..20, usize::MAX), Some(vec![8, 9]), "the rest is not here yet");
        for nothing in [5..7, 10..12, 12..14, 7..7] {
            assert_eq!(got(nothing.clone(), usize::MAX), None, "{nothing:?}");
        }
        assert_eq!(got(6..10, 3 * one), Some(vec![6, 7, 8]));
        assert_eq!(got(6..10, 3 * one - 1), Some(vec![6, 7]));
        assert_eq!(got(6..10, 0), Some(vec![6]), "one in any case");
        assert!(cache.fits(range(6..10), 4 * one) && !cache.fits(range(6..10), 4 * one - 1));
        assert!(cache.fits(range(9..10), 0) && !cache.fits(range(9..11), usize::MAX));
        let has = [5, 6, 9].map(|index| cache.has(LogIndex::new(index)));
        assert_eq!((has, Cache::new(1).has(LogIndex::new(6))), ([false, true, true], false));
    }

    #[test]
    fn what_is_durable_goes_first_and_bytes_are_counted_to_the_last() {
        let one = ENTRY_OVERHEAD_BYTES + 100;
        let after = |bytes_max: usize, durable: u64| {
            let mut cache = filled(bytes_max, 100);
            assert_eq!(cache.bytes(), 4 * one);
            cache.evict(LogIndex::new(durable));
            assert_eq!(cache.bytes(), held(&cache).len() * one);
            held(&cache)
        };
        assert_eq!(after(4 * one, 9), [6, 7, 8, 9], "it is full, and not too full");
        assert_eq!(after(4 * one - 1, 9), [7, 8, 9]);
        assert_eq!(after(2 * one, 6), [7, 8, 9], "the rest is on no disk yet");
        assert_eq!(after(0, 5), [6, 7, 8, 9]);
        let mut cache = filled(usize::MAX, 100);
        let cut = Write { truncate_from: Some(LogIndex::new(8)), ..write(&[(3, 8)], None) };
        cache.follow(&cut, LogIndex::new(8));
        assert_eq!((held(&cache), cache.bytes()), (vec![6, 7, 8], 3 * one - 100));
        // What does not follow what is here takes its place.
        cache.follow(&write(&[(3, 20)], None), LogIndex::new(20));
        assert_eq!((held(&cache), cache.bytes()), (vec![20], ENTRY_OVERHEAD_BYTES));
    }

    #[test]
    fn a_configuration_counts_for_its_names_and_addresses() {
        let id = consensus::NodeId::new(1).expect("it is not 0");
        let member = |name: &str, address: &str| consensus::Member {
            incarnation: consensus::Incarnation::new(1),
            name: name.to_owned(),
            address: address.to_owned(),
        };
        let bytes = |name: &str, address: &str| {
            let voters = consensus::Voters::Stable(consensus::Majority::new([id]));
            let members = [(id, member(name, address))].into();
            let found = Configuration::new(voters, Default::default(), members);
            let payload = Payload::Configuration(found.expect("it is a cluster of one"));
            let id = EntryId { term: Term::new(1), index: LogIndex::new(1) };
            size(&Entry::new(id, Default::default(), payload))
        };
        let least = bytes("", "");
        assert!(least > ENTRY_OVERHEAD_BYTES + 32, "ids and directories take room as well");
        assert_eq!(bytes("four", ""), least + 4);
        assert_eq!(bytes("four", "seventh"), least + 11);
    }
}
