//! A state whose files rot: wherever that is found, nothing is read from it any more, the node
//! makes its state anew by itself, and the cluster goes on.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use client::{Client, NodeStatus, ReadThrough};
use fixtures::load::{all_keys, get, put};
use fixtures::{Cluster, Node, PATIENCE};
use rustix::process::{Resource, Rlimit, Signal, prlimit};
use state_machine::{KvCommand, KvQuery};

/// Values that are put before the damage; each takes some bytes of a table of its own.
const KEYS: u64 = 300;

fn value(number: u64) -> Bytes {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let byte = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        b'a' + ((state >> 58) as u8) % 26
    };
    (0..2_000).map(byte).collect()
}

fn key(number: u64) -> Bytes {
    Bytes::from(format!("key/{number:06}"))
}

async fn fill(client: &Client) {
    for number in 0..KEYS {
        let command = KvCommand::Put { key: key(number), value: value(number) };
        client.propose(command.encode()).await.unwrap();
    }
}

/// The directory of the state in force.
pub(crate) fn state_of(data: &Path) -> PathBuf {
    let current = fs::read_to_string(data.join("state-current")).unwrap_or_default();
    data.join(current.split(' ').next().filter(|name| !name.is_empty()).unwrap_or("state"))
}

fn tables(data: &Path) -> Vec<PathBuf> {
    tables_in(&state_of(data))
}

fn tables_in(state: &Path) -> Vec<PathBuf> {
    let Ok(all) = fs::read_dir(state) else { return Vec::new() };
    let all = all.map(|child| child.unwrap().path());
    all.filter(|path| path.extension().is_some_and(|it| it == "sst")).collect()
}

/// Damages the first part of each of the state's tables all over, where the values are: what is
/// read when a database is opened stays whole. A database that is open may be about to put tables
/// in others' places, with what it has read before: those are damaged too, until none comes.
pub(crate) fn rot(data: &Path) {
    let state = state_of(data);
    let listed = || -> Vec<(PathBuf, u64)> {
        let size = |table: PathBuf| fs::metadata(&table).ok().map(|it| (table, it.len()));
        let mut all: Vec<_> = tables_in(&state).into_iter().filter_map(size).collect();
        all.sort();
        all
    };
    assert!(!listed().is_empty(), "the state is on the disk");
    loop {
        let before = listed();
        for (table, size) in &before {
            let file = match fs::OpenOptions::new().write(true).open(table) {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                opened => opened.unwrap(),
            };
            let mut at = 100;
            while at < size.saturating_sub(size / 4 + 4_096) {
                file.write_all_at(b"rotten", at).unwrap();
                at += 512;
            }
            file.sync_all().unwrap();
        }
        std::thread::sleep(Duration::from_millis(200));
        // It may be found meanwhile, and the state set aside.
        if listed() == before || !state.exists() {
            return;
        }
    }
}

fn manifest(state: &Path) -> PathBuf {
    let current = fs::read_to_string(state.join("CURRENT")).unwrap();
    state.join(current.trim_end())
}

fn stop(node: &mut Node) {
    node.signal(Signal::TERM);
    assert!(node.ended().success(), "{}", node.log());
}

/// Waits until the node has made its state anew, by itself, in the same process.
async fn is_made_anew(cluster: &Cluster, place: usize, pid: u32) {
    let node = &cluster.nodes[place];
    node.logged("the state is damaged, and is made anew").await;
    assert_eq!(node.pid(), pid, "the process goes on");
    assert!(node.data.join("damaged-state").is_dir());
    cluster.converged().await;
    let client = cluster.client();
    let found = all_keys(&client, &node.address).await;
    assert_eq!(found.len() as u64, KEYS, "its own state is complete");
    let status = node.status(&client).await.expect("it answers");
    assert_eq!(status.failure, "");
}

/// Asks a node for values of its own state until it refuses one.
async fn read_until_refused(cluster: &Cluster, place: usize) {
    let client = cluster.client_of(&[place], Duration::from_secs(2));
    let (began, mut number) = (Instant::now(), 0);
    while began.elapsed() < PATIENCE {
        let query = KvQuery::Get { key: key(number % KEYS) }.encode();
        let asked = client.query_of(&cluster.nodes[place].address, query).await;
        let Ok(answer) = asked else { return };
        let value = value(number % KEYS);
        assert!(answer.response.windows(value.len()).any(|found| found == value), "it is whole");
        number += 1;
    }
    panic!("nobody notices");
}

#[tokio::test]
async fn a_state_that_is_damaged_at_the_start_is_made_anew_from_the_log() {
    let mut cluster = Cluster::start(3).await;
    fill(&cluster.client()).await;
    cluster.converged().await;
    stop(&mut cluster.nodes[0]);
    // The end of a table is read when it is opened.
    for table in tables(&cluster.nodes[0].data) {
        let size = fs::metadata(&table).unwrap().len();
        let file = fs::OpenOptions::new().write(true).open(&table).unwrap();
        file.write_all_at(&[0; 48], size - 48).unwrap();
    }
    cluster.nodes[0].start();
    let pid = cluster.nodes[0].pid();
    is_made_anew(&cluster, 0, pid).await;
    let client = cluster.client();
    put(&client, "afterwards", "1").await.unwrap();
    assert_eq!(get(&client, "afterwards").await.unwrap().as_deref(), Some("1"));
}

#[tokio::test]
async fn a_state_whose_files_are_missing_or_condemned_is_made_anew() {
    let mut cluster = Cluster::start(1).await;
    fill(&cluster.client()).await;
    for damage in ["CURRENT", "no MANIFEST", "another MANIFEST", "table", "state-current"] {
        stop(&mut cluster.nodes[0]);
        let data = cluster.nodes[0].data.clone();
        match damage {
            "CURRENT" => fs::remove_file(state_of(&data).join("CURRENT")).unwrap(),
            "no MANIFEST" => fs::remove_file(manifest(&state_of(&data))).unwrap(),
            "another MANIFEST" => fs::write(manifest(&state_of(&data)), "nonsense").unwrap(),
            "table" => fs::remove_file(&tables(&data)[0]).unwrap(),
            _ => fs::write(data.join("state-current"), "nonsense").unwrap(),
        }
        cluster.nodes[0].start();
        cluster.leader().await;
        let pid = cluster.nodes[0].pid();
        is_made_anew(&cluster, 0, pid).await;
    }
}

#[tokio::test]
async fn damage_that_a_question_finds_ends_reading_and_leading_at_once() {
    let mut cluster = Cluster::start(3).await;
    fill(&cluster.client()).await;
    for leads in [false, true] {
        let place = (cluster.leader().await + usize::from(!leads)) % 3;
        // Nothing of it is in memory behind a start.
        stop(&mut cluster.nodes[place]);
        cluster.nodes[place].start();
        cluster.converged().await;
        let client = cluster.client();
        if leads {
            let id = consensus::NodeId::new(cluster.nodes[place].id).unwrap();
            client.transfer(id).await.unwrap();
            assert_eq!(cluster.leader().await, place);
        }
        let pid = cluster.nodes[place].pid();
        rot(&cluster.nodes[place].data);
        read_until_refused(&cluster, place).await;
        is_made_anew(&cluster, place, pid).await;
        if leads {
            let log = cluster.nodes[place].log();
            assert!(log.contains("handing leadership over"), "{log}");
        }
        let _ = fs::remove_dir_all(cluster.nodes[place].data.join("damaged-state"));
    }
}

#[tokio::test]
async fn damage_that_a_command_finds_ends_applying_on_it() {
    let mut cluster = Cluster::start(3).await;
    fill(&cluster.client()).await;
    let place = (cluster.leader().await + 1) % 3;
    stop(&mut cluster.nodes[place]);
    cluster.nodes[place].start();
    cluster.converged().await;
    let pid = cluster.nodes[place].pid();
    rot(&cluster.nodes[place].data);
    let client = cluster.client();
    // An increment reads what is there.
    for number in 0..KEYS {
        let (key, delta) = (key(number), 1);
        client.propose(KvCommand::Increment { key, delta }.encode()).await.unwrap();
    }
    is_made_anew(&cluster, place, pid).await;
}

#[tokio::test]
async fn damage_that_nobody_reads_is_found_in_the_background_and_mended_from_a_member() {
    let limits = "[limits]\nlog_keep_entries_max = 20\npersist_interval_s = 1\n\
                  state_scrub_interval_s = 1\n";
    let cluster = Cluster::start_with(3, limits).await;
    let client = cluster.client();
    fill(&client).await;
    let place = (cluster.leader().await + 1) % 3;
    let began = Instant::now();
    // The log alone does not make the state any more.
    let mut number = 0;
    while cluster.nodes[place].status(&client).await.is_none_or(|status| status.first < 200) {
        assert!(began.elapsed() < PATIENCE, "the log is not compacted");
        number += 1;
        let command = KvCommand::Put { key: key(number % KEYS), value: value(number % KEYS) };
        client.propose(command.encode()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    cluster.converged().await;
    let began = Instant::now();
    let all_read = |status: NodeStatus| {
        let has_bytes = |read: Option<ReadThrough>| read.is_some_and(|read| read.bytes > 0);
        has_bytes(status.log_read) && has_bytes(status.state_read) && status.mended.is_empty()
    };
    while !cluster.nodes[place].status(&client).await.is_some_and(all_read) {
        assert!(began.elapsed() < PATIENCE, "nobody says that all was read, and was whole");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let pid = cluster.nodes[place].pid();
    rot(&cluster.nodes[place].data);
    is_made_anew(&cluster, place, pid).await;
    cluster.nodes[place].logged("a snapshot was fetched").await;
    let status = cluster.answer_of(&cluster.nodes[place]).await;
    assert!(status.mended.contains("the state was made anew"), "{status:?}");
}

/// The node had a log that ended in a term of which its own record of terms knew nothing, and
/// refused it at the next start, for good.
#[tokio::test]
async fn a_state_of_a_later_term_is_fetched_by_who_has_heard_of_none() {
    let limits = "[limits]\nlog_keep_entries_max = 20\npersist_interval_s = 1\n";
    let mut cluster = Cluster::start_with(3, limits).await;
    let client = cluster.client();
    fill(&client).await;
    let place = (cluster.leader().await + 1) % 3;
    stop_when_compacted(&mut cluster, place).await;
    let data = cluster.nodes[place].data.clone();
    fs::remove_file(state_of(&data).join("CURRENT")).unwrap();
    fs::remove_dir_all(data.join("snapshots")).unwrap();
    let leader = cluster.leader().await;
    let other = 3 - place - leader;
    let id = consensus::NodeId::new(cluster.nodes[other].id).unwrap();
    client.transfer(id).await.unwrap();
    put(&client, "later", "1").await.unwrap();
    for _ in 0..2 {
        cluster.nodes[place].start();
        cluster.converged().await;
        stop(&mut cluster.nodes[place]);
    }
    let log = cluster.nodes[place].log();
    assert!(log.contains("a snapshot was fetched"), "{log}");
}

/// Stops a node whose log alone does not make its state any more.
pub(crate) async fn stop_when_compacted(cluster: &mut Cluster, place: usize) {
    let client = cluster.client();
    let began = Instant::now();
    while cluster.nodes[place].status(&client).await.is_none_or(|status| status.first < 100) {
        assert!(began.elapsed() < PATIENCE, "the log is not compacted");
        put(&client, "more", "1").await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stop(&mut cluster.nodes[place]);
}

#[tokio::test]
async fn where_no_state_can_be_had_the_node_says_so_and_is_not_started_again() {
    let limits = "[limits]\nlog_keep_entries_max = 20\npersist_interval_s = 1\n";
    let mut cluster = Cluster::start_with(1, limits).await;
    let client = cluster.client();
    fill(&client).await;
    stop_when_compacted(&mut cluster, 0).await;
    fs::remove_file(state_of(&cluster.nodes[0].data).join("CURRENT")).unwrap();
    for _ in 0..2 {
        cluster.nodes[0].start();
        assert_eq!(cluster.nodes[0].ended().code(), Some(65), "{}", cluster.nodes[0].log());
    }
    let log = cluster.nodes[0].log();
    assert!(log.contains("raftctl snapshot restore"), "{log}");
    let kept = cluster.nodes[0].data.join("damaged-state");
    assert!(kept.read_dir().unwrap().count() > 0, "it is the last copy of what is whole in it");
}

/// States were thrown away for want of descriptors, on all nodes at once: whoever reads a state
/// through opens all of its files once more.
#[tokio::test]
async fn a_state_for_which_no_descriptors_can_be_had_is_not_damaged() {
    let limits = "[limits]\nstate_scrub_interval_s = 1\n";
    let mut cluster = Cluster::start_with(1, limits).await;
    let client = cluster.client();
    fill(&client).await;
    // Its files are on the disk behind a start.
    stop(&mut cluster.nodes[0]);
    cluster.nodes[0].start();
    cluster.leader().await;
    let node = &cluster.nodes[0];
    let pid = rustix::process::Pid::from_raw(node.pid().try_into().unwrap());
    let open = fs::read_dir(format!("/proc/{}/fd", node.pid())).unwrap().count() as u64;
    let most = rustix::process::getrlimit(Resource::Nofile).maximum;
    let limit =
        |current| prlimit(pid, Resource::Nofile, Rlimit { current, maximum: most }).unwrap();
    // Somewhere between them, all but one of its files can be opened.
    for more in 1..12 {
        limit(Some(open + more));
        tokio::time::sleep(Duration::from_millis(1_100)).await;
    }
    assert!(!node.data.join("damaged-state").exists(), "{}", node.log());
    assert!(node.is_running(), "{}", node.log());
    limit(most);
    put(&client, "afterwards", "1").await.unwrap();
    assert_eq!(all_keys(&client, &node.address).await.len() as u64, KEYS + 1);
}

/// What was made of a state that differs from those of a majority may differ as well.
#[tokio::test]
async fn a_condemned_state_is_not_made_anew_of_its_own_snapshots() {
    let limits = "[limits]\nlog_keep_entries_max = 20\npersist_interval_s = 1\n";
    let mut cluster = Cluster::start_with(3, limits).await;
    let client = cluster.client();
    fill(&client).await;
    assert!(cluster.take_snapshot(&client, 0).await);
    stop_when_compacted(&mut cluster, 0).await;
    let data = cluster.nodes[0].data.clone();
    storage::StateStore::condemn(&data, "it differs").unwrap();
    cluster.nodes[0].start();
    cluster.nodes[0].logged("a snapshot was fetched").await;
    cluster.converged().await;
    let aside = fs::read_dir(data.join("damaged-state")).unwrap();
    let names: Vec<_> = aside.map(|file| file.unwrap().file_name()).collect();
    let is_snapshot = |name: &std::ffi::OsString| name.to_string_lossy().ends_with(".snap");
    assert!(names.iter().any(is_snapshot), "{names:?}");
    assert!(!data.join("state-condemned").exists());
}

/// It waited for `raftctl init`, and nobody knew of it.
#[tokio::test]
async fn a_node_that_begins_anew_and_is_interrupted_goes_on_at_the_next_start() {
    let mut cluster = Cluster::start(3).await;
    fill(&cluster.client()).await;
    stop(&mut cluster.nodes[0]);
    let node = consensus::NodeId::new(cluster.nodes[0].id).unwrap();
    let id = cluster.authority.cluster().to_bytes();
    let mut directory =
        storage::DataDirectory::open_or_create(&cluster.nodes[0].data, id, node).unwrap();
    directory.forget(storage::Forgotten::LogLost).unwrap();
    directory.begin_anew().unwrap();
    drop(directory);
    cluster.nodes[0].start();
    cluster.converged().await;
    let found = all_keys(&cluster.client(), &cluster.nodes[0].address).await;
    assert_eq!(found.len() as u64, KEYS);
}
