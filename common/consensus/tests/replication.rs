//! §3.5: the follower's checks, the leader's search for agreement, flow control.
#![allow(clippy::unwrap_used)]
mod kit;
use consensus::*;
use kit::*;

fn appended(matched: u64) -> Body {
    Body::Appended { matched: LogIndex::new(matched), round: ReadRound::ZERO }
}

#[test]
fn the_consistency_check_refuses_a_gap_and_a_difference_s3_5() {
    for prev in [at(2, 5), at(3, 3)] {
        let mut cluster = Cluster::new(&[1, 2, 3]);
        cluster.start(1, &[2, 2], hard_state(3, None));
        cluster.say(2, 1, 3, append(prev, Vec::new(), 9));
        let letters = cluster.take_from(1);
        assert!(
            matches!(bodies(&letters, 2)[..], [Body::Conflict { refused, .. }] if refused == prev)
        );
        assert_eq!(cluster.commit(1), 0, "nothing is learnt from a refused message");
        assert_eq!(cluster.ids(1).len(), 3, "nothing is cut either");
    }
}

#[test]
fn a_conflicting_entry_and_all_behind_it_are_cut_s3_5() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.start(1, &[2, 2, 2], hard_state(3, None));
    cluster.say(2, 1, 3, append(at(2, 2), vec![entry(3, 3)], 0));
    assert_eq!(cluster.ids(1), [at(1, 1), at(2, 2), at(3, 3)]);
    let on_disk: Vec<EntryId> = cluster.node(1).log.iter().map(|entry| entry.id).collect();
    assert_eq!(on_disk, cluster.ids(1));
    assert_eq!(bodies(&cluster.take_from(1), 2), [appended(3)]);
}

#[test]
fn an_old_message_cuts_nothing_that_agrees_museum_b5() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.say(2, 1, 2, append(at(1, 1), vec![entry(2, 2), entry(2, 3)], 0));
    cluster.say(2, 1, 2, append(at(1, 1), vec![entry(2, 2)], 0));
    assert_eq!(cluster.ids(1), [at(1, 1), at(2, 2), at(2, 3)]);
    assert_eq!(bodies(&cluster.take_from(1), 2), [appended(3), appended(2)]);
}

#[test]
fn acknowledgement_and_commit_stop_at_what_was_verified_museum_b3_b4() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.start(1, &[2, 3, 3], hard_state(3, None));
    cluster.say(2, 1, 4, append(at(1, 1), vec![entry(2, 2)], 4));
    assert_eq!(cluster.commit(1), 2, "entries 3 and 4 are another leader's leftovers");
    assert_eq!(bodies(&cluster.take_from(1), 2), [appended(2)]);
    cluster.say(2, 1, 4, heartbeat(at(2, 2), 4));
    assert_eq!(cluster.commit(1), 2);
    assert_eq!(bodies(&cluster.take_from(1), 2), [appended(2)]);
}

#[test]
fn matched_never_moves_back_museum_b7() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.campaign(1);
    for request in 1..=3 {
        cluster.propose(1, request, "x");
    }
    cluster.settle();
    cluster.say(2, 1, 2, appended(3));
    let stale = Body::Conflict { refused: at(2, 3), hint: at(1, 1), round: ReadRound::ZERO };
    cluster.say(2, 1, 2, stale);
    let peer = cluster.status(1).peers[0];
    assert_eq!((peer.id, peer.matched.get(), peer.next.get()), (id(2), 5, 6));
}

/// Figure 3.6: a leader of term 8 and followers whose logs differ in every way.
#[test]
fn the_leader_brings_every_log_to_agree_s3_5_figure_3_6() {
    let leader: &[u64] = &[2, 2, 4, 4, 5, 5, 6, 6, 6];
    let followers: [&[u64]; 6] = [
        &[2, 2, 4, 4, 5, 5, 6, 6],
        &[2, 2, 4],
        &[2, 2, 4, 4, 5, 5, 6, 6, 6, 6],
        &[2, 2, 4, 4, 5, 5, 6, 6, 6, 7, 7],
        &[2, 2, 4, 4, 4, 4],
        &[2, 2, 3, 3, 3, 3, 3],
    ];
    for follower in followers {
        let mut cluster = Cluster::new(&[1, 2, 3]);
        cluster.start(1, leader, hard_state(7, None));
        cluster.start(2, follower, hard_state(7, None));
        cluster.start(3, leader, hard_state(7, None));
        cluster.cut.insert((id(2), id(1)));
        cluster.campaign(1);
        assert_eq!(cluster.leaders(), [1], "elected by 3 alone");
        cluster.heal();
        cluster.run(200);
        assert_eq!(cluster.ids(2), cluster.ids(1), "{follower:?}");
        assert_eq!(cluster.commit(2), 11);
    }
}

#[test]
fn backtracking_skips_a_term_a_round_trip_s3_5() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.start(1, &[5; 1_000], hard_state(5, None));
    cluster.start(2, &[2; 1_000], hard_state(5, None));
    cluster.start(3, &[5; 1_000], hard_state(5, None));
    cluster.cut.insert((id(2), id(1)));
    cluster.campaign(1);
    cluster.heal();
    cluster.pass(50);
    cluster.tick(1);
    let mut refusals = 0;
    while let Some(letter) = cluster.letters.pop_front() {
        refusals += u32::from(matches!(letter.message.body, Body::Conflict { .. }));
        cluster.deliver(letter);
    }
    assert_eq!(cluster.ids(2), cluster.ids(1));
    assert!(refusals <= 3, "{refusals} refusals for 1,000 entries that differ");
}

#[test]
fn a_window_is_bounded_and_heartbeats_go_on_museum_i3() {
    let config = Config { inflight_max: 4, entries_max: 2, ..Config::new(1) };
    let mut cluster = Cluster::with(configuration(&[1, 2, 3], &[]), config);
    cluster.campaign(1);
    cluster.cut.insert((id(2), id(1)));
    for request in 0..40 {
        cluster.propose(1, request, "x");
    }
    cluster.settle();
    assert_eq!(cluster.commit(1), 42);
    let peer = cluster.status(1).peers[0];
    assert!(peer.next.since(peer.matched) <= 9, "at most 4 messages of 2 entries under way");
    cluster.cut.clear();
    cluster.run(1_000);
    assert_eq!(cluster.commit(2), 42, "a lost window is sent again");
}

#[test]
fn a_lost_message_is_sent_again_and_an_unreachable_peer_does_not_spin() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.campaign(1);
    cluster.propose(1, 1, "x");
    cluster.letters.retain(|letter| letter.to != id(2));
    cluster.settle();
    cluster.step(1, Input::Unreachable { peer: id(2) });
    cluster.propose(1, 2, "y");
    assert_eq!(bodies(&cluster.take_from(1), 2), [], "not before the next heartbeat");
    cluster.run(200);
    assert_eq!(cluster.ids(2), cluster.ids(1));
}

#[test]
fn proposals_are_refused_off_the_leader_and_beyond_the_limit_museum_i5() {
    let config = Config { uncommitted_max: 3, ..Config::new(1) };
    let mut cluster = Cluster::with(configuration(&[1, 2, 3], &[]), config);
    cluster.propose(2, 7, "x");
    let nobody = Rejection::NotLeader { leader: None };
    assert_eq!(
        cluster.take_replies(2),
        [Reply::Rejected { request: RequestId::new(7), reason: nobody }]
    );
    cluster.campaign(1);
    cluster.take_replies(1);
    for request in 0..4 {
        cluster.propose(1, request, "x");
    }
    let busy = Reply::Rejected { request: RequestId::new(3), reason: Rejection::Busy };
    assert_eq!(cluster.take_replies(1).last(), Some(&busy));
    cluster.propose(2, 8, "x");
    let known = Rejection::NotLeader { leader: Some(id(1)) };
    assert_eq!(
        cluster.take_replies(2),
        [Reply::Rejected { request: RequestId::new(8), reason: known }]
    );
}

#[test]
fn learners_get_the_log_and_do_not_count_museum_c9() {
    let mut cluster = Cluster::with(configuration(&[1, 2, 3], &[4, 5]), Config::new(1));
    cluster.campaign(1);
    for number in [2, 3] {
        cluster.isolate(number);
    }
    cluster.propose(1, 1, "x");
    cluster.settle();
    assert_eq!(cluster.ids(4), cluster.ids(1));
    assert_eq!(cluster.commit(1), 2, "three of five members, one of three voters");
}

#[test]
fn cluster_time_advances_with_the_leader_and_never_moves_back_s6_3() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    let mut stamps = Vec::new();
    for leader in [1, 2, 3, 1] {
        cluster.campaign(leader);
        cluster.pass(5);
        cluster.propose(leader, 1, "x");
        cluster.settle();
        stamps.push(cluster.node(leader).log.last().unwrap().stamp);
    }
    assert!(stamps.windows(2).all(|w| w[1] >= w[0].after(5 * MS)), "{stamps:?}");
}
