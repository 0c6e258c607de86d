//! What the loop hands work to: threads and tasks that run in parallel, are ordered inside, never
//! wait for each other, and report by [`Done`]. The loop never waits for them.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use consensus::{Entry, EntryId, LogIndex, NodeId, Payload, RequestId, WriteId};
use protocol::ENTRY_HEADER_BYTES;
use replica::Answer;
use state_machine::{Act, Outcome, QueryView};
use storage::StateCheckpoint;
use tokio::sync::mpsc;

use crate::exit::Failure;

pub(crate) mod apply;
pub(crate) mod disk;
pub(crate) mod network;
mod pacer;
pub(crate) mod presence;
pub(crate) mod query;
pub(crate) mod scrub;
pub(crate) mod snapshot;
pub(crate) mod syncs;

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
        /// The digests behind its entries.
        digests: Vec<u64>,
        /// The members that have an alarm now, if they are others than before.
        alarms: Option<BTreeSet<NodeId>>,
    },
    /// The present state, asked for on its own.
    Viewed(View),
    /// The state is durable up to here: the log is not needed for a restart.
    Flushed {
        /// The last index that it covers.
        index: LogIndex,
        /// What it takes on the disk, in bytes.
        state_bytes: u64,
    },
    /// The state was not made durable: there is no room for that.
    Unflushed,
    /// The state behind an entry, to be written to a snapshot; or why there is none.
    Checkpointed {
        /// The last entry that it covers.
        last: EntryId,
        /// The state, durable here.
        result: Result<StateCheckpoint, Failure>,
    },
    /// A snapshot has taken the place of the state.
    Installed {
        /// The last entry that it covers.
        last: LogIndex,
        /// The state at `last`.
        view: View,
        /// The bytes of entries that have left the lane's queue without being applied.
        bytes: usize,
        /// The digest behind `last`.
        digest: u64,
        /// The members that have an alarm now, if they are others than before.
        alarms: Option<BTreeSet<NodeId>>,
    },
    /// The snapshot lane's news.
    Snapshot(snapshot::Report),
    /// The nodes that a change of members brings in were asked who they are.
    Met {
        /// The change.
        request: RequestId,
        /// Their answers.
        answers: BTreeMap<NodeId, Answer>,
    },
    /// Acts were sent to the leader, which has noted all but these.
    Noted {
        /// What is left.
        left: Vec<Act>,
    },
    /// An act that others do has ended.
    Acted {
        /// Which.
        act: Box<Act>,
        /// How.
        outcome: Outcome,
    },
    /// A lane's thread has panicked.
    Panicked(Failure),
    /// The state machine cannot go on.
    ApplyFailed(Failure),
    /// Old entries are read for a peer that is far behind.
    Fed {
        /// Which.
        piece: replica::Piece,
        /// `None` if they are compacted meanwhile.
        result: Result<Option<network::Encoded>, Failure>,
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

/// How often a thread that waits looks whether the node stops.
const POLL: Duration = Duration::from_millis(200);

/// Does the work of a lane's thread. A panic, for instance of the machine, ends the node and not
/// the process.
pub(crate) fn guarded(lane: &str, reports: &Reports, work: impl FnOnce()) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(work)) {
        let failure = Failure::panicked(&format!("the {lane} thread"), &*panic);
        // A loop that is gone needs no report.
        let _ = reports.blocking_send(Done::Panicked(failure));
    }
}

thread_local! {
    /// The machine answers something on this thread.
    static ANSWERING: Cell<bool> = const { Cell::new(false) };
}

/// Says whether the machine answers something on this thread.
pub(crate) fn is_answering() -> bool {
    ANSWERING.get()
}

/// Lets the machine answer something that changes nothing. A panic of it is its answer, and ends
/// neither node nor process: who asked asks the next node otherwise, and ends one after the other.
///
/// # Errors
/// What it said as it panicked.
pub(crate) fn answers<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    ANSWERING.set(true);
    let answered = catch_unwind(AssertUnwindSafe(work));
    ANSWERING.set(false);
    answered.map_err(|panic| Failure::panicked("the machine", &*panic).message)
}

/// Waits on a thread of its own; `false` if the node stops meanwhile.
pub(crate) fn waited(time: Duration, reports: &Reports) -> bool {
    let began = Instant::now();
    while began.elapsed() < time {
        if reports.is_closed() {
            return false;
        }
        thread::sleep(POLL.min(time));
    }
    true
}

/// Lets other threads go first where cores are few: for work that nobody waits for.
pub(crate) fn step_back() {
    // Without it the work is done all the same.
    let _ = rustix::process::nice(10);
}
