//! Bytes of the log that rot or go missing: nothing that was acknowledged is lost, the node says
//! what is wrong, and the cluster heals it.

use std::fs;
use std::path::{Path, PathBuf};

use client::Client;
use fixtures::Cluster;
use fixtures::load::{get, put};

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
fn largest(data: &Path, ending: &str) -> PathBuf {
    let files = fs::read_dir(data.join("log")).unwrap().map(|file| file.unwrap().path());
    let files = files.filter(|file| file.extension().is_some_and(|found| found == ending));
    files.max_by_key(|file| fs::metadata(file).unwrap().len()).unwrap()
}

fn flip_in_the_middle(file: &Path) {
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
