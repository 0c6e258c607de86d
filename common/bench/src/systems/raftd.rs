//! Three nodes of raftd, as `raftctl dev` runs them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;
use serde_json::json;

use super::{Cluster, NODES, System, free_ports, spawn, version};

/// How a node counts the syncs of its log.
const SYNCS: &str = "raftd_log_sync_seconds_count";

pub(super) fn find() -> Result<System, String> {
    let own = std::env::current_exe().map_err(|error| format!("where am I? {error}"))?;
    let program = own.with_file_name("raftctl");
    if !program.is_file() {
        let own = own.display();
        return Err(format!("there is no raftctl beside {own}; type: cargo build --release"));
    }
    Ok(System { name: "raftd", version: version(&program, "--version"), program })
}

/// Starts nodes twice: the first time, to have their configurations written.
pub(super) fn start(program: &Path, directory: &Path) -> Result<Cluster, String> {
    let ports = free_ports(NODES)?;
    drop(run(program, directory, &[])?);
    let mut endpoints = Vec::new();
    for (place, port) in ports.iter().enumerate() {
        let file = directory.join(format!("dev/bench-n{}/raftd.toml", place + 1));
        let said = |error: std::io::Error| format!("{}: {error}", file.display());
        let text = fs::read_to_string(&file).map_err(said)?;
        endpoints
            .push(listens_at(&text).ok_or_else(|| format!("{} has no listen", file.display()))?);
        let more = format!("{text}\n[http]\nlisten = \"127.0.0.1:{port}\"\n");
        fs::write(&file, more).map_err(said)?;
    }
    let mut cluster = run(program, directory, &ports)?;
    let operator = directory.join("dev/operator");
    cluster.target = json!({
        "system": "raftd", "endpoints": endpoints, "certificates": operator.display().to_string(),
    });
    Ok(cluster)
}

fn run(program: &Path, directory: &Path, metrics: &[u16]) -> Result<Cluster, String> {
    let raftctl = || {
        let mut command = Command::new(program);
        command.env("XDG_CONFIG_HOME", directory.join("config")).env_remove("RAFTCTL_CONTEXT");
        command
    };
    let mut dev = raftctl();
    dev.args(["dev", "--name", "bench", "--nodes", &NODES.to_string()]);
    dev.arg("--dir").arg(directory.join("dev"));
    let log = directory.join("dev.log");
    let cluster = Cluster {
        processes: vec![spawn(dev, &log)?],
        nodes: Vec::new(),
        target: json!(null),
        end: Signal::INT,
        metrics: metrics.to_vec(),
        syncs: (!metrics.is_empty()).then_some(SYNCS),
    };
    let mut cluster = cluster.await_service(&log, |_| {
        let said = raftctl().args(["status", "--context", "bench"]).output();
        said.is_ok_and(|output| output.status.success())
    })?;
    cluster.nodes = nodes(&directory.join("dev"))?;
    Ok(cluster)
}

/// The lock file of a data directory names the process that holds it.
fn nodes(directory: &Path) -> Result<Vec<u32>, String> {
    let read = |place: usize| {
        let file: PathBuf = directory.join(format!("data-n{place}/LOCK"));
        let text = fs::read_to_string(&file).map_err(|error| error.to_string())?;
        text.trim().parse().map_err(|_| format!("{} names no process", file.display()))
    };
    (1..=NODES).map(read).collect()
}

/// Reads where a node listens.
fn listens_at(configuration: &str) -> Option<String> {
    let line = configuration.lines().find_map(|line| line.strip_prefix("listen = \""))?;
    Some(line.strip_suffix('"')?.to_owned())
}
