//! Leases (§6.4.1): reads without a round of heartbeats, as long as the clocks keep their promise.
//!
//! A voter that answers a leader's round stands by that leader for one minimum election timeout
//! from when it heard of the round, which was not before the round was sent. So until that timeout
//! has passed since then, and a little less for clocks that run apart, a quorum elects nobody else.
//! Only an election that the leader itself asked for (§3.10) does not wait; that leader then serves
//! no read by its lease for the rest of its term (museum E10).

use super::Leader;
use crate::core::Core;
use crate::rules::reads;
use crate::vocabulary::ids::Timestamp;

impl Leader {
    /// Returns until when this leader may serve reads without asking anybody; `None` if it may not:
    /// leases are off, nothing of its term is committed (museum F1), it has told a successor to
    /// campaign, or no quorum has answered yet.
    pub(crate) fn lease_until(&self, core: &Core) -> Option<Timestamp> {
        let clock_error_ppm = core.config().lease_clock_error_ppm?;
        if !self.may_read(core) || self.handed_over {
            return None;
        }
        let sent = self.reads.sent_at(self.quorum_round(core))?;
        Some(reads::lease_until(sent, core.patience_ns(), clock_error_ppm))
    }
}
