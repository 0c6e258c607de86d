//! The replica as a value: state, step, drain, deadline. It only dispatches: what a role does is in
//! its folder, what all roles have is in `core`, and what decides is in `rules`.

use crate::core::Core;
use crate::core::durability::Promise;
use crate::follower::Follower;
use crate::invariants;
use crate::leader::Leadership;
use crate::role::Role;
use crate::vocabulary::actions::{Actions, Event, Rejection};
use crate::vocabulary::config::{Config, ConfigError, Restored};
use crate::vocabulary::configuration::Tally;
use crate::vocabulary::ids::{NodeId, Term, Timestamp, WriteId};
use crate::vocabulary::input::{Input, Timer};

mod receive;
mod requests;
mod status;
mod transitions;

/// One replica: a value of a few hundred bytes, whatever the length of the log.
///
/// See the [crate documentation](crate) for how it is driven.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Raft {
    core: Core,
    role: Role,
}

impl Raft {
    /// Starts a replica from what its disk holds. It starts as a follower without a leader (§3.4),
    /// whatever it was before (museum A14).
    ///
    /// # Errors
    /// If settings or the parts of `disk` contradict each other.
    pub fn restore(
        id: NodeId,
        config: Config,
        disk: Restored,
        now: Timestamp,
    ) -> Result<Self, ConfigError> {
        let mut core = Core::restore(id, config, disk, now)?;
        let election = core.draw_election(now);
        Ok(Self { core, role: Role::Follower(Follower::new(None, now, election)) })
    }

    /// Takes one input, at a time that was read *after* the input had arrived (leases rest on it).
    /// Refusals of requests come as a [`Reply`](crate::Reply); messages that make no sense, or come
    /// from nodes that have no say, change nothing and are told as an [`Event`](crate::Event).
    ///
    /// # Panics
    /// If the driver breaks its contract (acknowledges a write that it was not given, reports as
    /// applied what it was not given), or an invariant of the protocol is broken.
    pub fn step(&mut self, now: Timestamp, input: Input) {
        if self.core.has_failed() {
            self.step_failed(&input);
            return;
        }
        match input {
            Input::Receive { from, incarnation, message } => {
                self.receive(now, from, incarnation, message);
            }
            Input::Timeout(timer) => self.timeout(now, timer),
            Input::Propose { request, commands } => self.propose(now, request, commands),
            Input::Read { request } => self.read(request),
            Input::Reconfigure { request, target } => self.reconfigure(now, request, &target),
            Input::Transfer { request, to } => self.transfer(now, request, to),
            Input::Persisted { write } => self.persisted(now, write),
            Input::WriteFailed { .. } => self.fail(now),
            Input::Applied { index } => self.core.note_applied(index),
            Input::SnapshotTaken { meta } => self.core.compact(&meta),
            Input::SnapshotReceived { from, term, meta } => {
                self.on_snapshot(now, from, term, meta);
            }
            Input::SnapshotSent { to, delivered: _ } => {
                if let Role::Leader(leader) = &mut self.role {
                    leader.snapshot_sent(&self.core, now, to);
                }
            }
            Input::Unreachable { peer } => {
                if let Role::Leader(leader) = &mut self.role {
                    leader.unreachable(peer);
                }
            }
            Input::Gone { peer } => {
                if let Role::Follower(follower) = &mut self.role {
                    follower.gone(&self.core, now, peer);
                }
            }
        }
    }

    /// Returns everything that is to be done since the last drain, merged, in lanes.
    pub fn drain(&mut self, now: Timestamp) -> Actions {
        if self.core.has_failed() {
            return self.core.take_actions(None);
        }
        self.advance(now);
        let write = self.core.take_write(now);
        for promise in self.core.hold_promises() {
            self.release(now, promise);
        }
        self.core.take_actions(write)
    }

    /// Returns when to wake this replica by [`Input::Timeout`], and why. Changes with every step
    /// and drain.
    pub fn deadline(&self) -> Option<(Timestamp, Timer)> {
        if self.core.has_failed() {
            return None;
        }
        self.role.deadline(&self.core)
    }

    /// Checks the state between two steps. It allocates nothing, and takes a few comparisons for
    /// each member.
    ///
    /// # Panics
    /// If an invariant is broken: the process must not go on.
    pub fn check_state(&self) {
        invariants::check_state(&self.core, &self.role);
    }

    /// Checks the step from `before` to this state.
    ///
    /// # Panics
    /// If an invariant is broken.
    pub fn check_transition(&self, before: &Self) {
        invariants::check_transition((&before.core, &before.role), (&self.core, &self.role));
    }

    /// Does what the inputs since the last drain allow, once for all of them.
    fn advance(&mut self, now: Timestamp) {
        let core = &mut self.core;
        match &mut self.role {
            Role::Follower(follower) => follower.ask_leader(core, now),
            Role::PreCandidate(_) | Role::Candidate(_) => {}
            Role::Leader(leader) => {
                leader.advance_commit(core);
                leader.advance_vetting(core, now);
                match leader.advance_change(core, now) {
                    Leadership::GoesOn => {
                        leader.serve_reads(core, now);
                        leader.replicate(core, now);
                    }
                    Leadership::Ends => self.step_down(now),
                }
            }
        }
    }

    fn timeout(&mut self, now: Timestamp, timer: Timer) {
        let core = &mut self.core;
        match (timer, &mut self.role) {
            (Timer::Election, role) => {
                if role.election().is_some_and(|due| now >= due) {
                    self.pre_campaign(now);
                }
            }
            (Timer::Heartbeat, Role::Leader(leader)) => leader.heartbeat(core, now),
            (Timer::QuorumCheck, Role::Leader(leader)) => {
                if leader.check_quorum(core, now) == Leadership::Ends {
                    self.step_down(now);
                }
            }
            (Timer::Transfer, Role::Leader(leader)) => leader.abort_transfer(core, now),
            (Timer::ReadIndex, Role::Follower(follower)) => follower.retry_reads(core, now),
            (Timer::Question | Timer::Feed, _) => {}
            // Stale: the role that set this deadline is gone.
            (Timer::ReadIndex, Role::PreCandidate(_) | Role::Candidate(_) | Role::Leader(_))
            | (
                Timer::Heartbeat | Timer::QuorumCheck | Timer::Transfer,
                Role::Follower(_) | Role::PreCandidate(_) | Role::Candidate(_),
            ) => {}
        }
    }

    fn persisted(&mut self, now: Timestamp, write: WriteId) {
        for promise in self.core.persisted(write) {
            self.release(now, promise);
        }
    }

    /// What this promise claims is durable: say it.
    fn release(&mut self, now: Timestamp, promise: Promise) {
        match promise {
            Promise::Message { to, message } => self.core.send_released(to, message),
            Promise::OwnVote { term } => self.count_own_vote(now, term),
        }
    }

    fn count_own_vote(&mut self, now: Timestamp, term: Term) {
        if let Role::Candidate(candidate) = &mut self.role
            && term == self.core.term()
            && candidate.on_own_vote(&mut self.core) == Tally::Won
        {
            self.lead(now);
        }
    }

    /// The disk failed: stop claiming anything, and stop leading. The last word is for the
    /// successor, and promises nothing.
    fn fail(&mut self, now: Timestamp) {
        let leader = self.role.leader();
        let last_words = leader.and_then(|leader| leader.last_words(&self.core, now));
        self.step_down(now);
        self.core.fail();
        if let Some((to, body)) = last_words {
            self.core.send(to, body);
            self.core.tell(Event::HandsOver { to });
        }
    }

    fn step_failed(&mut self, input: &Input) {
        match input {
            Input::Propose { request, .. }
            | Input::Read { request }
            | Input::Reconfigure { request, .. }
            | Input::Transfer { request, .. } => {
                self.core.reject(*request, Rejection::DiskFailed);
            }
            Input::Applied { index } => self.core.note_applied(*index),
            Input::Receive { .. }
            | Input::Timeout(_)
            | Input::Persisted { .. }
            | Input::WriteFailed { .. }
            | Input::SnapshotTaken { .. }
            | Input::SnapshotReceived { .. }
            | Input::SnapshotSent { .. }
            | Input::Unreachable { .. }
            | Input::Gone { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::candidate::Candidate;
    use crate::core::tests::node;
    use crate::leader::Leader;

    /// Checks a node in this role, in a term in which it has voted for itself, or for nobody.
    fn checked(votes_for_itself: bool, role: impl FnOnce(&mut Core) -> Role) {
        let mut core = node(Config::new(1));
        if votes_for_itself {
            core.enter_own_campaign();
        }
        let role = role(&mut core);
        Raft { core, role }.check_state();
    }

    fn candidate(_: &mut Core) -> Role {
        Role::Candidate(Candidate::new(Timestamp::ZERO))
    }

    fn leader_in_office(core: &mut Core) -> Role {
        let mut leader = Leader::new(core, Timestamp::ZERO);
        leader.take_office(core, Timestamp::ZERO);
        Role::Leader(Box::new(leader))
    }

    fn follower(leader: Option<NodeId>) -> Role {
        Role::Follower(Follower::new(leader, Timestamp::ZERO, Timestamp::ZERO))
    }

    #[test]
    fn who_has_its_own_vote_may_stand_and_lead_s3_4() {
        checked(true, candidate);
        checked(true, leader_in_office);
        checked(false, |_| follower(None));
    }

    #[test]
    #[should_panic(expected = "a candidate votes for itself")]
    fn a_candidate_without_its_own_vote_ends_a_process_s3_4() {
        checked(false, candidate);
    }

    #[test]
    #[should_panic(expected = "a leader has its own vote")]
    fn a_leader_without_its_own_vote_ends_a_process_s3_4() {
        checked(false, leader_in_office);
    }

    #[test]
    #[should_panic(expected = "a leader's no-op is in its log")]
    fn a_leader_that_did_not_open_its_term_ends_a_process_s6_4() {
        checked(true, |core| Role::Leader(Box::new(Leader::new(core, Timestamp::ZERO))));
    }

    #[test]
    #[should_panic(expected = "nobody follows itself")]
    fn a_follower_of_itself_ends_a_process() {
        checked(false, |core| follower(Some(core.id())));
    }
}
