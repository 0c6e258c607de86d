//! A node that missed its own removal is told of it, and stops.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use client::{ClientError, Consistency, ErrorCode};
use consensus::{Configuration, Majority, NodeId, Voters};
use fixtures::load::put;
use fixtures::{Cluster, PATIENCE, reason};
use state_machine::{SystemAnswer, SystemQuery};

/// Longer than those who leave are talked to.
const FAREWELL: Duration = Duration::from_secs(6);

#[tokio::test]
async fn a_node_that_slept_through_its_removal_stops_and_says_which_entry_removed_it() {
    let mut cluster = Cluster::start(4).await;
    let client = cluster.client();
    put(&client, "k", "v").await.unwrap();
    cluster.converged().await;
    let leader = cluster.leader().await;
    let gone = (leader + 1) % 4;
    cluster.nodes[gone].kill();
    let id = NodeId::new(cluster.nodes[gone].id).unwrap();

    let status = client.status_of(&cluster.nodes[leader].address).await.unwrap();
    let before = status.configuration.clone();
    let mut members = before.members().clone();
    members.remove(&id);
    let voters = Voters::Stable(Majority::new(members.keys().copied()));
    let target = Configuration::new(voters, BTreeSet::new(), BTreeMap::clone(&members)).unwrap();
    client.reconfigure(&target, status.configuration_index).await.unwrap();
    tokio::time::sleep(FAREWELL).await;

    let answer = client.system(&SystemQuery::Tombstones, Consistency::Linearizable).await.unwrap();
    let SystemAnswer::Tombstones(stones) = answer else { panic!("{answer:?}") };
    assert_eq!(stones.iter().map(|stone| stone.id).collect::<Vec<_>>(), [id]);
    let index = stones[0].index;

    // Its id is not given to anybody again, by hand neither.
    let status = client.status_of(&cluster.nodes[cluster.leader().await].address).await.unwrap();
    let again = client.reconfigure(&before, status.configuration_index).await;
    let Err(ClientError::Refused(reply)) = again else { panic!("not refused: {again:?}") };
    assert_eq!(reply.code, ErrorCode::Forbidden);
    let said = format!("node {id} was removed by log entry {index}, and an id is never used again");
    assert!(reply.message.starts_with(&said), "{}", reply.message);

    cluster.nodes[gone].start();
    let ended = cluster.nodes[gone].ended();
    assert_eq!(ended.code(), Some(77), "{}", cluster.nodes[gone].log());
    let said = format!("node {id} was removed from the cluster by log entry {index}");
    let log = cluster.nodes[gone].log();
    assert!(log.contains(&said), "{log}");
    assert!(log.contains("\nstopped: ") && !log.contains("ERROR"), "it was wanted: {log}");
    assert!(!log.contains("\nerror: "), "{log}");
    put(&client, "k", "w").await.unwrap();
}

/// It finds everybody still willing to talk to it, and asks for votes only those that it knows for
/// voters: none of them leads, and none of them has a reason to time out.
#[tokio::test]
async fn a_node_that_comes_back_during_the_farewell_is_told_by_followers_when_that_is_over() {
    let mut cluster = Cluster::start(4).await;
    let client = cluster.client();
    put(&client, "k", "v").await.unwrap();
    cluster.converged().await;
    let leader = cluster.leader().await;
    let (gone, learns) = ((leader + 1) % 4, (leader + 2) % 4);
    let id = |place: usize| NodeId::new(cluster.nodes[place].id).unwrap();
    let (gone_id, learns_id) = (id(gone), id(learns));
    reconfigure(&cluster, |ids, learners| {
        ids.remove(&learns_id);
        learners.insert(learns_id);
    })
    .await;
    cluster.converged().await;
    cluster.nodes[gone].kill();
    reconfigure(&cluster, |ids, learners| {
        learners.clear();
        ids.insert(learns_id);
        ids.remove(&gone_id);
    })
    .await;
    let began = Instant::now();
    while let Err(error) = client.transfer(learns_id).await {
        assert!(began.elapsed() < PATIENCE, "{}", reason(&error));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    cluster.nodes[gone].start();
    let ended = cluster.nodes[gone].ended();
    assert_eq!(ended.code(), Some(77), "{}", cluster.nodes[gone].log());
    let said = format!("node {gone_id} was removed from the cluster by log entry");
    assert!(cluster.nodes[gone].log().contains(&said), "{}", cluster.nodes[gone].log());
}

/// Changes voters and learners of the configuration in force, whoever leads.
async fn reconfigure(
    cluster: &Cluster,
    change: impl Fn(&mut BTreeSet<NodeId>, &mut BTreeSet<NodeId>),
) {
    let client = cluster.client();
    let began = Instant::now();
    loop {
        assert!(began.elapsed() < PATIENCE, "the members cannot be changed");
        let leader = &cluster.nodes[cluster.leader().await].address;
        let Ok(status) = client.status_of(leader).await else { continue };
        let before = status.configuration;
        let (mut ids, mut learners) = (before.voters().iter().collect(), before.learners().clone());
        change(&mut ids, &mut learners);
        let mut members = before.members().clone();
        members.retain(|id, _| ids.contains(id) || learners.contains(id));
        let voters = Voters::Stable(Majority::new(ids));
        let target = Configuration::new(voters, learners, members).unwrap();
        let done = target == before && status.commit >= status.configuration_index;
        if done || client.reconfigure(&target, status.configuration_index).await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
