//! Reads at a node that does not lead (§6.4): the leader tells the read index, this node serves the
//! read from its own state.
//!
//! One question at a time is under way, for all reads that had arrived when it was first asked;
//! later ones gather for the next. It is asked again with every heartbeat interval, under the same
//! name, and given up after an election timeout. An answer counts only from the leader of the
//! present term and only to the question under way. Whoever is asked and does not lead says so; it
//! never asks a third node.

use crate::actions::{Basis, Rejection, Reply};
use crate::ids::{LogIndex, NodeId, ReadTicket, RequestId, Term, Timestamp};
use crate::message::{Body, Message};
use crate::progress::Forwarded;
use crate::raft::Raft;
use crate::role::Role;

/// A follower's reads that wait for the leader.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Forwarding {
    /// Arrived since the question under way was asked.
    arrived: Vec<RequestId>,
    /// The question under way.
    asked: Option<Asked>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Asked {
    ticket: ReadTicket,
    requests: Vec<RequestId>,
    /// When to ask again.
    again: Timestamp,
    /// When to give up.
    until: Timestamp,
}

impl Forwarding {
    pub(crate) fn len(&self) -> usize {
        self.arrived.len() + self.asked.as_ref().map_or(0, |asked| asked.requests.len())
    }

    pub(crate) fn push(&mut self, request: RequestId) {
        self.arrived.push(request);
    }

    /// Returns when something is to be done about the question under way.
    pub(crate) fn deadline(&self) -> Option<Timestamp> {
        self.asked.as_ref().map(|asked| asked.again.min(asked.until))
    }

    /// Ends all reads, for the leader that was asked is no longer followed.
    pub(crate) fn into_requests(self) -> impl Iterator<Item = RequestId> {
        self.asked.into_iter().flat_map(|asked| asked.requests).chain(self.arrived)
    }
}

impl Raft {
    /// Asks the leader for the reads that have arrived, unless a question is under way.
    pub(crate) fn ask_leader(&mut self, now: Timestamp) {
        let (heartbeat_ns, patience_ns) =
            (self.config.heartbeat_ns, self.config.election_timeout_ns.start);
        let Role::Follower(follower) = &mut self.role else {
            return;
        };
        let Some(leader) = follower.leader else {
            return;
        };
        let forwarding = &mut follower.forwarding;
        if forwarding.asked.is_some() || forwarding.arrived.is_empty() {
            return;
        }
        let ticket = self.tickets.next();
        forwarding.asked = Some(Asked {
            ticket,
            requests: std::mem::take(&mut forwarding.arrived),
            again: now.after(heartbeat_ns),
            until: now.after(patience_ns),
        });
        self.tickets = ticket;
        self.send(leader, Message { term: self.term(), body: Body::ReadIndex { ticket } });
    }

    /// Asks again, or gives up. The name stays: whatever the leader answers to it, it answers
    /// after the reads arrived.
    pub(crate) fn retry_reads(&mut self, now: Timestamp) {
        let heartbeat_ns = self.config.heartbeat_ns;
        let Role::Follower(follower) = &mut self.role else {
            return;
        };
        let (leader, slot) = (follower.leader, &mut follower.forwarding.asked);
        if let Some(late) = slot.take_if(|asked| now >= asked.until) {
            for request in late.requests {
                self.reject(request, Rejection::NoQuorum);
            }
        } else if let (Some(leader), Some(asked)) = (leader, slot)
            && now >= asked.again
        {
            asked.again = now.after(heartbeat_ns);
            let ticket = asked.ticket;
            self.send(leader, Message { term: self.term(), body: Body::ReadIndex { ticket } });
        }
    }

    /// A follower asks for a read index. Members only: for each there is room for one question.
    pub(crate) fn on_read_index(&mut self, from: NodeId, term: Term, ticket: ReadTicket) {
        let own = self.term();
        match &mut self.role {
            Role::Leader(leader) if term == own => {
                let Some(progress) = leader.progress.get_mut(&from) else {
                    self.ignore(from, crate::Ignored::NotMember);
                    return;
                };
                // Asked again: the first one counts on.
                if progress.forwarded.is_none_or(|known| known.ticket != ticket) {
                    progress.forwarded = Some(Forwarded { ticket, at: None });
                }
            }
            Role::Leader(_) | Role::Follower(_) | Role::PreCandidate(_) | Role::Candidate(_) => {
                let body = Body::ReadIndexReply { ticket, index: None };
                self.send(from, Message { term: own, body });
            }
        }
    }

    /// The leader's answer, if it is one to the question under way.
    pub(crate) fn on_read_index_reply(
        &mut self,
        from: NodeId,
        ticket: ReadTicket,
        index: Option<LogIndex>,
    ) {
        let Role::Follower(follower) = &mut self.role else {
            return;
        };
        let of_leader = follower.leader == Some(from);
        let ours = |asked: &mut Asked| of_leader && asked.ticket == ticket;
        let Some(asked) = follower.forwarding.asked.take_if(ours) else {
            return;
        };
        for request in asked.requests {
            match index {
                Some(index) => {
                    let basis = Basis::Round;
                    self.out.reply.push(Reply::ReadAt { request, index, basis });
                }
                None => self.reject(request, Rejection::NotLeader { leader: None }),
            }
        }
    }
}
