//! What a node is as a voter, whatever its role: its term and vote, its patience, and the leader
//! that it stands by.

use super::Core;
use crate::rules::vote::{self, Voter};
use crate::vocabulary::actions::{HardState, Vote};
use crate::vocabulary::ids::{NodeId, Term, Timestamp};

/// A learner stands for election when it has heard of no leader for so many of the longest election
/// timeouts: the voters have tried as often.
const SILENT_ELECTIONS: u64 = 4;

/// Voters whose leader has gone ask for votes so often within a heartbeat's time.
const TURNS_PER_HEARTBEAT: u64 = 5;

impl Core {
    /// Enters `term`. A vote given in the present term stays given: only a higher term clears it
    /// (museum A1, A2).
    ///
    /// # Panics
    /// If the term would decrease (§3.3).
    pub(crate) fn enter_term(&mut self, term: Term) {
        assert!(term >= self.term(), "terms never decrease (§3.3)");
        if term > self.term() {
            self.set_hard_state(HardState { term, vote: None });
        }
    }

    /// Gives this term's vote (§3.4).
    pub(crate) fn give(&mut self, vote: Vote) {
        let term = self.term();
        self.set_hard_state(HardState { term, vote: Some(vote) });
    }

    /// Enters the next term, with the vote for this node itself (§3.4).
    pub(crate) fn enter_own_campaign(&mut self) {
        let (term, vote) = (self.term().next(), Some(self.own_vote()));
        self.set_hard_state(HardState { term, vote });
    }

    /// Returns the vote for this node itself.
    fn own_vote(&self) -> Vote {
        Vote { candidate: self.id, incarnation: self.incarnation }
    }

    /// Says whether this term's vote is for this node itself.
    pub(crate) fn has_own_vote(&self) -> bool {
        self.vote() == Some(self.own_vote())
    }

    fn set_hard_state(&mut self, hard_state: HardState) {
        if self.hard_state != hard_state {
            if hard_state.term > self.hard_state.term {
                self.durability.forget_before(hard_state.term);
                self.out.promises.clear();
            }
            self.hard_state = hard_state;
            self.out.hard_state = true;
        }
    }

    /// Says whether term and vote are on disk exactly as they are in memory.
    pub(crate) fn hard_state_durable(&self) -> bool {
        !self.out.hard_state && self.durability.hard_state_durable()
    }

    /// Returns what a request for this node's vote is answered by. `leader_alive` says whether this
    /// node leads, or hears from a leader other than the candidate.
    pub(crate) fn voter(&self, now: Timestamp, leader_alive: bool) -> Voter {
        Voter {
            term: self.term(),
            vote: self.vote(),
            last: self.log.last(),
            eligible: vote::may_vote(self.configuration(), self.id, self.incarnation),
            sits_out: self.sits_out(now),
            leader_alive,
        }
    }

    /// Says whether this node may stand for election.
    pub(crate) fn may_campaign(&self) -> bool {
        let (latest, before) = (self.configuration(), self.superseded());
        vote::may_campaign(latest, before, self.id, self.incarnation)
    }

    /// Returns from when on this node may stand for election although it is none of the voters that
    /// it knows of; `None` if it may not at all. Others may count on its vote, and it may have what
    /// they lack (§4.2.2): but only when no leader was heard of for so long that one would have
    /// been elected without it.
    pub(crate) fn stands_in_from(&self) -> Option<Timestamp> {
        let stands = vote::may_stand_in(self.configuration(), self.id, self.incarnation);
        let wait_ns = self.config.election_timeout_ns.end.saturating_mul(SILENT_ELECTIONS);
        stands.then(|| self.contact.latest().after(wait_ns))
    }

    /// Returns how long this node waits, in nanoseconds, before it asks for votes because `leader`
    /// has gone: the others need a moment to notice that as well, and then one comes behind the
    /// other, in the order of their ids from that leader on, so that votes are not split.
    pub(crate) fn turn_behind_ns(&self, leader: NodeId) -> u64 {
        let turn_ns = self.config.heartbeat_ns / TURNS_PER_HEARTBEAT;
        let place = |id: NodeId| (id < leader, id);
        let before = |voter: &NodeId| *voter != leader && place(*voter) < place(self.id);
        let turns = self.other_voters().iter().filter(|voter| before(voter)).count() as u64;
        turn_ns / 2 + turns.saturating_mul(turn_ns)
    }

    /// Returns how long this node waits, in nanoseconds, before it asks once more because its
    /// leader has gone: until all others had their turns.
    pub(crate) fn round_of_turns_ns(&self) -> u64 {
        let turns = self.other_voters().len() as u64;
        (self.config.heartbeat_ns / TURNS_PER_HEARTBEAT).saturating_mul(turns.max(1))
    }

    /// Returns the voters but this node.
    pub(crate) fn other_voters(&self) -> Vec<NodeId> {
        self.voters().iter().filter(|voter| *voter != self.id).collect()
    }

    /// Draws when to campaign if nothing is heard until then (§3.4).
    pub(crate) fn draw_election(&mut self, now: Timestamp) -> Timestamp {
        let range = self.config.election_timeout_ns.clone();
        let width = range.end - range.start;
        let drawn = match self.config.freedom.extreme_timers {
            true if self.rng.one_in(2) => 0,
            true => width - 1,
            false => self.rng.below(width),
        };
        now.after(range.start + drawn)
    }

    /// Says yes once in `n` times where the protocol leaves a freedom that is used.
    pub(crate) fn at_random(&mut self, used: bool, n: u64) -> bool {
        used && self.rng.one_in(n)
    }

    /// Draws a number, for a freedom that is used.
    pub(crate) fn draw(&mut self) -> u64 {
        self.rng.next()
    }

    /// Draws a number below `bound`, for a freedom that is used.
    pub(crate) fn draw_below(&mut self, bound: u64) -> u64 {
        self.rng.below(bound)
    }

    /// Notes that `leader` was heard from, or, if that is this node, when it heard from a quorum.
    pub(crate) fn note_contact(&mut self, leader: NodeId, when: Timestamp) {
        self.contact.note(leader, when);
    }

    /// Returns when this node last heard from a leader, or, if it led since, from a quorum.
    pub(crate) fn contact(&self) -> Option<Timestamp> {
        self.contact.when()
    }

    /// Returns who asks for a vote, unless that is another data directory under a member's id: it
    /// is not the leader that was heard from under that id.
    pub(crate) fn known(&self, vote: Vote) -> Option<NodeId> {
        let Vote { candidate, incarnation } = vote;
        let member = self.configuration().member(candidate);
        member.is_none_or(|member| member.incarnation == incarnation).then_some(candidate)
    }

    /// Says whether this node stands by a leader other than `candidate`, to which it may have
    /// granted a lease that still runs (§6.4.1).
    pub(crate) fn stands_by(&self, now: Timestamp, candidate: Option<NodeId>) -> bool {
        self.grants_leases() && self.contact.stands_by(now, self.id, candidate, self.patience_ns())
    }

    /// Says whether this node started so lately that a lease may still run that it has granted and
    /// forgotten.
    pub(crate) fn sits_out(&self, now: Timestamp) -> bool {
        self.grants_leases() && self.contact.sits_out(now, self.patience_ns())
    }

    /// Says whether answers to a leader are promises that it may serve reads by its clock.
    pub(crate) fn grants_leases(&self) -> bool {
        self.config.lease_clock_error_ppm.is_some()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use crate::core::tests::node;
    use crate::vocabulary::config::Config;

    /// A simulation that never took these turns would find nothing behind them.
    #[test]
    fn a_freedom_is_used_now_and_then_and_one_that_is_off_never() {
        let mut core = node(Config::new(1));
        let often = (0..1_600).filter(|_| core.at_random(true, 16)).count();
        assert!((60..=140).contains(&often), "about 100: {often}");
        assert!((0..100).all(|_| !core.at_random(false, 1)));
    }

    #[test]
    fn numbers_drawn_for_a_freedom_cover_what_is_open() {
        let mut core = node(Config::new(1));
        let below: BTreeSet<u64> = (0..100).map(|_| core.draw_below(3)).collect();
        assert_eq!(below, [0, 1, 2].into());
        let drawn: BTreeSet<u64> = (0..100).map(|_| core.draw()).collect();
        assert_eq!(drawn.len(), 100, "each is another one");
    }
}
