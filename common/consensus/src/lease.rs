//! Leases (§6.4.1): reads without a round of heartbeats, as long as the clocks keep their promise.
//!
//! Whoever answers a leader's round stands by that leader for one minimum election timeout from
//! when it heard of the round, which was not before the round was sent. So until that timeout has
//! passed since then, and a little less for clocks that run apart, a quorum elects nobody else.
//!
//! What a voter has lent it keeps by the clock, whatever else it hears meanwhile: a newer term does
//! not end it, nor does a restart, after which the node sits out one such timeout (museum F7). Only
//! an election that the leader itself asked for (§3.10) does not wait; that leader then serves no
//! read by its lease for the rest of its term (museum E10).

use crate::config::Config;
use crate::ids::{NodeId, Timestamp};
use crate::raft::Raft;

const MILLION: u64 = 1_000_000;

impl Config {
    /// Returns how long a lease lasts by the leader's clock, in nanoseconds; `None` if they are
    /// off. In the worst case its clock is late by the error, and a voter's early by as much.
    pub(crate) fn lease_ns(&self) -> Option<u64> {
        let error = u64::from(self.lease_clock_error_ppm?);
        let (late, early) = (MILLION - error.min(MILLION), MILLION + error);
        let held = u128::from(self.election_timeout_ns.start) * u128::from(late);
        Some(u64::try_from(held / u128::from(early)).expect("it is less than the timeout"))
    }
}

impl Raft {
    /// Returns until when this node may serve reads without asking anybody; `None` if it may not:
    /// leases are off, it does not lead, nothing of its term is committed (museum F1), it has told
    /// a successor to campaign, or no quorum has answered yet.
    pub fn lease_until(&self) -> Option<Timestamp> {
        let lease_ns = self.config.lease_ns()?;
        let leader = self.role.leader()?;
        if !self.may_read() || leader.handed_over {
            return None;
        }
        let sent = leader.reads.sent_at(self.quorum_round())?;
        Some(sent.after(lease_ns))
    }

    /// Says whether this node stands by a leader other than `candidate`, which may hold a lease of
    /// its making.
    pub(crate) fn stands_by(&self, now: Timestamp, candidate: NodeId) -> bool {
        let Some((leader, heard)) = self.contact.filter(|_| self.lends()) else {
            return false;
        };
        let own = leader == self.id || leader == candidate;
        !own && now.since(heard) < self.config.election_timeout_ns.start
    }

    /// Says whether this node started so lately that a lease of its making may still run, of which
    /// it knows nothing.
    pub(crate) fn sits_out(&self, now: Timestamp) -> bool {
        self.lends() && now.since(self.started) < self.config.election_timeout_ns.start
    }

    fn lends(&self) -> bool {
        self.config.lease_clock_error_ppm.is_some()
    }
}
