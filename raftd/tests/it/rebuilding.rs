//! A node that has its log and waits for a state that other members have.

use std::collections::HashSet;
use std::fs;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fixtures::Cluster;
use protocol::BootstrapRecord;
use tokio::net::UdpSocket;

use crate::roles::gives_nobody_more;
use crate::rot::{state_of, stop_when_compacted};

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
