//! Bytes of the log that rot or go missing: nothing that was acknowledged is lost, the node says
//! what is wrong, and the cluster heals it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use client::{Client, NodeStatus};
use consensus::Incarnation;
use fixtures::load::{get, put};
use fixtures::{Cluster, PATIENCE};

async fn put_many(client: &Client, from: u64, to: u64) {
    for number in from..to {
        put(client, &format!("key/{number:04}"), &"v".repeat(200)).await.unwrap();
    }
}

async fn have_all(cluster: &Cluster, count: u64) {
    let client = cluster.client();
    for number in 0..count {
        let found = get(&client, &format!("key/{number:04}")).await.unwrap();
        assert_eq!(found, Some("v".repeat(200)), "key {number}");
    }
}

/// Returns the largest file of a log's database with this ending.
pub(crate) fn largest(data: &Path, ending: &str) -> PathBuf {
    let files = fs::read_dir(data.join("log")).unwrap().map(|file| file.unwrap().path());
    let files = files.filter(|file| file.extension().is_some_and(|found| found == ending));
    files.max_by_key(|file| fs::metadata(file).unwrap().len()).unwrap()
}

pub(crate) fn flip_in_the_middle(file: &Path) {
    let mut bytes = fs::read(file).unwrap();
    let middle = bytes.len() / 2;
    for byte in &mut bytes[middle..middle + 8] {
        *byte ^= 0x5a;
    }
    fs::write(file, bytes).unwrap();
}

/// A follower, and then the node that has most of the log and so would lead.
#[tokio::test]
async fn flipped_bytes_in_the_write_ahead_log_are_repaired_from_another_member() {
    let mut cluster = Cluster::start(3).await;
    let client = cluster.client();
    let leader = cluster.leader().await;
    put_many(&client, 0, 120).await;
    cluster.converged().await;

    let follower = (leader + 1) % 3;
    cluster.nodes[follower].kill();
    flip_in_the_middle(&largest(&cluster.nodes[follower].data, "log"));
    put_many(&client, 120, 150).await;
    cluster.nodes[follower].start();
    cluster.nodes[follower].logged("repaired with a copy from").await;
    cluster.converged().await;
    let status = cluster.answer_of(&cluster.nodes[follower]).await;
    assert!(status.mended.contains("repaired with a copy from"), "{status:?}");

    let other = (leader + 2) % 3;
    cluster.nodes[other].kill();
    put_many(&client, 150, 200).await;
    let lead = cluster.leader().await;
    for node in [leader, follower] {
        cluster.nodes[node].kill();
    }
    flip_in_the_middle(&largest(&cluster.nodes[lead].data, "log"));
    for node in 0..3 {
        cluster.nodes[node].start();
    }
    cluster.nodes[lead].logged("repaired with a copy from").await;
    cluster.converged().await;
    have_all(&cluster, 200).await;
}

#[tokio::test]
async fn flipped_bytes_in_a_table_are_repaired_from_another_member() {
    let mut cluster = Cluster::start(3).await;
    let client = cluster.client();
    let leader = cluster.leader().await;
    put_many(&client, 0, 120).await;
    cluster.converged().await;
    let follower = (leader + 1) % 3;
    // Starting moves what the write-ahead log holds to a table.
    cluster.nodes[follower].kill();
    cluster.nodes[follower].start();
    cluster.converged().await;
    cluster.nodes[follower].kill();
    flip_in_the_middle(&largest(&cluster.nodes[follower].data, "sst"));
    put_many(&client, 120, 150).await;
    cluster.nodes[follower].start();
    cluster.nodes[follower].logged("repaired with a copy from").await;
    cluster.converged().await;
    have_all(&cluster, 150).await;
}

/// What is left of a shortened log looks whole. The node gives up its name, and is taken in again.
#[tokio::test]
async fn a_follower_that_lost_the_end_of_its_log_neither_votes_nor_counts() {
    let mut cluster = Cluster::start(3).await;
    let client = cluster.client();
    let leader = cluster.leader().await;
    put_many(&client, 0, 120).await;
    cluster.converged().await;
    let follower = (leader + 1) % 3;
    let before = client.status_of(&cluster.nodes[follower].address).await.unwrap().incarnation;
    cluster.nodes[follower].kill();
    let file = largest(&cluster.nodes[follower].data, "log");
    let bytes = fs::read(&file).unwrap();
    fs::write(&file, &bytes[..bytes.len() - 3_000]).unwrap();
    cluster.nodes[follower].start();
    cluster.nodes[follower].logged("when it was last written").await;
    cluster.converged().await;
    let after = client.status_of(&cluster.nodes[follower].address).await.unwrap().incarnation;
    assert_ne!(before, after, "it has another name");
    have_all(&cluster, 120).await;
}

/// Waits until the node has another name than `before`, and all have the same log again.
async fn came_back(cluster: &Cluster, place: usize, before: Incarnation) -> Incarnation {
    cluster.converged().await;
    let after = incarnation(cluster, place).await;
    assert_ne!(before, after, "it has another name");
    after
}

async fn incarnation(cluster: &Cluster, place: usize) -> Incarnation {
    cluster.answer_of(&cluster.nodes[place]).await.incarnation
}

/// The others have compacted what is damaged, and go on without it: so can the node, as one that
/// has forgotten it.
#[tokio::test]
async fn a_damaged_entry_that_nobody_has_any_more_is_forgotten() {
    is_forgotten(|data| flip_in_the_middle(&largest(data, "log"))).await;
}

/// It took itself for the only voter, and ended at every start.
#[tokio::test]
async fn a_node_whose_only_configuration_is_damaged_knows_the_founders() {
    is_forgotten(|data| {
        // The founding moved the first entry, and no other, to a table.
        let table = largest(data, "sst");
        let mut bytes = fs::read(&table).unwrap();
        bytes[20] ^= 1;
        fs::write(table, bytes).unwrap();
    })
    .await;
}

async fn is_forgotten(damage: impl Fn(&Path)) {
    let mut cluster = Cluster::prepare(3);
    for node in &cluster.nodes[..2] {
        node.configure("[limits]\nlog_keep_entries_max = 20\npersist_interval_s = 1\n");
    }
    cluster.nodes.iter_mut().for_each(fixtures::Node::start);
    cluster.bootstrap().await;
    let client = cluster.client();
    put_many(&client, 0, 120).await;
    cluster.converged().await;
    // What a leader has not answered when it is killed is unknown.
    if cluster.leader().await == 2 {
        client.transfer(consensus::NodeId::new(1).unwrap()).await.unwrap();
    }
    let before = incarnation(&cluster, 2).await;
    cluster.nodes[2].kill();
    damage(&cluster.nodes[2].data);
    let began = Instant::now();
    let mut number = 120;
    let compacted = |status: Option<NodeStatus>| status.is_some_and(|status| status.first > 120);
    loop {
        let (one, other) = (&cluster.nodes[0], &cluster.nodes[1]);
        if compacted(one.status(&client).await) && compacted(other.status(&client).await) {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "the logs are not compacted");
        put_many(&client, number, number + 20).await;
        number += 20;
    }
    cluster.nodes[2].start();
    assert_eq!(cluster.nodes[2].ended().code(), Some(75), "{}", cluster.nodes[2].log());
    cluster.nodes[2].logged("and no other member has a copy").await;
    cluster.nodes[2].start();
    cluster.nodes[2].logged("this node begins anew, and gets all from the others").await;
    came_back(&cluster, 2, before).await;
    have_all(&cluster, number).await;
}

fn manifest(data: &Path) -> PathBuf {
    let files = fs::read_dir(data.join("log")).unwrap().map(|file| file.unwrap().path());
    let is_one = |path: &PathBuf| path.to_str().unwrap().contains("MANIFEST-");
    files.filter(is_one).max().unwrap()
}

/// RocksDB would make an empty log in the place of one whose CURRENT is gone.
#[tokio::test]
async fn a_log_that_cannot_be_opened_is_forgotten_and_its_node_comes_back() {
    let mut cluster = Cluster::start(3).await;
    let client = cluster.client();
    let (mut count, mut before) = (0, incarnation(&cluster, 1).await);
    for damage in ["CURRENT", "no MANIFEST", "another MANIFEST", "no table", "no directory"] {
        put_many(&client, count, count + 20).await;
        count += 20;
        cluster.converged().await;
        cluster.nodes[1].kill();
        let data = cluster.nodes[1].data.clone();
        match damage {
            "CURRENT" => fs::remove_file(data.join("log/CURRENT")).unwrap(),
            "no MANIFEST" => fs::remove_file(manifest(&data)).unwrap(),
            "another MANIFEST" => flip_in_the_middle(&manifest(&data)),
            "no table" => {
                // Starting moves what the write-ahead log holds to a table.
                cluster.nodes[1].start();
                cluster.converged().await;
                cluster.nodes[1].kill();
                fs::remove_file(largest(&data, "sst")).unwrap();
            }
            _ => fs::remove_dir_all(data.join("log")).unwrap(),
        }
        cluster.nodes[1].start();
        cluster.nodes[1].logged("its log is lost").await;
        before = came_back(&cluster, 1, before).await;
        fs::remove_file(cluster.nodes[1].directory.join("log")).unwrap();
    }
    have_all(&cluster, count).await;
}

#[tokio::test]
async fn a_node_alone_that_lost_its_log_says_so_and_changes_nothing() {
    let mut cluster = Cluster::start(1).await;
    put_many(&cluster.client(), 0, 20).await;
    cluster.nodes[0].kill();
    let data = cluster.nodes[0].data.clone();
    let (kept, current) = (data.join("kept"), data.join("log/CURRENT"));
    fs::rename(&current, &kept).unwrap();
    for _ in 0..2 {
        cluster.nodes[0].start();
        assert_eq!(cluster.nodes[0].ended().code(), Some(65), "{}", cluster.nodes[0].log());
    }
    assert!(cluster.nodes[0].log().contains("the log is lost: "), "{}", cluster.nodes[0].log());
    // Who finds the file again has lost nothing.
    fs::rename(&kept, &current).unwrap();
    cluster.nodes[0].start();
    have_all(&cluster, 20).await;
}

/// The first member that is asked has other entries at the damaged places, which were never
/// committed; the next one has the copies, and was not asked: the node gave up its name.
#[tokio::test]
async fn a_wrong_copy_of_one_member_does_not_keep_the_right_one_of_another_away() {
    use bytes::Bytes;
    use state_machine::KvCommand;
    use std::time::Duration;
    let mut cluster = Cluster::start(3).await;
    let client = cluster.client();
    put_many(&client, 0, 20).await;
    cluster.converged().await;
    let began = Instant::now();
    while cluster.leader().await != 0 {
        assert!(began.elapsed() < PATIENCE);
        let _ = client.transfer(consensus::NodeId::new(1).unwrap()).await;
    }
    cluster.converged().await;
    // Entries that node 1 alone has.
    let alone = cluster.client_of(&[0], Duration::from_secs(2));
    get(&alone, "key/0000").await.unwrap();
    cluster.nodes[1].kill();
    cluster.nodes[2].kill();
    let bodies = (0..400)
        .map(|number| {
            let (key, value) =
                (Bytes::from(format!("lost/{number}")), Bytes::from("x".repeat(200)));
            KvCommand::Put { key, value }.encode()
        })
        .collect();
    let lost = alone.propose_all(bodies).await;
    assert!(lost.iter().all(Result::is_err), "nobody else has them");
    cluster.nodes[0].kill();
    // The others go on without it.
    cluster.nodes[1].start();
    cluster.nodes[2].start();
    put_many(&cluster.client_of(&[1, 2], PATIENCE), 20, 140).await;
    cluster.converged_on(&[1, 2]).await;
    let before = incarnation(&cluster, 2).await;
    cluster.nodes[1].kill();
    cluster.nodes[2].kill();
    flip_in_the_middle(&largest(&cluster.nodes[2].data, "log"));
    cluster.nodes[0].start();
    cluster.nodes[0].logged("ready").await;
    cluster.nodes[2].start();
    cluster.nodes[1].start();
    cluster.nodes[2].logged("repaired with a copy from").await;
    assert_eq!(incarnation(&cluster, 2).await, before, "it kept its name");
}
