//! Revoked certificates and removed members are cut off on every node, within a second, and kept
//! out over restarts and snapshots.

use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use certs::{Expect, Identity, Role, Validity};
use client::{Client, ClientConfig};
use consensus::{Incarnation, NodeId};
use fixtures::load::put;
use fixtures::{Cluster, PATIENCE, reason};
use protocol::{Hello, PROTOCOL_VERSION, Promises, Request};
use transport::{Alpn, ClientConnection, ConnectError, Endpoint, Trail};

/// How soon existing connections must be gone.
const SOON: Duration = Duration::from_secs(1);

pub(crate) fn alice() -> Role {
    Role::Operator("alice".parse().unwrap())
}

/// A certificate that was made so many seconds ago.
pub(crate) fn issued(cluster: &Cluster, role: Role, ago_s: u64) -> certs::Credentials {
    let identity = Identity::new(cluster.authority.cluster(), role);
    let now = Validity::from_now(Duration::from_secs(86_400)).unwrap();
    let window = Validity { not_before: now.not_before - ago_s, ..now };
    cluster.authority.issue_within(&identity, window).unwrap().credentials().unwrap()
}

async fn connect(
    cluster: &Cluster,
    place: usize,
    credentials: &certs::Credentials,
) -> Result<ClientConnection, ConnectError> {
    let endpoint = Endpoint::client(credentials).unwrap();
    let node = credentials.identity().node_id().map(NodeId::from);
    let hello = Hello {
        protocol: PROTOCOL_VERSION,
        cluster: cluster.authority.cluster().to_bytes(),
        generation: None,
        node,
        incarnation: Incarnation::default(),
        boot: 0,
        software: "a test".into(),
        lease: None,
        promises: Promises::default(),
    };
    let alpn = if node.is_some() { Alpn::Forward } else { Alpn::Client };
    let trail = Trail::new(&cluster.nodes[place].address);
    let how = (alpn, Expect::AnyNode);
    ClientConnection::connect(&endpoint, &trail, how, &hello, Duration::from_secs(10)).await
}

/// A connection of one certificate to each of these nodes.
pub(crate) async fn connections(
    cluster: &Cluster,
    places: &[usize],
    credentials: &certs::Credentials,
) -> Vec<ClientConnection> {
    let mut made = Vec::new();
    for place in places {
        made.push(connect(cluster, *place, credentials).await.unwrap());
    }
    made
}

/// Waits until all connections are closed, and returns how long the last one took.
pub(crate) async fn cut(connections: &[ClientConnection], began: Instant) -> Duration {
    while connections.iter().any(ClientConnection::is_usable) {
        assert!(began.elapsed() < PATIENCE, "a connection is still open");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    began.elapsed()
}

pub(crate) fn client_with(cluster: &Cluster, credentials: certs::Credentials) -> Client {
    let endpoints = cluster.nodes.iter().map(|node| node.address.clone()).collect();
    let (deadline, connect_timeout) = (Duration::from_secs(5), Duration::from_secs(2));
    Client::new(ClientConfig { endpoints, credentials, deadline, connect_timeout }).unwrap()
}

fn now_s() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.unwrap().as_secs()
}

/// Says why each node refuses a certificate.
pub(crate) async fn refusals(cluster: &Cluster, credentials: &certs::Credentials) -> Vec<String> {
    let mut all = Vec::new();
    for place in 0..cluster.nodes.len() {
        let refused = connect(cluster, place, credentials).await.err();
        all.push(refused.map_or_else(|| "got in".into(), |error| error.to_string()));
    }
    all
}

#[tokio::test]
async fn a_revoked_operator_is_cut_off_on_every_node_and_stays_out() {
    let mut cluster = Cluster::start(3).await;
    let client = cluster.client();
    put(&client, "k", "v").await.unwrap();
    cluster.converged().await;
    let old = issued(&cluster, alice(), 3_600);
    let connected = connections(&cluster, &[0, 1, 2], &old).await;
    for connection in &connected {
        connection.call(&Request::Status).await.unwrap();
    }

    let began = Instant::now();
    client.revoke("operator alice", now_s() - 600, None, "laptop stolen").await.unwrap();
    let took = cut(&connected, began).await;
    println!("a revoked operator was cut off on 3 nodes within {took:?}");
    assert!(took < SOON, "{took:?}");
    let why = "the certificate of operator alice was revoked by ";
    for said in refusals(&cluster, &old).await {
        assert!(said.contains(why) && said.contains("by operator test (log entry "), "{said}");
        assert!(said.contains("): laptop stolen"), "{said}");
    }
    let away = client_with(&cluster, old.clone());
    let error = put(&away, "k", "x").await.unwrap_err();
    assert!(reason(&error).contains(why), "{}", reason(&error));

    // What is made for her afterwards counts, and so does everybody else's.
    let new = issued(&cluster, alice(), 0);
    put(&client_with(&cluster, new.clone()), "k", "w").await.unwrap();
    // A key that is known is revoked whenever its certificate was made.
    let parsed = certs::shown_in(std::slice::from_ref(new.certificate())).unwrap();
    let connected = connections(&cluster, &[0, 1, 2], &new).await;
    let began = Instant::now();
    client.revoke("operator alice", 0, Some(parsed.key), "").await.unwrap();
    let took = cut(&connected, began).await;
    assert!(took < SOON, "{took:?}");

    // It survives: in a snapshot, by which a wiped-out log is replaced, and over restarts.
    for place in 0..3 {
        assert!(cluster.take_snapshot(&client, place).await);
    }
    for node in &mut cluster.nodes {
        node.kill();
    }
    for node in &mut cluster.nodes {
        node.start();
    }
    cluster.leader().await;
    cluster.converged().await;
    for credentials in [&old, &new] {
        for said in refusals(&cluster, credentials).await {
            assert!(said.contains(why), "{said}");
        }
    }
    // Until an operator takes it back.
    client.forget_revocation("operator alice").await.unwrap();
    let began = Instant::now();
    while refusals(&cluster, &new).await != ["got in", "got in", "got in"] {
        assert!(began.elapsed() < PATIENCE, "it counts again");
    }
}

/// The node was down, and hears of the revocation by a snapshot alone.
#[tokio::test]
async fn a_revocation_that_comes_with_a_snapshot_is_in_force_at_once() {
    let limits = "[limits]\nlog_keep_entries_max = 20\npersist_interval_s = 1\n";
    let mut cluster = Cluster::start_with(3, limits).await;
    let client = cluster.client();
    put(&client, "k", "v").await.unwrap();
    let leader = cluster.leader().await;
    let away = (leader + 1) % 3;
    cluster.nodes[away].kill();
    let old = issued(&cluster, alice(), 3_600);
    client.revoke("operator alice", now_s() - 600, None, "laptop stolen").await.unwrap();
    let revoked = client.revocations().await.unwrap()[0].index.get();
    let (began, mut first) = (Instant::now(), 0);
    while first <= revoked + 1 {
        assert!(began.elapsed() < PATIENCE, "the log is not compacted");
        put(&client, "more", "1").await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        first = client.status_of(&cluster.nodes[leader].address).await.unwrap().first;
    }
    cluster.nodes[away].start();
    cluster.converged().await;
    let status = cluster.nodes[away].status(&client).await.expect("it answers");
    assert!(status.first > revoked, "it has the snapshot, and not the entry");
    let refused = connect(&cluster, away, &old).await.err().expect("it got in").to_string();
    assert!(refused.contains("the certificate of operator alice was revoked by "), "{refused}");
}

/// The members go on without it, and it is not even sent the log.
#[tokio::test]
async fn a_node_whose_certificate_is_revoked_is_cut_off_in_both_directions_until_it_has_another() {
    let mut cluster = Cluster::start(3).await;
    let client = cluster.client();
    put(&client, "k", "v").await.unwrap();
    cluster.converged().await;
    let leader = cluster.leader().await;
    let away = (leader + 1) % 3;
    let (id, others) = (cluster.nodes[away].id, [leader, (leader + 2) % 3]);
    let stolen = issued(&cluster, Role::Node(NonZeroU64::new(id).unwrap()), 3_600);
    let connected = connections(&cluster, &others, &stolen).await;
    let began = Instant::now();
    client.revoke(&format!("node {id}"), now_s() - 200, None, "stolen").await.unwrap();
    let took = cut(&connected, began).await;
    println!("a revoked node was cut off on the 2 others within {took:?}");
    assert!(took < SOON, "{took:?}");

    // Wherever it is dialled or dials, it is over; the others serve.
    let said = format!("the certificate of node {id} was revoked by ");
    loop {
        let status = client.status_of(&cluster.nodes[leader].address).await.unwrap();
        let peer = status.peers.iter().find(|peer| peer.id.get() == id).unwrap();
        if !peer.connected && peer.trouble.contains(&said) {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "{peer:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    put(&client, "k", "w").await.unwrap();

    // With a certificate that was made later it belongs to them again.
    tokio::time::sleep(Duration::from_millis(1)).await;
    cluster.nodes[away].kill();
    let revoked = client.revocations().await.unwrap();
    assert_eq!(revoked.len(), 1);
    let identity =
        Identity::new(cluster.authority.cluster(), Role::Node(NonZeroU64::new(id).unwrap()));
    let now = Validity::from_now(Duration::from_secs(86_400)).unwrap();
    let window = Validity { not_before: revoked[0].until_s + 1, ..now };
    let issued = cluster.authority.issue_within(&identity, window).unwrap();
    issued.write(&cluster.nodes[away].directory, "node").unwrap();
    cluster.nodes[away].start();
    cluster.converged().await;
}

#[tokio::test]
async fn a_removed_node_is_cut_off_on_every_node() {
    let cluster = Cluster::start(4).await;
    let client = cluster.client();
    put(&client, "k", "v").await.unwrap();
    cluster.converged().await;
    let leader = cluster.leader().await;
    let gone = (leader + 1) % 4;
    let others: Vec<usize> = (0..4).filter(|place| *place != gone).collect();
    let id = NodeId::new(cluster.nodes[gone].id).unwrap();
    let copy = issued(&cluster, Role::Node(NonZeroU64::new(id.get()).unwrap()), 0);
    let connected = connections(&cluster, &others, &copy).await;

    let status = client.status_of(&cluster.nodes[leader].address).await.unwrap();
    let mut members = status.configuration.members().clone();
    members.remove(&id);
    let voters = consensus::Majority::new(members.keys().copied());
    let target = consensus::Configuration::new(
        consensus::Voters::Stable(voters),
        std::collections::BTreeSet::new(),
        members,
    );
    client.reconfigure(&target.unwrap(), status.configuration_index).await.unwrap();
    let began = Instant::now();
    let took = cut(&connected, began).await;
    println!("a removed node was cut off on the 3 others within {took:?}");
    assert!(took < SOON, "{took:?}");
    for place in others {
        let error = connect(&cluster, place, &copy).await.err().expect("it is refused");
        let said = format!("node {id} was removed from the cluster by log entry");
        assert!(error.to_string().contains(&said), "{error}");
    }
}
