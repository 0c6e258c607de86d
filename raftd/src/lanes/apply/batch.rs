//! What is applied at once: how much of it, and how far the entries at hand reach.

use consensus::{Entry, LogIndex, Payload};

use crate::lanes::entry_bytes;

/// The most bytes of entries in one batch, beyond the first entry.
pub(super) const BATCH_BYTES_MAX: usize = 1 << 20;

/// The most entries in one batch.
pub(super) const BATCH_ENTRIES_MAX: usize = 4_096;

/// Says whether the entries at hand reach up to `end`.
pub(super) fn follows(batch: &[Entry], end: LogIndex) -> bool {
    batch.last().is_some_and(|entry| entry.id.index == end)
}

/// Returns how many of the first entries make a batch: at least one.
pub(super) fn batch_len(entries: &[Entry]) -> usize {
    let mut bytes = 0;
    let within = entries.iter().take(BATCH_ENTRIES_MAX).take_while(|entry| {
        bytes += entry_bytes(entry);
        bytes <= BATCH_BYTES_MAX
    });
    within.count().max(1).min(entries.len())
}

/// Says whether an entry changes the members.
pub(super) fn is_configuration(entry: &Entry) -> bool {
    match entry.payload {
        Payload::Configuration(_) => true,
        Payload::Noop | Payload::Command(_) => false,
    }
}
