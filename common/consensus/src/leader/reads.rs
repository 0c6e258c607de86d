//! Linearizable reads without the log: ReadIndex, batched (§6.4).
//!
//! A read notes the commit index, and may be served at that index once a round of heartbeats that
//! began *after* the read arrived has been answered by a quorum: then this node was still leader
//! when the read arrived, so nothing newer can have been acknowledged by anybody else. During a
//! transfer nothing is different: no read ever joins a round that began before it (museum E4).
//!
//! The same rounds carry the lease (§6.4.1): with leases on each heartbeat begins one.

use super::Leader;
use super::progress::Progress;
use crate::core::Core;
use crate::rules::reads;
use crate::vocabulary::actions::{Basis, Ignored, Rejection, Reply};
use crate::vocabulary::ids::{NodeId, ReadRound, ReadTicket, RequestId, Timestamp};
use crate::vocabulary::message::Body;

impl Leader {
    /// Takes a read.
    pub(crate) fn read(&mut self, core: &mut Core, request: RequestId) {
        if self.reads.len() >= core.config().reads_max as usize {
            core.reject(request, Rejection::Busy);
        } else {
            self.reads.push(request);
        }
    }

    /// A follower asks for a read index. Members only: for each there is room for one question.
    pub(crate) fn on_read_index(&mut self, core: &mut Core, from: NodeId, ticket: ReadTicket) {
        match self.progress.get_mut(&from) {
            Some(progress) => progress.note_question(ticket),
            None => core.ignore(from, Ignored::NotMember),
        }
    }

    /// Says whether this leader's commit index is up to date, so that reads may be served.
    pub(super) fn may_read(&self, core: &Core) -> bool {
        reads::knows_what_is_committed(core.commit(), self.first)
    }

    /// Serves the reads that have arrived by the lease, if it holds; else begins a round for them,
    /// unless reads wait for one: while that one travels, later reads wait for the next.
    pub(crate) fn serve_reads(&mut self, core: &mut Core, now: Timestamp) {
        if !self.may_read(core) {
            return;
        }
        if let Some(until) = self.lease_until(core).filter(|until| now < *until) {
            let (index, basis) = (core.commit(), Basis::Lease { until });
            for request in self.reads.take_arrived() {
                core.reply(Reply::ReadAt { request, index, basis });
            }
        }
        // Forwarded reads always wait for a round: this node's clock says nothing at another.
        let (mut arrived, mut under_way) = (self.reads.has_arrived(), self.reads.is_under_way());
        for question in self.progress.values().filter_map(Progress::question) {
            arrived |= question.round().is_none();
            under_way |= question.round().is_some();
        }
        if arrived && !under_way && self.begin_round(core, now) {
            self.broadcast_heartbeat(core);
        }
    }

    /// With leases, begins the round whose answers extend the lease; the caller sends it.
    pub(super) fn renew_lease(&mut self, core: &mut Core, now: Timestamp) {
        if core.config().lease_clock_error_ppm.is_some() {
            self.begin_round(core, now);
        }
    }

    /// Begins a round, which all reads wait for that have arrived; the caller sends it. Returns
    /// whether it is still to be confirmed.
    fn begin_round(&mut self, core: &mut Core, now: Timestamp) -> bool {
        let commit = self.may_read(core).then(|| core.commit());
        let round = self.reads.begin(now, commit);
        if let Some(commit) = commit {
            for progress in self.progress.values_mut() {
                progress.join_round(round, commit);
            }
        }
        self.confirm_reads(core);
        self.reads.confirmed() < round
    }

    /// Returns the newest round that a quorum of voters has answered.
    pub(super) fn quorum_round(&self, core: &Core) -> ReadRound {
        self.quorum(core, self.reads.newest(), Progress::round)
    }

    /// Serves the reads of all rounds that a quorum has answered.
    pub(super) fn confirm_reads(&mut self, core: &mut Core) {
        self.reads.confirm(self.quorum_round(core));
        for (index, request) in self.reads.take_confirmed() {
            core.reply(Reply::ReadAt { request, index, basis: Basis::Round });
        }
        let confirmed = self.reads.confirmed();
        for (peer, progress) in &mut self.progress {
            if let Some((ticket, index)) = progress.take_confirmed(confirmed) {
                core.send(*peer, Body::ReadIndexReply { ticket, index: Some(index) });
            }
        }
    }
}
