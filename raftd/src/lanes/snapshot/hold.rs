//! What a leader's log keeps for a peer that was sent a snapshot.

use std::collections::BTreeMap;

use consensus::{LogIndex, NodeId, Timestamp};

/// The log behind a snapshot stays for no longer than this after its transfer: a peer that has not
/// caught up by then, or not come back for the rest of what broke, needs another snapshot.
const HOLD_NS: u64 = 60_000_000_000;

/// What stays for one peer.
#[derive(Clone, Copy, Debug)]
struct Hold {
    /// The snapshot's last entry.
    last: LogIndex,
    /// The end of the log when the transfer ended: it stays until the peer has got there.
    goal: LogIndex,
    until: Timestamp,
}

/// What stays for peers whose transfer has ended.
#[derive(Debug, Default)]
pub(super) struct Holds(BTreeMap<NodeId, Hold>);

impl Holds {
    /// Keeps what follows `last` for this peer, instead of what followed an earlier snapshot, until
    /// it has the log up to `goal`.
    pub(super) fn hold(&mut self, now: Timestamp, peer: NodeId, last: LogIndex, goal: LogIndex) {
        self.0.insert(peer, Hold { last, goal, until: now.after(HOLD_NS) });
    }

    /// Returns behind which entry the log must stay, if peers have the log up to `matched`.
    pub(super) fn floor(
        &mut self,
        now: Timestamp,
        matched: impl Fn(NodeId) -> LogIndex,
    ) -> Option<LogIndex> {
        self.0.retain(|peer, hold| hold.until > now && matched(*peer) < hold.goal);
        self.0.values().map(|hold| hold.last).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_behind_a_snapshot_stays_until_the_peer_has_caught_up_and_not_for_ever() {
        let mut holds = Holds::default();
        let node = |id| NodeId::new(id).expect("not 0");
        let at = LogIndex::new;
        let (peer, other, begin) = (node(2), node(3), Timestamp::new(5));
        let almost = begin.after(HOLD_NS - 1);
        assert_eq!(holds.floor(begin, |_| at(0)), None);
        holds.hold(begin, peer, at(40), at(60));
        assert_eq!(holds.floor(almost, |_| at(59)), Some(at(40)), "it is fed from there");
        holds.hold(almost, other, at(50), at(60));
        let caught_up = |id| if id == peer { at(60) } else { at(50) };
        assert_eq!(holds.floor(almost, caught_up), Some(at(50)), "the first has all of it");
        holds.hold(almost, other, at(90), at(95));
        assert_eq!(holds.floor(almost, |_| at(0)), Some(at(90)), "the newest snapshot counts");
        assert_eq!(holds.floor(almost.after(HOLD_NS), |_| at(0)), None);
    }
}
