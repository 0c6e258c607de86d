//! What the service manager is told: READY as soon as the node can be talked to, and no later.
#![allow(clippy::unwrap_used)]

mod kit;

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Stdio};

use kit::{Cluster, PATIENCE};

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
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(child.wait().unwrap().success());
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
