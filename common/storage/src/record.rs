//! A record of the log: what one write appends, under the index of its first entry.
//!
//! ```text
//!  0  entries u32        8  writes u64, how many there were before this one and with it
//!  4  crc32c  u32       16  stamp  u64, the highest of this log up to here
//!                       24  a header for each entry (48 bytes), then the payloads, one by one
//! ```
//!
//! The checksum is over owner, key, and everything before the payloads: identities stand apart from
//! contents, so that damage in the contents leaves it known which entry is damaged. Payloads have
//! checksums of their own in the headers.

use bytes::Bytes;
use consensus::{Chain, ClusterTime, Entry, EntryId, LogIndex};
use protocol::{
    ENTRY_HEADER_BYTES, EncodedEntry, EntryHeader, check_header, decode_payload, peek_entry,
};

use crate::error::StorageError;
use crate::layout::Owner;

const HEAD_BYTES: usize = 24;

/// A record has at most so many entries: a reader that wants one of them reads all.
pub(crate) const ENTRIES_MAX: usize = 256;

/// A record has at most so many bytes of payloads, or one entry.
pub(crate) const PAYLOAD_BYTES_MAX: usize = 256 * 1024;

/// The same head in every record of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// The number of the write.
    pub(crate) writes: u64,
    /// The highest cluster time up to there.
    pub(crate) stamp: ClusterTime,
}

/// A record whose head is whole.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) mark: Mark,
    first: LogIndex,
    bytes: Bytes,
    headers: Vec<(EntryHeader, usize)>,
}

/// Encodes entries that follow each other into a record.
pub(crate) fn encode(owner: &Owner, mark: Mark, entries: &[EncodedEntry]) -> Vec<u8> {
    let payloads: usize = entries.iter().map(|entry| entry.payload.len()).sum();
    let mut bytes = Vec::with_capacity(HEAD_BYTES + entries.len() * ENTRY_HEADER_BYTES + payloads);
    let count = u32::try_from(entries.len()).expect("records are bounded");
    bytes.extend_from_slice(&count.to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&mark.writes.to_le_bytes());
    bytes.extend_from_slice(&mark.stamp.get().to_le_bytes());
    for entry in entries {
        bytes.extend_from_slice(&entry.header);
    }
    let first = peek_entry(&entries[0].header).expect("it was made just now").id.index;
    let checksum = owner.seal(first, &bytes);
    bytes[4..8].copy_from_slice(&checksum.to_le_bytes());
    for entry in entries {
        bytes.extend_from_slice(&entry.payload);
    }
    bytes
}

impl Record {
    /// Decodes what stands under the key of entry `first`; payloads are not looked at yet.
    pub(crate) fn decode(
        owner: &Owner,
        first: LogIndex,
        bytes: Bytes,
    ) -> Result<Self, StorageError> {
        let corrupt = |why: String| StorageError::corrupt(format!("log entry {first}"), why);
        let word = |at: usize| {
            let word = bytes.get(at..at + 8).and_then(|word| word.first_chunk::<8>());
            word.map(|word| u64::from_le_bytes(*word))
        };
        let (Some(start), Some(writes), Some(stamp)) = (word(0), word(8), word(16)) else {
            return Err(corrupt(format!("its record has {} bytes", bytes.len())));
        };
        let (count, stored) = ((start & 0xffff_ffff) as usize, (start >> 32) as u32);
        let end = HEAD_BYTES.saturating_add(count.saturating_mul(ENTRY_HEADER_BYTES));
        let Some(head) = bytes.get(..end).filter(|_| count > 0) else {
            return Err(corrupt(format!("its record claims {count} entries")));
        };
        let mut sealed = head.to_vec();
        sealed[4..8].fill(0);
        let found = owner.seal(first, &sealed);
        if found != stored {
            return Err(corrupt(match peek_entry(&head[HEAD_BYTES..]) {
                Ok(header) if header.id.index != first => {
                    format!("the record is entry {}'s", header.id)
                }
                Ok(_) | Err(_) => "its record's head is not what this directory wrote there".into(),
            }));
        }
        let mut headers = Vec::with_capacity(count);
        let (mut at, mut index) = (end, first);
        for header in head[HEAD_BYTES..].chunks_exact(ENTRY_HEADER_BYTES) {
            let header = check_header(&owner.generation, header).map_err(|why| {
                StorageError::corrupt(format!("log entry {index}"), why.to_string())
            })?;
            if header.id.index != index {
                return Err(corrupt(format!("entry {} stands in the place of {index}", header.id)));
            }
            headers.push((header, at));
            at += header.payload_bytes;
            index = index.next();
        }
        if at != bytes.len() {
            return Err(corrupt(format!("its record has {} bytes instead of {at}", bytes.len())));
        }
        let mark = Mark { writes, stamp: ClusterTime::new(stamp) };
        Ok(Self { mark, first, bytes, headers })
    }

    /// Returns the index behind its last entry.
    pub(crate) fn end(&self) -> LogIndex {
        self.first.advanced(self.headers.len() as u64)
    }

    /// Returns the identity and chain value of the last entry.
    pub(crate) fn last(&self) -> (EntryId, Chain) {
        let (header, _) = self.headers.last().expect("a record has entries");
        (header.id, header.chain)
    }

    /// Returns the header of an entry, if it is in here.
    pub(crate) fn header(&self, index: LogIndex) -> Option<&EntryHeader> {
        self.place(index).map(|place| &self.headers[place].0)
    }

    /// Returns all headers, and their bytes.
    pub(crate) fn raw_headers(&self) -> impl Iterator<Item = (&EntryHeader, &[u8])> {
        let bytes = self.bytes[HEAD_BYTES..].chunks_exact(ENTRY_HEADER_BYTES);
        self.headers.iter().map(|(header, _)| header).zip(bytes)
    }

    /// Returns the bytes of an entry's payload.
    pub(crate) fn payload_bytes(&self, index: LogIndex) -> usize {
        self.header(index).map_or(0, |header| header.payload_bytes)
    }

    /// Returns an entry; its payload is checked.
    pub(crate) fn entry(&self, index: LogIndex) -> Result<Entry, StorageError> {
        let missing = || StorageError::corrupt(format!("log entry {index}"), "it is missing");
        let (header, at) = self.headers[self.place(index).ok_or_else(missing)?];
        let payload = self.bytes.slice(at..at + header.payload_bytes);
        decode_payload(&header, payload).map_err(|why| {
            StorageError::corrupt(format!("log entry {}", header.id), why.to_string())
        })
    }

    /// Returns the entries before `end` as they were encoded.
    pub(crate) fn encoded_before(&self, end: LogIndex) -> Vec<EncodedEntry> {
        self.encoded(|index| index < end)
    }

    /// Returns the entries from `begin` on as they were encoded.
    pub(crate) fn encoded_from(&self, begin: LogIndex) -> Vec<EncodedEntry> {
        self.encoded(|index| index >= begin)
    }

    fn encoded(&self, is_wanted: impl Fn(LogIndex) -> bool) -> Vec<EncodedEntry> {
        let mut encoded = Vec::new();
        for ((header, bytes), (_, at)) in self.raw_headers().zip(&self.headers) {
            if is_wanted(header.id.index) {
                let payload = self.bytes.slice(*at..at + header.payload_bytes);
                let header = bytes.try_into().expect("the size of a header");
                encoded.push(EncodedEntry { header, payload });
            }
        }
        encoded
    }

    fn place(&self, index: LogIndex) -> Option<usize> {
        let place = usize::try_from(index.since(self.first)).ok()?;
        (index >= self.first && place < self.headers.len()).then_some(place)
    }
}
