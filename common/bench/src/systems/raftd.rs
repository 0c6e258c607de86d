//! Nodes of raftd, as `raftctl dev` runs them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;
use serde_json::{Value, json};

use super::{Cluster, System, free_ports, spawn, version};

/// How a node counts the syncs of its log.
const SYNCS: &str = "raftd_log_sync_seconds_count";

/// The name of cluster and context.
pub(crate) const NAME: &str = "bench";

pub(super) fn find() -> Result<System, String> {
    let own = std::env::current_exe().map_err(|error| format!("where am I? {error}"))?;
    let program = own.with_file_name("raftctl");
    if !program.is_file() {
        let own = own.display();
        return Err(format!("there is no raftctl beside {own}; type: cargo build --release"));
    }
    Ok(System { name: "raftd", version: version(&program, "--version"), program })
}

/// A node of a cluster that was founded.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// Its configuration file, and what `raftctl dev` wrote there.
    pub(crate) configuration: PathBuf,
    text: String,
    /// Its data directory.
    pub(crate) data: PathBuf,
    /// Where it listens, and where it tells its metrics.
    pub(crate) endpoint: String,
    pub(crate) metrics: u16,
}

impl Place {
    /// Names the place of another node of its cluster, which has a configuration of its own.
    pub(crate) fn beside(&self, name: &str, port: u16) -> Self {
        let all = self.data.parent().map(Path::to_path_buf).unwrap_or_default();
        Self {
            configuration: all.join(format!("{NAME}-{name}/raftd.toml")),
            text: String::new(),
            data: all.join(format!("data-{name}")),
            endpoint: format!("127.0.0.1:{port}"),
            metrics: 0,
        }
    }

    /// Writes its configuration anew, with these settings in it.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub(crate) fn configure(&self, settings: &str) -> Result<(), String> {
        let (text, port, file) = (&self.text, self.metrics, &self.configuration);
        let more = format!("{text}\n{settings}\n[http]\nlisten = \"127.0.0.1:{port}\"\n");
        fs::write(file, more).map_err(|error| format!("{}: {error}", file.display()))
    }
}

/// Starts nodes twice: the first time, to have their configurations written.
pub(super) fn start(program: &Path, directory: &Path, nodes: usize) -> Result<Cluster, String> {
    let places = found(program, directory, nodes)?;
    let ports: Vec<u16> = places.iter().map(|place| place.metrics).collect();
    let mut cluster = run(program, directory, nodes, &ports)?;
    cluster.target = target(directory, &places);
    Ok(cluster)
}

/// Founds a cluster below a directory and stops its nodes again; says where they are.
///
/// # Errors
/// If it does not start.
pub(crate) fn found(program: &Path, directory: &Path, nodes: usize) -> Result<Vec<Place>, String> {
    let ports = free_ports(nodes)?;
    drop(run(program, directory, nodes, &[])?);
    let place = |(number, port): (usize, &u16)| {
        let configuration = directory.join(format!("dev/{NAME}-n{number}/raftd.toml"));
        let shown = configuration.display();
        let text = fs::read_to_string(&configuration).map_err(|e| format!("{shown}: {e}"))?;
        let endpoint = listens_at(&text).ok_or_else(|| format!("{shown} has no listen"))?;
        let data = directory.join(format!("dev/data-n{number}"));
        let place = Place { configuration, text, data, endpoint, metrics: *port };
        place.configure("").map(|()| place)
    };
    (1..).zip(&ports).map(place).collect()
}

/// Says what the generator must know of nodes.
pub(crate) fn target(directory: &Path, places: &[Place]) -> Value {
    let endpoints: Vec<&str> = places.iter().map(|place| place.endpoint.as_str()).collect();
    json!({
        "system": "raftd", "endpoints": endpoints,
        "certificates": operator(directory).display().to_string(),
    })
}

/// Says where the operator's certificate is.
pub(crate) fn operator(directory: &Path) -> PathBuf {
    directory.join("dev/operator")
}

/// Returns a call of `raftctl` on the cluster that was founded below a directory.
pub(crate) fn raftctl(program: &Path, directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.env("XDG_CONFIG_HOME", directory.join("config")).env_remove("RAFTCTL_CONTEXT");
    command.args(arguments);
    command
}

fn run(program: &Path, directory: &Path, nodes: usize, metrics: &[u16]) -> Result<Cluster, String> {
    let mut dev = raftctl(program, directory, &["dev", "--name", NAME]);
    dev.arg("--nodes").arg(nodes.to_string()).arg("--dir").arg(directory.join("dev"));
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
        let said = raftctl(program, directory, &["status", "--context", NAME]).output();
        said.is_ok_and(|output| output.status.success())
    })?;
    cluster.nodes = processes(&directory.join("dev"), nodes)?;
    Ok(cluster)
}

/// The lock file of a data directory names the process that holds it.
fn processes(directory: &Path, nodes: usize) -> Result<Vec<u32>, String> {
    let read = |number: usize| {
        let file: PathBuf = directory.join(format!("data-n{number}/LOCK"));
        let text = fs::read_to_string(&file).map_err(|error| error.to_string())?;
        text.trim().parse().map_err(|_| format!("{} names no process", file.display()))
    };
    (1..=nodes).map(read).collect()
}

/// Reads where a node listens.
fn listens_at(configuration: &str) -> Option<String> {
    let line = configuration.lines().find_map(|line| line.strip_prefix("listen = \""))?;
    Some(line.strip_suffix('"')?.to_owned())
}
