//! How the scenarios of [`crate::scenarios`] begin and go on.

use consensus::{Body, Message, NodeId, Term, Timestamp};

use crate::coverage::Met;
use crate::faults::MS;
use crate::scenarios::{Lease, Stage, Trigger};
use crate::world::{Happening, World};

/// How long clients pause before a leader is kept apart from its challenger, so that the challenger
/// has all that is committed.
const QUIET_NS: u64 = 60 * MS;

/// How long the leader is kept apart from its challenger, and then from all.
const APART_NS: u64 = 800 * MS;

/// How long a lease must still last for the scenario to go on.
const LEASE_NS: u64 = 60 * MS;

impl World {
    /// Says whether a message is an order to campaign after which its leader crashes. It is kept
    /// until another node campaigns.
    pub(crate) fn is_last_order(&mut self, node: usize, to: NodeId, message: &Message) -> bool {
        let order = matches!(message.body, Body::TimeoutNow { .. });
        let Some(to) = self.nodes.iter().position(|node| node.id == to).filter(|_| order) else {
            return false;
        };
        let scenarios = &mut self.scenarios;
        if scenarios.last_orders == 0 || !scenarios.rng.permille(scenarios.last_orders) {
            return false;
        }
        scenarios.order = Some((self.nodes[node].id, to, message.clone()));
        scenarios.doomed = Some(node);
        true
    }

    /// A leader hands over: it is asked for a read, and receives the answers late.
    pub(crate) fn delay_answers(&mut self, node: usize) {
        let scenarios = &mut self.scenarios;
        let begins = scenarios.delays > 0 && scenarios.rng.permille(scenarios.delays);
        if begins && scenarios.delayed.is_none_or(|(_, until)| until <= self.now) {
            self.coverage.meet(Met::HandOverDelayed);
            let until = self.now.after(scenarios.rng.between(40, 140) * MS);
            scenarios.delayed = Some((node, until));
            self.after(0, Happening::Ask { node, read: true });
        }
    }

    /// Returns when a node receives what is sent to it now, if not at once.
    pub(crate) fn hears_at(&self, node: usize) -> Option<Timestamp> {
        let (delayed, until) = self.scenarios.delayed?;
        (delayed == node && self.now < until).then_some(until)
    }

    /// Begins to keep the leader apart from another node, which will campaign.
    pub(crate) fn begin_scenario(&mut self) {
        let is_alone = self.left_alone().is_some();
        let (scenarios, leader) = (&mut self.scenarios, self.leader);
        let begins = scenarios.leases > 0 && scenarios.rng.permille(scenarios.leases);
        let is_free = scenarios.lease.is_none() && !is_alone;
        if !begins || !is_free || !self.nodes[leader].is_up() {
            return;
        }
        let challenger = scenarios.rng.index(self.nodes.len());
        if challenger != leader {
            self.cut.clear();
            self.scenarios.lease = Some(Lease { leader, challenger, stage: Stage::Quiet });
            self.after(QUIET_NS, Happening::Scenario);
        }
    }

    /// A leader with a lease is cut off, and asked by those who know what was written elsewhere
    /// since (§6.4.1). It goes on by its clock, or stands still just behind its look at the clock
    /// and wakes with the lease that it had. Says whether that begins.
    pub(crate) fn leave_alone(&mut self) -> bool {
        let is_free = self.scenarios.lease.is_none() && self.left_alone().is_none();
        let (scenarios, leader) = (&mut self.scenarios, self.leader);
        let begins = scenarios.alone_often > 0 && scenarios.rng.permille(scenarios.alone_often);
        let place = &self.nodes[leader];
        let is_awake = place.is_up() && !place.paused;
        if begins && is_awake && is_free && self.lease_ns(leader) > 0 {
            let ns = self.scenarios.rng.between(400, 2_500) * MS;
            self.isolate(leader);
            if self.scenarios.rng.permille(500) {
                self.coverage.meet(Met::SleepsWithLease);
                self.stand_still(leader, ns, true);
            } else {
                let life = self.nodes[leader].life;
                self.after(ns, Happening::Resume { node: leader, life });
            }
            self.scenarios.alone = Some((leader, self.now.after(ns)));
            return true;
        }
        false
    }

    /// Returns the leader that is left alone just now.
    pub(crate) fn left_alone(&self) -> Option<usize> {
        self.scenarios.alone.filter(|(_, until)| self.now < *until).map(|(leader, _)| leader)
    }

    /// A node goes on that stood still, or was left alone.
    pub(crate) fn wakes(&mut self, node: usize) {
        let is_over =
            |(alone, until): &mut (usize, Timestamp)| *alone == node && *until <= self.now;
        if self.scenarios.alone.take_if(is_over).is_some() {
            self.cut.clear();
        }
    }

    /// Time has passed: the leader and its challenger are kept apart, or the scenario is over.
    pub(crate) fn advance_scenario(&mut self) {
        match self.scenarios.lease.take() {
            Some(Lease { leader, challenger, stage: Stage::Quiet }) => {
                let (one, other) = (self.nodes[leader].id, self.nodes[challenger].id);
                self.cut.extend([(one, other), (other, one)]);
                self.scenarios.lease = Some(Lease { leader, challenger, stage: Stage::Apart });
                self.after(APART_NS, Happening::Scenario);
            }
            Some(_) => self.cut.clear(),
            None => {}
        }
    }

    /// Says whether clients pause.
    pub(crate) fn clients_pause(&self) -> bool {
        self.scenarios.lease.is_some_and(|scenario| scenario.stage != Stage::Lost)
    }

    /// Returns how long a leader's lease goes on; 0 without one.
    fn lease_ns(&self, node: usize) -> u64 {
        let node = &self.nodes[node];
        let until = node.replica.as_ref().and_then(|replica| replica.raft().lease_until());
        until.map_or(0, |until| until.since(node.local(self.now)))
    }

    /// A node has made a step: a scenario may have waited for it.
    pub(crate) fn observe(&mut self, node: usize, trigger: &Trigger, led: bool) {
        if let Some(term) = trigger.campaigns {
            self.deliver_late_order(node, term);
        }
        let handed_over = self.scenarios.delayed.is_some_and(|(_, until)| self.now < until);
        if led && handed_over {
            self.after(0, Happening::Ask { node, read: false });
        }
        let Some(mut scenario) =
            self.scenarios.lease.filter(|scenario| scenario.challenger == node)
        else {
            return;
        };
        match scenario.stage {
            Stage::Apart if trigger.asks && self.lease_ns(scenario.leader) >= LEASE_NS => {
                self.coverage.meet(Met::AloneWithLease);
                for other in 0..self.nodes.len() {
                    if other != scenario.leader && other != node {
                        self.crash_for(other, 0);
                    }
                }
                self.isolate(scenario.leader);
                scenario.stage = Stage::Alone;
            }
            Stage::Alone if led => {
                scenario.stage = Stage::Lost;
                self.after(0, Happening::Ask { node, read: false });
            }
            Stage::Quiet | Stage::Apart | Stage::Alone | Stage::Lost => {}
        }
        self.scenarios.lease = Some(scenario);
    }

    /// A write is acknowledged: a leader that was replaced is asked for a read.
    pub(crate) fn read_at_old_leader(&mut self) {
        let lost = self.scenarios.lease.filter(|scenario| scenario.stage == Stage::Lost);
        let delayed = self.scenarios.delayed.filter(|(_, until)| self.now < *until);
        let leader = lost.map(|scenario| scenario.leader).or(delayed.map(|(leader, _)| leader));
        if let Some(node) = leader.or(self.left_alone()) {
            self.after(0, Happening::Ask { node, read: true });
        }
    }

    /// A node campaigns: now the order of the crashed leader arrives.
    fn deliver_late_order(&mut self, node: usize, term: Term) {
        let Some((from, to, message)) = self.scenarios.order.take() else {
            return;
        };
        if to != node && term == message.term.next() {
            self.coverage.meet(Met::OrderOvertaken);
            let delay = self.scenarios.rng.between(MS / 20, MS / 4);
            let sender = self.nodes.iter().find(|node| node.id == from);
            let incarnation = sender.expect("it gave the order").incarnation;
            self.after(delay, Happening::Deliver { from, incarnation, to, message });
        }
    }
}
