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
