//! The faults that fire the alerts.

use std::fs;
use std::num::NonZeroU64;
use std::process::Stdio;
use std::time::{Duration, Instant};

use client::ClientError;
use consensus::NodeId;
use fixtures::load::{get, put};
use fixtures::{Cluster, PATIENCE, SmallDisk, free_addresses};
use protocol::SnapshotRequest;
use raftd::certs::{Authority, ClusterId, Identity, Role};
use raftd::{Config, Running, Server};
use rustix::process::Signal;

use crate::alerts::watch::Watch;
use crate::damage::{flip_in_the_middle, largest};
use crate::embedded::Fragile;
use crate::http;
use crate::identity::{from_now, issued, put_in};
use crate::membership::{change, founded, joint_on_two, target};
use crate::metrics::Stopper;
use crate::service::{full_pipe, knock};
use crate::snapshot_files::{files, leave_behind};

const DAY: Duration = Duration::from_secs(86_400);

#[tokio::test]
async fn nodes_that_are_killed() {
    let (mut cluster, addresses) = http::start(3).await;
    let mut watch = Watch::new(&addresses);
    let leader = cluster.leader().await;
    cluster.nodes[(leader + 1) % 3].kill();
    put(&cluster.client(), "k", "v").await.unwrap();
    watch.fires("RaftdDown").await;
    watch.fires("RaftdMemberUnreachable").await;
    watch.fires("RaftdMemberStalls").await;
    cluster.nodes[(leader + 2) % 3].kill();
    watch.fires("RaftdNoLeader").await;
    watch.fires("RaftdNotReady").await;
}

#[tokio::test]
async fn a_disk_that_hangs_and_one_that_was_slow() {
    let Some((cluster, addresses, shim)) = http::start_behind_a_shim().await else { return };
    let mut watch = Watch::new(&addresses);
    shim.hang();
    let client = cluster.client_of(&[0], Duration::from_secs(1));
    let waits = put(&client, "k", "v").await;
    assert!(waits.is_err(), "the disk hangs");
    watch.fires("RaftdDiskHangs").await;
    watch.fires("RaftdCommitStalls").await;
    shim.heal();
    watch.fires("RaftdDiskSlow").await;
    watch.is_over("RaftdDiskHangs").await;
}

#[tokio::test]
async fn a_disk_of_which_nothing_is_read() {
    let Some((mut cluster, addresses, shim)) = http::start_behind_a_shim().await else { return };
    let client = cluster.client();
    for number in 0..100 {
        put(&client, &format!("k{number:03}"), &"v".repeat(3_000)).await.unwrap();
    }
    // After a stop in order all is in tables, and little of them in memory.
    cluster.nodes[0].signal(Signal::TERM);
    assert!(cluster.nodes[0].ended().success());
    cluster.nodes[0].start();
    cluster.leader().await;
    let mut watch = Watch::new(&addresses);
    shim.hang_reads();
    let client = cluster.client_of(&[0], Duration::from_secs(1));
    assert!(get(&client, "k050").await.is_err(), "the disk hangs");
    watch.fires("RaftdReadsHang").await;
    shim.heal();
    watch.is_over("RaftdReadsHang").await;
}

#[tokio::test]
async fn a_leader_that_can_make_no_snapshot() {
    let (cluster, addresses) = http::start(3).await;
    let leader = cluster.leader().await;
    let client = cluster.client();
    put(&client, "k", "v").await.unwrap();
    let mut watch = Watch::new(&addresses);
    let place = cluster.nodes[leader].data.join("snapshots");
    let aside = place.with_extension("aside");
    fs::rename(&place, &aside).unwrap();
    fs::write(&place, "").unwrap();
    let address = &cluster.nodes[leader].address;
    client.snapshot(address, SnapshotRequest::Take).await.unwrap_err();
    watch.fires("RaftdTrouble").await;
    fs::remove_file(&place).unwrap();
    fs::rename(&aside, &place).unwrap();
    client.snapshot(address, SnapshotRequest::Take).await.unwrap();
    watch.is_over("RaftdTrouble").await;
}

#[tokio::test]
async fn disks_that_are_full() {
    let mut cluster = Cluster::prepare(3);
    let addresses = http::equip(&cluster, "");
    let mut disks = Vec::new();
    for node in &cluster.nodes {
        let Some(disk) = SmallDisk::mount(&node.data, 32) else {
            eprintln!("NOT SHOWN HERE: mounting a small file system takes root");
            return;
        };
        disks.push(disk);
    }
    for node in &mut cluster.nodes {
        node.start();
    }
    cluster.bootstrap().await;
    // Without its reserve a node that has not the last byte can write down nothing at all.
    for node in &cluster.nodes {
        node.logged("is held in reserve").await;
    }
    let leader = cluster.leader().await;
    let mut watch = Watch::new(&addresses);
    for place in [leader + 1, leader + 2] {
        disks[place % 3].fill_up();
    }
    watch.fires("RaftdDiskFillsUp").await;
    watch.fires("RaftdNoRoom").await;
    watch.fires("RaftdMemberAlarm").await;
    watch.fires("RaftdRoomShortage").await;
    for place in [leader + 1, leader + 2] {
        disks[place % 3].free();
    }
    watch.is_over("RaftdMemberAlarm").await;
    cluster.nodes.clear();
}

#[tokio::test]
async fn a_certificate_that_ends() {
    let mut cluster = Cluster::prepare(1);
    let addresses = http::equip(&cluster, "");
    put_in(&cluster.nodes[0], &issued(&cluster, 1, from_now(20 * 86_400)));
    cluster.nodes[0].start();
    http::until(&addresses[0], "/metrics", |answer| answer.body.contains("_expiry_")).await;
    let mut watch = Watch::new(&addresses);
    watch.fires("RaftdCertificateEnds").await;
    assert!(!watch.firing().contains(&"RaftdCertificateEndsSoon".to_owned()));
    put_in(&cluster.nodes[0], &issued(&cluster, 1, from_now(2 * 86_400)));
    cluster.nodes[0].signal(rustix::process::Signal::HUP);
    watch.fires("RaftdCertificateEndsSoon").await;
}

#[tokio::test]
async fn strangers_at_the_door() {
    let (cluster, addresses) = http::start(1).await;
    let mut watch = Watch::new(&addresses);
    knock(&cluster.nodes[0].address, 25).await;
    watch.fires("RaftdConnectionsRefused").await;
}

#[tokio::test]
async fn a_log_that_nobody_reads() {
    let cluster = Cluster::prepare(1);
    let addresses = http::equip(&cluster, "");
    let (_reader, writer) = full_pipe();
    let mut command = cluster.nodes[0].command();
    command.args(["--log-level", "trace"]).stdin(Stdio::null()).stderr(writer);
    let mut child = command.spawn().unwrap();
    cluster.bootstrap().await;
    cluster.leader().await;
    let mut watch = Watch::new(&addresses);
    while !watch.firing().contains(&"RaftdLogLinesLost".to_owned()) {
        knock(&cluster.nodes[0].address, 100).await;
        watch.scrape();
    }
    watch.fires("RaftdLogLinesLost").await;
    http::until(&addresses[0], "/readyz", |answer| answer.code == 200).await;
    child.kill().unwrap();
    child.wait().unwrap();
}

#[tokio::test]
async fn leaders_that_come_and_go() {
    let (cluster, addresses) = http::start(3).await;
    let mut watch = Watch::new(&addresses);
    let client = cluster.client();
    let mut moved = 0;
    while moved < 7 {
        let to = (cluster.leader().await as u64 + 1) % 3 + 1;
        match client.transfer(NodeId::new(to).unwrap()).await {
            Ok(()) => moved += 1,
            Err(ClientError::Refused(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
    watch.fires("RaftdLeadersChange").await;
}

#[tokio::test]
async fn a_change_of_members_that_does_not_end() {
    let cluster = Cluster::prepare(5);
    let addresses = http::equip(&cluster, "");
    let cluster = founded(cluster).await;
    let client = cluster.client();
    change(&cluster, &client, &target(&cluster, &[1, 2, 3], &[4, 5]).await).await;
    let wanted = target(&cluster, &[1, 2, 3, 4, 5], &[]).await;
    let began = Instant::now();
    let (pair, stopped) = loop {
        let leader = cluster.leader().await;
        let (pair, stopped) = ([leader, (leader + 1) % 3], [(leader + 2) % 3, 3, 4]);
        if joint_on_two(&cluster, &client, &wanted, (pair, &stopped)).await.is_some() {
            break (pair, stopped);
        }
        assert!(began.elapsed() < PATIENCE, "it never becomes joint");
    };
    // Those that hang would keep a scrape waiting.
    let mut watch = Watch::new(&pair.map(|place| addresses[place].clone()));
    watch.fires("RaftdJointLasts").await;
    for place in stopped {
        cluster.nodes[place].signal(rustix::process::Signal::CONT);
    }
    watch.is_over("RaftdJointLasts").await;
}

/// As when a disk has become slow: reading takes longer than it should be done again.
#[tokio::test]
async fn what_is_too_large_to_be_read_so_often() {
    let mut cluster = Cluster::prepare(1);
    let more = "[limits]\nstate_scrub_interval_s = 1\npersist_interval_s = 1\n";
    let addresses = http::equip(&cluster, more);
    cluster.nodes[0].start();
    cluster.bootstrap().await;
    cluster.leader().await;
    let mut watch = Watch::new(&addresses);
    assert!(!watch.firing().iter().any(|alert| alert.contains("Scrub")), "{:?}", watch.firing());
    let client = cluster.client();
    let mut noise = Noise(1);
    for number in 0..160 {
        put(&client, &format!("large/{number}"), &noise.text(900_000)).await.unwrap();
    }
    watch.fires("RaftdStateScrubLate").await;
    watch.fires("RaftdLogScrubLate").await;
}

/// Text that no compression makes small.
struct Noise(u64);

impl Noise {
    fn text(&mut self, bytes: usize) -> String {
        let letter = |_| {
            // Knuth's generator; the upper bits are the good ones.
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            char::from(b' ' + u8::try_from((self.0 >> 33) % 64).unwrap())
        };
        (0..bytes).map(letter).collect()
    }
}

#[tokio::test]
async fn a_node_that_lost_its_log() {
    let (mut cluster, addresses) = http::start(3).await;
    put(&cluster.client(), "k", "v").await.unwrap();
    cluster.converged().await;
    for node in &mut cluster.nodes {
        node.kill();
    }
    fs::remove_file(cluster.nodes[1].data.join("log/CURRENT")).unwrap();
    cluster.nodes[1].start();
    Watch::new(&addresses).fires("RaftdForgotten").await;
}

#[tokio::test]
async fn a_log_with_flipped_bytes() {
    let (mut cluster, addresses) = http::start(3).await;
    for number in 0..100 {
        put(&cluster.client(), &format!("k{number}"), &"v".repeat(500)).await.unwrap();
    }
    cluster.converged().await;
    let follower = (cluster.leader().await + 1) % 3;
    cluster.nodes[follower].kill();
    flip_in_the_middle(&largest(&cluster.nodes[follower].data, "log"));
    cluster.nodes[follower].start();
    Watch::new(&addresses).fires("RaftdDamageMended").await;
}

#[tokio::test]
async fn a_snapshot_that_rots() {
    let mut cluster = Cluster::prepare(3);
    let more = "[limits]\nlog_keep_entries_max = 100\npersist_interval_s = 1\n";
    let addresses = http::equip(&cluster, more);
    for node in &mut cluster.nodes {
        node.start();
    }
    cluster.bootstrap().await;
    let client = cluster.client();
    for number in 0..50 {
        put(&client, &format!("large/{number}"), &"x".repeat(10_000)).await.unwrap();
    }
    let follower = (cluster.leader().await + 1) % 3;
    leave_behind(&mut cluster, follower).await;
    let leader = cluster.leader().await;
    assert!(cluster.take_snapshot(&client, leader).await);
    for path in files(&cluster.nodes[leader], "snap") {
        flip_in_the_middle(&path);
    }
    cluster.nodes[follower].start();
    Watch::new(&addresses).fires("RaftdSnapshotDamaged").await;
}

/// Nodes in this process, with a machine each; the directory goes last.
async fn embedded<M: raftd::machine::StoredMachine>(
    machine: impl Fn(u64) -> M,
    count: u64,
) -> (Vec<Running>, raftd::client::Client, Vec<String>, tempfile::TempDir) {
    let authority = Authority::create(ClusterId::generate().unwrap(), DAY).unwrap();
    let issue = |role| {
        let identity = Identity::new(authority.cluster(), role);
        authority.issue(&identity, DAY).unwrap().credentials().unwrap()
    };
    let directory = tempfile::tempdir().unwrap();
    let addresses = free_addresses(usize::try_from(count).unwrap());
    let mut nodes = Vec::new();
    for (id, address) in (1..).zip(&addresses) {
        let role = Role::Node(NonZeroU64::new(id).unwrap());
        let mut config = Config::new(directory.path().join(id.to_string()), issue(role));
        config.listen = "127.0.0.1:0".parse().unwrap();
        config.http.listen = Some(address.parse().unwrap());
        nodes.push(Server::new(machine(id)).start(config).await.unwrap());
    }
    raftd::bootstrap(&nodes.iter().collect::<Vec<_>>()).await.unwrap();
    let client = nodes[0].client(&issue(Role::Client("c".parse().unwrap()))).unwrap();
    client.propose("one".into()).await.unwrap();
    (nodes, client, addresses, directory)
}

#[tokio::test]
async fn states_that_differ() {
    let (nodes, client, addresses, _directory) = embedded(Fragile::new, 3).await;
    let mut watch = Watch::new(&addresses);
    let leader = nodes[0].status().await.and_then(|status| status.leader);
    let odd = nodes.iter().find(|node| Some(node.node()) != leader).unwrap();
    client.propose(format!("differ {}", odd.node()).into()).await.unwrap();
    watch.fires("RaftdFailed").await;
    watch.fires("RaftdStatesDiffer").await;
    client.close().await;
}

#[tokio::test]
async fn a_loop_that_hangs() {
    let (nodes, client, addresses, _directory) = embedded(|_| Stopper, 1).await;
    let mut watch = Watch::new(&addresses);
    let hanging = tokio::spawn(async move { client.propose("hang".into()).await });
    watch.fires("RaftdLoopHangs").await;
    // What came of it, the client has waited for in vain, or not.
    let _ = hanging.await.unwrap();
    drop(nodes);
}
