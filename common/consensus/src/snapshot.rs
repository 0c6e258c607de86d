//! Snapshots (§5): the log is compacted behind a durable state (§5.1), and a follower that needs
//! compacted entries takes over its leader's state (figure 5.3).

use crate::actions::Ignored;
use crate::ids::{EntryId, LogIndex, NodeId, ReadRound, Term, Timestamp, WriteId};
use crate::input::SnapshotMeta;
use crate::message::Body;
use crate::raft::Raft;
use crate::receive::{NUMBER_MAX, TERM_JUMP_MAX};

/// A snapshot on its way into the state machine.
///
/// First the log on disk gets its new base, then the state is replaced: a crash in between finds
/// the snapshot beside a log that begins behind it, and goes on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Install {
    meta: SnapshotMeta,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Stage {
    /// The log's new base is in no write yet.
    Decided,
    /// This write carries it.
    Writing(WriteId),
    /// The log is ready for it.
    Ready,
    /// The state machine has it.
    HandedOut,
}

impl Install {
    /// Says whether the state machine does not have it yet.
    pub(crate) fn is_held(&self) -> bool {
        self.stage != Stage::HandedOut
    }

    pub(crate) fn is_applied(&self, index: LogIndex) -> bool {
        index >= self.meta.last.index
    }

    pub(crate) fn written_by(&mut self, write: WriteId) {
        if self.stage == Stage::Decided {
            self.stage = Stage::Writing(write);
        }
    }

    pub(crate) fn persisted(&mut self, done: WriteId) {
        if matches!(self.stage, Stage::Writing(write) if write <= done) {
            self.stage = Stage::Ready;
        }
    }
}

impl Raft {
    /// Returns what a snapshot covers that ends at `index`; `None` where the log does not know.
    pub fn snapshot_meta(&self, index: LogIndex) -> Option<SnapshotMeta> {
        let last = self.log.id(index)?;
        let (configuration_index, configuration) = self.membership.at(index).clone();
        Some(SnapshotMeta { last, configuration, configuration_index, stamp: self.stamp })
    }

    /// Returns the snapshot that replaces the state, until it is applied.
    pub fn installing(&self) -> Option<&SnapshotMeta> {
        self.install.as_ref().map(|install| &install.meta)
    }

    /// Forgets the log up to a snapshot that is durable and covers applied entries only. One that
    /// is older than the log's base, or of which the log knows nothing, changes nothing.
    pub(crate) fn compact(&mut self, meta: &SnapshotMeta) {
        let index = meta.last.index;
        if index <= self.log.base().index || index > self.applied {
            return;
        }
        // The term is the entry's own, never the current one (museum G8).
        assert!(self.log.contains(meta.last), "a snapshot ends at an entry of this log");
        self.log.compact(meta.last);
        self.membership.compact(index);
        let (configuration_index, configuration) = self.membership.at(index).clone();
        let stamp = self.stamp;
        let last = meta.last;
        self.out.compact_to =
            Some(SnapshotMeta { last, configuration, configuration_index, stamp });
    }

    /// Takes a leader's snapshot, which is durable here (figure 5.3). What is committed here
    /// already is confirmed and not installed; one of an older term is ignored.
    pub(crate) fn on_snapshot(
        &mut self,
        now: Timestamp,
        from: NodeId,
        term: Term,
        meta: SnapshotMeta,
    ) {
        if !self.is_plausible(term, &meta) || from == self.id {
            self.ignore(from, Ignored::Malformed);
            return;
        }
        if term > self.term() {
            self.follow(now, term, None);
        }
        if term < self.term() || self.install.is_some() {
            return;
        }
        if !self.heed(now, from) {
            self.ignore(from, Ignored::Malformed);
            return;
        }
        let last = meta.last;
        if last.index > self.commit {
            self.install(meta);
        }
        self.promise(from, Body::SnapshotInstalled { last });
    }

    fn is_plausible(&self, term: Term, meta: &SnapshotMeta) -> bool {
        let known = self.term().get().saturating_add(TERM_JUMP_MAX).min(NUMBER_MAX);
        term.get() <= known
            && meta.last.term <= term
            && meta.last.index.get() <= NUMBER_MAX
            && meta.configuration_index <= meta.last.index
    }

    /// Puts a snapshot in the place of the log up to its last entry. What follows that very entry
    /// stays; a log without it is another history's, all of it (§5, museum G3).
    fn install(&mut self, meta: SnapshotMeta) {
        let last = meta.last;
        if self.log.contains(last) {
            self.out.append.retain(|entry| entry.id.index > last.index);
        } else {
            self.out.append.clear();
            // Nothing of the old log, on disk or on its way, vouches for what comes now.
            self.durability.truncate(self.log.base().index.next());
        }
        let kept = self.log.contains(last);
        self.log.compact(last);
        // The snapshot's configuration, unless one follows it in what is kept (museum G5).
        let behind = if kept { last.index } else { LogIndex::new(u64::MAX) };
        self.membership.install((meta.configuration_index, meta.configuration.clone()), behind);
        let index = self.membership.index();
        self.out.event.push(crate::Event::Configuration { index });
        self.commit = last.index;
        self.handed = last.index;
        self.stamp = self.stamp.max(meta.stamp);
        self.out.compact_to = Some(meta.clone());
        self.install = Some(Install { meta, stage: Stage::Decided });
    }

    /// Hands the snapshot out when the log on disk begins behind it.
    pub(crate) fn take_install(&mut self) -> Option<SnapshotMeta> {
        let install = self.install.as_mut().filter(|install| install.stage == Stage::Ready)?;
        install.stage = Stage::HandedOut;
        Some(install.meta.clone())
    }

    /// A follower holds a snapshot up to `last` on its disk, and with it all that was before.
    pub(crate) fn on_snapshot_installed(&mut self, now: Timestamp, from: NodeId, last: EntryId) {
        let agrees = self.log.term(last.index).is_none_or(|term| term == last.term);
        let end = self.log.last().index;
        let sound = agrees && last.index <= end;
        if let Some(progress) = self.heard_from(now, from, sound, ReadRound::ZERO) {
            progress.acknowledge(last.index, end, now);
        }
    }
}
