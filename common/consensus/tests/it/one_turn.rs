//! Several inputs before one drain, as a driver's turn brings them: what is written, said and
//! handed out is what one after the other would have led to.

use crate::kit::{Cluster, append, at, configuration, entry, id, incarnation};
use consensus::*;

/// A follower of three whose log holds the bootstrap entry, 1@t1.
struct Follower {
    raft: Raft,
    now: Timestamp,
}

impl Follower {
    fn new() -> Self {
        let mut cluster = Cluster::new(&[1, 2, 3]);
        let now = cluster.now;
        Self { raft: cluster.nodes.remove(&id(1)).unwrap().raft, now }
    }

    fn hear(&mut self, from: u64, term: u64, body: Body) {
        let message = Message { term: Term::new(term), body };
        let (from, incarnation) = (id(from), incarnation(from));
        self.raft.step(self.now, Input::Receive { from, incarnation, message });
    }

    fn receive_snapshot(&mut self, from: u64, term: u64, last: EntryId) {
        let meta = SnapshotMeta {
            last,
            configuration: configuration(&[1, 2, 3], &[]),
            configuration_index: LogIndex::new(1),
            stamp: ClusterTime::ZERO,
            chain: Chain::ZERO,
        };
        let term = Term::new(term);
        self.raft.step(self.now, Input::SnapshotReceived { from: id(from), term, meta });
    }

    fn drain(&mut self) -> Actions {
        let actions = self.raft.drain(self.now);
        self.raft.check_state();
        actions
    }

    /// Drains, and the disk is done with what there is to write.
    fn persist(&mut self) -> Actions {
        let actions = self.drain();
        if let Some(write) = &actions.write {
            self.raft.step(self.now, Input::Persisted { write: write.id });
        }
        actions
    }
}

fn entries(term: u64, indexes: std::ops::RangeInclusive<u64>) -> Vec<Entry> {
    indexes.map(|index| entry(term, index)).collect()
}

fn ids(write: &Write) -> Vec<EntryId> {
    write.append.iter().map(|entry| entry.id).collect()
}

#[test]
fn entries_that_no_write_has_carried_are_cut_before_they_are_written_s3_5() {
    let mut node = Follower::new();
    node.hear(2, 2, append(at(1, 1), entries(2, 2..=5), 0));
    node.hear(3, 3, append(at(2, 3), entries(3, 4..=4), 0));
    let write = node.drain().write.unwrap();
    assert_eq!(ids(&write), [at(2, 2), at(2, 3), at(3, 4)]);
    assert_eq!(write.truncate_from, Some(LogIndex::new(4)));
    assert_eq!(node.raft.last(), at(3, 4));
}

#[test]
fn entries_behind_a_snapshot_of_the_same_turn_are_written_s5() {
    let mut node = Follower::new();
    node.hear(2, 2, append(at(1, 1), entries(2, 2..=5), 0));
    node.receive_snapshot(2, 2, at(2, 3));
    let write = node.drain().write.unwrap();
    assert_eq!(ids(&write), [at(2, 4), at(2, 5)], "the snapshot has the others");
    assert_eq!(write.compact_to.unwrap().last, at(2, 3));
    assert_eq!((node.raft.base(), node.raft.last()), (at(2, 3), at(2, 5)));
}

#[test]
fn entries_of_another_history_give_way_to_a_snapshot_of_the_same_turn_s5() {
    let mut node = Follower::new();
    node.hear(2, 2, append(at(1, 1), entries(2, 2..=5), 0));
    node.receive_snapshot(3, 3, at(3, 4));
    let write = node.drain().write.unwrap();
    assert_eq!(ids(&write), []);
    assert_eq!((node.raft.base(), node.raft.last()), (at(3, 4), at(3, 4)));
}

#[test]
fn what_follows_a_snapshot_is_applied_behind_its_installation_s5() {
    let mut node = Follower::new();
    node.hear(2, 2, append(at(1, 1), entries(2, 2..=6), 0));
    _ = node.persist();
    // All of it is durable, and committed now; the snapshot waits for its own write.
    node.receive_snapshot(2, 2, at(2, 3));
    node.hear(2, 2, append(at(2, 6), Vec::new(), 6));
    let before = node.persist();
    assert_eq!((before.install, before.apply), (None, None), "the log has no new base on disk");
    let actions = node.drain();
    assert_eq!(actions.install.map(|meta| meta.last), Some(at(2, 3)));
    let first = |range: std::ops::RangeInclusive<LogIndex>| *range.start();
    let later = actions.apply.or_else(|| node.drain().apply);
    assert_eq!(later.map(first), Some(LogIndex::new(4)));
}

/// A vote that waits for the disk is worth nothing once the term has passed.
#[test]
fn a_vote_of_a_term_that_has_passed_is_not_sent_any_more_s3_8() {
    let mut node = Follower::new();
    node.now = node.now.after(1_000_000_000);
    node.hear(2, 2, Body::RequestVote { last: at(1, 1), transfer: false });
    let first = node.drain();
    assert_eq!(first.write.map(|write| write.hard_state.unwrap().term), Some(Term::new(2)));
    node.hear(3, 3, Body::RequestVote { last: at(1, 1), transfer: false });
    let second = node.drain().write.unwrap();
    node.raft.step(node.now, Input::Persisted { write: second.id });
    let votes = node.drain().send.into_iter().filter_map(|sent| match sent {
        Outgoing::Message { to, message } => Some((to, message)),
        Outgoing::Entries { .. } | Outgoing::Snapshot { .. } => None,
    });
    let votes = votes.filter(|(_, message)| matches!(message.body, Body::Vote { .. }));
    let votes = votes.map(|(to, message)| (to, message.term));
    assert_eq!(votes.collect::<Vec<_>>(), [(id(3), Term::new(3))]);
}

/// The messages that leave, with their receivers.
fn messages(actions: Actions) -> Vec<(NodeId, Body)> {
    let message = |sent| match sent {
        Outgoing::Message { to, message } => Some((to, message.body)),
        Outgoing::Entries { .. } | Outgoing::Snapshot { .. } => None,
    };
    actions.send.into_iter().filter_map(message).collect()
}

/// The answer says that this node votes for nobody in an older term any more (§6.4): a crash must
/// not make it forget that.
#[test]
fn a_heartbeat_of_a_new_term_is_not_answered_before_that_term_is_durable_s3_8() {
    let mut node = Follower::new();
    node.hear(2, 2, append(at(1, 1), Vec::new(), 0));
    let first = node.drain();
    let write = first.write.clone().unwrap();
    assert_eq!(write.hard_state.map(|hard_state| hard_state.term), Some(Term::new(2)));
    assert_eq!(messages(first), []);
    node.hear(2, 2, append(at(1, 1), Vec::new(), 0));
    assert_eq!(messages(node.drain()), [], "the write is still under way");
    node.raft.step(node.now, Input::Persisted { write: write.id });
    let (matched, round) = (LogIndex::new(1), ReadRound::ZERO);
    let answer = (id(2), Body::Appended { matched, round });
    assert_eq!(messages(node.drain()), std::slice::from_ref(&answer));
    node.hear(2, 2, append(at(1, 1), Vec::new(), 0));
    assert_eq!(messages(node.drain()), [answer], "from now on at once");
}

/// A vote ends no promise of its own term: who was refused hears of it as well.
#[test]
fn a_vote_lets_what_was_said_before_in_its_term_stand_s3_4() {
    let mut node = Follower::new();
    node.now = node.now.after(1_000_000_000);
    node.hear(2, 2, Body::RequestVote { last: EntryId::ZERO, transfer: false });
    node.hear(3, 2, Body::RequestVote { last: at(1, 1), transfer: false });
    assert!(node.persist().write.is_some());
    let vote = |to, verdict| (id(to), Body::Vote { candidate: incarnation(to), verdict });
    let answers = [vote(2, Verdict::LogBehind), vote(3, Verdict::Granted)];
    assert_eq!(messages(node.drain()), answers);
}
