//! What the loop hands work to: threads and tasks that run in parallel, are ordered inside, never
//! wait for each other, and report by [`Done`]. The loop never waits for them.

use std::time::Duration;

use bytes::Bytes;
use consensus::{Entry, LogIndex, NodeId, Payload, WriteId};
use protocol::ENTRY_HEADER_BYTES;
use state_machine::QueryView;
use tokio::sync::mpsc;

use crate::exit::Failure;

pub(crate) mod apply;
pub(crate) mod disk;
pub(crate) mod network;
pub(crate) mod query;

/// Reports that may wait for the loop. Each lane waits when there are more; the loop waits for no
/// lane, so that this cannot deadlock.
pub(crate) const REPORTS_MAX: usize = 256;

/// Where lanes report to.
pub(crate) type Reports = mpsc::Sender<Done>;

/// What a lane reports.
#[derive(Debug)]
pub(crate) enum Done {
    /// This write and all before it are on the disk.
    Written {
        /// The last of them.
        last: WriteId,
        /// The bytes that have left the lane's queue.
        bytes: usize,
        /// How long the batch took.
        took: Duration,
    },
    /// Nothing after the writes reported so far is on the disk, and nothing ever will be.
    WriteFailed {
        /// The first write that failed.
        first: WriteId,
        /// Why.
        failure: Failure,
    },
    /// The state machine applied all entries up to here.
    Applied {
        /// The last of them.
        last: LogIndex,
        /// The machine's answers to the commands among them, in order.
        responses: Vec<(LogIndex, Bytes)>,
        /// The state at `last`, if it was asked for.
        view: Option<View>,
        /// The bytes of entries that have left the lane's queue.
        bytes: usize,
        /// How long the batch took.
        took: Duration,
    },
    /// The present state, asked for on its own.
    Viewed(View),
    /// The state machine cannot go on.
    ApplyFailed(Failure),
    /// Entries for a peer, read from the disk.
    Read {
        /// The peer.
        to: NodeId,
        /// At least one entry.
        result: Result<Vec<Entry>, Failure>,
    },
}

/// A view of the state, as a report carries it.
pub(crate) struct View(pub(crate) QueryView);

impl std::fmt::Debug for View {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "View(at {})", self.0.applied())
    }
}

/// Returns what an entry takes in memory and on the wire, in bytes, but for configurations, which
/// are rare and counted as small.
pub(crate) fn entry_bytes(entry: &Entry) -> usize {
    ENTRY_HEADER_BYTES
        + match &entry.payload {
            Payload::Command(payload) => payload.len(),
            Payload::Noop | Payload::Configuration(_) => 0,
        }
}
