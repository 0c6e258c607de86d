//! The chain value of each entry that this node makes: a checksum over all of the log up to there,
//! so that two logs that differ under one identity are told apart by whoever stores the next entry.
//!
//! The core does not know it. Whenever it cuts the log, another leader's entries take the place of
//! what was cut off in the same write, with chain values of their own: so the last value is always
//! that of the last entry.

use consensus::{Chain, LogIndex, Write};

/// The end of the chain.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Chaining {
    last: Chain,
}

impl Chaining {
    /// Goes on from the last entry on the disk.
    pub(crate) fn new(last: Chain) -> Self {
        Self { last }
    }

    /// Gives a chain value to each entry that has none, which are this node's own; `last` is the
    /// log's end behind the write.
    pub(crate) fn follow(&mut self, write: &mut Write, last: LogIndex) {
        if let Some(meta) = write.compact_to.as_ref().filter(|meta| meta.chain != Chain::ZERO) {
            // A snapshot has taken the place of the log, of what was at its end also.
            if last.since(meta.last.index) == write.append.len() as u64 {
                self.last = meta.chain;
            }
        }
        for entry in &mut write.append {
            if entry.chain == Chain::ZERO {
                entry.chain = protocol::chain(self.last, entry);
            }
            self.last = entry.chain;
        }
    }
}

#[cfg(test)]
mod tests {
    use consensus::{Configuration, Entry, EntryId, Payload, SnapshotMeta, Term, WriteId};

    use super::*;

    fn id(index: u64) -> EntryId {
        EntryId { term: Term::new(2), index: LogIndex::new(index) }
    }

    /// A write of own entries, and perhaps of a snapshot of another node's with its chain.
    fn write(indexes: std::ops::RangeInclusive<u64>, snapshot: Option<(u64, Chain)>) -> Write {
        let entry = |index| Entry::new(id(index), Default::default(), Payload::Noop);
        let meta = |(index, chain)| SnapshotMeta {
            last: id(index),
            configuration: Configuration::unknown(),
            configuration_index: LogIndex::ZERO,
            stamp: Default::default(),
            chain,
        };
        Write {
            id: WriteId::new(1),
            hard_state: None,
            truncate_from: None,
            compact_to: snapshot.map(meta),
            append: indexes.map(entry).collect(),
        }
    }

    fn chained(from: Chain, mut write: Write) -> Vec<Chain> {
        let last = write.append.last().expect("there are entries").id.index;
        Chaining::new(from).follow(&mut write, last);
        write.append.iter().map(|entry| entry.chain).collect()
    }

    /// Each chain value is made of the one before and of the entry: also where the one before is a
    /// snapshot's, and whose the entries are.
    #[test]
    fn an_entry_is_chained_to_what_stands_before_it() {
        let (old, theirs) = (Chain::new(7), Chain::new(9));
        let expected = |from: Chain| {
            let write = write(4..=6, None);
            write.append.iter().fold(Vec::new(), |mut chains: Vec<Chain>, entry| {
                let before = chains.last().copied().unwrap_or(from);
                chains.push(protocol::chain(before, entry));
                chains
            })
        };
        assert_eq!(chained(old, write(4..=6, None)), expected(old));
        // The log begins behind the snapshot with these entries.
        assert_eq!(chained(old, write(4..=6, Some((3, theirs)))), expected(theirs));
        // It only lost its head: what goes on at its end stands behind the old one.
        assert_eq!(chained(old, write(4..=6, Some((2, theirs)))), expected(old));
        // A snapshot that does not say.
        assert_eq!(chained(old, write(4..=6, Some((3, Chain::ZERO)))), expected(old));
        // An entry that came with its value keeps it, and the next one goes on from there.
        let mut given = write(4..=5, None);
        given.append[0].chain = theirs;
        let after = protocol::chain(theirs, &given.append[1]);
        assert_eq!(chained(old, given), [theirs, after]);
    }
}
