//! §9.6, ours: who asks when, once a leader's process has gone.

use crate::kit::{Cluster, MS, at, bodies, id};
use consensus::*;

/// A heartbeat is five turns.
const TURN_NS: u64 = 10 * MS;

/// Lets a node that hears nobody time out again and again, and returns how long each wait was, in
/// nanoseconds.
fn waits(cluster: &mut Cluster, number: u64, times: usize) -> Vec<u64> {
    let mut waits = Vec::new();
    while waits.len() < times {
        let (due, timer) = cluster.node(number).raft.deadline().unwrap();
        waits.push(due.since(cluster.now));
        cluster.now = due;
        cluster.step(number, Input::Timeout(timer));
        let asks = cluster.take_from(number).into_iter();
        let asked =
            asks.filter(|letter| matches!(letter.message.body, Body::RequestPreVote { .. }));
        assert_eq!(asked.count(), 4, "all other voters are asked");
    }
    waits
}

/// Five voters of which `leader` led, and has gone.
fn left(leader: u64) -> Cluster {
    let mut cluster = Cluster::new(&[1, 2, 3, 4, 5]);
    cluster.campaign(leader);
    for number in 1..=5 {
        cluster.isolate(number);
        cluster.take_from(number);
    }
    for number in (1..=5).filter(|number| *number != leader) {
        cluster.step(number, Input::Gone { peer: id(leader) });
    }
    cluster
}

#[test]
fn one_asks_behind_the_other_in_the_order_of_ids_from_the_leader_on_s9_6() {
    for (leader, order) in [(1, [2, 3, 4, 5]), (3, [4, 5, 1, 2]), (5, [1, 2, 3, 4])] {
        let mut cluster = left(leader);
        for (place, number) in order.into_iter().enumerate() {
            let began = cluster.now;
            let first = waits(&mut cluster, number, 1);
            assert_eq!(first, [TURN_NS / 2 + place as u64 * TURN_NS], "{number} behind {leader}");
            cluster.now = began;
        }
    }
}

#[test]
fn who_is_left_asks_some_times_soon_and_then_as_ever_s9_6() {
    let mut cluster = left(1);
    let waits = waits(&mut cluster, 2, 10);
    // The first turn, then each time a round of all others' turns.
    assert_eq!(waits[0], TURN_NS / 2);
    assert_eq!(waits[1..6], [4 * TURN_NS; 5]);
    assert!(waits[6..].iter().all(|ns| (150 * MS..300 * MS).contains(ns)), "{waits:?}");
}

#[test]
fn extreme_timers_are_the_ends_of_the_range() {
    let freedom = Freedom { extreme_timers: true, ..Freedom::default() };
    let config = Config { freedom, ..Config::new(1) };
    let mut cluster = Cluster::with(crate::kit::configuration(&[1, 2, 3], &[]), config);
    cluster.isolate(1);
    let mut drawn = Vec::new();
    for _ in 0..100 {
        cluster.pass(1_000);
        cluster.time_out(1);
        cluster.take_from(1);
        let (due, _) = cluster.node(1).raft.deadline().unwrap();
        drawn.push(due.since(cluster.now));
    }
    let low = drawn.iter().filter(|ns| **ns == 150 * MS).count();
    let high = drawn.iter().filter(|ns| **ns == 300 * MS - 1).count();
    assert_eq!(low + high, 100, "{drawn:?}");
    assert!((25..=75).contains(&low), "about half: {low}");
}

/// Only who hurries may meet another one that hurries as well. Otherwise chance keeps them apart,
/// and a pre-candidate that gave way to each lower id would wait for a whole timeout.
#[test]
fn who_is_in_no_hurry_gives_way_to_nobody_s9_6() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.pass(1_000);
    cluster.time_out(2);
    cluster.take_from(2);
    cluster.say(1, 2, 2, Body::RequestPreVote { last: at(1, 1) });
    let answer = Body::PreVote { verdict: Verdict::Granted };
    assert_eq!(bodies(&cluster.take_from(2), 1), std::slice::from_ref(&answer));
    cluster.say(3, 2, 2, answer);
    assert_eq!(cluster.role(2), RoleKind::Candidate);
}
