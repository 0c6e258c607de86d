//! Linearizable reads without the log: ReadIndex, batched (§6.4).
//!
//! A read notes the commit index, and may be served at that index once a round of heartbeats that
//! began *after* the read arrived has been answered by a quorum: then this node was still leader
//! when the read arrived, so nothing newer can have been acknowledged by anybody else. During a
//! transfer nothing is different: no read ever joins a round that began before it (museum E4).
//!
//! The same rounds carry the lease (§6.4.1): with leases on each heartbeat begins one.

use std::collections::VecDeque;

use crate::actions::{Basis, Rejection, Reply, Send};
use crate::ids::{LogIndex, NodeId, ReadRound, RequestId, Timestamp};
use crate::message::{Body, Message};
use crate::progress::Forwarded;
use crate::raft::Raft;
use crate::role::{Follower, Role};

/// Rounds whose beginning is remembered; who has not answered for so many extends no lease.
const ROUNDS_MAX: usize = 64;

/// A leader's unconfirmed reads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Reads {
    /// Arrived; no round began since. Also those that wait for the term's first commit (F1, F6).
    arrived: Vec<RequestId>,
    /// The newest round that has begun; unique in this term (museum F3).
    pub(crate) round: ReadRound,
    /// The newest round that a quorum has answered.
    confirmed: ReadRound,
    /// Waiting for a round, in order.
    waiting: VecDeque<(ReadRound, LogIndex, RequestId)>,
    /// Rounds from the newest confirmed one on, each with a time before which it was not sent.
    sent: VecDeque<(ReadRound, Timestamp)>,
}

impl Reads {
    fn len(&self) -> usize {
        self.arrived.len() + self.waiting.len()
    }

    /// Ends all reads, for the leader that they asked is no longer one.
    pub(crate) fn into_requests(self) -> impl Iterator<Item = RequestId> {
        self.waiting.into_iter().map(|(_, _, request)| request).chain(self.arrived)
    }

    /// Returns a time before which nothing of this round was sent, where that is remembered.
    pub(crate) fn sent_at(&self, round: ReadRound) -> Option<Timestamp> {
        let place = self.sent.binary_search_by_key(&round, |(round, _)| *round).ok()?;
        self.sent.get(place).map(|(_, sent)| *sent)
    }

    /// Begins a round.
    fn begin(&mut self, now: Timestamp) {
        self.round = self.round.next();
        if self.sent.len() == ROUNDS_MAX {
            self.sent.pop_front();
        }
        self.sent.push_back((self.round, now));
    }

    /// Notes that a quorum has answered `round`; earlier ones are of no use any more.
    fn confirm(&mut self, round: ReadRound) {
        self.confirmed = self.confirmed.max(round);
        let confirmed = self.confirmed;
        while self.sent.front().is_some_and(|(round, _)| *round < confirmed) {
            self.sent.pop_front();
        }
    }

    /// Checks what must hold between two steps.
    pub(crate) fn check(&self, reads_max: usize) {
        assert!(self.len() <= reads_max, "waiting reads are bounded (F12)");
        assert!(self.confirmed <= self.round, "rounds are not confirmed before they begin");
        assert!(self.sent.len() <= ROUNDS_MAX, "remembered rounds are bounded");
        let ascending = |rounds: &VecDeque<(ReadRound, Timestamp)>| {
            rounds.iter().zip(rounds.iter().skip(1)).all(|(a, b)| a.0 < b.0 && a.1 <= b.1)
        };
        assert!(ascending(&self.sent), "rounds begin in order");
        let last = self.waiting.back();
        assert!(last.is_none_or(|(round, _, _)| *round <= self.round), "reads wait for a round");
    }
}

impl Raft {
    /// Takes a read: one to answer if this node leads, else one to ask the leader for.
    pub(crate) fn read(&mut self, request: RequestId) {
        let reads_max = self.config.reads_max as usize;
        let refusal = match &mut self.role {
            Role::Leader(leader) if leader.reads.len() >= reads_max => Rejection::Busy,
            Role::Leader(leader) => {
                leader.reads.arrived.push(request);
                return;
            }
            Role::Follower(Follower { leader: Some(_), forwarding, .. }) => {
                if forwarding.len() < reads_max {
                    forwarding.push(request);
                    return;
                }
                Rejection::Busy
            }
            Role::Follower(Follower { leader: None, .. })
            | Role::PreCandidate(_)
            | Role::Candidate(_) => Rejection::NotLeader { leader: None },
        };
        self.reject(request, refusal);
    }

    /// Says whether a leader's commit index is up to date: an entry of its own term is committed
    /// (§6.4, museum F1).
    pub(crate) fn may_read(&self) -> bool {
        self.role.leader().is_some_and(|leader| self.commit >= leader.first)
    }

    /// Serves the reads that have arrived by the lease, if it holds; else begins a round for them,
    /// unless reads wait for one: while that one travels, later reads gather for the next.
    pub(crate) fn serve_reads(&mut self, now: Timestamp) {
        if !self.may_read() {
            return;
        }
        let lease = self.lease_until().filter(|until| now < *until);
        let commit = self.commit;
        let Some(leader) = self.role.leader_mut() else {
            return;
        };
        if let Some(until) = lease {
            let basis = Basis::Lease { until };
            for request in leader.reads.arrived.drain(..) {
                self.out.reply.push(Reply::ReadAt { request, index: commit, basis });
            }
        }
        // Forwarded reads always wait for a round: this node's clock says nothing at another.
        let forwarded = leader.progress.values().filter_map(|progress| progress.forwarded);
        let (mut arrived, mut under_way) =
            (!leader.reads.arrived.is_empty(), !leader.reads.waiting.is_empty());
        for read in forwarded {
            arrived |= read.at.is_none();
            under_way |= read.at.is_some();
        }
        if arrived && !under_way && self.begin_round(now) {
            self.broadcast_heartbeat();
        }
    }

    /// With leases, begins the round whose answers extend the lease; the caller sends it.
    pub(crate) fn renew_lease(&mut self, now: Timestamp) {
        if self.config.lease_clock_error_ppm.is_some() {
            self.begin_round(now);
        }
    }

    /// Begins a round, which all reads wait for that have arrived; the caller sends it. Returns
    /// whether it is still to be confirmed.
    fn begin_round(&mut self, now: Timestamp) -> bool {
        let (commit, open) = (self.commit, self.may_read());
        let Some(leader) = self.role.leader_mut() else {
            return false;
        };
        let reads = &mut leader.reads;
        reads.begin(now);
        let round = reads.round;
        if open {
            for request in reads.arrived.drain(..) {
                reads.waiting.push_back((round, commit, request));
            }
            for read in leader.progress.values_mut().filter_map(|peer| peer.forwarded.as_mut()) {
                read.at.get_or_insert((round, commit));
            }
        }
        self.confirm_reads();
        self.role.leader().is_some_and(|leader| leader.reads.confirmed < round)
    }

    /// Returns the newest round that a quorum of voters has answered; learners' answers do not
    /// count (museum F9). A single voter is a quorum by itself (museum F10).
    pub(crate) fn quorum_round(&self) -> ReadRound {
        let Some(leader) = self.role.leader() else {
            return ReadRound::ZERO;
        };
        let newest = leader.reads.round;
        // The same arithmetic as for the log: the newest round that a quorum has reached.
        let answered = |id: NodeId| match leader.progress.get(&id) {
            Some(progress) => LogIndex::new(progress.round.get()),
            None if id == self.id => LogIndex::new(newest.get()),
            None => LogIndex::ZERO,
        };
        let reached = self.membership.latest().voters().quorum_index(answered);
        ReadRound::new(reached.get())
    }

    /// Serves the reads of all rounds that a quorum has answered.
    pub(crate) fn confirm_reads(&mut self) {
        let reached = self.quorum_round();
        let term = self.term();
        let Some(leader) = self.role.leader_mut() else {
            return;
        };
        leader.reads.confirm(reached);
        let confirmed = leader.reads.confirmed;
        let waiting = &mut leader.reads.waiting;
        let ready = waiting.iter().take_while(|(round, _, _)| *round <= confirmed).count();
        for (_, index, request) in waiting.drain(..ready) {
            let basis = Basis::Round;
            self.out.reply.push(Reply::ReadAt { request, index, basis });
        }
        for (peer, progress) in &mut leader.progress {
            let done = |read: &mut Forwarded| read.at.is_some_and(|(round, _)| round <= confirmed);
            if let Some(read) = progress.forwarded.take_if(done) {
                let index = read.at.map(|(_, index)| index);
                let body = Body::ReadIndexReply { ticket: read.ticket, index };
                let (to, message) = (*peer, Message { term, body });
                self.out.send.push(Send::Message { to, message });
            }
        }
    }
}
