//! The host's own records: what is applied, and digests of what that did, from time to time.
//!
//! | key | value |
//! |---|---|
//! | `applied` | version 2, term, index, cluster time, digest; version 1 has no digest |
//! | 13 + index, big-endian u64 | the digest behind that entry |

use bytes::Bytes;
use consensus::{ClusterTime, EntryId, LogIndex, Term};

use crate::effects::{Digest, EFFECTS_EVERY, EFFECTS_STORED};
use crate::error::HostError;
use crate::store::{Batch, PrefixView, SYSTEM, View};

pub(crate) const APPLIED: &[u8] = b"applied";

/// The digests of before an index that an answer holds, at most.
const SHOWN_MAX: usize = 2;

const DIGEST: u8 = 13;

/// The last applied entry, and what goes on from there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Applied {
    pub(crate) applied: EntryId,
    pub(crate) time: ClusterTime,
    pub(crate) digest: Digest,
}

impl Applied {
    /// Reads the record of a state; of an empty one, all is zero.
    pub(crate) fn read(state: &dyn View) -> Result<Self, HostError> {
        Self::of(&PrefixView::new(state, SYSTEM))
    }

    /// Reads the record in the system's part of a state.
    pub(crate) fn of(system: &PrefixView<'_>) -> Result<Self, HostError> {
        match system.get(APPLIED)? {
            Some(bytes) => Self::decode(&bytes),
            None => Ok(Self {
                applied: EntryId::ZERO,
                time: ClusterTime::ZERO,
                digest: Digest::default(),
            }),
        }
    }

    pub(crate) fn encode(&self) -> Bytes {
        let Self { applied, time, digest } = self;
        let mut bytes = vec![2];
        for number in [applied.term.get(), applied.index.get(), time.get(), digest.get()] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.into()
    }

    fn decode(bytes: &[u8]) -> Result<Self, HostError> {
        let damaged = HostError::Damaged(bytes.len());
        let (numbers, digest) = match bytes {
            [1, numbers @ ..] if numbers.len() == 24 => (numbers, 0),
            [2, numbers @ ..] if numbers.len() == 32 => (numbers, number(numbers, 24)),
            _ => return Err(damaged),
        };
        let (term, index) = (Term::new(number(numbers, 0)), LogIndex::new(number(numbers, 8)));
        let time = ClusterTime::new(number(numbers, 16));
        Ok(Self { applied: EntryId { term, index }, time, digest: Digest::of(digest) })
    }
}

fn number(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

/// Stores the digest behind an entry, if it is that entry's turn, and forgets the oldest.
pub(crate) fn keep_digest(index: LogIndex, batch: &mut Batch) {
    let index = index.get();
    if !index.is_multiple_of(EFFECTS_EVERY) {
        return;
    }
    let value = Bytes::copy_from_slice(&batch.digest.get().to_le_bytes());
    batch.put_aside(key(index), value);
    if let Some(oldest) = index.checked_sub(EFFECTS_EVERY * EFFECTS_STORED) {
        batch.delete_aside(key(oldest));
    }
}

fn key(index: u64) -> Bytes {
    [&[SYSTEM, DIGEST][..], &index.to_be_bytes()].concat().into()
}

/// Returns stored digests from an index on, with their indexes, in order: the first few.
pub(crate) fn stored_digests(
    view: &PrefixView<'_>,
    from: u64,
) -> Result<Vec<(LogIndex, u64)>, HostError> {
    let from = [&[DIGEST][..], &from.to_be_bytes()].concat();
    let found = view.range(&from, Some(&[DIGEST + 1]), SHOWN_MAX)?;
    let mut digests = Vec::with_capacity(found.len());
    for (key, value) in found {
        let (Some(index), Some(digest)) = (key.last_chunk(), value.first_chunk()) else {
            return Err(HostError::Damaged(value.len()));
        };
        let index = LogIndex::new(u64::from_be_bytes(*index));
        digests.push((index, u64::from_le_bytes(*digest)));
    }
    Ok(digests)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{MemoryStore, OrderedStore as _};

    #[test]
    fn the_newest_stored_digests_are_kept_and_no_more() {
        let (mut store, mut batch) = (MemoryStore::new(), Batch::new());
        for turn in 1..=EFFECTS_STORED + 3 {
            keep_digest(LogIndex::new(turn * EFFECTS_EVERY), &mut batch);
        }
        store.write(batch).expect("it is in memory");
        let all = (&[SYSTEM, DIGEST][..], &[SYSTEM, DIGEST + 1][..]);
        let kept = store.range(all.0, Some(all.1), usize::MAX).expect("it is in memory");
        assert_eq!(kept.len() as u64, EFFECTS_STORED);
        assert_eq!(kept[0].0, key(4 * EFFECTS_EVERY), "the three before it are forgotten");
    }
}
