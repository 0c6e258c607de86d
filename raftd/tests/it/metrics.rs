//! The port for monitoring, as Prometheus and a supervisor of containers use it: what it shows, in
//! which format, and that it neither holds up the node nor can be filled up.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::num::NonZeroU64;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use fixtures::load::{get as read, put};
use fixtures::{Cluster, PATIENCE, free_addresses};
use raftd::certs::{Authority, ClusterId, Identity, Role};
use raftd::machine::{
    Bytes, Command as Entry, Response, StoreError, StoredMachine, Transaction, View,
};
use raftd::{Config, Server};

use crate::http;
use crate::openmetrics::Page;

/// Everything that a node can show is shown soon in such a cluster.
const ALL: &str = "[limits]\nstate_scrub_interval_s = 1\n[raft]\nlease_clock_error_ppm = 1000\n";

fn page(address: &str) -> Page {
    let answer = http::get(address, "/metrics").expect("it answers");
    assert_eq!(answer.code, 200);
    let kind = "content-type: application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert!(answer.head.contains(kind), "{}", answer.head);
    Page::parse(&answer.body).unwrap_or_else(|why| panic!("{why}\n{}", answer.body))
}

/// Has promtool judge a page in the older format, where there is one.
fn lint(address: &str) {
    let request = format!("GET /metrics HTTP/1.0\r\nHost: {address}\r\n\r\n");
    let answer = http::send(address, request.as_bytes()).unwrap();
    assert!(answer.head.contains("text/plain; version=0.0.4"), "{}", answer.head);
    let mut tool = Command::new("promtool");
    tool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let Ok(mut tool) = tool.stderr(Stdio::piped()).spawn() else {
        eprintln!(
            "NOT SHOWN HERE: what promtool says of the metrics (Debian's package prometheus)"
        );
        return;
    };
    tool.stdin.take().unwrap().write_all(answer.body.as_bytes()).unwrap();
    let said = tool.wait_with_output().unwrap();
    let words = String::from_utf8_lossy(&said.stderr) + String::from_utf8_lossy(&said.stdout);
    assert!(said.status.success() && words.is_empty(), "promtool: {words}\n{}", answer.body);
}

#[tokio::test]
async fn every_metric_of_the_manual_is_shown_and_no_other_and_the_format_is_kept_to() {
    let mut cluster = Cluster::prepare(3);
    let addresses = http::equip(&cluster, ALL);
    for node in &mut cluster.nodes {
        node.start();
    }
    cluster.bootstrap().await;
    cluster.leader().await;
    let manual: BTreeSet<String> = raftd::metrics().into_iter().map(|row| row.name).collect();
    // Some file systems have no fixed number of them.
    let may_lack = "raftd_disk_free_inodes";
    let began = Instant::now();
    loop {
        let mut shown = BTreeSet::new();
        for address in &addresses {
            for (name, family) in page(address).families {
                let suffix = if family.kind == "counter" { "_total" } else { "" };
                shown.insert(name + suffix);
            }
        }
        let unknown: Vec<&String> = shown.difference(&manual).collect();
        assert!(unknown.is_empty(), "the manual lacks {unknown:?}");
        let missing = manual.difference(&shown).filter(|name| *name != may_lack);
        let missing: Vec<&String> = missing.collect();
        if missing.is_empty() {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "no node shows {missing:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    lint(&addresses[0]);
}

#[tokio::test]
async fn the_numbers_are_those_of_the_cluster() {
    let (cluster, addresses) = http::start(3).await;
    let client = cluster.client();
    for number in 0..20 {
        put(&client, "k", &number.to_string()).await.unwrap();
    }
    assert_eq!(read(&client, "k").await.unwrap().as_deref(), Some("19"));
    let applied = cluster.converged().await;
    let leader = cluster.leader().await;
    // The loop posts its state about once a second.
    let value = format!("raftd_applied_index {applied}\n");
    for address in &addresses {
        http::until(address, "/metrics", |answer| answer.body.contains(&value)).await;
    }
    for (place, address) in addresses.iter().enumerate() {
        let page = page(address);
        let one = |name: &str, labels: &[(&str, &str)]| page.value(name, labels);
        let leads = one("raftd_role", &[("role", "leader")]);
        assert_eq!(leads, Some(if place == leader { 1.0 } else { 0.0 }));
        assert_eq!(one("raftd_leader_id", &[]), Some(leader as f64 + 1.0));
        assert_eq!(one("raftd_voters", &[]), Some(3.0));
        assert_eq!(page.all("raftd_peer_connected").map(|peer| peer.value).sum::<f64>(), 2.0);
        assert!(one("raftd_log_sync_seconds_count", &[]) > Some(0.0));
        assert!(one("raftd_loop_age_seconds", &[]) < Some(5.0));
        let days = (one("raftd_certificate_expiry_timestamp_seconds", &[]).unwrap()
            - since_1970_s())
            / 86_400.0;
        assert!((1.0..4_000.0).contains(&days), "{days} days");
        let lag = page.all("raftd_peer_lag_entries").map(|peer| peer.value);
        let lag: Vec<f64> = lag.collect();
        assert_eq!(lag, if place == leader { vec![0.0; 2] } else { vec![] });
    }
    let page = page(&addresses[leader]);
    let writes = [("kind", "write"), ("result", "ok")];
    assert_eq!(page.value("raftd_requests_total", &writes), Some(20.0));
    assert_eq!(page.value("raftd_write_seconds_count", &[]), Some(20.0));
    let reads = [("kind", "read"), ("result", "ok")];
    assert_eq!(page.value("raftd_requests_total", &reads), Some(1.0));
    assert_eq!(page.value("raftd_connections", &[("kind", "peer")]), Some(2.0));
    assert!(page.value("raftd_connections", &[("kind", "operator")]) >= Some(1.0));
}

fn since_1970_s() -> f64 {
    let now = std::time::SystemTime::now();
    now.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64()
}

#[tokio::test]
async fn a_node_lives_without_history_and_quorum_and_says_why_it_does_not_serve() {
    let mut cluster = Cluster::prepare(3);
    let addresses = http::equip(&cluster, "");
    cluster.nodes[0].start();
    let one = &addresses[0];
    let answer = http::until(one, "/readyz", |answer| answer.body.contains("uninitialised")).await;
    assert_eq!(answer.code, 503);
    assert_eq!(http::get(one, "/livez").unwrap().code, 200);
    assert_eq!(page(one).value("raftd_initialised", &[]), Some(0.0));

    for node in &mut cluster.nodes[1..] {
        node.start();
    }
    cluster.bootstrap().await;
    cluster.leader().await;
    for address in &addresses {
        http::until(address, "/readyz", |answer| answer.code == 200).await;
    }
    for node in &mut cluster.nodes[1..] {
        node.kill();
    }
    let lonely = |answer: &http::Answer| answer.body.contains("no leader in term");
    let answer = http::until(one, "/readyz", lonely).await;
    assert_eq!(answer.code, 503, "{answer:?}");
    assert_eq!(http::get(one, "/livez").unwrap().code, 200);
    let page = page(one);
    assert_eq!(page.value("raftd_has_leader", &[]), Some(0.0));
    assert_eq!(page.value("raftd_ready", &[]), Some(0.0));
    assert!(page.value("raftd_elections_total", &[]).is_some());
}

#[tokio::test]
async fn a_disk_that_hangs_keeps_a_node_from_serving_and_not_from_living() {
    let Some((cluster, addresses, shim)) = http::start_behind_a_shim().await else { return };
    let address = &addresses[0];
    http::until(address, "/readyz", |answer| answer.code == 200).await;
    let finished = page(address).value("raftd_log_sync_seconds_count", &[]);
    shim.hang();
    let client = cluster.client_of(&[0], Duration::from_secs(1));
    let _ = put(&client, "k", "v").await;
    let why = "the disk has not finished a write for ";
    let waits = |answer: &http::Answer| answer.code == 503 && answer.body.contains(why);
    http::until(address, "/readyz", waits).await;
    assert_eq!(http::get(address, "/livez").unwrap().code, 200);
    let page = page(address);
    assert!(page.value("raftd_log_sync_running_seconds", &[]) >= Some(5.0));
    assert!(page.value("raftd_log_sync_seconds_count", &[]) <= finished.map(|count| count + 1.0));
    shim.heal();
    http::until(address, "/readyz", |answer| answer.code == 200).await;
}

/// A machine that stops the node's loop, when it is told to.
pub(crate) struct Stopper;

impl StoredMachine for Stopper {
    fn name(&self) -> &'static str {
        "stopper"
    }

    fn version(&self) -> u32 {
        1
    }

    fn apply(&self, _: &Entry<'_>, _: &mut Transaction<'_>) -> Result<Response, StoreError> {
        Ok(Bytes::new())
    }

    fn query(&self, _: &dyn View, _: &[u8]) -> Result<Response, StoreError> {
        Ok(Bytes::new())
    }

    /// The loop asks this before it proposes.
    fn frees_space(&self, command: &[u8]) -> bool {
        if command == b"hang" {
            std::thread::sleep(Duration::from_secs(15));
        }
        false
    }
}

#[tokio::test]
async fn a_loop_that_hangs_is_no_life_and_is_shown_all_the_same() {
    let authority = Authority::create(ClusterId::generate().unwrap(), PATIENCE).unwrap();
    let issue = |role| {
        let identity = Identity::new(authority.cluster(), role);
        authority.issue(&identity, PATIENCE).unwrap().credentials().unwrap()
    };
    let directory = tempfile::tempdir().unwrap();
    let address = free_addresses(1).remove(0);
    let certificate = issue(Role::Node(NonZeroU64::MIN));
    let mut config = Config::new(directory.path().join("data"), certificate)
        .listen("127.0.0.1:0".parse().unwrap());
    config.http.listen = Some(address.parse().unwrap());
    let node = Server::new(Stopper).start(config).await.unwrap();
    raftd::bootstrap(&[&node]).await.unwrap();
    http::until(&address, "/readyz", |answer| answer.code == 200).await;
    let client = node.client(&issue(Role::Client("c".parse().unwrap()))).unwrap();
    let hanging = tokio::spawn(async move { client.propose("hang".into()).await });
    let dead = |answer: &http::Answer| answer.code == 503;
    let answer = http::until(&address, "/livez", dead).await;
    assert!(answer.body.contains("the consensus loop has not turned for 1"), "{answer:?}");
    assert!(page(&address).value("raftd_loop_age_seconds", &[]) > Some(10.0));
    http::until(&address, "/livez", |answer| answer.code == 200).await;
    let _ = hanging.await.unwrap();
    node.stop().await.unwrap();
    assert!(http::get(&address, "/livez").is_none(), "the port is closed");
}

#[tokio::test]
async fn whoever_holds_connections_or_sends_nonsense_keeps_nobody_out() {
    let mut cluster = Cluster::prepare(1);
    let address = http::equip(&cluster, "connections_max = 4\n").remove(0);
    cluster.nodes[0].start();
    http::until(&address, "/livez", |answer| answer.code == 200).await;
    let mut held: Vec<TcpStream> = Vec::new();
    for _ in 0..20 {
        held.push(TcpStream::connect(&address).unwrap());
        assert_eq!(http::get(&address, "/livez").unwrap().code, 200);
    }
    // The oldest has given way; the youngest is closed when its time is up.
    for stream in &mut held {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let ended = stream.read(&mut [0; 1]);
        assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
        if let Err(error) = ended {
            assert_ne!(error.kind(), std::io::ErrorKind::WouldBlock, "it is never closed");
        }
    }
    let long = format!("GET /livez HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(20_000));
    let many = format!("GET /livez HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(200));
    for (request, code) in [
        ("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n", Some(200)),
        ("HEAD /metrics HTTP/1.1\r\nHost: a\r\n\r\n", Some(200)),
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", Some(200)),
        ("GET /etc/passwd HTTP/1.1\r\nHost: a\r\n\r\n", Some(404)),
        ("POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n", Some(405)),
        (&many, Some(431)),
        ("\u{16}\u{3}\u{1} this is no HTTP at all\r\n\r\n", Some(400)),
    ] {
        let answer = http::send(&address, request.as_bytes());
        assert_eq!(answer.as_ref().map(|answer| answer.code), code, "{request:.60}: {answer:?}");
    }
    // The rest of it may be on its way when the node refuses and closes.
    let answer = http::send(&address, long.as_bytes());
    assert!(answer.is_none_or(|answer| answer.code == 431));
    assert_eq!(http::get(&address, "/livez").unwrap().code, 200);
}

#[tokio::test]
async fn an_address_that_is_taken_costs_the_metrics_and_not_the_node() {
    let mut cluster = Cluster::prepare(1);
    let address = http::equip(&cluster, "").remove(0);
    let taken = TcpListener::bind(&address).unwrap();
    cluster.nodes[0].start();
    cluster.bootstrap().await;
    cluster.leader().await;
    put(&cluster.client(), "k", "v").await.unwrap();
    let log = cluster.nodes[0].logged("no metrics: cannot listen on TCP").await;
    assert!(log.contains(" WARN ") && log.contains(&address), "{log}");
    drop(taken);
    http::until(&address, "/readyz", |answer| answer.code == 200).await;
}

#[test]
fn metrics_are_offered_to_this_machine_only() {
    let cluster = Cluster::prepare(1);
    for listen in ["0.0.0.0:7401", "192.0.2.1:7401", "[::]:7401", "[2001:db8::1]:7401"] {
        cluster.nodes[0].configure(&format!("[http]\nlisten = \"{listen}\"\n"));
        let ended = cluster.nodes[0].command().output().unwrap();
        let said = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(78), "{said}");
        let why = format!("http.listen = \"{listen}\" is no address of the loopback interface");
        assert!(said.contains(&why) && said.contains("help: ") && said.contains("proxy"), "{said}");
    }
    for listen in ["127.0.0.1:7401", "127.8.9.10:7401", "[::1]:7401", "off"] {
        cluster.nodes[0].configure(&format!("[http]\nlisten = \"{listen}\"\n"));
        let mut check = cluster.nodes[0].command();
        assert!(check.arg("--check-config").output().unwrap().status.success(), "{listen}");
    }
}
