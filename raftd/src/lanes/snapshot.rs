//! The snapshot lane: the state of one moment becomes a file, files go to followers that need
//! compacted entries, and come from leaders (§5). Threads and tasks do the work and report; what is
//! made, sent, received and deleted is decided by the replica.
//!
//! Making and sending are paced, so that they do not starve the log of the disk and the network.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use consensus::{EntryId, NodeId, SnapshotMeta, Term};
use protocol::{
    ErrorCode, Generation, Response, SnapshotAnswer, SnapshotInfo, SnapshotRequest, Trouble,
};
use storage::{EntryReader, SnapshotFile, SnapshotHeader, Snapshots, StateCheckpoint};
use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, JoinSet};
use transport::{IncomingSnapshot, Responder, SnapshotSender};

use crate::alive::Alive;
use crate::answer;
use crate::exit::Failure;
use crate::gauges::Gauges;
use crate::lanes::{Done, Reports};
use crate::logging::repeat::{self, Kind};

mod fetch;
mod make;
mod receive;
mod send;

pub(crate) use send::Broken;

/// Lists and pieces that are read for others at a time.
const READS_MAX: usize = 4;

/// What the lane reports.
#[derive(Debug)]
pub(crate) enum Report {
    /// The state of one moment is a file, or is not.
    Made { result: Result<SnapshotFile, Failure> },
    /// A sending of a file to a peer has ended.
    Sent { number: u64, to: NodeId, file: SnapshotFile, result: Result<(), Broken> },
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
    snapshots: Snapshots,
    log: Arc<dyn EntryReader>,
    about: About,
    gauges: Arc<Gauges>,
    /// Held by the threads that make, change or remove files.
    alive: Alive,
    reports: Reports,
    bytes_per_s_max: u64,
    /// The files on the disk.
    files: Vec<SnapshotFile>,
    /// The state that is to be written to a file.
    checkpoint: Option<StateCheckpoint>,
    /// What was made last: who asked for it hears of it, also where it is deleted in the same turn.
    made: Option<SnapshotInfo>,
    /// Why the last snapshot could not be made.
    trouble: String,
    sending: BTreeMap<NodeId, Sending>,
    /// What receives, which ends with the lane.
    receiving: JoinSet<()>,
    /// Snapshots that are offered, until the replica has decided.
    offers: BTreeMap<u64, IncomingSnapshot>,
    offers_made: u64,
    /// One for each list or piece that may be read beside the others.
    reads: Arc<Semaphore>,
}

/// A snapshot on its way to a peer.
struct Sending {
    number: u64,
    size_bytes: u64,
    sent_bytes: Arc<AtomicU64>,
    task: AbortHandle,
}

impl SnapshotLane {
    /// Makes the lane of a node that has these snapshots.
    pub(crate) fn new(
        (snapshots, log): (Snapshots, Arc<dyn EntryReader>),
        files: Vec<SnapshotFile>,
        about: About,
        bytes_per_s_max: u64,
        (gauges, alive, reports): (Arc<Gauges>, Alive, Reports),
    ) -> Self {
        Self {
            snapshots,
            log,
            about,
            gauges,
            alive,
            reports,
            bytes_per_s_max,
            files,
            checkpoint: None,
            made: None,
            trouble: String::new(),
            sending: BTreeMap::new(),
            receiving: JoinSet::new(),
            offers: BTreeMap::new(),
            offers_made: 0,
            reads: Arc::new(Semaphore::new(READS_MAX)),
        }
    }

    /// Sends a file to a peer.
    pub(crate) fn send(
        &mut self,
        (number, to): (u64, NodeId),
        term: Term,
        last: EntryId,
        sender: SnapshotSender,
    ) {
        let file = self.file(last).clone();
        let size_bytes = file.bytes;
        if repeat::may(Kind::Transfer, to, "sending a snapshot") {
            tracing::info!(name: "snapshot-sending", %to, %last, size_bytes, "sending a snapshot");
        }
        let sent_bytes = Arc::new(AtomicU64::new(0));
        let progress = Arc::clone(&sent_bytes);
        let (reports, rate) = (self.reports.clone(), self.bytes_per_s_max);
        let task = tokio::spawn(async move {
            let result = send::run(&sender, term, file.clone(), rate, &progress).await;
            // A loop that is gone needs no report.
            let _ = reports.send(Done::Snapshot(Report::Sent { number, to, file, result })).await;
        });
        let task = task.abort_handle();
        self.sending.insert(to, Sending { number, size_bytes, sent_bytes, task });
    }

    /// Notes that a sending has ended.
    pub(crate) fn sent(&mut self, number: u64, to: NodeId) {
        if self.sending.get(&to).is_some_and(|sending| sending.number == number) {
            self.sending.remove(&to);
        }
    }

    /// Ends all sending.
    pub(crate) fn stop_sending(&mut self) {
        for sending in std::mem::take(&mut self.sending).into_values() {
            sending.task.abort();
        }
    }

    /// Ends a sending; says whether it was going on.
    pub(crate) fn give_up(&mut self, number: u64, to: NodeId) -> bool {
        let mut given_up = self
            .sending
            .extract_if(.., |receiver, sending| *receiver == to && sending.number == number);
        let sending = given_up.next();
        sending.inspect(|(_, sending)| sending.task.abort()).is_some()
    }

    /// Returns how much of a snapshot a peer has been sent, and its size, in bytes.
    pub(crate) fn progress(&self, to: NodeId) -> Option<(u64, u64)> {
        let sending = self.sending.get(&to)?;
        Some((sending.sent_bytes.load(Ordering::Relaxed), sending.size_bytes))
    }

    /// Keeps the state at hand, or the reason why it cannot be kept.
    pub(crate) fn checkpointed(&mut self, result: Result<StateCheckpoint, Failure>) -> bool {
        self.checkpoint = result.map_err(|failure| self.fail(&failure)).ok();
        self.checkpoint.is_some()
    }

    /// Writes the state at hand to a file, on a thread of its own.
    pub(crate) fn make(&mut self, meta: SnapshotMeta) -> std::io::Result<()> {
        let checkpoint = self.checkpoint.take().expect("it was asked for");
        let made = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut header = SnapshotHeader {
            cluster: self.about.cluster,
            generation: self.about.generation,
            meta,
            machine: self.about.machine.clone(),
            machine_version: self.about.machine_version,
            made_unix_ms: u64::try_from(made.as_millis()).unwrap_or(u64::MAX),
        };
        let (snapshots, reports, rate) =
            (self.snapshots.clone(), self.reports.clone(), self.bytes_per_s_max);
        let (gauges, log) = (Arc::clone(&self.gauges), Arc::clone(&self.log));
        let thread = std::thread::Builder::new().name("snapshot".to_owned());
        thread.spawn(move || {
            crate::lanes::guarded("snapshot", &reports, || {
                crate::lanes::step_back();
                let about = (&reports, |bytes| gauges.lacks(bytes));
                let result = make::chained(&*log, &mut header)
                    .and_then(|()| make::run(&snapshots, &checkpoint, &header, rate, about));
                let _ = reports.blocking_send(Done::Snapshot(Report::Made { result }));
            });
        })?;
        Ok(())
    }

    /// Gives up the state at hand where none is made of it: the files that it keeps may be the last
    /// of a state that another one has replaced.
    pub(crate) fn forget(&mut self) {
        if let Some(checkpoint) = self.checkpoint.take() {
            tokio::task::spawn_blocking(move || drop(checkpoint));
        }
    }

    /// Notes that a snapshot was made, or not; returns its last entry.
    pub(crate) fn made(&mut self, result: Result<SnapshotFile, Failure>) -> Option<EntryId> {
        let file = result.map_err(|failure| self.fail(&failure)).ok()?;
        let last = file.header.meta.last;
        self.gauges.troubles().end(Trouble::Snapshots);
        tracing::info!(name: "snapshot-made", %last, bytes = file.bytes, "snapshot made");
        self.made = Some(info(&file));
        self.keep(file);
        Some(last)
    }

    /// The log and the state are as they were: it is tried again when it is needed.
    fn fail(&mut self, failure: &Failure) {
        repeat::tell(Kind::Snapshot, "the snapshot thread", failure);
        self.trouble = failure.to_string();
        let why = format!("no snapshot can be made: {failure}");
        self.gauges.troubles().note(Trouble::Snapshots, &why);
    }

    /// The state is not flushed, so that none can be made of it.
    pub(crate) fn has_no_room(&mut self) {
        "there is no room on the disk for what is to be flushed first"
            .clone_into(&mut self.trouble);
    }

    /// Answers an operator who asked for a snapshot.
    pub(crate) fn taken(&self, last: Option<EntryId>) -> Response {
        match last {
            Some(last) => {
                let made = self.made.filter(|made| made.last == last);
                let made = made.expect("the replica answers with what was made last");
                Response::Snapshot(SnapshotAnswer::Taken(made))
            }
            None => {
                let trouble = match self.trouble.as_str() {
                    "" => "it was given up for another one",
                    trouble => trouble,
                };
                let why = format!("no snapshot could be made: {trouble}");
                Response::Error(answer::refusal(ErrorCode::Internal, why))
            }
        }
    }

    /// Returns a file that the replica knows of.
    pub(crate) fn file(&self, last: EntryId) -> &SnapshotFile {
        let mut files = self.files.iter();
        files.find(|file| file.header.meta.last == last).expect("the replica knows the files")
    }

    fn keep(&mut self, file: SnapshotFile) {
        self.files.retain(|other| other.header.meta.last != file.header.meta.last);
        self.files.push(file);
    }

    /// Deletes a file; who reads it can go on.
    pub(crate) fn delete(&mut self, last: EntryId) {
        let snapshots = self.snapshots.clone();
        for file in self.files.extract_if(.., |file| file.header.meta.last == last) {
            let (snapshots, alive) = (snapshots.clone(), self.alive.clone());
            tokio::task::spawn_blocking(move || {
                if let Err(error) = snapshots.delete(&file) {
                    tracing::warn!(
                        name: "snapshot-not-removed",
                        %error, "an old snapshot cannot be removed"
                    );
                }
                drop(alive);
            });
        }
    }

    /// Sets a file aside that is damaged, and says so to people; `false` if it is not here any
    /// more: two sendings find the same damage, and by the second time another file of the same
    /// entry may be in its place.
    pub(crate) fn set_aside(&mut self, file: &SnapshotFile, why: &str) -> bool {
        let Some(place) = self.files.iter().position(|other| other.header == file.header) else {
            return false;
        };
        let (file, last) = (self.files.remove(place), file.header.meta.last);
        let place = self.snapshots.path().to_owned();
        tracing::warn!(
            name: "snapshot-damaged",
            %last, why, "a snapshot is damaged; it is set aside in {place:?}"
        );
        let (snapshots, gauges) = (self.snapshots.clone(), Arc::clone(&self.gauges));
        let alive = self.alive.clone();
        tokio::task::spawn_blocking(move || {
            if let Err(error) = snapshots.set_aside(&file) {
                tracing::warn!(
                    name: "snapshot-not-set-aside",
                    %error, "a damaged snapshot cannot be set aside"
                );
            }
            gauges.look_for_damage();
            drop(alive);
        });
        true
    }

    /// Names a snapshot that a leader offers, until the replica decides.
    pub(crate) fn offered(&mut self, incoming: IncomingSnapshot) -> u64 {
        self.offers_made += 1;
        self.offers.insert(self.offers_made, incoming);
        self.offers_made
    }

    /// Declines a snapshot that is offered.
    pub(crate) fn decline(&mut self, offer: u64) {
        if let Some(incoming) = self.offers.remove(&offer) {
            tokio::spawn(incoming.refuse("another snapshot is being received".to_owned()));
        }
    }

    /// Receives a snapshot that is offered.
    pub(crate) fn receive(&mut self, offer: u64) {
        let Some(incoming) = self.offers.remove(&offer) else {
            return;
        };
        let (from, term) = (incoming.from(), incoming.offer().term);
        if repeat::may(Kind::Transfer, from, "a snapshot is offered") {
            tracing::info!(
                name: "snapshot-offered",
                %from, bytes = incoming.offer().size_bytes, "a snapshot is offered"
            );
        }
        let (snapshots, reports) = (self.snapshots.clone(), self.reports.clone());
        let with = (Arc::clone(&self.gauges), self.alive.clone());
        while self.receiving.try_join_next().is_some() {}
        self.receiving.spawn(async move {
            let result = receive::run(incoming, snapshots, with).await;
            let _ = reports.send(Done::Snapshot(Report::Received { from, term, result })).await;
        });
    }

    /// Keeps a file that was received.
    pub(crate) fn received(&mut self, file: SnapshotFile) {
        self.keep(file);
    }

    /// Lists snapshots for an operator, or reads a piece of one: a few at a time, for each takes a
    /// thread and the memory of a piece.
    pub(crate) fn show(&self, request: SnapshotRequest, responder: Responder) {
        let Ok(permit) = Arc::clone(&self.reads).try_acquire_owned() else {
            let why = "too many snapshots are being read";
            responder.send(Response::Error(answer::refusal(ErrorCode::Busy, why)));
            return;
        };
        let snapshots = self.snapshots.clone();
        tokio::task::spawn_blocking(move || {
            responder.send(match request {
                SnapshotRequest::Take => unreachable!("the replica decides when one is made"),
                SnapshotRequest::List => fetch::list(&snapshots),
                SnapshotRequest::Fetch { last, offset } => fetch::piece(&snapshots, last, offset),
            });
            drop(permit);
        });
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

#[cfg(test)]
mod tests;
