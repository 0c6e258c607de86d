//! A modelled log: entries behind a base, as the disk has them and as the replica believes them.

use std::ops::Range;

use consensus::{
    Chain, Configuration, Entry, EntryId, LogIndex, LogView, Membership, Payload, SnapshotMeta,
    TermRun, Write,
};

/// Entries behind what was compacted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Log {
    /// What the log begins behind, with the configuration there; `None` while it is whole.
    base: Option<SnapshotMeta>,
    entries: Vec<Entry>,
}

impl Log {
    pub(crate) fn new(entries: Vec<Entry>) -> Self {
        Self { base: None, entries }
    }

    /// Follows a write: cut, compact, append. A log that does not hold the new base's very entry
    /// is deleted whole.
    pub(crate) fn follow(&mut self, write: &Write) {
        if let Some(from) = write.truncate_from {
            self.truncate(from);
        }
        if let Some(meta) = &write.compact_to {
            let mut meta = meta.clone();
            if self.id(meta.last.index) == Some(meta.last) {
                meta.chain = self.chain(meta.last.index);
                self.forget_to(meta.last.index);
            } else {
                self.entries.clear();
            }
            self.base = Some(meta);
        }
        self.entries.extend(write.append.iter().cloned());
    }

    pub(crate) fn append(&mut self, entry: Entry) {
        self.entries.push(entry);
    }

    pub(crate) fn truncate(&mut self, from: LogIndex) {
        let keep = from.get().saturating_sub(self.base().index.get() + 1);
        self.entries.truncate(usize::try_from(keep).expect("a log fits into memory"));
    }

    fn forget_to(&mut self, index: LogIndex) {
        let gone = index.get().saturating_sub(self.base().index.get());
        let gone = usize::try_from(gone).expect("a log fits into memory");
        self.entries.drain(..gone.min(self.entries.len()));
    }

    pub(crate) fn base(&self) -> EntryId {
        self.base.as_ref().map_or(EntryId::ZERO, |meta| meta.last)
    }

    pub(crate) fn base_meta(&self) -> Option<&SnapshotMeta> {
        self.base.as_ref()
    }

    pub(crate) fn last(&self) -> EntryId {
        self.entries.last().map_or(self.base(), |entry| entry.id)
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Returns the entry at an index, unless it is compacted or never was.
    pub(crate) fn get(&self, index: LogIndex) -> Option<&Entry> {
        let place = index.get().checked_sub(self.base().index.get() + 1)?;
        self.entries.get(usize::try_from(place).ok()?)
    }

    /// Returns what stands at an index, where the log still knows it.
    pub(crate) fn id(&self, index: LogIndex) -> Option<EntryId> {
        if index == self.base().index { Some(self.base()) } else { Some(self.get(index)?.id) }
    }

    /// Returns the chain value of an entry, or of what the log begins behind; 0 if neither is here.
    pub(crate) fn chain(&self, index: LogIndex) -> Chain {
        let base = self.base.as_ref().filter(|meta| meta.last.index == index);
        let entry = self.get(index).map(|entry| entry.chain);
        entry.or(base.map(|meta| meta.chain)).unwrap_or_default()
    }

    /// Returns the entries of a range, if the log holds them all.
    pub(crate) fn range(&self, range: Range<LogIndex>) -> Option<&[Entry]> {
        let first = range.start.get().checked_sub(self.base().index.get() + 1)?;
        let end = range.end.get().checked_sub(self.base().index.get() + 1)?;
        self.entries.get(usize::try_from(first).ok()?..usize::try_from(end).ok()?)
    }

    /// Returns the configuration in force, as the log alone says it: the latest in it (§4.1).
    pub(crate) fn configuration(&self) -> (LogIndex, Option<&Configuration>) {
        self.configuration_before(self.last().index.next())
    }

    /// Returns the latest configuration before an index.
    pub(crate) fn configuration_before(&self, end: LogIndex) -> (LogIndex, Option<&Configuration>) {
        for entry in self.entries.iter().rev().skip_while(|entry| entry.id.index >= end) {
            if let Payload::Configuration(configuration) = &entry.payload {
                return (entry.id.index, Some(configuration));
            }
        }
        let base = self.base.as_ref();
        (
            base.map_or(LogIndex::ZERO, |meta| meta.configuration_index),
            base.map(|meta| &meta.configuration),
        )
    }

    /// Returns the log without its bytes, as a restarted replica takes it.
    pub(crate) fn view(&self) -> Option<LogView> {
        let mut runs: Vec<TermRun> = Vec::new();
        for entry in &self.entries {
            if runs.last().is_none_or(|run| run.term < entry.id.term) {
                runs.push(TermRun { term: entry.id.term, first: entry.id.index });
            }
        }
        LogView::restore(self.base(), runs, self.last().index)
    }

    /// Returns the configurations, as a restarted replica takes them.
    pub(crate) fn membership(&self) -> Option<Membership> {
        let in_log = |entry: &Entry| match &entry.payload {
            Payload::Configuration(configuration) => Some((entry.id.index, configuration.clone())),
            Payload::Noop | Payload::Command(_) => None,
        };
        let base = self.base.as_ref();
        let base = base.map_or((LogIndex::ZERO, Configuration::unknown()), |meta| {
            (meta.configuration_index, meta.configuration.clone())
        });
        Membership::restore(base, self.entries.iter().filter_map(in_log).collect())
    }
}
