//! Nodes that are added later: their ids and bundles. An id is reserved by name, through the log,
//! before a certificate names it; a removed node's id is never given away again.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::bounded::read_bounded;
use super::{Bundles, NodeSettings, PlannedNode};
use crate::codes;
use crate::context::{make_private_directory, write_private};
use crate::files::misread;
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
    /// Makes the bundles of these nodes, whose ids are reserved; who has one keeps it. Whoever
    /// enrols by itself gets no key here, and its certificate later. The bundle
    /// of a node that was removed and had the same name is put aside. Who is no member yet may be
    /// given another address than before. Returns what is left to be done by hand.
    ///
    /// # Errors
    /// If files cannot be written.
    pub(crate) fn add(
        &self,
        nodes: &[PlannedNode],
        is_member: impl Fn(&PlannedNode) -> bool,
        enrols: impl Fn(&PlannedNode) -> bool,
        settings: impl Fn(&PlannedNode) -> NodeSettings,
    ) -> Result<Vec<String>> {
        let path = self.directory().join(ADDED);
        let mut added = self.added(&path)?;
        for node in nodes.iter().filter(|node| !is_member(node)) {
            self.check_not_removed(node)?;
        }
        for node in nodes {
            let PlannedNode { id, name, address } = node;
            let known = added.nodes.iter().chain(&self.plan.nodes);
            match known.filter(|known| known.name == *name).max_by_key(|known| known.id) {
                Some(known) if known.id == *id && known.address == *address => continue,
                // The configuration in force says where it is, and it may have moved since.
                Some(known) if known.id == *id && is_member(node) => continue,
                Some(known) if known.id == *id => {
                    let known = added.nodes.iter_mut().filter(|known| known.id == *id);
                    known.for_each(|known| known.address.clone_from(address));
                    continue;
                }
                Some(known) => self.put_aside(known, "removed")?,
                None => {}
            }
            added.nodes.push(node.clone());
        }
        let text = toml::to_string_pretty(&added)
            .map_err(|error| Report::new(codes::INTERNAL, error.to_string()))?;
        write_private(&path, text.as_bytes())?;
        let authority = self.present_authority()?;
        let mut notes = Vec::new();
        for node in nodes {
            notes.extend(if enrols(node) {
                make_private_directory(&self.node_directory(node))?;
                self.prepare_configuration(node, &settings(node))?
            } else {
                self.prepare_node(&authority, node, &settings(node))?
            });
        }
        Ok(notes)
    }

    /// Puts the bundle of a node aside that is of no use any more; `why` becomes part of its name.
    pub(super) fn put_aside(&self, gone: &PlannedNode, why: &str) -> Result<()> {
        let directory = self.node_directory(gone);
        let aside = directory.with_added_extension(format!("{why}-{}", gone.id));
        match std::fs::rename(&directory, &aside) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(Report::io(&directory, &error)),
        }
    }

    fn added(&self, path: &Path) -> Result<Added> {
        let Some(bytes) = read_bounded(path)? else {
            return Ok(Added::default());
        };
        let bad =
            |why: String| Report::new(codes::LOCAL_FILE, format!("{}: {why}", path.display()));
        let text = String::from_utf8(bytes).map_err(|error| bad(error.to_string()))?;
        toml::from_str(&text).map_err(|error| bad(misread(&text, &error)))
    }

    /// Where the nodes' data directories of `raftctl dev` are; nodes that are added go there too.
    pub(crate) fn local_settings(&self, node: &PlannedNode) -> NodeSettings {
        let first = self.plan.nodes.first().map(|first| self.data_directory(&first.name));
        if first.is_some_and(|directory| directory.is_dir()) {
            return NodeSettings {
                data_dir: Some(self.data_directory(&node.name)),
                listen_host: Some("127.0.0.1".to_owned()),
                lease: None,
            };
        }
        NodeSettings::default()
    }

    fn data_directory(&self, name: &str) -> PathBuf {
        self.directory().join(format!("data-{name}"))
    }

    /// Returns the highest id of all nodes that were ever planned, added or removed here, also of
    /// those that a plan had before it was corrected: their bundles may be anywhere.
    ///
    /// # Errors
    /// If the file of added or removed nodes cannot be read.
    pub(crate) fn highest_id(&self) -> Result<u64> {
        let known = self.known()?.keys().last().copied().max(self.plan.highest);
        let removed = self.removed()?.last().copied();
        Ok(known.max(removed).map_or(0, NonZeroU64::get))
    }

    /// Refuses an id that a removed node had: its certificates would be another node's. A cluster
    /// that was restored may have reserved it for a name when the backup was made.
    ///
    /// # Errors
    /// If it is one.
    pub(crate) fn check_not_removed(&self, node: &PlannedNode) -> Result<()> {
        let PlannedNode { id, name, .. } = node;
        if !self.removed()?.contains(id) {
            return Ok(());
        }
        let message = format!("node {id} was removed, and the cluster has that id for {name}");
        Err(Report::new(codes::IN_THE_WAY, message)
            .help("another name    (it gets an id that nobody had)"))
    }

    /// Names all nodes by id that were ever planned or added.
    ///
    /// # Errors
    /// If the file of added nodes cannot be read.
    pub(crate) fn known(&self) -> Result<BTreeMap<NonZeroU64, PlannedNode>> {
        let added = self.added(&self.directory().join(ADDED))?;
        let all = self.plan.nodes.iter().cloned().chain(added.nodes);
        Ok(all.map(|node| (node.id, node)).collect())
    }
}
