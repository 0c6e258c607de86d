//! The ordered store on which durable machines stand: byte strings in order, changed in atomic
//! batches, read through views of one moment.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;

use crate::effects::Digest;

/// Keys of the system's part of the state begin with this byte.
pub(crate) const SYSTEM: u8 = 0;

/// Goes before a key that is deleted.
const DELETED: u64 = 1;

/// What a deleted key counts for, in bytes: until the batch is written, each range that is read
/// passes over all that it deletes.
const DELETED_BYTES: usize = 8 << 10;

/// How many of the pairs that a batch deletes are passed over at a time.
const DELETED_PAGE: usize = 64;

/// A key and its value.
pub type Pair = (Bytes, Bytes);

/// Reads the state while changes go on: of one moment, or of the present at each call.
///
/// What a machine's questions read is of one moment: see [`View::pinned`].
pub trait View: Send + Sync {
    /// Returns the value of a key.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError>;

    /// Returns at most `limit` pairs with keys from `from` on and, if given, before `to`, in order.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn range(&self, from: &[u8], to: Option<&[u8]>, limit: usize) -> Result<Vec<Pair>, StoreError>;

    /// Returns the state of this moment, if this view shows the present at each call. One that is
    /// of one moment itself has no other.
    fn pinned(&self) -> Option<Box<dyn View + '_>> {
        None
    }
}

/// Byte strings in order, durable up to some moment in the past.
pub trait OrderedStore: View + 'static {
    /// Changes everything in the batch, or nothing. Not durable before [`OrderedStore::persist`].
    ///
    /// # Errors
    /// If the store cannot be written.
    fn write(&mut self, batch: Batch) -> Result<(), StoreError>;

    /// Returns a view of the present state.
    fn view(&self) -> Arc<dyn View>;

    /// Makes everything written so far durable, as a whole.
    ///
    /// # Errors
    /// If the store cannot be written.
    fn persist(&mut self) -> Result<(), StoreError>;
}

/// Why a store fails. The node cannot go on: its state is not what the log says.
#[derive(Debug, thiserror::Error)]
#[error("the state's store failed while {doing}: {source}")]
pub struct StoreError {
    /// What was being done.
    pub doing: &'static str,
    /// What went wrong.
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// Changes to be made together: a value, or `None` to delete the key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    changes: BTreeMap<Bytes, Option<Bytes>>,
    /// What all changes were made of, also those that others have taken the place of.
    bytes: usize,
    /// Of all changes, in the order in which they were made.
    pub(crate) digest: Digest,
}

impl Batch {
    /// Makes an empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a key; the last change of a key counts.
    pub fn put(&mut self, key: Bytes, value: Bytes) {
        self.digest.bytes(&key);
        self.digest.bytes(&value);
        self.put_aside(key, value);
    }

    /// Deletes a key.
    pub fn delete(&mut self, key: Bytes) {
        self.digest.number(DELETED);
        self.digest.bytes(&key);
        self.delete_aside(key);
    }

    /// Sets a key that need not be the same on all nodes.
    pub(crate) fn put_aside(&mut self, key: Bytes, value: Bytes) {
        self.bytes += key.len() + value.len();
        self.changes.insert(key, Some(value));
    }

    /// Deletes a key that need not be the same on all nodes.
    pub(crate) fn delete_aside(&mut self, key: Bytes) {
        self.bytes += key.len() + DELETED_BYTES;
        self.changes.insert(key, None);
    }

    /// Returns what the changes cost, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Says whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Returns the changes, in order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&Bytes, Option<&Bytes>)> {
        self.changes.iter().map(|(key, value)| (key, value.as_ref()))
    }

    fn get(&self, key: &[u8]) -> Option<&Option<Bytes>> {
        self.changes.get(key)
    }

    fn range(&self, from: &Bytes, to: &Bytes) -> impl Iterator<Item = (&Bytes, &Option<Bytes>)> {
        self.changes.range::<Bytes, _>((Bound::Included(from), Bound::Excluded(to)))
    }
}

/// Reads a store through the changes that are gathered for it, under a prefix of one's own.
pub struct Transaction<'a> {
    view: &'a dyn View,
    batch: &'a mut Batch,
    prefix: u8,
}

impl<'a> Transaction<'a> {
    /// Begins a transaction on keys under `prefix`.
    pub fn new(view: &'a dyn View, batch: &'a mut Batch, prefix: u8) -> Self {
        Self { view, batch, prefix }
    }

    /// Returns the value of a key, as changed so far.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let key = prefixed(self.prefix, key);
        match self.batch.get(&key) {
            Some(change) => Ok(change.clone()),
            None => self.view.get(&key),
        }
    }

    /// Returns at most `limit` pairs with keys from `from` on and before `to`, in order, as changed
    /// so far.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn range(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Pair>, StoreError> {
        let (from, to) = (prefixed(self.prefix, from), prefixed(self.prefix, to));
        if from >= to {
            return Ok(Vec::new());
        }
        let mut pairs = self.stored(&from, &to, limit)?;
        for (key, value) in self.batch.range(&from, &to) {
            if let Some(value) = value {
                pairs.insert(key.clone(), value.clone());
            }
        }
        let bare = |(key, value): Pair| (key.slice(1..), value);
        Ok(pairs.into_iter().take(limit).map(bare).collect())
    }

    /// Returns at most `limit` pairs as they are stored, without those that are deleted meanwhile.
    /// What is passed over is read in pages: all of it may be more than there is memory.
    fn stored(
        &self,
        from: &Bytes,
        to: &Bytes,
        limit: usize,
    ) -> Result<BTreeMap<Bytes, Bytes>, StoreError> {
        let is_deleted = |key: &Bytes| self.batch.get(key).is_some_and(Option::is_none);
        let mut deleted = self.batch.range(from, to).filter(|(_, value)| value.is_none()).count();
        let (mut pairs, mut from) = (BTreeMap::new(), from.clone());
        while pairs.len() < limit {
            let wanted = (limit - pairs.len()).saturating_add(deleted.min(DELETED_PAGE));
            let page = self.view.range(&from, Some(to), wanted)?;
            let Some((last, _)) = page.last().filter(|_| page.len() == wanted) else {
                pairs.extend(page.into_iter().filter(|(key, _)| !is_deleted(key)));
                break;
            };
            from = [last, &[0][..]].concat().into();
            let (before, read) = (pairs.len(), page.len());
            pairs.extend(page.into_iter().filter(|(key, _)| !is_deleted(key)));
            deleted -= read - (pairs.len() - before);
        }
        Ok(pairs)
    }

    /// Sets a key.
    pub fn put(&mut self, key: &[u8], value: Bytes) {
        self.batch.put(prefixed(self.prefix, key), value);
    }

    /// Deletes a key.
    pub fn delete(&mut self, key: &[u8]) {
        self.batch.delete(prefixed(self.prefix, key));
    }

    /// Sets a key that need not be the same on all nodes.
    pub(crate) fn put_aside(&mut self, key: &[u8], value: Bytes) {
        self.batch.put_aside(prefixed(self.prefix, key), value);
    }

    /// Deletes a key that need not be the same on all nodes.
    pub(crate) fn delete_aside(&mut self, key: &[u8]) {
        self.batch.delete_aside(prefixed(self.prefix, key));
    }
}

/// Shows a machine only its own keys.
pub(crate) struct PrefixView<'a> {
    view: &'a dyn View,
    prefix: u8,
}

impl<'a> PrefixView<'a> {
    /// Shows the keys under `prefix`, without it.
    pub(crate) fn new(view: &'a dyn View, prefix: u8) -> Self {
        Self { view, prefix }
    }
}

impl View for PrefixView<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.view.get(&prefixed(self.prefix, key))
    }

    fn range(&self, from: &[u8], to: Option<&[u8]>, limit: usize) -> Result<Vec<Pair>, StoreError> {
        let end = match to {
            Some(to) => prefixed(self.prefix, to),
            None => Bytes::copy_from_slice(&[self.prefix + 1]),
        };
        let pairs = self.view.range(&prefixed(self.prefix, from), Some(&end), limit)?;
        Ok(pairs.into_iter().map(|(key, value)| (key.slice(1..), value)).collect())
    }
}

fn prefixed(prefix: u8, key: &[u8]) -> Bytes {
    let mut bytes = Vec::with_capacity(1 + key.len());
    bytes.push(prefix);
    bytes.extend_from_slice(key);
    bytes.into()
}

/// A store in memory, for simulation and tests: a crash takes it back to the last `persist`.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    now: Arc<BTreeMap<Bytes, Bytes>>,
    durable: Arc<BTreeMap<Bytes, Bytes>>,
}

impl MemoryStore {
    /// Makes an empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Loses what was not made durable.
    pub fn crash(&mut self) {
        self.now = Arc::clone(&self.durable);
    }
}

impl View for BTreeMap<Bytes, Bytes> {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        Ok(Self::get(self, key).cloned())
    }

    fn range(&self, from: &[u8], to: Option<&[u8]>, limit: usize) -> Result<Vec<Pair>, StoreError> {
        let pairs = Self::range::<[u8], _>(self, (Bound::Included(from), Bound::Unbounded));
        let inside = pairs.take_while(|(key, _)| to.is_none_or(|to| key.as_ref() < to));
        Ok(inside.take(limit).map(|(key, value)| (key.clone(), value.clone())).collect())
    }
}

impl View for MemoryStore {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        View::get(&*self.now, key)
    }

    fn range(&self, from: &[u8], to: Option<&[u8]>, limit: usize) -> Result<Vec<Pair>, StoreError> {
        View::range(&*self.now, from, to, limit)
    }
}

impl OrderedStore for MemoryStore {
    fn write(&mut self, batch: Batch) -> Result<(), StoreError> {
        let map = Arc::make_mut(&mut self.now);
        for (key, value) in batch.changes {
            match value {
                Some(value) => map.insert(key, value),
                None => map.remove(&key),
            };
        }
        Ok(())
    }

    fn view(&self) -> Arc<dyn View> {
        Arc::clone(&self.now) as Arc<dyn View>
    }

    fn persist(&mut self) -> Result<(), StoreError> {
        self.durable = Arc::clone(&self.now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_empty_until_something_changes() {
        let key = Bytes::from_static(b"key");
        let mut batch = Batch::new();
        assert!(batch.is_empty());
        batch.delete(key.clone());
        assert!(!batch.is_empty(), "to delete is a change, whether the key exists or not");
        let mut batch = Batch::new();
        batch.put(key, Bytes::new());
        assert!(!batch.is_empty());
    }
    /// What a batch deletes takes no place among the pairs that are asked for.
    #[test]
    fn a_range_is_as_long_as_was_asked_for_also_behind_what_the_batch_deletes() {
        let key = |number: u8| Bytes::copy_from_slice(&[number]);
        let mut before = Batch::new();
        let mut store = MemoryStore::new();
        for number in 1..=5 {
            Transaction::new(&store, &mut before, 7).put(&key(number), key(number));
        }
        store.write(before).expect("it is in memory");
        let mut batch = Batch::new();
        let mut transaction = Transaction::new(&store, &mut batch, 7);
        transaction.delete(&key(1));
        transaction.delete(&key(2));
        transaction.put(&key(9), key(9));
        let found = |limit| -> Vec<u8> {
            let pairs = transaction.range(&[0], &[10], limit).expect("it is in memory");
            pairs.iter().map(|(key, _)| key[0]).collect()
        };
        assert_eq!(found(1), [3]);
        assert_eq!(found(3), [3, 4, 5]);
        assert_eq!(found(9), [3, 4, 5, 9]);
    }
}
