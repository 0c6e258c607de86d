//! Real `raftd` processes over loopback, with real certificates, disks and signals.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::net::UdpSocket;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use certs::{Authority, ClusterId, DEFAULT_CA_VALIDITY, DEFAULT_LEAF_VALIDITY, Identity, Role};
use client::{Client, ClientConfig, ClientError, NodeStatus};
use consensus::{Configuration, Majority, Member, NodeId, RoleKind, Voters};
use protocol::BootstrapRecord;
use tempfile::TempDir;

pub mod load;

/// Nothing in these tests takes longer.
pub const PATIENCE: Duration = Duration::from_secs(60);

const DAY: Duration = Duration::from_secs(86_400);

/// A cluster of processes; dropping it kills them.
pub struct Cluster {
    pub authority: Authority,
    pub nodes: Vec<Node>,
    directory: TempDir,
}

pub struct Node {
    pub id: u64,
    pub address: String,
    pub directory: PathBuf,
    pub data: PathBuf,
    child: Option<Child>,
}

impl Cluster {
    /// Writes certificates and configurations for so many nodes; starts nothing.
    pub fn prepare(count: u64) -> Self {
        let authority =
            Authority::create(ClusterId::generate().unwrap(), DEFAULT_CA_VALIDITY).unwrap();
        let directory = TempDir::new().unwrap();
        let addresses = free_addresses(count);
        let nodes = (1..=count).zip(addresses).map(|(id, address)| {
            let directory = directory.path().join(format!("n{id}"));
            let data = directory.join("data");
            fs::create_dir(&directory).unwrap();
            let node = Node { id, address, directory, data, child: None };
            node.issue(&authority, id);
            node.configure("");
            node
        });
        let nodes = nodes.collect();
        Self { authority, nodes, directory }
    }

    /// A running, bootstrapped cluster with a leader.
    pub async fn start(count: u64) -> Self {
        Self::start_with(count, "").await
    }

    /// The same, with more in each node's configuration.
    pub async fn start_with(count: u64, more: &str) -> Self {
        let mut cluster = Self::prepare(count);
        for node in &cluster.nodes {
            node.configure(more);
        }
        for node in &mut cluster.nodes {
            node.start();
        }
        cluster.bootstrap().await;
        cluster.leader().await;
        cluster
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    pub fn client(&self) -> Client {
        self.client_as(Role::Operator("test".parse().unwrap()), Duration::from_secs(10))
    }

    pub fn client_as(&self, role: Role, deadline: Duration) -> Client {
        let all = self.nodes.iter().map(|node| node.address.clone()).collect();
        Client::new(self.client_config(role, deadline, all)).unwrap()
    }

    /// A client that is told of these nodes only.
    pub fn client_of(&self, places: &[usize], deadline: Duration) -> Client {
        let endpoints = places.iter().map(|place| self.nodes[*place].address.clone()).collect();
        let role = Role::Operator("test".parse().unwrap());
        Client::new(self.client_config(role, deadline, endpoints)).unwrap()
    }

    pub fn client_config(
        &self,
        role: Role,
        deadline: Duration,
        endpoints: Vec<String>,
    ) -> ClientConfig {
        let identity = Identity::new(self.authority.cluster(), role);
        let issued = self.authority.issue(&identity, DAY).unwrap();
        ClientConfig {
            endpoints,
            credentials: issued.credentials().unwrap(),
            deadline,
            connect_timeout: Duration::from_secs(1),
        }
    }

    /// Founds the cluster, as `raftctl init` does.
    pub async fn bootstrap(&self) {
        let record = self.record().await;
        let client = self.client();
        for node in &self.nodes {
            client.bootstrap(&node.address, record.encode()).await.unwrap();
        }
        client.close().await;
    }

    pub async fn record(&self) -> BootstrapRecord {
        self.record_of(self.nodes.len()).await
    }

    /// The founding record of the first so many nodes.
    pub async fn record_of(&self, founders: usize) -> BootstrapRecord {
        let mut members = BTreeMap::new();
        for node in &self.nodes[..founders] {
            let status = self.answer_of(node).await;
            let name = format!("n{}", node.id);
            let address = node.address.clone();
            members.insert(status.node, Member { incarnation: status.incarnation, name, address });
        }
        let voters = Voters::Stable(Majority::new(members.keys().copied()));
        BootstrapRecord {
            cluster: self.authority.cluster().to_bytes(),
            configuration: Configuration::new(voters, BTreeSet::new(), members).unwrap(),
            machine: "kv".into(),
            machine_version: 1,
            parent: None,
        }
    }

    /// Waits until a node answers.
    pub async fn answer_of(&self, node: &Node) -> NodeStatus {
        let client = self.client();
        let began = Instant::now();
        loop {
            match client.status_of(&node.address).await {
                Ok(status) => return status,
                Err(error) if began.elapsed() > PATIENCE => {
                    panic!("node {} does not answer: {error}\n{}", node.id, node.log())
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }

    /// Waits until a majority follows one leader; returns its place.
    pub async fn leader(&self) -> usize {
        let client = self.client();
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            let mut follow: BTreeMap<(u64, NodeId), usize> = BTreeMap::new();
            for status in self.statuses(&client).await.into_iter().flatten() {
                if let Some(leader) = status.leader {
                    *follow.entry((status.term, leader)).or_default() += 1;
                }
            }
            let majority = self.nodes.len() / 2 + 1;
            if let Some(((_, leader), _)) = follow.iter().rev().find(|(_, n)| **n >= majority) {
                let place = self.nodes.iter().position(|node| node.id == leader.get()).unwrap();
                let status = client.status_of(&self.nodes[place].address).await;
                if status.is_ok_and(|status| status.role == RoleKind::Leader) {
                    return place;
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let logs: String = self.nodes.iter().map(Node::log).collect();
        panic!("no leader within {PATIENCE:?}\n{logs}");
    }

    /// The status of each node that answers at once.
    pub async fn statuses(&self, client: &Client) -> Vec<Option<NodeStatus>> {
        let mut statuses = Vec::new();
        for node in &self.nodes {
            let answer = client.status_of(&node.address);
            let answer = tokio::time::timeout(Duration::from_millis(500), answer).await;
            statuses.push(answer.ok().and_then(Result::ok));
        }
        statuses
    }

    /// Waits until all nodes have applied the same index, and returns it.
    pub async fn converged(&self) -> u64 {
        let all: Vec<usize> = (0..self.nodes.len()).collect();
        self.converged_on(&all).await
    }

    /// As [`Cluster::converged`], for the nodes at these places only: the others are no members.
    pub async fn converged_on(&self, places: &[usize]) -> u64 {
        let client = self.client();
        let began = Instant::now();
        loop {
            let mut statuses = Vec::new();
            for place in places {
                let answer = client.status_of(&self.nodes[*place].address);
                let answer = tokio::time::timeout(Duration::from_millis(500), answer).await;
                statuses.push(answer.ok().and_then(Result::ok));
            }
            let applied: Option<BTreeSet<(u64, u64)>> =
                statuses.iter().map(|s| s.as_ref().map(|s| (s.applied, s.last))).collect();
            if let Some(applied) = applied
                && let [(applied, last)] = applied.iter().copied().collect::<Vec<_>>()[..]
                && applied == last
            {
                return applied;
            }
            assert!(began.elapsed() < PATIENCE, "the nodes do not converge: {statuses:#?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Node {
    /// Writes a certificate for this id into the node's directory.
    pub fn issue(&self, authority: &Authority, id: u64) {
        let role = Role::Node(NonZeroU64::new(id).unwrap());
        let identity = Identity::new(authority.cluster(), role);
        let issued = authority.issue(&identity, DEFAULT_LEAF_VALIDITY).unwrap();
        issued.write(&self.directory, "node").unwrap();
    }

    /// Writes `raftd.toml`; `more` goes to its end.
    pub fn configure(&self, more: &str) {
        let (data, listen) = (self.data.display(), &self.address);
        let text = format!(
            "data_dir = \"{data}\"\nlisten = \"{listen}\"\n\
             [identity]\nca = \"ca.crt\"\ncertificate = \"node.crt\"\nkey = \"node.key\"\n{more}"
        );
        fs::write(self.directory.join("raftd.toml"), text).unwrap();
    }

    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_raftd"));
        command.arg("--config").arg(self.directory.join("raftd.toml"));
        command
    }

    pub fn start(&mut self) {
        assert!(self.child.is_none(), "node {} runs already", self.id);
        let log = File::options().create(true).append(true).open(self.directory.join("log"));
        let mut command = self.command();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log.unwrap());
        self.child = Some(command.spawn().unwrap());
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    pub fn is_running(&self) -> bool {
        self.child.is_some()
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(self.pid().try_into().unwrap()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// SIGKILL: nothing is flushed, nobody is told.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Waits until the process ends by itself.
    pub fn ended(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("it runs");
        let began = Instant::now();
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                return status;
            }
            if began.elapsed() > PATIENCE {
                child.kill().unwrap();
                panic!("node {} does not end\n{}", self.id, self.log());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// What the process has logged.
    pub fn log(&self) -> String {
        let text = fs::read_to_string(self.directory.join("log")).unwrap_or_default();
        format!("--- node {}\n{text}", self.id)
    }

    /// Waits until the process has logged this, and returns all that it has logged. A node never
    /// waits for its log: what it has answered may be there only a moment later.
    pub async fn logged(&self, words: &str) -> String {
        let began = Instant::now();
        loop {
            let log = self.log();
            if log.contains(words) {
                return log;
            }
            assert!(began.elapsed() < PATIENCE, "\"{words}\" is not logged\n{log}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Addresses that were free a moment ago.
fn free_addresses(count: u64) -> Vec<String> {
    // Below the ports that the system gives to clients: else one of them could take a node's while
    // the node is down.
    let mut sockets: Vec<UdpSocket> = Vec::new();
    while sockets.len() < usize::try_from(count).unwrap() {
        let port = 10_000 + RandomState::new().build_hasher().finish() % 16_000;
        sockets.extend(UdpSocket::bind(("127.0.0.1", u16::try_from(port).unwrap())));
    }
    sockets.iter().map(|socket| socket.local_addr().unwrap().to_string()).collect()
}

/// What a refused or failed request says.
pub fn reason(error: &ClientError) -> String {
    match error {
        ClientError::Unreachable { causes, .. } | ClientError::NoLeader { causes, .. } => {
            causes.iter().map(|cause| format!("{cause}\n")).collect()
        }
        other => other.to_string(),
    }
}
