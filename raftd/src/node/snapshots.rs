//! A node's snapshots: hands on what the replica decides about them, and tells it what became of it
//! (§5).

use consensus::{EntryId, NodeId, SnapshotMeta, Term, Timestamp};
use protocol::{Response, SnapshotRequest};
use replica::{Input, SnapshotAction, SnapshotNews, Transfer};
use state_machine::QueryView;
use storage::StateCheckpoint;
use transport::{IncomingSnapshot, Responder};

use crate::answer;
use crate::exit::{Exit, Failure};
use crate::lanes::snapshot::{Broken, Report};
use crate::logging::repeat::{self, Kind};
use crate::node::Node;
use crate::observe::counted::{Ended, Snapshot};

impl Node {
    /// Does what the replica wants done.
    pub(super) fn snapshot(&mut self, now: Timestamp, action: SnapshotAction) {
        match action {
            SnapshotAction::Flush => self.apply.flush(),
            SnapshotAction::Checkpoint => self.apply.checkpoint(),
            SnapshotAction::Make(meta) => {
                if let Err(error) = self.snapshots.make(meta) {
                    let failure = Failure::from_error(Exit::Io, "a thread", &error);
                    self.snapshot_report(now, Report::Made { result: Err(failure) });
                }
            }
            SnapshotAction::Send { number, to, term, last } => {
                self.send_snapshot(now, (number, to), term, last);
            }
            SnapshotAction::GiveUp { number, to } => self.give_up_sending(number, to),
            SnapshotAction::StopSending => self.snapshots.stop_sending(),
            SnapshotAction::Receive { offer } => self.snapshots.receive(offer),
            SnapshotAction::Decline { offer } => self.snapshots.decline(offer),
            SnapshotAction::Delete { last } => self.snapshots.delete(last),
        }
    }

    fn news(&mut self, now: Timestamp, news: SnapshotNews) {
        self.replica.step(now, Input::Snapshot(news));
    }

    fn send_snapshot(
        &mut self,
        now: Timestamp,
        (number, to): (u64, NodeId),
        term: Term,
        last: EntryId,
    ) {
        match self.network.snapshot_sender(to) {
            Some(sender) => self.snapshots.send((number, to), term, last, sender),
            None => self.news(now, SnapshotNews::Sent { number, to, end: Transfer::NotBegun }),
        }
    }

    /// Ends a sending that the log has outgrown.
    fn give_up_sending(&mut self, number: u64, to: NodeId) {
        // It may have ended just now.
        if !self.snapshots.give_up(number, to) {
            return;
        }
        self.count_snapshot(Snapshot::Sent(Ended::Failed));
        let why = "more was written meanwhile than its way carries, or than the disk has room for: \
                   it is given up, and another one is sent";
        if repeat::may(Kind::Transfer, to, why) {
            tracing::info!(name: "snapshot-not-delivered", %to, why, "snapshot not delivered");
        }
    }

    /// Lists snapshots for an operator or a member that makes its state anew, or reads a piece of
    /// one, whose file stays for the next. Nobody knows since when a state differs: what was made
    /// of it may as well.
    pub(super) fn show_snapshots(
        &mut self,
        now: Timestamp,
        request: SnapshotRequest,
        responder: Responder,
    ) {
        if self.replica.differs().is_some() {
            return responder.send(Response::Error(answer::differs()));
        }
        if let SnapshotRequest::Fetch { last, .. } = request {
            self.replica.fetched(now, last);
        }
        self.snapshots.show(request, responder);
    }

    /// The state behind an entry is at hand, to be written to a file.
    pub(super) fn checkpointed(
        &mut self,
        now: Timestamp,
        last: EntryId,
        result: Result<StateCheckpoint, Failure>,
    ) {
        let kept = self.snapshots.checkpointed(result);
        self.news(now, SnapshotNews::Checkpointed { last: kept.then_some(last) });
    }

    /// A leader offers a snapshot.
    pub(super) fn offered(&mut self, now: Timestamp, incoming: IncomingSnapshot) {
        let offer = self.snapshots.offered(incoming);
        self.news(now, SnapshotNews::Offered { offer });
    }

    /// The snapshot lane reports.
    pub(super) fn snapshot_report(&mut self, now: Timestamp, report: Report) {
        match report {
            Report::Made { result } => {
                if let Err(failure) = &result
                    && failure.is_of_the_state()
                {
                    self.fail(failure.clone());
                }
                self.count_snapshot(Snapshot::Made(Ended::from(&result)));
                let last = self.snapshots.made(result);
                self.news(now, SnapshotNews::Made { last });
            }
            Report::Sent { number, to, file, result } => {
                self.snapshots.sent(number, to);
                self.count_snapshot(Snapshot::Sent(Ended::from(&result)));
                let end = match result {
                    Ok(()) => {
                        tracing::info!(name: "snapshot-delivered", %to, "snapshot delivered");
                        Transfer::Delivered
                    }
                    Err(Broken::File(why)) => {
                        if self.snapshots.set_aside(&file, &why) {
                            let last = file.header.meta.last;
                            self.news(now, SnapshotNews::Damaged { last });
                        }
                        Transfer::Broken
                    }
                    Err(Broken::Way(why)) => {
                        if repeat::may(Kind::Transfer, to, &why) {
                            tracing::info!(
                                name: "snapshot-not-delivered",
                                %to, why, "snapshot not delivered"
                            );
                        }
                        Transfer::Broken
                    }
                };
                self.news(now, SnapshotNews::Sent { number, to, end });
            }
            Report::Received { from, term, result } => {
                self.count_snapshot(Snapshot::Received(Ended::from(&result)));
                let meta = match result {
                    Ok(file) => {
                        let meta = file.header.meta.clone();
                        self.snapshots.received(file);
                        Some(meta)
                    }
                    Err(why) => {
                        if repeat::may(Kind::Transfer, from, &why) {
                            tracing::info!(
                                name: "snapshot-not-received",
                                %from, why, "no snapshot received"
                            );
                        }
                        None
                    }
                };
                self.receive(now, from, term, meta);
            }
        }
    }

    fn receive(&mut self, now: Timestamp, from: NodeId, term: Term, meta: Option<SnapshotMeta>) {
        let before = self.replica.raft().installing().is_some();
        let last = meta.as_ref().map(|meta| meta.last);
        self.news(now, SnapshotNews::Received { from, term, meta });
        let wanted = self.replica.raft().installing().map(|meta| meta.last);
        if let Some(last) = wanted.filter(|_| wanted == last && !before) {
            tracing::info!(name: "snapshot-received", %from, %last, "snapshot received");
        }
    }

    /// The log begins behind the snapshot: now the state is replaced.
    pub(super) fn install(&mut self, meta: &SnapshotMeta) {
        self.apply.install(self.snapshots.file(meta.last).path.clone());
    }

    pub(super) fn installed(&mut self, now: Timestamp, last: consensus::LogIndex, view: QueryView) {
        tracing::info!(name: "snapshot-installed", %last, "snapshot installed");
        let replaced = self.view.clone();
        self.see(now, view);
        self.queries.retire(replaced);
        self.replica.step(now, Input::Applied { index: last, responses: Vec::new() });
    }
}
