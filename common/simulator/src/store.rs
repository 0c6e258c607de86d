//! The store of a modelled node, which is to its machine what the one on a disk is: its views read
//! the present, so that of two reads the second may see more than the first did; what is pinned
//! stays at its moment; and views of a state that was replaced go on to show that.

use std::collections::BTreeMap;
use std::hash::Hasher as _;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use state_machine::{Batch, OrderedStore, Pair, StoreError, View};

use crate::quorum::Sum;

/// A whole state of one moment; cheap to copy.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    pairs: Arc<BTreeMap<Bytes, Bytes>>,
    /// A number over all pairs, in whatever order they came.
    sum: u64,
}

/// The present state, and who looks at it.
#[derive(Default)]
pub(crate) struct Store(Arc<Mutex<Present>>);

/// What a store holds now, and what the last batch has changed.
#[derive(Debug, Default)]
struct Present {
    state: State,
    batches: u64,
    before: Vec<(Bytes, Option<Bytes>)>,
}

/// What a store shows.
struct Live {
    present: Arc<Mutex<Present>>,
    /// Batches that were written before it was made.
    made: u64,
    /// Whether a read of a question has been answered, and the next one comes later.
    later: AtomicBool,
}

impl State {
    /// Returns a number for all of it: the machine's part, sessions and their answers, ids,
    /// tombstones, the members' history, and what is applied.
    pub(crate) fn sum(&self) -> u64 {
        self.sum
    }

    /// Returns all pairs of a part of the state, in order.
    pub(crate) fn part(&self, first: u8) -> impl Iterator<Item = (&Bytes, &Bytes)> {
        let (from, to) = ([first], [first + 1]);
        let (from, to) = (Bytes::copy_from_slice(&from), Bytes::copy_from_slice(&to));
        self.pairs.range::<Bytes, _>((Bound::Included(from), Bound::Excluded(to)))
    }

    /// Sets or deletes a key; returns what it had.
    fn change(&mut self, key: &Bytes, value: Option<&Bytes>) -> Option<Bytes> {
        let pairs = Arc::make_mut(&mut self.pairs);
        let before = match value {
            Some(value) => pairs.insert(key.clone(), value.clone()),
            None => pairs.remove(key),
        };
        for (pair, sign) in [(before.as_ref(), u64::MAX), (value, 1)] {
            let one = pair.map_or(0, |value| sum_of(key, value));
            self.sum = self.sum.wrapping_add(one.wrapping_mul(sign));
        }
        before
    }
}

fn sum_of(key: &Bytes, value: &Bytes) -> u64 {
    let mut sum = Sum::default();
    sum.write(key);
    sum.write(value);
    sum.finish()
}

impl View for State {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        Ok(self.pairs.get(key).cloned())
    }

    fn range(&self, from: &[u8], to: Option<&[u8]>, limit: usize) -> Result<Vec<Pair>, StoreError> {
        View::range(&*self.pairs, from, to, limit)
    }
}

impl Store {
    pub(crate) fn new(state: State) -> Self {
        Self(Arc::new(Mutex::new(Present { state, ..Present::default() })))
    }

    /// Returns a copy of the present state.
    pub(crate) fn state(&self) -> State {
        present(&self.0).state.clone()
    }
}

impl View for Store {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        present(&self.0).state.get(key)
    }

    fn range(&self, from: &[u8], to: Option<&[u8]>, limit: usize) -> Result<Vec<Pair>, StoreError> {
        present(&self.0).state.range(from, to, limit)
    }
}

impl OrderedStore for Store {
    fn write(&mut self, batch: Batch) -> Result<(), StoreError> {
        let mut present = present(&self.0);
        let Present { state, batches, before } = &mut *present;
        *batches += 1;
        before.clear();
        let change = |(key, value): (&Bytes, _)| (key.clone(), state.change(key, value));
        before.extend(batch.iter().map(change));
        Ok(())
    }

    fn view(&self) -> Arc<dyn View> {
        let (present, made) = (Arc::clone(&self.0), present(&self.0).batches);
        Arc::new(Live { present, made, later: AtomicBool::new(false) })
    }

    /// What is durable is a copy of the state, on the modelled disk.
    fn persist(&mut self) -> Result<(), StoreError> {
        Ok(())
    }
}

impl Live {
    /// Returns what a read sees. Every second one comes behind the last batch, and the one before
    /// it came before that, if the view was there already.
    fn moment(&self) -> State {
        let present = present(&self.present);
        let mut state = present.state.clone();
        let later = self.later.fetch_xor(true, Ordering::Relaxed);
        if !later && present.batches > self.made {
            for (key, value) in &present.before {
                state.change(key, value.as_ref());
            }
        }
        state
    }
}

impl View for Live {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.moment().get(key)
    }

    fn range(&self, from: &[u8], to: Option<&[u8]>, limit: usize) -> Result<Vec<Pair>, StoreError> {
        self.moment().range(from, to, limit)
    }

    fn pinned(&self) -> Option<Box<dyn View + '_>> {
        Some(Box::new(present(&self.present).state.clone()))
    }
}

fn present(shared: &Mutex<Present>) -> MutexGuard<'_, Present> {
    shared.lock().expect("one thread runs a world, and a panic ends it")
}
