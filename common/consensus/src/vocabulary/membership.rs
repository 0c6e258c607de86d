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

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::{Incarnation, Majority, Member, NodeId, Voters};

    /// A configuration that is told from others by its only voter.
    fn of(number: u64) -> Configuration {
        let id = NodeId::new(number).expect("it is not 0");
        let incarnation = Incarnation::new(number);
        let member = Member { incarnation, name: String::new(), address: String::new() };
        let voters = Voters::Stable(Majority::new(BTreeSet::from([id])));
        Configuration::new(voters, BTreeSet::new(), BTreeMap::from([(id, member)]))
            .expect("it is a cluster of one")
    }

    fn at(places: &[u64]) -> Vec<(LogIndex, Configuration)> {
        places.iter().map(|index| (LogIndex::new(*index), of(*index))).collect()
    }

    /// Below the log stands the one of 3.
    fn with(places: &[u64]) -> Option<Membership> {
        Membership::restore((LogIndex::new(3), of(3)), at(places))
    }

    fn numbers(membership: &Membership) -> Vec<u64> {
        let in_log = membership.in_log.iter().map(|(index, _)| index.get());
        [membership.base.0.get()].into_iter().chain(in_log).collect()
    }

    #[test]
    fn configurations_stand_in_order_behind_the_snapshots_s4_1() {
        for refused in [&[3][..], &[2], &[4, 4], &[5, 4]] {
            assert_eq!(with(refused), None, "{refused:?}");
        }
        let membership = with(&[4, 7, 9]).expect("they ascend");
        assert_eq!((membership.index().get(), membership.latest()), (9, &of(9)));
        assert_eq!(membership.previous(), &of(7));
        assert_eq!(with(&[]).expect("there is that of the snapshot").previous(), &of(3));
        for (index, found) in [(3, 3), (4, 4), (6, 4), (7, 7), (8, 7), (20, 9)] {
            assert_eq!(membership.at(LogIndex::new(index)).0.get(), found);
        }
    }

    #[test]
    fn what_a_snapshot_covers_is_forgotten_but_for_the_latest_s5_1() {
        for (index, kept) in [(3, vec![3, 4, 7, 9]), (6, vec![4, 7, 9]), (7, vec![7, 9])] {
            let mut membership = with(&[4, 7, 9]).expect("they ascend");
            membership.compact(LogIndex::new(index));
            assert_eq!(numbers(&membership), kept, "up to {index}");
            let mut membership = with(&[4, 7, 9]).expect("they ascend");
            membership.install((LogIndex::new(2), of(2)), LogIndex::new(index));
            assert_eq!(numbers(&membership)[1..], kept[1..], "behind {index}");
            assert_eq!(numbers(&membership)[0], 2);
        }
        let mut membership = with(&[4, 7, 9]).expect("they ascend");
        membership.truncate(LogIndex::new(7));
        assert_eq!(numbers(&membership), [3, 4]);
    }
}
