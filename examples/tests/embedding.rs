//! Machines of one's own run as real clusters of three nodes, and keep what they acknowledged when
//! their leader is killed.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use client::{Client, Consistency, EntryKind, LogDetail};
use examples::cluster::Cluster;
use rustix::process::Signal;

/// Clusters run side by side, each with ports of its own.
fn start(program: &str, machine: &str) -> (Cluster, Client, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let addresses = fixtures::free_addresses(3);
    let port = addresses[0].rsplit(':').next().unwrap();
    let more = ["--raftd", program, "--machine", machine, "--port", port];
    let cluster = Cluster::start_with(directory.path(), 3, &more).unwrap();
    let client = cluster.client().unwrap();
    (cluster, client, directory)
}

async fn propose(client: &Client, command: &str) -> String {
    let answer = client.propose(Bytes::from(command.to_owned())).await.unwrap();
    String::from_utf8(answer.response.to_vec()).unwrap()
}

async fn query(client: &Client, question: &str) -> String {
    let question = Bytes::from(question.to_owned());
    let answer = client.query(question, Consistency::Linearizable).await.unwrap();
    String::from_utf8(answer.response.to_vec()).unwrap()
}

/// What the log shows of commands, as `raftctl log list` asks for it.
async fn told(client: &Client) -> Vec<Option<String>> {
    let page = client.read_log(None, 1, 100, LogDetail::Commands).await.unwrap();
    let commands = page.entries.into_iter().filter(|entry| entry.kind == EntryKind::Command);
    commands.map(|entry| entry.text).collect()
}

#[tokio::test]
async fn a_register_survives_its_leader() {
    let (cluster, client, _directory) = start(env!("CARGO_BIN_EXE_register"), "register");
    assert_eq!(propose(&client, "one").await, "");
    assert_eq!(propose(&client, "two").await, "one");
    cluster.kill_leader().unwrap();
    assert_eq!(query(&client, "").await, "two");
    cluster.stop().unwrap();
}

#[tokio::test]
async fn a_hashmap_survives_its_leader() {
    let (cluster, client, _directory) = start(env!("CARGO_BIN_EXE_hashmap"), "hashmap");
    assert_eq!(propose(&client, "a=1").await, "");
    assert_eq!(propose(&client, "a=2").await, "1");
    assert_eq!(propose(&client, "b=3").await, "");
    assert!(told(&client).await.iter().all(Option::is_none), "it has no words for its commands");
    cluster.kill_leader().unwrap();
    assert_eq!(query(&client, "a").await, "2");
    assert_eq!(propose(&client, "b").await, "3");
    assert_eq!(query(&client, "b").await, "");
    cluster.stop().unwrap();
}

#[tokio::test]
async fn a_lock_has_one_owner_and_ascending_tokens_across_leaders() {
    let (cluster, client, _directory) = start(env!("CARGO_BIN_EXE_lock"), "lock");
    let first = propose(&client, "acquire door alice 1000").await;
    let token = |answer: &str| answer.strip_prefix("acquired ").unwrap().parse::<u64>().unwrap();
    assert_eq!(propose(&client, "acquire door alice 1000").await, first, "renewed");
    assert!(propose(&client, "acquire door bob 10").await.starts_with("held by alice"));
    cluster.kill_leader().unwrap();
    // A question finds the new leader; a command might be lost with the old one, outcome unknown.
    assert!(query(&client, "door").await.starts_with("alice"));
    assert!(propose(&client, "acquire door bob 10").await.starts_with("held by alice"));
    assert_eq!(propose(&client, "release door bob").await, "refused: held by alice");
    assert_eq!(propose(&client, "release door alice").await, "released");
    let second = propose(&client, "acquire door bob 1").await;
    assert!(told(&client).await.contains(&Some("release door alice".to_owned())));
    assert!(token(&second) > token(&first));
    cluster.stop().unwrap();
}

#[tokio::test]
async fn a_log_of_ones_own_takes_the_place_of_the_built_in_one() {
    let (cluster, client, _directory) = start(env!("CARGO_BIN_EXE_audited"), "kv");
    let put = |value: &'static [u8]| {
        let (key, value) = (Bytes::from_static(b"k"), Bytes::from_static(value));
        state_machine::KvCommand::Put { key, value }.encode()
    };
    let first = client.propose(put(b"one")).await.unwrap();
    let killed = cluster.kill_leader().unwrap();
    // A question finds the new leader; a command might be lost with the old one, outcome unknown.
    let key = Bytes::from_static(b"k");
    let question = state_machine::KvQuery::Get { key }.encode();
    client.query(question, Consistency::Linearizable).await.unwrap();
    let second = client.propose(put(b"two")).await.unwrap();
    assert!(second.index > first.index);
    let names: Vec<String> = cluster.nodes().into_iter().map(|(name, _)| name).collect();
    let journal =
        |name: &String| std::fs::read_to_string(cluster.data(name).join("audit")).unwrap();
    let survivors: Vec<String> =
        names.iter().filter(|name| **name != killed).map(journal).collect();
    assert_eq!(survivors.len(), 2);
    for text in survivors {
        assert!(text.lines().any(|line| line.starts_with("entries 2@")), "{text}");
        assert!(text.lines().any(|line| line.starts_with("term 3 vote Some")), "{text}");
    }
    cluster.stop().unwrap();
}

/// Flips bytes in the middle of the write-ahead log; what is written to it meanwhile stays.
fn flip(log: &Path) {
    let files = fs::read_dir(log).unwrap().map(|file| file.unwrap().path());
    let journals = files.filter(|file| file.extension().is_some_and(|found| found == "log"));
    let journal = journals.max_by_key(|file| fs::metadata(file).unwrap().len()).unwrap();
    let file = fs::File::options().read(true).write(true).open(&journal).unwrap();
    let middle = file.metadata().unwrap().len() / 2;
    let mut bytes = [0; 8];
    file.read_exact_at(&mut bytes, middle).unwrap();
    file.write_all_at(&bytes.map(|byte| byte ^ 0x5a), middle).unwrap();
}

/// It refused each right copy, which counted as none: its node gave up its name.
#[tokio::test]
async fn a_log_of_ones_own_is_repaired_from_another_member() {
    let (cluster, client, _directory) = start(env!("CARGO_BIN_EXE_audited"), "kv");
    let value = Bytes::from(vec![b'v'; 200]);
    for number in 0..100 {
        let (key, value) = (Bytes::from(format!("key/{number}")), value.clone());
        client.propose(state_machine::KvCommand::Put { key, value }.encode()).await.unwrap();
    }
    let leader = cluster.status().unwrap()["leader"]["name"].as_str().unwrap().to_owned();
    let nodes = cluster.nodes();
    let (follower, address) = nodes.iter().find(|(name, _)| *name != leader).unwrap();
    flip(&cluster.data(follower).join("log"));
    // It is started again by whoever runs the cluster.
    cluster.signal(follower, Signal::KILL).unwrap();
    let began = Instant::now();
    loop {
        let status = client.status_of(address).await.ok();
        if status.as_ref().is_some_and(|it| it.mended.contains("repaired with a copy from")) {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "{status:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let journal = fs::read_to_string(cluster.data(follower).join("audit")).unwrap();
    assert!(journal.contains("copies of entries"), "{journal}");
    cluster.stop().unwrap();
}
