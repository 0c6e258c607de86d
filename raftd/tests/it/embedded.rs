//! Several nodes in one process, without processes, files of certificates or signals.

use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use raftd::certs::{Authority, ClusterId, Credentials, Identity, Role};
use raftd::client::{
    ANSWER_BYTES_MAX, Client, ClientConfig, ClientError, Consistency, ErrorCode, PROPOSAL_BYTES_MAX,
};
use raftd::machine::{Bytes, Command, Response, StoreError, StoredMachine, Transaction, View};
use raftd::{Config, Exit, NodeId, NodeStatus, Running, Server};
use state_machine::{RestoreError, SystemAnswer, SystemQuery};
use tempfile::TempDir;

/// How many slow questions were begun on all nodes.
static SLOW_ANSWERS: AtomicUsize = AtomicUsize::new(0);

/// Nothing in these tests takes longer.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) const DAY: Duration = Duration::from_secs(86_400);

/// Returns the answer of so many bytes that a command or a question asks for.
fn long(data: &[u8]) -> Option<Bytes> {
    let bytes = std::str::from_utf8(data).ok()?.strip_prefix("answer ")?.parse().ok()?;
    Some(Bytes::from(vec![0; bytes]))
}

/// Keeps the last command. A command that names a node makes it panic there, or keep something
/// else, as a machine does that looks at its own clock.
pub(crate) struct Fragile {
    node: u64,
}

impl Fragile {
    pub(crate) fn new(node: u64) -> Self {
        Self { node }
    }
}

impl StoredMachine for Fragile {
    fn name(&self) -> &'static str {
        "fragile"
    }

    fn version(&self) -> u32 {
        1
    }

    fn open(&self, view: &dyn View) -> Result<(), StoreError> {
        if view.get(b"last")?.is_none_or(|last| last != "cannot be loaded") {
            return Ok(());
        }
        let source = Box::new(RestoreError::Malformed("a state of another program"));
        Err(StoreError { doing: "opening", source })
    }

    fn apply(
        &self,
        command: &Command<'_>,
        transaction: &mut Transaction<'_>,
    ) -> Result<Response, StoreError> {
        let text = format!("apply {}", self.node);
        assert_ne!(command.data, text.as_bytes(), "as it was told");
        if command.data == format!("sleep {}", self.node).as_bytes() {
            std::thread::sleep(Duration::from_secs(30));
        }
        let data = Bytes::copy_from_slice(command.data);
        let differs = *command.data == *format!("differ {}", self.node).as_bytes();
        let kept = if differs { Bytes::from_static(b"wrong") } else { data.clone() };
        transaction.put(b"last", kept);
        Ok(long(command.data).unwrap_or(data))
    }

    fn query(&self, view: &dyn View, query: &[u8]) -> Result<Response, StoreError> {
        assert_ne!(query, b"panic", "as it was told");
        if query == b"slow" {
            SLOW_ANSWERS.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(100));
        }
        match long(query) {
            Some(long) => Ok(long),
            None => Ok(view.get(b"last")?.unwrap_or_default()),
        }
    }

    fn frees_space(&self, command: &[u8]) -> bool {
        assert_ne!(command, b"frees it space?", "as it was told");
        false
    }
}

/// Three nodes and what they are made of. The directory goes last.
pub(crate) struct Three {
    pub(crate) nodes: Vec<Running>,
    authority: Authority,
    directory: TempDir,
}

impl Three {
    pub(crate) async fn start() -> Self {
        let authority = Authority::create(ClusterId::generate().unwrap(), DAY).unwrap();
        let mut three =
            Self { nodes: Vec::new(), authority, directory: tempfile::tempdir().unwrap() };
        for id in 1..=3 {
            let node = three.node(id, SocketAddr::from(([127, 0, 0, 1], 0))).await;
            three.nodes.push(node);
        }
        let [first, second, third] = &*three.nodes else { unreachable!() };
        raftd::bootstrap(&[first, second, third]).await.unwrap();
        three
    }

    pub(crate) fn issue(&self, role: Role) -> Credentials {
        let identity = Identity::new(self.authority.cluster(), role);
        self.authority.issue(&identity, DAY).unwrap().credentials().unwrap()
    }

    pub(crate) fn data(&self, id: u64) -> PathBuf {
        self.directory.path().join(id.to_string())
    }

    async fn node(&self, id: u64, listen: SocketAddr) -> Running {
        self.starts(id, listen).await.unwrap()
    }

    async fn starts(&self, id: u64, listen: SocketAddr) -> Result<Running, raftd::Failure> {
        let credentials = self.issue(Role::Node(NonZeroU64::new(id).unwrap()));
        let config = Config::new(self.data(id), credentials).listen(listen);
        Server::new(Fragile { node: id }).start(config).await
    }

    pub(crate) fn client(&self) -> Client {
        let operator = self.issue(Role::Operator("test".parse().unwrap()));
        self.nodes[0].client(&operator).unwrap()
    }

    pub(crate) async fn stop(self) {
        for node in self.nodes {
            node.stop().await.unwrap();
        }
    }
}

/// Waits until a node's status is as wanted.
pub(crate) async fn until(node: &Running, wanted: impl Fn(&NodeStatus) -> bool) -> NodeStatus {
    let end = tokio::time::Instant::now() + PATIENCE;
    loop {
        let status = node.status().await.expect("it runs");
        if wanted(&status) {
            return status;
        }
        assert!(tokio::time::Instant::now() < end, "not in time: {status:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub(crate) async fn propose(client: &Client, command: &str) -> u64 {
    let answer = client.propose(Bytes::from(command.to_owned())).await.unwrap();
    assert_eq!(answer.response, command);
    answer.index
}

pub(crate) async fn ended(node: &Running) -> raftd::Failure {
    tokio::time::timeout(PATIENCE, node.wait()).await.expect("in time").unwrap_err()
}

#[tokio::test]
async fn three_nodes_in_one_process_replicate_and_one_is_started_again() {
    let mut three = Three::start().await;
    let client = three.client();
    propose(&client, "one").await;
    let third = three.nodes.remove(2);
    let address = third.address();
    assert_ne!(address.port(), 0, "the system chose one");
    third.stop().await.unwrap();
    let index = propose(&client, "two").await;
    // Its files are free as soon as it has stopped.
    three.nodes.push(three.node(3, address).await);
    until(&three.nodes[2], |status| status.applied >= index).await;
    let question = client.query("".into(), Consistency::AtLeast(index)).await.unwrap();
    assert_eq!(question.response, "two");
    client.close().await;
    three.stop().await;
}

#[tokio::test]
async fn the_largest_command_and_the_longest_answer_arrive_and_no_more() {
    let three = Three::start().await;
    let client = three.client();
    let command = Bytes::from(vec![7; PROPOSAL_BYTES_MAX]);
    assert_eq!(client.propose(command.clone()).await.unwrap().response, command);
    let session = client.session("large").await.unwrap();
    assert_eq!(session.propose(command.clone()).await.unwrap().response, command);
    let asked = |bytes: usize| Bytes::from(format!("answer {bytes}"));

    let longest = ANSWER_BYTES_MAX;
    let answered = client.propose(asked(longest)).await.unwrap();
    assert_eq!(answered.response.len(), longest);
    assert_eq!(session.propose(asked(longest)).await.unwrap().response.len(), longest);
    let lost = client.propose(asked(longest + 64)).await.unwrap_err();
    assert!(matches!(lost, ClientError::Unknown { .. }), "{lost:?}");
    let lost = session.propose(asked(longest + 64)).await.unwrap_err();
    assert!(matches!(lost, ClientError::AnswerNotKept { .. }), "{lost:?}");

    for how in [Consistency::Linearizable, Consistency::Follower, Consistency::Stale] {
        let answered = client.query(asked(longest), how).await.unwrap();
        assert_eq!(answered.response.len(), longest);
        let refused = client.query(asked(longest + 64), how).await.unwrap_err();
        let ClientError::Refused(reply) = refused else { panic!("{refused:?}") };
        assert_eq!(reply.code, ErrorCode::TooLarge, "{}", reply.message);
    }
    client.close().await;
    three.stop().await;
}

/// Returns the configuration without a member.
pub(crate) fn without(status: &NodeStatus, id: NodeId) -> consensus::Configuration {
    let mut members = status.configuration.members().clone();
    members.remove(&id);
    let voters = consensus::Majority::new(members.keys().copied());
    let voters = consensus::Voters::Stable(voters);
    consensus::Configuration::new(voters, Default::default(), members).unwrap()
}

#[tokio::test]
async fn a_removed_node_says_so_and_the_others_go_on() {
    let three = Three::start().await;
    let client = three.client();
    propose(&client, "one").await;
    let status = until(&three.nodes[0], |status| status.leader.is_some()).await;
    let gone = three.nodes.iter().find(|node| Some(node.node()) != status.leader).unwrap();
    let target = without(&status, gone.node());
    client.reconfigure(&target, status.configuration_index).await.unwrap();
    let failure = ended(gone).await;
    assert_eq!(failure.exit, Exit::Removed, "{failure}");
    assert!(gone.status().await.is_none());
    propose(&client, "two").await;
    client.close().await;
}

#[tokio::test]
async fn a_panic_of_the_machine_ends_its_node_only() {
    let three = Three::start().await;
    let client = three.client();
    propose(&client, "one").await;
    let status = until(&three.nodes[0], |status| status.leader.is_some()).await;
    let index = |id: u64| usize::try_from(id - 1).unwrap();
    let follower = (1..=3).find(|id| NodeId::new(*id) != status.leader).unwrap();
    let index_of_it = propose(&client, &format!("apply {follower}")).await;
    let failure = ended(&three.nodes[index(follower)]).await;
    assert_eq!(failure.exit, Exit::Internal, "{failure}");
    assert!(failure.message.contains("as it was told"), "{failure}");
    assert!(failure.message.contains(&format!("applied entry {index_of_it}")), "{failure}");
    propose(&client, "two").await;

    // The node applies the command again when it is started, and ends again: its files are free.
    let address = three.nodes[index(follower)].address();
    let again = three.node(follower, address).await;
    assert_eq!(ended(&again).await.exit, Exit::Internal);
    client.close().await;
}

/// One after the other was answered, for twenty seconds, and nothing else meanwhile.
#[tokio::test]
async fn questions_that_nobody_waits_for_any_more_are_not_in_the_way_of_others() {
    let three = Three::start().await;
    let (gone, stays) = (three.client(), three.client());
    propose(&stays, "one").await;
    let asked = three.nodes[1].local_address().to_string();
    let ask = |client: &Client| {
        let questions = (0..200).map(|_| {
            let (client, asked) = (client.clone(), asked.clone());
            tokio::spawn(async move { client.query_of(&asked, "slow".into()).await.is_ok() })
        });
        questions.collect::<Vec<_>>()
    };
    let asking = ask(&gone);
    while SLOW_ANSWERS.load(Ordering::Relaxed) == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    gone.close().await;
    for question in asking {
        question.abort();
    }
    stays.query_of(&asked, "".into()).await.unwrap();
    let closed = SLOW_ANSWERS.load(Ordering::Relaxed);
    assert!(closed < 100, "{closed} were answered to a connection that is closed");

    // Others stay, and give up.
    let hasty = Client::new(ClientConfig {
        endpoints: vec![asked.clone()],
        credentials: three.issue(Role::Reader("hasty".parse().unwrap())),
        deadline: Duration::from_millis(500),
        connect_timeout: Duration::from_millis(500),
    });
    let hasty = hasty.unwrap();
    let asking = ask(&hasty);
    for question in asking {
        question.await.unwrap();
    }
    stays.query_of(&asked, "".into()).await.unwrap();
    let late = SLOW_ANSWERS.load(Ordering::Relaxed) - closed;
    assert!(late < 100, "{late} were answered to who had given up");
    stays.close().await;
    hasty.close().await;
    three.stop().await;
}

/// As many may wait at a time: each answer must give back its place.
#[tokio::test]
async fn more_questions_are_answered_one_after_the_other_than_may_wait_at_a_time() {
    let three = Three::start().await;
    let client = three.client();
    propose(&client, "one").await;
    let asked = three.nodes[1].local_address().to_string();
    let askers = (0..64).map(|_| {
        let (client, asked) = (client.clone(), asked.clone());
        tokio::spawn(async move {
            for _ in 0..1_100 {
                client.query_of(&asked, "".into()).await.unwrap();
            }
        })
    });
    for asker in askers.collect::<Vec<_>>() {
        asker.await.unwrap();
    }
    client.close().await;
    three.stop().await;
}

/// It served, as well as anybody could tell, until the first command.
#[tokio::test]
async fn a_state_that_the_machine_cannot_go_on_from_is_named_at_the_start() {
    let mut three = Three::start().await;
    let client = three.client();
    let index = propose(&client, "cannot be loaded").await;
    until(&three.nodes[2], |status| status.applied >= index).await;
    let third = three.nodes.remove(2);
    let address = third.address();
    third.stop().await.unwrap();
    let start = three.starts(3, address).await;
    let failure = match start {
        Ok(running) => ended(&running).await,
        Err(failure) => failure,
    };
    assert_eq!(failure.exit, Exit::Data, "{failure}");
    assert!(failure.message.contains("a state of another program"), "{failure}");
    assert!(failure.hint.is_some_and(|hint| hint.contains("start the one that wrote it")));
    propose(&client, "two").await;
    client.close().await;
    three.stop().await;
}

/// A node of a cluster of its own, at a free port.
fn alone(directory: &tempfile::TempDir) -> Config {
    let authority = Authority::create(ClusterId::generate().unwrap(), DAY).unwrap();
    let identity = Identity::new(authority.cluster(), Role::Node(NonZeroU64::MIN));
    let credentials = authority.issue(&identity, DAY).unwrap().credentials().unwrap();
    let config = Config::new(directory.path().join("data"), credentials);
    config.listen("127.0.0.1:0".parse().unwrap())
}

#[tokio::test]
async fn a_data_directory_has_one_node_and_a_dropped_node_gives_it_back() {
    let directory = tempfile::tempdir().unwrap();
    let config = alone(&directory);
    let start = || Server::new(Fragile { node: 1 }).start(config.clone());
    let first = start().await.unwrap();
    let status = first.status().await.unwrap();
    assert!(status.generation.is_none(), "it waits to be bootstrapped");
    let refused = start().await.err().expect("it is in use");
    assert_eq!(refused.exit, Exit::Io, "{refused}");
    drop(first);
    let second = start().await.unwrap();
    raftd::bootstrap(&[&second]).await.unwrap();
    until(&second, |status| status.leader.is_some()).await;
    drop(second);
    let third = start().await.unwrap();
    until(&third, |status| status.leader.is_some()).await;
    third.stop().await.unwrap();
}

#[tokio::test]
async fn values_out_of_bounds_and_certificates_of_others_are_refused() {
    let authority = Authority::create(ClusterId::generate().unwrap(), DAY).unwrap();
    let identity = Identity::new(authority.cluster(), Role::Operator("me".parse().unwrap()));
    let operator = authority.issue(&identity, DAY).unwrap().credentials().unwrap();
    let mut config = Config::new("/nowhere", operator);
    let start = |config: &Config| Server::new(Fragile { node: 1 }).start(config.clone());
    let refused = start(&config).await.err().expect("it is no node's");
    assert!(refused.message.contains("not of a node"), "{refused}");
    config.limits.requests_max = 0;
    let refused = start(&config).await.err().expect("it is out of bounds");
    assert_eq!(refused.message, "limits.requests_max = 0 is out of bounds");
    assert_eq!(refused.exit, Exit::Config);
}

#[tokio::test]
async fn a_running_node_takes_no_configuration_with_which_none_is_started() {
    let directory = tempfile::tempdir().unwrap();
    let config = alone(&directory);
    let node = Server::new(Fragile { node: 1 }).start(config.clone()).await.unwrap();
    let mut nowhere = config.clone();
    nowhere.peers.insert("2".to_owned(), "0.0.0.0:7".to_owned());
    let refused = node.update(nowhere).expect_err("nobody is there");
    assert_eq!(refused.exit, Exit::Config, "{refused}");
    node.update(config).unwrap();
    node.stop().await.unwrap();
}

/// Waits until a node says that its state differs, and returns what it says.
async fn until_differs(node: &Running) -> String {
    until(node, |status| status.failure.contains("differs from a majority's")).await.failure
}

/// The digests of a node behind an entry.
async fn digest(client: &Client, node: &Running, index: u64) -> Option<u64> {
    let query = SystemQuery::Effects { index };
    let answer = client.system_of(&node.local_address().to_string(), &query).await.unwrap();
    let SystemAnswer::Effects { digest, .. } = answer else { panic!("{answer:?}") };
    digest
}

#[tokio::test]
async fn a_machine_that_is_not_deterministic_is_named_and_answers_nothing_any_more() {
    let mut three = Three::start().await;
    let client = three.client();
    propose(&client, "one").await;
    let status = until(&three.nodes[0], |status| status.leader.is_some()).await;
    let leader = status.leader.unwrap();
    // First a follower, then whoever leads.
    let odd = three.nodes.iter().position(|node| node.node() != leader).unwrap();
    let before = propose(&client, "two").await;
    let index = propose(&client, &format!("differ {}", three.nodes[odd].node())).await;
    let said = until_differs(&three.nodes[odd]).await;
    assert!(said.contains(&format!("behind entry {index}")), "{said}");
    let address = three.nodes[odd].local_address().to_string();
    let refused = client.query_of(&address, "".into()).await;
    assert!(refused.is_err(), "nothing is read from it: {refused:?}");
    let refused = client.snapshot(&address, protocol::SnapshotRequest::List).await;
    assert!(refused.is_err(), "nor is a snapshot of it given to anybody: {refused:?}");
    let well = three.nodes.iter().position(|node| node.node() == leader).unwrap();
    for (at, same) in [(before, true), (index, false)] {
        let digests = (
            digest(&client, &three.nodes[odd], at).await,
            digest(&client, &three.nodes[well], at).await,
        );
        assert!(digests.0.is_some() && (digests.0 == digests.1) == same, "{at}: {digests:?}");
    }
    assert_eq!(
        client.query("".into(), Consistency::Linearizable).await.unwrap().response,
        *format!("differ {}", three.nodes[odd].node())
    );

    // Behind a restart its state is made anew, by the log and a machine that differs again; where
    // that is put right, it is right.
    let gone = three.nodes.remove(odd);
    let (id, address) = (gone.node().get(), gone.address());
    gone.stop().await.unwrap();
    assert!(three.data(id).join("state-condemned").exists());
    let credentials = three.issue(Role::Node(NonZeroU64::new(id).unwrap()));
    let config = Config::new(three.data(id), credentials).listen(address);
    // A node of another number does nothing wrong at that entry.
    let mended = Server::new(Fragile { node: 99 }).start(config).await.unwrap();
    let index = propose(&client, "three").await;
    until(&mended, |status| status.applied >= index && status.failure.is_empty()).await;
    assert_eq!(
        digest(&client, &mended, index).await,
        digest(&client, &three.nodes[0], index).await
    );
    three.nodes.push(mended);
    client.close().await;
    three.stop().await;
}

#[tokio::test]
async fn a_leader_whose_state_differs_from_the_majority_leads_no_more() {
    let three = Three::start().await;
    let client = three.client();
    propose(&client, "one").await;
    let status = until(&three.nodes[0], |status| status.leader.is_some()).await;
    let leader = status.leader.unwrap();
    let odd = three.nodes.iter().position(|node| node.node() == leader).unwrap();
    let command = Bytes::from(format!("differ {leader}"));
    client.propose(command).await.unwrap();
    until_differs(&three.nodes[odd]).await;
    until(&three.nodes[odd], |status| status.leader.is_some_and(|id| id != leader)).await;
    propose(&client, "two").await;
    assert_eq!(client.query("".into(), Consistency::Linearizable).await.unwrap().response, "two");
    client.close().await;
    three.stop().await;
}
