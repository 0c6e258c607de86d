//! Elections: pre-vote (§9.6), votes (§3.4), the up-to-date check (§3.6.1), becoming leader.

use std::collections::BTreeMap;

use crate::actions::{Event, HardState, Rejection, Reply};
use crate::configuration::Tally;
use crate::entry::{Entry, Payload};
use crate::ids::{EntryId, NodeId, Term, Timestamp};
use crate::message::{Body, Message, Verdict};
use crate::progress::Progress;
use crate::raft::Raft;
use crate::reads::Reads;
use crate::role::{Candidacy, Follower, Leader, Role};

impl Raft {
    /// Becomes a follower of `leader`, if known, in `term`. A vote given in this term stays given:
    /// only a higher term clears it (museum A1, A2).
    pub(crate) fn follow(&mut self, now: Timestamp, term: Term, leader: Option<NodeId>) {
        assert!(term >= self.term(), "terms never decrease (§3.3)");
        if term > self.term() {
            self.set_hard_state(HardState { term, voted_for: None });
        }
        // Who was waiting for an election goes on waiting: a higher term alone is no reason to
        // give the candidate more time (hearing from a leader, or granting a vote, is).
        let election = match &self.role {
            Role::Follower(follower) => follower.election.max(now),
            Role::PreCandidate(_) | Role::Candidate(_) | Role::Leader(_) => now,
        };
        let election = if election > now { election } else { self.draw_election(now) };
        if let Some(contact) = self.quorum_contact(now) {
            self.contact = Some((self.id, contact));
        }
        self.become_role(Role::Follower(Follower::new(leader, now, election)));
        self.tell_leader(leader);
    }

    /// Changes the role, tells observers, and ends what only a leader can finish.
    fn become_role(&mut self, role: Role) {
        let before = self.role.kind();
        match std::mem::replace(&mut self.role, role) {
            Role::Leader(leader) => {
                for request in leader.reads.into_requests() {
                    self.reject(request, Rejection::NoQuorum);
                }
                if let Some(request) = leader.change {
                    self.out.reply.push(Reply::Undecided { request });
                }
                if let Some(transfer) = leader.transfer {
                    self.out.reply.push(Reply::Done { request: transfer.into_request() });
                }
            }
            // What the old leader still answers is thrown away (museum F4).
            Role::Follower(follower) => {
                for request in follower.forwarding.into_requests() {
                    self.reject(request, Rejection::NoQuorum);
                }
            }
            Role::PreCandidate(_) | Role::Candidate(_) => {}
        }
        if before != self.role.kind() {
            self.out.event.push(Event::Role(self.role.kind(), self.term()));
        }
    }

    fn tell_leader(&mut self, leader: Option<NodeId>) {
        self.out.event.push(Event::Leader(leader));
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

    /// Says whether this node may stand: a voter of the latest configuration in its own log, with
    /// the data directory that is recorded there. Whom that configuration removes may stand until
    /// it is committed: perhaps nobody else can finish the change (§4.2.2).
    pub(crate) fn may_campaign(&self) -> bool {
        let uncommitted = self.membership.index() > self.commit;
        let leaving = uncommitted && self.membership.previous().is_voter(self.id);
        (self.membership.latest().is_voter(self.id) || leaving) && self.may_vote()
    }

    /// Says whether this node may vote. It need not know itself for a voter (museum C10), but it
    /// must belong to a cluster, and not have lost its memory.
    pub(crate) fn may_vote(&self) -> bool {
        let configuration = self.membership.latest();
        let own = configuration.member(self.id);
        !configuration.members().is_empty()
            && own.is_none_or(|member| member.incarnation == self.incarnation)
    }

    /// Asks whether an election could be won, before disturbing anybody with a new term (§9.6).
    pub(crate) fn pre_campaign(&mut self, now: Timestamp) {
        let election = self.draw_election(now);
        if !self.may_campaign() {
            self.become_role(Role::Follower(Follower::new(None, now, election)));
            return;
        }
        let votes = BTreeMap::from([(self.id, Verdict::Granted)]);
        self.become_role(Role::PreCandidate(Candidacy { votes, election }));
        self.tell_leader(None);
        let body = Body::RequestPreVote { last: self.log.last() };
        let message = Message { term: self.term().next(), body };
        for voter in self.other_voters() {
            self.send(voter, message.clone());
        }
        self.count_votes(now);
    }

    /// Stands for election (§3.4). Neither the requests nor the own vote leave before term and
    /// vote are durable: a candidate that forgot its campaign could repeat it with a shorter log.
    pub(crate) fn campaign(&mut self, now: Timestamp, transfer: bool) {
        let hard_state = HardState { term: self.term().next(), voted_for: Some(self.id) };
        self.set_hard_state(hard_state);
        let election = self.draw_election(now);
        let votes = BTreeMap::new();
        self.become_role(Role::Candidate(Candidacy { votes, election }));
        let last = self.log.last();
        for voter in self.other_voters() {
            self.promise(voter, Body::RequestVote { last, transfer });
        }
        self.promise_own_vote();
    }

    fn other_voters(&self) -> Vec<NodeId> {
        let voters = self.membership.latest().voters();
        voters.iter().filter(|voter| *voter != self.id).collect()
    }

    pub(crate) fn count_own_vote(&mut self, now: Timestamp, term: Term) {
        if term != self.term() {
            return;
        }
        if let Role::Candidate(candidacy) = &mut self.role {
            candidacy.votes.insert(self.id, Verdict::Granted);
            self.count_votes(now);
        }
    }

    fn count_votes(&mut self, now: Timestamp) {
        let (Role::PreCandidate(candidacy) | Role::Candidate(candidacy)) = &self.role else {
            return;
        };
        let vote = |voter| candidacy.votes.get(&voter).map(|v| *v == Verdict::Granted);
        if self.membership.latest().voters().tally(vote) != Tally::Won {
            return;
        }
        match &self.role {
            Role::PreCandidate(_) => self.campaign(now, false),
            Role::Candidate(_) => self.lead(now),
            Role::Follower(_) | Role::Leader(_) => {}
        }
    }

    /// Answers whether this node *would* vote. That promises nothing, so it is said at once, and
    /// it does not put off this node's own election (museum A22).
    pub(crate) fn on_request_pre_vote(
        &mut self,
        now: Timestamp,
        from: NodeId,
        term: Term,
        last: EntryId,
    ) {
        let verdict = if term <= self.term() {
            Verdict::StaleTerm
        } else if !self.may_vote() || self.sits_out(now) {
            Verdict::NotEligible
        } else if self.leader_alive(now, from) {
            Verdict::LeaderAlive
        } else if !self.is_up_to_date(last) {
            Verdict::LogBehind
        } else {
            Verdict::Granted
        };
        // A grant names the proposed term, so that it is not dropped as stale (museum D1); a
        // refusal the own one, so that a candidate that is behind learns of it (museum D2).
        let granted = verdict == Verdict::Granted;
        let term = if granted { term } else { self.term() };
        self.send(from, Message { term, body: Body::PreVote { verdict } });
    }

    pub(crate) fn on_pre_vote(
        &mut self,
        now: Timestamp,
        from: NodeId,
        term: Term,
        verdict: Verdict,
    ) {
        let proposed = self.term().next();
        let Role::PreCandidate(candidacy) = &mut self.role else {
            return;
        };
        if verdict == Verdict::Granted && term != proposed {
            return;
        }
        candidacy.votes.insert(from, verdict);
        if verdict != Verdict::Granted {
            self.out.event.push(Event::VoteRefused { by: from, verdict });
        }
        self.count_votes(now);
    }

    /// Votes, at most once a term, first come first served (§3.4), and only for a candidate whose
    /// log is at least as up-to-date (§3.6.1).
    pub(crate) fn on_request_vote(
        &mut self,
        now: Timestamp,
        from: NodeId,
        term: Term,
        last: EntryId,
        transfer: bool,
    ) {
        let free = self.hard_state.voted_for.is_none_or(|voted| voted == from);
        let verdict = if term < self.term() {
            Verdict::StaleTerm
        } else if !self.may_vote() || !transfer && self.sits_out(now) {
            Verdict::NotEligible
        } else if !transfer && self.leader_alive(now, from) {
            Verdict::LeaderAlive
        } else if !free {
            Verdict::AlreadyVoted
        } else if !self.is_up_to_date(last) {
            Verdict::LogBehind
        } else {
            Verdict::Granted
        };
        if verdict == Verdict::Granted {
            let term = self.term();
            self.set_hard_state(HardState { term, voted_for: Some(from) });
            // Granting puts off the own election; refusing does not (museum A22).
            let election = self.draw_election(now);
            match &mut self.role {
                Role::Follower(follower) => follower.election = election,
                Role::PreCandidate(_) | Role::Candidate(_) | Role::Leader(_) => {
                    self.follow(now, term, None);
                }
            }
        }
        self.promise(from, Body::Vote { verdict });
    }

    pub(crate) fn on_vote(&mut self, now: Timestamp, from: NodeId, verdict: Verdict) {
        let Role::Candidate(candidacy) = &mut self.role else {
            return;
        };
        candidacy.votes.insert(from, verdict);
        if verdict != Verdict::Granted {
            self.out.event.push(Event::VoteRefused { by: from, verdict });
        }
        self.count_votes(now);
    }

    /// Compares by the last entry: term first, then index (§3.6.1, museum A8, A9).
    fn is_up_to_date(&self, last: EntryId) -> bool {
        last >= self.log.last()
    }

    /// Takes office: a no-op opens the term (§3.6.2, §6.4), and of the followers nothing is known.
    fn lead(&mut self, now: Timestamp) {
        let first = self.log.last().index.next();
        let members = self.membership.latest().members().keys().copied();
        let others = members.filter(|member| *member != self.id);
        let progress = others.map(|member| (member, Progress::new(first, now))).collect();
        let leader = Leader {
            first,
            since: now,
            stamp: self.stamp,
            progress,
            heartbeat: now.after(self.config.heartbeat_ns),
            quorum_check: now.after(self.config.election_timeout_ns.start),
            reads: Reads::default(),
            change: None,
            departing: None,
            transfer: None,
            handed_over: false,
        };
        self.become_role(Role::Leader(leader));
        self.tell_leader(Some(self.id));
        let id = EntryId { term: self.term(), index: first };
        let stamp = self.stamp;
        self.append(Entry { id, stamp, payload: Payload::Noop });
        self.sync_progress(now);
        self.renew_lease(now);
        self.broadcast_heartbeat();
    }
}
