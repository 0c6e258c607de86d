//! The tail of the log in memory: what is being written, sent and applied is not read back from
//! the disk.

use std::collections::VecDeque;
use std::ops::Range;

use consensus::{Configuration, Entry, LogIndex, Payload, SnapshotMeta};

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

    /// Follows a write of the log: cut, compact, then append.
    pub(crate) fn follow(
        &mut self,
        truncate_from: Option<LogIndex>,
        compact_to: Option<&SnapshotMeta>,
        append: &[Entry],
    ) {
        if let Some(from) = truncate_from {
            while self.entries.back().is_some_and(|entry| entry.id.index >= from) {
                let entry = self.entries.pop_back().expect("there is a last one");
                self.bytes -= size(&entry);
            }
        }
        if let Some(meta) = compact_to {
            self.compact(meta);
        }
        for entry in append {
            if self.entries.back().is_some_and(|last| last.id.index.next() != entry.id.index) {
                self.entries.clear();
                self.bytes = 0;
            }
            self.bytes += size(entry);
            self.entries.push_back(entry.clone());
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
