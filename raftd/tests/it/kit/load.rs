//! Writers that remember what was acknowledged, and readers that notice what is stale.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use client::{Client, ClientError, Consistency};
use state_machine::{KvCommand, KvQuery, KvResponse};
use tokio::task::JoinHandle;

use super::Cluster;

/// Writers that run until they are told to stop.
pub struct Load {
    stop: Arc<AtomicBool>,
    pulse: Arc<Mutex<Pulse>>,
    writers: Vec<JoinHandle<Written>>,
}

/// What one writer knows.
#[derive(Debug, Default)]
pub struct Written {
    /// Keys whose write was acknowledged.
    pub acknowledged: BTreeMap<String, String>,
    /// Keys that may have been written.
    pub unknown: BTreeMap<String, String>,
    /// Linearizable reads that were checked.
    pub reads: u64,
    /// The longest time without an acknowledgement to any writer.
    pub gap: Duration,
}

/// How many writes were acknowledged, when the last one was, and the longest time without one.
#[derive(Debug)]
struct Pulse {
    count: u64,
    last: Instant,
    gap: Duration,
}

impl Pulse {
    fn beat(&mut self) {
        self.count += 1;
        self.gap = self.gap.max(self.last.elapsed());
        self.last = Instant::now();
    }
}

impl Load {
    /// Starts so many writers. Each writes a new key, then its counter, and reads the counter back:
    /// it must be what was acknowledged last.
    pub fn start(cluster: &Cluster, writers: u64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let pulse = Pulse { count: 0, last: Instant::now(), gap: Duration::ZERO };
        let pulse = Arc::new(Mutex::new(pulse));
        let client = cluster.client();
        let start = |writer| {
            let (client, stop) = (client.clone(), Arc::clone(&stop));
            tokio::spawn(write(client, writer, stop, Arc::clone(&pulse)))
        };
        let writers = (0..writers).map(start).collect();
        Self { stop, pulse, writers }
    }

    /// How many writes are acknowledged so far.
    pub fn acknowledged(&self) -> u64 {
        self.pulse.lock().unwrap().count
    }

    /// Waits until so many more writes are acknowledged.
    pub async fn progress(&self, cluster: &Cluster, more: u64) {
        let goal = self.acknowledged() + more;
        let wait = async {
            while self.acknowledged() < goal {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let waited = tokio::time::timeout(super::PATIENCE, wait).await;
        if waited.is_err() {
            let logs: String = cluster.nodes.iter().map(super::Node::log).collect();
            let statuses = cluster.statuses(&cluster.client()).await;
            panic!("no {more} writes within {:?}: {statuses:#?}\n{logs}", super::PATIENCE);
        }
    }

    /// Stops all writers and returns what they know.
    pub async fn finish(self) -> Written {
        self.stop.store(true, Ordering::Relaxed);
        let gap = self.pulse.lock().unwrap().gap;
        let mut all = Written { gap, ..Written::default() };
        for writer in self.writers {
            let written = writer.await.unwrap();
            all.acknowledged.extend(written.acknowledged);
            all.unknown.extend(written.unknown);
            all.reads += written.reads;
        }
        all
    }
}

impl Written {
    /// Checks on every node that all of it is there, and nothing that nobody wrote.
    pub async fn verify(&self, cluster: &Cluster) {
        let all: Vec<usize> = (0..cluster.nodes.len()).collect();
        self.verify_on(cluster, &all).await;
    }

    /// As [`Written::verify`], for the nodes at these places only: the others are no members.
    pub async fn verify_on(&self, cluster: &Cluster, places: &[usize]) {
        cluster.converged_on(places).await;
        let client = cluster.client();
        for node in places.iter().map(|place| &cluster.nodes[*place]) {
            let found = all_keys(&client, &node.address).await;
            for (key, value) in &self.acknowledged {
                let there = found.get(key);
                assert_eq!(there, Some(value), "{key} was acknowledged; node {}", node.id);
            }
            for (key, value) in found.iter().filter(|(key, _)| key.starts_with("w/")) {
                let known = self.acknowledged.get(key).or_else(|| self.unknown.get(key));
                assert_eq!(known, Some(value), "{key} on node {} was never written", node.id);
            }
        }
    }
}

async fn write(
    client: Client,
    writer: u64,
    stop: Arc<AtomicBool>,
    pulse: Arc<Mutex<Pulse>>,
) -> Written {
    let mut written = Written::default();
    let counter = format!("c/{writer}");
    let mut number = 0_u64;
    // Counters that were written without an answer: they may take effect at any later time.
    let mut unanswered = BTreeSet::new();
    while !stop.load(Ordering::Relaxed) {
        number += 1;
        let (key, value) = (format!("w/{writer}/{number:08}"), format!("{writer}-{number}"));
        match put(&client, &key, &value).await {
            Ok(()) => {
                pulse.lock().unwrap().beat();
                written.acknowledged.insert(key, value);
            }
            Err(ClientError::Unknown { .. }) => {
                written.unknown.insert(key, value);
            }
            Err(_) => {}
        }
        match put(&client, &counter, &number.to_string()).await {
            Ok(()) => {}
            Err(ClientError::Unknown { .. }) => {
                unanswered.insert(number);
                continue;
            }
            Err(_) => continue,
        }
        if let Ok(answer) = get(&client, &counter).await {
            let read = answer.map_or(0, |text| text.parse::<u64>().unwrap());
            let fresh = read == number || unanswered.contains(&read);
            assert!(fresh, "stale read: {counter} = {read} after {number} was acknowledged");
            written.reads += 1;
        }
    }
    written
}

/// Puts a key.
pub async fn put(client: &Client, key: &str, value: &str) -> Result<(), ClientError> {
    let (key, value) = (Bytes::from(key.to_owned()), Bytes::from(value.to_owned()));
    let answer = client.propose(KvCommand::Put { key, value }.encode()).await?;
    match KvResponse::decode(&answer.response).unwrap() {
        KvResponse::Done { .. } => Ok(()),
        other => panic!("a put is answered by {other:?}"),
    }
}

/// Gets a key, linearizably.
pub async fn get(client: &Client, key: &str) -> Result<Option<String>, ClientError> {
    let query = KvQuery::Get { key: Bytes::from(key.to_owned()) }.encode();
    let answer = client.query(query, Consistency::Linearizable).await?;
    match KvResponse::decode(&answer.response).unwrap() {
        KvResponse::Value { value, .. } => Ok(Some(String::from_utf8(value.to_vec()).unwrap())),
        KvResponse::NotFound => Ok(None),
        other => panic!("a get is answered by {other:?}"),
    }
}

/// All that one node has applied.
pub async fn all_keys(client: &Client, address: &str) -> BTreeMap<String, String> {
    let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).unwrap();
    let mut found = BTreeMap::new();
    let mut after = Bytes::new();
    loop {
        let query = KvQuery::List { prefix: Bytes::new(), after: after.clone(), limit: 1_000 };
        let answer = client.query_of(address, query.encode()).await.unwrap();
        let KvResponse::Page { items, more } = KvResponse::decode(&answer.response).unwrap() else {
            panic!("a list is answered by a page");
        };
        if let Some((last, _, _)) = items.last() {
            after = last.clone();
        }
        found.extend(items.iter().map(|(key, value, _)| (text(key), text(value))));
        if !more {
            return found;
        }
    }
}
