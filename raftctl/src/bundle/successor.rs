//! The record of a history that goes on from a snapshot. It is stored before the data directory is
//! filled; the records of former histories stay beside it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use consensus::{Configuration, Incarnation, Majority, Member, NodeId, Voters};
use protocol::BootstrapRecord;
use storage::SnapshotHeader;

use super::{Bundles, PLAN, Plan, PlannedNode, lock, read_bounded, read_record};
use crate::codes;
use crate::context::write_private;
use crate::report::{Report, Result};

/// What the names of files begin and end with that hold records of former histories.
const FORMER: &str = "bootstrap-";
const RECORD_SUFFIX: &str = ".record";

impl Bundles {
    /// Opens the directory of whatever cluster it is.
    ///
    /// # Errors
    /// If there is no cluster in it, or nodes are being added just now.
    pub(crate) fn open_any(directory: &Path) -> Result<Self> {
        let path = directory.join(PLAN);
        let Some(bytes) = read_bounded(&path)? else {
            let message = format!("{} has no {PLAN}", directory.display());
            return Err(Report::new(codes::NO_CLUSTER, message)
                .help("--dir DIR    (the directory that `raftctl init` made)"));
        };
        let plan: Option<Plan> =
            String::from_utf8(bytes).ok().and_then(|text| toml::from_str(&text).ok());
        let bad = || Report::new(codes::LOCAL_FILE, format!("{}: no plan", path.display()));
        Self::open(directory, &plan.ok_or_else(bad)?.name)
    }

    /// Finds a node by its name or its id. A name may have been given again, to another node: then
    /// it is the one of these members that has it, else the one that got it last.
    ///
    /// # Errors
    /// If nobody was ever planned or added under it.
    pub(crate) fn find(
        &self,
        wanted: &str,
        members: &BTreeMap<NodeId, Member>,
    ) -> Result<PlannedNode> {
        let known = self.known()?;
        let named = |node: &&PlannedNode| node.name == wanted;
        let is_member = |node: &&PlannedNode| {
            members.get(&NodeId::from(node.id)).is_some_and(|member| member.name == wanted)
        };
        let by_id = known.values().find(|node| node.id.to_string() == wanted);
        let mut by_name = known.values().filter(named);
        let found = by_name.clone().find(is_member).or(by_name.next_back()).or(by_id);
        found.cloned().ok_or_else(|| {
            let names: BTreeSet<&str> = known.values().map(|node| node.name.as_str()).collect();
            let names: Vec<&str> = names.into_iter().collect();
            let message = format!("no node is called \"{wanted}\": there are {}", names.join(" "));
            Report::new(codes::NO_NODE, message)
        })
    }

    /// Returns the records of the histories that others took the place of, in no order.
    ///
    /// # Errors
    /// If one of them cannot be read.
    pub(crate) fn former_records(&self) -> Result<Vec<BootstrapRecord>> {
        let directory = self.directory();
        let failed = |error| Report::io(directory, &error);
        let mut found = Vec::new();
        for entry in std::fs::read_dir(directory).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let is_former = |name: &str| name.starts_with(FORMER) && name.ends_with(RECORD_SUFFIX);
            if name.to_str().is_some_and(is_former) {
                found.extend(read_record(&directory.join(name))?);
            }
        }
        Ok(found)
    }

    /// Makes the record of a history that goes on from a snapshot in this data directory of this
    /// node alone, and stores it in place of the present one, which is kept beside it. Asked again
    /// for the same, returns what is stored.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn succeed(
        &self,
        node: &PlannedNode,
        incarnation: Incarnation,
        header: &SnapshotHeader,
    ) -> Result<BootstrapRecord> {
        let id = NodeId::from(node.id);
        let (name, address) = (node.name.clone(), node.address.clone());
        let members = BTreeMap::from([(id, Member { incarnation, name, address })]);
        let voters = Voters::Stable(Majority::new([id]));
        let configuration = Configuration::new(voters, BTreeSet::new(), members)
            .map_err(|error| Report::new(codes::INTERNAL, error.to_string()))?;
        let record = BootstrapRecord {
            cluster: header.cluster,
            configuration,
            machine: header.machine.clone(),
            machine_version: header.machine_version,
            parent: Some(header.generation),
        };
        let _lock = lock(self.directory(), ".record.lock")?;
        match self.record()? {
            Some(present) if present == record => return Ok(record),
            Some(present) => {
                let short = &present.generation().to_string()[..16];
                let former = self.directory().join(format!("{FORMER}{short}{RECORD_SUFFIX}"));
                write_private(&former, &present.encode())?;
            }
            None => {}
        }
        write_private(&self.record_path(), &record.encode())?;
        Ok(record)
    }
}
