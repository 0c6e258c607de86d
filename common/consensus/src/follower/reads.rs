//! Reads at a node that does not lead (§6.4): the leader tells the read index, this node serves the
//! read from its own state.
//!
//! An answer counts only from the leader of the present term and only to the question under way.
//! A node that is asked and does not lead says so; it never asks a third node.

use super::Follower;
use crate::core::Core;
use crate::vocabulary::actions::{Basis, Rejection, Reply};
use crate::vocabulary::ids::{LogIndex, NodeId, ReadTicket, RequestId, Timestamp};
use crate::vocabulary::message::Body;

impl Follower {
    /// Takes a read, to ask the leader for.
    pub(crate) fn read(&mut self, core: &mut Core, request: RequestId) {
        if self.leader.is_none() {
            core.reject(request, Rejection::NotLeader { leader: None });
        } else if self.forwarding.len() >= core.config().reads_max as usize {
            core.reject(request, Rejection::Busy);
        } else {
            self.forwarding.push(request);
        }
    }

    /// Asks the leader for the reads that have arrived, unless a question is under way.
    pub(crate) fn ask_leader(&mut self, core: &mut Core, now: Timestamp) {
        let Some(leader) = self.leader.filter(|_| self.forwarding.is_due()) else {
            return;
        };
        let ticket = core.next_ticket();
        let (again, until) = (now.after(core.config().heartbeat_ns), now.after(core.patience_ns()));
        self.forwarding.ask(ticket, again, until);
        core.send(leader, Body::ReadIndex { ticket });
    }

    /// Asks again, or gives up. The name stays: whatever the leader answers to it, it answers
    /// after the reads arrived.
    pub(crate) fn retry_reads(&mut self, core: &mut Core, now: Timestamp) {
        if let Some(late) = self.forwarding.take_late(now) {
            for request in late {
                core.reject(request, Rejection::NoQuorum);
            }
            return;
        }
        let again = now.after(core.config().heartbeat_ns);
        if let Some(leader) = self.leader
            && let Some(ticket) = self.forwarding.ask_again(now, again)
        {
            core.send(leader, Body::ReadIndex { ticket });
        }
    }

    /// The leader's answer, if it is one to the question under way.
    pub(crate) fn on_read_index_reply(
        &mut self,
        core: &mut Core,
        from: NodeId,
        ticket: ReadTicket,
        index: Option<LogIndex>,
    ) {
        if self.leader != Some(from) {
            return;
        }
        for request in self.forwarding.take_answered(ticket).into_iter().flatten() {
            match index {
                Some(index) => {
                    core.reply(Reply::ReadAt { request, index, basis: Basis::Round });
                }
                None => core.reject(request, Rejection::NotLeader { leader: None }),
            }
        }
    }
}
