//! Ways that carry less than is sent: what is late is not sent again and again.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use certs::Role;
use client::{Client, ClientError};
use fixtures::load::{get, put};
use fixtures::{Cluster, PATIENCE, Relay};
use state_machine::KvCommand;
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

/// One node, and where clients reach it through a relay.
async fn lonely() -> (Cluster, Relay) {
    let cluster = Cluster::start(1).await;
    let relay = Relay::to(&cluster.nodes[0].address);
    (cluster, relay)
}

/// A client that knows the relay alone.
fn client_behind(cluster: &Cluster, relay: &Relay, deadline: Duration) -> Client {
    let config = cluster.client_config(
        Role::Client("slow".parse().unwrap()),
        deadline,
        vec![relay.address.clone()],
    );
    Client::new(config).unwrap()
}

/// Attempts of 5 s would each find the way full of what the ones before had sent.
#[tokio::test]
async fn commands_that_are_late_are_sent_once() {
    let (cluster, relay) = lonely().await;
    let client = client_behind(&cluster, &relay, PATIENCE);
    let session = Arc::new(client.session("slow").await.unwrap());
    let before = relay.passed_bytes();
    relay.slow_down(BYTES_PER_S);
    let (values, bytes) = (8, 500_000);
    let mut writing = JoinSet::new();
    for number in 0..values {
        let session = Arc::clone(&session);
        writing.spawn(async move {
            let key = Bytes::from(format!("large/{number}"));
            let value = Bytes::from("x".repeat(bytes));
            session.propose(KvCommand::Put { key, value }.encode()).await
        });
    }
    let written = async {
        while let Some(done) = writing.join_next().await {
            done.unwrap().unwrap();
        }
    };
    timeout(PATIENCE, written).await.expect("it takes some 8 s");
    let (carried, needed) = (relay.passed_bytes() - before, (values * bytes) as u64);
    assert!(carried < needed * 4 / 3, "{carried} bytes, for {needed}");
}

#[tokio::test]
async fn a_command_that_could_not_leave_in_time_had_certainly_no_effect() {
    let (cluster, relay) = lonely().await;
    let client = client_behind(&cluster, &relay, Duration::from_secs(3));
    put(&client, "before", "x").await.unwrap();
    relay.slow_down(BYTES_PER_S / 5);
    let value = "x".repeat(900_000);
    let (first, second) = tokio::join!(put(&client, "first", &value), async {
        sleep(Duration::from_millis(500)).await;
        put(&client, "second", &value).await
    });
    let (first, second) = (first.unwrap_err(), second.unwrap_err());
    assert!(matches!(first, ClientError::Unknown { .. }), "a part of it had left: {first:?}");
    assert!(format!("{second:?}").contains("did not leave this machine in time"), "{second:?}");
    relay.mend();
    sleep(Duration::from_secs(5)).await;
    assert_eq!(get(&cluster.client(), "second").await.unwrap(), None);
}
