//! Disks that hang or fail while their processes go on talking: leadership goes where the better
//! disk is, no change is begun that such a disk would hold up, and nothing that was acknowledged is
//! lost.

use std::time::{Duration, Instant};

use bytes::Bytes;
use client::{ClientError, Consistency, ErrorCode, NodeStatus};
use consensus::{Configuration, Majority, NodeId, Voters};
use fixtures::load::{Load, put};
use fixtures::{Cluster, DiskShim, PATIENCE};
use rustix::process::Signal;
use state_machine::{KvCommand, KvQuery, KvResponse};

/// When a leader knows its followers' disks: ten of the shortest election timeouts.
const TENURE_MS: u64 = 10_000;

/// Three nodes, each with a shim before its disk; `None` where there is no C compiler.
async fn cluster() -> Option<(Cluster, Vec<DiskShim>)> {
    cluster_with("").await
}

/// The same, with more in each node's configuration.
async fn cluster_with(more: &str) -> Option<(Cluster, Vec<DiskShim>)> {
    let mut cluster = Cluster::prepare(3);
    let mut shims = Vec::new();
    for node in &mut cluster.nodes {
        node.configure(more);
        let Some(shim) = node.shim() else {
            eprintln!("NOT SHOWN HERE: a disk that hangs takes a C compiler (cc)");
            return None;
        };
        shims.push(shim);
        node.start();
    }
    cluster.bootstrap().await;
    cluster.leader().await;
    Some((cluster, shims))
}

/// Waits until what a node says is as wanted.
async fn until(cluster: &Cluster, at: usize, wanted: impl Fn(&NodeStatus) -> bool) -> NodeStatus {
    let client = cluster.client();
    let began = Instant::now();
    loop {
        let status = client.status_of(&cluster.nodes[at].address).await;
        match status {
            Ok(status) if wanted(&status) => return status,
            Ok(_) | Err(_) => {}
        }
        let log: String = cluster.nodes.iter().map(|node| node.log()).collect();
        assert!(began.elapsed() < PATIENCE, "not as wanted: {status:#?}\n{log}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits until somebody else leads.
async fn succeeded(cluster: &Cluster, before: usize) -> usize {
    let began = Instant::now();
    loop {
        let leader = cluster.leader().await;
        if leader != before {
            return leader;
        }
        let log = cluster.nodes[before].log();
        assert!(began.elapsed() < PATIENCE, "nobody takes over\n{log}");
    }
}

#[tokio::test]
async fn a_leader_whose_disk_hangs_hands_over_and_comes_back_as_a_follower() {
    let Some((cluster, shims)) = cluster().await else { return };
    let load = Load::start(&cluster, 4);
    load.progress(&cluster, 100).await;
    let mut leader = cluster.leader().await;
    while until(&cluster, leader, |_| true).await.leading_ms.unwrap_or(0) < TENURE_MS {
        load.progress(&cluster, 10).await;
        leader = cluster.leader().await;
    }
    let began = Instant::now();
    shims[leader].hang();
    succeeded(&cluster, leader).await;
    println!("another one leads after {:?}", began.elapsed());
    let log = cluster.nodes[leader].logged("handing leadership over").await;
    assert!(log.contains("this node's disk does not write"), "{log}");
    load.progress(&cluster, 100).await;
    let hung = until(&cluster, leader, |status| status.disk_waits_ms > Some(1_000)).await;
    assert!(hung.fsync_p99_us > 1_000_000, "what is not finished counts: {hung:?}");
    shims[leader].heal();
    until(&cluster, leader, |status| status.disk_waits_ms.is_none_or(|ms| ms < 1_000)).await;
    load.finish().await.verify(&cluster).await;
}

#[tokio::test]
async fn a_disk_that_hangs_is_told_when_nobody_writes() {
    let Some((cluster, shims)) = cluster().await else { return };
    put(&cluster.client(), "before", "1").await.unwrap();
    let follower = (cluster.leader().await + 1) % 3;
    let idle = |status: &NodeStatus| status.disk_waits_ms.is_none_or(|ms| ms < 1_000);
    until(&cluster, follower, idle).await;
    shims[follower].hang();
    until(&cluster, follower, |status| status.disk_waits_ms > Some(2_000)).await;
    shims[follower].heal();
    until(&cluster, follower, idle).await;
}

#[tokio::test]
async fn a_change_that_needs_a_hanging_disk_is_refused() {
    let Some((cluster, shims)) = cluster().await else { return };
    let client = cluster.client();
    put(&client, "before", "1").await.unwrap();
    let leader = cluster.leader().await;
    let (hanging, healthy) = ((leader + 1) % 3, (leader + 2) % 3);
    let status = until(&cluster, leader, |_| true).await;
    // Nothing is written for a while: only heartbeats speak for anybody.
    tokio::time::sleep(Duration::from_secs(3)).await;
    shims[hanging].hang();
    let target = without(&status.configuration, cluster.nodes[healthy].id);
    match client.reconfigure(&target, status.configuration_index).await {
        Err(ClientError::Refused(reply)) => assert_eq!(reply.code, ErrorCode::Forbidden),
        other => panic!("{other:?}"),
    }
    put(&client, "it goes on", "1").await.unwrap();
    let id = NodeId::new(cluster.nodes[hanging].id);
    until(&cluster, leader, |status| {
        let peer = status.peers.iter().find(|peer| Some(peer.id) == id);
        peer.is_some_and(|peer| peer.stalled_ms > Some(1_000))
    })
    .await;
    until(&cluster, hanging, |status| status.disk_waits_ms > Some(1_000)).await;
    let target = without(&status.configuration, cluster.nodes[hanging].id);
    client.reconfigure(&target, status.configuration_index).await.unwrap();
    put(&client, "without it", "1").await.unwrap();
}

/// Such a node takes connections and answers pings: whoever asked it waited until the deadline, and
/// was told that nobody leads.
#[tokio::test]
async fn what_a_follower_with_a_hanging_disk_is_asked_others_answer() {
    let Some((cluster, shims)) = cluster().await else { return };
    put(&cluster.client(), "key", "1").await.unwrap();
    let leader = cluster.leader().await;
    let hanging = (leader + 1) % 3;
    shims[hanging].hang();
    let command = KvCommand::Put { key: Bytes::from("key"), value: Bytes::from("2") };
    let index = cluster.client().propose(command.encode()).await.unwrap().index;
    let all = [hanging, leader, (leader + 2) % 3];
    let deadline = Duration::from_secs(10);
    let every = [Consistency::Linearizable, Consistency::Follower, Consistency::AtLeast(index)];
    // Whoever was told of no other node hears of them from it.
    for (known, consistency) in every.into_iter().flat_map(|how| [(&all[..1], how), (&all, how)]) {
        let client = cluster.client_of(known, deadline);
        let query = KvQuery::Get { key: Bytes::from_static(b"key") }.encode();
        let began = Instant::now();
        client.query(query, consistency).await.unwrap();
        assert!(began.elapsed() < deadline / 2, "{consistency:?}: {:?}", began.elapsed());
        client.close().await;
    }
}

/// It has its log and the votes of all, and answers nobody: all was HEALTHY.
#[tokio::test]
async fn a_leader_that_can_read_nothing_of_its_state_says_so_and_others_answer() {
    let more = "[limits]\npersist_interval_s = 1\n";
    let Some((mut cluster, shims)) = cluster_with(more).await else { return };
    // Many blocks, of which a start reads few.
    let (client, value) = (cluster.client(), "1".repeat(3_000));
    for number in 0..100 {
        put(&client, &format!("key/{number:03}"), &value).await.unwrap();
    }
    cluster.converged().await;
    // After a stop in order all is in tables, and nothing of them in memory.
    for node in &mut cluster.nodes {
        node.signal(Signal::TERM);
        assert!(node.ended().success(), "{}", node.log());
        node.start();
    }
    let leader = cluster.leader().await;
    shims[leader].hang_reads();
    let query = KvQuery::Get { key: Bytes::from_static(b"key/050") }.encode();
    let (deadline, every) = (
        Duration::from_secs(8),
        [
            Consistency::Linearizable,
            Consistency::Follower,
            Consistency::AtLeast(1),
            Consistency::Stale,
        ],
    );
    // Whoever was told of no other node asks it for them.
    for consistency in every {
        let client = cluster.client_of(&[leader], deadline);
        let answer = client.query(query.clone(), consistency).await.unwrap();
        let found = KvResponse::decode(&answer.response).unwrap();
        assert!(
            matches!(&found, KvResponse::Value { value: found, .. } if found == value.as_bytes()),
            "{consistency:?}: {found:?}"
        );
        client.close().await;
    }
    let waits = |status: &NodeStatus| status.reads_wait_ms.is_some_and(|ms| ms >= 2_000);
    until(&cluster, leader, waits).await;
    shims[leader].heal();
    until(&cluster, leader, |status| status.reads_wait_ms.is_none()).await;
}

/// A configuration without one of its members.
fn without(configuration: &Configuration, id: u64) -> Configuration {
    let stays = |other: &NodeId| other.get() != id;
    let voters = Voters::Stable(Majority::new(configuration.voters().iter().filter(stays)));
    let members = configuration.members().iter().filter(|(other, _)| stays(other));
    let members = members.map(|(id, member)| (*id, member.clone())).collect();
    Configuration::new(voters, Default::default(), members).unwrap()
}

#[tokio::test]
async fn a_leader_whose_disk_fails_names_its_successor_before_it_ends() {
    let Some((mut cluster, shims)) = cluster().await else { return };
    let load = Load::start(&cluster, 4);
    load.progress(&cluster, 100).await;
    let leader = cluster.leader().await;
    let before = until(&cluster, leader, |_| true).await;
    shims[leader].fail();
    // While the writers write: to wait for the end of a process stops them.
    cluster.nodes[leader].logged("handing leadership over").await;
    let ended = cluster.nodes[leader].ended();
    assert_eq!(ended.code(), Some(74), "{}", cluster.nodes[leader].log());
    assert!(!shims[leader].was_taken_apart(), "a thread may use the database to the end");
    let next = succeeded(&cluster, leader).await;
    let after = until(&cluster, next, |status| status.leader == Some(status.node)).await;
    assert_eq!(after.term, before.term + 1, "one election");
    load.progress(&cluster, 100).await;
    load.finish().await;
}
