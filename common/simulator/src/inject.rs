//! Faults as they strike, and clients as they ask.

use std::collections::BTreeSet;

use bytes::Bytes;
use consensus::{NodeId, RoleKind};
use replica::{Freshness, Input};

use crate::faults::{Fault, MS};
use crate::node::Late;
use crate::oracle::Broken;
use crate::trap::Trap;
use crate::workload::Clients;
use crate::world::{Happening, World};

impl World {
    /// One fault of those that this seed has.
    pub(crate) fn inject(&mut self) -> Result<(), Broken> {
        if self.calm {
            return Ok(());
        }
        let next = self.chance.wait(self.profile.fault_ns);
        self.after(next, Happening::Fault);
        if self.profile.faults.is_empty() {
            return Ok(());
        }
        let fault = self.profile.faults[self.chance.index(self.profile.faults.len())];
        self.coverage.faults += 1;
        if self.trace {
            eprintln!("             fault {fault:?}");
        }
        let node = self.chance.index(self.nodes.len());
        match fault {
            Fault::Crash => self.crash(node),
            Fault::Trap => return self.lay_trap(),
            Fault::CrashLeader => self.crash(self.leader),
            Fault::CrashAll => (0..self.nodes.len()).for_each(|node| self.crash(node)),
            Fault::Pause => self.pause(node),
            Fault::Partition => self.partition(),
            Fault::IsolateLeader => self.isolate(self.leader),
            Fault::OneWay => self.one_way(node),
            Fault::Heal => self.cut.clear(),
            Fault::Stall => {
                self.coverage.stalls += 1;
                let long = self.chance.between(1, 800) * MS;
                self.nodes[node].stalled = self.now.after(long);
            }
            Fault::ClockJump => {
                let ahead = self.chance.between(1, 2_000) * MS;
                self.nodes[node].jump(ahead);
                self.nodes[node].wake = None;
                self.schedule_wake(node);
            }
        }
        Ok(())
    }

    fn pause(&mut self, node: usize) {
        if self.nodes[node].is_up() && !self.nodes[node].paused {
            self.coverage.pauses += 1;
            self.nodes[node].paused = true;
            let life = self.nodes[node].life;
            let long = self.chance.between(1, 1_500) * MS;
            self.after(long, Happening::Resume { node, life });
        }
    }

    fn partition(&mut self) {
        self.coverage.partitions += 1;
        let ids: Vec<NodeId> = self.nodes.iter().map(|node| node.id).collect();
        let side: BTreeSet<NodeId> =
            ids.iter().copied().filter(|_| self.chance.permille(500)).collect();
        self.cut.clear();
        for from in &ids {
            for to in &ids {
                if side.contains(from) != side.contains(to) {
                    self.cut.insert((*from, *to));
                }
            }
        }
    }

    pub(crate) fn isolate(&mut self, node: usize) {
        self.coverage.partitions += 1;
        let id = self.nodes[node].id;
        for other in self.nodes.iter().map(|node| node.id).filter(|other| *other != id) {
            self.cut.insert((id, other));
            self.cut.insert((other, id));
        }
    }

    fn one_way(&mut self, node: usize) {
        self.coverage.partitions += 1;
        let (id, deaf) = (self.nodes[node].id, self.chance.permille(500));
        for other in self.nodes.iter().map(|node| node.id).filter(|other| *other != id) {
            self.cut.insert(if deaf { (other, id) } else { (id, other) });
        }
    }

    /// A client asks some node something; several at once, now and then.
    pub(crate) fn request(&mut self) -> Result<(), Broken> {
        let next = self.chance.wait(self.profile.request_ns);
        self.after(next, Happening::Request);
        let node = match self.chance.index(10) {
            0 => self.chance.index(self.nodes.len()),
            1 | 2 => self.previous_leader,
            _ => self.leader,
        };
        let burst = if self.chance.permille(150) { self.chance.between(2, 12) } else { 1 };
        if self.chance.permille(self.profile.changes) {
            self.change_members()?;
        }
        if self.chance.permille(self.profile.transfers) {
            self.transfer()?;
        }
        for _ in 0..burst {
            let read = self.chance.permille(self.profile.reads);
            self.ask(node, read)?;
        }
        Ok(())
    }

    /// Asks a node; what a node that is away would be asked is never sent. A paused node finds the
    /// question when it goes on, before or behind what its peers have said meanwhile.
    pub(crate) fn ask(&mut self, node: usize, read: bool) -> Result<(), Broken> {
        if !self.nodes[node].is_up() {
            return Ok(());
        }
        let request = self.clients.ask(self.nodes[node].id, read);
        let input = if read {
            Input::Query { request, query: Bytes::new(), freshness: Freshness::Linearizable }
        } else {
            Input::Propose { request, command: Clients::command(request) }
        };
        if self.nodes[node].paused {
            let place = self.chance.index(self.nodes[node].backlog.len() + 1);
            self.nodes[node].backlog.insert(place, Late::Ask(input));
            return Ok(());
        }
        self.step(node, input)
    }

    /// Ends all faults; only a random quorum is healed, the others stay away for ever.
    pub(crate) fn heal_a_quorum(&mut self) -> Result<(), Broken> {
        self.calm = true;
        self.trap = Trap::None;
        self.cut.clear();
        let voters = self.voters();
        let mut order: Vec<usize> = (0..voters).collect();
        for place in (1..order.len()).rev() {
            order.swap(place, self.chance.index(place + 1));
        }
        let quorum = voters / 2 + 1;
        let stay = if self.chance.permille(300) { voters } else { quorum };
        // Who votes may have changed, so that then all are healed.
        if self.profile.changes == 0 {
            self.gone = order[stay..].iter().copied().chain(voters..self.nodes.len()).collect();
        }
        for node in self.gone.clone() {
            if self.nodes[node].is_up() {
                self.crash(node);
            }
        }
        for node in 0..self.nodes.len() {
            self.nodes[node].stalled = self.now;
            if self.gone.contains(&node) {
                continue;
            }
            if self.nodes[node].paused {
                self.resume(node)?;
            }
            self.start(node);
        }
        Ok(())
    }

    /// Returns the healed node that leads, if just one does in the highest term.
    pub(crate) fn healed_leader(&self) -> Option<usize> {
        let leads = |node: &usize| {
            let replica = self.nodes[*node].replica.as_ref()?;
            let status = replica.status();
            (status.role == RoleKind::Leader).then_some((status.term, *node))
        };
        (0..self.nodes.len()).filter_map(|node| leads(&node)).max().map(|(_, node)| node)
    }

    /// Says whether all healed nodes have applied everything.
    pub(crate) fn is_converged(&self) -> bool {
        let Some(leader) = self.healed_leader() else {
            return false;
        };
        let replica = self.nodes[leader].replica.as_ref().expect("it leads");
        let members = replica.status().configuration.members().clone();
        let healed = (0..self.nodes.len()).filter(|node| {
            !self.gone.contains(node) && members.contains_key(&self.nodes[*node].id)
        });
        let mut ends = healed.map(|node| (self.nodes[node].applied, self.nodes[node].disk.last()));
        let first = ends.next();
        let agree = first.is_some_and(|(applied, last)| applied == last.index);
        agree && ends.all(|end| Some(end) == first)
    }

    /// A line for each node: for reports.
    pub(crate) fn describe(&self) -> String {
        let line = |node: &crate::node::Node| {
            let Some(replica) = node.replica.as_ref() else {
                return format!("\n    node {} is down", node.id);
            };
            let status = replica.status();
            format!(
                "\n    node {}: {:?} in term {}, log ends at {}, commit {}, applied {}, \
                 {:?} at {}, learners {:?}, refused by {:?}",
                node.id,
                status.role,
                status.term,
                status.last,
                status.commit,
                status.applied,
                status.configuration.voters(),
                status.configuration_index,
                status.configuration.learners(),
                status.refusals
            )
        };
        self.nodes.iter().map(line).collect()
    }
}
