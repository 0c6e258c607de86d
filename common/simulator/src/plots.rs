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
use crate::coverage::Met;
use crate::faults::{MS, Profile};
use crate::world::{Happening, World};

/// How long clients are quiet before a leader is kept apart from its rival, so that the rival has
/// all that is committed.
const QUIET_NS: u64 = 60 * MS;

/// How long the leader is kept apart from its rival, and then from all.
const APART_NS: u64 = 800 * MS;

/// How long a lease must go on to be worth a plot.
const LEASE_NS: u64 = 60 * MS;

/// What is being plotted.
#[derive(Debug)]
pub(crate) struct Plots {
    chance: Chance,
    /// Of a thousand orders to campaign, so many are a leader's last words.
    last_words: u64,
    /// Of a thousand faults, so many come with a leader that is to be alone with its lease.
    leases: u64,
    /// The last words of a leader, on their way.
    order: Option<(NodeId, usize, Message)>,
    /// This node dies with the present step.
    pub(crate) doomed: Option<usize>,
    lease: Option<Lease>,
    /// Of a thousand leaders that hand over, so many hear nothing for a while, and then all of it.
    muffles: u64,
    /// Who hears nothing, and until when.
    muffled: Option<(usize, Timestamp)>,
}

/// A leader that is to be alone with its lease.
#[derive(Clone, Copy, Debug)]
struct Lease {
    leader: usize,
    /// Is to hear nothing from it, and so to stand for election.
    rival: usize,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
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
    campaigns: Option<Term>,
    /// It asks whether it could win.
    asks: bool,
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

impl World {
    /// Says whether a message is a leader's last words: the leader dies, and they are kept until
    /// another node campaigns.
    pub(crate) fn is_last_words(&mut self, node: usize, to: NodeId, message: &Message) -> bool {
        let order = matches!(message.body, Body::TimeoutNow { .. });
        let Some(to) = self.nodes.iter().position(|node| node.id == to).filter(|_| order) else {
            return false;
        };
        let plots = &mut self.plots;
        if plots.last_words == 0 || !plots.chance.permille(plots.last_words) {
            return false;
        }
        plots.order = Some((self.nodes[node].id, to, message.clone()));
        plots.doomed = Some(node);
        true
    }

    /// A leader hands over: it is asked for a read, and hears the answers to that late.
    pub(crate) fn muffle(&mut self, node: usize) {
        let plots = &mut self.plots;
        let begins = plots.muffles > 0 && plots.chance.permille(plots.muffles);
        if begins && plots.muffled.is_none_or(|(_, until)| until <= self.now) {
            self.coverage.meet(Met::HandOverMuffled);
            let until = self.now.after(plots.chance.between(40, 140) * MS);
            plots.muffled = Some((node, until));
            self.after(0, Happening::Ask { node, read: true });
        }
    }

    /// Returns when a node hears what is said to it now, if not at once.
    pub(crate) fn hears_at(&self, node: usize) -> Option<Timestamp> {
        let (muffled, until) = self.plots.muffled?;
        (muffled == node && self.now < until).then_some(until)
    }

    /// Begins to keep the leader apart from another node, which will stand for election.
    pub(crate) fn plot(&mut self) {
        let (plots, leader) = (&mut self.plots, self.leader);
        let begins = plots.leases > 0 && plots.chance.permille(plots.leases);
        if !begins || plots.lease.is_some() || !self.nodes[leader].is_up() {
            return;
        }
        let rival = plots.chance.index(self.nodes.len());
        if rival != leader {
            self.cut.clear();
            self.plots.lease = Some(Lease { leader, rival, stage: Stage::Quiet });
            self.after(QUIET_NS, Happening::Plot);
        }
    }

    /// Time has passed: the leader and its rival part, or the plot is over, whatever became of it.
    pub(crate) fn go_on(&mut self) {
        match self.plots.lease.take() {
            Some(Lease { leader, rival, stage: Stage::Quiet }) => {
                let (one, other) = (self.nodes[leader].id, self.nodes[rival].id);
                self.cut.extend([(one, other), (other, one)]);
                self.plots.lease = Some(Lease { leader, rival, stage: Stage::Apart });
                self.after(APART_NS, Happening::Plot);
            }
            Some(_) => self.cut.clear(),
            None => {}
        }
    }

    /// Says whether clients are quiet.
    pub(crate) fn is_quiet(&self) -> bool {
        self.plots.lease.is_some_and(|plot| plot.stage != Stage::Lost)
    }

    /// Returns how long a leader's lease goes on; 0 without one.
    fn lease_ns(&self, node: usize) -> u64 {
        let node = &self.nodes[node];
        let until = node.replica.as_ref().and_then(|replica| replica.raft().lease_until());
        until.map_or(0, |until| until.since(node.local(self.now)))
    }

    /// A node has done what a plot may have waited for.
    pub(crate) fn notice(&mut self, node: usize, sign: &Sign, led: bool) {
        if let Some(term) = sign.campaigns {
            self.overtake(node, term);
        }
        let handed_over = self.plots.muffled.is_some_and(|(_, until)| self.now < until);
        if led && handed_over {
            self.after(0, Happening::Ask { node, read: false });
        }
        let Some(mut plot) = self.plots.lease.filter(|plot| plot.rival == node) else {
            return;
        };
        match plot.stage {
            Stage::Apart if sign.asks && self.lease_ns(plot.leader) >= LEASE_NS => {
                self.coverage.meet(Met::AloneWithLease);
                for other in 0..self.nodes.len() {
                    if other != plot.leader && other != node {
                        self.crash_for(other, 0);
                    }
                }
                self.isolate(plot.leader);
                plot.stage = Stage::Alone;
            }
            Stage::Alone if led => {
                plot.stage = Stage::Lost;
                self.after(0, Happening::Ask { node, read: false });
            }
            Stage::Quiet | Stage::Apart | Stage::Alone | Stage::Lost => {}
        }
        self.plots.lease = Some(plot);
    }

    /// A write is acknowledged: does a leader that lost its office know of it?
    pub(crate) fn suspect(&mut self) {
        let lost = self.plots.lease.filter(|plot| plot.stage == Stage::Lost);
        let muffled = self.plots.muffled.filter(|(_, until)| self.now < *until);
        let leader = lost.map(|plot| plot.leader).or(muffled.map(|(leader, _)| leader));
        if let Some(node) = leader {
            self.after(0, Happening::Ask { node, read: true });
        }
    }

    /// A node campaigns: now the last words of its leader reach the one that they were said to.
    fn overtake(&mut self, node: usize, term: Term) {
        let Some((from, to, message)) = self.plots.order.take() else {
            return;
        };
        if to != node && term == message.term.next() {
            self.coverage.meet(Met::OrderOvertaken);
            let delay = self.plots.chance.between(MS / 20, MS / 4);
            self.after(delay, Happening::Deliver { from, to, message });
        }
    }
}
