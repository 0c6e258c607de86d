//! Verdicts over surveys that are made up.

use std::collections::{BTreeMap, BTreeSet};

use client::{NodeStatus, PeerReport};
use consensus::{Configuration, Incarnation, Majority, Member, NodeId, RoleKind, Voters};
use protocol::Generation;

use super::*;
use crate::cluster::reasons::nobody_wins;
use crate::cluster::{Row, Silence, Survey};

const NOW: i64 = 1_800_000_000;

fn id(number: u64) -> NodeId {
    NodeId::new(number).expect("it is not 0")
}

fn three(voters: Voters) -> Configuration {
    let member = |number: u64| {
        let (name, address) = (format!("n{number}"), format!("n{number}:7400"));
        (id(number), Member { incarnation: Incarnation::new(number), name, address })
    };
    let members: BTreeMap<NodeId, Member> = (1..=3).map(member).collect();
    Configuration::new(voters, BTreeSet::new(), members).expect("it is valid")
}

fn majority(ids: &[u64]) -> Majority {
    Majority::new(ids.iter().map(|number| id(*number)))
}

/// A node of three that is well; node 1 leads.
fn well(number: u64) -> NodeStatus {
    let peer = |other: u64| PeerReport {
        id: id(other),
        matched: 10,
        next: 11,
        flow: None,
        heard_ms: Some(50),
        rtt_us: Some(400),
        connected: true,
        trouble: String::new(),
        snapshot_bytes: (0, 0),
        catch_up: None,
    };
    let leads = number == 1;
    NodeStatus {
        node: id(number),
        name: format!("n{number}"),
        address: format!("n{number}:7400"),
        cluster: [7; 16],
        generation: Some(Generation::new([1; 32])),
        incarnation: Incarnation::new(number),
        role: if leads { RoleKind::Leader } else { RoleKind::Follower },
        term: 4,
        voted_for: Some(id(1)),
        leader: Some(id(1)),
        leading_ms: leads.then_some(60_000),
        heard_ms: (!leads).then_some(50),
        first: 1,
        last: 10,
        durable: 10,
        commit: 10,
        applied: 10,
        configuration: three(Voters::Stable(majority(&[1, 2, 3]))),
        configuration_index: 1,
        peers: if leads { vec![peer(2), peer(3)] } else { Vec::new() },
        refusals: Vec::new(),
        version: "0.1.0".into(),
        uptime_ms: 60_000,
        log_bytes: 1_000,
        disk_total_bytes: 100,
        disk_free_bytes: 50,
        certificate_not_after: NOW + 300 * 86_400,
        fsync_p99_us: 1_000,
        apply_p99_us: 100,
        commit_p99_us: 2_000,
        operations_per_second: 5,
        failure: String::new(),
        lease: None,
    }
}

fn survey(answers: Vec<Option<NodeStatus>>) -> Survey {
    let row = |(number, answer): (u64, Option<NodeStatus>)| Row {
        name: format!("n{number}"),
        id: answer.as_ref().map(|status| status.node),
        address: format!("n{number}:7400"),
        answer: answer
            .map(Box::new)
            .ok_or(Silence { why: "no answer in 2 s".into(), certificates: false }),
    };
    Survey::of((1..).zip(answers).map(row).collect())
}

fn without_leader(number: u64) -> NodeStatus {
    NodeStatus {
        role: RoleKind::Follower,
        leader: None,
        leading_ms: None,
        peers: Vec::new(),
        ..well(number)
    }
}

fn check(survey: &Survey, health: Health, tolerates: Option<usize>, reason: &str) {
    let verdict = judge(survey, NOW);
    assert_eq!((verdict.health, verdict.tolerates), (health, tolerates), "{verdict:?}");
    assert!(verdict.reason.contains(reason), "{verdict:?}");
    assert_eq!(verdict.reason.is_empty(), health == Health::Healthy);
}

#[test]
fn three_nodes_that_are_well_tolerate_one_failure() {
    let all = survey((1..=3).map(|number| Some(well(number))).collect());
    check(&all, Health::Healthy, Some(1), "");
    assert!(judge(&all, NOW).remarks.is_empty());
}

#[test]
fn a_node_that_died_just_now_is_not_counted_on() {
    let mut leader = well(1);
    leader.peers[1].heard_ms = Some(RECENT_MS + 1);
    let one_down = survey(vec![Some(leader.clone()), Some(well(2)), None]);
    check(&one_down, Health::Degraded, Some(0), "n3: no answer in 2 s");
    assert_eq!(one_down.rows[2].id, Some(id(3)), "it keeps its row and its id");
}

#[test]
fn a_node_that_only_the_leader_reaches_counts() {
    let cut_off_here = survey(vec![Some(well(1)), None, None]);
    check(&cut_off_here, Health::Degraded, Some(1), "n2: ");
}

#[test]
fn a_node_that_the_leader_does_not_hear_does_not_count() {
    let mut leader = well(1);
    leader.peers[0].heard_ms = Some(20_000);
    leader.peers[0].trouble = "handshake timed out".into();
    let all = survey(vec![Some(leader), Some(well(2)), Some(well(3))]);
    check(&all, Health::Degraded, Some(0), "not heard from it for 20 s: handshake timed out");
}

#[test]
fn without_a_majority_there_is_no_quorum_whoever_claims_to_lead() {
    let alone = survey(vec![Some(without_leader(1)), None, None]);
    check(&alone, Health::NoQuorum, Some(0), "1 of 3 reachable, need 2");
    let lines = nobody_wins(&alone, false);
    let first = "nobody can win: n2 does not answer, n3 does not answer; the rest is no majority";
    assert_eq!(lines[0], first);
    let mut stale = well(1);
    for peer in &mut stale.peers {
        peer.heard_ms = Some(30_000);
    }
    let stale = survey(vec![Some(stale), None, None]);
    check(&stale, Health::NoQuorum, Some(0), "1 of 3 reachable, need 2");
    check(&survey(vec![None, None, None]), Health::NoQuorum, None, "0 of 3 nodes reachable");
}

#[test]
fn refusals_say_why_nobody_leads() {
    let mut two = without_leader(2);
    two.role = RoleKind::PreCandidate;
    two.refusals =
        vec![(id(1), consensus::Verdict::LogBehind), (id(3), consensus::Verdict::Granted)];
    let leaderless = survey(vec![Some(without_leader(1)), Some(two), Some(without_leader(3))]);
    check(&leaderless, Health::NoLeader, Some(1), "nobody leads");
    let lines = nobody_wins(&leaderless, true);
    assert_eq!(lines[0], "n1 does not lead: it has not campaigned yet");
    assert_eq!(lines[1], "n2 does not lead: n1 has a more recent log");
}

#[test]
fn a_wiped_or_failed_node_degrades() {
    let wiped = NodeStatus {
        generation: None,
        leader: None,
        configuration: Configuration::unknown(),
        ..well(3)
    };
    let with_wiped = survey(vec![Some(well(1)), Some(well(2)), Some(wiped)]);
    check(&with_wiped, Health::Degraded, Some(0), "n3: has no history, takes no part");
    let failed = NodeStatus { failure: "the disk failed".into(), ..well(3) };
    let with_failed = survey(vec![Some(well(1)), Some(well(2)), Some(failed)]);
    check(&with_failed, Health::Degraded, Some(0), "n3: does not serve: the disk failed");
}

#[test]
fn nodes_without_a_history_are_uninitialised() {
    let fresh = |number| NodeStatus {
        generation: None,
        leader: None,
        role: RoleKind::Follower,
        configuration: Configuration::unknown(),
        ..well(number)
    };
    let all = survey((1..=3).map(|number| Some(fresh(number))).collect());
    check(&all, Health::Uninitialised, None, "3 of 3 nodes answer, and none has a history");
}

#[test]
fn a_joint_configuration_tolerates_what_both_halves_do() {
    let joint = Voters::Joint { outgoing: majority(&[1]), incoming: majority(&[1, 2, 3]) };
    let leader = NodeStatus { configuration: three(joint.clone()), ..well(1) };
    let all = survey(vec![Some(leader), Some(well(2)), Some(well(3))]);
    check(&all, Health::Joint, Some(0), "a change of members");
    let alive: BTreeSet<NodeId> = [id(2), id(3)].into();
    assert_eq!(tolerance(&joint, &alive), 0);
    assert_eq!(
        shortage(&joint, &alive).as_deref(),
        Some("0 of 1 outgoing voters reachable, need 1")
    );
}

#[test]
fn what_ends_or_fills_up_is_remarked_and_still_healthy() {
    let tight =
        NodeStatus { certificate_not_after: NOW + 9 * 86_400, disk_free_bytes: 5, ..well(2) };
    let all = survey(vec![Some(well(1)), Some(tight), Some(well(3))]);
    let verdict = judge(&all, NOW);
    assert_eq!(verdict.health, Health::Healthy);
    let found: Vec<String> = verdict.remarks.iter().map(|(_, code)| code.to_string()).collect();
    assert_eq!(found, ["R0403", "R0404"]);
}

#[test]
fn a_second_address_of_one_node_makes_no_second_row() {
    let mut rows = survey((1..=3).map(|number| Some(well(number))).collect()).rows;
    let silence = Silence { why: "refused".into(), certificates: false };
    let answer = Err(silence);
    rows.push(Row { name: "alias".into(), id: Some(id(2)), address: "x:1".into(), answer });
    let all = Survey::of(rows);
    assert_eq!(all.rows.len(), 3);
    assert!(all.rows[1].answer.is_ok());
}
