//! Which leader was heard from, and when: with leases on, what this node's vote is lent to.
//!
//! What a voter has lent it keeps by the clock, whatever else it hears meanwhile: a newer term does
//! not end it, nor does a restart, after which the node sits out as long (museum F7). Only an
//! election that the leader itself asked for (§3.10) does not wait.

use crate::vocabulary::ids::{NodeId, Timestamp};

/// The memory of a voter that lends leases (§6.4.1).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Contact {
    /// When this node started: it does not remember to which leader it lent its vote before.
    started: Timestamp,
    /// The leader that was last heard from, and when; for a leader of old, when it last heard from
    /// a quorum.
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

    /// Says whether another leader than `candidate` or this node itself, `own`, was heard from less
    /// than `held_ns` ago.
    pub(super) fn stands_by(
        &self,
        now: Timestamp,
        own: NodeId,
        candidate: NodeId,
        held_ns: u64,
    ) -> bool {
        self.last.is_some_and(|(leader, heard)| {
            leader != own && leader != candidate && now.since(heard) < held_ns
        })
    }

    /// Says whether this node started less than `held_ns` ago.
    pub(super) fn sits_out(&self, now: Timestamp, held_ns: u64) -> bool {
        now.since(self.started) < held_ns
    }
}
