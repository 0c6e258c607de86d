//! News of the snapshots: what the driver tells of them, and what the core is told of that.

use consensus::{EntryId, Input as Raw, LogIndex, Outgoing, Rejection, RequestId, Timestamp};

use super::Replica;
use crate::input::{SnapshotNews, Transfer};
use crate::lanes::{Reply, RoomLevel};
use crate::snapshots::Waited;

impl Replica {
    pub(super) fn take_snapshot(&mut self, request: RequestId) {
        if self.refuses_for_difference(request) {
            return;
        }
        if !self.snapshots.request(request) {
            self.reply.push(Reply::Refused { request, reason: Rejection::Busy });
        }
    }

    /// Takes from the messages who needs a snapshot. Of a state that differs nobody gets one: it
    /// would be taken for a right one there, and those that have it could be a majority.
    pub(super) fn want_snapshots(&mut self, now: Timestamp, send: &mut Vec<Outgoing>) {
        let differs = self.differs().is_some();
        let Self { raft, snapshots, .. } = self;
        send.retain(|send| match send {
            Outgoing::Message { .. } | Outgoing::Entries { .. } => true,
            Outgoing::Snapshot { to, .. } if differs => {
                raft.step(now, Raw::SnapshotSent { to: *to, delivered: false });
                false
            }
            Outgoing::Snapshot { to, term, at_least } => {
                snapshots.want(*to, *term, *at_least);
                false
            }
        });
    }

    pub(super) fn snapshot_news(&mut self, now: Timestamp, news: SnapshotNews) {
        match news {
            SnapshotNews::Checkpointed { last: Some(last) } => {
                let meta = self.raft.snapshot_meta(last.index);
                match meta.filter(|meta| meta.last == last) {
                    Some(meta) => self.snapshots.checkpointed(meta),
                    // A leader's snapshot has taken the log's place, and will take the state's.
                    None => self.snapshot_made(now, None),
                }
            }
            SnapshotNews::Checkpointed { last: None } => self.snapshot_made(now, None),
            SnapshotNews::Unflushed if self.snapshots.unflushed() => self.snapshot_made(now, None),
            SnapshotNews::Unflushed => {}
            SnapshotNews::Damaged { last } => self.snapshots.damaged(last),
            SnapshotNews::Made { last } => self.snapshot_made(now, last),
            SnapshotNews::Sent { number, to, end } => {
                let matched = self.raft.matched(to).unwrap_or_default();
                let ends = (self.raft.last().index, matched);
                if self.snapshots.sent(now, (number, to), end, ends) {
                    let delivered = end == Transfer::Delivered;
                    self.raft.step(now, Raw::SnapshotSent { to, delivered });
                }
            }
            SnapshotNews::Offered { offer } => {
                self.snapshots.offered(offer, self.raft.installing().is_some());
            }
            SnapshotNews::Received { from, term, meta } => {
                self.snapshots.received(meta.as_ref().map(|meta| meta.last));
                if let Some(meta) = meta {
                    self.raft.step(now, Raw::SnapshotReceived { from, term, meta });
                }
            }
        }
    }

    /// An operator reads a piece of a snapshot's file: it stays for a while, so that the next one
    /// can be read.
    pub fn fetched(&mut self, now: Timestamp, last: EntryId) {
        self.snapshots.fetched(now, last);
    }

    /// Looks how followers get on for which the log stays. Behind a slow way a transfer may take
    /// days: where the log outgrows what it is worth, or the disk has little room, that ends, and
    /// when the follower is sent another one, it begins anew.
    pub(super) fn follow_fed(&mut self, now: Timestamp, state_bytes: u64) {
        let Self { raft, compaction, room, snapshots, .. } = self;
        let bytes_max = compaction.fed_bytes_max(state_bytes, room.level() == RoomLevel::Enough);
        let outgrown = |index: LogIndex| compaction.bytes_behind(index) > bytes_max;
        let (ends, matched) = ((raft.base().index, raft.last().index), |id| raft.matched(id));
        for to in snapshots.follow(now, ends, matched, outgrown) {
            self.raft.step(now, Raw::SnapshotSent { to, delivered: false });
        }
    }

    fn snapshot_made(&mut self, now: Timestamp, last: Option<EntryId>) {
        let Waited { requests, followers } = self.snapshots.made(now, last);
        let taken = |request| Reply::SnapshotTaken { request, last };
        self.reply.extend(requests.into_iter().map(taken));
        for to in followers {
            self.raft.step(now, Raw::SnapshotSent { to, delivered: false });
        }
    }
}
