//! A node that has stopped while something of it still reads.

use std::num::NonZeroU64;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

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

    fn apply(&self, _: &Command<'_>, _: &mut Transaction<'_>) -> Result<Response, StoreError> {
        Ok(Response::new())
    }

    fn query(&self, view: &dyn View, _: &[u8]) -> Result<Response, StoreError> {
        ASKED.store(true, Ordering::Relaxed);
        std::thread::sleep(LONG);
        Ok(view.get(b"k")?.unwrap_or_default())
    }
}

/// Two nodes would have the same files open, and the second one would take them for damaged.
#[tokio::test]
async fn a_data_directory_is_in_use_as_long_as_a_stopped_node_reads_from_it() {
    let authority = Authority::create(ClusterId::generate().unwrap(), DAY).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let issue = |role| -> Credentials {
        let identity = Identity::new(authority.cluster(), role);
        authority.issue(&identity, DAY).unwrap().credentials().unwrap()
    };
    let credentials = issue(Role::Node(NonZeroU64::MIN));
    let data = directory.path().join("data");
    let config = Config::new(&data, credentials).listen("127.0.0.1:0".parse().unwrap());
    let start = || Server::new(Slow).start(config.clone());
    let node: Running = start().await.unwrap();
    raftd::bootstrap(&[&node]).await.unwrap();
    let client = node.client(&issue(Role::Operator("test".parse().unwrap()))).unwrap();
    let asking = tokio::spawn(async move { client.query("".into(), Consistency::Stale).await });
    while !ASKED.load(Ordering::Relaxed) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let began = Instant::now();
    node.stop().await.unwrap();
    let refused: Option<Failure> = start().await.err();
    if began.elapsed() < LONG {
        let refused = refused.expect("it is still read");
        assert_eq!(refused.exit, Exit::Io, "{refused}");
        assert!(refused.message.contains("is in use"), "{refused}");
    }
    asking.abort();
    // Nobody holds it any more.
    let again = loop {
        match start().await {
            Ok(node) => break node,
            Err(failure) => {
                assert!(began.elapsed() < 12 * LONG, "{failure}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    };
    again.stop().await.unwrap();
    assert!(!data.join("damaged-state").exists(), "nothing is damaged");
}
