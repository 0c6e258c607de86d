//! Messages with entries that this node has already: nothing is written then, so nothing else holds
//! them against the log. The leader's chain value of one of them says whether both logs are one.

use consensus::{
    Body, Chain, Entry, EntryId, Incarnation, Input as Raw, LogIndex, Message, NodeId, Timestamp,
};

use crate::exit::{Exit, Failure};
use crate::node::Node;

impl Node {
    /// Takes a message of a member. One whose entries this node has with other contents, under the
    /// same term and index, ends it: two leaders of one term have made them, or a disk has.
    pub(super) fn received(
        &mut self,
        now: Timestamp,
        (from, incarnation): (NodeId, Incarnation),
        message: Message,
    ) {
        if let Some((entry, ours)) = self.contradicted(&message) {
            let Entry { id, chain: theirs, .. } = entry;
            let why = format!(
                "two histories under one identity: entry {id} has chain value {:016x} in the log \
                 of node {from}, and {:016x} in this one: it, or one before it, has other contents",
                theirs.get(),
                ours.get()
            );
            self.fail(Failure::new(Exit::Data, why));
            return;
        }
        self.note(from, incarnation, &message);
        self.raw(now, Raw::Receive { from, incarnation, message });
    }

    /// Looks at the last entry that both have, while it is in memory; from the disk once a term.
    fn contradicted(&mut self, message: &Message) -> Option<(Entry, Chain)> {
        let Body::AppendEntries { entries, .. } = &message.body else { return None };
        let raft = self.replica.raft();
        let (base, durable) = (raft.base().index, raft.durable());
        let is_here = |id: EntryId| id.index > base && raft.term_at(id.index) == Some(id.term);
        let entry = entries.iter().rev().find(|entry| is_here(entry.id))?;
        let index = entry.id.index;
        let found = match self.replica.entries(index..index.next(), 0) {
            Some(cached) => cached.first().map(|entry| entry.chain),
            None if self.keeper.is_vouched(message.term) || index > durable => None,
            None => self.on_disk(index),
        };
        let ours = found.filter(|ours| ![*ours, entry.chain].contains(&Chain::ZERO))?;
        if ours == entry.chain {
            self.keeper.vouch(message.term);
            return None;
        }
        Some((entry.clone(), ours))
    }

    /// Reads the chain value of an entry of the log.
    fn on_disk(&self, index: LogIndex) -> Option<Chain> {
        // What cannot be read says nothing here.
        let read = self.network.read_now(index).ok()?;
        read.first().map(|entry| entry.chain)
    }
}
