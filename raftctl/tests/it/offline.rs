//! The manual of what needs no running node, executed: `log dump`, `log verify` and `snapshot
//! restore` on data directories that this test makes.

use crate::kit;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use certs::ClusterId;
use consensus::{
    ClusterTime, Configuration, Entry, EntryId, HardState, Incarnation, LogIndex, Majority, Member,
    NodeId, Payload, SnapshotMeta, Term, Vote, Voters, Write, WriteId,
};
use protocol::BootstrapRecord;
use rustix::process::Signal;
use state_machine::{Envelope, Host, Kv, KvCommand};
use storage::{DataDirectory, LogStore, SnapshotHeader, SnapshotWriter, Snapshots, StateStore};

fn node() -> NodeId {
    NodeId::new(1).expect("it is not 0")
}

fn record(cluster: [u8; 16], incarnation: Incarnation) -> BootstrapRecord {
    let member = Member { incarnation, name: "n1".into(), address: "n1.example:7400".into() };
    let voters = Voters::Stable(Majority::new([node()]));
    let members = BTreeMap::from([(node(), member)]);
    let configuration = Configuration::new(voters, BTreeSet::new(), members);
    BootstrapRecord {
        cluster,
        configuration: configuration.expect("one voter decides"),
        machine: "kv".into(),
        machine_version: 1,
        parent: None,
    }
}

fn put(index: u64) -> Entry {
    let key = Bytes::from(format!("user{index}"));
    let command = KvCommand::Put { key, value: Bytes::from_static(b"secret") }.encode();
    Entry::new(
        EntryId { term: Term::new(2), index: LogIndex::new(index) },
        ClusterTime::new(index * 1_000_000_000),
        Payload::Command(Envelope::sessionless(command).encode()),
    )
}

/// Makes a stopped node with entries 1 to 8, of which 5 are applied and in a snapshot.
fn stop_a_node(path: &Path, cluster: [u8; 16]) -> DataDirectory {
    stop_a_node_with(path, cluster, 8)
}

/// The same, with so many entries.
fn stop_a_node_with(path: &Path, cluster: [u8; 16], last: u64) -> DataDirectory {
    let mut directory = DataDirectory::open_or_create(path, cluster, node()).expect("it is empty");
    let record = record(cluster, directory.incarnation());
    LogStore::bootstrap(&mut directory, &record).expect("it is new");
    let (mut log, _) = LogStore::open(&directory).expect("it was made just now");
    let vote = Vote { candidate: node(), incarnation: directory.incarnation() };
    let hard_state = HardState { term: Term::new(2), vote: Some(vote) };
    let write = Write {
        id: WriteId::ZERO,
        hard_state: Some(hard_state),
        truncate_from: None,
        append: (2..=last).map(put).collect(),
        compact_to: None,
    };
    log.write(&[write]).expect("the disk is good");
    let state = StateStore::open(path).expect("it is new");
    let mut host = Host::open(state, Arc::new(Kv)).expect("it is new");
    let first = log.reader().read(LogIndex::new(1)..LogIndex::new(6), usize::MAX);
    host.apply(&first.expect("they are there")).expect("the disk is good");
    let header = SnapshotHeader {
        cluster,
        generation: record.generation(),
        meta: SnapshotMeta {
            last: host.applied(),
            configuration: record.configuration,
            configuration_index: LogIndex::new(1),
            stamp: host.time(),
            chain: consensus::Chain::ZERO,
        },
        machine: "kv".into(),
        machine_version: 1,
        made_unix_ms: 1_790_000_000_000,
    };
    let checkpoint = host.with_store(StateStore::checkpoint).expect("no state was replaced");
    let snapshots = Snapshots::open(&directory).expect("it is new");
    let saved = checkpoint.expect("the disk is good").save(&snapshots, &header, |_| Ok(()));
    saved.expect("the disk is good");
    directory
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).expect("it is there");
    bytes[at] ^= 1;
    fs::write(path, bytes).expect("it may be written");
}

/// Returns the largest file of a log's database that has this in its name.
fn logged(data: &Path, part: &str) -> PathBuf {
    let files = data.join("log").read_dir().expect("it is there");
    let files = files.map(|file| file.expect("it can be read").path());
    let name = |path: &Path| path.file_name().expect("it has one").to_string_lossy().into_owned();
    let is_one = |path: &PathBuf| {
        let name = name(path);
        name.starts_with(part) || name.ends_with(&format!(".{part}"))
    };
    files.filter(is_one).max_by_key(|path| size(path)).expect("there is one")
}

fn size(path: &Path) -> u64 {
    fs::metadata(path).expect("it is there").len()
}

/// Runs a file's commands among the directories that `prepare` makes.
fn check(name: &str, prepare: impl FnOnce(&Path) -> Vec<DataDirectory>) {
    let home = tempfile::tempdir().expect("a directory");
    let place = home.path().join(format!("{name}.in"));
    fs::create_dir(&place).expect("a directory");
    let held = prepare(&place);
    let file = Path::new("tests/offline").join(format!("{name}.trycmd"));
    let copy = home.path().join(format!("{name}.trycmd"));
    fs::copy(&file, &copy).expect("the manual is there");
    let config = home.path().display().to_string();
    let cases = trycmd::TestCases::new();
    cases.env("RAFTCTL_CONFIG_DIR", &config).env("XDG_DATA_HOME", &config);
    cases.env("COLUMNS", "100").env("NO_COLOR", "1").case(&copy).run();
    if std::env::var_os("TRYCMD").is_some_and(|mode| mode == "overwrite") {
        fs::copy(&copy, &file).expect("the manual may be written");
    }
    drop(held);
}

#[test]
fn the_log_of_a_stopped_node_is_dumped_and_verified() {
    check("log", |place| {
        drop(stop_a_node(&place.join("n1"), [0xab; 16]));
        drop(stop_a_node(&place.join("damaged"), [0xab; 16]));
        flip(&place.join("damaged/superblock"), 90);
        drop(stop_a_node(&place.join("lost"), [0xab; 16]));
        let lost = place.join("lost/snapshots").read_dir().expect("it is there").next();
        flip(&lost.expect("there is one").expect("it can be read").path(), 300);
        let faulty = |name: &str| {
            let path = place.join(name);
            drop(stop_a_node(&path, [0xab; 16]));
            path
        };
        let journal = logged(&faulty("cut"), "log");
        let bytes = fs::read(&journal).expect("it may be read");
        fs::write(&journal, &bytes[..bytes.len() - 30]).expect("it may be written");
        let flipped = logged(&faulty("flipped"), "log");
        flip(&flipped, usize::try_from(size(&flipped) / 2).expect("it is small"));
        fs::remove_file(logged(&faulty("listless"), "MANIFEST")).expect("it may be removed");
        fs::remove_file(faulty("tailless").join("tail")).expect("it may be removed");
        flip(&faulty("scratched").join("tail"), 4096 + 20);
        let old = faulty("put-back");
        fs::copy(old.join("tail"), old.join("kept")).expect("it may be copied");
        drop(DataDirectory::open_or_create(&old, [0xab; 16], node()).expect("it is whole"));
        fs::rename(old.join("kept"), old.join("tail")).expect("it may be renamed");
        vec![stop_a_node(&place.join("running"), [0xab; 16])]
    });
}

/// It printed its header and nothing else, and ended as if that were all.
#[test]
fn a_dump_of_a_damaged_log_shows_all_that_can_be_read_and_says_what_cannot() {
    let world = kit::World::new();
    let data = world.home().join("data");
    let directory = stop_a_node(&data, [0xab; 16]);
    let (mut log, _) = LogStore::open(&directory).expect("it is whole");
    for index in 9..=400 {
        let append = vec![put(index)];
        let id = WriteId::ZERO;
        let write = Write { id, hard_state: None, truncate_from: None, append, compact_to: None };
        log.write(&[write]).expect("the disk is good");
    }
    drop((log, directory));
    let line = format!("log dump --data-dir {}", data.display());
    assert_eq!(world.ok(&line).stdout.lines().count(), 401);
    let journal = logged(&data, "log");
    flip(&journal, usize::try_from(size(&journal) / 2).expect("it is small"));
    let said = world.run(&line);
    let shown = said.stdout.lines().count();
    assert_eq!(said.code, 9, "{}", said.stderr);
    assert!(shown > 200 && shown < 401, "{shown} lines: {}", said.stderr);
    assert!(said.stdout.lines().any(|line| line.starts_with("400 ")), "{}", said.stderr);
    assert!(said.stderr.contains("log entry") || said.stderr.contains("the log from entry"));
}

#[test]
fn a_dump_that_nobody_reads_any_more_ends_by_the_first_signal() {
    use std::process::Stdio;
    let world = kit::World::new();
    let data = world.home().join("data");
    drop(stop_a_node_with(&data, [0xab; 16], 3_000));
    let line = format!("log dump --data-dir {}", data.display());
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let child = world.command(&line).stdout(Stdio::piped()).spawn().expect("it starts");
        assert_eq!(kit::stopped(child, signal), Some(code));
    }
    let whole = world.ok(&line).stdout;
    assert!(whole.len() > 128 * 1024, "{} bytes would fit a pipe", whole.len());
    assert_eq!(whole.lines().count(), 3_001, "a line an entry, and the header");
}

/// Makes the authority and the bundles of a cluster, and returns its id.
fn prepare(directory: &Path) -> ClusterId {
    let home = tempfile::tempdir().expect("a directory");
    let mut init = std::process::Command::new(env!("CARGO_BIN_EXE_raftctl"));
    init.args(["init", "prod", "--node", "n1=n1.example:7400", "--prepare-only", "--quiet"]);
    init.arg("--dir").arg(directory).env("RAFTCTL_CONFIG_DIR", home.path());
    let made = init.output().expect("it starts");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let plan = fs::read_to_string(directory.join("cluster.toml")).expect("it is there");
    let id = plan.lines().find_map(|line| line.strip_prefix("cluster = \"")?.strip_suffix('"'));
    id.expect("the plan has the id").parse().expect("an id")
}

#[test]
fn a_snapshot_is_restored_once_and_only_where_nothing_is() {
    check("restore", |place| {
        let cluster = prepare(&place.join("prod"));
        drop(stop_a_node(&place.join("old"), cluster.to_bytes()));
        let saved = place.join("old/snapshots").read_dir().expect("it is there").next();
        let saved = saved.expect("there is one").expect("it can be read").path();
        fs::copy(&saved, place.join("good.snap")).expect("it may be read");
        fs::copy(&saved, place.join("flipped.snap")).expect("it may be read");
        flip(&place.join("flipped.snap"), 400);
        let bytes = fs::read(&saved).expect("it may be read");
        fs::write(place.join("truncated.snap"), &bytes[..500]).expect("it may be written");
        let foreign = SnapshotHeader {
            cluster: [1; 16],
            ..storage::SnapshotReader::open(&saved).expect("it is whole").header().clone()
        };
        let writer = SnapshotWriter::create(&place.join("foreign.snap"), &foreign);
        writer.and_then(SnapshotWriter::finish).expect("it may be written");
        fs::create_dir(place.join("letters")).expect("a directory");
        fs::write(place.join("letters/one.txt"), "dear").expect("it may be written");
        let running = place.join("running");
        let running = DataDirectory::open_or_create(&running, cluster.to_bytes(), node());
        vec![running.expect("it is new")]
    });
}
