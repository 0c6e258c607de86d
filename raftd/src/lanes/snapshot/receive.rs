//! Receives a snapshot into a file. What has arrived before a break stays, and is not sent again.

use storage::{SnapshotFile, SnapshotReader, SnapshotReceiver, Snapshots, StorageError};
use tokio::task::spawn_blocking;
use transport::IncomingSnapshot;

use crate::logging::repeat::{self, Kind};

/// Receives the file; returns it when all of it is checked and durable.
///
/// # Errors
/// A sentence for the log.
pub(super) async fn run(
    mut incoming: IncomingSnapshot,
    shelf: Snapshots,
) -> Result<SnapshotFile, String> {
    match take(&mut incoming, shelf).await {
        Ok(file) => {
            // If the sender hears nothing it offers the snapshot again, and is told then.
            let _ = incoming.stored().await;
            Ok(file)
        }
        Err(why) => {
            incoming.refuse(why.clone()).await;
            Err(why)
        }
    }
}

async fn take(incoming: &mut IncomingSnapshot, shelf: Snapshots) -> Result<SnapshotFile, String> {
    let head = incoming.offer().head.clone();
    let begun = spawn_blocking(move || begin(&shelf, &head)).await.map_err(said)?;
    let mut receiver = match begun.map_err(said)? {
        Begun::There(file) => {
            incoming.begin(file.bytes).await.map_err(said)?;
            return Ok(*file);
        }
        Begun::Partly(receiver) => receiver,
    };
    let mut offset = receiver.offset();
    incoming.begin(offset).await.map_err(said)?;
    if repeat::may(Kind::Transfer, incoming.from(), "receiving a snapshot") {
        tracing::info!(from = %incoming.from(), offset, "receiving a snapshot");
    }
    while let Some(bytes) = incoming.next().await.map_err(said)? {
        let at = offset;
        let written = spawn_blocking(move || {
            let written = receiver.write(at, &bytes);
            (receiver, written)
        });
        let (back, written) = written.await.map_err(said)?;
        receiver = back;
        offset = written.map_err(said)?;
        incoming.written_to(offset).await.map_err(said)?;
    }
    let finished = spawn_blocking(move || receiver.finish()).await.map_err(said)?;
    finished.map_err(said)
}

enum Begun {
    /// It was received before.
    There(Box<SnapshotFile>),
    /// Some of it, or nothing.
    Partly(Box<SnapshotReceiver>),
}

fn begin(shelf: &Snapshots, head: &[u8]) -> Result<Begun, StorageError> {
    let header = SnapshotReader::new("that is offered".to_owned(), head)?;
    let (id, last) = (header.id(), header.header().meta.last);
    // A file of that name which is not whole is not found here, and received anew.
    if let Ok(Some(file)) = shelf.find(last)
        && SnapshotReader::open(&file.path).and_then(|file| file.verify(|_| {})).is_ok()
    {
        return Ok(Begun::There(Box::new(file)));
    }
    Ok(Begun::Partly(Box::new(shelf.receive(id)?)))
}

fn said(error: impl std::fmt::Display) -> String {
    error.to_string()
}
