//! What may happen next in a state.

use std::collections::{BTreeMap, BTreeSet};

use consensus::{Configuration, Majority, Member, NodeId, RoleKind, Timer, Voters};

use super::action::{Action, Change, Letter, Stream};
use super::members::{id, member, place_of};
use super::world::World;

impl World {
    /// Lists all that may happen next.
    pub fn actions(&self) -> Vec<Action> {
        let mut actions = Vec::new();
        for (place, posted) in self.letters.iter().enumerate() {
            if self.letters[..place].iter().any(|other| other.number == posted.number) {
                continue;
            }
            let letter = || Letter::clone(&posted.letter);
            actions.push(Action::Deliver(letter()));
            if self.budget.repeats > 0 {
                actions.push(Action::Repeat(letter()));
            }
            if self.budget.drops > 0 {
                actions.push(Action::Drop(letter()));
            }
        }
        for (at, node) in self.nodes.iter().enumerate() {
            if self.budget.timeouts > 0 {
                actions.extend(self.timers(at).map(|timer| Action::Timeout(at, timer)));
            }
            if !node.writes.is_empty() {
                actions.push(Action::Persist(at));
            }
            if self.budget.crashes > 0 {
                actions.extend((0..=node.writes.len()).map(|kept| Action::Crash(at, kept)));
            }
            if self.budget.rollbacks > 0 {
                let most = node.past.len();
                let far = [1, most / 2, most].into_iter().filter(|back| (1..=most).contains(back));
                let far: BTreeSet<usize> = far.collect();
                actions.extend(far.into_iter().map(|back| Action::RollBack(at, back)));
            }
            if self.budget.compactions > 0 && self.has_more(at) {
                actions.push(Action::Compact(at));
            }
            self.requests(at, &mut actions);
        }
        for stream in &self.streams {
            if self.is_awaited(stream) {
                actions.push(Action::Arrive(Stream::clone(stream)));
            }
            if self.budget.drops > 0 {
                actions.push(Action::Cut(Stream::clone(stream)));
            }
        }
        actions
    }

    /// Returns the timers of a node that may be due.
    fn timers(&self, at: usize) -> impl Iterator<Item = Timer> {
        let raft = &self.nodes[at].raft;
        let (next, role) = (raft.deadline().map(|(_, timer)| timer), raft.status().role);
        let due: &[Timer] = match role {
            RoleKind::Leader if raft.is_transferring() => {
                &[Timer::Heartbeat, Timer::QuorumCheck, Timer::Transfer]
            }
            RoleKind::Leader => &[Timer::Heartbeat, Timer::QuorumCheck],
            // A question for a read index is given up long before an election.
            RoleKind::Follower if next == Some(Timer::ReadIndex) => {
                &[Timer::Election, Timer::ReadIndex]
            }
            RoleKind::Follower | RoleKind::PreCandidate | RoleKind::Candidate => &[Timer::Election],
        };
        due.iter().copied().filter(move |_| next.is_some())
    }

    /// Adds what people may ask a node for.
    fn requests(&self, at: usize, actions: &mut Vec<Action>) {
        let status = self.nodes[at].raft.status();
        if self.budget.reads > 0 && status.leader.is_some() {
            actions.push(Action::Read(at));
        }
        if status.role != RoleKind::Leader {
            return;
        }
        if self.budget.proposals > 0 {
            actions.push(Action::Propose(at));
        }
        if self.budget.transfers > 0 {
            let others = (0..self.nodes.len()).filter(|to| *to != at);
            actions.extend(others.map(|to| Action::Transfer(at, to)));
        }
        if self.budget.changes > 0 {
            let changes = Change::ALL.into_iter();
            let changes = changes.filter(|change| self.target(at, *change).is_some());
            actions.extend(changes.map(|change| Action::Reconfigure(at, change)));
        }
    }

    /// Returns the configuration that a change asks for; `None` if there is nobody to be changed.
    pub(super) fn target(&self, at: usize, change: Change) -> Option<Configuration> {
        let current = self.nodes[at].raft.status().configuration;
        let own = self.nodes[at].raft.status().id;
        let (_, voters) = current.voters().halves();
        let mut voters: Vec<NodeId> = voters.iter().collect();
        let mut learners = current.learners().clone();
        let mut renewed = None;
        if matches!(change, Change::Promote | Change::Replace) {
            voters.push(learners.pop_first()?);
        }
        if matches!(change, Change::Remove | Change::Replace) {
            let first = voters.iter().position(|voter| *voter != own)?;
            voters.remove(first);
        }
        if change == Change::Leave {
            voters.retain(|voter| *voter != own);
        }
        if change == Change::Admit {
            let places = 0..self.nodes.len();
            let free = places.map(id).find(|id| current.member(*id).is_none());
            learners.insert(free?);
        }
        let present = |id: NodeId| self.nodes[place_of(id)].incarnation;
        let mut forgetful = current.members().iter();
        let mut forgetful = forgetful
            .by_ref()
            .filter(|(id, member)| **id != own && member.incarnation != present(**id));
        if change == Change::Demote {
            let first = forgetful.find(|(id, _)| voters.contains(id))?.0;
            voters.retain(|voter| voter != first);
            learners.insert(*first);
        } else if change == Change::Renew {
            renewed = Some(*forgetful.next()?.0);
        }
        let recorded = |id: NodeId| match current.member(id).filter(|_| renewed != Some(id)) {
            Some(known) => known.clone(),
            None => member(present(id)),
        };
        let all = voters.iter().chain(&learners);
        let members: BTreeMap<NodeId, Member> = all.map(|id| (*id, recorded(*id))).collect();
        Configuration::new(Voters::Stable(Majority::new(voters)), learners, members).ok()
    }
}
