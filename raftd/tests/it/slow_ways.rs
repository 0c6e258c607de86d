//! Ways that carry less than is sent: what is late is not sent again and again.

use std::time::Duration;

use fixtures::load::put;
use fixtures::{Cluster, PATIENCE, Relay};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// 4 Mbit/s.
const BYTES_PER_S: u32 = 500_000;

/// What waits in a relay's socket may be later than an election timeout usually is.
const PATIENT: &str = "[raft]\nelection_timeout_ms = [3000, 6000]\n";

const VALUE_BYTES: usize = 50_000;

/// Three nodes that dial each other through relays, one before each.
async fn cluster() -> (Cluster, Vec<Relay>) {
    let mut cluster = Cluster::prepare(3);
    let relays: Vec<Relay> = cluster.nodes.iter().map(|node| Relay::to(&node.address)).collect();
    let dialled = cluster.nodes.iter().zip(&relays);
    let peers: String =
        dialled.map(|(node, relay)| format!("n{} = \"{}\"\n", node.id, relay.address)).collect();
    for node in &mut cluster.nodes {
        node.configure(&format!("{PATIENT}[peers]\n{peers}"));
        node.start();
    }
    cluster.bootstrap().await;
    cluster.leader().await;
    (cluster, relays)
}

#[tokio::test]
async fn entries_that_are_late_are_sent_once() {
    let (cluster, relays) = cluster().await;
    let leader = cluster.leader().await;
    let client = cluster.client_of(&[0, 1, 2], PATIENCE);
    put(&client, "before", "x").await.unwrap();
    let before: Vec<u64> = relays.iter().map(Relay::passed_bytes).collect();
    for (_, relay) in relays.iter().enumerate().filter(|(at, _)| *at != leader) {
        relay.slow_down(BYTES_PER_S);
    }
    let mut writing = JoinSet::new();
    let values = 80;
    for number in 0..values {
        let client = client.clone();
        let value = "x".repeat(VALUE_BYTES);
        writing.spawn(async move { put(&client, &format!("large/{number}"), &value).await });
    }
    let written = async {
        while let Some(done) = writing.join_next().await {
            done.unwrap().unwrap();
        }
    };
    timeout(PATIENCE, written).await.expect("it takes some 8 s");
    let carried = relays.iter().zip(before).enumerate().filter(|(at, _)| *at != leader);
    for (at, (relay, before)) in carried {
        is_quiet(relay).await;
        let (carried, needed) = (relay.passed_bytes() - before, values * VALUE_BYTES);
        assert!(carried < needed as u64 * 3 / 2, "{carried} bytes to n{}, for {needed}", at + 1);
    }
}

/// Waits until a relay carries heartbeats, and nothing else.
async fn is_quiet(relay: &Relay) {
    loop {
        let before = relay.passed_bytes();
        sleep(Duration::from_secs(1)).await;
        if relay.passed_bytes() - before < u64::from(BYTES_PER_S) / 4 {
            return;
        }
    }
}
