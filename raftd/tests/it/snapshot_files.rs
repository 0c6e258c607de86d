//! Snapshots whose files rot, cannot be made, or pile up (§5).

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use client::NodeStatus;
use fixtures::load::{Load, put};
use fixtures::{Cluster, Node, PATIENCE, SmallDisk};
use protocol::{SnapshotRequest, Trouble};

const SHORT_LOGS: &str = "[limits]\nlog_keep_entries_max = 100\npersist_interval_s = 1\n";

/// Three nodes whose logs are short.
async fn cluster() -> Cluster {
    let mut cluster = Cluster::prepare(3);
    for node in &cluster.nodes {
        node.configure(SHORT_LOGS);
    }
    for node in &mut cluster.nodes {
        node.start();
    }
    cluster.bootstrap().await;
    cluster.leader().await;
    cluster
}

/// The same, with small disks for their snapshots; `None` where they may not be mounted.
async fn on_small_disks() -> Option<(Cluster, Vec<SmallDisk>)> {
    let mut cluster = Cluster::prepare(3);
    let mut disks = Vec::new();
    for node in &mut cluster.nodes {
        node.configure(SHORT_LOGS);
        fs::create_dir(&node.data).unwrap();
        let Some(disk) = SmallDisk::mount(&node.data.join("snapshots"), 2) else {
            eprintln!("NOT SHOWN HERE: mounting a small file system takes root");
            return None;
        };
        disks.push(disk);
        node.start();
    }
    cluster.bootstrap().await;
    Some((cluster, disks))
}

async fn until(cluster: &Cluster, at: usize, wanted: impl Fn(&NodeStatus) -> bool) -> NodeStatus {
    let client = cluster.client();
    let began = Instant::now();
    loop {
        let status = client.status_of(&cluster.nodes[at].address).await;
        match status {
            Ok(status) if wanted(&status) => return status,
            Ok(_) | Err(_) => {}
        }
        let log: String = cluster.nodes.iter().map(Node::log).collect();
        assert!(began.elapsed() < PATIENCE, "not as wanted: {status:#?}\n{log}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Makes a follower fall so far behind that only a snapshot helps; it is down when this ends.
pub(crate) async fn leave_behind(cluster: &mut Cluster, follower: usize) {
    let client = cluster.client();
    let has = client.status_of(&cluster.nodes[follower].address).await.unwrap().last;
    cluster.nodes[follower].kill();
    let load = Load::start(cluster, 4);
    loop {
        load.progress(cluster, 200).await;
        let leader = cluster.leader().await;
        if until(cluster, leader, |_| true).await.first > has + 1 {
            break;
        }
    }
    load.finish().await;
}

/// Writes values that are together larger than a small disk, and do not compress.
async fn fill(cluster: &Cluster) {
    let client = cluster.client();
    for number in 0..50_u64 {
        let mut word = number + 1;
        let next = || {
            word = word.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888);
            char::from(b'a' + u8::try_from((word >> 33) % 26).unwrap())
        };
        let value: String = std::iter::repeat_with(next).take(100_000).collect();
        put(&client, &format!("large/{number}"), &value).await.unwrap();
    }
}

/// The files in a node's directory of snapshots with this extension.
pub(crate) fn files(node: &Node, extension: &str) -> Vec<PathBuf> {
    let children = fs::read_dir(node.data.join("snapshots")).unwrap();
    let paths = children.map(|child| child.unwrap().path());
    paths.filter(|path| path.extension().is_some_and(|found| found == extension)).collect()
}

#[tokio::test]
async fn a_rotten_snapshot_is_set_aside_and_another_one_made() {
    let mut cluster = cluster().await;
    let client = cluster.client();
    for number in 0..50 {
        put(&client, &format!("large/{number}"), &"x".repeat(10_000)).await.unwrap();
    }
    let leader = cluster.leader().await;
    let follower = (leader + 1) % 3;
    leave_behind(&mut cluster, follower).await;
    let leader = cluster.leader().await;
    client.snapshot(&cluster.nodes[leader].address, SnapshotRequest::Take).await.unwrap();
    // Beside the one that was asked for there may be one that was made for the follower.
    let spoiled = files(&cluster.nodes[leader], "snap");
    for path in &spoiled {
        let mut bytes = fs::read(path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(path, bytes).unwrap();
    }
    cluster.nodes[follower].start();
    let goal = until(&cluster, leader, |_| true).await.commit;
    until(&cluster, follower, |status| status.applied >= goal).await;
    let status = until(&cluster, leader, |status| !status.snapshot_damaged.is_empty()).await;
    let aside = files(&cluster.nodes[leader], "damaged");
    assert_eq!(aside, [PathBuf::from(&status.snapshot_damaged)]);
    let log = cluster.nodes[leader].logged("a snapshot is damaged").await;
    let told = log.matches("a snapshot is damaged").count();
    assert!((1..=spoiled.len()).contains(&told), "{log}");
    fs::remove_file(&aside[0]).unwrap();
    until(&cluster, leader, |status| status.snapshot_damaged.is_empty()).await;
}

#[tokio::test]
async fn a_snapshot_that_cannot_be_made_is_made_when_it_can() {
    let Some((mut cluster, disks)) = on_small_disks().await else { return };
    let follower = (cluster.leader().await + 1) % 3;
    fill(&cluster).await;
    leave_behind(&mut cluster, follower).await;
    cluster.nodes[follower].start();
    let leader = cluster.leader().await;
    cluster.nodes[leader].logged("a snapshot cannot be made").await;
    disks.iter().for_each(|disk| disk.resize(64));
    let goal = until(&cluster, leader, |_| true).await.commit;
    until(&cluster, follower, |status| status.applied >= goal).await;
}

/// Who looks would believe for ten minutes that it cannot be received.
#[tokio::test]
async fn a_snapshot_that_could_not_be_received_is_no_trouble_any_more_when_it_is_there() {
    let Some((mut cluster, disks)) = on_small_disks().await else { return };
    let follower = (cluster.leader().await + 1) % 3;
    for place in (0..3).filter(|place| *place != follower) {
        disks[place].resize(64);
    }
    fill(&cluster).await;
    leave_behind(&mut cluster, follower).await;
    cluster.nodes[follower].start();
    let has_trouble = |status: &NodeStatus| {
        status.troubles.iter().any(|trouble| trouble.what == Trouble::Snapshots)
    };
    let status = until(&cluster, follower, has_trouble).await;
    assert!(status.troubles[0].why.contains("no snapshot can be received"), "{status:?}");
    disks[follower].resize(64);
    let leader = cluster.leader().await;
    let goal = until(&cluster, leader, |_| true).await.commit;
    until(&cluster, follower, |status| status.applied >= goal && !has_trouble(status)).await;
}

#[tokio::test]
async fn a_follower_keeps_as_few_states_as_a_leader() {
    let mut cluster = cluster().await;
    let follower = (cluster.leader().await + 1) % 3;
    for _ in 0..4 {
        leave_behind(&mut cluster, follower).await;
        cluster.nodes[follower].start();
        let leader = cluster.leader().await;
        let goal = until(&cluster, leader, |_| true).await.commit;
        until(&cluster, follower, |status| status.applied >= goal).await;
    }
    let node = &cluster.nodes[follower];
    let began = Instant::now();
    loop {
        let snapshots = files(node, "snap").len() + files(node, "part").len();
        let children = fs::read_dir(&node.data).unwrap();
        let names = children.map(|child| child.unwrap().file_name().into_string().unwrap());
        let states = names.filter(|name| name.starts_with("state") && name != "state-current");
        let states: Vec<String> = states.collect();
        if snapshots <= 2 && states.len() == 1 {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "{snapshots} snapshots, {states:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
