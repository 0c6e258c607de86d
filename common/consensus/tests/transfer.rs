//! Handing leadership over (§3.10).
#![allow(clippy::unwrap_used)]

mod kit;

use consensus::*;
use kit::{CHANGE, Cluster, configuration, id};

fn refused(reason: Rejection) -> Reply {
    Reply::Rejected { request: RequestId::new(CHANGE), reason }
}

fn led() -> Cluster {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.campaign(1);
    cluster
}

#[test]
fn the_successor_leads_at_once_although_its_leader_lives_s3_10() {
    let mut cluster = led();
    let term = cluster.term(1);
    let replies = cluster.transfer(1, 2);
    assert_eq!(replies, [Reply::Done { request: RequestId::new(CHANGE) }]);
    assert_eq!((cluster.role(2), cluster.term(2)), (RoleKind::Leader, term + 1));
    assert_eq!(cluster.role(1), RoleKind::Follower);
}

#[test]
fn the_successor_gets_the_whole_log_first_s3_10() {
    let mut cluster = led();
    cluster.isolate(2);
    cluster.propose(1, 1, "missed");
    cluster.settle();
    assert_eq!(cluster.transfer(1, 2), [], "it waits for the successor");
    cluster.propose(1, 2, "meanwhile");
    let busy = Reply::Rejected { request: RequestId::new(2), reason: Rejection::Transferring };
    assert_eq!(cluster.take_replies(1), [busy]);
    cluster.heal();
    cluster.step(1, Input::Unreachable { peer: id(2) });
    cluster.run(120);
    assert_eq!(cluster.role(2), RoleKind::Leader);
    assert_eq!(cluster.ids(2)[..3], cluster.ids(1)[..3]);
}

#[test]
fn a_transfer_ends_after_an_election_timeout_and_the_leader_goes_on_s3_10() {
    let mut cluster = led();
    cluster.isolate(2);
    cluster.propose(1, 1, "missed");
    cluster.settle();
    cluster.transfer(1, 2);
    cluster.run(200);
    assert_eq!(cluster.take_replies(1), [refused(Rejection::TransferTimedOut)]);
    assert_eq!(cluster.role(1), RoleKind::Leader);
    cluster.propose(1, 2, "goes on");
    assert!(matches!(cluster.take_replies(1)[..], [Reply::Appended { .. }]));
}

#[test]
fn learners_and_strangers_are_refused_museum_c12() {
    let mut cluster = Cluster::with(configuration(&[1, 2, 3], &[4]), Config::new(1));
    cluster.campaign(1);
    assert_eq!(cluster.transfer(1, 4), [refused(Rejection::Invalid)]);
    assert_eq!(cluster.transfer(1, 9), [refused(Rejection::Invalid)]);
    let leader = Some(id(1));
    assert_eq!(cluster.transfer(2, 3), [refused(Rejection::NotLeader { leader })]);
}

#[test]
fn a_transfer_to_itself_is_done_already() {
    let mut cluster = led();
    assert_eq!(cluster.transfer(1, 1), [Reply::Done { request: RequestId::new(CHANGE) }]);
    assert_eq!(cluster.role(1), RoleKind::Leader);
}

#[test]
fn a_stale_order_to_campaign_changes_nothing_s3_10_museum_e8_e10() {
    let mut cluster = led();
    let term = cluster.term(2);
    let last = cluster.status(2).last;
    cluster.say(3, 2, term, Body::TimeoutNow { last });
    assert_eq!(cluster.role(2), RoleKind::Follower, "node 3 does not lead");
    cluster.say(1, 2, term, Body::TimeoutNow { last: kit::at(1, 1) });
    assert_eq!(cluster.role(2), RoleKind::Follower, "it speaks of another log");
}

#[test]
fn a_learner_never_campaigns_even_when_told_to_museum_c12() {
    let mut cluster = Cluster::with(configuration(&[1, 2, 3], &[4]), Config::new(1));
    cluster.campaign(1);
    let (term, last) = (cluster.term(4), cluster.status(4).last);
    cluster.say(1, 4, term, Body::TimeoutNow { last });
    assert_eq!(cluster.role(4), RoleKind::Follower);
}

/// Being asked for by the leader waives one rule only: that voters stand by a live leader.
#[test]
fn a_vote_stays_given_although_the_leader_asks_for_another_museum_a16() {
    let mut cluster = led();
    let (term, last) = (cluster.term(3) + 1, cluster.status(3).last);
    cluster.say(2, 3, term, Body::RequestVote { last, transfer: true });
    cluster.say(1, 3, term, Body::RequestVote { last, transfer: true });
    let verdict = |letters: &[kit::Letter], to| match kit::bodies(letters, to)[..] {
        [Body::Vote { verdict }] => verdict,
        ref other => panic!("one answer, not {other:?}"),
    };
    let letters = cluster.take_from(3);
    assert_eq!(verdict(&letters, 2), Verdict::Granted, "although its leader lives");
    assert_eq!(verdict(&letters, 1), Verdict::AlreadyVoted);
    assert_eq!(cluster.node(3).hard_state, kit::hard_state(term, Some(2)));
}
