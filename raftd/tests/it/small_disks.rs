//! Clusters on disks that fill up soon, and how their clients meet that.

use std::time::{Duration, Instant};

use client::{Client, ClientError, ErrorCode};
use fixtures::load::put;
use fixtures::{Cluster, PATIENCE, SmallDisk};
use protocol::Outcome;

/// Starts so many nodes, each on a disk of 32 MiB. None where this machine lets nobody mount them.
pub(crate) async fn cluster(count: usize) -> Option<(Cluster, Vec<SmallDisk>)> {
    let mut cluster = Cluster::prepare(count);
    let mut disks = Vec::new();
    for node in &cluster.nodes {
        let Some(disk) = SmallDisk::mount(&node.data, 32) else {
            eprintln!("not shown here: mounting a small file system takes root");
            return None;
        };
        disks.push(disk);
    }
    for node in &mut cluster.nodes {
        node.start();
    }
    cluster.bootstrap().await;
    Some((cluster, disks))
}

/// Puts small values until they are refused for want of room, which is no more than is written
/// before the disk is looked at; returns why.
pub(crate) async fn put_until_refused(client: &Client) -> String {
    let began = Instant::now();
    loop {
        match put(client, "load", "1").await {
            Err(ClientError::Refused(reply)) if reply.code == ErrorCode::NoRoom => {
                assert_eq!(reply.outcome, Outcome::NotApplied);
                return reply.message;
            }
            Ok(()) | Err(_) => assert!(began.elapsed() < PATIENCE, "puts go on"),
        }
    }
}

/// Puts a small value as soon as there is room for it.
pub(crate) async fn put_when_there_is_room(client: &Client, key: &str) {
    let began = Instant::now();
    while let Err(error) = put(client, key, "1").await {
        assert!(began.elapsed() < PATIENCE, "there is never room: {error}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
