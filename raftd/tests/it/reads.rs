//! Reads from any node, with real processes: what a client was told is never taken back (§6.4).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use client::{Answer, Client, ClientError, Consistency, NodeStatus};
use consensus::RoleKind;
use fixtures::{Cluster, PATIENCE};
use rustix::process::Signal;
use state_machine::{KvCommand, KvQuery, KvResponse};
use tokio::task::JoinHandle;

/// Leases for clocks that are off by half a percent.
const WITH_LEASES: &str = "[raft]\nlease_clock_error_ppm = 5000\n";

/// Longer than the longest election timeout of 600 ms.
const LONG: Duration = Duration::from_millis(1_500);

/// A counter that one writer counts up, and readers look at.
struct Counter {
    /// The highest number that is acknowledged.
    acknowledged: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    writer: JoinHandle<()>,
}

impl Counter {
    fn start(client: Client) -> Self {
        let (acknowledged, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (done, end) = (Arc::clone(&acknowledged), Arc::clone(&stop));
        let writer = tokio::spawn(async move {
            let mut number = 0_u64;
            while !end.load(Ordering::SeqCst) {
                number += 1;
                if put(&client, number).await.is_ok() {
                    done.store(number, Ordering::SeqCst);
                }
            }
        });
        Self { acknowledged, stop, writer }
    }

    /// Reads through this client, again and again, until told to stop; returns how often it was
    /// answered. Whatever was acknowledged before a read began is in its answer.
    fn reader(&self, client: Client, how: Consistency) -> JoinHandle<u64> {
        let (acknowledged, stop) = (Arc::clone(&self.acknowledged), Arc::clone(&self.stop));
        tokio::spawn(async move {
            let mut answered = 0;
            while !stop.load(Ordering::SeqCst) {
                let floor = acknowledged.load(Ordering::SeqCst);
                let Ok((found, _)) = get(&client, how).await else {
                    continue;
                };
                assert!(found >= floor, "stale read: {found} after {floor} was acknowledged");
                answered += 1;
            }
            answered
        })
    }

    /// Waits until so many more writes are acknowledged.
    async fn progress(&self, more: u64) {
        let goal = self.acknowledged.load(Ordering::SeqCst) + more;
        let wait = async {
            while self.acknowledged.load(Ordering::SeqCst) < goal {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.unwrap();
    }

    async fn finish(self, readers: Vec<JoinHandle<u64>>) -> u64 {
        self.stop.store(true, Ordering::SeqCst);
        self.writer.await.unwrap();
        let mut answered = 0;
        for reader in readers {
            answered += reader.await.unwrap();
        }
        answered
    }
}

async fn put(client: &Client, number: u64) -> Result<u64, ClientError> {
    let (key, value) = (Bytes::from_static(b"counter"), Bytes::from(number.to_string()));
    Ok(client.propose(KvCommand::Put { key, value }.encode()).await?.index)
}

async fn get(client: &Client, how: Consistency) -> Result<(u64, Answer), ClientError> {
    let query = KvQuery::Get { key: Bytes::from_static(b"counter") }.encode();
    let answer = client.query(query, how).await?;
    let found = match KvResponse::decode(&answer.response).unwrap() {
        KvResponse::Value { value, .. } => std::str::from_utf8(&value).unwrap().parse().unwrap(),
        KvResponse::NotFound => 0,
        other => panic!("a get is answered by {other:?}"),
    };
    Ok((found, answer))
}

#[tokio::test]
async fn followers_serve_linearizable_reads_under_load_and_while_the_leader_is_killed() {
    let mut cluster = Cluster::start(3).await;
    let counter = Counter::start(cluster.client());
    let one = |place| cluster.client_of(&[place], Duration::from_secs(2));
    let readers: Vec<JoinHandle<u64>> =
        (0..3).map(|place| counter.reader(one(place), Consistency::Follower)).collect();
    counter.progress(200).await;
    let leader = cluster.leader().await;
    let follower = cluster.client_of(&[(leader + 1) % 3], Duration::from_secs(5));
    let floor = counter.acknowledged.load(Ordering::SeqCst);
    let (found, answer) = get(&follower, Consistency::Linearizable).await.unwrap();
    assert!(found >= floor);
    assert!(answer.age_ms.is_some_and(|age| age < 1_000), "a follower answered: {answer:?}");
    for _ in 0..3 {
        let leader = cluster.leader().await;
        cluster.nodes[leader].kill();
        counter.progress(50).await;
        cluster.nodes[leader].start();
        counter.progress(50).await;
    }
    let answered = counter.finish(readers).await;
    assert!(answered > 100, "{answered} reads show too little");
}

#[tokio::test]
async fn a_node_tells_whether_leases_are_on_and_a_leader_how_long_its_own_stands() {
    let cluster = Cluster::start_with(3, WITH_LEASES).await;
    let client = cluster.client();
    let began = Instant::now();
    loop {
        let statuses = cluster.statuses(&client).await;
        let stands = |status: &NodeStatus| status.lease.and_then(|lease| lease.left_ms);
        for status in statuses.iter().flatten() {
            assert_eq!(status.lease.map(|lease| lease.clock_error_ppm), Some(5_000), "{status:?}");
            assert!(status.role == RoleKind::Leader || stands(status).is_none(), "{status:?}");
        }
        // The shortest election timeout is 300 ms.
        let left: Vec<u64> = statuses.iter().flatten().filter_map(stands).collect();
        if let [1..=300] = left[..] {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "{statuses:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let without = Cluster::start(1).await;
    assert_eq!(without.answer_of(&without.nodes[0]).await.lease, None);
}

#[tokio::test]
async fn a_leader_with_a_lease_that_was_stopped_serves_no_stale_read_when_it_wakes() {
    let cluster = Cluster::start_with(3, WITH_LEASES).await;
    let counter = Counter::start(cluster.client());
    let mut readers: Vec<JoinHandle<u64>> = Vec::new();
    for place in 0..3 {
        // What these ask of a node that is stopped waits in its sockets until it wakes.
        let client = cluster.client_of(&[place], Duration::from_secs(10));
        readers.extend((0..4).map(|_| counter.reader(client.clone(), Consistency::Linearizable)));
    }
    for _ in 0..4 {
        counter.progress(50).await;
        let old = cluster.leader().await;
        cluster.nodes[old].signal(Signal::STOP);
        tokio::time::sleep(LONG).await;
        counter.progress(20).await;
        cluster.nodes[old].signal(Signal::CONT);
        counter.progress(50).await;
    }
    let answered = counter.finish(readers).await;
    assert!(answered > 200, "{answered} reads show too little");
}

#[tokio::test]
async fn with_leases_a_killed_leader_is_replaced_and_a_stopped_one_hands_over() {
    let mut cluster = Cluster::start_with(3, WITH_LEASES).await;
    let counter = Counter::start(cluster.client());
    let reader = counter.reader(cluster.client(), Consistency::Linearizable);
    for round in 0..4 {
        counter.progress(30).await;
        let leader = cluster.leader().await;
        if round % 2 == 0 {
            cluster.nodes[leader].kill();
        } else {
            cluster.nodes[leader].signal(Signal::TERM);
            assert!(cluster.nodes[leader].ended().success());
        }
        counter.progress(30).await;
        cluster.nodes[leader].start();
    }
    assert!(counter.finish(vec![reader]).await > 50);
}

#[tokio::test]
async fn a_client_reads_its_writes_from_a_follower_by_their_index() {
    let cluster = Cluster::start(3).await;
    let writer = cluster.client();
    let leader = cluster.leader().await;
    let follower = cluster.client_of(&[(leader + 1) % 3], Duration::from_secs(3));
    for number in 1..=200 {
        let index = put(&writer, number).await.unwrap();
        let (found, answer) = get(&follower, Consistency::AtLeast(index)).await.unwrap();
        assert_eq!(found, number);
        assert!(answer.index >= index && answer.age_ms.is_some(), "{answer:?}");
    }
    let error = get(&follower, Consistency::AtLeast(u64::MAX)).await.unwrap_err();
    let ClientError::Lagging { index, causes, .. } = &error else { panic!("{error:?}") };
    assert_eq!(*index, u64::MAX);
    assert!(
        causes.iter().any(|cause| cause.why.contains("has applied the log up to")),
        "{causes:?}"
    );
}

#[tokio::test]
async fn a_stale_answer_tells_how_long_ago_its_node_heard_from_a_leader() {
    let cluster = Cluster::start(3).await;
    put(&cluster.client(), 7).await.unwrap();
    cluster.converged().await;
    let leader = cluster.leader().await;
    let age = async |place: usize| {
        let client = cluster.client_of(&[place], Duration::from_secs(3));
        let (found, answer) = get(&client, Consistency::Stale).await.unwrap();
        assert_eq!(found, 7);
        answer.age_ms.unwrap()
    };
    assert_eq!(age(leader).await, 0);
    assert!(age((leader + 1) % 3).await < 1_000);
    cluster.nodes[leader].signal(Signal::STOP);
    cluster.nodes[(leader + 2) % 3].signal(Signal::STOP);
    tokio::time::sleep(LONG).await;
    let alone = age((leader + 1) % 3).await;
    assert!((1_000..60_000).contains(&alone), "{alone} ms");
    let lonely = cluster.client_of(&[(leader + 1) % 3], Duration::from_secs(2));
    let refused = get(&lonely, Consistency::Follower).await.unwrap_err();
    assert!(matches!(refused, ClientError::NoLeader { .. }), "{refused:?}");
}

#[tokio::test]
async fn nodes_whose_leases_rest_on_different_settings_do_not_talk_to_each_other() {
    let mut cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    let other = (leader + 1) % 3;
    cluster.nodes[other].kill();
    cluster.nodes[other].configure(WITH_LEASES);
    cluster.nodes[other].start();
    let client = cluster.client();
    let began = Instant::now();
    loop {
        let status = client.status_of(&cluster.nodes[leader].address).await.unwrap();
        let refused = status.peers.iter().any(|peer| peer.trouble.contains("leases rest on"));
        if refused {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "{:#?}", status.peers);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
