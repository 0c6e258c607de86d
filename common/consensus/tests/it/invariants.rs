//! The assertions that end a process rather than let it go on: each is seen to hold, and to fall.

use crate::kit::{Cluster, at, bodies, heartbeat, id};
use consensus::*;

fn led() -> Cluster {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.campaign(1);
    cluster
}

/// A node before and after something, of which the order is turned round.
fn backwards(cluster: &mut Cluster, number: u64, act: impl FnOnce(&mut Cluster)) {
    let before = cluster.node(number).raft.clone();
    act(cluster);
    let after = cluster.node(number).raft.clone();
    after.check_transition(&before);
    before.check_transition(&after);
}

#[test]
#[should_panic(expected = "terms never decrease")]
fn terms_that_decrease_end_a_process_s3_3() {
    backwards(&mut led(), 2, |cluster| cluster.say(3, 2, 7, heartbeat(at(2, 2), 0)));
}

#[test]
#[should_panic(expected = "the commit index never moves back")]
fn a_commit_index_that_moves_back_ends_a_process_s3_6() {
    backwards(&mut led(), 1, |cluster| {
        cluster.propose(1, 1, "x");
        cluster.settle();
    });
}

#[test]
#[should_panic(expected = "one vote a term")]
fn another_vote_in_a_term_ends_a_process_s3_4() {
    let voted = |candidate: u64| {
        let mut cluster = Cluster::new(&[1, 2, 3]);
        cluster.pass(1_000);
        cluster.say(candidate, 1, 2, Body::RequestVote { last: at(1, 1), transfer: false });
        let answers = bodies(&cluster.take_from(1), candidate);
        assert_eq!(answers.len(), 1, "it has voted: {answers:?}");
        cluster
    };
    let (first, second) = (voted(2), voted(3));
    second.node(1).raft.check_transition(&first.node(1).raft);
}

#[test]
#[should_panic(expected = "a leader appends only")]
fn a_leader_that_lost_an_entry_ends_its_process_s3_5() {
    let mut cluster = led();
    cluster.isolate(1);
    backwards(&mut cluster, 1, |cluster| cluster.propose(1, 1, "x"));
}

#[test]
#[should_panic(expected = "node 1 leads term 2, and so does node 3")]
fn a_second_leader_of_its_term_ends_a_leader_s3_4() {
    led().say(3, 1, 2, heartbeat(at(2, 2), 0));
}

#[test]
fn a_second_leader_of_a_term_is_not_followed_s3_4() {
    let mut cluster = led();
    assert_eq!(cluster.status(2).leader, Some(id(1)));
    cluster.say(3, 2, 2, heartbeat(at(2, 2), 0));
    assert_eq!(cluster.status(2).leader, Some(id(1)));
    let ignored = Event::Ignored { from: id(3), why: Ignored::Malformed };
    assert!(cluster.node(2).events.contains(&ignored), "{:?}", cluster.node(2).events);
    assert_eq!(bodies(&cluster.take_from(2), 3), []);
}

#[test]
#[should_panic(expected = "rounds are never reused")]
fn a_read_round_that_is_begun_again_ends_a_leader_museum_f3() {
    backwards(&mut led(), 1, |cluster| cluster.read(1, 1));
}

#[test]
#[should_panic(expected = "a lease given up stays so")]
fn a_lease_that_comes_back_ends_a_leader_museum_e10() {
    backwards(&mut led(), 1, |cluster| {
        cluster.step(1, Input::Transfer { request: RequestId::new(1), to: id(2) });
    });
}
