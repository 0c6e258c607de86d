//! Sends a snapshot's file to a peer. The file is checked meanwhile: a receiver would notice that
//! it is damaged, and so would the next ones, but none of them can do anything about it.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use consensus::Term;
use protocol::SnapshotOffer;
use storage::{SnapshotFile, SnapshotReader};
use tokio::task::spawn_blocking;
use tokio::time::sleep;
use transport::SnapshotSender;

use crate::lanes::pacer::Pacer;

/// So many bytes are read and sent at a time.
const PIECE_BYTES: u64 = 256 * 1024;

/// The file is checked so many times as fast as it is sent.
const CHECKED_FASTER: u64 = 4;

/// Why a snapshot was not delivered: a sentence for the log.
#[derive(Debug)]
pub(crate) enum Broken {
    /// The file is not as it was written, or cannot be read.
    File(String),
    /// The way, or the receiver.
    Way(String),
}

/// Sends the file from where the receiver has got to; returns when that has stored all of it.
pub(super) async fn run(
    sender: &SnapshotSender,
    term: Term,
    snapshot: SnapshotFile,
    bytes_per_s_max: u64,
    progress: &AtomicU64,
) -> Result<(), Broken> {
    let path = snapshot.path.clone();
    let rate = bytes_per_s_max.saturating_mul(CHECKED_FASTER);
    let mut check = spawn_blocking(move || check(&path, rate));
    let mut sending = pin!(send(sender, term, snapshot, bytes_per_s_max, progress));
    let (checked, sent) = tokio::select! {
        checked = &mut check => (checked, None),
        sent = &mut sending => ((&mut check).await, Some(sent)),
    };
    // What is damaged is damaged, whatever the receiver makes of it.
    checked.map_err(|error| Broken::Way(error.to_string()))??;
    let sent = match sent {
        Some(sent) => sent,
        None => sending.await,
    };
    sent.map_err(Broken::Way)
}

/// Reads the whole file.
fn check(path: &Path, bytes_per_s_max: u64) -> Result<(), Broken> {
    let mut pacer = Pacer::new(bytes_per_s_max);
    let mut before = 0;
    let checked = SnapshotReader::open(path).and_then(|file| {
        file.verify(|offset| {
            std::thread::sleep(pacer.pass(offset.saturating_sub(before)));
            before = offset;
        })
    });
    checked.map(drop).map_err(|error| match error.is_of_the_file() {
        true => Broken::File(said(error)),
        // It may be whole: it is tried again.
        false => Broken::Way(said(error)),
    })
}

async fn send(
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
