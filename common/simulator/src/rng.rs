//! The random numbers of a run: its seed decides all of them.

/// A small generator (SplitMix64).
#[derive(Clone, Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d)
    }

    /// The generator of one event of a run. What an event draws depends on no other event: a run
    /// that is repeated without some of them is the same in what stays.
    pub(crate) fn of_event(seed: u64, event: u64) -> Self {
        let mut rng = Self::new(seed ^ event.wrapping_mul(0xd6e8_feb8_6659_fd93));
        Self(rng.next())
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from `low` to `high`, both included.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high - low + 1)
    }

    /// An index below `count`, which is not 0.
    pub(crate) fn index(&mut self, count: usize) -> usize {
        usize::try_from(self.next() % count as u64).expect("below a usize")
    }

    /// True so many times in a thousand.
    pub(crate) fn permille(&mut self, permille: u64) -> bool {
        self.next() % 1_000 < permille
    }

    /// A waiting time with this mean and an exponential tail, at least 1.
    pub(crate) fn wait(&mut self, mean: u64) -> u64 {
        // The logarithm of a power of two is exact on every machine, unlike ln().
        let halvings = u64::from(self.next().leading_zeros());
        let part = self.next() % mean.max(1);
        ((halvings * mean + part) * 2 / 3).max(1)
    }
}
