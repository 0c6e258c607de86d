//! What the oracle asks of single steps: that caches show what is so, and that who
//! campaigns may.

use consensus::{Configuration, Entry, LogIndex, NodeId, Term};

use crate::broken::Broken;
use crate::oracle::Oracle;
use crate::quorum::{self, content};

impl Oracle {
    /// A node takes an entry for one that is committed at `index`.
    pub(crate) fn is_committed(
        &self,
        node: NodeId,
        entry: &Entry,
        index: LogIndex,
    ) -> Result<(), Broken> {
        let known = self.contents.get(&entry.id).map(|(known, _)| *known);
        if self.committed_at(index) == Some(entry.id) && known == Some(content(entry)) {
            return Ok(());
        }
        let why = format!("node {node} takes {entry:?} for the entry at {index}");
        Err(Broken::new("what is in memory is what the log holds", why))
    }

    /// A node campaigns of its own accord: enough voters have said that it would win (§9.6).
    pub(crate) fn may_campaign(
        &self,
        node: NodeId,
        term: Term,
        configuration: &Configuration,
    ) -> Result<(), Broken> {
        let would = |voter| voter == node || self.pre_votes.contains(&(voter, node, term));
        if quorum::decides(configuration.voters(), would) {
            return Ok(());
        }
        let why = format!("node {node} campaigns in term {term}, and nobody said that it may");
        Err(Broken::new("who campaigns has asked before (§9.6)", why))
    }
}
