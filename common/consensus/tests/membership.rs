//! Changes of members (§4.1-4.3): joint, one at a time, and safe for whoever joins or leaves.
#![allow(clippy::unwrap_used)]

mod kit;

use consensus::*;
use kit::{CHANGE, Cluster, configuration, id};

fn done() -> Reply {
    Reply::Done { request: RequestId::new(CHANGE) }
}

fn refused(reason: Rejection) -> Reply {
    Reply::Rejected { request: RequestId::new(CHANGE), reason }
}

/// Three voters, led by 1, and two blank nodes.
fn cluster() -> Cluster {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.start_blank(4);
    cluster.start_blank(5);
    cluster.campaign(1);
    assert_eq!(cluster.role(1), RoleKind::Leader);
    cluster
}

fn latest(cluster: &Cluster, node: u64) -> Configuration {
    cluster.status(node).configuration.clone()
}

#[test]
fn a_learner_joins_without_a_joint_configuration_and_gets_the_log_s4_2_1() {
    let mut cluster = cluster();
    cluster.propose(1, 1, "before");
    cluster.settle();
    let target = configuration(&[1, 2, 3], &[4]);
    assert_eq!(cluster.change(1, &target), [done()]);
    assert_eq!(latest(&cluster, 4), target);
    assert_eq!(cluster.ids(4), cluster.ids(1));
    assert!(!cluster.status(4).configuration.voters().contains(id(4)));
}

#[test]
fn a_change_of_voters_goes_through_a_joint_configuration_to_its_end_s4_3() {
    let mut cluster = cluster();
    cluster.change(1, &configuration(&[1, 2, 3], &[4, 5]));
    let target = configuration(&[1, 4, 5], &[]);
    let replies = cluster.change(1, &target);
    assert_eq!(replies, [done()]);
    let joint = cluster.node(1).log.iter().filter(|entry| {
        matches!(&entry.payload, Payload::Configuration(found) if found.voters().is_joint())
    });
    assert_eq!(joint.count(), 1);
    for node in [1, 4, 5] {
        assert_eq!(latest(&cluster, node), target);
    }
    cluster.propose(1, 9, "under the new configuration");
    cluster.isolate(2);
    cluster.isolate(3);
    cluster.settle();
    assert_eq!(cluster.commit(1), cluster.status(1).last.index.get());
}

#[test]
fn in_a_joint_configuration_both_majorities_must_agree_s4_3() {
    let mut cluster = cluster();
    cluster.change(1, &configuration(&[1, 2, 3], &[4, 5]));
    cluster.isolate(2);
    cluster.isolate(3);
    let committed = cluster.commit(1);
    assert_eq!(cluster.change(1, &configuration(&[1, 4, 5], &[])), []);
    assert!(latest(&cluster, 1).voters().is_joint());
    assert_eq!(cluster.commit(1), committed, "two of the three old voters are away");
    cluster.heal();
    cluster.run(400);
    let leader = cluster.leaders()[0];
    assert_eq!(latest(&cluster, leader), configuration(&[1, 4, 5], &[]));
}

#[test]
fn a_new_leader_finishes_the_change_that_it_finds_s4_3_museum_c6() {
    let mut cluster = cluster();
    cluster.change(1, &configuration(&[1, 2, 3], &[4]));
    cluster.held_disks.insert(id(1));
    cluster.change(1, &configuration(&[2, 3, 4], &[]));
    cluster.crash(1);
    cluster.isolate(1);
    cluster.run(2_000);
    let leaders = cluster.leaders();
    assert_eq!(leaders.len(), 1);
    let found = latest(&cluster, leaders[0]);
    assert!(!found.voters().is_joint(), "{found:?}");
}

#[test]
fn a_second_change_is_refused_while_one_is_under_way_museum_c3() {
    let mut cluster = cluster();
    cluster.change(1, &configuration(&[1, 2, 3], &[4]));
    for node in [1, 2, 3] {
        cluster.held_disks.insert(id(node));
    }
    assert_eq!(cluster.change(1, &configuration(&[1, 2, 3, 4], &[])), []);
    let second = cluster.change(1, &configuration(&[1, 2], &[]));
    assert_eq!(second, [refused(Rejection::Reconfiguring)]);
}

#[test]
fn no_change_begins_before_an_entry_of_the_own_term_is_committed_museum_c1() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.campaign(1);
    for node in [1, 2, 3] {
        cluster.held_disks.insert(id(node));
    }
    cluster.campaign(2);
    cluster.persist_one(2);
    cluster.settle();
    cluster.persist_one(1);
    cluster.persist_one(3);
    cluster.settle();
    assert_eq!(cluster.role(2), RoleKind::Leader);
    let early = cluster.change(2, &configuration(&[2, 3], &[]));
    assert_eq!(early, [refused(Rejection::Reconfiguring)]);
}

#[test]
fn who_has_not_caught_up_does_not_vote_yet_s4_2_1() {
    let mut cluster = cluster();
    let stranger = cluster.change(1, &configuration(&[1, 2, 3, 4], &[]));
    assert_eq!(stranger, [refused(Rejection::NotCaughtUp { node: id(4) })]);
    cluster.isolate(4);
    cluster.change(1, &configuration(&[1, 2, 3], &[4]));
    let blank = cluster.change(1, &configuration(&[1, 2, 3, 4], &[]));
    assert_eq!(blank, [refused(Rejection::NotCaughtUp { node: id(4) })], "it knows no cluster");
}

#[test]
fn a_change_that_would_end_service_is_refused() {
    let mut cluster = cluster();
    cluster.isolate(3);
    cluster.run(400);
    let alone = cluster.change(1, &configuration(&[1, 3], &[]));
    assert_eq!(alone, [refused(Rejection::WouldLoseQuorum)]);
    assert_eq!(cluster.change(1, &configuration(&[1, 2], &[])), [done()], "without the dead one");
}

#[test]
fn a_leader_that_removes_itself_leads_until_that_is_committed_and_then_no_more_s4_2_2() {
    let mut cluster = cluster();
    let replies = cluster.change(1, &configuration(&[2, 3], &[]));
    assert_eq!(replies, [done()]);
    assert_eq!(cluster.role(1), RoleKind::Follower);
    assert_eq!(cluster.commit(2), cluster.status(2).configuration_index.get());
    cluster.run(2_000);
    let leaders = cluster.leaders();
    assert!(leaders == [2] || leaders == [3], "{leaders:?}");
    assert_eq!(cluster.role(1), RoleKind::Follower, "it knows that it is removed (§4.2.3)");
}

#[test]
fn a_removed_follower_learns_of_it_and_does_not_disrupt_s4_2_3_museum_c15_c16() {
    let mut cluster = cluster();
    cluster.change(1, &configuration(&[1, 2], &[]));
    assert_eq!(cluster.commit(3), cluster.commit(1), "it is fed until its removal is committed");
    let term = cluster.term(1);
    cluster.run(3_000);
    assert_eq!(cluster.term(1), term);
    assert_eq!(cluster.role(3), RoleKind::Follower);
}

#[test]
fn a_promoted_learner_votes_without_knowing_of_it_museum_c10() {
    let mut cluster = cluster();
    cluster.change(1, &configuration(&[1, 2, 3], &[4]));
    cluster.cut.insert((id(1), id(4)));
    cluster.change(1, &configuration(&[1, 2, 4], &[]));
    assert!(!latest(&cluster, 4).is_voter(id(4)));
    cluster.pass(1_000);
    let up_to_date = cluster.status(1).last;
    cluster.say(2, 4, cluster.term(1) + 1, kit::request_vote(up_to_date));
    let granted = Body::Vote { verdict: Verdict::Granted };
    assert!(kit::bodies(&cluster.take_from(4), 2).contains(&granted));
}

#[test]
fn a_cut_configuration_is_in_force_no_more_museum_c18() {
    let mut cluster = cluster();
    cluster.change(1, &configuration(&[1, 2, 3], &[4]));
    let before = latest(&cluster, 1);
    cluster.isolate(1);
    cluster.change(1, &configuration(&[1, 2], &[]));
    assert!(latest(&cluster, 1).voters().is_joint());
    cluster.run(1_000);
    cluster.heal();
    cluster.run(1_000);
    assert_eq!(latest(&cluster, 1), before, "another leader's log took its place");
}

#[test]
fn leadership_lost_leaves_a_change_undecided() {
    let mut cluster = cluster();
    cluster.change(1, &configuration(&[1, 2, 3], &[4]));
    cluster.isolate(1);
    cluster.change(1, &configuration(&[1, 2], &[]));
    cluster.run(1_000);
    let undecided = Reply::Undecided { request: RequestId::new(CHANGE) };
    assert!(cluster.take_replies(1).contains(&undecided));
}

#[test]
fn a_learner_catches_up_in_rounds_of_what_came_meanwhile_s4_2_1() {
    let mut cluster = Cluster::with(configuration(&[1, 2], &[3]), Config::new(1));
    cluster.isolate(3);
    cluster.campaign(1);
    let caught = |cluster: &Cluster| {
        let status = cluster.status(1);
        let of = |number| status.peers.iter().find(|peer| peer.id == id(number)).unwrap().catch_up;
        assert_eq!(of(2), None, "a voter does not catch up");
        of(3).unwrap()
    };
    for request in 1..=8 {
        cluster.propose(1, request, "x");
    }
    cluster.settle();
    assert_eq!(caught(&cluster), CatchUp { round: 1, last_round_ns: None, lag: 10 });
    cluster.heal();
    cluster.pass(30);
    // The first round ends with what the log held when the learner joined.
    let answer = |matched| {
        let (matched, round) = (LogIndex::new(matched), ReadRound::ZERO);
        Body::Appended { matched, round }
    };
    cluster.say(3, 1, 2, answer(1));
    let first = CatchUp { round: 2, last_round_ns: Some(30 * kit::MS), lag: 9 };
    assert_eq!(caught(&cluster), first);
    cluster.propose(1, 9, "y");
    cluster.pass(7);
    cluster.say(3, 1, 2, answer(9));
    assert_eq!(caught(&cluster), CatchUp { lag: 2, ..first }, "the second ends at 10");
    cluster.say(3, 1, 2, answer(10));
    let second = CatchUp { round: 3, last_round_ns: Some(7 * kit::MS), lag: 1 };
    assert_eq!(caught(&cluster), second);
    cluster.say(3, 1, 2, answer(11));
    let idle = CatchUp { round: 3, last_round_ns: Some(0), lag: 0 };
    assert_eq!(caught(&cluster), idle, "nothing is left to bring");
}

/// The id of a lost node was given to another data directory, and that node leads now. Who missed
/// the change must follow it nevertheless, or would never learn of the change; but neither its
/// campaigns nor its answers count before that.
#[test]
fn who_missed_that_an_id_has_another_data_directory_follows_it_as_leader_museum_c21() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    let hears = |cluster: &mut Cluster, body| {
        let (from, incarnation) = (id(2), Incarnation::new(999));
        let message = Message { term: Term::new(2), body };
        cluster.step(3, Input::Receive { from, incarnation, message });
        cluster.take_from(3)
    };
    assert_eq!(hears(&mut cluster, kit::request_vote(kit::at(1, 1))), []);
    assert_eq!((cluster.term(3), cluster.node(3).hard_state.voted_for), (1, None));
    let entries = vec![kit::entry(2, 2)];
    let answers = hears(&mut cluster, kit::append(kit::at(1, 1), entries, 2));
    let matched = Body::Appended { matched: LogIndex::new(2), round: ReadRound::ZERO };
    assert_eq!(kit::bodies(&answers, 2), [matched]);
    assert_eq!((cluster.status(3).leader, cluster.commit(3)), (Some(id(2)), 2));
}
