//! A node that has stopped while something of it still reads.

use std::num::NonZeroU64;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use protocol::SnapshotRequest;
use raftd::certs::{Authority, ClusterId, Credentials, Identity, Role};
use raftd::client::Consistency;
use raftd::machine::{Command, Response, StoreError, StoredMachine, Transaction, View};
use raftd::{Config, Exit, Failure, Running, Server};

const DAY: Duration = Duration::from_secs(86_400);

/// How long a question takes.
const LONG: Duration = Duration::from_secs(5);

/// A question is being answered.
static ASKED: AtomicBool = AtomicBool::new(false);

/// Takes long to answer anything.
struct Slow;

impl StoredMachine for Slow {
    fn name(&self) -> &'static str {
        "slow"
    }

    fn version(&self) -> u32 {
        1
    }

    fn apply(&self, it: &Command<'_>, to: &mut Transaction<'_>) -> Result<Response, StoreError> {
        to.put(&it.index.get().to_be_bytes(), Response::copy_from_slice(it.data));
        Ok(Response::new())
    }

    fn query(&self, view: &dyn View, _: &[u8]) -> Result<Response, StoreError> {
        ASKED.store(true, Ordering::Relaxed);
        std::thread::sleep(LONG);
        Ok(view.get(b"k")?.unwrap_or_default())
    }
}

/// A node alone, and what is needed to talk to it.
struct Alone {
    config: Config,
    operator: Credentials,
    _directory: tempfile::TempDir,
}

impl Alone {
    fn new() -> Self {
        let authority = Authority::create(ClusterId::generate().unwrap(), DAY).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let issue = |role| -> Credentials {
            let identity = Identity::new(authority.cluster(), role);
            authority.issue(&identity, DAY).unwrap().credentials().unwrap()
        };
        let credentials = issue(Role::Node(NonZeroU64::MIN));
        let data = directory.path().join("data");
        let config = Config::new(&data, credentials).listen("127.0.0.1:0".parse().unwrap());
        let operator = issue(Role::Operator("test".parse().unwrap()));
        Self { config, operator, _directory: directory }
    }

    async fn start(&self) -> Result<Running, Failure> {
        Server::new(Slow).start(self.config.clone()).await
    }
}

/// Two nodes would have the same files open, and the second one would take them for damaged.
#[tokio::test]
async fn a_data_directory_is_in_use_as_long_as_a_stopped_node_reads_from_it() {
    let alone = Alone::new();
    let node = alone.start().await.unwrap();
    raftd::bootstrap(&[&node]).await.unwrap();
    let client = node.client(&alone.operator).unwrap();
    let asking = tokio::spawn(async move { client.query("".into(), Consistency::Stale).await });
    while !ASKED.load(Ordering::Relaxed) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let began = Instant::now();
    node.stop().await.unwrap();
    let refused: Option<Failure> = alone.start().await.err();
    if began.elapsed() < LONG {
        let refused = refused.expect("it is still read");
        assert_eq!(refused.exit, Exit::Io, "{refused}");
        assert!(refused.message.contains("is in use"), "{refused}");
    }
    asking.abort();
    // Nobody holds it any more.
    let again = loop {
        match alone.start().await {
            Ok(node) => break node,
            Err(failure) => {
                assert!(began.elapsed() < 12 * LONG, "{failure}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    };
    again.stop().await.unwrap();
    assert!(!alone.config.data_dir.join("damaged-state").exists(), "nothing is damaged");
}

/// Nobody waits for it, and a node that was stopped could not be started again until its end.
#[tokio::test]
async fn a_snapshot_that_is_being_written_does_not_keep_the_directory_of_a_stopped_node() {
    let mut alone = Alone::new();
    alone.config.limits.snapshot_bytes_per_s_max = 1 << 20;
    let node = alone.start().await.unwrap();
    raftd::bootstrap(&[&node]).await.unwrap();
    let client = node.client(&alone.operator).unwrap();
    for number in 1..=20_u32 {
        let noise = (0..1_000_000).map(|at| (number.wrapping_mul(at) >> 13) as u8);
        client.propose(noise.collect()).await.unwrap();
    }
    let address = node.address().to_string();
    let asking =
        tokio::spawn(async move { client.snapshot(&address, SnapshotRequest::Take).await });
    let snapshots = alone.config.data_dir.join("snapshots");
    let began = Instant::now();
    while std::fs::read_dir(&snapshots).unwrap().next().is_none() {
        assert!(began.elapsed() < 12 * LONG, "none is begun");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    node.stop().await.unwrap();
    asking.abort();
    let began = Instant::now();
    let again = alone.start().await.expect("nobody uses its directory");
    assert!(began.elapsed() < LONG, "{:?}", began.elapsed());
    again.stop().await.unwrap();
}
