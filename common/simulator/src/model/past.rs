//! What was so at each place of the log.

use std::borrow::Borrow;
use std::collections::BTreeMap;

use consensus::LogIndex;

/// Values by their keys, now and before.
#[derive(Debug)]
pub(super) struct Past<K, V>(BTreeMap<K, Vec<(LogIndex, Option<V>)>>);

impl<K, V> Default for Past<K, V> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord, V> Past<K, V> {
    /// From `index` on, a key has this value, or none.
    pub(super) fn set(&mut self, index: LogIndex, key: K, value: Option<V>) {
        self.0.entry(key).or_default().push((index, value));
    }

    /// Returns what a key has now.
    pub(super) fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.0.get(key)?.last()?.1.as_ref()
    }

    /// Returns what a key had behind an entry.
    pub(super) fn get_at<Q: Ord + ?Sized>(&self, index: LogIndex, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        latest(self.0.get(key)?, index)
    }

    /// Returns all that there was behind an entry, in order of the keys.
    pub(super) fn at(&self, index: LogIndex) -> impl Iterator<Item = (&K, &V)> {
        self.0.iter().filter_map(move |(key, values)| Some((key, latest(values, index)?)))
    }
}

fn latest<V>(values: &[(LogIndex, Option<V>)], index: LogIndex) -> Option<&V> {
    let behind = values.partition_point(|(at, _)| *at <= index);
    values[..behind].last()?.1.as_ref()
}
