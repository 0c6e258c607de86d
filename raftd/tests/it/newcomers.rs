//! The leader itself meets the nodes that a change brings in, before anything is written.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use client::{Client, ClientError, ErrorCode, NodeStatus};
use consensus::{Configuration, Incarnation, Majority, Member, NodeId, RoleKind, Voters};
use fixtures::load::put;
use fixtures::{Cluster, PATIENCE, reason};

fn id(number: u64) -> NodeId {
    NodeId::new(number).unwrap()
}

/// Three founders with a leader; nodes 4 and 5 run, and 4 has the cluster's history.
async fn cluster() -> Cluster {
    let mut cluster = Cluster::prepare(5);
    for node in &mut cluster.nodes {
        // Long enough that a busy machine elects nobody without need.
        node.configure("[raft]\nelection_timeout_ms = [1000, 2000]\n");
        node.start();
    }
    let record = cluster.record_of(3).await;
    let client = cluster.client();
    for node in &cluster.nodes[..3] {
        client.bootstrap(&node.address, record.clone()).await.unwrap();
    }
    cluster.answer_of(&cluster.nodes[3]).await;
    client.join(&cluster.nodes[3].address, record.clone()).await.unwrap();
    cluster.answer_of(&cluster.nodes[4]).await;
    cluster
}

/// What the leader says.
async fn leader(cluster: &Cluster, client: &Client) -> NodeStatus {
    let began = Instant::now();
    loop {
        let statuses = cluster.statuses(client).await;
        let leads = |status: &NodeStatus| status.role == RoleKind::Leader;
        if let Some(leader) = statuses.into_iter().flatten().filter(leads).max_by_key(|s| s.term) {
            return leader;
        }
        assert!(began.elapsed() < PATIENCE, "no leader");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The members as they are, and these learners with these descriptions.
fn with(present: &Configuration, changed: &[(u64, Member)]) -> Configuration {
    let mut members: BTreeMap<NodeId, Member> = present.members().clone();
    let mut learners = present.learners().clone();
    let (_, voters) = present.voters().halves();
    for (number, member) in changed {
        members.insert(id(*number), member.clone());
        if !voters.contains(id(*number)) {
            learners.insert(id(*number));
        }
    }
    let voters = Voters::Stable(Majority::new(voters.iter()));
    Configuration::new(voters, learners, members).unwrap()
}

fn member(name: &str, address: &str, incarnation: Incarnation) -> Member {
    Member { incarnation, name: name.into(), address: address.into() }
}

/// Asks for a change that must be refused because the leader did not meet somebody; returns why.
/// No configuration is in the log then that was not there before.
async fn refused(cluster: &Cluster, client: &Client, target: &Configuration) -> String {
    let before = leader(cluster, client).await;
    let asked = client.reconfigure(target, before.configuration_index).await;
    let Err(ClientError::Refused(reply)) = asked else { panic!("not refused: {asked:?}") };
    assert_eq!(reply.code, ErrorCode::NotMet, "{}", reply.message);
    let after = leader(cluster, client).await;
    assert_eq!(after.configuration, before.configuration);
    // The log may have grown: what was asked for, and how it ended, is noted there.
    assert_eq!(after.configuration_index, before.configuration_index, "nobody wrote one");
    reply.message
}

#[tokio::test]
async fn who_is_not_where_or_not_who_the_change_says_is_refused_and_nothing_is_written() {
    let cluster = cluster().await;
    let client = cluster.client();
    put(&client, "k", "v").await.unwrap();
    let present = leader(&cluster, &client).await.configuration;
    let four = cluster.answer_of(&cluster.nodes[3]).await;
    let here = cluster.nodes[3].address.clone();

    let other = Incarnation::new(four.incarnation.get() ^ 1);
    let target = with(&present, &[(4, member("n4", &here, other))]);
    let why = refused(&cluster, &client, &target).await;
    let wanted = format!(
        "the leader did not meet n4 (node 4) at {here}: its data directory is {}, the change names \
         {other}",
        four.incarnation
    );
    assert_eq!(why, wanted);

    // A port that is taken by something that is no raftd, and never answers.
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let nobody = taken.local_addr().unwrap().to_string();
    let began = Instant::now();
    let target = with(&present, &[(4, member("n4", &nobody, four.incarnation))]);
    let why = refused(&cluster, &client, &target).await;
    assert!(why.contains(&format!("n4 (node 4) at {nobody}: no answer")), "{why}");
    assert!(began.elapsed() < PATIENCE / 2, "bounded in time: {:?}", began.elapsed());

    let elsewhere = cluster.nodes[4].address.clone();
    let target = with(&present, &[(4, member("n4", &elsewhere, four.incarnation))]);
    let why = refused(&cluster, &client, &target).await;
    assert!(why.contains(&format!("n4 (node 4) at {elsewhere}")), "{why}");
    assert!(why.contains("expected node 4, found node 5"), "{why}");

    // One wrong of two is enough; and a member that is said to have moved is met, too.
    let two = present.member(id(2)).unwrap();
    let right = (4, member("n4", &here, four.incarnation));
    let moved = (2, member("n2", &elsewhere, two.incarnation));
    let why = refused(&cluster, &client, &with(&present, &[right.clone(), moved])).await;
    assert!(why.contains(&format!("n2 (node 2) at {elsewhere}")), "{why}");

    let index = leader(&cluster, &client).await.configuration_index;
    client.reconfigure(&with(&present, &[right]), index).await.unwrap();
    let status = leader(&cluster, &client).await;
    assert_eq!(status.configuration.learners(), &BTreeSet::from([id(4)]));
    for peer in status.peers {
        let rounds = peer.catch_up.map(|rounds| rounds.round);
        assert_eq!(rounds.is_some_and(|round| round > 0), peer.id == id(4), "{peer:?}");
    }
    cluster.converged_on(&[0, 1, 2, 3]).await;
}

#[tokio::test]
async fn a_node_without_a_history_is_met_and_takes_part_when_it_has_joined() {
    let cluster = cluster().await;
    let client = cluster.client();
    let present = leader(&cluster, &client).await;
    let five = cluster.answer_of(&cluster.nodes[4]).await;
    assert_eq!(five.generation, None);
    let here = cluster.nodes[4].address.clone();
    let target = with(&present.configuration, &[(5, member("n5", &here, five.incarnation))]);
    client.reconfigure(&target, present.configuration_index).await.unwrap();
    put(&client, "k", "v").await.unwrap();
    let silent = cluster.answer_of(&cluster.nodes[4]).await;
    assert_eq!((silent.generation, silent.last), (None, 0), "it is sent nothing");
    client.join(&here, cluster.record_of(3).await).await.unwrap();
    cluster.converged_on(&[0, 1, 2, 4]).await;
}

#[tokio::test]
async fn a_leader_meets_itself_where_its_own_address_is_to_be() {
    let cluster = cluster().await;
    let client = cluster.client();
    let present = leader(&cluster, &client).await;
    let own = present.configuration.member(present.node).unwrap();
    // The same address in another spelling, as after a change of names.
    let (_, port) = own.address.split_once(':').unwrap();
    let moved = member(&own.name, &format!("127.1:{port}"), own.incarnation);
    let target = with(&present.configuration, &[(present.node.get(), moved.clone())]);
    client.reconfigure(&target, present.configuration_index).await.unwrap();
    let now = leader(&cluster, &client).await.configuration;
    assert_eq!(now.member(present.node), Some(&moved));

    // It is not where another node is.
    let other = cluster.nodes.iter().find(|node| node.id != present.node.get()).unwrap();
    let elsewhere = member(&own.name, &other.address, own.incarnation);
    let target = with(&now, &[(present.node.get(), elsewhere)]);
    let why = refused(&cluster, &client, &target).await;
    assert!(why.contains(&format!("expected node {}", present.node)), "{why}");
}

#[tokio::test]
async fn another_clusters_node_is_not_met() {
    let cluster = cluster().await;
    let client = cluster.client();
    let mut foreign = Cluster::prepare(4);
    foreign.nodes[3].start();
    let stranger = foreign.answer_of(&foreign.nodes[3]).await;
    let address = foreign.nodes[3].address.clone();
    let present = leader(&cluster, &client).await.configuration;
    let target = with(&present, &[(4, member("n4", &address, stranger.incarnation))]);
    let why = refused(&cluster, &client, &target).await;
    assert!(why.contains(&foreign.authority.cluster().to_string()), "both are named: {why}");
    let error = put(&client, "k", "v").await;
    assert!(error.is_ok(), "{}", error.map_or_else(|error| reason(&error), |_| String::new()));
}
