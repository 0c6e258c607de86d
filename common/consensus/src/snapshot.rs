//! Log compaction behind a durable snapshot (§5.1).

use crate::input::SnapshotMeta;
use crate::raft::Raft;

impl Raft {
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
        self.out.compact_to = Some(meta.last);
    }
}
