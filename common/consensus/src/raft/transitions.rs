//! Changing the role (figure 3.3), and what comes with it.

use std::mem;

use super::Raft;
use crate::candidate::{Candidate, PreCandidate};
use crate::core::Core;
use crate::follower::Follower;
use crate::leader::Leader;
use crate::role::Role;
use crate::vocabulary::actions::Event;
use crate::vocabulary::configuration::Tally;
use crate::vocabulary::ids::{NodeId, Term, Timestamp};

/// So often pre-votes are asked for anew when a leader has gone, each time behind a round of turns.
const HURRIES: u32 = 5;

impl Raft {
    /// Becomes a follower of `leader`, if known, in `term`.
    pub(super) fn follow(&mut self, now: Timestamp, term: Term, leader: Option<NodeId>) {
        self.core.enter_term(term);
        // A node that was waiting for an election goes on waiting: a higher term alone is no reason
        // to give the candidate more time (hearing from a leader, or granting a vote, is).
        let waits = match &self.role {
            Role::Follower(follower) => Some(follower.election()).filter(|due| *due > now),
            Role::PreCandidate(_) | Role::Candidate(_) => None,
            Role::Leader(old) => {
                self.core.note_contact(self.core.id(), old.quorum_contact(&self.core, now));
                None
            }
        };
        let election = waits.unwrap_or_else(|| self.core.draw_election(now));
        self.become_role(Role::Follower(Follower::new(leader, now, election)));
        self.core.tell(Event::Leader(leader));
    }

    /// Becomes a follower that knows no leader, in the same term.
    pub(super) fn step_down(&mut self, now: Timestamp) {
        self.follow(now, self.core.term(), None);
    }

    /// Returns this node as the follower of `from`, which leads the present term; `None` if there
    /// is another leader in it, which no correct cluster shows.
    pub(super) fn heed(
        &mut self,
        now: Timestamp,
        from: NodeId,
    ) -> Option<(&mut Follower, &mut Core)> {
        match &self.role {
            // A candidate concedes to the winner of its term (§3.4, museum A20).
            Role::PreCandidate(_) | Role::Candidate(_) => {
                self.follow(now, self.core.term(), Some(from));
            }
            Role::Follower(_) | Role::Leader(_) => {}
        }
        match &mut self.role {
            Role::Follower(follower) => {
                let heeds = follower.heed(&mut self.core, now, from);
                heeds.then_some((follower, &mut self.core))
            }
            Role::PreCandidate(_) | Role::Candidate(_) | Role::Leader(_) => None,
        }
    }

    /// Asks whether an election could be won, before disturbing anybody with a new term (§9.6). A
    /// node that may not stand goes on waiting, and one whose disk hangs: it could not even write
    /// its own vote.
    pub(super) fn pre_campaign(&mut self, now: Timestamp) {
        let hurries = self.hurries();
        let election = match hurries {
            0 => self.core.draw_election(now),
            _ => now.after(self.core.round_of_turns_ns()),
        };
        let stands_in = || self.core.stands_in_from().is_some_and(|from| now >= from);
        let may_stand = self.core.may_campaign() || stands_in();
        if !may_stand || self.core.disk_hangs(now) {
            self.become_role(Role::Follower(Follower::new(None, now, election)));
            self.core.tell(Event::Leader(None));
            return;
        }
        let candidate = PreCandidate::new(self.core.id(), election, hurries);
        candidate.ask(&mut self.core);
        let tally = candidate.tally(&self.core);
        self.become_role(Role::PreCandidate(candidate));
        self.core.tell(Event::Leader(None));
        if tally == Tally::Won {
            self.campaign(now, false);
        }
    }

    /// Returns how often this node asks again soon if it asks for pre-votes now: some times if its
    /// leader has gone.
    fn hurries(&self) -> u32 {
        match &self.role {
            Role::Follower(follower) if follower.is_left() => HURRIES,
            Role::PreCandidate(candidate) => candidate.hurries().saturating_sub(1),
            Role::Follower(_) | Role::Candidate(_) | Role::Leader(_) => 0,
        }
    }

    /// Stands for election in a new term (§3.4). `transfer` says that the leader asked for it.
    pub(super) fn campaign(&mut self, now: Timestamp, transfer: bool) {
        self.core.enter_own_campaign();
        let candidate = Candidate::new(self.core.draw_election(now));
        candidate.ask(&mut self.core, transfer);
        self.become_role(Role::Candidate(candidate));
    }

    /// Takes office.
    pub(super) fn lead(&mut self, now: Timestamp) {
        self.become_role(Role::Leader(Box::new(Leader::new(&self.core, now))));
        self.core.tell(Event::Leader(Some(self.core.id())));
        if let Role::Leader(leader) = &mut self.role {
            leader.take_office(&mut self.core, now);
        }
    }

    /// Ends the present role, begins another one, and tells observers if that is of another kind.
    fn become_role(&mut self, role: Role) {
        let before = mem::replace(&mut self.role, role);
        let kind = before.kind();
        before.leave(&mut self.core);
        if kind != self.role.kind() {
            self.core.tell(Event::Role(self.role.kind(), self.core.term()));
        }
    }
}
