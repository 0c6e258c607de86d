//! Disks that hang while their nodes go on talking: at the end of a run, in a healed core, where
//! nothing else explains what follows.

use std::collections::BTreeSet;

use consensus::{Configuration, Majority, NodeId, Voters};

use crate::broken::Broken;
use crate::coverage::Met;
use crate::faults::MS;
use crate::liveness::SERVICE_NS;
use crate::world::World;

/// For so long a disk hangs.
const HANGS_NS: u64 = 3_000 * MS;

/// How long a leader may stay one whose disk hangs: the shortest election timeout, a heartbeat and
/// the election, by the slowest clock.
const MOVES_NS: u64 = 350 * MS;

/// For so long an acknowledgement counts as proof of a disk: two of the shortest election timeouts.
const PROVES_NS: u64 = 300 * MS;

/// How long a change is waited for that must not begin.
const REFUSED_NS: u64 = 1_000 * MS;

impl World {
    /// A voter's disk hangs, and an operator wants to do without the healthy ones: that is refused,
    /// though the voter answers heartbeats.
    pub(crate) fn refuse_a_change(&mut self) -> Result<(), Broken> {
        let Some((leader, configuration)) = self.healthy_leader() else {
            return Ok(());
        };
        let id = self.nodes[leader].id;
        let voters: Vec<NodeId> = configuration.voters().iter().collect();
        let Some(hanging) = voters.iter().copied().find(|voter| *voter != id) else {
            return Ok(());
        };
        if voters.len() < 3 || configuration.voters().is_joint() {
            return Ok(());
        }
        let kept = BTreeSet::from([id, hanging]);
        let members = configuration.members().iter().filter(|(id, _)| kept.contains(id));
        let members = members.map(|(id, member)| (*id, member.clone())).collect();
        let half = Voters::Stable(Majority::new(kept));
        let target = Configuration::new(half, BTreeSet::new(), members).expect("two members");
        self.hang(hanging);
        // What it acknowledged until now is to prove nothing any more.
        let end = self.now.after(self.by_slow_clocks(PROVES_NS));
        while self.turn(end)? {}
        self.ask_for(leader, target)?;
        let end = self.now.after(REFUSED_NS);
        while self.turn(end)? {}
        let now = self.nodes[leader].replica.as_ref().map(|replica| replica.raft().configuration());
        if now.is_some_and(|now| *now != configuration) {
            let why = format!("node {id} changes to nodes {id} and {hanging}, whose disk hangs");
            return Err(Broken::new("a change that would end service is refused (§4.3)", why));
        }
        self.coverage.meet(Met::ChangeNeedsDisk);
        self.until(SERVICE_NS, "agreement", |world| Ok(world.is_converged()))
    }

    /// The leader's disk hangs: another one leads within about an election timeout.
    pub(crate) fn evade_a_disk(&mut self) -> Result<(), Broken> {
        let Some((leader, _)) = self.healthy_leader() else {
            return Ok(());
        };
        let id = self.nodes[leader].id;
        // It has known its followers for a while.
        let end = self.now.after(HANGS_NS);
        while self.turn(end)? {}
        self.hang(id);
        self.ask(leader, false)?;
        self.until(self.by_slow_clocks(MOVES_NS), "a leader whose disk does not hang", |world| {
            Ok(world.healed_leader().is_some_and(|(now, _)| now != leader))
        })?;
        self.coverage.meet(Met::DiskEvaded);
        self.until(SERVICE_NS, "agreement", |world| Ok(world.is_converged()))
    }

    fn hang(&mut self, id: NodeId) {
        let until = self.now.after(HANGS_NS);
        for node in self.nodes.iter_mut().filter(|node| node.id == id) {
            node.stalled = until;
        }
    }

    /// Returns who leads, and the configuration, if all other voters are healed, and enough.
    fn healthy_leader(&self) -> Option<(usize, Configuration)> {
        let (leader, _) = self.healed_leader()?;
        let configuration = self.nodes[leader].replica.as_ref()?.raft().configuration().clone();
        let mut others = self.core.clone();
        others.remove(&leader);
        let healthy = |id: NodeId| {
            let place = self.nodes.iter().position(|node| node.id == id);
            place.is_some_and(|at| self.core.contains(&at) && !self.nodes[at].wiped)
        };
        let all = configuration.voters().iter().all(healthy);
        (all && self.is_core(&others)).then_some((leader, configuration))
    }
}
