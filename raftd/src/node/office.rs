//! A leader that cannot serve hands leadership over, though it is heard by all members and nobody
//! else would campaign.
//!
//! Nobody can connect to one whose certificate does not hold: connections outlive the certificates
//! that they were made with, so members stay, and clients, and members whose connection breaks, do
//! not get to it any more. It judges by its own clock, as it does when others connect: a clock that
//! is wrong has the same effect. One whose disk has no room takes no data, where others would.
//! Ours.

use consensus::{Input as Raw, Timestamp};
use replica::RoomLevel;

use crate::node::{HAND_OVER, Node};

/// Where the successor hands leadership back for the same reason, or does not take over, it is
/// tried again after so long.
const AGAIN_NS: u64 = 60_000_000_000;

impl Node {
    /// Begins to hand over if this node leads and cannot serve. To be called from time to time.
    pub(crate) fn leave_office(&mut self, now: Timestamp) {
        if !self.leads() || self.office_not_before.is_some_and(|time| now < time) {
            return;
        }
        let refused = self.identity.certificate_end.holds().err();
        // Where too few have room, nobody takes data.
        let is_full = self.replica.room() == RoomLevel::Short && self.replica.shortage().is_none();
        if refused.is_none() && !is_full {
            self.office_not_before = None;
            return;
        }
        let (network, replica) = (&self.network, &self.replica);
        let fits = |id| network.link(id).connected && (!is_full || replica.has_room(id));
        let Some(to) = replica.successor(now, fits) else {
            return;
        };
        self.office_not_before = Some(now.after(AGAIN_NS));
        match refused {
            Some(why) => tracing::warn!(
                name: "hands-over-certificate",
                %to,
                "this node's certificate {why} by the clock of this machine: nobody can connect to \
                 it, so leadership is handed over"
            ),
            None => tracing::warn!(
                name: "hands-over-room",
                %to,
                "there is no room for data on this node's disk, so leadership is handed over"
            ),
        }
        self.raw(now, Raw::Transfer { request: HAND_OVER, to });
    }
}
