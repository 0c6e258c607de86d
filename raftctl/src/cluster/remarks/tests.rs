//! Members that are not as they should be, and what is said of them.

use client::{Trouble, TroubleReport};
use consensus::{FlowKind, RoleKind};

use super::*;
use crate::cluster::Health;
use crate::cluster::testing::{
    after, check, cut, id, nobody_leads, remarked, survey, well, without_leader,
};

#[test]
fn a_connection_to_the_process_before_a_restart_is_none() {
    let restarted = after(3, |three| three.boot = 77);
    check(&restarted, Health::Degraded, Some(0), "n3: the leader n1 cannot reach it");
    let said = remarked(&restarted);
    assert!(said[0].contains("leads to the process before the restart"), "{said:?}");
    assert!(said.iter().any(|line| line.starts_with("R0413 n2: cannot reach n3: ")), "{said:?}");
}

#[test]
fn a_member_that_was_heard_only_before_it_connected_is_not_counted_on() {
    let connected_just_now = after(1, |leader| {
        leader.peers[1].since_ms = Some(20);
        leader.peers[1].heard_ms = Some(400);
    });
    check(&connected_just_now, Health::Degraded, Some(0), "n3: the leader has not heard from it");
}

#[test]
fn voters_that_do_not_reach_each_other_are_no_help_if_the_leader_fails() {
    let one_way = after(2, |two| cut(two, 3, "cannot resolve n3:7400: no such name"));
    let why = "n2: cannot reach n3: cannot resolve n3:7400: no such name";
    check(&one_way, Health::Degraded, Some(0), why);
    let mut nodes: Vec<NodeStatus> = (1..=3).map(well).collect();
    cut(&mut nodes[1], 3, "timed out");
    cut(&mut nodes[2], 2, "no answer");
    let both = survey(nodes.into_iter().map(Some).collect());
    let why = "n2 and n3 cannot reach each other: n2: timed out; n3: no answer";
    check(&both, Health::Degraded, Some(0), why);
}

#[test]
fn nodes_that_are_cut_from_each_other_are_named_with_the_reason() {
    let mut nodes: Vec<NodeStatus> = (1..=3).map(without_leader).collect();
    for (node, status) in (1..).zip(&mut nodes) {
        for other in (1..=3).filter(|other| *other != node) {
            cut(status, other, "no answer from there");
        }
    }
    let apart = survey(nodes.into_iter().map(Some).collect());
    check(&apart, Health::NoLeader, Some(0), "no voter reaches a majority of the voters");
    let pairs: Vec<String> = remarked(&apart);
    assert_eq!(pairs.len(), 3, "{pairs:?}");
    assert!(pairs.iter().all(|line| line.starts_with("R0413 n")), "{pairs:?}");
    assert!(nobody_leads(&apart)[0].contains("it does not reach n2: no answer from there"));
}

#[test]
fn a_voter_in_a_role_that_does_not_fit_degrades() {
    let asking = after(3, |three| {
        (three.role, three.leader, three.heard_ms) = (RoleKind::PreCandidate, None, None);
    });
    check(&asking, Health::Degraded, Some(0), "n3: asks who would elect it (pre-candidate)");
    let candidate = after(3, |three| (three.role, three.term) = (RoleKind::Candidate, 9));
    check(&candidate, Health::Degraded, Some(0), "n3: asks for votes (candidate) in term 9");
    let newer = after(3, |three| three.term = 9);
    check(&newer, Health::Degraded, Some(0), "n3: is in term 9, newer than term 4");
    let nobody = after(3, |three| three.leader = None);
    check(&nobody, Health::Degraded, Some(0), "n3: follows nobody though n1 leads");
    let other = after(3, |three| (three.leader, three.term) = (Some(id(2)), 3));
    check(&other, Health::Degraded, Some(0), "n3: follows n2 in term 3 though n1 leads in term 4");
    let members = after(3, |three| three.configuration_index = 9);
    check(&members, Health::Degraded, Some(0), "n3: goes by the members of log entry 9");
    for survey in [asking, candidate, newer, nobody, other, members] {
        assert!(remarked(&survey)[0].starts_with("R0414 "));
    }
}

#[test]
fn a_voter_that_is_behind_is_not_counted_on() {
    let lag = |behind: u64, flow| {
        after(1, move |leader| {
            (leader.commit, leader.last) = (10 + behind, 10 + behind);
            leader.peers[0].matched = 10 + behind;
            leader.peers[1].flow = Some(flow);
        })
    };
    check(&lag(1_000, FlowKind::Replicate), Health::Healthy, Some(1), "");
    check(&lag(1_002, FlowKind::Replicate), Health::Degraded, Some(0), "n3: is behind by 1,002");
    check(
        &lag(1, FlowKind::Probe),
        Health::Degraded,
        Some(0),
        "n3: is behind by an entry, and the leader looks",
    );
    check(&lag(0, FlowKind::Probe), Health::Healthy, Some(1), "");
    check(&lag(5, FlowKind::Snapshot), Health::Degraded, Some(0), "n3: is behind by 5 entries");
    // A few large entries take as long as many small ones: here, they have 64 KiB each.
    let large = |behind: u64, log_bytes: u64| {
        after(1, move |leader| {
            (leader.first, leader.commit, leader.last) = (1, 4_097, 4_097);
            leader.peers[0].matched = 4_097;
            (leader.peers[1].matched, leader.log_bytes) = (4_097 - behind, log_bytes);
        })
    };
    check(&large(256, 4_096 * 65_536), Health::Healthy, Some(1), "");
    check(&large(257, 4_096 * 65_536), Health::Degraded, Some(0), "n3: is behind by 257 entries");
    check(&large(257, 4_096 * 300), Health::Healthy, Some(1), "");
    check(&large(64, 1 << 40), Health::Healthy, Some(1), "");
    // At 20,000 writes a second, as many are on their way.
    let fast = after(1, |leader| {
        (leader.commit, leader.operations_per_second) = (10_010, 20_000);
        leader.peers[0].matched = 10_010;
    });
    check(&fast, Health::Healthy, Some(1), "");
}

#[test]
fn what_stands_still_is_named() {
    let log = after(1, |leader| {
        leader.last = 12;
        leader.peers[1].stalled_ms = Some(3_000);
    });
    check(&log, Health::Degraded, Some(0), "n3: its log has stood still for 3 s: it lacks 2");
    let commit = after(1, |leader| (leader.last, leader.commit_stalled_ms) = (15, Some(4_000)));
    check(&commit, Health::Degraded, Some(1), "n1: leads, but has committed nothing for 4 s");
    let applied = after(2, |two| (two.applied, two.applied_stalled_ms) = (4, Some(5_000)));
    check(&applied, Health::Degraded, Some(1), "n2: its state machine has stood still for 5 s");
    let installs = after(2, |two| {
        (two.first, two.applied, two.applied_stalled_ms) = (8, 4, Some(5_000));
    });
    check(&installs, Health::Degraded, Some(1), "n2: has been installing a snapshot for 5 s");
    let a_moment = after(2, |two| (two.applied, two.applied_stalled_ms) = (4, Some(900)));
    check(&a_moment, Health::Healthy, Some(1), "");
}

#[test]
fn a_disk_that_hangs_is_named_and_not_counted_on() {
    let follower = after(2, |two| two.disk_waits_ms = Some(4_000));
    let said = "n2: its disk has not finished a write for 4 s";
    check(&follower, Health::Degraded, Some(0), said);
    let leader = after(1, |one| one.disk_waits_ms = Some(4_000));
    let said = "n1: it leads, and its disk has not finished a write for 4 s";
    check(&leader, Health::Degraded, Some(0), said);
    let slow = after(1, |one| one.disk_waits_ms = Some(900));
    check(&slow, Health::Healthy, Some(1), "");
    let patient = after(1, |one| {
        one.disk_waits_ms = Some(4_000);
        one.election_timeout_ms = 5_000;
    });
    check(&patient, Health::Healthy, Some(1), "");
}

/// Whose disk is slow still stores what it is sent: nothing is degraded, and it is told.
#[test]
fn a_disk_that_is_slow_is_told_of() {
    for (us, said) in [
        (499_999, vec![]),
        (850_400, vec!["R0453 n2: its disk is slow: a write took 850 ms of late"]),
    ] {
        let slow = after(2, |two| two.fsync_p99_us = us);
        check(&slow, Health::Healthy, Some(1), "");
        assert_eq!(remarked(&slow), said);
    }
}

#[test]
fn a_node_that_answers_no_questions_is_named_and_counted_on() {
    let reading = after(1, |one| one.reads_wait_ms = Some(5_000));
    let said = "n1: has been answering one question for 5 s: others wait";
    check(&reading, Health::Degraded, Some(1), said);
    let large = after(1, |one| one.reads_wait_ms = Some(4_900));
    check(&large, Health::Healthy, Some(1), "");
}

#[test]
fn what_a_node_cannot_do_though_it_serves_is_told() {
    let said = [
        (Trouble::Settings, "n3: has refused its configuration for 9 s: why"),
        (Trouble::Certificates, "n3: has refused its new certificates for 9 s: w"),
        (Trouble::Snapshots, "n3: for 9 s, why"),
        (Trouble::Promises, "n3: for 9 s, it has stored no promise of other mem"),
        (Trouble::Files, "n3: for 9 s, the files of its log cannot be looked at"),
        (Trouble::Reserve, "n3: for 9 s, why"),
        (Trouble::Metrics, "n3: for 9 s, it why"),
        (Trouble::Directory, "n3: its next write will end it: for 9 s, why"),
        (Trouble::Places, "n3: for 9 s, it has refused clients: why"),
        (Trouble::Other, "n3: for 9 s, something that this raftctl does not kno"),
    ];
    for (what, text) in said {
        let report = || TroubleReport { what, why: "why".into(), for_ms: 9_000 };
        let troubled = after(3, |three| three.troubles.push(report()));
        // Who will end with the next write is not counted on.
        let tolerates = if what == Trouble::Directory { 0 } else { 1 };
        check(&troubled, Health::Degraded, Some(tolerates), text);
        let told = remarked(&troubled);
        assert!(told.iter().any(|line| line[6..].starts_with(text)), "{told:?}");
    }
}

#[test]
fn a_snapshot_that_was_set_aside_is_named() {
    let aside = "/var/lib/raftd/snapshots/00000000000000000042-3.damaged";
    let damaged = after(3, |three| three.snapshot_damaged = aside.into());
    check(&damaged, Health::Degraded, Some(1), &format!("n3: a snapshot is damaged: {aside}"));
}

#[test]
fn states_that_differ_are_named_both_and_damage_that_was_mended_is_told() {
    let differing = after(1, |one| one.peers[1].differs_at = Some(8));
    let said = "n1 and n3: their states differ behind entry 8, no majority tells whose is right";
    check(&differing, Health::Degraded, Some(1), said);
    let mended = after(2, |two| two.mended = "log entry 5@t2 is damaged: repaired".into());
    check(&mended, Health::Healthy, Some(1), "");
    let said = remarked(&mended);
    assert!(said.iter().any(|line| line.starts_with("R0480 n2: damage was found")), "{said:?}");
}

#[test]
fn a_member_that_says_that_it_is_elsewhere_is_told_and_counts() {
    let moved = after(2, |two| two.address = "10.9.9.9:1".into());
    check(&moved, Health::Healthy, Some(1), "");
    let said = remarked(&moved);
    let wanted = "R0563 n2: advertises 10.9.9.9:1, and the others dial it at ";
    assert!(said.iter().any(|line| line.starts_with(wanted)), "{said:?}");
    let configured = after(2, |two| {
        let own = two.configuration.member(two.node).map(|member| member.address.clone());
        two.address = own.unwrap_or_default();
    });
    assert!(remarked(&configured).is_empty());
}
