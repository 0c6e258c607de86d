//! What a leader's log keeps for a peer that was sent a snapshot.

use std::collections::BTreeMap;

use consensus::{LogIndex, NodeId, Timestamp};

/// For so long after a transfer the log behind its snapshot stays: the peer is fed from there, or
/// comes back for the rest if it broke. Then it needs another snapshot.
const HOLD_NS: u64 = 60_000_000_000;

/// The last entries of snapshots whose transfer has ended, and until when what follows stays.
#[derive(Debug, Default)]
pub(super) struct Holds(BTreeMap<NodeId, (LogIndex, Timestamp)>);

impl Holds {
    /// Keeps what follows `last` for this peer, instead of what followed an earlier snapshot.
    pub(super) fn hold(&mut self, now: Timestamp, peer: NodeId, last: LogIndex) {
        self.0.insert(peer, (last, now.after(HOLD_NS)));
    }

    /// Returns behind which entry the log must stay.
    pub(super) fn floor(&mut self, now: Timestamp) -> Option<LogIndex> {
        self.0.retain(|_, (_, until)| *until > now);
        self.0.values().map(|(last, _)| *last).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_behind_a_snapshot_stays_for_a_while_and_not_for_ever() {
        let mut holds = Holds::default();
        let node = |id| NodeId::new(id).expect("not 0");
        let (peer, other, begin) = (node(2), node(3), Timestamp::new(5));
        assert_eq!(holds.floor(begin), None);
        holds.hold(begin, peer, LogIndex::new(40));
        let almost = begin.after(HOLD_NS - 1);
        assert_eq!(holds.floor(almost), Some(LogIndex::new(40)), "it is fed from there");
        holds.hold(almost, other, LogIndex::new(70));
        assert_eq!(holds.floor(begin.after(HOLD_NS)), Some(LogIndex::new(70)));
        holds.hold(almost, other, LogIndex::new(90));
        assert_eq!(holds.floor(begin.after(HOLD_NS)), Some(LogIndex::new(90)), "the newest counts");
        assert_eq!(holds.floor(almost.after(HOLD_NS)), None);
    }
}
