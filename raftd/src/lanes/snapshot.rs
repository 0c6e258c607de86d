//! The snapshot lane: the state of one moment becomes a file, files go to followers that need
//! compacted entries, and come from leaders (§5). Threads and tasks do the work and report; the
//! loop only decides.
//!
//! One snapshot is made at a time, and one is received; each peer is sent one. Making and sending
//! are paced, so that they do not starve the log of the disk and the network.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use consensus::{LogIndex, NodeId, SnapshotMeta, Term, Timestamp};
use protocol::{ErrorCode, Generation, Response, SnapshotAnswer, SnapshotInfo, SnapshotRequest};
use storage::{SnapshotFile, SnapshotHeader, Snapshots, StateCheckpoint};
use tokio::task::AbortHandle;
use transport::{IncomingSnapshot, Responder, SnapshotSender};

use crate::answer;
use crate::exit::Failure;
use crate::gauges::Gauges;
use crate::lanes::snapshot::hold::Holds;
use crate::lanes::{Done, Reports};
use crate::logging::repeat::{self, Kind};

mod fetch;
mod hold;
mod make;
mod receive;
mod send;

/// So many snapshots stay on the disk.
const SNAPSHOTS_KEPT: usize = 2;

/// Operators that may wait for one snapshot.
const MAKERS_MAX: usize = 64;

/// What the lane reports.
#[derive(Debug)]
pub(crate) enum Report {
    /// The state of one moment is a file, or is not.
    Made { result: Result<SnapshotFile, Failure> },
    /// Sending to a peer has ended; a sentence if it was not delivered.
    Sent { to: NodeId, result: Result<(), String> },
    /// A leader's snapshot is here as a whole; a sentence if it is not.
    Received { from: NodeId, term: Term, result: Result<SnapshotFile, String> },
}

/// What all snapshots of this node say.
#[derive(Clone, Debug)]
pub(crate) struct About {
    pub(crate) cluster: [u8; 16],
    pub(crate) generation: Generation,
    pub(crate) machine: String,
    pub(crate) machine_version: u32,
}

/// The loop's end of the lane.
pub(crate) struct SnapshotLane {
    shelf: Snapshots,
    about: About,
    gauges: Arc<Gauges>,
    reports: Reports,
    bytes_per_s_max: u64,
    newest: Option<SnapshotFile>,
    /// The state is being written to a file, or will be.
    making: bool,
    /// The last entry of what is being written.
    written: Option<LogIndex>,
    /// Operators that wait for that.
    makers: Vec<Responder>,
    /// Peers that wait for a snapshot, and which one is of use to them.
    wanted: BTreeMap<NodeId, Wanted>,
    sending: BTreeMap<NodeId, Sending>,
    /// The log behind snapshots whose transfer has ended.
    holds: Holds,
    receiving: bool,
}

/// What a peer needs.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    term: Term,
    at_least: LogIndex,
}

/// A snapshot on its way to a peer.
struct Sending {
    last: LogIndex,
    size_bytes: u64,
    sent_bytes: Arc<AtomicU64>,
    task: AbortHandle,
}

impl SnapshotLane {
    /// Makes the lane of a node that has these snapshots.
    pub(crate) fn new(
        shelf: Snapshots,
        newest: Option<SnapshotFile>,
        about: About,
        bytes_per_s_max: u64,
        (gauges, reports): (Arc<Gauges>, Reports),
    ) -> Self {
        Self {
            shelf,
            about,
            gauges,
            reports,
            bytes_per_s_max,
            newest,
            making: false,
            written: None,
            makers: Vec::new(),
            wanted: BTreeMap::new(),
            sending: BTreeMap::new(),
            holds: Holds::default(),
            receiving: false,
        }
    }

    /// Notes that a peer needs a snapshot. Returns whether there is one for it; if not, one is
    /// wanted, and the peer gets it when it is made.
    pub(crate) fn want(&mut self, to: NodeId, term: Term, at_least: LogIndex) -> bool {
        if self.sending.contains_key(&to) {
            return false;
        }
        self.wanted.insert(to, Wanted { term, at_least });
        self.is_ready(to)
    }

    fn is_ready(&self, to: NodeId) -> bool {
        let newest = self.newest.as_ref().map(|file| file.header.meta.last.index);
        self.wanted.get(&to).is_some_and(|wanted| newest >= Some(wanted.at_least))
    }

    /// Says whether a checkpoint of the state must be asked for, and notes that it is.
    pub(crate) fn needs_checkpoint(&mut self) -> bool {
        let wanted = !self.makers.is_empty() || self.wanted.keys().any(|to| !self.is_ready(*to));
        wanted && !std::mem::replace(&mut self.making, true)
    }

    /// Returns the peers to which the newest snapshot can be sent now.
    pub(crate) fn ready(&self) -> Vec<NodeId> {
        self.wanted.keys().copied().filter(|to| self.is_ready(*to)).collect()
    }

    /// Sends the newest snapshot to a peer that waits for it.
    pub(crate) fn send(&mut self, to: NodeId, sender: SnapshotSender) {
        let (Some(wanted), Some(file)) = (self.wanted.remove(&to), self.newest.clone()) else {
            return;
        };
        let (last, size_bytes) = (file.header.meta.last.index, file.bytes);
        if repeat::may(Kind::Transfer, to, "sending a snapshot") {
            tracing::info!(%to, %last, size_bytes, "sending a snapshot");
        }
        let sent_bytes = Arc::new(AtomicU64::new(0));
        let progress = Arc::clone(&sent_bytes);
        let (reports, rate) = (self.reports.clone(), self.bytes_per_s_max);
        let task = tokio::spawn(async move {
            let result = send::run(&sender, wanted.term, file, rate, &progress).await;
            // A loop that is gone needs no report.
            let _ = reports.send(Done::Snapshot(Report::Sent { to, result })).await;
        });
        let task = task.abort_handle();
        self.sending.insert(to, Sending { last, size_bytes, sent_bytes, task });
    }

    /// Notes that sending to a peer has ended, while the log ends at `log_last`.
    pub(crate) fn sent(&mut self, now: Timestamp, to: NodeId, log_last: LogIndex) {
        if let Some(Sending { last, .. }) = self.sending.remove(&to) {
            self.holds.hold(now, to, last, log_last);
        }
    }

    /// Forgets a peer that waits: there is no way to it.
    pub(crate) fn give_up(&mut self, to: NodeId) {
        self.wanted.remove(&to);
    }

    /// Ends all sending: this node leads no more, and another leader's snapshots count.
    pub(crate) fn stop_sending(&mut self) {
        for sending in std::mem::take(&mut self.sending).into_values() {
            sending.task.abort();
        }
        self.wanted.clear();
        self.holds = Holds::default();
    }

    /// Returns how much of a snapshot a peer has been sent, and its size, in bytes.
    pub(crate) fn progress(&self, to: NodeId) -> Option<(u64, u64)> {
        let sending = self.sending.get(&to)?;
        Some((sending.sent_bytes.load(Ordering::Relaxed), sending.size_bytes))
    }

    /// Returns up to where the log may be compacted: what follows a snapshot on its way is needed
    /// when that arrives, or it would never end. Peers have the log up to `matched`.
    pub(crate) fn floor(
        &mut self,
        now: Timestamp,
        matched: impl Fn(NodeId) -> LogIndex,
    ) -> Option<LogIndex> {
        let sending = self.sending.values().map(|sending| sending.last);
        sending.chain(self.holds.floor(now, matched)).chain(self.written).min()
    }

    /// Writes a checkpoint to a file, on a thread of its own.
    pub(crate) fn make(
        &mut self,
        meta: SnapshotMeta,
        checkpoint: StateCheckpoint,
        flushed: LogIndex,
    ) -> std::io::Result<()> {
        self.written = Some(meta.last.index);
        let made = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let header = SnapshotHeader {
            cluster: self.about.cluster,
            generation: self.about.generation,
            meta,
            machine: self.about.machine.clone(),
            machine_version: self.about.machine_version,
            made_unix_ms: u64::try_from(made.as_millis()).unwrap_or(u64::MAX),
        };
        let (shelf, reports, rate) =
            (self.shelf.clone(), self.reports.clone(), self.bytes_per_s_max);
        let gauges = Arc::clone(&self.gauges);
        let thread = std::thread::Builder::new().name("snapshot".to_owned());
        thread.spawn(move || {
            crate::lanes::guarded("snapshot", &reports, || {
                crate::lanes::step_back();
                let result = make::run(&shelf, &checkpoint, &header, (rate, &gauges), flushed);
                let _ = reports.blocking_send(Done::Snapshot(Report::Made { result }));
            });
        })?;
        Ok(())
    }

    /// Notes that a snapshot was made, or not, and tells those who wait.
    pub(crate) fn made(&mut self, result: Result<SnapshotFile, Failure>) {
        self.making = false;
        self.written = None;
        let answer = match result {
            Ok(file) => {
                let last = file.header.meta.last;
                tracing::info!(%last, bytes = file.bytes, "snapshot made");
                let info = info(&file);
                self.newest = Some(file);
                Response::Snapshot(SnapshotAnswer::Taken(info))
            }
            Err(failure) => {
                // The log and the state are as they were: it is tried again when it is needed.
                repeat::tell(Kind::Snapshot, "the snapshot thread", &failure);
                self.wanted.clear();
                let why = format!("no snapshot could be made: {failure}");
                Response::Error(answer::refusal(ErrorCode::Internal, why))
            }
        };
        for maker in self.makers.drain(..) {
            maker.send(answer.clone());
        }
    }

    /// Receives a snapshot that a leader offers, or says why not.
    pub(crate) fn receive(&mut self, incoming: IncomingSnapshot) {
        if std::mem::replace(&mut self.receiving, true) {
            tokio::spawn(incoming.refuse("another snapshot is being received".to_owned()));
            return;
        }
        let (from, term) = (incoming.from(), incoming.offer().term);
        if repeat::may(Kind::Transfer, from, "a snapshot is offered") {
            tracing::info!(%from, bytes = incoming.offer().size_bytes, "a snapshot is offered");
        }
        let (shelf, reports) = (self.shelf.clone(), self.reports.clone());
        let gauges = Arc::clone(&self.gauges);
        tokio::spawn(async move {
            let result = receive::run(incoming, shelf, gauges).await;
            let _ = reports.send(Done::Snapshot(Report::Received { from, term, result })).await;
        });
    }

    /// Notes that receiving has ended.
    pub(crate) fn received(&mut self) {
        self.receiving = false;
    }

    /// Answers an operator.
    pub(crate) fn ask(&mut self, request: SnapshotRequest, responder: Responder) {
        match request {
            SnapshotRequest::Take if self.makers.len() < MAKERS_MAX => self.makers.push(responder),
            SnapshotRequest::Take => {
                let why = "too many operators wait for a snapshot";
                responder.send(Response::Error(answer::refusal(ErrorCode::Busy, why)));
            }
            SnapshotRequest::List => {
                let shelf = self.shelf.clone();
                tokio::task::spawn_blocking(move || responder.send(fetch::list(&shelf)));
            }
            SnapshotRequest::Fetch { last, offset } => {
                let shelf = self.shelf.clone();
                let answer = move || responder.send(fetch::piece(&shelf, last, offset));
                tokio::task::spawn_blocking(answer);
            }
        }
    }
}

/// Returns what operators are told of a snapshot.
fn info(file: &SnapshotFile) -> SnapshotInfo {
    SnapshotInfo {
        last: file.header.meta.last,
        size_bytes: file.bytes,
        made_at_s: file.header.made_unix_ms / 1_000,
    }
}
