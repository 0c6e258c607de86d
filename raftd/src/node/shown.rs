//! What a node shows to those who watch it: its state, what waits in it, what is counted, and what
//! the log says of the algorithm.

use consensus::{Event, RoleKind, Timestamp};
use protocol::{NodeStatus, Request};
use transport::Responder;

use crate::inbound::Inbound;
use crate::node::Node;
use crate::observe::board::Load;
use crate::observe::counted::Snapshot;

impl Node {
    /// Returns its state, and what waits in it.
    pub(crate) fn shown(&mut self, now: Timestamp, inbound: &Inbound) -> (NodeStatus, Load) {
        let load = Load {
            log_cache_bytes: self.replica.cache_bytes(),
            unapplied_bytes: self.replica.unapplied_bytes(),
            kept: inbound.seats.kept().to_vec(),
            waiting: self.replica.waiting(),
            requests: self.pending.count(),
            connections: inbound.seats.by_kind().into_iter().collect(),
            scrub_interval_s: self.gauges.scrubs().interval_s(),
            free_inodes: self.gauges.space().and_then(|space| space.free_inodes),
            state_bytes: self.gauges.state_bytes(),
        };
        (self.status(now), load)
    }

    /// Has a request counted when it is answered, if anybody looks at the counts.
    pub(super) fn count(&self, request: &Request, responder: Responder) -> Responder {
        match self.board.is_read() {
            true => self.board.counted_shared().watch(request, responder),
            false => responder,
        }
    }

    pub(super) fn count_snapshot(&self, snapshot: Snapshot) {
        self.board.counted().snapshots.count(&snapshot);
    }

    /// Counts messages that found no room.
    pub(super) fn drop_messages(&self, count: u64) {
        self.board.counted().dropped.inc_by(count);
    }

    /// Something happened to the algorithm.
    pub(super) fn observe(&mut self, now: Timestamp, event: &Event) {
        match event {
            Event::Role(role, term) => {
                if *role == RoleKind::Candidate {
                    self.board.counted().elections.inc();
                }
                if *role == RoleKind::Leader {
                    tracing::info!(name: "leads", %term, "this node leads");
                    self.send_notes(now);
                } else {
                    tracing::debug!(?role, %term, "role");
                }
            }
            Event::Leader(leader) => {
                self.follows(now, *leader);
                self.send_notes(now);
            }
            Event::Configuration { index } => {
                tracing::info!(name: "configuration", %index, "configuration");
            }
            Event::HandsOver { to } => {
                tracing::warn!(
                    name: "hands-over-disk",
                    %to, "handing leadership over, for this node's disk does not write"
                );
            }
            Event::Ignored { from, why } => tracing::debug!(%from, ?why, "message ignored"),
            Event::VoteRefused { by, verdict } => tracing::debug!(%by, ?verdict, "vote refused"),
        }
    }
}
