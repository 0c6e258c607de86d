//! The leader's side of replication (§3.5, §10.2.2): proposals, streams of entries, answers.

use bytes::Bytes;

use super::Leader;
use super::heartbeat::send_empty;
use super::progress::Progress;
use crate::core::Core;
use crate::rules::log_matching;
use crate::vocabulary::actions::{Ignored, Outgoing, Rejection, Reply};
use crate::vocabulary::entry::Payload;
use crate::vocabulary::ids::{
    ClusterTime, EntryId, LogIndex, NodeId, ReadRound, RequestId, Timestamp,
};

impl Leader {
    /// Appends a client's commands to the leader's log, all or none.
    pub(crate) fn propose(
        &mut self,
        core: &mut Core,
        now: Timestamp,
        request: RequestId,
        commands: Vec<Bytes>,
    ) {
        if self.is_transferring() {
            core.reject(request, Rejection::Transferring);
            return;
        }
        let count = commands.len() as u64;
        if count == 0 {
            core.reject(request, Rejection::Invalid);
            return;
        }
        let uncommitted = core.last_index().since(core.commit());
        if uncommitted.saturating_add(count) > core.config().uncommitted_max {
            core.reject(request, Rejection::Busy);
            return;
        }
        self.note_growth(core, now);
        let (start, stamp) = (core.last_index().next(), self.cluster_time(core, now));
        for command in commands {
            core.append_own(stamp, Payload::Command(command));
        }
        let range = start..core.last_index().next();
        core.reply(Reply::Appended { request, term: core.term(), range });
    }

    /// Returns the leader's cluster time: it starts at the highest stamp seen and advances with
    /// the monotonic clock (§6.3).
    fn cluster_time(&self, core: &Core, now: Timestamp) -> ClusterTime {
        self.stamp.after(now.since(self.since)).max(core.stamp())
    }

    /// Sends each follower what its window has room for. Nothing waits for the leader's own disk
    /// (§10.2.1): its term is durable, and it counts itself only when its entries are.
    pub(crate) fn replicate(&mut self, core: &mut Core, now: Timestamp) {
        let round = self.reads.newest();
        for (peer, progress) in &mut self.progress {
            while send_next(core, now, *peer, progress, round) {}
        }
    }

    /// A follower's log agrees with the leader's up to `matched`, and is durable there.
    pub(crate) fn on_appended(
        &mut self,
        core: &mut Core,
        now: Timestamp,
        from: NodeId,
        matched: LogIndex,
        round: ReadRound,
    ) {
        let probes = core.at_random(core.config().freedom.probes_at_random, 16);
        let probes = probes.then(|| core.draw());
        let last = core.last_index();
        let Some(progress) = self.heard_from(core, now, from, matched <= last, round) else {
            return;
        };
        progress.acknowledge(matched, last, now, core.patience_ns());
        if let Some(draw) = probes {
            progress.probe(progress.drawn_back(progress.next(), draw), false);
        }
        self.confirm_reads(core);
        self.advance_transfer(core);
    }

    /// A follower refused entries: its log does not hold the one before them.
    pub(crate) fn on_conflict(
        &mut self,
        core: &mut Core,
        now: Timestamp,
        from: NodeId,
        refused: EntryId,
        hint: EntryId,
        round: ReadRound,
    ) {
        let further = core.at_random(core.config().freedom.backs_off_further, 2);
        let further = further.then(|| core.draw());
        // The last entry here that the follower's log may hold as well (§3.5).
        let agree = core.log().last_within(hint).index;
        let Some(progress) = self.heard_from(core, now, from, true, round) else {
            return;
        };
        if progress.awaits_refusal(refused.index) {
            let next = log_matching::resume_at(agree, refused.index, progress.matched());
            let next = further.map_or(next, |draw| progress.drawn_back(next, draw));
            // The same place once more means that the follower has lost what it acknowledged:
            // then it is tried at the heartbeats' pace only.
            progress.probe(next, next > refused.index);
        }
        self.confirm_reads(core);
    }

    /// Notes that a follower answered; `None` if it is no member, or the answer speaks of things
    /// that were never said.
    pub(super) fn heard_from(
        &mut self,
        core: &mut Core,
        now: Timestamp,
        from: NodeId,
        sound: bool,
        round: ReadRound,
    ) -> Option<&mut Progress> {
        if !sound || round > self.reads.newest() {
            core.ignore(from, Ignored::Malformed);
            return None;
        }
        let progress = self.progress.get_mut(&from)?;
        progress.note_heard(now, round);
        Some(progress)
    }

    /// The driver lost something for this peer: probe again, but not before the next heartbeat, or
    /// a peer that is away would keep the loop busy.
    pub(crate) fn unreachable(&mut self, peer: NodeId) {
        if let Some(progress) = self.progress.get_mut(&peer) {
            progress.lost();
        }
    }
}

/// Sends one message with entries, if one is due; returns whether another may follow.
fn send_next(
    core: &mut Core,
    now: Timestamp,
    to: NodeId,
    progress: &mut Progress,
    round: ReadRound,
) -> bool {
    let mut most = u64::from(core.config().entries_max);
    if core.at_random(core.config().freedom.short_batches, 4) {
        most = core.draw_below(3);
    }
    let (next, last) = (progress.next(), core.last_index());
    if !progress.may_send(last, core.config().inflight_max as usize) {
        return false;
    }
    let term = core.term();
    let prev = next.prev().expect("next is above matched, so at least 1");
    // What is compacted cannot be sent (museum G17).
    let Some(prev) = core.log().id(prev) else {
        if progress.await_snapshot(now, core.patience_ns()) {
            core.send_bytes(Outgoing::Snapshot { to, term, at_least: core.log().base().index });
        }
        return false;
    };
    let range = next..next.advanced(most).min(last.next());
    let streams = progress.note_sent(range.end, now);
    if range.is_empty() {
        send_empty(core, to, prev, round);
        return false;
    }
    let commit = core.commit();
    core.send_bytes(Outgoing::Entries { to, term, prev, range, commit, round });
    streams
}
