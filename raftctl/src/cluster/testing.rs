//! Surveys that are made up, for tests: three nodes that are well, and what changes them.

use std::collections::{BTreeMap, BTreeSet};

use client::{Common, NodeStatus, PeerReport};
use consensus::{Configuration, FlowKind, Incarnation, Majority, Member, NodeId, RoleKind, Voters};
use protocol::Generation;

use crate::cluster::judge::judge;
use crate::cluster::reasons::why_nobody_leads;
use crate::cluster::survey::{Row, Silence, Survey};
use crate::cluster::verdict::Health;

/// Now, in seconds since 1970.
pub(crate) const NOW: i64 = 1_800_000_000;

/// Returns a node's id.
pub(crate) fn id(number: u64) -> NodeId {
    NodeId::new(number).expect("it is not 0")
}

/// Returns a configuration of three members.
pub(crate) fn three(voters: Voters) -> Configuration {
    let member = |number: u64| {
        let (name, address) = (format!("n{number}"), format!("n{number}:7400"));
        (id(number), Member { incarnation: Incarnation::new(number), name, address })
    };
    let members: BTreeMap<NodeId, Member> = (1..=3).map(member).collect();
    Configuration::new(voters, BTreeSet::new(), members).expect("it is valid")
}

/// Returns a set of voters.
pub(crate) fn majority(ids: &[u64]) -> Majority {
    Majority::new(ids.iter().map(|number| id(*number)))
}

/// A node of three that is well; node 1 leads.
pub(crate) fn well(number: u64) -> NodeStatus {
    let others = (1..=3).filter(|other| *other != number);
    let peers = others.map(|other| seen(number, other)).collect();
    let leads = number == 1;
    NodeStatus {
        node: id(number),
        name: format!("n{number}"),
        address: format!("n{number}:7400"),
        cluster: [7; 16],
        generation: Some(Generation::new([1; 32])),
        incarnation: Incarnation::new(number),
        former: None,
        starts: 1,
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
        peers,
        refusals: Vec::new(),
        version: "0.1.0".into(),
        uptime_ms: 60_000,
        log_bytes: 1_000,
        disk_total_bytes: 100,
        disk_free_bytes: 50,
        disk_reserve_bytes: 10,
        disk_needed_bytes: 20,
        no_room: String::new(),
        alarms: Vec::new(),
        shortage: Vec::new(),
        disk_waits_ms: None,
        reads_wait_ms: None,
        snapshot_damaged: String::new(),
        log_read: None,
        state_read: None,
        mended: String::new(),
        certificate_not_before: NOW - 65 * 86_400,
        clock_unix_ms: NOW.unsigned_abs() * 1_000,
        certificate_not_after: NOW + 300 * 86_400,
        fsync_p99_us: 1_000,
        apply_p99_us: 100,
        commit_p99_us: 2_000,
        operations_per_second: 5,
        failure: String::new(),
        lease: None,
        boot: 1_000 + number,
        heartbeat_ms: 100,
        election_timeout_ms: 1_000,
        commit_stalled_ms: None,
        applied_stalled_ms: None,
        troubles: Vec::new(),
    }
}

/// A node of three, as another one sees it.
fn seen(number: u64, other: u64) -> PeerReport {
    PeerReport {
        id: id(other),
        matched: if number == 1 { 10 } else { 0 },
        next: 11,
        flow: (number == 1).then_some(FlowKind::Replicate),
        heard_ms: (number == 1).then_some(50),
        rtt_us: Some(400),
        connected: true,
        trouble: String::new(),
        snapshot_bytes: (0, 0),
        catch_up: None,
        boot: Some(1_000 + other),
        incarnation: Some(Incarnation::new(other)),
        doubled_ms: None,
        since_ms: Some(60_000),
        stalled_ms: None,
        differs_at: None,
    }
}

/// Returns what nodes 1, 2, .. said; `None` did not answer.
pub(crate) fn survey(answers: Vec<Option<NodeStatus>>) -> Survey {
    let row = |(number, answer): (u64, Option<NodeStatus>)| Row {
        name: format!("n{number}"),
        id: answer.as_ref().map(|status| status.node),
        address: format!("n{number}:7400"),
        answer: answer
            .map(Box::new)
            .ok_or(Silence { why: "no answer in 2 s".into(), common: Common::Nothing }),
    };
    Survey::of((1..).zip(answers).map(row).collect())
}

/// A node of three that follows nobody.
pub(crate) fn without_leader(number: u64) -> NodeStatus {
    NodeStatus {
        role: RoleKind::Follower,
        leader: None,
        leading_ms: None,
        heard_ms: None,
        peers: well(number).peers.into_iter().map(|p| PeerReport { flow: None, ..p }).collect(),
        ..well(number)
    }
}

/// Cuts the way from a node to another one.
pub(crate) fn cut(status: &mut NodeStatus, other: u64, why: &str) {
    let peer = status.peers.iter_mut().find(|peer| peer.id == id(other)).expect("it is a peer");
    (peer.connected, peer.boot, peer.since_ms) = (false, None, Some(5_000));
    peer.trouble = why.to_owned();
}

/// All three nodes, after one of them was changed.
pub(crate) fn after(number: u64, change: impl Fn(&mut NodeStatus)) -> Survey {
    let mut nodes: Vec<NodeStatus> = (1..=3).map(well).collect();
    change(&mut nodes[usize::try_from(number).expect("it is small") - 1]);
    survey(nodes.into_iter().map(Some).collect())
}

/// What is remarked upon, as codes and texts.
pub(crate) fn remarked(survey: &Survey) -> Vec<String> {
    judge(survey, NOW).remarks.iter().map(|(text, code)| format!("{code} {text}")).collect()
}

/// Why nobody leads.
pub(crate) fn nobody_leads(survey: &Survey) -> Vec<String> {
    why_nobody_leads(survey, &judge(survey, NOW))
}

/// Checks the verdict.
pub(crate) fn check(survey: &Survey, health: Health, tolerates: Option<usize>, reason: &str) {
    let verdict = judge(survey, NOW);
    assert_eq!((verdict.health, verdict.tolerates), (health, tolerates), "{verdict:?}");
    assert!(verdict.reason.contains(reason), "{verdict:?}");
    assert_eq!(verdict.reason.is_empty(), health == Health::Healthy);
}

/// So many voters, of which the first leads, all well.
pub(crate) fn cluster_of(voters: u64) -> Survey {
    let member = |number: u64| {
        let (name, address) = (format!("n{number}"), format!("n{number}:7400"));
        (id(number), Member { incarnation: Incarnation::new(number), name, address })
    };
    let all: Vec<u64> = (1..=voters).collect();
    let members = (1..=voters).map(member).collect();
    let stable = Voters::Stable(majority(&all));
    let configuration = Configuration::new(stable, BTreeSet::new(), members).expect("it is valid");
    let node = |number: u64| {
        let template = &well(number % 2 + 1).peers[0];
        let peer = |other: &u64| PeerReport {
            id: id(*other),
            boot: Some(1_000 + *other),
            flow: (number == 1).then_some(FlowKind::Replicate),
            heard_ms: (number == 1).then_some(50),
            matched: if number == 1 { 10 } else { 0 },
            ..template.clone()
        };
        Some(NodeStatus {
            configuration: configuration.clone(),
            peers: all.iter().filter(|other| **other != number).map(peer).collect(),
            ..well(number)
        })
    };
    survey(all.iter().map(|number| node(*number)).collect())
}
