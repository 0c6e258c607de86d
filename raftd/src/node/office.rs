//! A leader to whom nobody can connect hands leadership over.
//!
//! Connections outlive the certificates that they were made with, so such a leader is heard by all
//! members and nobody else would campaign; clients, and members whose connection breaks, do not get
//! to it any more. It judges by its own clock, as it does when others connect: a clock that is
//! wrong has the same effect. Ours.

use consensus::{Input as Raw, Timestamp};

use crate::node::{HAND_OVER, Node};

/// Where the successor hands leadership back for the same reason, or does not take over, it is
/// tried again after so long.
const AGAIN_NS: u64 = 60_000_000_000;

impl Node {
    /// Begins to hand over if this node leads and its certificate does not hold. To be called from
    /// time to time.
    pub(crate) fn leave_office_without_certificate(&mut self, now: Timestamp) {
        if !self.leads() || self.office_not_before.is_some_and(|time| now < time) {
            return;
        }
        let Err(why) = self.identity.certificate_end.holds() else {
            self.office_not_before = None;
            return;
        };
        let is_connected = |id| self.network.link(id).connected;
        let Some(to) = self.replica.successor(now, is_connected) else {
            return;
        };
        self.office_not_before = Some(now.after(AGAIN_NS));
        tracing::warn!(
            name: "hands-over-certificate",
            %to,
            "this node's certificate {why} by the clock of this machine: nobody can connect to it, \
             so leadership is handed over"
        );
        self.raw(now, Raw::Transfer { request: HAND_OVER, to });
    }
}
