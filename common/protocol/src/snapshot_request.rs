//! What operators ask of a node's snapshots, and the answers.

use bytes::Bytes;
use consensus::{EntryId, LogIndex, Term};

use crate::configuration::bounded;
use crate::error::ProtocolError;
use crate::limits::{SNAPSHOT_PIECE_BYTES_MAX, SNAPSHOTS_LISTED_MAX};
use crate::wire::client as pb;

/// What is asked of a node's snapshots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotRequest {
    /// Make one of the present state; answered when it is durable.
    Take,
    /// Which ones there are.
    List,
    /// A piece of a file.
    Fetch {
        /// The last entry that the snapshot covers.
        last: EntryId,
        /// Where the piece begins, in bytes.
        offset: u64,
    },
}

/// What a node answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SnapshotAnswer {
    /// One was made.
    Taken(SnapshotInfo),
    /// These are there, the newest first.
    List(Vec<SnapshotInfo>),
    /// A piece of a file.
    Piece {
        /// The size of the whole file, in bytes.
        size_bytes: u64,
        /// At most [`SNAPSHOT_PIECE_BYTES_MAX`]; empty at the end.
        bytes: Bytes,
    },
}

/// A snapshot on a node's disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotInfo {
    /// The last entry that it covers.
    pub last: EntryId,
    /// The file's size, in bytes.
    pub size_bytes: u64,
    /// When it was made, in seconds since 1970 by that node's clock.
    pub made_at_s: u64,
}

impl SnapshotRequest {
    pub(crate) fn to_wire(self) -> pb::SnapshotRequest {
        use pb::snapshot_request::Body;
        let body = match self {
            Self::Take => Body::Take(true),
            Self::List => Body::List(true),
            Self::Fetch { last, offset } => {
                let (term, index) = (last.term.get(), last.index.get());
                Body::Fetch(pb::SnapshotFetch { term, index, offset })
            }
        };
        pb::SnapshotRequest { body: Some(body) }
    }

    pub(crate) fn from_wire(request: pb::SnapshotRequest) -> Result<Self, ProtocolError> {
        use pb::snapshot_request::Body;
        let missing = ProtocolError::Missing { what: "what is asked of snapshots" };
        Ok(match request.body.ok_or(missing)? {
            Body::Take(_) => Self::Take,
            Body::List(_) => Self::List,
            Body::Fetch(fetch) => {
                Self::Fetch { last: id(fetch.term, fetch.index), offset: fetch.offset }
            }
        })
    }
}

impl SnapshotAnswer {
    pub(crate) fn to_wire(&self) -> pb::SnapshotAnswer {
        use pb::snapshot_answer::Body;
        let body = match self {
            Self::Taken(info) => Body::Taken(info.to_wire()),
            Self::List(list) => Body::List(pb::SnapshotList {
                snapshots: list.iter().map(|info| info.to_wire()).collect(),
            }),
            Self::Piece { size_bytes, bytes } => {
                Body::Piece(pb::SnapshotPiece { size_bytes: *size_bytes, bytes: bytes.clone() })
            }
        };
        pb::SnapshotAnswer { body: Some(body) }
    }

    pub(crate) fn from_wire(answer: pb::SnapshotAnswer) -> Result<Self, ProtocolError> {
        use pb::snapshot_answer::Body;
        let missing = ProtocolError::Missing { what: "the answer about snapshots" };
        Ok(match answer.body.ok_or(missing)? {
            Body::Taken(info) => Self::Taken(SnapshotInfo::from_wire(info)),
            Body::List(list) => {
                let count = list.snapshots.len();
                bounded("the number of snapshots", count, SNAPSHOTS_LISTED_MAX)?;
                Self::List(list.snapshots.into_iter().map(SnapshotInfo::from_wire).collect())
            }
            Body::Piece(piece) => {
                bounded("a piece of a snapshot", piece.bytes.len(), SNAPSHOT_PIECE_BYTES_MAX)?;
                Self::Piece { size_bytes: piece.size_bytes, bytes: piece.bytes }
            }
        })
    }
}

impl SnapshotInfo {
    fn to_wire(self) -> pb::SnapshotInfo {
        pb::SnapshotInfo {
            term: self.last.term.get(),
            index: self.last.index.get(),
            size_bytes: self.size_bytes,
            made_at_s: self.made_at_s,
        }
    }

    fn from_wire(info: pb::SnapshotInfo) -> Self {
        let pb::SnapshotInfo { term, index, size_bytes, made_at_s } = info;
        Self { last: id(term, index), size_bytes, made_at_s }
    }
}

fn id(term: u64, index: u64) -> EntryId {
    EntryId { term: Term::new(term), index: LogIndex::new(index) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_encoded_is_decoded_as_it_was() {
        let last = id(3, 70);
        for request in [
            SnapshotRequest::Take,
            SnapshotRequest::List,
            SnapshotRequest::Fetch { last, offset: 9 },
        ] {
            assert_eq!(SnapshotRequest::from_wire(request.to_wire()).unwrap(), request);
        }
        let info = SnapshotInfo { last, size_bytes: 1 << 40, made_at_s: 1_700_000_000 };
        for answer in [
            SnapshotAnswer::Taken(info),
            SnapshotAnswer::List(vec![info, info]),
            SnapshotAnswer::Piece { size_bytes: 7, bytes: Bytes::from_static(b"piece") },
        ] {
            assert_eq!(SnapshotAnswer::from_wire(answer.to_wire()).unwrap(), answer);
        }
    }

    #[test]
    fn nothing_and_too_much_are_refused() {
        assert!(SnapshotRequest::from_wire(pb::SnapshotRequest { body: None }).is_err());
        assert!(SnapshotAnswer::from_wire(pb::SnapshotAnswer { body: None }).is_err());
        let bytes = Bytes::from(vec![0; SNAPSHOT_PIECE_BYTES_MAX + 1]);
        let large = SnapshotAnswer::Piece { size_bytes: 0, bytes };
        assert!(SnapshotAnswer::from_wire(large.to_wire()).is_err());
    }
}
