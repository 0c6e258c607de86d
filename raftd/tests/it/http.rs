//! HTTP as a monitoring system speaks it, and clusters whose nodes have a port for it.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use fixtures::{Cluster, DiskShim, PATIENCE, free_addresses};

/// What `Accept` says of Prometheus.
pub(crate) const OPEN_METRICS: &str = "application/openmetrics-text;version=1.0.0;q=0.75,\
                                       text/plain;version=0.0.4;q=0.5,*/*;q=0.1";

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

/// Sends bytes, and reads until the node closes the connection; `None` if nobody answers.
pub(crate) fn send(address: &str, request: &[u8]) -> Option<Answer> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request).ok()?;
    let mut answer = Vec::new();
    // A node that refuses may close before it has read all.
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let code = head.split(' ').nth(1)?.parse().ok()?;
    Some(Answer { code, head: head.to_lowercase(), body: body.to_owned() })
}

/// Asks for a page; `None` if nobody answers.
pub(crate) fn get(address: &str, path: &str) -> Option<Answer> {
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nAccept: {OPEN_METRICS}\r\n\r\n");
    send(address, request.as_bytes())
}

/// Asks for a page until the answer is as wanted.
pub(crate) async fn until(address: &str, path: &str, wanted: impl Fn(&Answer) -> bool) -> Answer {
    let began = Instant::now();
    loop {
        let answer = get(address, path);
        match answer {
            Some(answer) if wanted(&answer) => return answer,
            Some(_) | None => {}
        }
        assert!(began.elapsed() < PATIENCE, "{path} is not as wanted: {answer:#?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Gives each node of a cluster that is not started yet a port; returns the addresses.
pub(crate) fn equip(cluster: &Cluster, more: &str) -> Vec<String> {
    let addresses = free_addresses(cluster.nodes.len());
    for (node, address) in cluster.nodes.iter().zip(&addresses) {
        node.configure(&format!("[http]\nlisten = \"{address}\"\n{more}"));
    }
    addresses
}

/// Starts and bootstraps a cluster whose nodes have a port each.
pub(crate) async fn start(count: usize) -> (Cluster, Vec<String>) {
    let mut cluster = Cluster::prepare(count);
    let addresses = equip(&cluster, "");
    for node in &mut cluster.nodes {
        node.start();
    }
    cluster.bootstrap().await;
    cluster.leader().await;
    (cluster, addresses)
}

/// Starts and bootstraps one node with a port, and a shim before its disk; `None` where there is no
/// C compiler.
pub(crate) async fn start_behind_a_shim() -> Option<(Cluster, Vec<String>, DiskShim)> {
    let mut cluster = Cluster::prepare(1);
    let addresses = equip(&cluster, "");
    let Some(shim) = cluster.nodes[0].shim() else {
        eprintln!("NOT SHOWN HERE: a disk that hangs takes a C compiler (cc)");
        return None;
    };
    cluster.nodes[0].start();
    cluster.bootstrap().await;
    cluster.leader().await;
    Some((cluster, addresses, shim))
}
