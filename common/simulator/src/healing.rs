//! Nodes that have forgotten what they promised, and are taken in again by whoever leads: leaders
//! are told with which data directories members are connected, as the daemon tells them.

use std::collections::{BTreeMap, BTreeSet};

use consensus::{Configuration, Incarnation, NodeId, RequestId};
use replica::{Answer, Input};

use crate::broken::Broken;
use crate::coverage::Met;
use crate::faults::MS;
use crate::liveness::SERVICE_NS;
use crate::node::{Late, Node};
use crate::world::{Happening, World};

/// How often leaders are told.
const TELL_NS: u64 = 1_000 * MS;

/// Of a thousand connections, so many are being made anew at such a moment.
const AWAY: u64 = 100;

/// What leaders do to take in again who has forgotten something.
#[derive(Debug, Default)]
pub(crate) struct Healings {
    /// The data directories that each node has lost.
    lost: BTreeMap<NodeId, BTreeSet<Incarnation>>,
    /// Nodes that leaders ask who they are, by the leader, its life and the change.
    asked: BTreeMap<(NodeId, u32, RequestId), BTreeMap<NodeId, Answer>>,
    /// The directories that leaders have met in their lives.
    met: BTreeSet<(NodeId, u32, NodeId, Incarnation)>,
}

/// What a change does for a node that has forgotten something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Its lost directory votes no longer.
    Demotes,
    /// It learns with the one that it has now.
    Renews(Incarnation),
    /// It votes again.
    Promotes,
}

impl Healings {
    /// Says whether a leader has asked for a change by itself.
    pub(crate) fn is_own(request: RequestId) -> bool {
        request.get() >> 62 == 1
    }

    /// A leader asks nodes who they are, and will hear this.
    pub(crate) fn meets(
        &mut self,
        node: &Node,
        request: RequestId,
        answers: BTreeMap<NodeId, Answer>,
    ) {
        self.asked.insert((node.id, node.life, request), answers);
    }

    /// It hears what they say.
    pub(crate) fn met(
        &mut self,
        node: &Node,
        request: RequestId,
    ) -> Option<BTreeMap<NodeId, Answer>> {
        let answers = self.asked.remove(&(node.id, node.life, request))?;
        let found = answers.iter().filter_map(|(id, answer)| Some((*id, *answer.as_ref().ok()?)));
        self.met.extend(found.map(|(id, found)| (node.id, node.life, id, found)));
        Some(answers)
    }

    /// Says what a change does for a node that has forgotten something, if that is all it does.
    pub(crate) fn step(
        &self,
        before: &Configuration,
        next: &Configuration,
    ) -> Option<(NodeId, Step)> {
        let (_, voters) = next.voters().halves();
        let same = |id: &NodeId| {
            before.is_voter(*id) == voters.contains(*id) && before.member(*id) == next.member(*id)
        };
        let mut others = next.members().keys().filter(|id| !same(id));
        let id = others.next().filter(|_| others.next().is_none())?;
        let (known, member) = (before.member(*id)?, next.member(*id)?);
        let lost = self.lost.get(id)?;
        let all = before.members().len() == next.members().len();
        let renews = known.incarnation != member.incarnation;
        match (before.is_voter(*id), voters.contains(*id)) {
            _ if !all => None,
            (true, false) if lost.contains(&known.incarnation) && !renews => {
                Some((*id, Step::Demotes))
            }
            (false, false) if lost.contains(&known.incarnation) && renews => {
                Some((*id, Step::Renews(member.incarnation)))
            }
            (false, true) if !lost.contains(&known.incarnation) && !renews => {
                Some((*id, Step::Promotes))
            }
            (true | false, true | false) => None,
        }
    }

    /// Says what it is if a leader takes such a step by itself: it has met a directory that it
    /// records. Else somebody has asked for it.
    pub(crate) fn is_taken(&self, node: &Node, id: NodeId, step: Step) -> Option<Met> {
        match step {
            Step::Demotes => Some(Met::Demoted),
            Step::Promotes => Some(Met::Promoted),
            Step::Renews(found) => {
                self.met.contains(&(node.id, node.life, id, found)).then_some(Met::Renewed)
            }
        }
    }
}

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
        self.until(SERVICE_NS, "the members that forgot", |world| {
            Ok(world.strangers() == Some(0) && world.is_converged())
        })?;
        if before.is_some_and(|before| before > 0) {
            self.coverage.meet(Met::CoreTakesIn);
        }
        Ok(())
    }

    /// Returns how many members in the core are recorded with another directory than they have;
    /// `None` without a leader.
    fn strangers(&self) -> Option<usize> {
        let (leader, _) = self.healed_leader()?;
        let latest = self.nodes[leader].replica.as_ref()?.raft().configuration();
        let is_one = |node: &&usize| {
            let node = &self.nodes[**node];
            let known = latest.member(node.id);
            known.is_some_and(|known| known.incarnation != node.incarnation)
        };
        Some(self.core.iter().filter(is_one).count())
    }
}
