//! The configuration in force: always the latest in the log, committed or not (§4.1).

use std::sync::Arc;

use super::configuration::Configuration;
use super::ids::LogIndex;

/// The configurations that a node knows, by their place in the log.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Membership {
    /// The configuration of the snapshot below the log; unknown and at 0 if there is none.
    base: Arc<(LogIndex, Configuration)>,
    /// Those in the log, ascending; shared by copies of the replica.
    in_log: Arc<Vec<(LogIndex, Configuration)>>,
}

impl Default for Membership {
    fn default() -> Self {
        Self { base: Arc::new((LogIndex::ZERO, Configuration::unknown())), in_log: Arc::default() }
    }
}

impl Membership {
    /// Makes the membership from what a disk holds; `None` if the places are not ascending.
    pub fn restore(
        base: (LogIndex, Configuration),
        in_log: Vec<(LogIndex, Configuration)>,
    ) -> Option<Self> {
        let ascending = in_log.windows(2).all(|w| w[0].0 < w[1].0);
        let behind_base = in_log.first().is_none_or(|(index, _)| *index > base.0);
        (ascending && behind_base).then(|| Self { base: Arc::new(base), in_log: Arc::new(in_log) })
    }

    /// Returns the configuration in force.
    pub fn latest(&self) -> &Configuration {
        &self.entry().1
    }

    /// Returns where the configuration in force stands.
    pub fn index(&self) -> LogIndex {
        self.entry().0
    }

    /// Returns the configuration before the one in force; that one itself if there is none.
    pub fn previous(&self) -> &Configuration {
        match self.in_log.as_slice() {
            [.., previous, _] => &previous.1,
            [_] | [] => &self.base.1,
        }
    }

    /// Returns the configuration that was in force at `index`: the latest at or before it.
    pub fn at(&self, index: LogIndex) -> &(LogIndex, Configuration) {
        self.in_log.iter().rev().find(|(at, _)| *at <= index).unwrap_or(&self.base)
    }

    fn entry(&self) -> &(LogIndex, Configuration) {
        self.in_log.last().unwrap_or(&self.base)
    }

    pub(crate) fn append(&mut self, index: LogIndex, configuration: Configuration) {
        assert!(index > self.index(), "configurations are appended in order");
        Arc::make_mut(&mut self.in_log).push((index, configuration));
    }

    /// Forgets those at `from` and behind; the one before is in force again (museum C18).
    pub(crate) fn truncate(&mut self, from: LogIndex) {
        Arc::make_mut(&mut self.in_log).retain(|(index, _)| *index < from);
    }

    /// Takes over a snapshot's configuration, and keeps only those of the log behind `index`.
    pub(crate) fn install(&mut self, base: (LogIndex, Configuration), index: LogIndex) {
        self.base = Arc::new(base);
        Arc::make_mut(&mut self.in_log).retain(|(at, _)| *at > index);
    }

    /// Forgets those that a snapshot up to `index` covers, but for the latest of them.
    pub(crate) fn compact(&mut self, index: LogIndex) {
        self.base = Arc::new(self.at(index).clone());
        Arc::make_mut(&mut self.in_log).retain(|(at, _)| *at > index);
    }
}
