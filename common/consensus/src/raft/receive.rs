//! Takes messages in: judges them (§3.3), and hands each to the role that it is for.

use super::Raft;
use crate::role::Role;
use crate::rules::messages;
use crate::rules::vote::{self, Campaign};
use crate::vocabulary::actions::{Ignored, Vote};
use crate::vocabulary::configuration::Tally;
use crate::vocabulary::ids::{EntryId, Incarnation, NodeId, Term, Timestamp};
use crate::vocabulary::input::SnapshotMeta;
use crate::vocabulary::message::{Body, Message, Verdict};
use crate::vocabulary::status::RoleKind;

impl Raft {
    pub(super) fn receive(
        &mut self,
        now: Timestamp,
        from: NodeId,
        incarnation: Incarnation,
        message: Message,
    ) {
        if let Err(why) = messages::judge(&self.core.receiver(), from, incarnation, &message) {
            self.core.ignore(from, why);
            return;
        }
        let Message { term, body } = message;
        let vote = Vote { candidate: from, incarnation };
        if term > self.core.term() && messages::raises_term(&body, self.stands_by_leader(now, vote))
        {
            self.follow(now, term, None);
        }
        if term < self.core.term() && !messages::is_answered_when_stale(&body) {
            return;
        }
        self.hand_over(now, vote, term, body);
    }

    /// Hands a message to the role that it is for; to another one it means nothing any more.
    fn hand_over(&mut self, now: Timestamp, vote: Vote, term: Term, body: Body) {
        let (core, from) = (&mut self.core, vote.candidate);
        match body {
            Body::RequestPreVote { last } => {
                let campaign = Campaign { vote, term, last, transfer: false };
                self.on_request_pre_vote(now, &campaign);
            }
            Body::PreVote { verdict } => self.on_pre_vote(now, from, term, verdict),
            Body::RequestVote { last, transfer } => {
                let campaign = Campaign { vote, term, last, transfer };
                self.on_request_vote(now, &campaign);
            }
            Body::Vote { candidate: _, verdict } => self.on_vote(now, from, verdict),
            Body::TimeoutNow { last } => self.on_timeout_now(now, from, last),
            Body::AppendEntries { prev, round, .. } if term < core.term() => {
                // The answer carries the newer term: the sender steps down (museum D4).
                core.promise(from, Body::Conflict { refused: prev, hint: EntryId::ZERO, round });
            }
            Body::AppendEntries { prev, entries, commit, round } => match self.heed(now, from) {
                Some((follower, core)) => {
                    follower.on_append_entries(core, from, prev, entries, commit, round);
                }
                None => self.ignore_leader(from),
            },
            Body::Appended { matched, round } => {
                if let Role::Leader(leader) = &mut self.role {
                    leader.on_appended(core, now, from, matched, round);
                }
            }
            Body::Conflict { refused, hint, round } => {
                if let Role::Leader(leader) = &mut self.role {
                    leader.on_conflict(core, now, from, refused, hint, round);
                }
            }
            Body::SnapshotInstalled { last } => {
                if let Role::Leader(leader) = &mut self.role {
                    leader.on_snapshot_installed(core, now, from, last);
                }
            }
            Body::ReadIndex { ticket } => match self.role.leader_mut() {
                Some(leader) if term == core.term() => leader.on_read_index(core, from, ticket),
                Some(_) | None => core.send(from, Body::ReadIndexReply { ticket, index: None }),
            },
            Body::ReadIndexReply { ticket, index } => {
                if let Role::Follower(follower) = &mut self.role {
                    follower.on_read_index_reply(core, from, ticket, index);
                }
            }
            // Not the core's business.
            Body::Effects { .. } | Body::Room { .. } => {}
        }
    }

    /// Another node leads the present term as well as the one that this node knows. If that is this
    /// node itself, its process must end: what either of them commits is not safe.
    ///
    /// # Panics
    /// If this node leads.
    fn ignore_leader(&mut self, from: NodeId) {
        let (term, own) = (self.core.term(), self.core.id());
        assert!(
            self.role.leader().is_none(),
            "one leader a term (§3.4): node {own} leads term {term}, and so does node {from}: a \
             voter has forgotten its vote, or runs twice"
        );
        self.core.ignore(from, Ignored::Malformed);
    }

    /// Answers whether this node *would* vote. That promises nothing, so it is said at once, and
    /// it does not put off this node's own election (museum A22).
    fn on_request_pre_vote(&mut self, now: Timestamp, campaign: &Campaign) {
        let leader_alive = self.role.leader_alive(&self.core, now, self.core.known(campaign.vote));
        let verdict = vote::pre_vote(&self.core.voter(now, leader_alive), campaign);
        // A grant names the proposed term, so that it is not dropped as stale (museum D1); a
        // refusal the own one, so that a candidate that is behind learns of it (museum D2).
        let granted = verdict == Verdict::Granted;
        let term = if granted { campaign.term } else { self.core.term() };
        self.core.send_in(term, campaign.vote.candidate, Body::PreVote { verdict });
        if let Role::PreCandidate(candidate) = &mut self.role
            && granted
        {
            candidate.give_way(&self.core, campaign.vote.candidate);
        }
    }

    fn on_pre_vote(&mut self, now: Timestamp, from: NodeId, term: Term, verdict: Verdict) {
        if let Role::PreCandidate(candidate) = &mut self.role
            && candidate.on_pre_vote(&mut self.core, from, term, verdict) == Tally::Won
        {
            self.campaign(now, false);
        }
    }

    /// Votes, or not. The answer leaves when the vote is durable.
    fn on_request_vote(&mut self, now: Timestamp, campaign: &Campaign) {
        let Vote { candidate, incarnation } = campaign.vote;
        let leader_alive = self.role.leader_alive(&self.core, now, self.core.known(campaign.vote));
        let verdict = vote::vote(&self.core.voter(now, leader_alive), campaign);
        if verdict == Verdict::Granted {
            self.core.give(campaign.vote);
            if self.role.kind() != RoleKind::Follower {
                self.step_down(now);
            }
            if let Role::Follower(follower) = &mut self.role {
                follower.put_off_election(&mut self.core, now);
            }
        }
        self.core.promise(candidate, Body::Vote { candidate: incarnation, verdict });
    }

    fn on_vote(&mut self, now: Timestamp, from: NodeId, verdict: Verdict) {
        if let Role::Candidate(candidate) = &mut self.role
            && candidate.on_vote(&mut self.core, from, verdict) == Tally::Won
        {
            self.lead(now);
        }
    }

    /// The leader asks this node to campaign at once. Pre-vote and the wait are left out: that
    /// leader lives, and wants it (§3.10, museum E2).
    fn on_timeout_now(&mut self, now: Timestamp, from: NodeId, last: EntryId) {
        if let Role::Follower(follower) = &self.role
            && follower.on_timeout_now(&self.core, now, from, last)
        {
            self.campaign(now, true);
        }
    }

    /// Takes a leader's snapshot, which is durable here (figure 5.3); one of an older term is
    /// ignored, and one that arrives while another is being installed.
    pub(super) fn on_snapshot(
        &mut self,
        now: Timestamp,
        from: NodeId,
        term: Term,
        meta: SnapshotMeta,
    ) {
        let own = self.core.term();
        if !messages::is_plausible_snapshot(&meta, term, own) || from == self.core.id() {
            self.core.ignore(from, Ignored::Malformed);
            return;
        }
        if term > own {
            self.follow(now, term, None);
        }
        if term < own || self.core.installing().is_some() {
            return;
        }
        match self.heed(now, from) {
            Some((follower, core)) => follower.on_snapshot(core, from, meta),
            None => self.core.ignore(from, Ignored::Malformed),
        }
    }

    /// Says whether to give `vote` would break what this node stands by: a live leader, or
    /// a lease that it may have granted before it restarted.
    fn stands_by_leader(&self, now: Timestamp, vote: Vote) -> bool {
        self.role.leader_alive(&self.core, now, self.core.known(vote)) || self.core.sits_out(now)
    }
}
