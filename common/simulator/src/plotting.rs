//! The steps of the conjunctions that chance brings about too seldom ([`crate::plots`]).

use consensus::{Body, Message, NodeId, Term, Timestamp};

use crate::coverage::Met;
use crate::faults::MS;
use crate::plots::{Lease, Sign, Stage};
use crate::world::{Happening, World};

/// How long clients are quiet before a leader is kept apart from its rival, so that the rival has
/// all that is committed.
const QUIET_NS: u64 = 60 * MS;

/// How long the leader is kept apart from its rival, and then from all.
const APART_NS: u64 = 800 * MS;

/// How long a lease must go on to be worth a plot.
const LEASE_NS: u64 = 60 * MS;

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
