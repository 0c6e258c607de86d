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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_voter_stands_by_another_leader_until_its_lease_has_run_out_s6_4_1() {
        let [own, leader, other] = [1, 2, 3].map(|number| NodeId::new(number).expect("not 0"));
        let stands_by = |heard: Option<NodeId>, now, candidate| {
            let mut contact = Contact::new(Timestamp::ZERO);
            if let Some(heard) = heard {
                contact.note(heard, Timestamp::new(1_000));
            }
            contact.stands_by(Timestamp::new(now), own, candidate, 100)
        };
        assert!(stands_by(Some(leader), 1_099, Some(other)));
        assert!(stands_by(Some(leader), 1_099, None), "another directory under the leader's id");
        assert!(!stands_by(Some(leader), 1_100, Some(other)), "its lease has run out");
        assert!(!stands_by(Some(leader), 1_099, Some(leader)), "it stands for election itself");
        assert!(
            !stands_by(Some(own), 1_099, Some(other)),
            "this node led, and knows that it is over"
        );
        assert!(!stands_by(None, 1_099, Some(other)), "no leader was heard of");
    }

    #[test]
    fn a_restarted_voter_sits_out_the_time_of_one_lease_s6_4_1_museum_f7() {
        let contact = Contact::new(Timestamp::new(1_000));
        assert!(contact.sits_out(Timestamp::new(1_099), 100));
        assert!(!contact.sits_out(Timestamp::new(1_100), 100));
    }
}
