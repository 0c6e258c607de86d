//! Lists snapshots, and reads pieces of them, for operators.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use bytes::Bytes;
use consensus::EntryId;
use protocol::limits::{SNAPSHOT_PIECE_BYTES_MAX, SNAPSHOTS_LISTED_MAX};
use protocol::{ErrorCode, Response, SnapshotAnswer};
use storage::Snapshots;

use crate::answer::refusal;
use crate::lanes::snapshot::info;
use crate::logging::repeat::{self, Kind};

/// Lists the snapshots, the newest first.
pub(super) fn list(snapshots: &Snapshots) -> Response {
    let (files, wrong) = match snapshots.list() {
        Ok(found) => found,
        Err(error) => return failed(error),
    };
    for error in wrong {
        repeat::tell(Kind::Snapshot, "a file", &error);
    }
    let list = files.iter().take(SNAPSHOTS_LISTED_MAX).map(info).collect();
    Response::Snapshot(SnapshotAnswer::List(list))
}

/// Reads a piece of a snapshot.
pub(super) fn piece(snapshots: &Snapshots, last: EntryId, offset: u64) -> Response {
    let file = match snapshots.find(last) {
        Ok(Some(file)) => file,
        Ok(None) => {
            let why = format!("there is no snapshot that ends at entry {last} any more");
            return Response::Error(refusal(ErrorCode::BadRequest, why));
        }
        Err(error) => return failed(error),
    };
    let left = file.bytes.saturating_sub(offset);
    let size = usize::try_from(left).unwrap_or(usize::MAX).min(SNAPSHOT_PIECE_BYTES_MAX);
    let mut piece = vec![0; size];
    match File::open(&file.path).and_then(|file| file.read_exact_at(&mut piece, offset)) {
        Ok(()) => {
            let bytes = Bytes::from(piece);
            Response::Snapshot(SnapshotAnswer::Piece { size_bytes: file.bytes, bytes })
        }
        Err(error) => failed(error),
    }
}

fn failed(error: impl std::fmt::Display) -> Response {
    let why = format!("the snapshots cannot be read: {error}");
    Response::Error(refusal(ErrorCode::Internal, why))
}
