//! What the log begins behind when its head was compacted: one record, so that a crash finds the
//! log's head with its configuration, or the log as it was before (§5.1).
//!
//! ```text
//!  0  version u8, 2     9  index u64     25  configuration's index u64    then  configuration
//!  1  term u64         17  stamp u64     33  chain value u64              then  crc32c u32
//!                                        41  configuration's bytes u32
//! ```

use bytes::Bytes;
use consensus::{Chain, ClusterTime, Configuration, EntryId, LogIndex, SnapshotMeta, Term};
use protocol::{decode_configuration, encode_configuration};

use crate::error::StorageError;

const VERSION: u8 = 2;
const HEAD_BYTES: usize = 45;
const CHECKSUM_BYTES: usize = 4;

/// A log that begins at its beginning.
pub(crate) fn nothing() -> SnapshotMeta {
    SnapshotMeta {
        last: EntryId::ZERO,
        configuration: Configuration::unknown(),
        configuration_index: LogIndex::ZERO,
        stamp: ClusterTime::ZERO,
        chain: Chain::ZERO,
    }
}

/// Encodes what a log begins behind.
pub(crate) fn encode(base: &SnapshotMeta) -> Vec<u8> {
    let configuration = encode_configuration(&base.configuration);
    let mut bytes = vec![VERSION];
    let last = base.last;
    let numbers =
        [last.term.get(), last.index.get(), base.stamp.get(), base.configuration_index.get()];
    for number in numbers.into_iter().chain([base.chain.get()]) {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    let length = u32::try_from(configuration.len()).expect("a configuration is small");
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(&configuration);
    bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
    bytes
}

/// Decodes what a log begins behind.
pub(crate) fn decode(bytes: &Bytes) -> Result<SnapshotMeta, StorageError> {
    let corrupt = |why: String| StorageError::corrupt("the record of the log's head", why);
    let parts = bytes.split_last_chunk::<CHECKSUM_BYTES>();
    let Some((checked, stored)) = parts.filter(|(checked, _)| checked.len() >= HEAD_BYTES) else {
        return Err(corrupt(format!("{} bytes are too few", bytes.len())));
    };
    if crc32c::crc32c(checked) != u32::from_le_bytes(*stored) {
        return Err(corrupt("wrong checksum".into()));
    }
    if checked[0] != VERSION {
        let found = u32::from(checked[0]);
        let what = "the record of the log's head".into();
        return Err(StorageError::NewerFormat { what, found, known: u32::from(VERSION) });
    }
    let number =
        |at: usize| u64::from_le_bytes(checked[at..at + 8].try_into().expect("eight bytes"));
    let configuration = decode_configuration(&checked[HEAD_BYTES..])
        .map_err(|why| corrupt(format!("its configuration: {why}")))?;
    Ok(SnapshotMeta {
        last: EntryId { term: Term::new(number(1)), index: LogIndex::new(number(9)) },
        configuration,
        configuration_index: LogIndex::new(number(25)),
        stamp: ClusterTime::new(number(17)),
        chain: Chain::new(number(33)),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_head_is_read_as_it_was_written_and_damage_is_found() {
        let last = EntryId { term: Term::new(3), index: LogIndex::new(70) };
        let stamp = ClusterTime::new(9);
        let head = SnapshotMeta { last, stamp, chain: Chain::new(5), ..nothing() };
        let whole = encode(&head);
        assert_eq!(decode(&Bytes::from(whole.clone())).unwrap(), head);
        for place in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[place] ^= 0x10;
            assert!(decode(&Bytes::from(damaged)).is_err(), "byte {place}");
            assert!(decode(&Bytes::copy_from_slice(&whole[..place])).is_err(), "cut at {place}");
        }
    }
}
