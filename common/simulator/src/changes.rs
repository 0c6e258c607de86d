//! Operators: changes of members and transfers of leadership, at any time.

use std::collections::{BTreeMap, BTreeSet};

use consensus::{
    Configuration, Input as Raw, LogIndex, Majority, Member, NodeId, RequestId, RoleKind, Voters,
};
use replica::{Answer, ChangeRefusal, Input, Meeting, NotMet, Removal};

use crate::broken::Broken;
use crate::coverage::Met;
use crate::faults::MS;
use crate::node::{Late, member};
use crate::unasked::Healings;
use crate::world::{Happening, World};

/// Marks the numbers of operators' requests, which are even but for transfers; clients' stay below.
pub(crate) const CHANGE: u64 = 1 << 61;

/// Marks transfers among them.
pub(crate) const TRANSFER: u64 = CHANGE | 1;

/// Of a thousand changes behind a removal that is not applied, so many take it back.
const RETURNS: u64 = 300;

/// When a node is given up that does not answer.
const PATIENCE_NS: u64 = 300 * MS;

impl World {
    /// Asks the leader for some other members or roles.
    pub(crate) fn change_members(&mut self) -> Result<(), Broken> {
        let node = self.leader;
        if !self.nodes[node].is_up() || self.nodes[node].paused {
            return Ok(());
        }
        let Some(target) = self.draw_return(node).or_else(|| self.draw_target(node)) else {
            return Ok(());
        };
        self.coverage.meet(Met::Change);
        self.ask_for(node, target)
    }

    /// An operator asks a node for these members.
    pub(crate) fn ask_for(&mut self, node: usize, target: Configuration) -> Result<(), Broken> {
        let place = &self.nodes[node];
        let Some(replica) = place.replica.as_ref() else {
            return Ok(());
        };
        let status = replica.status();
        let stood = (status.configuration_index, status.term);
        let back = u64::from(self.changes.is_careless());
        let expected_index = LogIndex::new(stood.0.get().saturating_sub(back));
        let name = |number: u64| RequestId::new(CHANGE | (number << 1));
        let request = self.changes.ask(place, target.clone(), expected_index, stood, name);
        let removed = BTreeMap::new();
        self.step(node, Input::Reconfigure { request, target, expected_index, removed })
    }

    /// Returns who was removed once, as a node's applied state tells when it takes a change.
    pub(crate) fn removed_before(&self, node: usize) -> BTreeMap<NodeId, LogIndex> {
        if !self.scenarios.removed_end {
            return BTreeMap::new();
        }
        let stones = self.nodes[node].host.view().tombstones().expect("memory does not fail");
        stones.into_iter().map(|stone| (stone.id, stone.index)).collect()
    }

    /// A leader asks nodes who they are.
    pub(crate) fn ask_newcomers(&mut self, node: usize, meeting: Meeting) -> Result<(), Broken> {
        let Meeting { request, newcomers } = meeting;
        let answer = |(id, member): (&NodeId, &Member)| (*id, self.answer(node, *id, member));
        let answers: BTreeMap<NodeId, Answer> = newcomers.iter().map(answer).collect();
        let rng = &mut self.changes.rng;
        let mut delay = rng.between(MS / 5, 4 * MS);
        if rng.permille(100) {
            delay += rng.between(0, 2_000 * MS);
        }
        if answers.values().any(Result::is_err) {
            delay += PATIENCE_NS;
        }
        let place = &self.nodes[node];
        let life = place.life;
        self.changes.meets(place, request, answers)?;
        self.after(delay, Happening::Met { node, life, request });
        Ok(())
    }

    /// What a node answers, or why nobody does.
    fn answer(&self, leader: usize, newcomer: NodeId, member: &Member) -> Answer {
        let from = self.nodes[leader].id;
        let is_there = (1..=2).any(|port| member.address == format!("n{newcomer}:{port}"));
        let there = self.nodes.iter().find(|node| node.id == newcomer).filter(|_| is_there);
        let is_cut = self.cut.contains(&(from, newcomer)) || self.cut.contains(&(newcomer, from));
        match there {
            Some(node) if node.is_up() && !node.paused && !is_cut => Ok(node.incarnation),
            Some(_) | None => Err("no answer".to_owned()),
        }
    }

    /// The answers are there. The leader may have lost its term meanwhile, or made another change.
    pub(crate) fn met(&mut self, node: usize, life: u32, request: RequestId) -> Result<(), Broken> {
        let place = &self.nodes[node];
        let Some(replica) = place.replica.as_ref().filter(|_| place.life == life) else {
            return Ok(());
        };
        if Healings::is_own(request) {
            let answers = self.changes.healings.met(place, request);
            return answers.map_or(Ok(()), |answers| {
                self.meet(node, Late::Ask(Input::Met { request, answers }))
            });
        }
        let Some((answers, asked)) = self.changes.met(request) else {
            return Ok(());
        };
        let status = replica.status();
        if status.role != RoleKind::Leader || status.term != asked.stood.1 {
            self.coverage.meet(Met::MetTooLate);
        } else if status.configuration_index != asked.stood.0 {
            self.coverage.meet(Met::MetAfterChange);
        }
        for _ in answers.values().filter(|answer| answer.is_ok()) {
            self.coverage.meet(Met::NewcomerMet);
        }
        self.meet(node, Late::Ask(Input::Met { request, answers }))
    }

    /// A change is refused.
    pub(crate) fn change_refused(
        &mut self,
        request: RequestId,
        why: &ChangeRefusal,
    ) -> Result<(), Broken> {
        self.coverage.meet(match why {
            ChangeRefusal::Stale { .. } => Met::ChangeStale,
            ChangeRefusal::IdUsed { .. } => Met::IdUsed,
            ChangeRefusal::Meeting => Met::MeetingTwice,
            ChangeRefusal::UnderWay => Met::ChangeTooEarly,
            ChangeRefusal::NotMet { why: NotMet::Silent(_), .. } => Met::NewcomerSilent,
            ChangeRefusal::NotMet { why: NotMet::Other(_), .. } => Met::NewcomerOther,
        });
        self.changes.ends(request, true)
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

    /// A member that the node has removed, and not yet from its state, is to come back at once.
    fn draw_return(&mut self, node: usize) -> Option<Configuration> {
        let ends = self.scenarios.removed_end && self.changes.rng.permille(RETURNS);
        let place = self.nodes.get(node).filter(|_| ends)?;
        let status = place.replica.as_ref()?.status();
        let (current, index) = (status.configuration, status.configuration_index);
        if place.applied() >= index || current.voters().is_joint() {
            return None;
        }
        let before = place.memory.configuration_before(index).1?.members();
        let (id, gone) = before.iter().find(|(id, _)| current.member(**id).is_none())?;
        let (mut learners, mut members) = (current.learners().clone(), current.members().clone());
        learners.insert(*id);
        members.insert(*id, gone.clone());
        Configuration::new(current.voters().clone(), learners, members).ok()
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
        if self.scenarios.removed_end && !self.changes.is_careless() {
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
        let mut members: BTreeMap<NodeId, Member> =
            voters.iter().chain(&learners).filter_map(described).collect();
        self.changes.describe(&mut members);
        // An operator thinks that it is enough to name the directory that a node has now.
        for node in self.nodes.iter().filter(|node| node.wiped) {
            if let Some(member) = members.get_mut(&node.id)
                && self.changes.is_careless()
            {
                self.coverage.meet(Met::DirectoryChanged);
                member.incarnation = node.incarnation;
            }
        }
        Configuration::new(Voters::Stable(Majority::new(voters)), learners, members).ok()
    }
}
