//! Changing the log: append, cut, compact (§5.1), and replace by a snapshot (figure 5.3).

use super::Core;
use crate::vocabulary::actions::Event;
use crate::vocabulary::entry::{Entry, Payload};
use crate::vocabulary::ids::{Chain, ClusterTime, EntryId, LogIndex};
use crate::vocabulary::input::SnapshotMeta;

impl Core {
    /// Appends an entry of this node's own term, which it leads.
    pub(crate) fn append_own(&mut self, stamp: ClusterTime, payload: Payload) {
        let id = EntryId { term: self.term(), index: self.log.last().index.next() };
        self.append(Entry::new(id, stamp, payload));
    }

    /// Appends to the log: identity, configuration, stamp, and the bytes for the disk.
    pub(crate) fn append(&mut self, entry: Entry) {
        self.log.append(entry.id);
        self.stamp = self.stamp.max(entry.stamp);
        if let Payload::Configuration(configuration) = &entry.payload {
            self.membership.append(entry.id.index, configuration.clone());
            self.tell(Event::Configuration { index: entry.id.index });
        }
        self.out.append.push(entry);
    }

    /// Cuts the log: `from` and all behind it give way to another leader's entries. A configuration
    /// among them is in force no longer (museum C18), and what was written of them vouches for
    /// nothing that takes their place (museum B22).
    ///
    /// # Panics
    /// If a committed entry would be cut off.
    pub(crate) fn truncate(&mut self, from: LogIndex) {
        assert!(from > self.commit(), "committed entries are never cut off (§3.6)");
        self.log.truncate(from);
        self.durability.truncate(from);
        if self.membership.index() >= from {
            self.membership.truncate(from);
            self.tell(Event::Configuration { index: self.membership.index() });
        }
        self.out.truncate(from);
    }

    /// Returns what a snapshot covers that ends at `index`; `None` where the log does not know. The
    /// term is the entry's own, never the current one (museum G8).
    pub(crate) fn snapshot_meta(&self, index: LogIndex) -> Option<SnapshotMeta> {
        let last = self.log.id(index)?;
        let (configuration_index, configuration) = self.membership.at(index).clone();
        let (stamp, chain) = (self.stamp, Chain::ZERO);
        Some(SnapshotMeta { last, configuration, configuration_index, stamp, chain })
    }

    /// Returns the snapshot that replaces the state, until it is applied.
    pub(crate) fn installing(&self) -> Option<&SnapshotMeta> {
        self.applying.installing()
    }

    /// Forgets the log up to a snapshot that is durable and covers applied entries only. One that
    /// is older than the log's base, or of which the log knows nothing, changes nothing.
    ///
    /// # Panics
    /// If the snapshot ends at an entry of another log.
    pub(crate) fn compact(&mut self, meta: &SnapshotMeta) {
        let index = meta.last.index;
        if index <= self.log.base().index || index > self.applied() {
            return;
        }
        assert!(self.log.contains(meta.last), "a snapshot ends at an entry of this log");
        self.log.compact(meta.last);
        self.membership.compact(index);
        let (configuration_index, configuration) = self.membership.at(index).clone();
        let (last, stamp, chain) = (meta.last, self.stamp, meta.chain);
        self.out.compact_to =
            Some(SnapshotMeta { last, configuration, configuration_index, stamp, chain });
    }

    /// Puts a snapshot in the place of the log up to its last entry. What follows that very entry
    /// stays; a log without it is another history's, all of it (§5, museum G3).
    pub(crate) fn install(&mut self, meta: SnapshotMeta) {
        let last = meta.last;
        let kept = self.log.contains(last);
        if kept {
            self.out.append.retain(|entry| entry.id.index > last.index);
        } else {
            self.out.append.clear();
            // Nothing of the old log, on disk or on its way, vouches for what comes now.
            self.durability.truncate(self.log.base().index.next());
        }
        self.log.compact(last);
        // The snapshot's configuration, unless one follows it in what is kept (museum G5).
        let behind = if kept { last.index } else { LogIndex::new(u64::MAX) };
        self.membership.install((meta.configuration_index, meta.configuration.clone()), behind);
        self.tell(Event::Configuration { index: self.membership.index() });
        self.stamp = self.stamp.max(meta.stamp);
        self.out.compact_to = Some(meta.clone());
        self.applying.install(meta);
    }
}
