//! A node below a service manager: what it is told, READY as soon as the node can be talked to and
//! no later; and what a node does whose log, whose manager or whose signals behave badly.

use std::io::{PipeReader, PipeWriter, Read as _, Write as _};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use certs::{Authority, ClusterId, Identity, Role};
use client::{Client, ClientConfig};
use consensus::RoleKind;
use fixtures::load::{get, put};
use fixtures::{Cluster, PATIENCE};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::{Pid, Signal, kill_process};

/// The service manager's end of the socket.
pub(crate) struct Manager(UnixDatagram);

impl Manager {
    pub(crate) fn listen(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(socket)
    }

    /// Waits for a message with this line, and returns all that came until then.
    pub(crate) fn hear(&self, line: &str) -> Vec<String> {
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

    /// Returns all that has come until now.
    pub(crate) fn heard(&self) -> Vec<String> {
        self.0.set_nonblocking(true).unwrap();
        let mut heard = Vec::new();
        let mut buffer = [0; 4_096];
        while let Ok(length) = self.0.recv(&mut buffer) {
            heard.push(String::from_utf8(buffer[..length].to_vec()).unwrap());
        }
        self.0.set_nonblocking(false).unwrap();
        heard
    }
}

pub(crate) fn start(cluster: &Cluster, place: usize, socket: &Path) -> Child {
    let mut command = cluster.nodes[place].command();
    command.env("NOTIFY_SOCKET", socket).env("WATCHDOG_USEC", "400000");
    command.env_remove("WATCHDOG_PID");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap()
}

pub(crate) fn stop(mut child: Child) {
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
pub(crate) fn full_pipe() -> (PipeReader, PipeWriter) {
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
pub(crate) async fn knock(address: &str, times: usize) {
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

/// The manager would never start a node again whose other threads are well.
#[tokio::test]
async fn a_loop_that_hangs_feeds_no_watchdog() {
    let mut cluster = Cluster::prepare(1);
    let Some(shim) = cluster.nodes[0].shim() else {
        eprintln!("NOT SHOWN HERE: a loop that hangs takes a C compiler (cc)");
        return;
    };
    let path = cluster.path().join("notify");
    let manager = Manager::listen(&path);
    let child = start(&cluster, 0, &path);
    manager.hear("WATCHDOG=1");
    shim.hang_loop();
    // What was on its way still comes.
    std::thread::sleep(Duration::from_secs(2));
    manager.heard();
    // So long a manager with this watchdog waits for ten keepalives.
    std::thread::sleep(Duration::from_secs(4));
    let heard = manager.heard();
    shim.heal();
    manager.hear("WATCHDOG=1");
    stop(child);
    assert_eq!(heard, [""; 0], "nothing says that the loop is alive");
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
    let is_knock = |line: &&str| line.contains("certificate was not accepted");
    let (knocks, others): (Vec<&str>, Vec<&str>) = warnings.into_iter().partition(is_knock);
    assert_eq!(knocks.len(), 4, "three, and how many more: {log}");
    let last = knocks[3];
    assert!(last.contains("57 more in the last") && last.contains("from=127.0.0.1:"), "{last}");
    // Whoever came with a good certificate and went again is nothing to warn of.
    assert!(others.iter().all(|line| line.contains("UDP buffers")), "{log}");
}

#[tokio::test]
async fn a_manager_that_takes_nothing_holds_up_nobody() {
    let cluster = Cluster::prepare(1);
    let path = cluster.path().join("notify");
    let manager = Manager::listen(&path);
    let filler = UnixDatagram::unbound().unwrap();
    filler.set_nonblocking(true).unwrap();
    while filler.send_to(b"full", &path).is_ok() {}
    let child = start(&cluster, 0, &path);
    cluster.bootstrap().await;
    cluster.leader().await;
    put(&cluster.client(), "k", "v").await.unwrap();
    // Longer than it takes to fill what waits for the manager: a keepalive each 0.2 s.
    tokio::time::sleep(Duration::from_secs(4)).await;
    put(&cluster.client(), "k", "w").await.unwrap();
    stop(child);
    drop(manager);
}

#[tokio::test]
async fn streams_that_are_closed_or_full_cost_neither_the_data_nor_the_end() {
    let cluster = Cluster::prepare(1);
    let config = cluster.nodes[0].directory.join("raftd.toml");
    let mut founded = false;
    for streams in ["0<&- 1>&- 2>&-", "2>&-", "1>/dev/full 2>/dev/full", "2>/dev/null"] {
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(format!("exec \"$0\" --config \"$1\" {streams}"));
        shell.arg(env!("CARGO_BIN_EXE_raftd")).arg(&config).stdin(Stdio::null());
        let child = shell.spawn().unwrap();
        if !std::mem::replace(&mut founded, true) {
            cluster.bootstrap().await;
        }
        cluster.leader().await;
        // A file of the node's never has the number of a stream that it writes to.
        for stream in 0..3 {
            let place = std::fs::read_link(format!("/proc/{}/fd/{stream}", child.id())).unwrap();
            assert!(!place.starts_with(cluster.path()), "{streams}: {}", place.display());
            assert!(!place.to_string_lossy().contains("socket"), "{streams}: {}", place.display());
        }
        let client = cluster.client();
        put(&client, "k", streams).await.unwrap();
        assert_eq!(get(&client, "k").await.unwrap().as_deref(), Some(streams));
        knock(&cluster.nodes[0].address, 5).await;
        stop(child);
    }
}

#[tokio::test]
async fn hangups_end_no_node_and_a_second_sigterm_is_no_harm() {
    let mut cluster = Cluster::prepare(1);
    cluster.nodes[0].start();
    cluster.bootstrap().await;
    cluster.leader().await;
    for _ in 0..1_000 {
        cluster.nodes[0].signal(Signal::HUP);
    }
    put(&cluster.client(), "k", "v").await.unwrap();
    cluster.nodes[0].signal(Signal::TERM);
    cluster.nodes[0].signal(Signal::TERM);
    assert!(cluster.nodes[0].ended().success(), "{}", cluster.nodes[0].log());
    // In the middle of the start too: from the first file on that it opens.
    for _ in 0..5 {
        cluster.nodes[0].start();
        let files = format!("/proc/{}/fd", cluster.nodes[0].pid());
        let began = Instant::now();
        let opens = |file: std::fs::DirEntry| {
            std::fs::read_link(file.path())
                .is_ok_and(|place| place.starts_with(&cluster.nodes[0].data))
        };
        while !std::fs::read_dir(&files).unwrap().flatten().any(opens) {
            assert!(began.elapsed() < PATIENCE, "{}", cluster.nodes[0].log());
        }
        cluster.nodes[0].signal(Signal::HUP);
        cluster.leader().await;
        cluster.nodes[0].signal(Signal::TERM);
        assert!(cluster.nodes[0].ended().success(), "{}", cluster.nodes[0].log());
    }
    assert!(!cluster.nodes[0].log().contains("panic"), "{}", cluster.nodes[0].log());
}

/// Whoever runs it at a terminal ends it so.
#[tokio::test]
async fn sigint_ends_a_node_in_good_order() {
    let mut cluster = Cluster::prepare(1);
    cluster.nodes[0].start();
    cluster.bootstrap().await;
    cluster.leader().await;
    cluster.nodes[0].signal(Signal::INT);
    assert!(cluster.nodes[0].ended().success(), "{}", cluster.nodes[0].log());
}

#[tokio::test]
async fn a_peer_that_is_missing_is_said_so_once_with_the_reason_and_once_when_it_is_back() {
    let mut cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    let gone = (leader + 1) % 3;
    cluster.nodes[gone].kill();
    let (id, address) = (cluster.nodes[gone].id, cluster.nodes[gone].address.clone());
    let missing = format!("no connection to n{id} (node {id}, {address}) for ");
    let log = cluster.nodes[leader].logged(&missing).await;
    let lines: Vec<&str> = log.lines().filter(|line| line.contains(&missing)).collect();
    assert_eq!(lines.len(), 1, "{log}");
    let why = lines[0].split(" s: ").nth(1).unwrap_or_default();
    assert!(lines[0].contains(" WARN ") && !why.is_empty(), "{}", lines[0]);
    cluster.nodes[gone].start();
    let log = cluster.nodes[leader].logged("connected again, after ").await;
    assert_eq!(log.matches("no connection to n").count(), 1, "{log}");
    assert!(!log.contains(" ERROR "), "{log}");
}

#[test]
fn an_address_that_cannot_be_listened_on_is_explained_and_tried_again() {
    let cluster = Cluster::prepare(1);
    let path = cluster.path().join("notify");
    let manager = Manager::listen(&path);
    let taken = std::net::UdpSocket::bind(&cluster.nodes[0].address).unwrap();
    let me = format!("(pid {})", std::process::id());
    let port = taken.local_addr().unwrap().port().to_string();
    for (listen, wanted) in [
        (cluster.nodes[0].address.as_str(), [me.as_str(), port.as_str()]),
        ("192.0.2.1:7400", ["no interface of this machine has 192.0.2.1", "ip address"]),
    ] {
        let mut command = cluster.nodes[0].command();
        command.env("NOTIFY_SOCKET", &path);
        let ended = command.args(["--listen", listen]).output().unwrap();
        let said = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(74), "{said}");
        assert!(said.contains(&format!("cannot listen on UDP {listen}")), "{said}");
        assert!(said.contains("\nhelp: ") && said.contains(" ERROR "), "{said}");
        assert!(wanted.iter().all(|words| said.contains(words)), "{said}");
        let waits = said.contains("waiting for the address");
        assert_eq!(waits, listen.starts_with("192.0.2."), "a port that is taken stays so: {said}");
    }
    // It took its time to start, whatever the unit allows.
    let heard = manager.hear("STATUS=");
    let extended = heard.iter().any(|said| said == "EXTEND_TIMEOUT_USEC=60000000");
    assert!(extended && !heard.iter().any(|said| said == "READY=1"), "{heard:?}");
}

#[test]
fn the_last_words_wait_for_nobody_and_what_is_asked_for_is_written_or_refused() {
    let cluster = Cluster::prepare(1);
    let (_reader, writer) = full_pipe();
    for (arguments, code) in [
        (["--listen", "192.0.2.1:7400"], 74),
        (["--listen", "nowhere"], 78),
        (["--nonsense", "1"], 64),
    ] {
        let mut command = cluster.nodes[0].command();
        command.args(arguments).stdin(Stdio::null()).stderr(writer.try_clone().unwrap());
        let mut child = command.spawn().unwrap();
        let began = Instant::now();
        while child.try_wait().unwrap().is_none() {
            if began.elapsed() > PATIENCE {
                child.kill().unwrap();
                panic!("{arguments:?}: it waits for a reader");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(child.wait().unwrap().code(), Some(code), "{arguments:?}");
    }
    for asked in ["--check-config", "--help", "--version"] {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let mut command = cluster.nodes[0].command();
        let ended = command.arg(asked).stdout(full).output().unwrap();
        let said = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(74), "{asked}: {said}");
        assert!(said.contains("No space left on device") && !said.contains("panic"), "{said}");
    }
}

/// Starts a node with this socket as its manager's.
fn start_on(cluster: &Cluster, socket: std::net::UdpSocket) -> Child {
    let config = cluster.nodes[0].directory.join("raftd.toml");
    let script = "LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" --config \"$1\" 3<&0 0</dev/null";
    let mut shell = Command::new("sh");
    shell.args(["-c", script, env!("CARGO_BIN_EXE_raftd")]).arg(&config);
    shell.stdin(Stdio::from(std::os::fd::OwnedFd::from(socket)));
    shell.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

#[tokio::test]
async fn a_port_that_the_manager_has_opened_is_used_and_must_be_the_one_that_is_configured() {
    let cluster = Cluster::prepare(1);
    let address = cluster.nodes[0].address.clone();
    // Who would open it again finds it taken.
    let child = start_on(&cluster, std::net::UdpSocket::bind(&address).unwrap());
    cluster.bootstrap().await;
    cluster.leader().await;
    put(&cluster.client(), "k", "v").await.unwrap();
    stop(child);

    let other = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = other.local_addr().unwrap().port();
    let ended = start_on(&cluster, other).wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(78), "{said}");
    assert!(said.contains(&format!("port {port}, but listen = \"{address}\"")), "{said}");
}

#[tokio::test]
async fn a_node_answers_at_all_addresses_that_it_listens_on() {
    let mut cluster = Cluster::prepare(1);
    let port = cluster.nodes[0].address.rsplit_once(':').unwrap().1.to_owned();
    let second = format!("127.0.0.2:{port}");
    let own = cluster.nodes[0].directory.join("raftd.d");
    std::fs::create_dir(&own).unwrap();
    let text = format!("listen = [\"{}\", \"{second}\"]\n", cluster.nodes[0].address);
    std::fs::write(own.join("50-own.toml"), text).unwrap();
    cluster.nodes[0].start();
    cluster.bootstrap().await;
    cluster.leader().await;
    let client = cluster.client();
    let first = client.status_of(&cluster.nodes[0].address).await.unwrap();
    assert_eq!(client.status_of(&second).await.unwrap().boot, first.boot, "the same process");
    // It is dialled at one of them, so there is nothing to warn of.
    let log = cluster.nodes[0].log();
    assert!(log.contains(&format!("listen={}, {second}", cluster.nodes[0].address)), "{log}");
    assert!(!log.contains("at another address than it listens on"), "{log}");
    // One that is taken is named with its remedy, whichever it is.
    let holder = std::net::UdpSocket::bind("127.0.0.3:0").unwrap();
    let taken = holder.local_addr().unwrap().to_string();
    cluster.nodes[0].kill();
    let text = format!("listen = \"{}, {taken}\"\n", cluster.nodes[0].address);
    std::fs::write(own.join("50-own.toml"), text).unwrap();
    cluster.nodes[0].start();
    assert_eq!(cluster.nodes[0].ended().code(), Some(74));
    let log = cluster.nodes[0].log();
    assert!(log.contains(&format!("cannot listen on UDP {taken}")), "{log}");
}
