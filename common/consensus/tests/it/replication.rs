//! §3.5: the leader's search for agreement, flow control, what is applied; more of it stands in the
//! scenarios.
use crate::kit::*;
use consensus::*;

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

#[test]
fn a_leader_never_overwrites_or_deletes_what_is_in_its_log_s3_5() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.start(1, &[2, 2, 2], hard_state(2, None));
    cluster.campaign(1);
    let (term, before) = (cluster.term(1), cluster.ids(1));
    // Of an older term, from a leader that does not know that it is none any more.
    for stale in [append(at(1, 1), vec![entry(2, 2)], 0), append(at(1, 1), vec![entry(1, 2)], 9)] {
        cluster.say(2, 1, term - 1, stale);
        cluster.settle();
        assert_eq!(cluster.role(1), RoleKind::Leader);
        assert_eq!(cluster.ids(1), before);
    }
}

#[test]
fn applied_entries_are_contiguous_and_each_is_applied_once() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.campaign(1);
    for request in 0..50 {
        cluster.propose(1, request, "x");
        if request % 7 == 0 {
            cluster.settle();
        }
    }
    cluster.settle();
    cluster.run(200);
    for number in 1..=3 {
        let indexes: Vec<u64> =
            cluster.node(number).applied.iter().map(|id| id.index.get()).collect();
        assert_eq!(indexes, (1..=52).collect::<Vec<u64>>());
    }
}
