//! Conjunctions that chance brings about too seldom: an order to campaign that comes when another
//! node campaigns already; a leader that is alone with its lease while those who made it restart;
//! and one that hands over, and hears late of what came of it. Like the trap, they break nothing in
//! a sound replica.
//!
//! They have a source of chance of their own, so that a seed without them runs as if there were
//! none.

use consensus::{Body, Message, NodeId, Outgoing, Term, Timestamp};
use replica::Lanes;

use crate::chance::Chance;
use crate::faults::Profile;

/// What is being plotted.
#[derive(Debug)]
pub(crate) struct Plots {
    pub(crate) chance: Chance,
    /// Of a thousand orders to campaign, so many are a leader's last words.
    pub(crate) last_words: u64,
    /// Of a thousand faults, so many come with a leader that is to be alone with its lease.
    pub(crate) leases: u64,
    /// The last words of a leader, on their way.
    pub(crate) order: Option<(NodeId, usize, Message)>,
    /// This node dies with the present step.
    pub(crate) doomed: Option<usize>,
    pub(crate) lease: Option<Lease>,
    /// Of a thousand leaders that hand over, so many hear nothing for a while, and then all of it.
    pub(crate) muffles: u64,
    /// Who hears nothing, and until when.
    pub(crate) muffled: Option<(usize, Timestamp)>,
}

/// A leader that is to be alone with its lease.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lease {
    pub(crate) leader: usize,
    /// Is to hear nothing from it, and so to stand for election.
    pub(crate) rival: usize,
    pub(crate) stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Clients are quiet, and the rival catches up.
    Quiet,
    /// The rival hears nothing from the leader.
    Apart,
    /// Those who made the lease have restarted, and the leader is cut off.
    Alone,
    /// The rival leads.
    Lost,
}

/// What a step does that plots wait for.
pub(crate) struct Sign {
    /// The node campaigns in this term.
    pub(crate) campaigns: Option<Term>,
    /// It asks whether it could win.
    pub(crate) asks: bool,
}

impl Sign {
    pub(crate) fn of(id: NodeId, lanes: &Lanes) -> Self {
        let hard_state = lanes.write.as_ref().and_then(|write| write.hard_state);
        let asks = lanes.send.iter().any(|send| match send {
            Outgoing::Message { message, .. } => {
                matches!(message.body, Body::RequestPreVote { .. })
            }
            Outgoing::Entries { .. } | Outgoing::Snapshot { .. } => false,
        });
        Self { campaigns: hard_state.filter(|h| h.voted_for == Some(id)).map(|h| h.term), asks }
    }
}

impl Plots {
    pub(crate) fn draw(seed: u64, profile: &Profile) -> Self {
        let mut chance = Chance::new(seed ^ 0x706c_6f74);
        let last_words = if chance.permille(300) { chance.between(20, 300) } else { 0 };
        let leases = if chance.permille(400) { chance.between(20, 300) } else { 0 };
        let leases = if profile.lease_ppm.is_some() { leases } else { 0 };
        let muffles = if chance.permille(300) { chance.between(20, 500) } else { 0 };
        Self {
            chance,
            last_words,
            leases,
            order: None,
            doomed: None,
            lease: None,
            muffles,
            muffled: None,
        }
    }

    /// Ends all plots, for good.
    pub(crate) fn stop(&mut self) {
        (self.last_words, self.leases, self.muffles) = (0, 0, 0);
        (self.order, self.lease, self.muffled) = (None, None, None);
    }
}

/// How far the trap is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trap {
    /// Not laid.
    None,
    /// This leader is cut off with entries of its own.
    Cut { leader: NodeId },
    /// This node died as it was elected, with an entry that nobody else has.
    Between { second: NodeId },
    /// Another leads, and dies in so many steps.
    Led { leader: NodeId, second: NodeId, steps: u64 },
}
