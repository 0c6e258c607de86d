//! Scenarios that random faults bring about too seldom, and how far each is: an order to campaign
//! that arrives when another node campaigns already; a leader that is alone with its lease while
//! the voters that granted it restart; a leader that is alone with its lease, stands still or not,
//! and is asked meanwhile; a leader that hands over and receives the answers late; and the one of
//! figure 3.7. None of them breaks anything in a correct replica.
//!
//! They draw from a generator of their own, so that a seed without them runs as if there were none.

use consensus::{Body, Message, NodeId, Outgoing, Term, Timestamp};
use replica::Lanes;

use crate::faults::Profile;
use crate::rng::Rng;

/// The scenarios of one seed, but for that of figure 3.7.
#[derive(Debug)]
pub(crate) struct Scenarios {
    pub(crate) rng: Rng,
    /// Of a thousand orders to campaign, so many are followed by a crash of the leader.
    pub(crate) last_orders: u64,
    /// Of a thousand faults, so many begin the scenario of the lease.
    pub(crate) leases: u64,
    /// An order of a leader that crashed, under way.
    pub(crate) order: Option<(NodeId, usize, Message)>,
    /// This node dies with the present step.
    pub(crate) doomed: Option<usize>,
    pub(crate) lease: Option<Lease>,
    /// Of a thousand leaders that hand over, so many receive all messages late.
    pub(crate) delays: u64,
    /// Of a thousand faults, so many leave a leader alone with its lease.
    pub(crate) alone_often: u64,
    /// A leader that is alone and is asked meanwhile, and until when.
    pub(crate) alone: Option<(usize, Timestamp)>,
    /// Whether a node that was removed ends, and its id is never used again.
    pub(crate) removed_end: bool,
    /// The node that receives nothing, and until when.
    pub(crate) delayed: Option<(usize, Timestamp)>,
}

/// A leader that is to be alone with its lease.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lease {
    pub(crate) leader: usize,
    /// Hears nothing from the leader, so that it campaigns.
    pub(crate) challenger: usize,
    pub(crate) stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Clients pause, and the challenger catches up.
    Quiet,
    /// The challenger hears nothing from the leader.
    Apart,
    /// The voters that granted the lease have restarted, and the leader is cut off.
    Alone,
    /// The challenger leads.
    Lost,
}

/// What scenarios wait for, as seen in one step.
pub(crate) struct Trigger {
    /// The node campaigns in this term.
    pub(crate) campaigns: Option<Term>,
    /// It asks whether it could win.
    pub(crate) asks: bool,
}

impl Trigger {
    pub(crate) fn of(id: NodeId, lanes: &Lanes) -> Self {
        let hard_state = lanes.write.as_ref().and_then(|write| write.hard_state);
        let asks = lanes.send.iter().any(|send| match send {
            Outgoing::Message { message, .. } => {
                matches!(message.body, Body::RequestPreVote { .. })
            }
            Outgoing::Entries { .. } | Outgoing::Snapshot { .. } => false,
        });
        Self {
            campaigns: hard_state
                .filter(|h| h.vote.is_some_and(|vote| vote.candidate == id))
                .map(|h| h.term),
            asks,
        }
    }
}

impl Scenarios {
    pub(crate) fn draw(seed: u64, profile: &Profile) -> Self {
        let mut rng = Rng::new(seed ^ 0x706c_6f74);
        let last_orders = if rng.permille(300) { rng.between(20, 300) } else { 0 };
        let leases = if rng.permille(400) { rng.between(20, 300) } else { 0 };
        let leases = if profile.lease_ppm.is_some() { leases } else { 0 };
        let delays = if rng.permille(300) { rng.between(20, 500) } else { 0 };
        let removed_end = rng.permille(500);
        let alone_often = if rng.permille(500) { rng.between(20, 200) } else { 0 };
        let alone_often = if profile.lease_ppm.is_some() { alone_often } else { 0 };
        Self {
            rng,
            last_orders,
            leases,
            order: None,
            doomed: None,
            lease: None,
            delays,
            alone_often,
            alone: None,
            removed_end,
            delayed: None,
        }
    }

    /// Ends all scenarios for the rest of the run.
    pub(crate) fn stop(&mut self) {
        (self.last_orders, self.leases, self.delays, self.alone_often) = (0, 0, 0, 0);
        (self.order, self.lease, self.delayed, self.alone) = (None, None, None, None);
    }
}

/// How far the scenario of figure 3.7 is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Figure37 {
    /// Not begun.
    None,
    /// This leader is cut off with entries of its own.
    Cut { leader: NodeId },
    /// This node died as it was elected, with an entry that nobody else has.
    Between { second: NodeId },
    /// Another leads, and dies in so many steps.
    Led { leader: NodeId, second: NodeId, steps: u64 },
}
