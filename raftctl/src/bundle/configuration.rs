//! The raftd.toml of a bundle. It holds no secret, so that everybody may read it: the daemon does
//! so as a user of its own.

use std::path::{Path, PathBuf};

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
    format!(
        "# {name} (node {id}) of cluster {cluster}{REACHED_AT}{address}.\n\
         # Paths are relative to this file; raftd.toml(5) lists every key.\n\
         data_dir = {data}\n\
         listen = \"{host}:{port}\"\n\n\
         [identity]\n\
         ca = \"ca.crt\"\n\
         certificate = \"node.crt\"\n\
         key = \"node.key\"\n"
    )
}
