//! The record of a history that goes on from a snapshot. It is stored before the data directory is
//! filled; the records of former histories stay beside it. Until it is filled, a mark tells that
//! nobody may have that history.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use consensus::{Configuration, Incarnation, Majority, Member, NodeId, Voters};
use protocol::{BootstrapRecord, Generation};
use storage::SnapshotHeader;

use super::{Bundles, PlannedNode, lock, read_bounded, read_record};
use crate::codes;
use crate::context::write_private;
use crate::report::{Report, Result};

/// What the names of files begin and end with that hold records of former histories.
const FORMER: &str = "bootstrap-";
const RECORD_SUFFIX: &str = ".record";

/// What the names of files end with that tell of a restore which has not ended.
const BEGUN_SUFFIX: &str = ".begun";

/// What stands in such a file where the record took the place of none.
const NOTHING: &str = "-";

/// A record that was stored for a restore.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Succession {
    /// The record.
    pub(crate) record: BootstrapRecord,
    before: Before,
}

/// What was in the record's place before.
#[derive(Debug, PartialEq, Eq)]
enum Before {
    /// No record.
    Nothing,
    /// The one that is in this file now.
    Record(PathBuf),
    /// The same: what was there before that is not known.
    Unknown,
}

impl Succession {
    /// Returns where the record is that was replaced.
    pub(crate) fn former(&self) -> Option<&Path> {
        match &self.before {
            Before::Record(path) => Some(path),
            Before::Nothing | Before::Unknown => None,
        }
    }
}

impl Bundles {
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
            if name.to_str().is_some_and(is_former) {
                found.extend(read_record(&directory.join(name))?);
            }
        }
        Ok(found)
    }

    /// Finds the file with the record of a former history.
    ///
    /// # Errors
    /// If it is there and cannot be read.
    pub(crate) fn former_of(&self, generation: Generation) -> Result<Option<PathBuf>> {
        let path = self.beside_record(generation, RECORD_SUFFIX);
        let found = read_record(&path)?.filter(|record| record.generation() == generation);
        Ok(found.map(|_| path))
    }

    /// Makes the record of a history that goes on from a snapshot in this data directory of this
    /// node alone, and stores it in place of the present one, which is kept beside it, with a mark
    /// that it is only begun. Asked again for the same, returns what is stored.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn succeed(
        &self,
        node: &PlannedNode,
        incarnation: Incarnation,
        header: &SnapshotHeader,
    ) -> Result<Succession> {
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
        let before = match self.record()? {
            Some(present) if present == record => self.begun_before(&record)?,
            Some(present) => {
                let former = self.beside_record(present.generation(), RECORD_SUFFIX);
                write_private(&former, &present.encode())?;
                Before::Record(former)
            }
            None => Before::Nothing,
        };
        // Whoever finds the record is to know that its history may be nowhere.
        self.mark_begun(&record, &before)?;
        write_private(&self.record_path(), &record.encode())?;
        Ok(Succession { record, before })
    }

    /// Puts back what was in the place of a record whose history is nowhere, for certain. Says
    /// whether it did: what was there may not be known, or another restore has begun meanwhile.
    ///
    /// # Errors
    /// If a file cannot be moved.
    pub(crate) fn take_back(&self, succession: &Succession) -> Result<bool> {
        let _lock = lock(self.directory(), ".record.lock")?;
        let Succession { record, before } = succession;
        if self.record()?.as_ref() != Some(record) {
            return Ok(false);
        }
        let path = self.record_path();
        let moved = match before {
            Before::Nothing => std::fs::remove_file(&path),
            Before::Record(former) => std::fs::rename(former, &path),
            Before::Unknown => return Ok(false),
        };
        moved.map_err(|error| Report::io(&path, &error))?;
        self.note_end(record)?;
        Ok(true)
    }

    /// Notes that a restore has ended.
    ///
    /// # Errors
    /// If its mark cannot be removed.
    pub(crate) fn note_end(&self, record: &BootstrapRecord) -> Result<()> {
        let mark = self.beside_record(record.generation(), BEGUN_SUFFIX);
        match std::fs::remove_file(&mark) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Report::io(&mark, &error))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Says whether the restore that a record was stored for has not ended, as far as is known.
    pub(crate) fn is_begun(&self, record: &BootstrapRecord) -> bool {
        self.beside_record(record.generation(), BEGUN_SUFFIX).exists()
    }

    fn mark_begun(&self, record: &BootstrapRecord, before: &Before) -> Result<()> {
        let name = match before {
            Before::Nothing => NOTHING.into(),
            Before::Record(path) => path.file_name().unwrap_or_default().to_string_lossy(),
            Before::Unknown => "".into(),
        };
        let mark = self.beside_record(record.generation(), BEGUN_SUFFIX);
        write_private(&mark, name.as_bytes())
    }

    /// Reads from its mark what a record has taken the place of.
    fn begun_before(&self, record: &BootstrapRecord) -> Result<Before> {
        let mark = self.beside_record(record.generation(), BEGUN_SUFFIX);
        let name = read_bounded(&mark)?.and_then(|bytes| String::from_utf8(bytes).ok());
        Ok(match name.as_deref() {
            Some(NOTHING) => Before::Nothing,
            Some(name) if is_former(name) => Before::Record(self.directory().join(name)),
            Some(_) | None => Before::Unknown,
        })
    }

    fn beside_record(&self, generation: Generation, suffix: &str) -> PathBuf {
        let short = &generation.to_string()[..16];
        self.directory().join(format!("{FORMER}{short}{suffix}"))
    }
}

/// Says whether a file of this name holds the record of a former history.
fn is_former(name: &str) -> bool {
    name.starts_with(FORMER) && name.ends_with(RECORD_SUFFIX) && !name.contains('/')
}
