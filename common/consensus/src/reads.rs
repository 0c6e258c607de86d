//! Linearizable reads without the log: ReadIndex, batched (§6.4).
//!
//! A read notes the commit index, and may be served at that index once a round of heartbeats that
//! began *after* the read arrived has been answered by a quorum: then this node was still leader
//! when the read arrived, so nothing newer can have been acknowledged by anybody else.

use std::collections::VecDeque;

use crate::actions::{Rejection, Reply};
use crate::chaos::Mutation;
use crate::configuration::Tally;
use crate::ids::{LogIndex, ReadRound, RequestId};
use crate::raft::Raft;

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
}

impl Reads {
    fn len(&self) -> usize {
        self.arrived.len() + self.waiting.len()
    }

    /// Ends all reads, for the leader that they asked is no longer one.
    pub(crate) fn into_requests(self) -> impl Iterator<Item = RequestId> {
        self.waiting.into_iter().map(|(_, _, request)| request).chain(self.arrived)
    }
}

impl Raft {
    pub(crate) fn read(&mut self, request: RequestId) {
        let leader_id = self.leader();
        let reads_max = self.config.reads_max as usize;
        let Some(leader) = self.role.leader_mut() else {
            self.reject(request, Rejection::NotLeader { leader: leader_id });
            return;
        };
        if leader.reads.len() >= reads_max {
            self.reject(request, Rejection::Busy);
            return;
        }
        leader.reads.arrived.push(request);
    }

    /// Begins a round for the reads that arrived since the last, unless one is under way: while
    /// that one travels, later reads gather for the next. Returns whether heartbeats must go out.
    pub(crate) fn begin_read_round(&mut self) -> bool {
        let commit = self.commit;
        let eager = self.config.chaos.has(Mutation::F1ReadBeforeOwnTerm);
        let Some(leader) = self.role.leader_mut() else {
            return false;
        };
        let reads = &mut leader.reads;
        let open = commit >= leader.first || eager;
        if reads.arrived.is_empty() || !open || reads.round > reads.confirmed {
            return false;
        }
        reads.round = reads.round.next();
        for request in reads.arrived.drain(..) {
            reads.waiting.push_back((reads.round, commit, request));
        }
        self.confirm_reads();
        self.role.leader().is_some_and(|leader| leader.reads.round > leader.reads.confirmed)
    }

    /// Serves the reads of all rounds that a quorum of voters has answered; learners' answers do
    /// not count (museum F9). A single voter is a quorum by itself (museum F10).
    pub(crate) fn confirm_reads(&mut self) {
        let reused = self.config.chaos.has(Mutation::F3RoundReused);
        let id = self.id;
        let voters = self.membership.latest().voters();
        let Some(leader) = self.role.leader() else {
            return;
        };
        let mut confirmed = leader.reads.confirmed;
        for (round, _, _) in &leader.reads.waiting {
            if *round <= confirmed {
                continue;
            }
            let answered = |voter| {
                let progress = leader.progress.get(&voter)?;
                let enough = progress.round >= *round || reused && progress.round.next() >= *round;
                enough.then_some(true)
            };
            let vote = |voter| {
                if voter == id { Some(true) } else { answered(voter) }
            };
            match voters.tally(vote) {
                Tally::Won => confirmed = *round,
                Tally::Lost | Tally::Undecided => break,
            }
        }
        let Some(leader) = self.role.leader_mut() else {
            return;
        };
        leader.reads.confirmed = confirmed;
        let waiting = &mut leader.reads.waiting;
        let ready = waiting.iter().take_while(|(round, _, _)| *round <= confirmed).count();
        for (_, index, request) in waiting.drain(..ready) {
            self.out.reply.push(Reply::ReadAt { request, index });
        }
    }
}
