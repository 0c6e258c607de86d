//! Three nodes of etcd. All that is not named here is as etcd has it.

use std::path::Path;
use std::process::Command;

use rustix::process::Signal;
use serde_json::json;

use super::{Cluster, NODES, System, free_ports, on_path, spawn, version};
use crate::certificates::Certificates;
use crate::generator::etcd::leader;

const INSTALL: &str =
    "apt-get install etcd-server (3.5 or newer: a release from github.com/etcd-io)";

/// How a node counts the syncs of its log.
const SYNCS: &str = "etcd_disk_wal_fsync_duration_seconds_count";

/// More than a run writes; the default would end it.
const QUOTA: &str = "--quota-backend-bytes=8589934592";

pub(super) fn find() -> Result<System, String> {
    let program = on_path("etcd", INSTALL)?;
    Ok(System { name: "etcd", version: version(&program, "--version"), program })
}

/// With `--listen-client-http-urls`: without it, etcd serves gRPC over TLS by way of a server for
/// HTTP, at half its speed.
pub(super) fn start(program: &Path, directory: &Path) -> Result<Cluster, String> {
    let files = Certificates::make(directory)?;
    let ports = free_ports(4 * NODES)?;
    let url = |kind: usize, node: usize| {
        let scheme = if kind == 2 { "http" } else { "https" };
        format!("{scheme}://127.0.0.1:{}", ports[kind * NODES + node])
    };
    let peers: Vec<String> = (0..NODES).map(|node| format!("n{node}={}", url(1, node))).collect();
    let log = directory.join("etcd.log");
    let mut processes = Vec::new();
    for node in 0..NODES {
        let mut command = Command::new(program);
        command.arg(format!("--name=n{node}")).arg(QUOTA);
        command.arg(format!("--data-dir={}", directory.join(format!("n{node}")).display()));
        command.arg(format!("--listen-client-urls={}", url(0, node)));
        command.arg(format!("--advertise-client-urls={}", url(0, node)));
        command.arg(format!("--listen-peer-urls={}", url(1, node)));
        command.arg(format!("--initial-advertise-peer-urls={}", url(1, node)));
        command.arg(format!("--listen-metrics-urls={}", url(2, node)));
        command.arg(format!("--listen-client-http-urls={}", url(3, node)));
        command.arg(format!("--initial-cluster={}", peers.join(",")));
        for side in ["", "peer-"] {
            command.arg(format!("--{side}cert-file={}", files.certificate.display()));
            command.arg(format!("--{side}key-file={}", files.key.display()));
            command.arg(format!("--{side}trusted-ca-file={}", files.authority.display()));
            command.arg(format!("--{side}client-cert-auth"));
        }
        processes.push(spawn(command, &log)?);
    }
    let endpoints: Vec<String> =
        (0..NODES).map(|node| format!("127.0.0.1:{}", ports[node])).collect();
    let cluster = Cluster {
        nodes: processes.iter().map(std::process::Child::id).collect(),
        processes,
        target: json!({
            "system": "etcd", "endpoints": endpoints,
            "certificates": directory.display().to_string(),
        }),
        end: Signal::TERM,
        metrics: ports[2 * NODES..3 * NODES].to_vec(),
        syncs: Some(SYNCS),
    };
    cluster.await_service(&log, |_| leader(&files, &endpoints).is_ok())
}
