//! What others can do to a node that they do not read, do not finish talking to, or do not leave:
//! its memory stays bounded, and it serves everybody else.

use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use certs::Role;
use client::{Client, ClientError, Common, Consistency};
use consensus::RoleKind;

use fixtures::load::{get, put};
use fixtures::{Back, Cluster, PATIENCE, Relay, Strangers, reason, resident_bytes, wait_for};
use protocol::limits::REQUESTS_IN_FLIGHT_MAX;
use protocol::{ErrorCode, LogDetail, Request, Response, Trouble};
use rustix::process::{Resource, Rlimit, Signal, setrlimit};
use state_machine::{Envelope, KvCommand, KvQuery};
use tokio::task::JoinSet;
use transport::Alpn;
use transport::limits::IDLE_TIMEOUT;

use crate::roles::{connect, role};

/// Lets processes that are started from here leave core dumps, if they like.
fn allow_core_dumps() {
    let unlimited = Rlimit { current: None, maximum: None };
    setrlimit(Resource::Core, unlimited).unwrap();
}

#[tokio::test]
async fn a_process_that_dies_leaves_no_copy_of_its_memory() {
    allow_core_dumps();
    let mut cluster = Cluster::start(1).await;
    let node = &mut cluster.nodes[0];
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", node.pid())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
    node.signal(Signal::ABORT);
    let ended = node.ended();
    assert_eq!(ended.signal(), Some(Signal::ABORT.as_raw()));
    assert!(!ended.core_dumped());
}

/// A shell begins with few open files, as most systems have it, and may have so many at most.
const FEW_FILES: &str = r#"hard=$1; shift; ulimit -Sn 512 && ulimit -Hn "$hard" && exec "$@""#;

#[tokio::test]
async fn a_node_takes_all_the_open_files_that_it_may_have_and_warns_of_few() {
    let cluster = Cluster::prepare(1);
    for (hard, warns) in [("1000", true), ("8192", false)] {
        let log = cluster.path().join(format!("log-{hard}"));
        let node = cluster.nodes[0].command();
        let mut command = Command::new("sh");
        command.args(["-c", FEW_FILES, "sh", hard]).arg(node.get_program()).args(node.get_args());
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let mut child = command.stderr(std::fs::File::create(&log).unwrap()).spawn().unwrap();
        let said = wait_for("a node that is ready", || {
            std::fs::read_to_string(&log).ok().filter(|text| text.contains("waiting for `raftctl"))
        });
        let limits = std::fs::read_to_string(format!("/proc/{}/limits", child.id())).unwrap();
        let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
        assert_eq!(files.split_whitespace().nth(3), Some(hard), "{files}");
        assert_eq!(said.contains("may open few files"), warns, "{said}");
        assert_eq!(said.contains("LimitNOFILE="), warns, "the remedy: {said}");
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

/// What a connection may be silent is a time, so that this one takes time.
#[tokio::test]
async fn a_connection_that_nobody_uses_is_kept() {
    let cluster = Cluster::start(1).await;
    let connection = connect(&cluster, certs::RoleKind::Client, Alpn::Client).await.unwrap();
    connection.call(&Request::Status).await.unwrap();
    tokio::time::sleep(3 * IDLE_TIMEOUT).await;
    let answer = connection.call(&Request::Status).await;
    assert!(matches!(answer, Ok(Response::Status(_))), "{answer:?}");
}

const MIB: u64 = 1 << 20;

fn reader(name: &str) -> Role {
    Role::Reader(name.parse().unwrap())
}

/// Waits until a client's answers are not read any more, but it is still heard.
async fn unread(cluster: &Cluster, key: &str, count: usize) -> (Relay, Client, JoinSet<bool>) {
    let leader = cluster.leader().await;
    let relay = Relay::to(&cluster.nodes[leader].address);
    let config =
        cluster.client_config(reader("idle"), Duration::from_secs(60), vec![relay.address.clone()]);
    let client = Client::new(config).unwrap();
    client.status_of(&relay.address).await.unwrap();
    relay.pass_back(Back::Short(100));
    let mut asking = JoinSet::new();
    for _ in 0..count {
        let (client, query) = (client.clone(), KvQuery::Get { key: key.to_owned().into() });
        asking.spawn(async move { client.query(query.encode(), Consistency::Stale).await.is_ok() });
    }
    (relay, client, asking)
}

#[tokio::test]
async fn answers_that_nobody_reads_take_little_memory_and_disturb_nobody() {
    let cluster = Cluster::start(1).await;
    let client = cluster.client();
    put(&client, "large", &"x".repeat(1_000_000)).await.unwrap();
    put(&client, "small", "y").await.unwrap();
    let pid = cluster.nodes[0].pid();
    let before = resident_bytes(pid);
    let (_relay, idle, _asking) = unread(&cluster, "large", 400).await;
    let mut most = 0;
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(3) {
        assert_eq!(get(&client, "small").await.unwrap().as_deref(), Some("y"));
        most = most.max(resident_bytes(pid));
    }
    let grown = most.saturating_sub(before) / MIB;
    assert!(grown < 60, "{} MiB before, {grown} MiB more", before / MIB);
    drop(idle);
}

#[tokio::test]
async fn one_certificate_cannot_keep_others_out_and_is_told_why() {
    let more = "[limits]\nconnections_max = 16\nconnections_per_identity_max = 8\n";
    let cluster = Cluster::start_with(3, more).await;
    let leader = cluster.leader().await;
    let address = cluster.nodes[leader].address.clone();
    let mut guests = Vec::new();
    let mut refused = None;
    for number in 0..17 {
        let role = reader(if number < 9 { "one" } else { "two" });
        let within = Duration::from_secs(10);
        let config = cluster.client_config(role, within, vec![address.clone()]);
        let guest = Client::new(config).unwrap();
        match guest.status_of(&address).await {
            Ok(_) => guests.push(guest),
            Err(error) => refused = Some((number, error)),
        }
        if number == 8 {
            let (at, error) = refused.take().expect("eight is the most");
            assert_eq!(at, 8);
            assert!(reason(&error).contains("reader one"), "{}", reason(&error));
            assert!(reason(&error).contains("connections_per_identity_max"), "{}", reason(&error));
            let full = ClientError::Unreachable { causes: Vec::new(), common: Common::Full };
            assert_eq!(error.to_string(), full.to_string());
            assert!(matches!(error, ClientError::Unreachable { common: Common::Full, .. }));
        }
    }
    assert_eq!((guests.len(), refused.is_none()), (16, true));
    let operator = cluster.client_of(&[leader], Duration::from_secs(10));
    assert_eq!(operator.status_of(&address).await.unwrap().role, RoleKind::Leader);
    put(&operator, "key", "value").await.unwrap();
    // That one certificate has its share is no trouble of the node's; that nobody else gets in is.
    let troubles = async || operator.status_of(&address).await.unwrap().troubles;
    assert_eq!(troubles().await, []);
    let config =
        cluster.client_config(reader("three"), Duration::from_secs(10), vec![address.clone()]);
    let late = Client::new(config).unwrap();
    assert!(late.status_of(&address).await.is_err());
    let told = troubles().await;
    assert!(told.len() == 1 && told[0].what == Trouble::Places, "{told:?}");
    // The place of one who goes is free for another.
    guests.pop().unwrap().close().await;
    let began = Instant::now();
    while let Err(error) = late.status_of(&address).await {
        assert!(began.elapsed() < fixtures::PATIENCE, "{}", reason(&error));
    }
}

/// Keeps as many questions open as one connection may, for as long as it lives.
async fn asks_for_ever(cluster: &Cluster) -> JoinSet<()> {
    let connection = connect(cluster, certs::RoleKind::Reader, Alpn::Client).await.unwrap();
    let connection = Arc::new(connection);
    let mut asking = JoinSet::new();
    for _ in 0..REQUESTS_IN_FLIGHT_MAX {
        let connection = Arc::clone(&connection);
        asking.spawn(async move {
            let query = KvQuery::Get { key: "key".into() }.encode();
            let consistency = protocol::Consistency::AtLeast(u64::MAX);
            let request = Request::Query { query, consistency };
            while connection.call(&request).await.is_ok() {}
        });
    }
    asking
}

#[tokio::test]
async fn questions_of_one_certificate_leave_places_for_others_and_for_its_revocation() {
    let cluster = Cluster::start(1).await;
    let operator = cluster.client_of(&[0], Duration::from_secs(10));
    put(&operator, "key", "value").await.unwrap();
    let other = connect(&cluster, certs::RoleKind::Client, Alpn::Client).await.unwrap();
    let mut asking = [asks_for_ever(&cluster).await, asks_for_ever(&cluster).await];
    for number in 0..100 {
        let command = KvCommand::Put { key: "key".into(), value: "value".into() };
        let command = Envelope::sessionless(command.encode()).encode();
        let answer = other.call(&Request::Propose { command }).await;
        assert!(matches!(answer, Ok(Response::Applied { .. })), "put {number}: {answer:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    put(&operator, "key", "another").await.unwrap();
    let reader = role(certs::RoleKind::Reader).to_string();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    operator.revoke(&reader, now, None, "it asks too much").await.unwrap();
    for asking in &mut asking {
        while asking.join_next().await.is_some() {}
    }
}

/// Connects anew so many times, each time within a second, while something goes on.
async fn newcomers_get_in(cluster: &Cluster, place: usize, during: &str) {
    for number in 0..3 {
        let operator = cluster.client_of(&[place], Duration::from_secs(5));
        let began = Instant::now();
        let status = operator.status_of(&cluster.nodes[place].address).await;
        assert!(status.is_ok(), "{during}, connection {number}: {:?}", began.elapsed());
        operator.close().await;
    }
}

#[tokio::test]
async fn handshakes_without_end_keep_nobody_out_and_cost_no_leader() {
    let cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    let address = cluster.nodes[leader].address.clone();
    let client = cluster.client();
    put(&client, "key", "value").await.unwrap();
    let term = client.status_of(&address).await.unwrap().term;
    let dialler = cluster.client_as(reader("nobody"), Duration::from_millis(500));
    let strangers = Strangers::prepare(&dialler, 1_000).await;
    for per_s in [100, 400] {
        let flood = strangers.flood(&address, per_s);
        while flood.sent() < u64::from(2 * per_s) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        newcomers_get_in(&cluster, leader, &format!("{per_s} a second")).await;
    }
    // With addresses that are proven, from where the newcomers are, and again and again.
    let relay = Relay::to(&address);
    relay.pass_back(Back::Retries);
    let ended = Arc::new(AtomicBool::new(false));
    let mut dialling = JoinSet::new();
    for _ in 0..400 {
        let config = cluster.client_config(
            reader("nobody"),
            Duration::from_secs(3),
            vec![relay.address.clone()],
        );
        let (client, to) = (Client::new(config).unwrap(), relay.address.clone());
        let ended = Arc::clone(&ended);
        dialling.spawn(async move {
            while !ended.load(Ordering::Relaxed) {
                assert!(client.status_of(&to).await.is_err());
            }
        });
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    newcomers_get_in(&cluster, leader, "400 half open").await;
    ended.store(true, Ordering::Relaxed);
    put(&client, "key", "another").await.unwrap();
    let status = client.status_of(&address).await.unwrap();
    assert_eq!(
        (status.role, status.term),
        (RoleKind::Leader, term),
        "{}",
        cluster.nodes[leader].log()
    );
    dialling.join_all().await;
}

fn is_busy(response: &Response) -> bool {
    matches!(response, Response::Error(error) if error.code == ErrorCode::Busy)
}

/// A page that was refused, as others were being read, counted as one that is read for ever.
#[tokio::test]
async fn log_pages_are_read_again_after_too_many_were_asked_for_at_once() {
    let cluster = Cluster::start(1).await;
    let value = "x".repeat(100_000);
    for number in 0..20 {
        put(&cluster.client(), &format!("k{number}"), &value).await.unwrap();
    }
    let operator =
        Arc::new(connect(&cluster, certs::RoleKind::Operator, Alpn::Client).await.unwrap());
    let page = Request::ReadLog { from: 1, entries_max: 1_000, detail: LogDetail::Values };
    let (began, mut refused) = (Instant::now(), 0);
    // More often than pages are read at a time.
    while refused < 20 {
        assert!(began.elapsed() < PATIENCE, "{refused} were refused");
        let mut asking = JoinSet::new();
        for _ in 0..50 {
            let (operator, page) = (Arc::clone(&operator), page.clone());
            asking.spawn(async move { operator.call(&page).await.unwrap() });
        }
        refused += asking.join_all().await.iter().filter(|response| is_busy(response)).count();
    }
    loop {
        let response = operator.call(&page).await.unwrap();
        if let Response::Log(page) = response {
            assert!(!page.entries.is_empty());
            return;
        }
        assert!(is_busy(&response) && began.elapsed() < PATIENCE, "{response:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
