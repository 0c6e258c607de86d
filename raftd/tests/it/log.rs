//! The log for programs: JSON with ids, and sinks that are full, gone or stopped, which never stop
//! the node.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use consensus::RoleKind;
use fixtures::load::put;
use fixtures::{Cluster, PATIENCE, SmallDisk};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::service::{full_pipe, knock, stop};

/// Returns each line as what it says, which must be JSON with all that belongs to it.
fn lines(text: &str) -> Vec<Value> {
    let line = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|why| panic!("{why}: {line}"));
        let time = line["time"].as_str().unwrap();
        assert!(time.starts_with("20") && time.ends_with('Z'), "{line}");
        assert!(["error", "warn", "info"].contains(&line["level"].as_str().unwrap()), "{line}");
        assert!(!line["message"].as_str().unwrap().is_empty(), "{line}");
        line
    };
    text.lines().map(line).collect()
}

#[tokio::test]
async fn json_is_an_object_a_line_with_ids_that_the_manual_lists() {
    let mut cluster = Cluster::prepare(3);
    for node in &mut cluster.nodes {
        let config = node.directory.join("raftd.toml");
        let text = std::fs::read_to_string(&config).unwrap();
        std::fs::write(&config, format!("log_format = \"json\"\n{text}")).unwrap();
        node.start();
    }
    cluster.bootstrap().await;
    let leader = cluster.leader().await;
    put(&cluster.client(), "k", "v").await.unwrap();
    knock(&cluster.nodes[leader].address, 5).await;
    cluster.nodes[leader].signal(Signal::TERM);
    assert!(cluster.nodes[leader].ended().success());
    let text = std::fs::read_to_string(cluster.nodes[leader].directory.join("log")).unwrap();
    let lines = lines(&text);
    for line in lines.iter().filter(|line| line["target"].as_str().unwrap().starts_with("raftd")) {
        let id = line["id"].as_str().unwrap_or_else(|| panic!("it has no id: {line}"));
        let row = raftd::MESSAGES.iter().find(|message| message.id == id);
        let level = row.unwrap_or_else(|| panic!("nothing is said of {id}")).level.to_string();
        assert_eq!(line["level"], *level, "{line}");
    }
    let of = |id: &str| lines.iter().find(|line| line["id"] == *id);
    for id in ["uninitialised", "bootstrapped", "ready", "leads", "hands-over", "stopped"] {
        assert!(of(id).is_some(), "{id} is not there\n{text}");
    }
    let fields = &of("ready").unwrap()["fields"];
    assert_eq!(fields["listen"], *cluster.nodes[leader].address);
    assert_eq!(fields["node"], *(leader + 1).to_string());
    let refused = of("refused-certificate").unwrap();
    assert!(refused["fields"]["from"].as_str().unwrap().starts_with("127.0.0.1:"), "{refused}");

    // What ends a process is JSON as well.
    let taken = std::net::UdpSocket::bind(&cluster.nodes[leader].address).unwrap();
    let ended = cluster.nodes[leader].command().output().unwrap();
    drop(taken);
    assert_eq!(ended.status.code(), Some(74));
    let last = self::lines(&String::from_utf8(ended.stderr).unwrap()).pop().unwrap();
    assert!(last["message"].as_str().unwrap().contains("\nhelp: "), "{last}");
}

/// Starts a node that is founded already, with its log going here.
fn spawn(cluster: &Cluster, format: &str, log: impl Into<Stdio>) -> Child {
    let mut command = cluster.nodes[0].command();
    command.args(["--log-level", "trace", "--log-format", format]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    command.spawn().unwrap()
}

/// The node leads, takes writes while it has much to say, and leads on without an election.
async fn serves(cluster: &Cluster, what: &str) {
    cluster.leader().await;
    let client = cluster.client();
    let address = &cluster.nodes[0].address;
    let term = client.status_of(address).await.unwrap().term;
    let began = Instant::now();
    for number in 0..200 {
        put(&client, "k", &number.to_string()).await.unwrap();
        if number % 10 == 0 {
            knock(address, 10).await;
        }
    }
    assert!(began.elapsed() < PATIENCE, "{what}: it is held up");
    let status = client.status_of(address).await.unwrap();
    assert_eq!((status.role, status.term), (RoleKind::Leader, term), "{what}");
    client.close().await;
}

#[tokio::test]
async fn a_sink_that_is_full_gone_or_stopped_stops_no_node() {
    let mut cluster = Cluster::prepare(1);
    cluster.nodes[0].start();
    cluster.bootstrap().await;
    cluster.leader().await;
    cluster.nodes[0].signal(Signal::TERM);
    assert!(cluster.nodes[0].ended().success());
    for format in ["json", "text", "journald", "auto"] {
        let full = || File::options().write(true).open("/dev/full").unwrap();
        let child = spawn(&cluster, format, full());
        serves(&cluster, &format!("{format}, /dev/full")).await;
        stop(child);

        // Whoever reads the pipe stops at the first byte, and then goes.
        let (reader, writer) = full_pipe();
        let child = spawn(&cluster, format, writer);
        serves(&cluster, &format!("{format}, a full pipe")).await;
        drop(reader);
        serves(&cluster, &format!("{format}, a pipe without a reader")).await;
        stop(child);
    }
    // A program that collects logs, and is stopped.
    let mut collector = Command::new("cat");
    let mut collector = collector.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    kill_process(Pid::from_child(&collector), Signal::STOP).unwrap();
    let child = spawn(&cluster, "json", collector.stdin.take().unwrap());
    serves(&cluster, "a collector that is stopped").await;
    stop(child);
    collector.kill().unwrap();
    collector.wait().unwrap();
}

#[tokio::test]
async fn a_log_on_a_full_disk_goes_on_when_there_is_room_and_says_what_it_lacks() {
    let mut cluster = Cluster::prepare(1);
    let place = cluster.path().join("logs");
    let Some(disk) = SmallDisk::mount(&place, 1) else {
        eprintln!("NOT SHOWN HERE: mounting a small file system takes root");
        return;
    };
    cluster.nodes[0].start();
    cluster.bootstrap().await;
    cluster.leader().await;
    cluster.nodes[0].signal(Signal::TERM);
    assert!(cluster.nodes[0].ended().success());
    let log = place.join("log");
    let child =
        spawn(&cluster, "json", File::options().append(true).create(true).open(&log).unwrap());
    cluster.leader().await;
    disk.fill_up();
    serves(&cluster, "a full disk").await;
    disk.free();
    let began = Instant::now();
    while !text(&log).contains("\"id\":\"log-not-written\"") {
        assert!(began.elapsed() < PATIENCE, "it does not say what is missing\n{}", text(&log));
        serves(&cluster, "a disk with room again").await;
    }
    stop(child);
}

fn text(path: &Path) -> String {
    let mut bytes = Vec::new();
    File::open(path).unwrap().read_to_end(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test]
async fn without_a_journal_the_log_is_on_stderr_and_says_so() {
    if Path::new("/run/systemd/journal/socket").exists() {
        eprintln!("NOT SHOWN HERE: this machine has a journal");
        return;
    }
    let cluster = Cluster::prepare(1);
    let log = cluster.path().join("log");
    let child = spawn(&cluster, "journald", File::create(&log).unwrap());
    cluster.bootstrap().await;
    cluster.leader().await;
    stop(child);
    let said = text(&log);
    assert!(said.contains("no journal listens: the log is here"), "{said}");
    assert!(said.contains(" INFO ") && said.contains("bootstrapped"), "{said}");
}
