//! Receives a snapshot into a file. What has arrived before a break stays, and is not sent again.

use std::sync::Arc;

use protocol::Trouble;
use storage::{SnapshotFile, SnapshotReader, SnapshotReceiver, Snapshots, StorageError};
use transport::IncomingSnapshot;

use crate::alive::Alive;
use crate::gauges::Gauges;
use crate::logging::repeat::{self, Kind};
use crate::troubles::Troubles;

/// Receives the file; returns it when all of it is checked and durable.
///
/// # Errors
/// A sentence for the log.
pub(super) async fn run(
    mut incoming: IncomingSnapshot,
    snapshots: Snapshots,
    (gauges, alive): (Arc<Gauges>, Alive),
) -> Result<SnapshotFile, String> {
    match take(&mut incoming, snapshots, (gauges, &alive)).await {
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

async fn take(
    incoming: &mut IncomingSnapshot,
    snapshots: Snapshots,
    (gauges, alive): (Arc<Gauges>, &Alive),
) -> Result<SnapshotFile, String> {
    let (head, size_bytes) = (incoming.offer().head.clone(), incoming.offer().size_bytes);
    let troubles = gauges.troubles().clone();
    let here = |error: StorageError| failed_here(&troubles, &error);
    let begun =
        alive.try_aside(move || begin(&snapshots, &head, size_bytes, |bytes| gauges.lacks(bytes)));
    let mut receiver = match begun.await.map_err(said)?.map_err(here)? {
        Begun::There(file) => {
            incoming.begin(file.bytes).await.map_err(said)?;
            return Ok(*file);
        }
        Begun::Partly(receiver) => receiver,
    };
    let mut offset = receiver.offset();
    incoming.begin(offset).await.map_err(said)?;
    if repeat::may(Kind::Transfer, incoming.from(), "receiving a snapshot") {
        tracing::info!(
            name: "snapshot-receiving",
            from = %incoming.from(), offset, "receiving a snapshot"
        );
    }
    while let Some(bytes) = incoming.next().await.map_err(said)? {
        let at = offset;
        let written = alive.try_aside(move || {
            let written = receiver.write(at, &bytes);
            (receiver, written)
        });
        let (back, written) = written.await.map_err(said)?;
        receiver = back;
        offset = written.map_err(here)?;
        incoming.written_to(offset).await.map_err(said)?;
    }
    let finished = alive.try_aside(move || receiver.finish()).await.map_err(said)?;
    let file = finished.map_err(here)?;
    troubles.end(Trouble::Snapshots);
    Ok(file)
}

/// Says why it failed. Where that is this machine's fault, only this node can tell people.
fn failed_here(troubles: &Troubles, error: &StorageError) -> String {
    let why = said(error);
    if !matches!(error, StorageError::Corrupt { .. }) {
        troubles.note(Trouble::Snapshots, &format!("no snapshot can be received: {why}"));
    }
    why
}

pub(super) enum Begun {
    /// It was received before.
    There(Box<SnapshotFile>),
    /// Some of it, or nothing.
    Partly(Box<SnapshotReceiver>),
}

/// Looks what there is of it, and whether there is room for the rest: `lacks` says why so many
/// bytes more would take too much of the disk, if they would.
pub(super) fn begin(
    snapshots: &Snapshots,
    head: &[u8],
    size_bytes: u64,
    lacks: impl Fn(u64) -> Option<String>,
) -> Result<Begun, StorageError> {
    let header = SnapshotReader::new("that is offered".to_owned(), head)?;
    let (id, last) = (header.id(), header.header().meta.last);
    // A file of that name which is not whole is not found here, and received anew.
    if let Ok(Some(file)) = snapshots.find(last)
        && SnapshotReader::open(&file.path).and_then(|file| file.verify(|_| {})).is_ok()
    {
        return Ok(Begun::There(Box::new(file)));
    }
    let receiver = snapshots.receive(id)?;
    // The file, and the state that is made of it beside the present one. Half way is too late: the
    // log would begin behind a state that cannot be installed.
    let needed = size_bytes.saturating_mul(2).saturating_sub(receiver.offset());
    if let Some(why) = lacks(needed) {
        return Err(StorageError::Full { doing: "receiving a snapshot", why });
    }
    Ok(Begun::Partly(Box::new(receiver)))
}

fn said(error: impl std::fmt::Display) -> String {
    error.to_string()
}
