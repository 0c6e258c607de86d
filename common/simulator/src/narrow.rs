//! Entries on their way to a peer: what of them is sent, and when it arrives on a narrow way.

use consensus::{Body, Entry, EntryId, LogIndex, Message, NodeId, Term};

use crate::coverage::Met;
use crate::faults::MS;
use crate::feeding::entry_bytes;
use crate::ways::Way;
use crate::world::{Happening, World};

/// Entries on their way to a peer, with what stands before them.
pub(crate) type Sending = (EntryId, Vec<Entry>);

impl World {
    fn way(&mut self, node: usize, to: NodeId) -> &mut Way {
        let life = self.nodes[node].life;
        let healed =
            self.nodes.iter().position(|it| it.id == to).is_some_and(|to| self.is_safe(node, to));
        let way = self.ways.get((node, life), to, self.now);
        if healed {
            way.heal(self.now);
        }
        way
    }

    /// Returns how long all needs to leave that is on its way to a peer.
    pub(crate) fn unsent_ns(&mut self, node: usize, to: NodeId) -> u64 {
        let now = self.now;
        self.way(node, to).unsent_ns(now)
    }

    /// Drops entries that are on their way already.
    pub(crate) fn without_copies(
        &mut self,
        (node, to): (usize, NodeId),
        term: Term,
        (mut prev, mut entries): Sending,
    ) -> Sending {
        let now = self.now;
        let way = self.way(node, to);
        let first = prev.index.next();
        let end = LogIndex::new(first.get() + entries.len() as u64);
        let rest = way.rest((to, term), first..end, now);
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
        let (now, bytes) = (self.now, entries.iter().map(entry_bytes).sum());
        let way = Some(self.way(node, to)).filter(|way| way.is_narrow())?;
        let Some(arrives) = way.take(to, bytes, now) else {
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
