//! Disks of too many members are full: data is refused early and by name, by each leader, until
//! there is room; all else goes on.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use bytes::Bytes;
use client::{Client, Consistency};
use fixtures::PATIENCE;
use fixtures::load::{get, put};
use state_machine::{KvCommand, SystemAnswer, SystemQuery};

use crate::small_disks::{self, put_until_refused, put_when_there_is_room};

/// Waits until something is so of the alarms in the log.
async fn alarmed(client: &Client, wanted: &[usize]) {
    let wanted: BTreeSet<u64> = wanted.iter().map(|place| *place as u64 + 1).collect();
    let began = Instant::now();
    loop {
        let found = client.system(&SystemQuery::Alarms, Consistency::Linearizable).await;
        if let Ok(SystemAnswer::Alarms { items, .. }) = &found
            && items.iter().map(|alarm| alarm.id.get()).collect::<BTreeSet<_>>() == wanted
        {
            assert!(items.iter().all(|alarm| alarm.name == format!("n{}", alarm.id)), "{items:?}");
            return;
        }
        assert!(began.elapsed() < PATIENCE, "wanted {wanted:?}: {found:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn delete(client: &Client, key: &str) {
    let began = Instant::now();
    loop {
        let key = Bytes::copy_from_slice(key.as_bytes());
        match client.propose(KvCommand::Delete { key }.encode()).await {
            Ok(_) => return,
            Err(error) => assert!(began.elapsed() < PATIENCE, "deletions go on: {error}"),
        }
    }
}

#[tokio::test]
async fn a_leader_without_room_hands_over_to_one_that_has_some() {
    let Some((cluster, disks)) = small_disks::cluster(3).await else { return };
    let client = cluster.client();
    put(&client, "before", "1").await.unwrap();
    for node in &cluster.nodes {
        node.logged("is held in reserve").await;
    }
    let full = cluster.leader().await;
    disks[full].fill_up();
    cluster.nodes[full].logged("so leadership is handed over").await;
    put_when_there_is_room(&client, "after").await;
    assert_ne!(cluster.leader().await, full);
    alarmed(&client, &[full]).await;
    disks[full].free();
    alarmed(&client, &[]).await;
}

#[tokio::test]
async fn full_disks_of_too_many_others_are_named_by_each_leader_until_there_is_room() {
    let Some((mut cluster, disks)) = small_disks::cluster(5).await else { return };
    let client = cluster.client();
    for number in 0..10 {
        put(&client, &format!("key/{number}"), "1").await.unwrap();
    }
    // Without its reserve a node that has not the last byte takes not even a deletion.
    for node in &cluster.nodes {
        node.logged("is held in reserve").await;
    }
    let leader = cluster.leader().await;
    let others: Vec<usize> = (0..5).filter(|place| *place != leader).collect();
    let (full, roomy) = (&others[..3], others[3]);

    // Two of five stop nobody.
    for place in &full[..2] {
        disks[*place].fill_up();
    }
    alarmed(&client, &full[..2]).await;
    put(&client, "two are full", "1").await.unwrap();
    disks[full[2]].fill_up();
    let why = put_until_refused(&client).await;
    for place in full {
        assert!(why.contains(&format!("n{}", place + 1)), "{why}");
    }
    assert!(!why.contains(&format!("n{}", roomy + 1)), "{why}");
    assert!(why.contains("reads and deletions go on"), "{why}");
    alarmed(&client, full).await;
    delete(&client, "key/3").await;
    assert_eq!(get(&client, "key/3").await.unwrap(), None);
    assert_eq!(get(&client, "key/4").await.unwrap().as_deref(), Some("1"));

    // The next leader has room itself, and knows it from the log.
    let began = Instant::now();
    while cluster.leader().await != roomy {
        let to = consensus::NodeId::new(cluster.nodes[roomy].id).unwrap();
        let _ = client.transfer(to).await;
        assert!(began.elapsed() < PATIENCE, "leadership is not handed over");
    }
    let status = cluster.nodes[roomy].status(&client).await.unwrap();
    let named: BTreeSet<usize> = status.shortage.iter().map(|id| id.get() as usize - 1).collect();
    assert_eq!(named, full.iter().copied().collect(), "{status:?}");
    assert!(status.no_room.is_empty(), "{status:?}");
    put_until_refused(&client).await;
    cluster.nodes[roomy].kill();
    let next = cluster.leader().await;
    assert_ne!(next, roomy);
    put_until_refused(&client).await;
    delete(&client, "key/5").await;
    cluster.nodes[roomy].start();

    for place in full {
        disks[*place].free();
    }
    put_when_there_is_room(&client, "again").await;
    alarmed(&client, &[]).await;
    assert_eq!(get(&client, "key/5").await.unwrap(), None);
    for node in &cluster.nodes {
        assert!(node.is_running() && !node.log().contains("this node stops"), "{}", node.log());
    }
}
