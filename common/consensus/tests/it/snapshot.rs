//! Snapshots (§5): what is compacted, what is installed, and what of the old log stays.
use crate::kit::{Cluster, append, at, bodies, configuration, entry, hard_state, heartbeat, id};
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
    }
}

/// A leader's snapshot arrives.
fn receive(cluster: &mut Cluster, number: u64, term: u64, meta: &SnapshotMeta) {
    let (from, term) = (id(1), Term::new(term));
    cluster.step(number, Input::SnapshotReceived { from, term, meta: meta.clone() });
}

fn installed(last: EntryId) -> Body {
    Body::SnapshotInstalled { last }
}

/// What node 2 has told node 1.
fn told(cluster: &mut Cluster) -> Vec<Body> {
    let letters = cluster.take_from(2);
    bodies(&letters, 1)
}

#[test]
fn s5_1_the_log_is_compacted_behind_what_is_applied_and_keeps_its_configuration() {
    let mut cluster = written(10);
    let last = cluster.status(1).last;
    compact(&mut cluster, 1, 8);
    let status = cluster.status(1);
    assert_eq!((status.base, status.last), (at(2, 8), last));
    assert_eq!(status.configuration, &configuration(&[1, 2, 3], &[]));
    assert_eq!(status.configuration_index, LogIndex::new(1));
    assert_eq!(cluster.node(1).base.as_ref().unwrap().last, at(2, 8));
    cluster.crash(1);
    let status = cluster.status(1);
    assert_eq!((status.base, status.last), (at(2, 8), last));
    assert_eq!(status.configuration, &configuration(&[1, 2, 3], &[]));
    cluster.campaign(1);
    cluster.propose(1, 100, "after");
    cluster.settle();
    assert_eq!(cluster.commit(1), last.index.get() + 2);
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

#[test]
fn s5_a_snapshot_that_failed_is_tried_again_with_a_heartbeat() {
    let mut cluster = written(3);
    cluster.isolate(2);
    cluster.propose(1, 10, "y");
    cluster.settle();
    cluster.run(60);
    compact(&mut cluster, 1, 6);
    cluster.heal();
    cluster.run(2_000);
    let leader = cluster.leaders()[0];
    for round in 1..4 {
        assert_eq!(cluster.node(leader).wanted.len(), round);
        cluster.step(leader, Input::SnapshotSent { to: id(2), delivered: false });
        cluster.settle();
        assert_eq!(cluster.node(leader).wanted.len(), round, "not before the next heartbeat");
        cluster.run(60);
    }
}

#[test]
fn s5_a_log_that_conflicts_with_the_snapshot_is_discarded_whole_museum_g3() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.start(2, &[2, 2, 2, 2, 2], hard_state(3, None));
    cluster.held_disks.insert(id(2));
    receive(&mut cluster, 2, 3, &meta(3, 4, &[1, 2, 3]));
    let status = cluster.status(2);
    assert_eq!((status.base, status.last), (at(3, 4), at(3, 4)));
    assert_eq!(status.durable, LogIndex::ZERO, "the old log vouches for nothing");
    // Its memory is the old one until the write is done.
    cluster.say(1, 2, 3, append(at(3, 4), vec![entry(3, 5)], 5));
    assert_eq!(told(&mut cluster), []);
    cluster.crash(2);
    assert_eq!(cluster.status(2).last, at(2, 6), "all or nothing");
    receive(&mut cluster, 2, 3, &meta(3, 4, &[1, 2, 3]));
    cluster.persist(2);
    assert_eq!(told(&mut cluster), [installed(at(3, 4))]);
    cluster.crash(2);
    assert_eq!((cluster.status(2).base, cluster.status(2).last), (at(3, 4), at(3, 4)));
}

#[test]
fn s5_nothing_is_claimed_or_installed_before_the_logs_new_base_is_durable_museum_g18() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.start(2, &[2, 2], hard_state(2, None));
    cluster.held_disks.insert(id(2));
    receive(&mut cluster, 2, 2, &meta(2, 9, &[1, 2, 3]));
    cluster.say(1, 2, 2, append(at(2, 9), vec![entry(2, 10)], 10));
    // A heartbeat is answered at once, for what is durable.
    cluster.say(1, 2, 2, heartbeat(at(2, 10), 10));
    let [Body::Appended { matched, .. }] = told(&mut cluster)[..] else { panic!("one answer") };
    assert!(matched <= LogIndex::new(3), "{matched}");
    assert_eq!(cluster.node(2).installed, []);
    assert_eq!(cluster.node(2).applied, [], "entries behind the snapshot wait for it");
    assert_eq!(cluster.status(2).applied, LogIndex::ZERO);
    cluster.persist(2);
    assert_eq!(cluster.node(2).installed, [at(2, 9)]);
    assert_eq!(cluster.node(2).applied, [at(2, 10)]);
    let said = told(&mut cluster);
    assert!(said.contains(&installed(at(2, 9))), "{said:?}");
}

#[test]
fn s5_one_snapshot_is_installed_at_a_time() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.start(2, &[2], hard_state(2, None));
    cluster.held_disks.insert(id(2));
    receive(&mut cluster, 2, 2, &meta(2, 9, &[1, 2, 3]));
    receive(&mut cluster, 2, 2, &meta(2, 12, &[1, 2, 3]));
    assert_eq!(cluster.node(2).raft.installing().map(|meta| meta.last), Some(at(2, 9)));
    assert_eq!(cluster.status(2).base, at(2, 9));
}

#[test]
fn s5_a_snapshot_that_speaks_of_later_terms_is_refused() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.start(2, &[2], hard_state(2, None));
    receive(&mut cluster, 2, 2, &meta(3, 9, &[1, 2, 3]));
    receive(&mut cluster, 2, NUMBER_MAX + 1, &meta(3, 9, &[1, 2, 3]));
    receive(&mut cluster, 2, 2, &meta(2, NUMBER_MAX + 1, &[1, 2, 3]));
    assert_eq!(cluster.status(2).base, EntryId::ZERO);
    assert_eq!(cluster.term(2), 2);
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
