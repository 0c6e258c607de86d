//! Chunks and the trailer, and what must hold between them.
//!
//! ```text
//!  0  kind u8: 1 chunk, 2 trailer; 3 bytes 0     16  pairs u32; 0 in the trailer
//!  4  body u32 bytes                             20  crc32c u32 of the snapshot's name,
//!  8  number u64, from 0; of chunks in the           the 20 bytes before, and the body
//!     trailer                                    24  body
//!
//! chunk    per pair: key u32 bytes, value u32 bytes, key, value
//! trailer  pairs u64, bytes of keys and values u64, digest 32 bytes, seal 32 bytes
//! ```
//!
//! The digest is the SHA-256 of all chunks without their checksums; two nodes with the same state
//! have the same one. The seal is the SHA-256 of the name and the trailer's other fields.

use bytes::{Buf, Bytes};
use sha2::{Digest, Sha256};
use state_machine::Pair;

use crate::snapshot::header::SnapshotId;

/// The most bytes of pairs in a chunk, but for a single larger pair.
pub const CHUNK_BYTES_MAX: usize = 1024 * 1024;

/// The largest pair, in bytes of key and value.
pub(crate) const PAIR_BYTES_MAX: usize = 64 * 1024 * 1024;

pub(crate) const FRAME_HEAD_BYTES: usize = 24;
const CHECKSUM_AT: usize = 20;
const PAIR_HEAD_BYTES: usize = 8;
const TRAILER_BYTES: usize = 80;

const CHUNK: u8 = 1;
const TRAILER: u8 = 2;

/// What a snapshot holds as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotTotals {
    /// The number of chunks.
    pub chunks: u64,
    /// The number of pairs.
    pub pairs: u64,
    /// The bytes of keys and values.
    pub bytes: u64,
    /// The SHA-256 of the chunks: equal for equal states.
    pub digest: [u8; 32],
}

impl SnapshotTotals {
    fn seal(&self, id: &SnapshotId) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(id.bytes());
        for number in [self.chunks, self.pairs, self.bytes] {
            hash.update(number.to_le_bytes());
        }
        hash.update(self.digest);
        hash.finalize().into()
    }
}

/// The head of a frame, not checked against its body yet.
pub(crate) type Head = [u8; FRAME_HEAD_BYTES];

/// Returns the size of the body that follows a head.
pub(crate) fn body_bytes(head: &Head) -> Result<usize, String> {
    let size = u32_at(head, 4) as usize;
    match head[0] {
        CHUNK if size <= PAIR_HEAD_BYTES + PAIR_BYTES_MAX => Ok(size),
        TRAILER if size == TRAILER_BYTES => Ok(size),
        kind => Err(format!("no frame begins so (kind {kind}, {size} bytes)")),
    }
}

/// What a frame that holds is.
pub(crate) enum Frame {
    Chunk(Vec<Pair>),
    Trailer(SnapshotTotals),
}

/// Counts what passes, on the way out as on the way in.
#[derive(Clone)]
pub(crate) struct Tally {
    id: SnapshotId,
    chunks: u64,
    pairs: u64,
    bytes: u64,
    contents: Sha256,
    /// The greatest key so far.
    last_key: Option<Bytes>,
}

impl Tally {
    pub(crate) fn new(id: SnapshotId) -> Self {
        let contents = Sha256::new();
        Self { id, chunks: 0, pairs: 0, bytes: 0, contents, last_key: None }
    }

    /// Returns how many chunks have passed.
    pub(crate) fn chunks(&self) -> u64 {
        self.chunks
    }

    /// Makes a chunk of pairs in their encoding.
    pub(crate) fn chunk(&mut self, body: &[u8], pairs: u32, bytes: u64) -> Head {
        let head = head(&self.id, CHUNK, self.chunks, pairs, body);
        self.count(&head, body, pairs, bytes);
        head
    }

    /// Makes the trailer: its head and its body.
    pub(crate) fn trailer(self) -> (Head, Vec<u8>, SnapshotTotals) {
        let id = self.id;
        let totals = self.totals();
        let mut body = Vec::with_capacity(TRAILER_BYTES);
        body.extend_from_slice(&totals.pairs.to_le_bytes());
        body.extend_from_slice(&totals.bytes.to_le_bytes());
        body.extend_from_slice(&totals.digest);
        body.extend_from_slice(&totals.seal(&id));
        (head(&id, TRAILER, totals.chunks, 0, &body), body, totals)
    }

    /// Checks a frame and all that is known of it by now.
    pub(crate) fn check(&mut self, head: &Head, body: &Bytes) -> Result<Frame, String> {
        if checksum(&self.id, head, body) != u32_at(head, CHECKSUM_AT) {
            return Err("wrong checksum".into());
        }
        let number = u64_at(head, 8);
        if number != self.chunks || head[1..4] != [0; 3] {
            return Err(format!("it is numbered {number}"));
        }
        if head[0] == TRAILER {
            return self.check_trailer(body).map(Frame::Trailer);
        }
        let expected = u32_at(head, 16);
        let pairs = self.decode_pairs(body)?;
        if pairs.len() as u64 != u64::from(expected) {
            return Err(format!("it has {} pairs, not {expected}", pairs.len()));
        }
        if let Some((key, _)) = pairs.last() {
            // A copy: the key must not keep its whole chunk alive.
            self.last_key = Some(Bytes::copy_from_slice(key));
        }
        let bytes = pairs.iter().map(|(key, value)| (key.len() + value.len()) as u64).sum();
        self.count(head, body, expected, bytes);
        Ok(Frame::Chunk(pairs))
    }

    fn check_trailer(&self, body: &[u8]) -> Result<SnapshotTotals, String> {
        let totals = self.clone().totals();
        let found = (u64_at(body, 0), u64_at(body, 8));
        if found != (totals.pairs, totals.bytes) {
            let (pairs, bytes) = (totals.pairs, totals.bytes);
            return Err(format!(
                "{pairs} pairs of {bytes} bytes precede, it says {} of {}",
                found.0, found.1
            ));
        }
        if body[16..48] != totals.digest {
            return Err("the chunks are not those that were written".into());
        }
        if body[48..] != totals.seal(&self.id) {
            return Err("the seal is another one's".into());
        }
        Ok(totals)
    }

    fn decode_pairs(&self, body: &Bytes) -> Result<Vec<Pair>, String> {
        let mut rest = body.clone();
        let mut pairs: Vec<Pair> = Vec::new();
        while !rest.is_empty() {
            if rest.len() < PAIR_HEAD_BYTES {
                return Err("a pair is cut off".into());
            }
            let (key, value) = (rest.get_u32_le() as usize, rest.get_u32_le() as usize);
            if key.checked_add(value).is_none_or(|both| both > rest.len()) {
                return Err("a pair is longer than its chunk".into());
            }
            let (key, value) = (rest.split_to(key), rest.split_to(value));
            let last = pairs.last().map(|(key, _)| key).or(self.last_key.as_ref());
            if last.is_some_and(|last| *last >= key) {
                return Err("its keys are out of order".into());
            }
            pairs.push((key, value));
        }
        Ok(pairs)
    }

    fn count(&mut self, head: &Head, body: &[u8], pairs: u32, bytes: u64) {
        self.contents.update(&head[..CHECKSUM_AT]);
        self.contents.update(body);
        self.chunks += 1;
        self.pairs += u64::from(pairs);
        self.bytes += bytes;
    }

    fn totals(self) -> SnapshotTotals {
        let Self { chunks, pairs, bytes, contents, .. } = self;
        SnapshotTotals { chunks, pairs, bytes, digest: contents.finalize().into() }
    }
}

/// Appends a pair to the body of a chunk.
pub(crate) fn encode_pair(key: &[u8], value: &[u8], body: &mut Vec<u8>) {
    for part in [key, value] {
        let size = u32::try_from(part.len()).expect("pairs are bounded");
        body.extend_from_slice(&size.to_le_bytes());
    }
    body.extend_from_slice(key);
    body.extend_from_slice(value);
}

fn head(id: &SnapshotId, kind: u8, number: u64, pairs: u32, body: &[u8]) -> Head {
    let mut head = [0; FRAME_HEAD_BYTES];
    head[0] = kind;
    let size = u32::try_from(body.len()).expect("bodies are bounded");
    head[4..8].copy_from_slice(&size.to_le_bytes());
    head[8..16].copy_from_slice(&number.to_le_bytes());
    head[16..20].copy_from_slice(&pairs.to_le_bytes());
    let checksum = checksum(id, &head, body);
    head[CHECKSUM_AT..].copy_from_slice(&checksum.to_le_bytes());
    head
}

fn checksum(id: &SnapshotId, head: &Head, body: &[u8]) -> u32 {
    let crc = crc32c::crc32c(id.bytes());
    crc32c::crc32c_append(crc32c::crc32c_append(crc, &head[..CHECKSUM_AT]), body)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}
