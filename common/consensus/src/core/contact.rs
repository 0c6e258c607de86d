//! Which leader was heard from, and when: with leases on, that leader may hold a lease of this
//! voter's making (§6.4.1).
//!
//! A voter stands by such a leader until the lease has run out by its own clock, whatever else it
//! hears meanwhile. A newer term does not end it, nor does a restart: after that, the voter sits
//! out the time of one lease (museum F7). Only an election that the leader itself asked for (§3.10)
//! does not wait.

use crate::vocabulary::ids::{NodeId, Timestamp};

/// What a voter remembers of leaders.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Contact {
    /// When this node started. What it granted before, it does not remember.
    started: Timestamp,
    /// The leader that was last heard from, and when. If this node led since: itself, and when it
    /// last heard from a quorum.
    last: Option<(NodeId, Timestamp)>,
}

impl Contact {
    pub(super) fn new(started: Timestamp) -> Self {
        Self { started, last: None }
    }

    pub(super) fn note(&mut self, leader: NodeId, when: Timestamp) {
        self.last = Some((leader, when));
    }

    pub(super) fn when(&self) -> Option<Timestamp> {
        self.last.map(|(_, when)| when)
    }

    /// Returns when a leader was last heard of; if none was, when this node started.
    pub(super) fn latest(&self) -> Timestamp {
        self.when().unwrap_or(self.started)
    }

    /// Says whether another leader than `candidate` or this node itself, `own`, was heard from less
    /// than `held_ns` ago.
    pub(super) fn stands_by(
        &self,
        now: Timestamp,
        own: NodeId,
        candidate: Option<NodeId>,
        held_ns: u64,
    ) -> bool {
        self.last.is_some_and(|(leader, heard)| {
            leader != own && Some(leader) != candidate && now.since(heard) < held_ns
        })
    }

    /// Says whether this node started less than `held_ns` ago.
    pub(super) fn sits_out(&self, now: Timestamp, held_ns: u64) -> bool {
        now.since(self.started) < held_ns
    }
}
