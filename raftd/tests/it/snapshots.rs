//! Followers that need compacted entries take over their leader's state, with real processes that
//! are killed in the middle of it (§5).

use std::time::{Duration, Instant};

use bytes::Bytes;
use client::{Client, ClientError, NodeStatus};
use consensus::EntryId;
use fixtures::load::{Load, put};
use fixtures::{Cluster, Node, PATIENCE};
use protocol::{ErrorCode, SnapshotAnswer, SnapshotRequest};
use rustix::process::Signal;
use tokio::task::JoinSet;

/// Three nodes whose logs are short.
async fn cluster(bytes_per_s_max: u64) -> Cluster {
    let mut cluster = Cluster::prepare(3);
    for node in &mut cluster.nodes {
        node.configure(&format!(
            "[limits]\nlog_keep_entries_max = 100\npersist_interval_s = 1\n\
             snapshot_bytes_per_s_max = {bytes_per_s_max}\n"
        ));
        node.start();
    }
    cluster.bootstrap().await;
    cluster.leader().await;
    cluster
}

const FAST: u64 = 1 << 30;
const SLOW: u64 = 1 << 20;

/// Waits until what a node says is as wanted.
async fn until(cluster: &Cluster, node: usize, wanted: impl Fn(&NodeStatus) -> bool) {
    let client = cluster.client();
    let began = Instant::now();
    loop {
        let status = client.status_of(&cluster.nodes[node].address).await;
        if status.as_ref().is_ok_and(&wanted) {
            return;
        }
        let waited = began.elapsed() < 2 * PATIENCE;
        assert!(waited, "{status:#?} {}", cluster.nodes.iter().map(Node::log).collect::<String>());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Writes so many values of a hundred kilobytes, which do not compress.
async fn fill(client: &Client, name: &str, count: usize) {
    for number in 0..count {
        let mut word = number as u64 + 1;
        let next = || {
            word = word.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888);
            char::from(b'a' + u8::try_from((word >> 33) % 26).unwrap())
        };
        let value: String = std::iter::repeat_with(next).take(100_000).collect();
        put(client, &format!("{name}/{number}"), &value).await.unwrap();
    }
}

fn count(node: &Node, words: &str) -> usize {
    node.log().matches(words).count()
}

/// Where a node began to receive snapshots, in bytes: 0, or where it went on.
fn offsets(log: &str) -> impl Iterator<Item = u64> {
    let begins = log.lines().filter(|line| line.contains("receiving a snapshot"));
    begins.map(|line| {
        let digits = line.split("offset=").nth(1).unwrap().chars().take_while(char::is_ascii_digit);
        digits.collect::<String>().parse().unwrap()
    })
}

#[tokio::test]
async fn a_follower_that_is_far_behind_catches_up_by_snapshot_under_load() {
    let mut cluster = cluster(FAST).await;
    let load = Load::start(&cluster, 4);
    load.progress(&cluster, 100).await;
    let leader = cluster.leader().await;
    let follower = (leader + 1) % 3;
    let behind = cluster.client().status_of(&cluster.nodes[follower].address).await.unwrap().last;
    cluster.nodes[follower].kill();
    load.progress(&cluster, 500).await;
    until(&cluster, leader, |status| status.first > behind + 1).await;
    cluster.nodes[follower].start();
    load.progress(&cluster, 200).await;
    until(&cluster, follower, |status| status.applied > behind + 500).await;
    assert!(count(&cluster.nodes[follower], "snapshot installed") >= 1);
    load.finish().await.verify(&cluster).await;
}

#[tokio::test]
async fn a_transfer_goes_on_where_it_was_when_the_receiver_is_killed() {
    let mut cluster = cluster(SLOW).await;
    let leader = cluster.leader().await;
    let follower = (leader + 1) % 3;
    cluster.nodes[follower].kill();
    let client = cluster.client();
    fill(&client, "large", 60).await;
    let load = Load::start(&cluster, 2);
    load.progress(&cluster, 200).await;
    until(&cluster, leader, |status| status.first > 60).await;
    cluster.nodes[follower].start();
    let half = |status: &NodeStatus| {
        status.peers.iter().any(|peer| peer.snapshot_bytes.0 > peer.snapshot_bytes.1 / 3)
    };
    until(&cluster, leader, |status| half(status) && status.leader == Some(status.node)).await;
    cluster.nodes[follower].kill();
    cluster.nodes[follower].start();
    until(&cluster, follower, |status| status.applied > 260).await;
    let log = cluster.nodes[follower].logged("snapshot installed").await;
    assert!(offsets(&log).any(|offset| offset > 1_000_000), "it began anew: {log}");
    load.finish().await.verify(&cluster).await;
}

#[tokio::test]
async fn a_transfer_survives_a_kill_of_the_sender() {
    let mut cluster = cluster(SLOW).await;
    let leader = cluster.leader().await;
    let follower = (leader + 1) % 3;
    cluster.nodes[follower].kill();
    let client = cluster.client();
    fill(&client, "large", 40).await;
    let load = Load::start(&cluster, 2);
    load.progress(&cluster, 200).await;
    until(&cluster, leader, |status| status.first > 40).await;
    cluster.nodes[follower].start();
    until(&cluster, leader, |status| {
        status.peers.iter().any(|peer| peer.snapshot_bytes.0 > 1_000_000)
    })
    .await;
    cluster.nodes[leader].kill();
    tokio::time::sleep(Duration::from_millis(300)).await;
    cluster.nodes[leader].start();
    until(&cluster, follower, |status| status.applied > 240).await;
    load.progress(&cluster, 100).await;
    load.finish().await.verify(&cluster).await;
}

/// Nobody but the killed sender can lead again, for the third node hangs; and nothing is written
/// meanwhile, so that the snapshot is still the one that the log needs.
#[tokio::test]
async fn a_transfer_goes_on_where_it_was_when_its_sender_is_killed_and_leads_again() {
    let mut cluster = cluster(SLOW).await;
    let follower = (cluster.leader().await + 1) % 3;
    cluster.nodes[follower].kill();
    fill(&cluster.client(), "large", 40).await;
    let load = Load::start(&cluster, 2);
    load.progress(&cluster, 200).await;
    let written = load.finish().await;
    let sender = cluster.leader().await;
    let third = 3 - sender - follower;
    until(&cluster, sender, |status| status.first > 40).await;
    cluster.nodes[follower].start();
    until(&cluster, sender, |status| {
        status.peers.iter().any(|peer| peer.snapshot_bytes.0 > 1_500_000)
    })
    .await;
    cluster.nodes[third].signal(Signal::STOP);
    cluster.nodes[sender].kill();
    let before = cluster.nodes[follower].log().len();
    cluster.nodes[sender].start();
    until(&cluster, follower, |status| status.applied > 240).await;
    let log = cluster.nodes[follower].logged("snapshot installed").await;
    let went_on: Vec<u64> = offsets(&log[before..]).collect();
    assert!(went_on.first().is_some_and(|offset| *offset > 0), "{went_on:?} {log}");
    println!("went on at {went_on:?}");
    assert_eq!(count(&cluster.nodes[follower], "snapshot installed"), 1, "{log}");
    cluster.nodes[third].signal(Signal::CONT);
    written.verify(&cluster).await;
}

#[tokio::test]
async fn a_receiver_killed_at_any_moment_of_it_comes_back_with_everything() {
    let mut cluster = cluster(FAST).await;
    let load = Load::start(&cluster, 4);
    load.progress(&cluster, 100).await;
    for round in 0..12 {
        let leader = cluster.leader().await;
        let follower = (leader + 1) % 3;
        let client = cluster.client();
        let has = client.status_of(&cluster.nodes[follower].address).await.unwrap().applied;
        cluster.nodes[follower].kill();
        load.progress(&cluster, 300).await;
        // What it lacks is compacted: it needs a snapshot.
        until(&cluster, leader, |status| status.first > has + 1).await;
        cluster.nodes[follower].start();
        tokio::time::sleep(Duration::from_millis(30 + 25 * round)).await;
        cluster.nodes[follower].kill();
        cluster.nodes[follower].start();
        let goal = client.status_of(&cluster.nodes[leader].address).await.unwrap().commit;
        until(&cluster, follower, |status| status.applied >= goal).await;
    }
    let written = load.finish().await;
    written.verify(&cluster).await;
    let installed: usize = cluster.nodes.iter().map(|node| count(node, "installed")).sum();
    assert!(installed >= 3, "{installed} snapshots installed");
}

#[tokio::test]
async fn an_operator_takes_a_snapshot_and_reads_it_piece_by_piece() {
    let cluster = cluster(FAST).await;
    let client = cluster.client();
    fill(&client, "large", 30).await;
    let node = &cluster.nodes[cluster.leader().await].address;
    let taken = client.snapshot(node, SnapshotRequest::Take).await.unwrap();
    let SnapshotAnswer::Taken(taken) = taken else { panic!("unexpected: {taken:?}") };
    assert!(taken.size_bytes > 3_000_000, "{taken:?}");
    let list = client.snapshot(node, SnapshotRequest::List).await.unwrap();
    assert!(matches!(&list, SnapshotAnswer::List(list) if list.first() == Some(&taken)));
    let mut bytes: Vec<u8> = Vec::new();
    loop {
        let fetch = SnapshotRequest::Fetch { last: taken.last, offset: bytes.len() as u64 };
        let piece = client.snapshot(node, fetch).await.unwrap();
        let SnapshotAnswer::Piece { size_bytes, bytes: piece } = piece else {
            panic!("unexpected: {piece:?}")
        };
        assert_eq!(size_bytes, taken.size_bytes);
        if piece.is_empty() {
            break;
        }
        bytes.extend(piece);
    }
    assert_eq!(bytes.len() as u64, taken.size_bytes);
    let source = Bytes::from(bytes);
    let reader = storage::SnapshotReader::new("as fetched".into(), &source[..]).unwrap();
    assert_eq!(reader.header().meta.last, taken.last);
    let totals = reader.verify(|_| {}).unwrap();
    assert!(totals.pairs >= 30, "{totals:?}");
    is_read_by_few_at_a_time(&client, node, taken.last).await;
}

/// Each takes a thread and a megabyte, and others need threads too.
async fn is_read_by_few_at_a_time(client: &Client, node: &str, last: EntryId) {
    let mut reading = JoinSet::new();
    for _ in 0..256 {
        let (client, node) = (client.clone(), node.to_owned());
        let fetch = SnapshotRequest::Fetch { last, offset: 0 };
        reading.spawn(async move { client.snapshot(&node, fetch).await });
    }
    let (mut read, mut busy) = (0, 0);
    for answer in reading.join_all().await {
        match answer {
            Ok(_) => read += 1,
            Err(ClientError::Refused(reply)) if reply.code == ErrorCode::Busy => {
                busy += usize::from(reply.message.contains("snapshots are being read"));
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert!(read > 0 && busy > 0, "{read} were read, {busy} refused");
}
