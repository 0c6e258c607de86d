//! A snapshot founds a new generation on one node; others join it, and nodes with data of the old
//! generation stay out (raft(7), GENERATIONS).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use client::Client;
use consensus::{Configuration, Majority, Member, NodeId, Voters};
use fixtures::load::{all_keys, get, put};
use fixtures::{Cluster, Node, PATIENCE, reason};
use protocol::{BootstrapRecord, SnapshotAnswer, SnapshotRequest};
use storage::{Restoration, SnapshotReader};

fn id(number: u64) -> NodeId {
    NodeId::new(number).unwrap()
}

/// Saves a snapshot of the leader's state, as an operator's file.
async fn save(cluster: &Cluster, client: &Client) -> PathBuf {
    let leader = &cluster.nodes[cluster.leader().await];
    let taken = client.snapshot(&leader.address, SnapshotRequest::Take).await.unwrap();
    let SnapshotAnswer::Taken(_) = taken else { panic!("unexpected: {taken:?}") };
    let snapshots = fs::read_dir(leader.data.join("snapshots")).unwrap();
    let newest = snapshots.map(|file| file.unwrap().path()).max().unwrap();
    let saved = cluster.path().join("saved.snap");
    fs::copy(newest, &saved).unwrap();
    saved
}

/// Fills a node's empty data directory, as `raftctl snapshot restore` does.
fn restore(node: &Node, file: &Path) -> BootstrapRecord {
    let mut reader = SnapshotReader::open(file).unwrap();
    let header = reader.header().clone();
    let restoration = Restoration::begin(&node.data, header.cluster, id(node.id)).unwrap();
    let incarnation = restoration.incarnation();
    let member = Member { incarnation, name: "n1".into(), address: node.address.clone() };
    let voters = Voters::Stable(Majority::new([id(node.id)]));
    let members = BTreeMap::from([(id(node.id), member)]);
    let record = BootstrapRecord {
        cluster: header.cluster,
        configuration: Configuration::new(voters, BTreeSet::new(), members).unwrap(),
        machine: header.machine,
        machine_version: header.machine_version,
        parent: Some(header.generation),
    };
    restoration.fill(&record, &mut reader).unwrap();
    record
}

/// Adds a node, first as a learner, then as a voter.
async fn add(cluster: &Cluster, client: &Client, first: &Node, node: &Node) {
    let status = cluster.answer_of(node).await;
    let (incarnation, address) = (status.incarnation, node.address.clone());
    let newcomer = Member { incarnation, name: "n4".into(), address };
    for votes in [false, true] {
        let began = Instant::now();
        loop {
            let now = client.status_of(&first.address).await.unwrap();
            let mut members = now.configuration.members().clone();
            members.insert(id(node.id), newcomer.clone());
            let learners = if votes { BTreeSet::new() } else { BTreeSet::from([id(node.id)]) };
            let voters = if votes { vec![id(1), id(node.id)] } else { vec![id(1)] };
            let voters = Voters::Stable(Majority::new(voters));
            let target = Configuration::new(voters, learners, members).unwrap();
            if now.configuration == target {
                break;
            }
            if let Err(error) = client.reconfigure(&target, now.configuration_index).await {
                assert!(began.elapsed() < PATIENCE, "{}", reason(&error));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test]
async fn a_restored_node_serves_alone_and_others_join_it() {
    let mut cluster = Cluster::start(3).await;
    let client = cluster.client();
    for number in 0..50 {
        put(&client, &format!("key {number}"), &number.to_string()).await.unwrap();
    }
    let saved = save(&cluster, &client).await;
    put(&client, "late", "behind the snapshot").await.unwrap();
    client.close().await;
    for node in &mut cluster.nodes {
        node.kill();
    }
    for node in &cluster.nodes[..2] {
        fs::remove_dir_all(&node.data).unwrap();
    }

    let record = restore(&cluster.nodes[0], &saved);
    cluster.nodes[0].start();
    // With the data of the old generation.
    cluster.nodes[2].start();
    let client = cluster.client_of(&[0], Duration::from_secs(10));
    assert_eq!(get(&client, "key 7").await.unwrap().as_deref(), Some("7"));
    assert_eq!(get(&client, "late").await.unwrap(), None);
    put(&client, "new", "of the new generation").await.unwrap();

    // The old members are buried: who joins has a new id, and a certificate for it.
    cluster.nodes[1].id = 4;
    cluster.nodes[1].issue(&cluster.authority, 4);
    cluster.nodes[1].start();
    cluster.answer_of(&cluster.nodes[1]).await;
    client.join(&cluster.nodes[1].address, record.clone()).await.unwrap();
    add(&cluster, &client, &cluster.nodes[0], &cluster.nodes[1]).await;
    put(&client, "both", "agree").await.unwrap();
    let first = all_keys(&client, &cluster.nodes[0].address).await;
    assert_eq!(first.len(), 52);
    let began = Instant::now();
    while all_keys(&client, &cluster.nodes[1].address).await != first {
        assert!(began.elapsed() < PATIENCE, "{}", cluster.nodes[1].log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let old = cluster.client_of(&[2], Duration::from_secs(1));
    let old = old.status_of(&cluster.nodes[2].address).await.unwrap();
    assert_eq!(old.generation, record.parent);
    assert_eq!(old.leader, None, "a node of the old generation leads nobody and follows nobody");
}

#[tokio::test]
async fn a_record_that_goes_on_from_a_snapshot_founds_no_empty_cluster() {
    let mut cluster = Cluster::prepare(1);
    cluster.nodes[0].start();
    let before = cluster.record().await;
    let record = BootstrapRecord { parent: Some(before.generation()), ..before };
    let client = cluster.client();
    let refused = client.bootstrap(&cluster.nodes[0].address, record.clone()).await.unwrap_err();
    assert!(reason(&refused).contains("goes on from a snapshot"), "{}", reason(&refused));
    assert_eq!(cluster.answer_of(&cluster.nodes[0]).await.generation, None);
}
