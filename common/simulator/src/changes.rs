//! Operators: changes of members and transfers of leadership, at any time.

use std::collections::{BTreeMap, BTreeSet};

use consensus::{Configuration, Input as Raw, Majority, Member, NodeId, RequestId, Voters};
use replica::{Input, Removal};

use crate::broken::Broken;
use crate::coverage::Met;
use crate::node::{Late, member};
use crate::world::World;

/// Marks the numbers of operators' requests; clients' stay below.
pub(crate) const CHANGE: u64 = 1 << 61;

/// Marks transfers among them.
pub(crate) const TRANSFER: u64 = CHANGE | 1;

impl World {
    /// Asks the leader for some other members or roles.
    pub(crate) fn change_members(&mut self) -> Result<(), Broken> {
        let node = self.leader;
        if !self.nodes[node].is_up() || self.nodes[node].paused {
            return Ok(());
        }
        let Some(target) = self.draw_target(node) else {
            return Ok(());
        };
        let request = RequestId::new(CHANGE);
        self.coverage.meet(Met::Change);
        self.step(node, Input::Raft(Raw::Reconfigure { request, target }))
    }

    /// A node knows that it was removed: its process ends, for good in half of the seeds. In the
    /// others its id is used again, which operators must not do, and it goes on.
    pub(crate) fn removed(&mut self, node: usize, removal: &Removal) -> Result<(), Broken> {
        let id = self.nodes[node].id;
        self.oracle.removes(id, removal)?;
        self.coverage.meet(Met::Removed);
        if self.scenarios.removed_end {
            self.scenarios.doomed = Some(node);
        }
        Ok(())
    }

    /// Says whether a node refuses another's connection: it has applied the other's removal.
    pub(crate) fn is_turned_away(&self, from: NodeId, by: usize) -> bool {
        let by = &self.nodes[by];
        self.scenarios.removed_end && !by.peers.contains(&from) && {
            let tombstones = by.host.view().tombstones().expect("memory does not fail");
            tombstones.iter().any(|stone| stone.id == from)
        }
    }

    /// A node is told that it was removed, by one that has applied it.
    pub(crate) fn tell_removed(&mut self, node: NodeId, by: usize) -> Result<(), Broken> {
        self.coverage.meet(Met::ToldRemoved);
        let by = self.nodes[by].id;
        let node = self.nodes.iter().position(|other| other.id == node).expect("it has spoken");
        let told = Input::ToldRemoved { by, reason: String::new() };
        self.meet(node, Late::Ask(told))
    }

    /// Asks the leader to hand over to some node.
    pub(crate) fn transfer(&mut self) -> Result<(), Broken> {
        let node = self.leader;
        if !self.nodes[node].is_up() || self.nodes[node].paused {
            return Ok(());
        }
        let to = self.rng.index(self.nodes.len());
        self.coverage.meet(Met::Transfer);
        self.hand_over(node, to)
    }

    /// Asks a node to hand over to another.
    pub(crate) fn hand_over(&mut self, node: usize, to: usize) -> Result<(), Broken> {
        let (request, to) = (RequestId::new(TRANSFER), self.nodes[to].id);
        self.step(node, Input::Raft(Raw::Transfer { request, to }))
    }

    fn draw_target(&mut self, node: usize) -> Option<Configuration> {
        let replica = self.nodes[node].replica.as_ref()?;
        let current = replica.status().configuration.clone();
        let (_, incoming) = current.voters().halves();
        let mut voters: BTreeSet<NodeId> = incoming.iter().collect();
        let mut learners = current.learners().clone();
        let ids: Vec<NodeId> = self.nodes.iter().map(|node| node.id).collect();
        let some = ids[self.rng.index(ids.len())];
        let other = ids[self.rng.index(ids.len())];
        match self.rng.index(6) {
            // Somebody new.
            0 | 1 => {
                if !voters.contains(&some) {
                    learners.insert(some);
                }
            }
            // All learners vote.
            2 => voters.append(&mut learners),
            // A voter votes no longer.
            3 => {
                if voters.remove(&some) {
                    learners.insert(some);
                }
            }
            // Somebody leaves, and somebody votes instead.
            4 => {
                voters.remove(&some);
                learners.remove(&some);
                if learners.remove(&other) {
                    voters.insert(other);
                }
            }
            // Everybody's role is drawn anew.
            _ => {
                let members: Vec<NodeId> = voters.iter().chain(&learners).copied().collect();
                (voters, learners) = (BTreeSet::new(), BTreeSet::new());
                for id in members {
                    match self.rng.index(4) {
                        0 => {}
                        1 => _ = learners.insert(id),
                        _ => _ = voters.insert(id),
                    }
                }
            }
        }
        if self.scenarios.removed_end {
            let used = |id: &NodeId| current.member(*id).is_none() && self.oracle.was_member(*id);
            voters.retain(|id| !used(id));
            learners.retain(|id| !used(id));
        }
        // Who comes is described as it is now; who stays, as it is recorded.
        let described = |id: &NodeId| {
            let newcomer = || {
                let incarnation = self.nodes.iter().find(|node| node.id == *id)?.incarnation;
                Some(Member { incarnation, ..member(*id) })
            };
            Some((*id, current.member(*id).cloned().or_else(newcomer)?))
        };
        let members: BTreeMap<NodeId, Member> =
            voters.iter().chain(&learners).filter_map(described).collect();
        Configuration::new(Voters::Stable(Majority::new(voters)), learners, members).ok()
    }
}
