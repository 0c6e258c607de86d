//! A node's snapshots: when one is made, who is sent one, and how a leader's takes the place of the
//! state (§5).

use consensus::{EntryId, Input as Raw, LogIndex, NodeId, SnapshotMeta, Term, Timestamp};
use replica::Input;
use state_machine::QueryView;
use storage::{SnapshotFile, StateCheckpoint};

use crate::exit::{Exit, Failure};
use crate::lanes::snapshot::Report;
use crate::logging::repeat::{self, Kind};
use crate::node::Node;

impl Node {
    /// The state is durable: the log may be compacted, but for what a snapshot on its way needs to
    /// be followed by.
    pub(super) fn flushed(&mut self, now: Timestamp, index: LogIndex, state_bytes: u64) {
        self.gauges.set_state_bytes(state_bytes);
        let peers = self.replica.status().peers;
        let matched = |id| peers.iter().find(|peer| peer.id == id).map(|peer| peer.matched);
        let floor = self.snapshots.floor(now, |id| matched(id).unwrap_or_default());
        let index = floor.map_or(index, |floor| floor.min(index));
        self.replica.step(now, Input::Flushed { index, state_bytes });
        if std::mem::take(&mut self.checkpoint_due) {
            self.apply.checkpoint();
        }
    }

    /// A follower needs entries that are compacted.
    pub(super) fn want_snapshot(
        &mut self,
        now: Timestamp,
        to: NodeId,
        term: Term,
        at_least: LogIndex,
    ) {
        if self.snapshots.want(to, term, at_least) {
            self.send_snapshot(now, to);
        } else {
            self.make_snapshot();
        }
    }

    /// Asks for the present state if somebody waits for a snapshot of it.
    pub(super) fn make_snapshot(&mut self) {
        if self.snapshots.needs_checkpoint() {
            // First flushed while commands are applied, so that little is left to wait for.
            self.checkpoint_due = true;
            self.apply.flush();
        }
    }

    fn send_snapshot(&mut self, now: Timestamp, to: NodeId) {
        match self.network.snapshot_sender(to) {
            Some(sender) => self.snapshots.send(to, sender),
            None => {
                self.snapshots.give_up(to);
                self.raw(now, Raw::SnapshotSent { to, delivered: false });
            }
        }
    }

    /// The state behind an entry is at hand: it is written to a file.
    pub(super) fn checkpointed(&mut self, last: EntryId, result: Result<StateCheckpoint, Failure>) {
        let begun = result.and_then(|checkpoint| {
            // Nothing is compacted beyond what is applied, so that the log knows its entries.
            let meta = self.replica.raft().snapshot_meta(last.index);
            let meta = meta.filter(|meta| meta.last == last).ok_or_else(|| {
                let why = format!("the log does not know entry {last}, which is applied");
                Failure::new(Exit::Data, why)
            })?;
            let begun = self.snapshots.make(meta, checkpoint, last.index);
            begun.map_err(|error| Failure::from_error(Exit::Io, "a thread", &error))
        });
        if let Err(failure) = begun {
            self.snapshots.made(Err(failure));
        }
    }

    /// The snapshot lane reports.
    pub(super) fn snapshot_report(&mut self, now: Timestamp, report: Report) {
        match report {
            Report::Made { result } => {
                self.snapshots.made(result);
                for to in self.snapshots.ready() {
                    self.send_snapshot(now, to);
                }
                self.make_snapshot();
            }
            Report::Sent { to, result } => {
                let delivered = result.is_ok();
                let last = self.replica.raft().status().last.index;
                self.snapshots.sent(now, to, last);
                match result {
                    Ok(()) => tracing::info!(%to, "snapshot delivered"),
                    Err(why) if repeat::may(Kind::Transfer, to, &why) => {
                        tracing::info!(%to, why, "snapshot not delivered");
                    }
                    Err(_) => {}
                }
                self.raw(now, Raw::SnapshotSent { to, delivered });
            }
            Report::Received { from, term, result } => {
                self.snapshots.received();
                match result {
                    Ok(file) => self.offer(now, from, term, file),
                    Err(why) if repeat::may(Kind::Transfer, from, &why) => {
                        tracing::info!(%from, why, "no snapshot received");
                    }
                    Err(_) => {}
                }
            }
        }
    }

    /// Lets the core decide whether a leader's snapshot takes the place of the state.
    fn offer(&mut self, now: Timestamp, from: NodeId, term: Term, file: SnapshotFile) {
        let meta = file.header.meta.clone();
        let last = meta.last;
        let before = self.replica.raft().installing().is_some();
        self.raw(now, Raw::SnapshotReceived { from, term, meta });
        let wanted = self.replica.raft().installing().is_some_and(|meta| meta.last == last);
        if wanted && !before {
            tracing::info!(%from, %last, "snapshot received");
            self.received = Some(file);
        }
    }

    /// The log begins behind the snapshot: now the state is replaced.
    pub(super) fn install(&mut self, meta: &SnapshotMeta) {
        let file = self.received.take().expect("what is installed was received");
        assert!(file.header.meta.last == meta.last, "one snapshot is installed at a time");
        self.apply.install(file.path);
    }

    pub(super) fn installed(&mut self, now: Timestamp, last: LogIndex, view: QueryView) {
        tracing::info!(%last, "snapshot installed");
        self.see(now, view);
        self.replica.step(now, Input::Applied { index: last, responses: Vec::new() });
        self.follow_configuration(now);
        self.check_removed();
    }
}
