//! Snapshots: when one is made, who is sent which, what is received, and which files stay (§5).
//!
//! One snapshot is made at a time, and one is received; each follower is sent one. The log behind
//! a snapshot on its way stays, or the follower would need another one when it arrives, for ever.

use std::collections::BTreeMap;
use std::mem;

use consensus::{EntryId, LogIndex, NodeId, RequestId, SnapshotMeta, Term, Timestamp};

use crate::holds::Holds;
use crate::input::Transfer;
use crate::lanes::SnapshotAction;

/// So many snapshots stay on the disk.
const FILES_KEPT: usize = 2;

/// A file stays for so long after an operator has read a piece of it, to read the next one.
const FETCHED_NS: u64 = 60_000_000_000;

/// So many older files stay for that: those that were read last.
const FETCHED_KEPT: usize = 2;

/// Operators that may wait for one snapshot.
const REQUESTS_MAX: usize = 64;

/// All decisions about the snapshots of one node.
#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshots {
    /// The last entries of the files on the disk, ascending.
    files: Vec<EntryId>,
    making: Making,
    /// Operators that wait for the one that is made next.
    requests: Vec<RequestId>,
    /// Files of which operators read pieces, and when they did; the latest is the last.
    fetched: Vec<(EntryId, Timestamp)>,
    /// Followers that wait for a snapshot.
    wanted: BTreeMap<NodeId, Wanted>,
    /// Followers that are sent one.
    sending: BTreeMap<NodeId, Sending>,
    sendings: u64,
    /// The log behind snapshots whose transfer has ended.
    holds: Holds,
    receiving: bool,
    /// The durable state covers the log up to here, and takes so many bytes.
    flushed: LogIndex,
    state_bytes: u64,
    todo: Vec<SnapshotAction>,
}

/// How far a snapshot is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Making {
    /// None is made.
    #[default]
    Idle,
    /// The state is being made durable, so that a checkpoint is quick.
    Flushing,
    /// The state is asked for.
    Asked,
    /// It is being written to a file.
    Writing(EntryId),
}

/// What a follower needs.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    term: Term,
    at_least: LogIndex,
}

/// A snapshot on its way to a follower.
#[derive(Clone, Copy, Debug)]
struct Sending {
    number: u64,
    last: EntryId,
}

/// Who waited for a snapshot that was made, or was not.
#[derive(Clone, Debug, Default)]
pub(crate) struct Waited {
    /// Operators.
    pub(crate) requests: Vec<RequestId>,
    /// Followers that get none.
    pub(crate) followers: Vec<NodeId>,
}

impl Snapshots {
    /// Knows the files that are on the disk.
    pub(crate) fn new(mut files: Vec<EntryId>, flushed: LogIndex) -> Self {
        files.sort_unstable_by_key(|last| last.index);
        Self { files, flushed, ..Self::default() }
    }

    /// A follower needs entries that are compacted: it gets the newest file, or the next one if
    /// that is of no use to it.
    pub(crate) fn want(&mut self, to: NodeId, term: Term, at_least: LogIndex) {
        if !self.sending.contains_key(&to) {
            self.wanted.insert(to, Wanted { term, at_least });
            self.advance();
        }
    }

    /// An operator wants a snapshot; `false` if too many wait.
    pub(crate) fn request(&mut self, request: RequestId) -> bool {
        let room = self.requests.len() < REQUESTS_MAX;
        if room {
            self.requests.push(request);
            self.advance();
        }
        room
    }

    /// Sends what there is to those who wait for it, and makes one for the others.
    fn advance(&mut self) {
        if let Some(last) = self.files.last().copied() {
            let of_use = |_: &NodeId, wanted: &mut Wanted| wanted.at_least <= last.index;
            for (to, Wanted { term, .. }) in self.wanted.extract_if(.., of_use) {
                self.sendings += 1;
                let number = self.sendings;
                self.sending.insert(to, Sending { number, last });
                self.todo.push(SnapshotAction::Send { number, to, term, last });
            }
        }
        let someone_waits = !self.requests.is_empty() || !self.wanted.is_empty();
        if someone_waits && self.making == Making::Idle {
            self.making = Making::Flushing;
            self.todo.push(SnapshotAction::Flush);
        }
    }

    /// The state is durable up to `index`, and takes so many bytes.
    pub(crate) fn flushed(&mut self, now: Timestamp, index: LogIndex, state_bytes: u64) {
        self.flushed = self.flushed.max(index);
        self.state_bytes = state_bytes;
        if self.making == Making::Flushing {
            self.making = Making::Asked;
            self.todo.push(SnapshotAction::Checkpoint);
        }
        self.delete_old(now);
    }

    /// The state could not be made durable: says whether a snapshot waits for that, and cannot be
    /// made.
    pub(crate) fn unflushed(&self) -> bool {
        self.making == Making::Flushing
    }

    /// An operator reads a piece of a file, and is about to read the next one.
    pub(crate) fn fetched(&mut self, now: Timestamp, last: EntryId) {
        let files = &self.files;
        self.fetched.retain(|(file, _)| *file != last && files.contains(file));
        if files.contains(&last) {
            self.fetched.push((last, now));
        }
    }

    /// A file is damaged, and was set aside: whoever needs one gets another.
    pub(crate) fn damaged(&mut self, last: EntryId) {
        self.files.retain(|file| *file != last);
        self.advance();
    }

    /// The state that was asked for is at hand.
    pub(crate) fn checkpointed(&mut self, meta: SnapshotMeta) {
        assert!(self.making == Making::Asked, "a checkpoint is made when it was asked for");
        self.making = Making::Writing(meta.last);
        self.todo.push(SnapshotAction::Make(meta));
    }

    /// A snapshot was made, or could not be: then those who wait for it get none, and followers
    /// ask again when the leader has looked at them anew.
    pub(crate) fn made(&mut self, now: Timestamp, last: Option<EntryId>) -> Waited {
        assert!(self.making != Making::Idle, "a snapshot is made when it was asked for");
        self.making = Making::Idle;
        let requests = mem::take(&mut self.requests);
        let followers = match last {
            Some(last) => {
                self.add(last);
                Vec::new()
            }
            None => mem::take(&mut self.wanted).into_keys().collect(),
        };
        self.delete_old(now);
        self.advance();
        Waited { requests, followers }
    }

    /// Sending has ended, while the log ends at `log_last`, and the receiver has it up to
    /// `matched`; says whether that is news.
    pub(crate) fn sent(
        &mut self,
        now: Timestamp,
        (number, to): (u64, NodeId),
        end: Transfer,
        (log_last, matched): (LogIndex, LogIndex),
    ) -> bool {
        let Some(last) = self.sending.get(&to).filter(|s| s.number == number).map(|s| s.last)
        else {
            return false;
        };
        self.sending.remove(&to);
        match end {
            Transfer::Delivered | Transfer::Broken => {
                let range = (last.index, log_last);
                self.holds.hold(now, to, range, matched, self.state_bytes);
            }
            Transfer::NotBegun => {}
        }
        self.delete_old(now);
        true
    }

    /// Looks how far followers are, in a log from `base` to `end`. Gives those up behind whose
    /// snapshot there is too much log, and returns which of them are being sent one.
    pub(crate) fn follow(
        &mut self,
        now: Timestamp,
        ends: (LogIndex, LogIndex),
        matched: impl Fn(NodeId) -> Option<LogIndex>,
        outgrown: impl Fn(LogIndex) -> bool,
    ) -> Vec<NodeId> {
        self.holds.follow(now, ends, matched, &outgrown);
        let slow = self.sending.extract_if(.., |_, sending| outgrown(sending.last.index));
        let slow: Vec<(NodeId, Sending)> = slow.collect();
        let give_up = |(to, sending): &(NodeId, Sending)| {
            let (number, to) = (sending.number, *to);
            SnapshotAction::GiveUp { number, to }
        };
        self.todo.extend(slow.iter().map(give_up));
        slow.into_iter().map(|(to, _)| to).collect()
    }

    /// This node leads no more: other leaders' snapshots count.
    pub(crate) fn stop_sending(&mut self) {
        if !mem::take(&mut self.sending).is_empty() {
            self.todo.push(SnapshotAction::StopSending);
        }
        self.wanted.clear();
        self.holds.clear();
    }

    /// A leader offers a snapshot; `busy` while another one is being installed.
    pub(crate) fn offered(&mut self, offer: u64, busy: bool) {
        if busy || mem::replace(&mut self.receiving, true) {
            self.todo.push(SnapshotAction::Decline { offer });
        } else {
            self.todo.push(SnapshotAction::Receive { offer });
        }
    }

    /// Receiving has ended, with a file or without.
    pub(crate) fn received(&mut self, last: Option<EntryId>) {
        self.receiving = false;
        last.into_iter().for_each(|last| self.add(last));
    }

    /// Returns up to where the log may be compacted, if followers have the log up to `matched`.
    pub(crate) fn floor(
        &self,
        now: Timestamp,
        matched: impl Fn(NodeId) -> Option<LogIndex>,
    ) -> Option<LogIndex> {
        let written = match self.making {
            Making::Writing(last) => Some(last.index),
            Making::Idle | Making::Flushing | Making::Asked => None,
        };
        let sending = self.sending.values().map(|sending| sending.last.index);
        sending.chain(self.holds.floor(now, matched)).chain(written).min()
    }

    /// Takes what is to be done.
    pub(crate) fn take(&mut self) -> Vec<SnapshotAction> {
        mem::take(&mut self.todo)
    }

    /// Takes the operators that wait: the node stops.
    pub(crate) fn abandon(&mut self) -> Vec<RequestId> {
        mem::take(&mut self.requests)
    }

    fn add(&mut self, last: EntryId) {
        if !self.files.contains(&last) {
            let place = self.files.partition_point(|file| file.index < last.index);
            self.files.insert(place, last);
        }
    }

    /// Deletes all but the newest files. One that is being sent or fetched stays, and one beyond
    /// what is durable: it is still to be installed.
    fn delete_old(&mut self, now: Timestamp) {
        let Some(old) = self.files.len().checked_sub(FILES_KEPT).filter(|old| *old > 0) else {
            return;
        };
        let Self { files, fetched, sending, flushed, todo, .. } = self;
        let newest = files.split_off(old);
        fetched.retain(|(_, when)| now.since(*when) < FETCHED_NS);
        let read = fetched.iter().rev().map(|(file, _)| *file).filter(|file| files.contains(file));
        let read: Vec<EntryId> = read.take(FETCHED_KEPT).collect();
        files.retain(|file| !read.contains(file));
        files.retain(|file| {
            let sent = sending.values().any(|sending| sending.last == *file);
            let stays = sent || file.index > *flushed;
            if !stays {
                todo.push(SnapshotAction::Delete { last: *file });
            }
            stays
        });
        files.extend(read.into_iter().chain(newest));
        files.sort_unstable_by_key(|last| last.index);
    }
}

#[cfg(test)]
mod tests {
    use consensus::Configuration;

    use super::*;

    fn file(index: u64) -> EntryId {
        EntryId { term: Term::new(2), index: LogIndex::new(index) }
    }

    /// Returns which files are deleted when a file has come, perhaps, and so much is durable.
    fn deleted(
        snapshots: &mut Snapshots,
        now: Timestamp,
        received: Option<u64>,
        flushed: u64,
    ) -> Vec<u64> {
        snapshots.received(received.map(file));
        snapshots.flushed(now, LogIndex::new(flushed), 0);
        let deleted = snapshots.take().into_iter().map(|action| match action {
            SnapshotAction::Delete { last } => last.index.get(),
            other => panic!("nothing else is to be done: {other:?}"),
        });
        deleted.collect()
    }

    /// It was received from a leader, and is all there is of that state until it is installed.
    #[test]
    fn a_file_beyond_the_durable_state_is_not_deleted_however_old() {
        let mut snapshots = Snapshots::new(vec![file(4), file(5)], LogIndex::new(3));
        let mut deleted =
            |flushed, received| deleted(&mut snapshots, Timestamp::ZERO, received, flushed);
        assert_eq!(deleted(3, Some(6)), []);
        assert_eq!(deleted(3, Some(7)), []);
        assert_eq!(deleted(4, None), [4], "the state has all that it has");
        assert_eq!(deleted(9, None), [5]);
        assert_eq!(deleted(10, None), [], "two stay");
    }

    /// A slow save lost its file to two newer ones, half-way.
    #[test]
    fn a_file_that_is_fetched_stays_for_a_minute_behind_each_piece() {
        let mut snapshots = Snapshots::new(vec![file(4), file(5)], LogIndex::new(99));
        let begin = Timestamp::new(5);
        let almost = begin.after(FETCHED_NS - 1);
        let late = almost.after(FETCHED_NS);
        snapshots.fetched(begin, file(4));
        assert_eq!(deleted(&mut snapshots, almost, Some(6), 99), []);
        snapshots.fetched(almost, file(4));
        assert_eq!(deleted(&mut snapshots, late, Some(7), 99), [4, 5], "too late");
        for (fetched, comes) in [(6, 8), (7, 9)] {
            snapshots.fetched(late, file(fetched));
            assert_eq!(deleted(&mut snapshots, late, Some(comes), 99), []);
        }
        snapshots.fetched(late, file(8));
        assert_eq!(deleted(&mut snapshots, late, Some(10), 99), [6], "two that were read last");
        snapshots.fetched(late, file(4));
        assert_eq!(deleted(&mut snapshots, late, Some(11), 99), [9], "nobody has that one");
        assert_eq!(snapshots.files.last(), Some(&file(11)));
    }

    /// Its receiver would be told of a leader that is none any more.
    #[test]
    fn what_a_former_leadership_wanted_is_not_sent_when_a_file_is_there() {
        let last = file(7);
        let meta = SnapshotMeta {
            last,
            configuration: Configuration::unknown(),
            configuration_index: LogIndex::ZERO,
            stamp: Default::default(),
            chain: Default::default(),
        };
        let mut snapshots = Snapshots::new(Vec::new(), LogIndex::ZERO);
        snapshots.want(NodeId::new(2).expect("not 0"), Term::new(2), LogIndex::new(5));
        snapshots.flushed(Timestamp::ZERO, last.index, 0);
        snapshots.stop_sending();
        snapshots.checkpointed(meta);
        snapshots.take();
        snapshots.made(Timestamp::ZERO, Some(last));
        assert_eq!(snapshots.take(), []);
    }
}
