//! What does not move though it should: for how long the commit index, the state machine or a
//! peer's log has stood still. Looked at once a second, and whenever somebody asks.

use std::collections::BTreeMap;

use consensus::{LogIndex, NodeId, Status, Timestamp};

/// Since when each stands where it is.
#[derive(Debug, Default)]
pub(crate) struct Stalls {
    commit: Mark,
    applied: Mark,
    peers: BTreeMap<NodeId, Mark>,
}

/// A place in the log, and since when it is known to be the same.
#[derive(Clone, Copy, Debug, Default)]
struct Mark {
    at: LogIndex,
    since: Timestamp,
    behind: bool,
}

impl Stalls {
    /// Looks at a replica.
    pub(crate) fn look(&mut self, now: Timestamp, status: &Status<'_>) {
        self.commit.look(now, status.commit, status.last.index);
        self.applied.look(now, status.applied, status.commit);
        self.peers.retain(|id, _| status.peers.iter().any(|peer| peer.id == *id));
        for peer in &status.peers {
            let mark = self.peers.entry(peer.id).or_insert(Mark { since: now, ..Mark::default() });
            mark.look(now, peer.matched, status.last.index);
        }
    }

    /// Returns for how long the commit index has stood still, in milliseconds.
    pub(crate) fn commit_ms(&self, now: Timestamp) -> Option<u64> {
        self.commit.ms(now)
    }

    /// Returns for how long nothing was applied, in milliseconds.
    pub(crate) fn applied_ms(&self, now: Timestamp) -> Option<u64> {
        self.applied.ms(now)
    }

    /// Returns for how long a peer has acknowledged nothing new, in milliseconds.
    pub(crate) fn peer_ms(&self, now: Timestamp, peer: NodeId) -> Option<u64> {
        self.peers.get(&peer)?.ms(now)
    }
}

impl Mark {
    fn look(&mut self, now: Timestamp, at: LogIndex, goal: LogIndex) {
        if at != self.at || at >= goal {
            (self.at, self.since) = (at, now);
        }
        self.behind = at < goal;
    }

    fn ms(&self, now: Timestamp) -> Option<u64> {
        self.behind.then(|| now.since(self.since) / 1_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: u64) -> Timestamp {
        Timestamp::new(second * 1_000_000_000)
    }

    #[test]
    fn only_what_is_behind_and_stands_still_is_stalled() {
        let mut mark = Mark::default();
        let index = LogIndex::new;
        mark.look(at(1), index(5), index(5));
        assert_eq!(mark.ms(at(9)), None, "all is done");
        mark.look(at(2), index(5), index(9));
        assert_eq!(mark.ms(at(4)), Some(3_000));
        mark.look(at(5), index(6), index(9));
        assert_eq!(mark.ms(at(5)), Some(0), "it moves");
        mark.look(at(8), index(6), index(10));
        assert_eq!(mark.ms(at(8)), Some(3_000), "more to do is no progress");
    }
}
