//! Faults as they strike.

use std::collections::BTreeSet;

use consensus::NodeId;

use crate::broken::Broken;
use crate::coverage::Met;
use crate::faults::{Fault, MS};
use crate::world::{Happening, World};

impl World {
    /// One fault of those that this seed has.
    pub(crate) fn inject(&mut self) -> Result<(), Broken> {
        if self.faults_over {
            return Ok(());
        }
        let next = self.rng.wait(self.profile.fault_ns);
        self.after(next, Happening::Fault);
        if self.profile.faults.is_empty() {
            return Ok(());
        }
        let fault = self.profile.faults[self.rng.index(self.profile.faults.len())];
        if self.trace {
            eprintln!("             fault {fault:?}");
        }
        self.begin_scenario();
        if self.leave_alone() {
            return Ok(());
        }
        let node = self.rng.index(self.nodes.len());
        match fault {
            Fault::Crash => self.crash(node),
            Fault::Figure37 => return self.begin_figure_3_7(),
            Fault::CrashLeader => self.crash(self.leader),
            Fault::CrashAll => {
                self.coverage.meet(Met::CrashAll);
                (0..self.nodes.len()).for_each(|node| self.crash(node));
            }
            Fault::Pause => self.pause(node),
            // Who is left alone stays alone for a while.
            Fault::Partition | Fault::Heal if self.left_alone().is_some() => {}
            Fault::Partition => self.partition(),
            Fault::IsolateLeader => {
                self.coverage.meet(Met::LeaderIsolated);
                self.isolate(self.leader);
            }
            Fault::OneWay => self.one_way(node),
            Fault::CutLink => {
                self.coverage.meet(Met::LinkCut);
                let (one, other) = (self.nodes[self.leader].id, self.nodes[node].id);
                self.cut.extend([(one, other), (other, one)]);
            }
            Fault::Heal => self.cut.clear(),
            Fault::Stall => {
                self.coverage.meet(Met::Stall);
                let long = self.rng.between(1, 800) * MS;
                self.nodes[node].stalled = self.now.after(long);
            }
            Fault::Wipe => self.wipe(node),
            Fault::RollBack | Fault::LoseEnd | Fault::Rot | Fault::Misdirect => {
                self.spoil(node, fault);
            }
            Fault::ClockJump => {
                self.coverage.meet(Met::ClockJump);
                let hours = self.rng.permille(self.profile.hours);
                let most = if hours { 2 * 3_600_000 } else { 2_000 };
                let ahead = self.rng.between(1, most) * MS;
                self.nodes[node].jump(ahead);
                self.nodes[node].wake = None;
                self.schedule_wake(node);
            }
        }
        Ok(())
    }

    fn pause(&mut self, node: usize) {
        if !self.nodes[node].is_up() || self.nodes[node].paused {
            return;
        }
        self.coverage.meet(Met::Pause);
        let has_read = self.rng.permille(500);
        let long = self.rng.permille(self.habits.long_pauses);
        let ms = if long {
            self.coverage.meet(Met::LongPause);
            self.rng.between(3_000, 10_000)
        } else {
            self.rng.between(1, 1_500)
        };
        self.stand_still(node, ms * MS, has_read);
    }

    /// A process stands still, behind its look at the clock or before it.
    pub(crate) fn stand_still(&mut self, node: usize, ns: u64, has_read: bool) {
        let place = &mut self.nodes[node];
        place.paused = true;
        place.turns.frozen = has_read.then(|| place.local(self.now));
        let life = place.life;
        self.after(ns, Happening::Resume { node, life });
    }

    /// A node's disk is lost, if the others can do without it: at most one in a run.
    fn wipe(&mut self, node: usize) {
        let lost = self.nodes.iter().any(|node| node.wiped);
        let voters: BTreeSet<usize> = (0..self.nodes.len()).filter(|at| *at != node).collect();
        if lost || !self.rng.permille(50) || !self.is_core(&voters) {
            return;
        }
        self.crash(node);
        self.coverage.meet(Met::Wipe);
        self.nodes[node].wipe();
    }

    fn partition(&mut self) {
        self.coverage.meet(Met::Partition);
        let ids: Vec<NodeId> = self.nodes.iter().map(|node| node.id).collect();
        let side: BTreeSet<NodeId> =
            ids.iter().copied().filter(|_| self.rng.permille(500)).collect();
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
        let id = self.nodes[node].id;
        for other in self.nodes.iter().map(|node| node.id).filter(|other| *other != id) {
            self.cut.insert((id, other));
            self.cut.insert((other, id));
        }
    }

    /// Nothing arrives at a node from now on.
    pub(crate) fn deafen(&mut self, node: usize) {
        let id = self.nodes[node].id;
        for other in self.nodes.iter().map(|node| node.id).filter(|other| *other != id) {
            self.cut.insert((other, id));
        }
    }

    fn one_way(&mut self, node: usize) {
        self.coverage.meet(Met::OneWay);
        let (id, deaf) = (self.nodes[node].id, self.rng.permille(500));
        for other in self.nodes.iter().map(|node| node.id).filter(|other| *other != id) {
            self.cut.insert(if deaf { (other, id) } else { (id, other) });
        }
    }
}
