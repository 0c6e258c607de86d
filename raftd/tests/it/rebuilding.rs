//! A node that has its log and waits for a state that other members have.

use std::collections::HashSet;
use std::fs;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fixtures::{Cluster, PATIENCE, SmallDisk};
use protocol::{BootstrapRecord, SnapshotAnswer, SnapshotInfo, SnapshotRequest};
use rustix::process::Signal;
use state_machine::KvCommand;
use tokio::net::UdpSocket;

use crate::roles::gives_nobody_more;
use crate::rot::{state_of, stop_when_compacted};
use crate::service::{Manager, start, stop};

/// Three members, of which the first has lost its state, and the others do not run.
async fn cluster() -> (Cluster, BootstrapRecord) {
    let limits = "[limits]\nlog_keep_entries_max = 20\npersist_interval_s = 1\n";
    let mut cluster = Cluster::start_with(3, limits).await;
    let record = cluster.record().await;
    stop_when_compacted(&mut cluster, 0).await;
    for other in &mut cluster.nodes[1..] {
        other.kill();
    }
    let data = cluster.nodes[0].data.clone();
    fs::remove_file(state_of(&data).join("CURRENT")).unwrap();
    fs::remove_dir_all(data.join("snapshots")).unwrap();
    (cluster, record)
}

#[tokio::test]
async fn a_node_that_waits_for_a_state_gives_nobody_more_than_the_table_says() {
    let (mut cluster, record) = cluster().await;
    cluster.nodes[0].start();
    cluster.nodes[0].logged("its state is being fetched from another member").await;
    gives_nobody_more(&cluster, &record).await;
    let status = cluster.answer_of(&cluster.nodes[0]).await;
    assert!(status.failure.contains("its state is being fetched"), "{status:?}");
}

/// Each question began the time until the next sign of life anew: the manager killed the node, at
/// every start.
#[tokio::test]
async fn a_node_that_waits_for_a_state_is_alive_however_often_it_is_asked() {
    let (cluster, _) = cluster().await;
    let path = cluster.path().join("notify");
    let manager = Manager::listen(&path);
    let child = start(&cluster, 0, &path);
    manager.hear("READY=1");
    let client = cluster.client();
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(4) {
        client.status_of(&cluster.nodes[0].address).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let signs = manager.heard().iter().filter(|said| said.contains("WATCHDOG=1")).count();
    stop(child);
    assert!(signs >= 8, "{signs} signs of life, of some 20");
}

/// Whom it asks has a cluster to serve, and a machine that asks as fast as it can serves nobody.
#[tokio::test]
async fn members_that_have_no_state_to_give_are_asked_about_once_a_second() {
    let (mut cluster, _) = cluster().await;
    let dials = Arc::new(Mutex::new(HashSet::new()));
    for other in &cluster.nodes[1..] {
        let socket = UdpSocket::bind(&other.address).await.unwrap();
        tokio::spawn(refuse(socket, Arc::clone(&dials)));
    }
    cluster.nodes[0].start();
    cluster.nodes[0].logged("its state is being fetched from another member").await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    let dials = dials.lock().unwrap().len();
    println!("dialled {dials} times");
    assert!((1..40).contains(&dials), "{dials} dials");
}

/// Writes some 18 MB.
async fn fill(cluster: &Cluster) {
    for number in 0..20 {
        let value = (0..900_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8);
        let command = KvCommand::Put { key: format!("{number}").into(), value: value.collect() };
        cluster.client().propose(command.encode()).await.unwrap();
    }
}

/// The snapshots that a node has.
async fn listed(cluster: &Cluster, place: usize) -> Vec<SnapshotInfo> {
    let address = &cluster.nodes[place].address;
    match cluster.client().snapshot(address, SnapshotRequest::List).await.unwrap() {
        SnapshotAnswer::List(list) => list,
        other => panic!("{other:?}"),
    }
}

/// Each attempt had another one made, which takes as long as the one that was not made in time.
#[tokio::test]
async fn a_snapshot_that_a_member_has_is_fetched_and_no_other_one_is_made() {
    let (mut cluster, _) = cluster().await;
    for other in &mut cluster.nodes[1..] {
        other.start();
    }
    cluster.converged_on(&[1, 2]).await;
    for place in [1, 2] {
        assert!(cluster.take_snapshot(&cluster.client(), place).await);
    }
    let before = [listed(&cluster, 1).await, listed(&cluster, 2).await];
    cluster.nodes[0].start();
    cluster.nodes[0].logged("a snapshot was fetched").await;
    cluster.converged().await;
    assert_eq!([listed(&cluster, 1).await, listed(&cluster, 2).await], before);
}

/// One slow piece, and all that was here was thrown away, and another snapshot was made there.
#[tokio::test]
async fn a_fetch_that_is_interrupted_goes_on_where_it_was_with_the_same_snapshot() {
    let limits = "[limits]\nlog_keep_entries_max = 20\npersist_interval_s = 1\n";
    let mut cluster = Cluster::start_with(3, limits).await;
    fill(&cluster).await;
    stop_when_compacted(&mut cluster, 0).await;
    for place in [1, 2] {
        assert!(cluster.take_snapshot(&cluster.client(), place).await);
    }
    let before = [listed(&cluster, 1).await, listed(&cluster, 2).await];
    let data = cluster.nodes[0].data.clone();
    fs::remove_file(state_of(&data).join("CURRENT")).unwrap();
    fs::remove_dir_all(data.join("snapshots")).unwrap();
    // What is here of one, in bytes.
    let partly = || {
        let files = fs::read_dir(data.join("snapshots")).into_iter().flatten().flatten();
        let mut partial = files.filter(|file| file.path().extension().is_some_and(|e| e == "part"));
        partial.next().and_then(|file| file.metadata().ok()).map(|file| file.len())
    };
    cluster.nodes[0].start();
    let began = Instant::now();
    while partly().is_none_or(|bytes| bytes < 4_000_000) {
        assert!(began.elapsed() < PATIENCE, "{}", cluster.nodes[0].log());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    for place in [1, 2] {
        cluster.nodes[place].signal(Signal::STOP);
    }
    tokio::time::sleep(Duration::from_secs(12)).await;
    let here = partly().expect("it was not finished yet");
    for place in [1, 2] {
        cluster.nodes[place].signal(Signal::CONT);
    }
    while let Some(bytes) = partly() {
        // But for a piece of which only a part had come.
        assert!(bytes + 2_000_000 > here, "{bytes} bytes are left of {here}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    cluster.nodes[0].logged("a snapshot was fetched").await;
    cluster.converged().await;
    assert_eq!([listed(&cluster, 1).await, listed(&cluster, 2).await], before);
}

/// The damaged state stood in the way for ever, and members wrote out all of theirs each time.
#[tokio::test]
async fn a_state_is_fetched_when_there_is_room_and_no_more_snapshots_are_made_until_then() {
    let limits = "[limits]\nlog_keep_entries_max = 20\npersist_interval_s = 1\n";
    let mut cluster = Cluster::prepare(3);
    let data = cluster.nodes[0].data.clone();
    let Some(disk) = SmallDisk::mount(&data, 256) else { return };
    for node in &mut cluster.nodes {
        node.configure(limits);
        node.start();
    }
    cluster.bootstrap().await;
    // More than what is held in reserve.
    fill(&cluster).await;
    stop_when_compacted(&mut cluster, 0).await;
    for other in &mut cluster.nodes[1..] {
        other.kill();
    }
    fs::remove_file(state_of(&data).join("CURRENT")).unwrap();
    fs::remove_dir_all(data.join("snapshots")).unwrap();
    cluster.nodes[0].start();
    cluster.nodes[0].logged("its state is being fetched from another member").await;
    assert!(data.join("damaged-state").exists(), "nobody has another one");
    disk.fill_up();
    for other in &mut cluster.nodes[1..] {
        other.start();
    }
    cluster.nodes[0].logged("no snapshot can be received").await;
    assert!(!data.join("damaged-state").exists(), "a member has one, and there is no room");
    tokio::time::sleep(Duration::from_secs(4)).await;
    for place in [1, 2] {
        let made = listed(&cluster, place).await.len();
        assert!(made <= 2, "{made} snapshots of node {place}");
    }
    disk.free();
    cluster.nodes[0].logged("a snapshot was fetched").await;
    cluster.converged().await;
}

/// Refuses at once all who dial there, for it speaks no version that they speak, and remembers each
/// connection's source (RFC 9000, 17.2), of which one dial sends several packets.
async fn refuse(socket: UdpSocket, dials: Arc<Mutex<HashSet<Vec<u8>>>>) {
    let mut packet = [0; 2_048];
    loop {
        let (_, from) = socket.recv_from(&mut packet).await.unwrap();
        let (destination, rest) = packet[6..].split_at(usize::from(packet[5]));
        let source = &rest[1..=usize::from(rest[0])];
        let mut refusal = vec![0x80, 0, 0, 0, 0];
        for id in [source, destination] {
            refusal.push(u8::try_from(id.len()).unwrap());
            refusal.extend(id);
        }
        refusal.extend([0x0a; 4]);
        socket.send_to(&refusal, from).await.unwrap();
        dials.lock().unwrap().insert(source.to_vec());
    }
}
