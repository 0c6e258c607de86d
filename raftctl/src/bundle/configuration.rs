//! The raftd.toml of a bundle. It holds no secret, so that everybody may read it: the daemon does
//! so as a user of its own.

use std::path::{Path, PathBuf};

use client::NodeStatus;

use super::bounded::read_bounded;
use super::plan::PlannedNode;
use crate::context::write_public;
use crate::report::Result;

/// What a node's raftd.toml says beyond its credentials.
#[derive(Clone, Debug, Default)]
pub(crate) struct NodeSettings {
    /// Where the node keeps its data; the daemon's default if not said.
    pub(crate) data_dir: Option<PathBuf>,
    /// The address to listen on; all addresses if not said.
    pub(crate) listen_host: Option<String>,
    /// What the leases of the cluster rest on, if it has any.
    pub(crate) lease: Option<Lease>,
}

/// What leases rest on: nodes that differ in the clock's error or the shortest election timeout
/// refuse each other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lease {
    clock_error_ppm: u32,
    /// The shortest, in milliseconds.
    election_timeout_ms: u64,
    /// At most half of that, in milliseconds.
    heartbeat_ms: u64,
}

/// The longest election timeout that a raftd.toml may name, in milliseconds.
const ELECTION_TIMEOUT_MS_MAX: u64 = 60_000;

impl Lease {
    /// Returns what the leases of a node's cluster rest on.
    pub(crate) fn of(status: &NodeStatus) -> Option<Self> {
        let &NodeStatus { lease, election_timeout_ms, heartbeat_ms, .. } = status;
        let clock_error_ppm = lease?.clock_error_ppm;
        Some(Self { clock_error_ppm, election_timeout_ms, heartbeat_ms })
    }

    fn text(&self) -> String {
        let Self { clock_error_ppm, election_timeout_ms: shortest, heartbeat_ms } = self;
        let longest = shortest.saturating_mul(2).min(ELECTION_TIMEOUT_MS_MAX);
        format!(
            "\n[raft]\n\
             # Nodes refuse each other that differ in the first line, or in the first number of\n\
             # the second: their leases would rest on other things.\n\
             lease_clock_error_ppm = {clock_error_ppm}\n\
             election_timeout_ms = [{shortest}, {longest}]\n\
             heartbeat_ms = {heartbeat_ms}\n"
        )
    }
}

/// Before the address, in the first line.
const REACHED_AT: &str = ", reached by the others at ";

/// Writes the file, also over one that was written for another address. One that somebody has
/// edited stays; then what is to be done by hand is returned.
pub(super) fn write(
    file: &Path,
    cluster: &str,
    node: &PlannedNode,
    settings: &NodeSettings,
) -> Result<Option<String>> {
    let wanted = text(cluster, node, settings);
    let Some(present) = read_bounded(file)? else {
        return write_public(file, wanted.as_bytes()).map(|()| None);
    };
    let present = String::from_utf8_lossy(&present);
    let Some(before) = address(&present).filter(|before| *before != node.address) else {
        return Ok(None);
    };
    let then = PlannedNode { address: before.to_owned(), ..node.clone() };
    if present == text(cluster, &then, settings) {
        return write_public(file, wanted.as_bytes()).map(|()| None);
    }
    Ok(Some(format!(
        "{} was edited and stays as it is; it is for {before}, the node is to be reached at {}: \
         mend `listen` there",
        file.display(),
        node.address
    )))
}

/// Returns the address for which a file was written.
fn address(text: &str) -> Option<&str> {
    text.lines().next()?.split_once(REACHED_AT)?.1.strip_suffix('.')
}

/// Returns a node's raftd.toml.
pub(super) fn text(cluster: &str, node: &PlannedNode, settings: &NodeSettings) -> String {
    let port = node.address.rsplit_once(':').map_or("7400", |(_, port)| port);
    let host = settings.listen_host.as_deref().unwrap_or("[::]");
    let data = settings.data_dir.as_deref().unwrap_or(Path::new("/var/lib/raftd"));
    let data = toml::Value::String(data.display().to_string());
    let PlannedNode { id, name, address } = node;
    let lease = settings.lease.map(|lease| lease.text()).unwrap_or_default();
    format!(
        "# {name} (node {id}) of cluster {cluster}{REACHED_AT}{address}.\n\
         # Paths are relative to this file; raftd.toml(5) lists every key.\n\
         data_dir = {data}\n\
         listen = \"{host}:{port}\"\n\n\
         [identity]\n\
         ca = \"ca.crt\"\n\
         certificate = \"node.crt\"\n\
         key = \"node.key\"\n{lease}"
    )
}
