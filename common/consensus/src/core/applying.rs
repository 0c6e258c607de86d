//! The state machine's side: what is committed, what was handed out, what is applied, and the
//! snapshot that replaces the state.

use std::ops::RangeInclusive;

use crate::vocabulary::ids::{LogIndex, WriteId};
use crate::vocabulary::input::SnapshotMeta;

/// How far the state machine is, and how far it may go.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Applying {
    /// Highest index known to be committed.
    commit: LogIndex,
    /// Highest index handed to the state machine.
    handed: LogIndex,
    /// Highest index that the state machine reports as applied.
    applied: LogIndex,
    /// A snapshot of the leader's that replaces the state.
    install: Option<Install>,
}

/// A snapshot on its way into the state machine.
///
/// First the log on disk gets its new base, then the state is replaced: a crash in between finds
/// the snapshot beside a log that begins behind it, and goes on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Install {
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

impl Applying {
    /// What was applied before the start was committed.
    pub(super) fn new(applied: LogIndex) -> Self {
        Self { commit: applied, handed: applied, applied, install: None }
    }

    pub(super) fn commit(&self) -> LogIndex {
        self.commit
    }

    pub(super) fn handed(&self) -> LogIndex {
        self.handed
    }

    pub(super) fn applied(&self) -> LogIndex {
        self.applied
    }

    pub(super) fn installing(&self) -> Option<&SnapshotMeta> {
        self.install.as_ref().map(|install| &install.meta)
    }

    /// # Panics
    /// If the commit index would move back (§3.6).
    pub(super) fn commit_to(&mut self, index: LogIndex) {
        assert!(index >= self.commit, "the commit index never moves back (§3.6)");
        self.commit = index;
    }

    /// # Panics
    /// If this index was never handed out.
    pub(super) fn note_applied(&mut self, index: LogIndex) {
        assert!(index <= self.handed, "only what was handed out can be applied");
        self.applied = self.applied.max(index);
        self.install.take_if(|install| index >= install.meta.last.index);
    }

    /// Hands out what is committed *and* durable here, each index once, in order.
    pub(super) fn take_ready(&mut self, durable: LogIndex) -> Option<RangeInclusive<LogIndex>> {
        let ready = self.commit.min(durable);
        // Entries behind a snapshot follow its installation.
        let held = |install: &Install| install.stage != Stage::HandedOut;
        if self.install.as_ref().is_some_and(held) || ready <= self.handed {
            return None;
        }
        let first = self.handed.next();
        self.handed = ready;
        Some(first..=ready)
    }

    /// Begins to replace the state by a snapshot, whose effect counts as handed out from now on.
    pub(super) fn install(&mut self, meta: SnapshotMeta) {
        self.commit = meta.last.index;
        self.handed = meta.last.index;
        self.install = Some(Install { meta, stage: Stage::Decided });
    }

    /// Notes that `write` is the next one: if the log's new base waits for a write, it is in this.
    pub(super) fn written_by(&mut self, write: WriteId) {
        if let Some(install) = &mut self.install
            && install.stage == Stage::Decided
        {
            install.stage = Stage::Writing(write);
        }
    }

    /// Notes that `done` and all writes before it are on disk.
    pub(super) fn persisted(&mut self, done: WriteId) {
        if let Some(install) = &mut self.install
            && matches!(install.stage, Stage::Writing(write) if write <= done)
        {
            install.stage = Stage::Ready;
        }
    }

    /// Hands the snapshot out when the log on disk begins behind it.
    pub(super) fn take_install(&mut self) -> Option<SnapshotMeta> {
        let install = self.install.as_mut().filter(|install| install.stage == Stage::Ready)?;
        install.stage = Stage::HandedOut;
        Some(install.meta.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vocabulary::configuration::Configuration;
    use crate::vocabulary::ids::{Chain, ClusterTime, EntryId, Term};

    fn index(number: u64) -> LogIndex {
        LogIndex::new(number)
    }

    fn snapshot_to(last: u64) -> SnapshotMeta {
        SnapshotMeta {
            last: EntryId { term: Term::new(1), index: index(last) },
            configuration: Configuration::unknown(),
            configuration_index: LogIndex::ZERO,
            stamp: ClusterTime::ZERO,
            chain: Chain::ZERO,
        }
    }

    /// Entries that were handed out before may be applied meanwhile; they are not the snapshot.
    #[test]
    fn an_installation_ends_when_the_snapshot_itself_is_applied_s5() {
        let mut applying = Applying::new(index(2));
        applying.commit_to(index(4));
        assert_eq!(applying.take_ready(index(4)), Some(index(3)..=index(4)));
        applying.install(snapshot_to(9));
        applying.written_by(WriteId::new(1));
        assert_eq!(applying.take_install(), None, "the log's new base is not on disk");
        applying.persisted(WriteId::new(1));
        assert_eq!(applying.take_install(), Some(snapshot_to(9)));
        applying.note_applied(index(4));
        assert_eq!(applying.installing(), Some(&snapshot_to(9)));
        applying.note_applied(index(9));
        assert_eq!((applying.installing(), applying.applied()), (None, index(9)));
    }
}
