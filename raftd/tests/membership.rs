//! Members come and go under load, with real processes killed in the middle of it.
#![allow(clippy::unwrap_used)]

mod kit;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use client::{Client, ClientError, ErrorCode};
use consensus::{Configuration, Majority, Member, NodeId, Voters};
use kit::load::{Load, put};
use kit::{Cluster, PATIENCE, reason};

/// Three founders with a leader, and two more nodes that are ready to be added.
async fn cluster() -> Cluster {
    let mut cluster = Cluster::prepare(5);
    for node in &mut cluster.nodes {
        node.start();
    }
    let record = cluster.record_of(3).await;
    let client = cluster.client();
    for node in &cluster.nodes[..3] {
        client.bootstrap(&node.address, record.encode()).await.unwrap();
    }
    for node in &cluster.nodes[3..] {
        cluster.answer_of(node).await;
        let joined = client.join(&node.address, record.encode()).await;
        assert!(joined.is_ok(), "{joined:?} {}", node.log());
    }
    current(&cluster).await;
    cluster
}

fn id(number: u64) -> NodeId {
    NodeId::new(number).unwrap()
}

/// The configuration of the leader, and where it stands.
async fn current(cluster: &Cluster) -> (Configuration, u64) {
    let client = cluster.client();
    let began = Instant::now();
    loop {
        let statuses = cluster.statuses(&client).await;
        let leads = |status: &&client::NodeStatus| status.leader == Some(status.node);
        let leader = statuses.iter().flatten().filter(leads).max_by_key(|status| status.term);
        if let Some(leader) = leader {
            return (leader.configuration.clone(), leader.configuration_index);
        }
        assert!(began.elapsed() < PATIENCE, "no leader");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A configuration of these voters and learners.
async fn target(cluster: &Cluster, voters: &[u64], learners: &[u64]) -> Configuration {
    let mut members = BTreeMap::new();
    for number in voters.iter().chain(learners) {
        let (known, _) = current(cluster).await;
        let member = match known.member(id(*number)) {
            Some(member) => member.clone(),
            None => {
                let node = &cluster.nodes[usize::try_from(*number).unwrap() - 1];
                let status = cluster.answer_of(node).await;
                let name = format!("n{number}");
                Member { incarnation: status.incarnation, name, address: node.address.clone() }
            }
        };
        members.insert(id(*number), member);
    }
    let ids = |numbers: &[u64]| numbers.iter().map(|n| id(*n)).collect::<BTreeSet<_>>();
    let voters = Voters::Stable(Majority::new(ids(voters)));
    Configuration::new(voters, ids(learners), members).unwrap()
}

/// Asks until the cluster is as wanted, whoever leads meanwhile.
async fn change(cluster: &Cluster, client: &Client, target: &Configuration) {
    let began = Instant::now();
    loop {
        let (now, index) = current(cluster).await;
        if now == *target {
            return;
        }
        if let Err(error) = client.reconfigure(target, index).await {
            assert!(began.elapsed() < PATIENCE, "{}", reason(&error));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test]
async fn from_three_voters_to_five_and_back_under_load() {
    let cluster = cluster().await;
    let client = cluster.client();
    let load = Load::start(&cluster, 4);
    change(&cluster, &client, &target(&cluster, &[1, 2, 3], &[4, 5]).await).await;
    change(&cluster, &client, &target(&cluster, &[1, 2, 3, 4, 5], &[]).await).await;
    load.progress(&cluster, 100).await;
    change(&cluster, &client, &target(&cluster, &[1, 2, 3], &[4, 5]).await).await;
    load.progress(&cluster, 100).await;
    load.finish().await.verify(&cluster).await;
}

#[tokio::test]
async fn a_leader_killed_in_the_middle_of_a_joint_change_loses_nothing() {
    let mut cluster = cluster().await;
    let client = cluster.client();
    change(&cluster, &client, &target(&cluster, &[1, 2, 3], &[4, 5]).await).await;
    let load = Load::start(&cluster, 4);
    for (voters, learners) in [([1, 2, 3, 4, 5].as_slice(), [].as_slice()), (&[1, 2, 3], &[4, 5])] {
        load.progress(&cluster, 50).await;
        let leader = cluster.leader().await;
        let wanted = target(&cluster, voters, learners).await;
        let (_, index) = current(&cluster).await;
        let asked = {
            let (client, wanted) = (client.clone(), wanted.clone());
            tokio::spawn(async move { client.reconfigure(&wanted, index).await })
        };
        tokio::time::sleep(Duration::from_millis(1)).await;
        cluster.nodes[leader].kill();
        load.progress(&cluster, 20).await;
        // Done, refused or unknown: whatever it was told, the next leader knows.
        let _ = asked.await.unwrap();
        cluster.nodes[leader].start();
        change(&cluster, &client, &wanted).await;
    }
    load.finish().await.verify(&cluster).await;
}

#[tokio::test]
async fn a_dead_node_is_replaced_in_one_change_and_a_removed_one_ends_with_77() {
    let mut cluster = cluster().await;
    let client = cluster.client();
    let load = Load::start(&cluster, 4);
    let dead = (cluster.leader().await + 1) % 3;
    cluster.nodes[dead].kill();
    let stay: Vec<u64> = (1..=3).filter(|number| *number != dead as u64 + 1).collect();
    let founders: Vec<u64> = vec![1, 2, 3];
    change(&cluster, &client, &target(&cluster, &founders, &[4]).await).await;
    let voters: Vec<u64> = stay.iter().copied().chain([4]).collect();
    change(&cluster, &client, &target(&cluster, &voters, &[]).await).await;
    load.progress(&cluster, 50).await;

    // Now the leader itself goes; it leads until that is committed, and then ends.
    let leader = cluster.leader().await;
    let rest: Vec<u64> = voters.iter().copied().filter(|n| *n != leader as u64 + 1).collect();
    change(&cluster, &client, &target(&cluster, &rest, &[]).await).await;
    assert_eq!(cluster.nodes[leader].ended().code(), Some(77));
    let log = cluster.nodes[leader].log();
    assert!(log.contains("this node was removed from the cluster by log entry"), "{log}");
    load.progress(&cluster, 50).await;
    load.finish().await;
}

#[tokio::test]
async fn leadership_goes_where_it_is_wanted_and_a_stopping_leader_hands_it_over() {
    let mut cluster = Cluster::start(3).await;
    let client = cluster.client();
    for _ in 0..3 {
        let leader = cluster.leader().await;
        let to = (leader + 1) % 3;
        let moved = client.transfer(id(cluster.nodes[to].id)).await;
        assert!(moved.is_ok(), "{moved:?} {}", cluster.nodes[leader].log());
        assert_eq!(cluster.leader().await, to);
    }
    let leader = cluster.leader().await;
    cluster.nodes[leader].signal(rustix::process::Signal::TERM);
    assert!(cluster.nodes[leader].ended().success());
    assert!(cluster.nodes[leader].log().contains("handing leadership over"));
    // The connection to the node that is gone may still look whole: then the answer is "unknown",
    // and a put may be repeated.
    let after = loop {
        match put(&client, "after", "1").await {
            Err(ClientError::Unknown { .. }) => {}
            decided => break decided,
        }
    };
    after.unwrap();
}

#[tokio::test]
async fn changes_that_are_not_safe_are_refused_with_the_reason() {
    let mut cluster = cluster().await;
    let client = cluster.client();
    let refused = |error: ClientError| match error {
        ClientError::Refused(reply) => {
            assert_eq!(reply.code, ErrorCode::Forbidden);
            reply.message
        }
        other => panic!("not refused: {other}"),
    };
    let (_, index) = current(&cluster).await;
    let stranger = target(&cluster, &[1, 2, 3, 4], &[]).await;
    let why = refused(client.reconfigure(&stranger, index).await.unwrap_err());
    assert!(why.contains("must be a learner first"), "{why}");
    let why = refused(client.reconfigure(&stranger, index + 7).await.unwrap_err());
    assert!(why.contains("changed meanwhile"), "{why}");

    let leader = cluster.leader().await;
    let (dead, alive) = ((leader + 1) % 3, (leader + 2) % 3);
    cluster.nodes[dead].kill();
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let pair = [leader as u64 + 1, dead as u64 + 1];
    let (_, index) = current(&cluster).await;
    let wanted = target(&cluster, &pair, &[]).await;
    let why = refused(client.reconfigure(&wanted, index).await.unwrap_err());
    assert!(why.contains("majority of the voters to be does not answer"), "{why} ({alive})");
}
