//! The work that every system does, and what counts as done.

use std::time::Duration;

/// The size of a value, in bytes.
pub(crate) const VALUE_BYTES: usize = 256;

/// So many values are proposed in a run; a multiple of each batch.
pub(crate) const ENTRIES: u64 = 8_192;

/// The node that leads, of 0 to 2.
pub(crate) const LEADER: usize = 0;

/// How values are proposed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Work {
    pub(crate) name: &'static str,
    /// So many are proposed at once, each by itself.
    pub(crate) batch: u64,
    /// So many batches are under way at most: the next one is proposed as soon as the leader has
    /// applied enough.
    pub(crate) batches: u64,
}

pub(crate) const WORKS: [Work; 2] = [
    Work { name: "one at a time", batch: 1, batches: 1 },
    Work { name: "batches of 64", batch: 64, batches: 4 },
];

impl Work {
    /// Returns how many values may be under way when another batch is proposed.
    pub(crate) fn room(self) -> u64 {
        self.batch * (self.batches - 1)
    }
}

/// What a run took.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Done {
    pub(crate) took: Duration,
    /// Messages that nodes were handed.
    pub(crate) steps: u64,
}

/// Makes a value of its own: its number, and then the same byte again and again.
pub(crate) fn value(number: u64) -> Vec<u8> {
    let mut value = vec![0x5a; VALUE_BYTES];
    value[..8].copy_from_slice(&number.to_le_bytes());
    value
}

/// A state machine that does nothing but look whether it gets all values, once and in order.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Machine {
    applied: u64,
}

impl Machine {
    /// Takes the next value.
    ///
    /// # Panics
    /// If it is another one.
    pub(crate) fn apply(&mut self, value: &[u8]) {
        assert_eq!(value.len(), VALUE_BYTES, "a value was cut");
        let number = value.first_chunk().map(|number| u64::from_le_bytes(*number));
        assert_eq!(number, Some(self.applied + 1), "values are applied once and in order");
        self.applied += 1;
    }

    /// Returns how many values it has got.
    pub(crate) fn applied(self) -> u64 {
        self.applied
    }
}
