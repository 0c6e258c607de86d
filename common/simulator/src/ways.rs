//! Ways on which nothing is sent twice, some of which carry less than is sent: there, messages with
//! entries wait for each other, as on a stream of the daemon, and arrive in their order, some after
//! many elections.

use std::collections::BTreeMap;

use consensus::{Body, Entry, EntryId, LogIndex, Message, NodeId, Timestamp};
use replica::UnderWay;

use crate::coverage::Met;
use crate::faults::MS;
use crate::feeding::entry_bytes;
use crate::rng::Rng;
use crate::world::{Happening, World};

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
struct Way {
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

    /// Returns a way; nothing is on it at the beginning of a life.
    fn get(&mut self, from: (usize, u32), to: NodeId, now: Timestamp) -> &mut Way {
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
    /// Puts entries into the lane; returns when they arrive, or `None` if it is full.
    fn take(&mut self, entries: &[Entry], now: Timestamp) -> Option<Timestamp> {
        let begins = self.free.max(now);
        if begins.since(now) > FULL_NS {
            return None;
        }
        let bytes: u64 = entries.iter().map(entry_bytes).sum();
        self.free = begins.after(bytes * self.byte_ns);
        Some(self.free)
    }
}

/// Entries on their way to a peer, with what stands before them.
pub(crate) type Sending = (EntryId, Vec<Entry>);

impl World {
    fn way(&mut self, node: usize, to: NodeId) -> &mut Way {
        let life = self.nodes[node].life;
        let healed =
            self.nodes.iter().position(|it| it.id == to).is_some_and(|to| self.is_safe(node, to));
        let way = self.ways.get((node, life), to, self.now);
        if healed {
            (way.byte_ns, way.free) = (0, way.free.min(self.now));
        }
        way
    }

    /// Returns how long all needs to leave that is on its way to a peer.
    pub(crate) fn unsent_ns(&mut self, node: usize, to: NodeId) -> u64 {
        let now = self.now;
        self.way(node, to).free.max(now).since(now)
    }

    /// Drops entries that are on their way already.
    pub(crate) fn without_copies(
        &mut self,
        (node, to): (usize, NodeId),
        message: &Message,
        (mut prev, mut entries): Sending,
    ) -> Sending {
        let (now, term) = (self.now, message.term);
        let way = self.way(node, to);
        let first = prev.index.next();
        let end = LogIndex::new(first.get() + entries.len() as u64);
        let rest = way.under_way.rest(to, term, first..end, way.free > now);
        let copies = usize::try_from(rest.start.since(first)).expect("they are in memory");
        if copies > 0 {
            self.coverage.meet(Met::CopyDropped);
            prev = entries[copies - 1].id;
            entries.drain(..copies);
        }
        (prev, entries)
    }

    /// Sends entries on a narrow way; returns whether there was room, or `None` if the way is as
    /// wide as all others.
    pub(crate) fn post_narrow(
        &mut self,
        node: usize,
        to: NodeId,
        message: &Message,
    ) -> Option<bool> {
        let Body::AppendEntries { entries, .. } = &message.body else {
            return None;
        };
        let now = self.now;
        let way = Some(self.way(node, to)).filter(|way| way.byte_ns > 0)?;
        let Some(arrives) = way.take(entries, now) else {
            way.under_way.forget(to);
            self.coverage.meet(Met::LaneFull);
            return Some(false);
        };
        self.coverage.meet(Met::NarrowWay);
        let (from, incarnation) = (self.nodes[node].id, self.nodes[node].incarnation);
        let place = self.nodes.iter().position(|other| other.id == to)?;
        if self.is_connected(node, place) {
            let message = message.clone();
            self.at(
                arrives.after(MS / 2),
                Happening::Deliver { from, incarnation, to: place, message },
            );
        }
        Some(true)
    }
}
