//! Ways on which nothing is sent twice, some of which carry less than is sent: there, messages with
//! entries wait for each other, as on a stream of the daemon, and arrive in their order, some after
//! many elections.

use std::collections::BTreeMap;
use std::ops::Range;

use consensus::{LogIndex, NodeId, Term, Timestamp};
use replica::UnderWay;

use crate::faults::MS;
use crate::rng::Rng;

/// A lane takes no more when what is in it needs so long.
const FULL_NS: u64 = 8_000 * MS;

/// The ways of a seed.
#[derive(Debug)]
pub(crate) struct Ways {
    rng: Rng,
    /// Of a thousand ways, so many are narrow.
    narrow: u64,
    /// How long a byte takes there, at most.
    byte_ns_max: u64,
    known: BTreeMap<(usize, NodeId), Way>,
}

/// A way, as the life of a node has it.
#[derive(Debug)]
pub(crate) struct Way {
    /// How long a byte takes; not at all where the way is wide.
    byte_ns: u64,
    life: u32,
    /// When all will have left that was sent so far.
    free: Timestamp,
    under_way: UnderWay,
}

impl Ways {
    pub(crate) fn draw(seed: u64) -> Self {
        let mut rng = Rng::new(seed ^ 0x6e61_7272_6f77);
        let narrow = if rng.permille(250) { rng.between(100, 1_000) } else { 0 };
        let byte_ns_max = [10_000, 100_000, 1_000_000][rng.index(3)];
        Self { rng, narrow, byte_ns_max, known: BTreeMap::new() }
    }

    /// Says whether there are narrow ones.
    pub(crate) fn are_narrow(&self) -> bool {
        self.narrow > 0
    }

    /// Returns a way; nothing is on it at the beginning of a life.
    pub(crate) fn get(&mut self, from: (usize, u32), to: NodeId, now: Timestamp) -> &mut Way {
        let (rng, (narrow, most)) = (&mut self.rng, (self.narrow, self.byte_ns_max));
        let (node, life) = from;
        let draw = || {
            let (free, under_way) = (now, UnderWay::default());
            let byte_ns = if rng.permille(narrow) { rng.between(most / 100, most) } else { 0 };
            Way { byte_ns, life, free, under_way }
        };
        let way = self.known.entry((node, to)).or_insert_with(draw);
        if way.life != life {
            (way.life, way.free, way.under_way) = (life, now, UnderWay::default());
        }
        way
    }
}

impl Way {
    /// Says whether it carries less than others.
    pub(crate) fn is_narrow(&self) -> bool {
        self.byte_ns > 0
    }

    /// It carries everything from now on.
    pub(crate) fn heal(&mut self, now: Timestamp) {
        (self.byte_ns, self.free) = (0, self.free.min(now));
    }

    /// Returns how long all needs to leave that was put into its lane.
    pub(crate) fn unsent_ns(&self, now: Timestamp) -> u64 {
        self.free.max(now).since(now)
    }

    /// Returns what is still to be sent of these entries.
    pub(crate) fn rest(
        &mut self,
        (to, term): (NodeId, Term),
        range: Range<LogIndex>,
        now: Timestamp,
    ) -> Range<LogIndex> {
        self.under_way.rest(to, term, range, self.free > now)
    }

    /// Puts a message into the lane; returns when it arrives, or `None` if the lane is full.
    pub(crate) fn take(&mut self, to: NodeId, bytes: u64, now: Timestamp) -> Option<Timestamp> {
        if self.unsent_ns(now) > FULL_NS {
            self.under_way.forget(to);
            return None;
        }
        self.free = self.free.max(now).after(bytes * self.byte_ns);
        Some(self.free)
    }
}
