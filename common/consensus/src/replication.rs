//! The leader's side of replication (§3.5, §10.2.2): proposals, streams of entries, heartbeats.

use crate::actions::{Rejection, Reply, Send};
use crate::entry::{Entry, Payload};
use crate::ids::{ClusterTime, EntryId, LogIndex, NodeId, ReadRound, RequestId, Timestamp};
use crate::message::{Body, Message};
use crate::progress::Flow;
use crate::raft::Raft;
use bytes::Bytes;

impl Raft {
    /// Appends a client's commands to the leader's log, all or none.
    pub(crate) fn propose(&mut self, now: Timestamp, request: RequestId, commands: Vec<Bytes>) {
        let Some(stamp) = self.cluster_time(now) else {
            self.reject(request, Rejection::NotLeader { leader: self.leader() });
            return;
        };
        if self.is_transferring() {
            self.reject(request, Rejection::Transferring);
            return;
        }
        let count = commands.len() as u64;
        let uncommitted = self.log.last().index.since(self.commit);
        if count == 0 {
            self.reject(request, Rejection::Invalid);
            return;
        }
        if uncommitted.saturating_add(count) > self.config.uncommitted_max {
            self.reject(request, Rejection::Busy);
            return;
        }
        let start = self.log.last().index.next();
        let term = self.term();
        for command in commands {
            let id = EntryId { term, index: self.log.last().index.next() };
            self.append(Entry { id, stamp, payload: Payload::Command(command) });
        }
        let range = start..self.log.last().index.next();
        self.out.reply.push(Reply::Appended { request, term, range });
    }

    /// Returns the leader's cluster time: it starts at the highest stamp seen and advances with
    /// the monotonic clock (§6.3); `None` if this node does not lead.
    fn cluster_time(&self, now: Timestamp) -> Option<ClusterTime> {
        let leader = self.role.leader()?;
        Some(leader.stamp.after(now.since(leader.since)).max(self.stamp))
    }

    /// Sends each follower what its window has room for. Nothing waits for the leader's own disk
    /// (§10.2.1): its term is durable, and it counts itself only when its entries are.
    pub(crate) fn replicate(&mut self, now: Timestamp) {
        let Some(leader) = self.role.leader() else {
            return;
        };
        let peers: Vec<NodeId> = leader.progress.keys().copied().collect();
        for peer in peers {
            while self.replicate_to(now, peer) {}
        }
    }

    /// Sends one message with entries, if one is due; returns whether another may follow.
    fn replicate_to(&mut self, now: Timestamp, peer: NodeId) -> bool {
        let (term, commit, last) = (self.term(), self.commit, self.log.last().index);
        let mut most = u64::from(self.config.entries_max);
        if self.config.freedom.short_batches && self.rng.one_in(4) {
            most = self.rng.below(3);
        }
        let Some(leader) = self.role.leader_mut() else {
            return false;
        };
        let round = leader.reads.round;
        let Some(progress) = leader.progress.get_mut(&peer) else {
            return false;
        };
        let next = progress.next;
        let end = next.advanced(most).min(last.next());
        let probing = match &progress.flow {
            Flow::Probe { waiting } => {
                if *waiting {
                    return false;
                }
                true
            }
            Flow::Replicate { inflight, .. } => {
                if next > last || inflight.len() >= self.config.inflight_max as usize {
                    return false;
                }
                false
            }
            Flow::Snapshot => return false,
        };
        let prev = next.prev().expect("next is above matched, so at least 1");
        let Some(prev) = self.log.id(prev) else {
            progress.flow = Flow::Snapshot;
            let at_least = self.log.base().index;
            self.out.send.push(Send::Snapshot { to: peer, term, at_least });
            return false;
        };
        match &mut progress.flow {
            Flow::Probe { waiting } => *waiting = true,
            Flow::Replicate { inflight, moved } => {
                if inflight.is_empty() {
                    *moved = now;
                }
                if end > next {
                    inflight.push_back(end.prev().expect("behind next"));
                    progress.next = end;
                }
            }
            Flow::Snapshot => {}
        }
        if end > next {
            let range = next..end;
            self.out.send.push(Send::Entries { to: peer, term, prev, range, commit, round });
        } else {
            self.send_empty(peer, prev, round);
        }
        !probing && end > next
    }

    /// Sends an `AppendEntries` without entries.
    fn send_empty(&mut self, to: NodeId, prev: EntryId, round: ReadRound) {
        // Never more than what `prev` covers: the follower may hold other entries behind it
        // (museum B13).
        let commit = self.commit.min(prev.index);
        let body = Body::AppendEntries { prev, entries: Vec::new(), commit, round };
        self.send(to, Message { term: self.term(), body });
    }

    /// The heartbeat timer fired: try stalled windows again, and show that this leader lives.
    pub(crate) fn heartbeat(&mut self, now: Timestamp) {
        let patience_ns = self.config.election_timeout_ns.start;
        if let Some(leader) = self.role.leader_mut() {
            leader.heartbeat = now.after(self.config.heartbeat_ns);
            for progress in leader.progress.values_mut() {
                progress.retry(now, patience_ns);
            }
        }
        self.renew_lease(now);
        self.broadcast_heartbeat();
    }

    /// Sends every member a heartbeat: an empty `AppendEntries` at a place that is known to agree,
    /// so that it never fails the check (museum B26).
    pub(crate) fn broadcast_heartbeat(&mut self) {
        let Some(leader) = self.role.leader() else {
            return;
        };
        let round = leader.reads.round;
        let matched: Vec<(NodeId, LogIndex)> =
            leader.progress.iter().map(|(peer, progress)| (*peer, progress.matched)).collect();
        for (peer, matched) in matched {
            // Below the base only a snapshot helps; the place before the log always agrees.
            let prev = self.log.id(matched).unwrap_or(EntryId::ZERO);
            self.send_empty(peer, prev, round);
        }
    }

    pub(crate) fn on_appended(
        &mut self,
        now: Timestamp,
        from: NodeId,
        matched: LogIndex,
        round: ReadRound,
    ) {
        let relapses = self.config.freedom.probes_at_random && self.rng.one_in(16);
        let draw = self.rng_if(relapses);
        let last = self.log.last().index;
        let Some(progress) = self.heard_from(now, from, matched <= last, round) else {
            return;
        };
        progress.acknowledge(matched, last, now);
        if relapses {
            let back = progress.next.since(progress.matched);
            let next = progress.matched.advanced(1 + draw % back.max(1));
            progress.probe(next, false);
        }
        self.confirm_reads();
        self.advance_transfer();
    }

    pub(crate) fn on_conflict(
        &mut self,
        now: Timestamp,
        from: NodeId,
        refused: EntryId,
        hint: EntryId,
        round: ReadRound,
    ) {
        let further = self.config.freedom.backs_off_further && self.rng.one_in(2);
        let draw = self.rng_if(further);
        // The last entry here that the follower's log may hold as well (§3.5).
        let agree = self.log.agree_hint(hint).index;
        let Some(progress) = self.heard_from(now, from, true, round) else {
            return;
        };
        let current = match &progress.flow {
            Flow::Probe { .. } => refused.index.next() == progress.next,
            Flow::Replicate { .. } => refused.index > progress.matched,
            Flow::Snapshot => false,
        };
        if current {
            // The next message differs from the refused one (museum B19).
            let mut next = agree.next().min(refused.index).max(progress.matched.next());
            if further {
                let back = next.since(progress.matched).max(1);
                next = progress.matched.advanced(1 + draw % back);
            }
            // The same place once more means that the follower has lost what it acknowledged:
            // then it is tried at the heartbeats' pace only.
            progress.probe(next, next > refused.index);
        }
        self.confirm_reads();
    }

    fn rng_if(&mut self, wanted: bool) -> u64 {
        if wanted { self.rng.next() } else { 0 }
    }

    /// Notes that a follower answered; `None` if this node does not lead, the follower is none of
    /// its members, or the answer speaks of things that were never said.
    pub(crate) fn heard_from(
        &mut self,
        now: Timestamp,
        from: NodeId,
        sound: bool,
        round: ReadRound,
    ) -> Option<&mut crate::progress::Progress> {
        let leader = self.role.leader()?;
        if !sound || round > leader.reads.round {
            self.ignore(from, crate::Ignored::Malformed);
            return None;
        }
        let leader = self.role.leader_mut()?;
        let progress = leader.progress.get_mut(&from)?;
        progress.heard = now;
        progress.round = progress.round.max(round);
        Some(progress)
    }

    /// The driver lost something for this peer: probe again, but not before the next heartbeat, or
    /// a peer that is away would keep the loop busy.
    pub(crate) fn unreachable(&mut self, peer: NodeId) {
        if let Some(leader) = self.role.leader_mut()
            && let Some(progress) = leader.progress.get_mut(&peer)
        {
            match progress.flow {
                Flow::Replicate { .. } => progress.probe(LogIndex::ZERO, true),
                Flow::Probe { .. } | Flow::Snapshot => {}
            }
        }
    }

    /// Sending a snapshot ended: probe what the follower has now, with the next heartbeat.
    pub(crate) fn snapshot_sent(&mut self, to: NodeId) {
        if let Some(leader) = self.role.leader_mut()
            && let Some(progress) = leader.progress.get_mut(&to)
        {
            match progress.flow {
                Flow::Snapshot => progress.probe(progress.next, true),
                Flow::Probe { .. } | Flow::Replicate { .. } => {}
            }
        }
    }
}
