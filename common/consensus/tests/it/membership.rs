//! Changes of members (§4.1-4.3): joint, one at a time, and safe for whoever joins or leaves.

use crate::kit::{self, CHANGE, Cluster, at, configuration, id};
use consensus::*;

fn done() -> Reply {
    Reply::Done { request: RequestId::new(CHANGE) }
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

#[test]
fn three_voters_give_way_to_three_others_in_one_change_s4_3() {
    let mut cluster = cluster();
    cluster.start_blank(6);
    cluster.propose(1, 1, "before");
    assert_eq!(cluster.change(1, &configuration(&[1, 2, 3], &[4, 5, 6])), [done()]);
    let target = configuration(&[4, 5, 6], &[]);
    assert_eq!(cluster.change(1, &target), [done()]);
    let all = cluster.ids(1);
    cluster.run(2_000);
    for number in 1..=6 {
        assert_eq!(latest(&cluster, number), target);
        assert!(cluster.ids(number).starts_with(&all), "the log went over as a whole");
    }
    for number in [1, 2, 3] {
        assert_eq!(cluster.role(number), RoleKind::Follower);
        cluster.isolate(number);
    }
    let &[leader] = cluster.leaders().as_slice() else { panic!("{:?}", cluster.leaders()) };
    assert!(leader >= 4, "one of the new voters leads: {leader}");
    cluster.propose(leader, 2, "after");
    cluster.settle();
    assert_eq!(cluster.commit(leader), cluster.status(leader).last.index.get());
    assert_eq!(cluster.status(leader).last.index, LogIndex::new(all.len() as u64 + 2));
}

/// scylladb#10618: of a single voter that gives way to another, only the one to come was asked.
#[test]
fn a_single_voter_that_gives_way_to_another_votes_and_counts_until_the_end_s4_3() {
    let target = configuration(&[2], &[]);
    let joint = |away: u64| {
        let mut cluster = Cluster::new(&[1]);
        cluster.start_blank(2);
        cluster.campaign(1);
        cluster.change(1, &configuration(&[1], &[2]));
        cluster.run(100);
        cluster.held_disks.insert(id(away));
        assert_eq!(cluster.change(1, &target), []);
        let last = cluster.status(1).last.index.get();
        assert!(latest(&cluster, 1).voters().is_joint());
        assert_eq!(cluster.commit(1), last - 1, "{away} counts, and its disk has not got it");
        (cluster, last)
    };
    for away in [1, 2] {
        let (mut cluster, last) = joint(away);
        cluster.held_disks.clear();
        cluster.persist(away);
        cluster.settle();
        cluster.run(2_000);
        assert_eq!((cluster.role(1), cluster.leaders()), (RoleKind::Follower, vec![2]));
        assert_eq!((latest(&cluster, 1), latest(&cluster, 2)), (target.clone(), target.clone()));
        assert!(cluster.commit(1) > last);
    }
    // The leader has gone before the joint entry was committed: neither wins without the other.
    let (mut cluster, last) = joint(1);
    cluster.persist(1);
    cluster.letters.clear();
    cluster.held_disks.clear();
    cluster.crash(1);
    cluster.isolate(1);
    for number in [1, 2] {
        cluster.campaign(number);
        assert_ne!(cluster.role(number), RoleKind::Leader, "{number} alone");
    }
    cluster.heal();
    cluster.run(3_000);
    assert_eq!(cluster.leaders(), [2]);
    assert_eq!((latest(&cluster, 1), latest(&cluster, 2)), (target.clone(), target));
    assert!(cluster.commit(2) > last);
}

#[test]
fn a_joint_configuration_out_of_a_snapshot_is_left_by_the_leader_that_has_it_s4_3_s5_1() {
    let mut cluster = cluster();
    cluster.change(1, &configuration(&[1, 2, 3], &[4]));
    cluster.isolate(3);
    cluster.held_disks.insert(id(1));
    let target = configuration(&[1, 3, 4], &[]);
    cluster.change(1, &target);
    let joint = latest(&cluster, 1);
    let last = cluster.status(1).last;
    assert!(joint.voters().is_joint());
    // Its own disk commits it; what would leave it again gets nowhere.
    assert!(cluster.persist_one(1));
    cluster.letters.clear();
    assert_eq!((latest(&cluster, 1), cluster.commit(1)), (target.clone(), last.index.get()));
    let meta = cluster.node(1).raft.snapshot_meta(last.index).unwrap();
    assert_eq!((meta.last, &meta.configuration), (last, &joint));
    let (from, term) = (id(1), cluster.status(1).term);
    cluster.step(3, Input::SnapshotReceived { from, term, meta });
    cluster.heal();
    cluster.isolate(1);
    cluster.crash(3);
    assert_eq!((cluster.status(3).base, latest(&cluster, 3)), (last, joint.clone()));

    cluster.held_disks.insert(id(2));
    cluster.campaign(3);
    assert!(cluster.persist_one(2), "a vote for 3");
    cluster.settle();
    assert_eq!(cluster.role(3), RoleKind::Leader);
    // 3 and 4 are a majority of those to come; of those before, 3 alone has the leader's entry.
    assert_eq!(cluster.commit(4), last.index.get());
    assert_eq!(latest(&cluster, 3), joint, "no entry of its own term is committed yet");
    cluster.persist(2);
    cluster.settle();
    let own = cluster.term(3);
    let (noop, left) = (at(own, last.index.get() + 1), at(own, last.index.get() + 2));
    assert_eq!(cluster.ids(3)[last.index.get() as usize..], [noop, left]);
    assert_eq!(cluster.status(3).configuration_index, left.index);
    cluster.run(100);
    for number in [3, 4] {
        assert_eq!(latest(&cluster, number), target);
        assert_eq!(cluster.commit(number), left.index.get());
    }
}

/// The leader of {1, 2, 3} has left the joint configuration towards {2, 4, 5}, and is gone: 3 alone
/// has that entry, which it is outside of, and which is not committed.
fn left_to_one_who_is_outside() -> Cluster {
    let mut cluster = cluster();
    cluster.change(1, &configuration(&[1, 2, 3], &[4, 5]));
    let target = configuration(&[2, 4, 5], &[]);
    let request = RequestId::new(CHANGE);
    cluster.step(1, Input::Reconfigure { request, target: target.clone() });
    for _there_and_back in 0..2 {
        for letter in std::mem::take(&mut cluster.letters) {
            cluster.deliver(letter);
        }
    }
    for letter in cluster.take_from(1).into_iter().filter(|letter| letter.to == id(3)) {
        cluster.deliver(letter);
    }
    cluster.letters.clear();
    cluster.isolate(1);
    assert_eq!(latest(&cluster, 3), target);
    assert_eq!(cluster.commit(3), cluster.status(3).configuration_index.get() - 1);
    for number in [2, 4, 5] {
        assert!(latest(&cluster, number).voters().is_joint());
    }
    cluster
}

#[test]
fn who_is_outside_of_a_configuration_votes_before_that_is_committed_s4_2_2() {
    let mut cluster = left_to_one_who_is_outside();
    cluster.pass(1_000);
    let (term, last) = (cluster.term(3) + 1, cluster.status(3).last);
    cluster.say(2, 3, term, kit::request_vote(last));
    assert_eq!(kit::bodies(&cluster.take_from(3), 2), [kit::granted(2)]);
    assert_eq!(cluster.node(3).hard_state, kit::hard_state(term, Some(2)));
}

#[test]
fn who_is_outside_of_a_configuration_campaigns_until_that_is_committed_s4_2_2() {
    let mut cluster = left_to_one_who_is_outside();
    let change = cluster.status(3).last;
    // The joint rule needs the vote of 3, which has more: nobody inside can win.
    for number in [2, 4, 5] {
        cluster.campaign(number);
        assert_ne!(cluster.role(number), RoleKind::Leader);
    }
    let before = cluster.term(3);
    cluster.campaign(3);
    let led = cluster.term(3);
    assert_eq!(led, before + 1, "it stood");
    // It has led without counting itself, committed its own leaving, and leads no more.
    let end = at(led, change.index.get() + 1);
    assert_eq!((cluster.role(3), cluster.commit(3)), (RoleKind::Follower, end.index.get()));
    for number in [2, 4, 5] {
        assert_eq!(latest(&cluster, number), latest(&cluster, 3));
        assert!(cluster.ids(number).ends_with(&[change, end]));
    }
    cluster.isolate(3);
    cluster.run(3_000);
    assert_eq!((cluster.role(3), cluster.term(3)), (RoleKind::Follower, led), "it stands no more");
    assert_eq!(cluster.leaders().len(), 1);
    for number in [2, 4, 5] {
        assert!(cluster.commit(number) > end.index.get(), "service goes on");
    }
}

/// The id of a lost node was given to another data directory, and that node leads now. Who missed
/// the change must follow it nevertheless, or would never learn of the change; its answers do not
/// count before that.
#[test]
fn who_missed_that_an_id_has_another_data_directory_follows_it_as_leader_museum_c21() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    let hears = |cluster: &mut Cluster, body| {
        let (from, incarnation) = (id(2), Incarnation::new(999));
        let message = Message { term: Term::new(2), body };
        cluster.step(3, Input::Receive { from, incarnation, message });
        cluster.take_from(3)
    };
    let matched = Body::Appended { matched: LogIndex::new(1), round: ReadRound::ZERO };
    assert_eq!(hears(&mut cluster, matched), []);
    assert_eq!((cluster.term(3), cluster.node(3).hard_state.vote), (1, None));
    let entries = vec![kit::entry(2, 2)];
    let answers = hears(&mut cluster, kit::append(kit::at(1, 1), entries, 2));
    let matched = Body::Appended { matched: LogIndex::new(2), round: ReadRound::ZERO };
    assert_eq!(kit::bodies(&answers, 2), [matched]);
    assert_eq!((cluster.status(3).leader, cluster.commit(3)), (Some(id(2)), 2));
}
