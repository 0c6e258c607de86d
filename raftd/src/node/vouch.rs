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
        let ours = match self.replica.entries(index..index.next(), 0) {
            Some(cached) => cached.first().cloned(),
            None if self.keeper.is_vouched(message.term) || index > durable => None,
            None => self.on_disk(index),
        }?;
        match compare(&ours, entry) {
            None => None,
            Some(true) => {
                self.keeper.vouch(message.term);
                None
            }
            Some(false) => Some((entry.clone(), ours.chain)),
        }
    }

    /// Reads an entry of the log.
    fn on_disk(&self, index: LogIndex) -> Option<Entry> {
        // What cannot be read says nothing here.
        self.network.read_now(index).ok()?.into_iter().next()
    }
}

/// Says whether two entries end one history; `None` if they do not tell. What is found in memory or
/// on the disk is as it was before this turn: the entry of a former leader may stand there, whose
/// place the core has given to this one already.
fn compare(ours: &Entry, theirs: &Entry) -> Option<bool> {
    let tells = ours.id == theirs.id && ours.chain != Chain::ZERO && theirs.chain != Chain::ZERO;
    tells.then_some(ours.chain == theirs.chain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use consensus::{ClusterTime, Payload, Term};

    fn entry(term: u64, chain: u64) -> Entry {
        let id = EntryId { term: Term::new(term), index: LogIndex::new(7) };
        Entry { chain: Chain::new(chain), ..Entry::new(id, ClusterTime::ZERO, Payload::Noop) }
    }

    /// An append that takes the place of a former leader's entries, and comes twice in one turn,
    /// ended a healthy node.
    #[test]
    fn an_entry_whose_place_was_given_away_in_this_turn_tells_nothing() {
        assert_eq!(compare(&entry(13, 1), &entry(14, 2)), None);
    }

    #[test]
    fn one_identity_has_one_chain_value() {
        assert_eq!(compare(&entry(14, 2), &entry(14, 2)), Some(true));
        assert_eq!(compare(&entry(14, 1), &entry(14, 2)), Some(false));
        assert_eq!(compare(&entry(14, 0), &entry(14, 2)), None, "it is not known yet");
    }
}
