//! Leases (§6.4.1, museum E10, F7, F9): what they rest on, and what ends them.

use crate::kit::{self, Cluster, MS, at, configuration, hard_state, heartbeat, id};
use consensus::*;

/// The shortest election timeout.
const TIMEOUT_MS: u64 = 150;

fn with_leases(ppm: u32) -> Config {
    Config { lease_clock_error_ppm: Some(ppm), ..Config::new(1) }
}

/// Three voters and two learners; node 1 leads, and its first heartbeat was answered just now.
fn led(ppm: u32) -> Cluster {
    let mut cluster = Cluster::with(configuration(&[1, 2, 3], &[4, 5]), with_leases(ppm));
    cluster.campaign(1);
    cluster
}

/// The basis of the one read that was served.
fn basis(cluster: &mut Cluster, number: u64) -> Option<Basis> {
    cluster.letters.clear();
    cluster.read(number, 1);
    match cluster.take_replies(number)[..] {
        [Reply::ReadAt { basis, .. }] => Some(basis),
        _ => None,
    }
}

fn refused_with(cluster: &mut Cluster, voter: u64, body: Body, term: u64) -> Option<Verdict> {
    cluster.letters.clear();
    cluster.say(2, voter, term, body);
    cluster.take_from(voter).iter().find_map(|letter| match letter.message.body {
        Body::Vote { verdict } | Body::PreVote { verdict } => Some(verdict),
        _ => None,
    })
}

#[test]
fn leases_are_off_unless_asked_for() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.campaign(1);
    assert_eq!(cluster.status(1).lease_until, None);
    assert_eq!(basis(&mut cluster, 1), None, "it waits for a round");
}

#[test]
fn a_leader_with_a_lease_asks_nobody_s6_4_1() {
    let mut cluster = led(0);
    let until = cluster.now.after(TIMEOUT_MS * MS);
    assert_eq!(basis(&mut cluster, 1), Some(Basis::Lease { until }));
    assert_eq!(cluster.take_from(1), [], "no message");
}

#[test]
fn the_error_of_both_clocks_shortens_the_lease_s6_4_1() {
    let cluster = led(100_000);
    // 150 ms * 0.9 / 1.1
    let until = cluster.now.after(122_727_272);
    assert_eq!(cluster.status(1).lease_until, Some(until));
    let config = with_leases(CLOCK_ERROR_PPM_MAX + 1);
    let disk = Restored {
        incarnation: Incarnation::new(1),
        hard_state: HardState::default(),
        log: LogView::default(),
        membership: Membership::default(),
        applied: LogIndex::ZERO,
        stamp: ClusterTime::ZERO,
    };
    let refused = Raft::restore(id(1), config, disk, Timestamp::ZERO);
    assert_eq!(refused, Err(ConfigError::ClockError));
}

#[test]
fn the_slowest_leaders_lease_ends_before_the_fastest_voters_patience_s6_4_1() {
    for ppm in [0, 1, 200, 5_000, 100_000, 333_333, CLOCK_ERROR_PPM_MAX] {
        let cluster = led(ppm);
        let lease_ns = cluster.status(1).lease_until.unwrap().since(cluster.now);
        let (slow, fast) = (1_000_000 - u128::from(ppm), 1_000_000 + u128::from(ppm));
        // In true time the lease lasts lease_ns / slow, the patience the timeout / fast.
        let patience = u128::from(TIMEOUT_MS * MS) * slow;
        assert!(u128::from(lease_ns) * fast <= patience, "{ppm} ppm: too long");
        assert!(u128::from(lease_ns + 1) * fast > patience, "{ppm} ppm: shorter than it need be");
    }
}

#[test]
fn an_answer_leaves_only_while_the_lease_runs_s6_4_1() {
    let until = Timestamp::new(5);
    assert!(Basis::Lease { until }.holds(Timestamp::new(4)));
    assert!(!Basis::Lease { until }.holds(until));
    assert!(Basis::Round.holds(until), "what a quorum has confirmed stays so");
}

#[test]
fn without_a_lease_a_read_waits_for_a_round_s6_4() {
    let mut cluster = led(0);
    cluster.pass(TIMEOUT_MS);
    assert_eq!(basis(&mut cluster, 1), None);
    cluster.settle();
    let replies = cluster.take_replies(1);
    assert!(matches!(replies[..], [Reply::ReadAt { basis: Basis::Round, .. }]), "{replies:?}");
    let until = cluster.now.after(TIMEOUT_MS * MS);
    assert_eq!(basis(&mut cluster, 1), Some(Basis::Lease { until }), "that round renewed it");
}

#[test]
fn a_lease_begins_when_the_heartbeat_was_sent_not_when_it_was_answered_s6_4_1() {
    let mut cluster = led(0);
    cluster.pass(50);
    cluster.tick(1);
    let sent = cluster.now;
    cluster.pass(90);
    cluster.settle();
    assert_eq!(cluster.status(1).lease_until, Some(sent.after(TIMEOUT_MS * MS)));
}

#[test]
fn heartbeats_renew_the_lease() {
    let mut cluster = led(0);
    for _ in 0..20 {
        cluster.run(25);
        assert!(cluster.status(1).lease_until > Some(cluster.now));
    }
}

#[test]
fn there_is_no_lease_before_an_entry_of_the_own_term_is_committed_museum_f1() {
    let mut cluster = Cluster::with(configuration(&[1, 2, 3], &[]), with_leases(0));
    cluster.pass(1_000);
    cluster.time_out(1);
    cluster.say(2, 1, 2, Body::PreVote { verdict: Verdict::Granted });
    cluster.say(2, 1, 2, Body::Vote { verdict: Verdict::Granted });
    let answer = |matched| Body::Appended { matched, round: ReadRound::new(1) };
    cluster.say(2, 1, 2, answer(LogIndex::new(1)));
    assert_eq!((cluster.role(1), cluster.commit(1)), (RoleKind::Leader, 0));
    assert_eq!(cluster.status(1).lease_until, None, "a quorum answered, but nothing is committed");
    cluster.say(2, 1, 2, answer(LogIndex::new(2)));
    assert_eq!(cluster.commit(1), 2);
    assert_eq!(cluster.status(1).lease_until, Some(cluster.now.after(TIMEOUT_MS * MS)));
}

#[test]
fn only_voters_extend_a_lease_museum_f9() {
    let mut cluster = led(0);
    let until = cluster.status(1).lease_until;
    cluster.isolate(2);
    cluster.isolate(3);
    cluster.run(60);
    assert_eq!(cluster.status(1).lease_until, until, "the learners' answers do not count");
}

#[test]
fn in_a_joint_configuration_both_halves_extend_a_lease_s4_3() {
    let mut cluster = led(0);
    let target = configuration(&[1, 4, 5], &[2, 3]);
    cluster.cut.extend([(id(4), id(1)), (id(5), id(1))]);
    let until = cluster.status(1).lease_until;
    cluster.step(1, Input::Reconfigure { request: RequestId::new(kit::CHANGE), target });
    cluster.run(60);
    assert!(cluster.status(1).configuration.voters().is_joint());
    assert!(cluster.status(1).lease_until <= until, "no majority of the incoming ones answers");
}

#[test]
fn a_leader_that_told_its_successor_has_no_lease_for_the_rest_of_its_term_museum_e10() {
    let mut cluster = led(0);
    cluster.cut.insert((id(1), id(2)));
    cluster.transfer(1, 2);
    assert_eq!(cluster.status(1).lease_until, None);
    cluster.heal();
    cluster.run(400);
    assert_eq!((cluster.role(1), cluster.term(1)), (RoleKind::Leader, 2), "the transfer failed");
    assert_eq!(cluster.status(1).lease_until, None, "the order to campaign may still arrive");
    assert_eq!(basis(&mut cluster, 1), None);
    cluster.settle();
    assert!(matches!(cluster.take_replies(1)[..], [Reply::ReadAt { basis: Basis::Round, .. }]));
}

#[test]
fn a_voter_stands_by_its_leader_whatever_terms_it_hears_of_museum_f7() {
    let mut cluster = led(0);
    // Node 3 learns of a newer term from an answer, and so forgets who led the old one.
    cluster.say(2, 3, 5, Body::Vote { verdict: Verdict::StaleTerm });
    assert_eq!((cluster.term(3), cluster.status(3).leader), (5, None));
    let vote = Body::RequestVote { last: at(9, 9), transfer: false };
    let pre_vote = Body::RequestPreVote { last: at(9, 9) };
    cluster.pass(TIMEOUT_MS - 1);
    let verdict = refused_with(&mut cluster, 3, vote.clone(), 9);
    assert_eq!(verdict, Some(Verdict::LeaderAlive));
    let verdict = refused_with(&mut cluster, 3, pre_vote, 9);
    assert_eq!(verdict, Some(Verdict::LeaderAlive));
    cluster.pass(1);
    assert_eq!(refused_with(&mut cluster, 3, vote, 9), Some(Verdict::Granted));
}

#[test]
fn a_vote_that_the_leader_asked_for_does_not_wait_s3_10() {
    let mut cluster = led(0);
    let vote = Body::RequestVote { last: at(9, 9), transfer: true };
    assert_eq!(refused_with(&mut cluster, 3, vote, 9), Some(Verdict::Granted));
}

#[test]
fn a_restarted_voter_sits_out_one_election_timeout() {
    let mut cluster = led(0);
    cluster.crash(3);
    let started = cluster.now;
    let term = cluster.term(3);
    let vote = |transfer| Body::RequestVote { last: at(9, 9), transfer };
    assert_eq!(refused_with(&mut cluster, 3, vote(false), 9), Some(Verdict::NotEligible));
    let pre_vote = Body::RequestPreVote { last: at(9, 9) };
    assert_eq!(refused_with(&mut cluster, 3, pre_vote, 9), Some(Verdict::NotEligible));
    assert_eq!(cluster.term(3), term, "a refused candidate disturbs nobody");
    assert!(cluster.node(3).raft.deadline().unwrap().0 >= started.after(TIMEOUT_MS * MS));
    assert_eq!(refused_with(&mut cluster, 3, vote(true), 9), Some(Verdict::Granted));
    cluster.crash(3);
    cluster.pass(TIMEOUT_MS);
    assert_eq!(refused_with(&mut cluster, 3, vote(false), 10), Some(Verdict::Granted));
}

#[test]
fn without_leases_a_restarted_voter_votes_at_once() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.crash(3);
    let vote = Body::RequestVote { last: at(9, 9), transfer: false };
    assert_eq!(refused_with(&mut cluster, 3, vote, 9), Some(Verdict::Granted));
}

#[test]
fn a_leader_that_steps_down_has_no_lease() {
    let mut cluster = led(0);
    cluster.say(2, 1, 9, heartbeat(at(1, 1), 1));
    assert_eq!(cluster.role(1), RoleKind::Follower);
    assert_eq!(cluster.status(1).lease_until, None);
}

#[test]
fn a_forwarded_read_is_never_answered_by_the_lease_alone() {
    let mut cluster = led(0);
    let ticket = ReadTicket::new(1);
    cluster.letters.clear();
    cluster.say(2, 1, 2, Body::ReadIndex { ticket });
    let reply = Body::ReadIndexReply { ticket, index: Some(LogIndex::new(2)) };
    let sent = cluster.take_from(1);
    assert!(!kit::bodies(&sent, 2).contains(&reply), "its clock says nothing at another node");
    assert!(!sent.is_empty(), "a round begins");
    sent.into_iter().for_each(|letter| cluster.deliver(letter));
    let answers = cluster.take_from(3);
    answers.into_iter().for_each(|letter| cluster.deliver(letter));
    assert!(kit::bodies(&cluster.take_from(1), 2).contains(&reply));
}

#[test]
fn how_long_ago_a_node_heard_from_a_leader_is_told() {
    let mut cluster = led(0);
    assert_eq!(cluster.status(1).contact, None, "it leads");
    let heard = cluster.status(2).contact;
    assert_eq!(heard, Some(cluster.now));
    cluster.say(3, 2, 7, Body::Vote { verdict: Verdict::StaleTerm });
    cluster.pass(10);
    assert_eq!(cluster.status(2).contact, heard, "a newer term is no news of a leader");
    cluster.start(3, &[2], hard_state(2, None));
    assert_eq!(cluster.status(3).contact, None, "not since it started");
    cluster.isolate(1);
    let last = cluster.now.after(0);
    cluster.run(1_000);
    assert_ne!(cluster.role(1), RoleKind::Leader);
    assert!(cluster.status(1).contact.unwrap() <= last, "when a quorum last answered it");
}
