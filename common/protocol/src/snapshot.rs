//! What is said on a snapshot's stream (§5): an offer, chunks of the file in order, and answers.

use bytes::Bytes;
use consensus::Term;
use prost::Message as _;

use crate::configuration::bounded;
use crate::error::ProtocolError;
use crate::frame::{Frame, encode_frame};
use crate::hello::no_body;
use crate::limits::{FRAME_BODY_BYTES_MAX, SNAPSHOT_HEAD_BYTES_MAX};
use crate::wire::peer as pb;

const REASON_BYTES_MAX: usize = 1024;

/// A leader offers a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotOffer {
    /// The leader's term.
    pub term: Term,
    /// The head of the file, which says what it covers and names it.
    pub head: Bytes,
    /// The whole file, with its head, in bytes.
    pub size_bytes: u64,
}

/// A piece of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotChunk {
    /// Where it begins in the file, in bytes.
    pub offset: u64,
    /// The bytes; never empty.
    pub bytes: Bytes,
}

/// What the receiver answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SnapshotReply {
    /// Everything before this byte is written; the first answer says where the sender begins.
    WrittenTo(u64),
    /// The file is complete, checked and durable.
    Stored,
    /// It is not wanted, or makes no sense; and why, for people.
    Refused(String),
}

impl SnapshotOffer {
    /// Encodes the frame.
    ///
    /// # Errors
    /// If the head is longer than [`SNAPSHOT_HEAD_BYTES_MAX`].
    pub fn encode(&self) -> Result<Bytes, ProtocolError> {
        bounded("a snapshot's head", self.head.len(), SNAPSHOT_HEAD_BYTES_MAX)?;
        let (term, head) = (self.term.get(), self.head.clone());
        encode_frame(&pb::SnapshotOffer { term, head, size_bytes: self.size_bytes }, 0)
    }

    /// Decodes the frame.
    ///
    /// # Errors
    /// If it is malformed, or its head too long or longer than the file.
    pub fn decode(frame: &Frame) -> Result<Self, ProtocolError> {
        let what = "a snapshot's offer";
        no_body(what, frame)?;
        let pb::SnapshotOffer { term, head, size_bytes } =
            pb::SnapshotOffer::decode(frame.header.clone())
                .map_err(|source| ProtocolError::Malformed { what, source })?;
        bounded("a snapshot's head", head.len(), SNAPSHOT_HEAD_BYTES_MAX)?;
        if head.is_empty() || size_bytes < head.len() as u64 {
            let why = format!("a head of {} bytes, a file of {size_bytes}", head.len());
            return Err(ProtocolError::Invalid { what, why });
        }
        Ok(Self { term: Term::new(term), head, size_bytes })
    }
}

impl SnapshotChunk {
    /// Encodes the frame as chunks to be written in order; the bytes are shared, not copied.
    ///
    /// # Errors
    /// If it is larger than a frame may be.
    pub fn encode(&self) -> Result<[Bytes; 2], ProtocolError> {
        let checksum = crc32c::crc32c(&self.bytes);
        let header = pb::SnapshotChunk { offset: self.offset, checksum };
        Ok([encode_frame(&header, self.bytes.len())?, self.bytes.clone()])
    }

    /// Decodes the frame and checks its bytes.
    ///
    /// # Errors
    /// If it is malformed, empty, too large or damaged.
    pub fn decode(frame: Frame) -> Result<Self, ProtocolError> {
        let what = "a piece of a snapshot";
        let pb::SnapshotChunk { offset, checksum } = pb::SnapshotChunk::decode(frame.header)
            .map_err(|source| ProtocolError::Malformed { what, source })?;
        bounded(what, frame.body.len(), FRAME_BODY_BYTES_MAX)?;
        let invalid = |why: &str| ProtocolError::Invalid { what, why: why.to_owned() };
        if frame.body.is_empty() {
            return Err(invalid("it is empty"));
        }
        if crc32c::crc32c(&frame.body) != checksum {
            return Err(invalid("wrong checksum"));
        }
        Ok(Self { offset, bytes: frame.body })
    }
}

impl SnapshotReply {
    /// Encodes the frame.
    pub fn encode(&self) -> Bytes {
        use pb::snapshot_reply::Outcome;
        let outcome = match self {
            Self::WrittenTo(offset) => Outcome::WrittenTo(*offset),
            Self::Stored => Outcome::Stored(true),
            Self::Refused(why) => {
                Outcome::Refused(why.chars().take(REASON_BYTES_MAX / 4).collect())
            }
        };
        encode_frame(&pb::SnapshotReply { outcome: Some(outcome) }, 0).expect("an answer is small")
    }

    /// Decodes the frame.
    ///
    /// # Errors
    /// If it is malformed, or its text too long.
    pub fn decode(frame: &Frame) -> Result<Self, ProtocolError> {
        use pb::snapshot_reply::Outcome;
        let what = "an answer to a snapshot";
        no_body(what, frame)?;
        let reply = pb::SnapshotReply::decode(frame.header.clone())
            .map_err(|source| ProtocolError::Malformed { what, source })?;
        match reply.outcome.ok_or(ProtocolError::Missing { what })? {
            Outcome::WrittenTo(offset) => Ok(Self::WrittenTo(offset)),
            Outcome::Stored(_) => Ok(Self::Stored),
            Outcome::Refused(why) => {
                bounded("a refusal's reason", why.len(), REASON_BYTES_MAX)?;
                Ok(Self::Refused(why))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::frame::FrameReader;

    fn frame(bytes: &[&[u8]]) -> Frame {
        let mut reader = FrameReader::new();
        bytes.iter().for_each(|bytes| reader.extend(bytes));
        reader.next_frame().unwrap().unwrap()
    }

    #[test]
    fn what_is_encoded_is_decoded_as_it_was() {
        let head = Bytes::from_static(b"head");
        let offer = SnapshotOffer { term: Term::new(7), head, size_bytes: 99 };
        assert_eq!(SnapshotOffer::decode(&frame(&[&offer.encode().unwrap()])).unwrap(), offer);
        let chunk = SnapshotChunk { offset: 12, bytes: Bytes::from_static(b"piece") };
        let [header, body] = chunk.encode().unwrap();
        assert_eq!(SnapshotChunk::decode(frame(&[&header, &body])).unwrap(), chunk);
        for reply in [
            SnapshotReply::WrittenTo(0),
            SnapshotReply::WrittenTo(u64::MAX),
            SnapshotReply::Stored,
            SnapshotReply::Refused("full".into()),
        ] {
            assert_eq!(SnapshotReply::decode(&frame(&[&reply.encode()])).unwrap(), reply);
        }
    }

    #[test]
    fn damage_and_nonsense_are_refused() {
        let chunk = SnapshotChunk { offset: 12, bytes: Bytes::from_static(b"piece") };
        let [header, _] = chunk.encode().unwrap();
        assert!(SnapshotChunk::decode(frame(&[&header, b"peace"])).is_err(), "other bytes");
        let empty = SnapshotChunk { offset: 0, bytes: Bytes::new() };
        let [header, _] = empty.encode().unwrap();
        assert!(SnapshotChunk::decode(frame(&[&header])).is_err(), "no bytes");
        let head = Bytes::from(vec![0; 10]);
        let offer = SnapshotOffer { term: Term::ZERO, head, size_bytes: 9 };
        let offer = offer.encode().unwrap();
        assert!(SnapshotOffer::decode(&frame(&[&offer])).is_err(), "a head beyond the end");
        let head = Bytes::from(vec![0; SNAPSHOT_HEAD_BYTES_MAX + 1]);
        let offer = SnapshotOffer { term: Term::ZERO, head, size_bytes: 1 << 30 };
        assert!(offer.encode().is_err(), "a head over its limit");
    }
}
