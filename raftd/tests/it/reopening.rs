//! A state that is made anew while the node runs: that may take minutes, and the node answers
//! whoever asks, and shows its supervisor that it lives.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use raftd::certs::{Authority, ClusterId, Identity, Role};
use raftd::client::{Client, Consistency};
use raftd::machine::{Bytes, Command, Response, StoreError, StoredMachine, Transaction, View};
use raftd::{Config, Running, Server};

use crate::rot::rot;

/// Nothing in these tests takes longer.
const PATIENCE: Duration = Duration::from_secs(60);

const DAY: Duration = Duration::from_secs(86_400);

const KEYS: u32 = 300;

/// Where the machine waits as it is opened.
#[derive(Default)]
struct Gate {
    is_closed: AtomicBool,
    is_waited_at: AtomicBool,
}

impl Gate {
    /// Waits, as long as anything may take, until somebody comes.
    async fn is_reached(&self) {
        let began = Instant::now();
        while !self.is_waited_at.load(Ordering::SeqCst) {
            assert!(began.elapsed() < PATIENCE, "nobody opens the state again");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Keeps what it is told, and takes long to open.
struct Slow(Arc<Gate>);

impl StoredMachine for Slow {
    fn name(&self) -> &'static str {
        "slow"
    }

    fn version(&self) -> u32 {
        1
    }

    fn open(&self, _: &dyn View) -> Result<(), StoreError> {
        while self.0.is_closed.load(Ordering::SeqCst) {
            self.0.is_waited_at.store(true, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    fn apply(
        &self,
        command: &Command<'_>,
        transaction: &mut Transaction<'_>,
    ) -> Result<Response, StoreError> {
        let (key, value) = command.data.split_at(4);
        transaction.put(key, Bytes::copy_from_slice(value));
        Ok(Response::new())
    }

    fn query(&self, view: &dyn View, query: &[u8]) -> Result<Response, StoreError> {
        Ok(view.get(query)?.unwrap_or_default())
    }
}

fn value(number: u32) -> Vec<u8> {
    let mut state = u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let byte = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    };
    (0..2_000).map(byte).collect()
}

async fn fill(client: &Client) {
    for number in 0..KEYS {
        let command = [&number.to_be_bytes()[..], &value(number)].concat();
        client.propose(command.into()).await.unwrap();
    }
}

async fn until_refused(client: &Client, address: &str) {
    let began = Instant::now();
    for number in (0..KEYS).cycle() {
        assert!(began.elapsed() < PATIENCE, "nobody notices");
        let query = Bytes::copy_from_slice(&number.to_be_bytes());
        if client.query_of(address, query).await.is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn a_node_answers_and_shows_that_it_lives_while_its_state_is_made_anew() {
    let (directory, gate) = (tempfile::tempdir().unwrap(), Arc::new(Gate::default()));
    let authority = Authority::create(ClusterId::generate().unwrap(), DAY).unwrap();
    let issue = |role| {
        let identity = Identity::new(authority.cluster(), role);
        authority.issue(&identity, DAY).unwrap().credentials().unwrap()
    };
    let data = directory.path().join("data");
    let node = issue(Role::Node(1.try_into().unwrap()));
    let start = async |listen: std::net::SocketAddr| -> Running {
        let config = Config::new(&data, node.clone()).listen(listen);
        Server::new(Slow(Arc::clone(&gate))).start(config).await.unwrap()
    };
    let first = start("127.0.0.1:0".parse().unwrap()).await;
    raftd::bootstrap(&[&first]).await.unwrap();
    let operator = issue(Role::Operator("test".parse().unwrap()));
    let client = first.client(&operator).unwrap();
    fill(&client).await;
    // Behind a stop, all is in tables, and nothing in memory.
    let address = first.address();
    client.close().await;
    first.stop().await.unwrap();
    let running = start(address).await;
    let client = running.client(&operator).unwrap();
    client.query(Bytes::from_static(b"none"), Consistency::Linearizable).await.unwrap();

    // Closed first: a compaction may find the damage before anybody reads it.
    gate.is_closed.store(true, Ordering::SeqCst);
    rot(&data);
    let address = running.local_address().to_string();
    until_refused(&client, &address).await;
    gate.is_reached().await;
    let status = client.status_of(&address).await.expect("it answers");
    assert!(status.failure.contains("its state is made anew"), "{}", status.failure);
    assert_eq!(running.status().await.expect("it lives").failure, status.failure);
    gate.is_closed.store(false, Ordering::SeqCst);
    let query = Bytes::copy_from_slice(&7_u32.to_be_bytes());
    let answer = client.query(query, Consistency::Linearizable).await.unwrap();
    assert_eq!(*answer.response, *value(7));
    client.close().await;
    running.stop().await.unwrap();
}
