//! The data directory is removed, moved or replaced under a running node: it ends by itself, and
//! does not count with files that nobody can open again.

use std::fs;
use std::path::Path;
use std::time::Instant;

use fixtures::load::put;
use fixtures::{Cluster, PATIENCE};

/// Removes all that is in a directory, as `rm -rf DIR/*` does.
fn empty(directory: &Path) {
    for child in fs::read_dir(directory).unwrap() {
        let path = child.unwrap().path();
        let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
        removed.unwrap();
    }
}

/// The names of files in the log's directory that end so.
fn of_the_log(data: &Path, end: &str) -> Vec<std::path::PathBuf> {
    let all = fs::read_dir(data.join("log")).unwrap().map(|child| child.unwrap().path());
    all.filter(|path| path.to_string_lossy().ends_with(end)).collect()
}

fn remove_manifests(database: &Path) {
    for child in fs::read_dir(database).unwrap() {
        let path = child.unwrap().path();
        if path.to_string_lossy().contains("MANIFEST-") {
            fs::remove_file(path).unwrap();
        }
    }
}

/// The follower and the leader were HEALTHY for as long as they ran, and acknowledged writes.
#[tokio::test]
async fn a_node_ends_whose_directory_goes_away_under_it() {
    type Removal = (&'static str, fn(&Path));
    let removals: [Removal; 12] = [
        ("LOCK was removed", empty),
        ("LOCK was removed", |data| fs::remove_dir_all(data).unwrap()),
        ("is another directory than before", |data| {
            let copy = data.with_extension("copy");
            let copied = std::process::Command::new("cp").arg("-a").args([data, &copy]).status();
            assert!(copied.unwrap().success());
            fs::remove_dir_all(data).unwrap();
            fs::rename(copy, data).unwrap();
        }),
        ("tail was removed", |data| fs::remove_file(data.join("tail")).unwrap()),
        ("superblock was removed", |data| fs::remove_file(data.join("superblock")).unwrap()),
        ("has no write-ahead log any more", |data| {
            of_the_log(data, ".log").iter().for_each(|path| fs::remove_file(path).unwrap());
        }),
        ("CURRENT was removed", |data| fs::remove_dir_all(data.join("state")).unwrap()),
        // As who takes it for a log to be rotated, and who writes a copy back.
        ("has no write-ahead log any more", |data| {
            for path in of_the_log(data, ".log") {
                fs::rename(&path, path.with_extension("log.1")).unwrap();
                fs::write(&path, b"").unwrap();
            }
        }),
        ("was removed or replaced while it is in use", |data| {
            for path in of_the_log(data, ".log") {
                let copy = data.join("copy");
                fs::copy(&path, &copy).unwrap();
                fs::rename(copy, path).unwrap();
            }
        }),
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
