//! Snapshots (§5): what is compacted, what is installed, and what of the old log stays.
use crate::kit::{Cluster, at, bodies, configuration, id, incarnation};
use consensus::*;

/// Leads with three nodes and writes so many entries in term 2; all have applied them.
fn written(count: u64) -> Cluster {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.campaign(1);
    for number in 0..count {
        cluster.propose(1, number, "x");
    }
    cluster.settle();
    cluster.run(60);
    cluster
}

fn compact(cluster: &mut Cluster, number: u64, index: u64) {
    let meta = cluster.node(number).raft.snapshot_meta(LogIndex::new(index)).unwrap();
    cluster.step(number, Input::SnapshotTaken { meta });
}

fn meta(term: u64, index: u64, voters: &[u64]) -> SnapshotMeta {
    SnapshotMeta {
        last: at(term, index),
        configuration: configuration(voters, &[]),
        configuration_index: LogIndex::new(1),
        stamp: ClusterTime::new(77),
        chain: consensus::Chain::ZERO,
    }
}

#[test]
fn s5_1_what_is_not_applied_or_compacted_already_is_not_compacted() {
    let mut cluster = written(10);
    let beyond = cluster.status(1).applied.get() + 1;
    for (term, index) in [(2, beyond), (1, 0)] {
        let meta = meta(term, index, &[1, 2, 3]);
        cluster.step(1, Input::SnapshotTaken { meta });
        assert_eq!(cluster.status(1).base, EntryId::ZERO);
    }
    compact(&mut cluster, 1, 8);
    cluster.step(1, Input::SnapshotTaken { meta: meta(2, 5, &[1, 2, 3]) });
    assert_eq!(cluster.status(1).base, at(2, 8));
    assert_eq!(cluster.node(1).raft.snapshot_meta(LogIndex::new(7)), None);
}

#[test]
fn s5_a_follower_that_needs_compacted_entries_catches_up_by_a_snapshot() {
    let mut cluster = written(3);
    cluster.isolate(2);
    for number in 10..20 {
        cluster.propose(1, number, "y");
    }
    cluster.settle();
    cluster.run(60);
    compact(&mut cluster, 1, 12);
    cluster.heal();
    cluster.run(2_000);
    let leader = cluster.leaders()[0];
    let wanted = cluster.node(leader).wanted.clone();
    assert_eq!(wanted.first(), Some(&(id(2), LogIndex::new(12))), "{wanted:?}");
    assert_eq!(wanted.len(), 1, "one at a time, however long it takes");
    let term = cluster.status(leader).term;
    let snapshot = cluster.node(leader).raft.snapshot_meta(cluster.status(leader).applied).unwrap();
    let from = id(leader);
    cluster.step(2, Input::SnapshotReceived { from, term, meta: snapshot.clone() });
    cluster.step(leader, Input::SnapshotSent { to: id(2), delivered: true });
    cluster.settle();
    assert_eq!(cluster.node(2).installed, [snapshot.last]);
    cluster.propose(leader, 99, "z");
    cluster.settle();
    cluster.run(200);
    assert_eq!(cluster.status(2).last, cluster.status(leader).last);
    assert_eq!(cluster.commit(2), cluster.commit(leader));
    assert_eq!(cluster.status(2).applied, cluster.status(2).commit);
}

/// Takes over a snapshot of all that the leader has applied, which it wanted to send once.
fn take_over(cluster: &mut Cluster, leader: u64, follower: u64) -> EntryId {
    let base = cluster.status(leader).base;
    let wanted = [(id(follower), base.index)];
    assert_eq!(cluster.node(leader).wanted, wanted, "one at a time, however long it takes");
    let (from, term) = (id(leader), cluster.status(leader).term);
    let meta = cluster.node(leader).raft.snapshot_meta(cluster.status(leader).applied).unwrap();
    let last = meta.last;
    cluster.step(follower, Input::SnapshotReceived { from, term, meta });
    cluster.step(leader, Input::SnapshotSent { to: id(follower), delivered: true });
    cluster.settle();
    last
}

/// openraft#1828 and #1830: with nothing in the log and nothing known to match, the leader asked at
/// the same place for ever, or panicked.
#[test]
fn s5_who_is_asked_at_the_base_of_an_empty_log_gets_a_snapshot_and_then_what_follows() {
    let mut cluster = Cluster::new(&[1]);
    cluster.start_blank(2);
    cluster.isolate(2);
    cluster.campaign(1);
    cluster.propose(1, 1, "x");
    cluster.change(1, &configuration(&[1], &[2]));
    let last = cluster.status(1).last;
    compact(&mut cluster, 1, last.index.get());
    assert_eq!((cluster.status(1).base, cluster.status(1).last), (last, last), "it is empty");
    assert_eq!(cluster.node(1).raft.matched(id(2)), Some(LogIndex::ZERO));
    cluster.heal();
    cluster.run(2_000);
    assert_eq!(take_over(&mut cluster, 1, 2), last);
    cluster.run(200);
    assert_eq!(cluster.node(1).raft.matched(id(2)), Some(last.index), "its log is empty as well");
    cluster.propose(1, 2, "y");
    cluster.run(200);
    assert_eq!(cluster.status(2).last, cluster.status(1).last);
    assert_eq!(cluster.commit(2), last.index.get() + 1);
    assert_eq!(cluster.node(1).wanted.len(), 1);
}

#[test]
fn s5_a_leader_that_begins_with_an_empty_log_feeds_who_has_its_base_and_who_has_not() {
    let mut cluster = written(3);
    cluster.isolate(2);
    for number in 10..13 {
        cluster.propose(1, number, "y");
    }
    cluster.run(60);
    let last = cluster.status(1).last;
    assert_eq!(cluster.status(1).applied, last.index);
    compact(&mut cluster, 1, last.index.get());
    cluster.crash(1);
    assert_eq!((cluster.status(1).base, cluster.status(1).last), (last, last), "it is empty");
    cluster.campaign(1);
    cluster.run(60);
    assert_eq!(cluster.role(1), RoleKind::Leader);
    assert_eq!(cluster.status(3).last, cluster.status(1).last, "it has the base");
    assert_eq!(cluster.commit(1), last.index.get() + 1);
    assert_eq!(cluster.node(1).raft.matched(id(2)), Some(LogIndex::ZERO));
    cluster.heal();
    cluster.run(2_000);
    assert_eq!(cluster.leaders(), [1]);
    take_over(&mut cluster, 1, 2);
    cluster.propose(1, 99, "z");
    cluster.run(200);
    assert_eq!(
        (cluster.status(2).last, cluster.commit(2)),
        (cluster.status(1).last, cluster.commit(1))
    );
}

/// dragonboat once forgot where the configuration of a snapshot stands, and changes of members that
/// follow depend on it.
#[test]
fn s5_the_configuration_of_a_snapshot_and_its_place_survive_a_restart() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.campaign(1);
    cluster.start_blank(4);
    let target = configuration(&[1, 2, 3], &[4]);
    cluster.change(1, &target);
    cluster.propose(1, 1, "x");
    cluster.run(60);
    let meta = cluster.node(1).raft.snapshot_meta(cluster.status(1).applied).unwrap();
    let place = meta.configuration_index;
    assert!(place < meta.last.index && meta.configuration == target);
    cluster.start_blank(5);
    let (from, term) = (id(1), cluster.status(1).term);
    cluster.step(5, Input::SnapshotReceived { from, term, meta: meta.clone() });
    compact(&mut cluster, 1, meta.last.index.get());
    for number in [1, 5] {
        for _again in 0..2 {
            cluster.crash(number);
            let status = cluster.status(number);
            assert_eq!((status.base, status.configuration), (meta.last, &target));
            assert_eq!(status.configuration_index, place);
            let anew = cluster.node(number).raft.snapshot_meta(meta.last.index).unwrap();
            assert_eq!((anew.configuration, anew.configuration_index), (target.clone(), place));
        }
    }
}

/// Two histories have met: to confirm the snapshot would count this node for what it does not
/// have, and to go on without a word would let both live (§3.6.3).
#[test]
#[should_panic(expected = "a snapshot of node 1 ends at 3@t1, where this log holds an entry of")]
fn s5_a_snapshot_of_another_history_at_a_committed_index_ends_the_node() {
    let mut cluster = written(3);
    let term = cluster.status(2).term;
    cluster.step(2, Input::SnapshotReceived { from: id(1), term, meta: meta(1, 3, &[1, 2, 3]) });
}

#[test]
fn s5_a_snapshot_that_covers_nothing_new_is_confirmed_and_not_installed() {
    let mut cluster = written(3);
    let (term, commit) = (cluster.status(2).term, cluster.commit(2));
    for index in [3, commit] {
        let known = cluster.node(2).raft.snapshot_meta(LogIndex::new(index)).unwrap();
        let last = known.last;
        cluster.step(2, Input::SnapshotReceived { from: id(1), term, meta: known });
        assert_eq!(cluster.node(2).installed, []);
        assert_eq!(cluster.status(2).base, EntryId::ZERO, "its own log stays: {last}");
        assert_eq!(bodies(&cluster.take_from(2), 1), [Body::SnapshotInstalled { last }]);
    }
}

/// It would count the follower for entries that nobody has, or that are not the leader's.
#[test]
fn s5_a_snapshot_that_this_leader_cannot_have_sent_counts_for_nothing() {
    let mut cluster = written(3);
    cluster.isolate(2);
    cluster.propose(1, 9, "y");
    for last in [at(2, 7), at(1, 6)] {
        cluster.nodes.get_mut(&id(1)).unwrap().events.clear();
        let heard = Message { term: Term::new(2), body: Body::SnapshotInstalled { last } };
        let (from, incarnation) = (id(2), incarnation(2));
        cluster.step(1, Input::Receive { from, incarnation, message: heard });
        let ignored = Event::Ignored { from, why: Ignored::Malformed };
        assert_eq!(cluster.node(1).events, [ignored], "{last}");
        assert_eq!(cluster.node(1).raft.matched(from), Some(LogIndex::new(5)));
    }
}

#[test]
fn the_search_for_agreement_ends_at_a_base_of_the_first_runs_term() {
    let run = TermRun { term: Term::new(7), first: LogIndex::new(1_001) };
    let log = LogView::restore(at(7, 1_000), vec![run], LogIndex::new(1_023)).unwrap();
    for (hint, agrees) in [(at(6, 1_010), at(7, 1_000)), (at(6, 900), at(7, 1_000))] {
        assert_eq!(log.last_within(hint), agrees, "{hint}");
    }
    assert_eq!(log.last_within(at(7, 1_010)), at(7, 1_010));
}
