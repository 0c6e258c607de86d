//! Sends a snapshot's file to a peer.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use consensus::Term;
use protocol::SnapshotOffer;
use storage::SnapshotFile;
use tokio::task::spawn_blocking;
use tokio::time::sleep;
use transport::SnapshotSender;

use crate::lanes::pacer::Pacer;

/// So many bytes are read and sent at a time.
const PIECE_BYTES: u64 = 256 * 1024;

/// Sends the file from where the receiver has got to; returns when that has stored all of it.
///
/// # Errors
/// A sentence for the log.
pub(super) async fn run(
    sender: &SnapshotSender,
    term: Term,
    snapshot: SnapshotFile,
    bytes_per_s_max: u64,
    progress: &AtomicU64,
) -> Result<(), String> {
    let path = snapshot.path.clone();
    let opened = spawn_blocking(move || File::open(path)).await;
    let file = Arc::new(opened.map_err(said)?.map_err(said)?);
    let head = Bytes::from(snapshot.header.encode());
    let offer = SnapshotOffer { term, head, size_bytes: snapshot.bytes };
    let (mut outgoing, begin) = sender.offer(&offer).await.map_err(said)?;
    let mut pacer = Pacer::new(bytes_per_s_max);
    let mut at = begin;
    while at < snapshot.bytes {
        let size = PIECE_BYTES.min(snapshot.bytes - at);
        let reader = Arc::clone(&file);
        let read = spawn_blocking(move || {
            let mut piece = vec![0; usize::try_from(size).expect("a piece is small")];
            reader.read_exact_at(&mut piece, at).map(|()| Bytes::from(piece))
        });
        outgoing.send(read.await.map_err(said)?.map_err(said)?).await.map_err(said)?;
        at += size;
        progress.store(at, Ordering::Relaxed);
        sleep(pacer.pass(size)).await;
    }
    outgoing.finish().await.map_err(said)
}

fn said(error: impl std::fmt::Display) -> String {
    error.to_string()
}
