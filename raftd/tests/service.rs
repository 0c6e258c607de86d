//! A node below a service manager: what it is told, READY as soon as the node can be talked to and
//! no later; and what a node does whose log, whose manager or whose signals behave badly.
#![allow(clippy::unwrap_used)]

mod kit;

use std::io::{PipeReader, PipeWriter, Read as _, Write as _};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use certs::{Authority, ClusterId, Identity, Role};
use client::{Client, ClientConfig};
use consensus::RoleKind;
use kit::load::put;
use kit::{Cluster, PATIENCE};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::{Pid, Signal, kill_process};

/// The service manager's end of the socket.
struct Manager(UnixDatagram);

impl Manager {
    fn listen(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(socket)
    }

    /// Waits for a message with this line, and returns all that came until then.
    fn hear(&self, line: &str) -> Vec<String> {
        let mut heard = Vec::new();
        let mut buffer = [0; 4_096];
        loop {
            let length = self.0.recv(&mut buffer).expect("the node says it in time");
            let text = String::from_utf8(buffer[..length].to_vec()).unwrap();
            heard.extend(text.lines().map(str::to_owned));
            if heard.iter().any(|said| said.starts_with(line)) {
                return heard;
            }
        }
    }
}

fn start(cluster: &Cluster, place: usize, socket: &Path) -> Child {
    let mut command = cluster.nodes[place].command();
    command.env("NOTIFY_SOCKET", socket).env("WATCHDOG_USEC", "400000");
    command.env_remove("WATCHDOG_PID");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap()
}

fn stop(mut child: Child) {
    signal(&child, Signal::TERM);
    let began = Instant::now();
    let ended = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if began.elapsed() > PATIENCE {
            child.kill().unwrap();
            panic!("it is deaf to SIGTERM");
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    assert!(ended.success(), "{ended}");
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

/// A pipe that is full, and that nobody reads.
fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = std::io::pipe().unwrap();
    let flags = fcntl_getfl(&writer).unwrap();
    fcntl_setfl(&writer, flags | OFlags::NONBLOCK).unwrap();
    for size in [4_096, 1] {
        while writer.write(&vec![b'.'; size]).is_ok() {}
    }
    fcntl_setfl(&writer, flags).unwrap();
    (reader, writer)
}

/// Dials a node so many times with the certificate of an authority that is not its own.
async fn knock(address: &str, times: usize) {
    let authority = Authority::create(ClusterId::generate().unwrap(), PATIENCE).unwrap();
    let identity = Identity::new(authority.cluster(), Role::Operator("mallory".parse().unwrap()));
    let stranger = Client::new(ClientConfig {
        endpoints: vec![address.to_owned()],
        credentials: authority.issue(&identity, PATIENCE).unwrap().credentials().unwrap(),
        deadline: PATIENCE,
        connect_timeout: Duration::from_secs(1),
    });
    let stranger = stranger.unwrap();
    for _ in 0..times {
        stranger.status_of(address).await.unwrap_err();
    }
}

#[tokio::test]
async fn ready_never_waits_for_a_quorum_and_the_watchdog_is_fed() {
    let mut cluster = Cluster::prepare(3);
    let path = cluster.path().join("notify");
    let manager = Manager::listen(&path);

    // Uninitialised, and alone.
    let child = start(&cluster, 0, &path);
    manager.hear("READY=1");
    stop(child);
    manager.hear("STOPPING=1");

    // Bootstrapped, and alone: two of three are down, and nobody can lead.
    for node in &mut cluster.nodes {
        node.start();
    }
    cluster.bootstrap().await;
    cluster.leader().await;
    for node in &mut cluster.nodes {
        node.kill();
    }
    let child = start(&cluster, 0, &path);
    let heard = manager.hear("READY=1");
    assert!(!heard.iter().any(|line| line == "STOPPING=1"), "{heard:?}");
    let heard = manager.hear("WATCHDOG=1");
    assert!(heard.iter().any(|line| line == "WATCHDOG=1"), "{heard:?}");
    manager.hear("STATUS=");
    stop(child);
    manager.hear("STOPPING=1");
}

#[tokio::test]
async fn a_log_that_nobody_reads_costs_neither_leadership_nor_the_answer_to_sigterm() {
    let mut cluster = Cluster::prepare(1);
    cluster.nodes[0].start();
    cluster.bootstrap().await;
    cluster.nodes[0].kill();
    cluster.nodes[0].configure("");
    let (mut reader, writer) = full_pipe();
    let path = cluster.path().join("notify");
    let manager = Manager::listen(&path);
    let mut command = cluster.nodes[0].command();
    command.args(["--log-level", "trace"]).env("NOTIFY_SOCKET", &path);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(writer);
    let child = command.spawn().unwrap();
    // The command holds the pipe as well.
    drop(command);
    cluster.leader().await;
    let client = cluster.client();
    let term = client.status_of(&cluster.nodes[0].address).await.unwrap().term;

    knock(&cluster.nodes[0].address, 240).await;
    let lost = |line: &String| line.starts_with("STATUS=") && line.contains("log lines lost");
    while !manager.hear("STATUS=").iter().any(lost) {
        put(&client, "k", "v").await.unwrap();
        knock(&cluster.nodes[0].address, 10).await;
    }
    let status = client.status_of(&cluster.nodes[0].address).await.unwrap();
    assert_eq!((status.role, status.term), (RoleKind::Leader, term), "it leads all the while");

    // Who reads again is told how much is missing.
    let mut said = String::new();
    let mut buffer = vec![0; 1 << 16];
    while !said.contains("log lines were lost") {
        let length = reader.read(&mut buffer).unwrap();
        assert!(length > 0, "the node lives");
        let kept = said.len().saturating_sub(100);
        said = said.split_off(said.ceil_char_boundary(kept));
        said.push_str(&String::from_utf8_lossy(&buffer[..length]));
    }
    // And who stops once more holds up no end.
    knock(&cluster.nodes[0].address, 240).await;
    stop(child);
}

#[tokio::test]
async fn strangers_are_logged_a_few_times_and_then_counted() {
    let mut cluster = Cluster::start(1).await;
    knock(&cluster.nodes[0].address, 60).await;
    let client = cluster.client();
    put(&client, "k", "v").await.unwrap();
    client.close().await;
    cluster.nodes[0].signal(Signal::TERM);
    assert!(cluster.nodes[0].ended().success());
    let log = cluster.nodes[0].log();
    let warnings: Vec<&str> = log.lines().filter(|line| line.contains(" WARN ")).collect();
    let is_knock = |line: &&str| line.contains("refused for its certificate");
    let (knocks, others): (Vec<&str>, Vec<&str>) = warnings.into_iter().partition(is_knock);
    assert_eq!(knocks.len(), 4, "three, and how many more: {log}");
    let last = knocks[3];
    assert!(last.contains("57 more in the last") && last.contains("from=127.0.0.1:"), "{last}");
    // Whoever came with a good certificate and went again is nothing to warn of.
    assert!(others.iter().all(|line| line.contains("UDP buffers")), "{log}");
}
