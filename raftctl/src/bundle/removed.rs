//! Nodes that were removed. Their certificates are renewed no more, and nobody is told to carry any
//! to their machines: those may be somebody else's by now. The cluster knows who was removed; this
//! is what is left of that where it is not asked.

use std::collections::BTreeSet;
use std::num::NonZeroU64;

use consensus::{Configuration, NodeId};
use serde::{Deserialize, Serialize};

use super::Bundles;
use super::bounded::read_bounded;
use crate::codes;
use crate::context::write_private;
use crate::files::misread;
use crate::report::{Report, Result};

/// The file of their ids.
const REMOVED: &str = "removed.toml";

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Removed {
    ids: BTreeSet<NonZeroU64>,
}

impl Bundles {
    /// Returns the ids of those whose removal was heard of here.
    ///
    /// # Errors
    /// If the file of them cannot be read.
    pub(crate) fn removed(&self) -> Result<BTreeSet<NonZeroU64>> {
        let path = self.directory.join(REMOVED);
        let Some(bytes) = read_bounded(&path)? else { return Ok(BTreeSet::new()) };
        let bad =
            |why: String| Report::new(codes::LOCAL_FILE, format!("{}: {why}", path.display()));
        let text = String::from_utf8(bytes).map_err(|error| bad(error.to_string()))?;
        let removed: Removed =
            toml::from_str(&text).map_err(|error| bad(misread(&text, &error)))?;
        Ok(removed.ids)
    }

    /// Keeps in mind who was removed, and that these are members: a restored cluster may have one
    /// again that another history had removed. Whoever calls this holds the certificates' lock.
    ///
    /// # Errors
    /// If the file cannot be read or written.
    pub(crate) fn part_with(
        &self,
        gone: impl IntoIterator<Item = NodeId>,
        configuration: &Configuration,
    ) -> Result<()> {
        let known = self.removed()?;
        let mut ids = known.clone();
        ids.extend(gone.into_iter().filter_map(|id| NonZeroU64::new(id.get())));
        ids.retain(|id| !configuration.members().contains_key(&NodeId::from(*id)));
        if ids == known {
            return Ok(());
        }
        let text = toml::to_string_pretty(&Removed { ids })
            .map_err(|error| Report::new(codes::INTERNAL, error.to_string()))?;
        write_private(&self.directory.join(REMOVED), text.as_bytes())
    }

    /// Says whether this raftctl keeps others from writing here.
    pub(crate) fn is_writing(&self) -> bool {
        !self.locks.is_empty()
    }
}
