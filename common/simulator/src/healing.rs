//! Nodes that have forgotten what they promised, and are taken in again by whoever leads: leaders
//! are told with which data directories members are connected, as the daemon tells them.

use std::collections::BTreeMap;

use consensus::{Incarnation, NodeId};
use replica::Input;

use crate::broken::Broken;
use crate::coverage::Met;
use crate::faults::MS;
use crate::liveness::SERVICE_NS;
use crate::node::Late;
use crate::world::{Happening, World};

/// How often leaders are told.
const TELL_NS: u64 = 1_000 * MS;

/// Of a thousand connections, so many are being made anew at such a moment.
const AWAY: u64 = 100;

impl World {
    /// Tells all who lead.
    pub(crate) fn tell_directories(&mut self) -> Result<(), Broken> {
        self.after(TELL_NS, Happening::Directories);
        self.look_who_is_taken_in();
        self.changes.healings.lost = self
            .nodes
            .iter()
            .map(|node| (node.id, node.former.keys().copied().collect()))
            .collect();
        for node in 0..self.nodes.len() {
            let replica = self.nodes[node].replica.as_ref();
            let Some(raft) = replica.map(|replica| replica.raft()).filter(|raft| raft.leads())
            else {
                continue;
            };
            let members: Vec<NodeId> = raft.configuration().members().keys().copied().collect();
            let seen: BTreeMap<NodeId, Incarnation> = members
                .into_iter()
                .filter_map(|id| Some((id, self.connected_directory(node, id)?)))
                .collect();
            self.meet(node, Late::Ask(Input::Directories { seen }))?;
        }
        Ok(())
    }

    /// Returns the data directory with which a member is connected to a node.
    fn connected_directory(&mut self, node: usize, id: NodeId) -> Option<Incarnation> {
        let peer = self.nodes.iter().position(|node| node.id == id)?;
        if !self.reaches(node, peer) || !self.faults_over && self.rng.permille(AWAY) {
            return None;
        }
        Some(self.nodes[peer].incarnation)
    }

    /// Who votes with its present directory by the latest configuration that is committed has come
    /// back.
    fn look_who_is_taken_in(&mut self) {
        let Some((_, latest)) = self.oracle.configurations.last() else {
            return;
        };
        for node in self.nodes.iter_mut().filter(|node| node.wiped) {
            if node.is_sound(latest) && latest.is_voter(node.id) {
                node.wiped = false;
                self.coverage.meet(Met::TakenIn);
            }
        }
    }

    /// A healed core takes in again those of its members that have forgotten something, without
    /// anybody's help.
    pub(crate) fn take_in_again(&mut self) -> Result<(), Broken> {
        let before = self.strangers();
        self.until(SERVICE_NS + self.feeding_ns(), "the members that forgot", |world| {
            Ok(world.strangers() == Some(0) && world.is_converged())
        })?;
        if before.is_some_and(|before| before > 0) {
            self.coverage.meet(Met::CoreTakesIn);
        }
        Ok(())
    }

    /// Returns how many members in the core are recorded with another directory than they have, or
    /// are to vote again and do not yet; `None` without a leader.
    fn strangers(&self) -> Option<usize> {
        let (leader, _) = self.healed_leader()?;
        let latest = self.nodes[leader].replica.as_ref()?.raft().configuration();
        let is_one = |node: &&usize| {
            let node = &self.nodes[**node];
            let known = latest.member(node.id);
            known.is_some_and(|known| known.incarnation != node.incarnation)
                || latest.returning().contains(&node.id)
        };
        Some(self.core.iter().filter(is_one).count())
    }
}
