//! Nodes that are added later: their ids and bundles. An id is reserved by name, in a file that
//! only grows, before a certificate names it; a removed node's id is never given away again.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

use certs::Authority;
use consensus::Configuration;
use serde::{Deserialize, Serialize};

use super::{Bundles, NodeSettings, PlannedNode, read_bounded};
use crate::codes;
use crate::context::write_private;
use crate::report::{Report, Result};

/// The file of reserved ids.
const ADDED: &str = "added.toml";

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Added {
    /// Every node that was ever added, with its id.
    #[serde(rename = "node", default)]
    nodes: Vec<PlannedNode>,
}

impl Bundles {
    /// Reserves ids for these nodes and makes their bundles; who has one keeps it. Ids that the
    /// configuration names are never given away.
    ///
    /// # Errors
    /// If a name stands for another address already, or files cannot be written.
    pub fn add(
        &self,
        nodes: &[(String, String)],
        members: &Configuration,
        settings: impl Fn(&PlannedNode) -> NodeSettings,
    ) -> Result<Vec<PlannedNode>> {
        let path = self.directory().join(ADDED);
        let mut added = self.added(&path)?;
        let mut newcomers = Vec::new();
        for (name, address) in nodes {
            if let Some(known) = added.nodes.iter().find(|node| node.name == *name) {
                if known.address != *address {
                    let (id, old) = (known.id, &known.address);
                    let message = format!("{name} was prepared as node {id} at {old}");
                    return Err(Report::new(codes::OTHER_PLAN, message)
                        .help(format!("raftctl member add {name}={old}    (goes on with it)"))
                        .help("another name is another node"));
                }
                newcomers.push(known.clone());
                continue;
            }
            let planned = self.plan.nodes.iter().chain(&added.nodes).map(|node| node.id.get());
            let highest = planned.chain(members.members().keys().map(|id| id.get())).max();
            let id = NonZeroU64::new(highest.unwrap_or(0) + 1).expect("one more is not 0");
            let node = PlannedNode { id, name: name.clone(), address: address.clone() };
            added.nodes.push(node.clone());
            newcomers.push(node);
        }
        let text = toml::to_string_pretty(&added)
            .map_err(|error| Report::new(codes::INTERNAL, error.to_string()))?;
        // The ids are reserved before any certificate names them.
        write_private(&path, text.as_bytes())?;
        let authority = Authority::load(&self.directory().join("ca"))?;
        for node in &newcomers {
            self.prepare_node(&authority, node, &settings(node))?;
        }
        Ok(newcomers)
    }

    fn added(&self, path: &Path) -> Result<Added> {
        let Some(bytes) = read_bounded(path)? else {
            return Ok(Added::default());
        };
        let bad =
            |why: String| Report::new(codes::LOCAL_FILE, format!("{}: {why}", path.display()));
        let text = String::from_utf8(bytes).map_err(|error| bad(error.to_string()))?;
        toml::from_str(&text).map_err(|error| bad(error.to_string()))
    }

    /// Where the nodes' data directories of `raftctl dev` are; nodes that are added go there too.
    pub fn local_settings(&self, node: &PlannedNode) -> NodeSettings {
        let first = self.plan.nodes.first().map(|first| self.data_directory(&first.name));
        if first.is_some_and(|directory| directory.is_dir()) {
            return NodeSettings {
                data_dir: Some(self.data_directory(&node.name)),
                listen_host: Some("127.0.0.1".to_owned()),
            };
        }
        NodeSettings::default()
    }

    fn data_directory(&self, name: &str) -> PathBuf {
        self.directory().join(format!("data-{name}"))
    }

    /// Names all nodes by id that were ever planned or added.
    ///
    /// # Errors
    /// If the file of added nodes cannot be read.
    pub fn known(&self) -> Result<BTreeMap<NonZeroU64, PlannedNode>> {
        let added = self.added(&self.directory().join(ADDED))?;
        let all = self.plan.nodes.iter().cloned().chain(added.nodes);
        Ok(all.map(|node| (node.id, node)).collect())
    }
}
