//! The data directory is removed, moved or replaced under a running node: it ends by itself, and
//! does not count with files that nobody can open again.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fixtures::load::{get, put};
use fixtures::{Cluster, PATIENCE};

/// Removes a directory in which the node may still make files.
fn remove_all(directory: &Path) {
    let began = Instant::now();
    while let Err(error) = fs::remove_dir_all(directory) {
        let was_filled = error.kind() == ErrorKind::DirectoryNotEmpty;
        assert!(was_filled && began.elapsed() < PATIENCE, "{error}");
    }
}

/// Removes all that is in a directory, as `rm -rf DIR/*` does.
fn empty(directory: &Path) {
    for child in fs::read_dir(directory).unwrap() {
        let path = child.unwrap().path();
        if path.is_dir() { remove_all(&path) } else { fs::remove_file(path).unwrap() }
    }
}

/// The write-ahead logs in the log's directory.
fn write_ahead_logs(data: &Path) -> Vec<PathBuf> {
    let all = fs::read_dir(data.join("log")).unwrap().map(|child| child.unwrap().path());
    all.filter(|path| path.extension().is_some_and(|it| it == "log")).collect()
}

/// Puts a file with the same contents in the place of one.
fn replace_by_copy(file: &Path) {
    let copy = file.with_extension("copy");
    fs::copy(file, &copy).unwrap();
    fs::rename(copy, file).unwrap();
}

fn remove_manifests(database: &Path) {
    for child in fs::read_dir(database).unwrap() {
        let path = child.unwrap().path();
        if path.to_string_lossy().contains("MANIFEST-") {
            fs::remove_file(path).unwrap();
        }
    }
}

/// It was bootstrapped, counted, and ended.
#[tokio::test]
async fn a_node_without_a_history_ends_as_well_also_while_it_is_asked_again_and_again() {
    let mut cluster = Cluster::prepare(1);
    cluster.nodes[0].start();
    let (client, address) = (cluster.client(), cluster.nodes[0].address.clone());
    let began = Instant::now();
    while client.status_of(&address).await.is_err() {
        assert!(began.elapsed() < PATIENCE, "it does not answer");
    }
    remove_all(&cluster.nodes[0].data);
    let asking = tokio::spawn(async move {
        loop {
            let _ = client.status_of(&address).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let mut node = cluster.nodes.remove(0);
    let (ended, node) = tokio::task::spawn_blocking(move || (node.ended(), node)).await.unwrap();
    asking.abort();
    assert_eq!(ended.code(), Some(74), "{}", node.log());
    assert!(node.log().contains("LOCK was removed while this node was running"), "{}", node.log());
}

/// The follower and the leader were HEALTHY for as long as they ran, and acknowledged writes.
#[tokio::test]
async fn a_node_ends_whose_directory_goes_away_under_it() {
    type Removal = (&'static str, fn(&Path));
    let removals: [Removal; 12] = [
        ("LOCK was removed", empty),
        ("LOCK was removed", remove_all),
        ("is another directory than before", |data| {
            let copy = data.with_extension("copy");
            let copied = std::process::Command::new("cp").arg("-a").args([data, &copy]).status();
            assert!(copied.unwrap().success());
            remove_all(data);
            fs::rename(copy, data).unwrap();
        }),
        ("tail was removed", |data| fs::remove_file(data.join("tail")).unwrap()),
        ("superblock was removed", |data| fs::remove_file(data.join("superblock")).unwrap()),
        // As restoring a backup over it does. Alive and HEALTHY; the next start was that of a copy.
        ("superblock was replaced by a copy", |data| replace_by_copy(&data.join("superblock"))),
        ("tail was removed or replaced while it is in use", |data| {
            replace_by_copy(&data.join("tail"));
        }),
        ("superblock is no file any more", |data| {
            fs::remove_file(data.join("superblock")).unwrap();
            fs::create_dir(data.join("superblock")).unwrap();
        }),
        ("CURRENT was removed", |data| remove_all(&data.join("state"))),
        ("was removed or replaced while it is in use", |data| remove_manifests(&data.join("log"))),
        ("was removed or replaced while it is in use", |data| {
            remove_manifests(&data.join("state"));
        }),
        ("was removed, and so was its second copy", |data| {
            for name in ["bootstrap", "bootstrap-second"] {
                fs::remove_file(data.join(name)).unwrap();
            }
        }),
    ];
    for (number, (said, remove)) in removals.into_iter().enumerate() {
        let mut cluster = Cluster::start(3).await;
        let client = cluster.client();
        put(&client, "before", "1").await.unwrap();
        let leader = cluster.leader().await;
        let place = if number % 2 == 0 { leader } else { (leader + 1) % 3 };
        let node = &mut cluster.nodes[place];
        remove(&node.data);
        assert_eq!(node.ended().code(), Some(74), "{said}: {}", node.log());
        assert!(node.log().contains(said), "{said}: {}", node.log());
        // The one under way when the leader ended may be unknown.
        let began = Instant::now();
        while put(&client, "after", "1").await.is_err() {
            assert!(began.elapsed() < PATIENCE, "{said}: nobody serves");
        }
    }
}

/// Both copies are gone, and the log is whole: to give that up was the advice, and would have cost
/// a node that is alone what it had acknowledged.
#[tokio::test]
async fn a_bootstrap_record_that_is_lost_is_put_back_from_another_member() {
    let mut cluster = Cluster::start(3).await;
    put(&cluster.client(), "before", "1").await.unwrap();
    cluster.nodes[0].kill();
    let copies = ["bootstrap", "bootstrap-second"].map(|name| cluster.nodes[0].data.join(name));
    copies.iter().for_each(|copy| fs::remove_file(copy).unwrap());
    cluster.nodes[0].start();
    assert_eq!(cluster.nodes[0].ended().code(), Some(65), "{}", cluster.nodes[0].log());
    let log = cluster.nodes[0].log();
    assert!(log.contains("bootstrap is damaged: it is missing"), "{log}");
    assert!(log.contains("put there the file of that name from any other member's"), "{log}");
    fs::copy(cluster.nodes[1].data.join("bootstrap"), &copies[0]).unwrap();
    cluster.nodes[0].start();
    cluster.converged().await;
    assert!(copies[1].exists(), "the second copy is made anew");
}

/// As a program does that rotates all logs of a machine, at midnight on all machines; or who puts
/// back what was saved. It ended all nodes, and took what they had acknowledged with it.
#[tokio::test]
async fn a_write_ahead_log_that_somebody_takes_away_is_written_anew_on_all_nodes_at_once() {
    type Way = (&'static str, fn(&Path));
    let ways: [Way; 4] = [
        ("has no write-ahead log any more", |log| {
            fs::rename(log, log.with_extension("log.1")).unwrap();
            fs::write(log, b"").unwrap();
        }),
        ("was removed or replaced while it is in use", |log| fs::remove_file(log).unwrap()),
        ("was removed or replaced while it is in use", |log| {
            let copy = log.with_extension("copy");
            fs::copy(log, &copy).unwrap();
            fs::rename(copy, log).unwrap();
        }),
        ("was cut short while it is in use", |log| {
            fs::copy(log, log.with_extension("log.1")).unwrap();
            fs::OpenOptions::new().write(true).truncate(true).open(log).unwrap();
        }),
    ];
    for (said, take_away) in ways {
        let mut cluster = Cluster::start(3).await;
        let client = cluster.client();
        for number in 0..100 {
            put(&client, &format!("before/{number}"), "1").await.unwrap();
        }
        // It is looked at once a second: how long it was, and by the hole that a cut leaves.
        tokio::time::sleep(Duration::from_secs(2)).await;
        for node in &cluster.nodes {
            write_ahead_logs(&node.data).iter().for_each(|log| take_away(log));
        }
        for node in &cluster.nodes {
            let log = node.logged("and a new one is begun").await;
            assert!(log.contains(said), "{said}: {log}");
        }
        put(&client, "after", "1").await.unwrap();
        // Power is lost.
        for node in &mut cluster.nodes {
            node.kill();
        }
        for node in &mut cluster.nodes {
            node.start();
        }
        cluster.converged().await;
        for key in ["before/0", "before/99", "after"] {
            assert_eq!(get(&client, key).await.unwrap().as_deref(), Some("1"), "{said}: {key}");
        }
    }
}
