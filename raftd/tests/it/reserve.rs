//! Another program takes the disk to its last byte: what the node holds in reserve is enough to
//! vote, to delete, to stop and to start again.

use std::time::{Duration, Instant};

use bytes::Bytes;
use client::{Client, ClientError, ErrorCode};
use fixtures::load::{get, put};
use fixtures::{Cluster, PATIENCE};
use protocol::NodeStatus;
use rustix::process::Signal;
use state_machine::KvCommand;

use crate::small_disks::{self, put_until_refused};

/// Waits until a node says something of itself.
async fn says(cluster: &Cluster, place: usize, what: impl Fn(&NodeStatus) -> bool) -> NodeStatus {
    let (client, began) = (cluster.client(), Instant::now());
    loop {
        let status = cluster.nodes[place].status(&client).await;
        if let Some(status) = status.filter(&what) {
            return status;
        }
        assert!(began.elapsed() < PATIENCE, "{}", cluster.nodes[place].log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn is_held(cluster: &Cluster) {
    for (place, node) in cluster.nodes.iter().enumerate() {
        let is_well =
            |status: &NodeStatus| status.disk_reserve_bytes > 0 && status.no_room.is_empty();
        let status = says(cluster, place, is_well).await;
        let file = std::fs::metadata(node.data.join("reserve")).unwrap();
        assert_eq!(file.len(), status.disk_reserve_bytes);
    }
}

/// Deletes a key. A client that was connected to a node which is gone finds another one.
async fn delete(client: &Client, key: &str) {
    let began = Instant::now();
    loop {
        let key = Bytes::copy_from_slice(key.as_bytes());
        match client.propose(KvCommand::Delete { key }.encode()).await {
            Ok(_) => return,
            Err(ClientError::Refused(reply)) if reply.code == ErrorCode::NoRoom => {
                panic!("deletions go on: {reply:?}")
            }
            Err(other) => assert!(began.elapsed() < PATIENCE, "{other}"),
        }
    }
}

#[tokio::test]
async fn a_disk_that_others_fill_to_the_last_byte_ends_no_node_and_keeps_none_from_starting() {
    let Some((mut cluster, disks)) = small_disks::cluster(3).await else { return };
    cluster.leader().await;
    let client = cluster.client();
    for number in 0..20 {
        put(&client, &format!("key/{number}"), "1").await.unwrap();
    }
    is_held(&cluster).await;

    // All at once, under load.
    let (loading, load) = (cluster.client(), cluster.client());
    let refused = tokio::spawn(async move { put_until_refused(&loading).await });
    for disk in &disks {
        disk.fill_up();
    }
    let why = refused.await.unwrap();
    assert!(why.contains("reads and deletions go on"), "{why}");
    for place in 0..3 {
        says(&cluster, place, |status| status.disk_reserve_bytes == 0).await;
        cluster.nodes[place].logged("the reserve of ").await;
        assert!(!cluster.nodes[place].data.join("reserve").exists());
    }

    // It votes, deletes, answers.
    let leader = cluster.leader().await;
    cluster.nodes[leader].kill();
    let next = cluster.leader().await;
    assert_ne!(next, leader);
    for number in 0..20 {
        delete(&client, &format!("key/{number}")).await;
    }
    assert_eq!(get(&client, "key/7").await.unwrap(), None);
    let refused = put(&load, "more", "1").await.unwrap_err();
    assert!(matches!(refused, ClientError::Refused(r) if r.code == ErrorCode::NoRoom));

    // It stops in good order, and starts on the disk that is still full.
    cluster.nodes[leader].start();
    says(&cluster, leader, |_| true).await;
    for node in &mut cluster.nodes {
        node.signal(Signal::TERM);
        assert_eq!(node.ended().code(), Some(0), "{}", node.log());
        node.start();
    }
    cluster.leader().await;
    assert_eq!(get(&client, "key/7").await.unwrap(), None);
    delete(&client, "load").await;

    // With room it goes on by itself, and holds some again.
    for disk in &disks {
        disk.free();
    }
    let began = Instant::now();
    while put(&client, "after", "1").await.is_err() {
        assert!(began.elapsed() < PATIENCE, "there is never room");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    is_held(&cluster).await;
    for node in &cluster.nodes {
        assert!(node.is_running() && !node.log().contains("this node stops"), "{}", node.log());
    }
}
