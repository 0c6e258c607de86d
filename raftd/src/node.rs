//! The node without its waiting: takes what happened, steps the replica, drains it once, and hands
//! the lanes on. Nothing here waits.

use std::net::SocketAddr;
use std::sync::Arc;

use consensus::{Input as Raw, NodeId, Outgoing, RequestId, Timer, Timestamp};
use replica::{Input, Lanes, Piece, Removal, Replica, SnapshotNews};
use state_machine::{Owners, QueryView};
use transport::{Accepted, PeerEvent, TurnedAway};

use crate::exit::{Exit, Failure};
use crate::gauges::{Gauges, Watch};
use crate::identity::Identity;
use crate::inbound::turned_away;
use crate::lanes::apply::Apply;
use crate::lanes::disk::Disk;
use crate::lanes::network::{Elsewhere, Encoded, Network};
use crate::lanes::query::Queries;
use crate::lanes::snapshot::SnapshotLane;
use crate::lanes::{Done, View};
use crate::metrics::Metrics;
use crate::node::audit::{Asker, Notes};
use crate::node::contact::Contact;
use crate::node::remember::Keeper;
use crate::observe::board::Board;
use crate::pending::{OPERATOR_REQUESTS_MAX, Pending};
use crate::program::Machine;
use crate::removal;
use crate::room::trouble;
use crate::stalls::Stalls;
use crate::status::{self, Link, Sources};

mod ask;
pub(crate) mod audit;
mod contact;
mod difference;
mod moved;
mod office;
mod read;
pub(crate) mod remember;
mod reply;
mod room;
mod shown;
mod snapshots;
mod vouch;

/// The name of the transfer that a stopping node asks of itself; no client's.
const HAND_OVER: RequestId = RequestId::new(0);

/// The replica and its lanes.
pub(crate) struct Node {
    replica: Replica,
    identity: Identity,
    disk: Disk,
    apply: Apply,
    queries: Queries,
    network: Network,
    snapshots: SnapshotLane,
    gauges: Arc<Gauges>,
    _watch: Watch,
    /// The machine, which knows what of its commands frees space.
    machine: Machine,
    /// Whose the sessions are.
    owners: Owners,
    metrics: Metrics,
    pending: Pending<Asker>,
    /// Acts that wait for a leader, to be noted.
    notes: Notes,
    lease_clock_error_ppm: Option<u32>,
    /// How often heartbeats are sent, and the shortest election timeout, in milliseconds.
    pace_ms: (u64, u64),
    stalls: Stalls,
    /// Where it listens.
    listen: Vec<SocketAddr>,
    /// The address, and the members elsewhere, that the log of the process told of last.
    told: moved::Told,
    /// The newest view of the state.
    view: QueryView,
    /// The leader that was last logged.
    leader: Option<NodeId>,
    /// Peers and leaders that are missing.
    contact: Contact,
    /// Leadership is not handed over for want of a certificate before this time.
    office_not_before: Option<Timestamp>,
    /// What the other members have promised.
    keeper: Keeper,
    /// Where it is watched.
    board: Board,
    failure: Option<Failure>,
}

/// What a node is made of.
pub(crate) struct Parts {
    pub(crate) replica: Replica,
    pub(crate) identity: Identity,
    pub(crate) disk: Disk,
    pub(crate) apply: Apply,
    pub(crate) queries: Queries,
    pub(crate) network: Network,
    pub(crate) snapshots: SnapshotLane,
    pub(crate) gauges: Arc<Gauges>,
    pub(crate) watch: Watch,
    pub(crate) machine: Machine,
    pub(crate) owners: Owners,
    pub(crate) view: QueryView,
    pub(crate) requests_max: u32,
    pub(crate) lease_clock_error_ppm: Option<u32>,
    pub(crate) pace_ms: (u64, u64),
    pub(crate) listen: Vec<SocketAddr>,
    pub(crate) elsewhere: Elsewhere,
    pub(crate) keeper: Keeper,
    pub(crate) board: Board,
}

impl Node {
    pub(crate) fn new(parts: Parts) -> Self {
        let mut node = Self {
            replica: parts.replica,
            identity: parts.identity,
            disk: parts.disk,
            apply: parts.apply,
            queries: parts.queries,
            network: parts.network,
            snapshots: parts.snapshots,
            machine: parts.machine,
            owners: parts.owners,
            gauges: parts.gauges,
            _watch: parts.watch,
            metrics: Metrics::default(),
            pending: Pending::new(parts.requests_max, OPERATOR_REQUESTS_MAX),
            notes: Notes::default(),
            lease_clock_error_ppm: parts.lease_clock_error_ppm,
            pace_ms: parts.pace_ms,
            stalls: Stalls::default(),
            listen: parts.listen,
            told: moved::Told::default(),
            view: parts.view,
            leader: None,
            contact: Contact::default(),
            office_not_before: None,
            keeper: parts.keeper,
            board: parts.board,
            failure: None,
        };
        node.redirect(parts.elsewhere);
        node
    }

    /// Returns when to call [`Node::timeout`], and why.
    pub(crate) fn deadline(&self) -> Option<(Timestamp, Timer)> {
        self.replica.deadline()
    }

    /// A deadline has passed.
    pub(crate) fn timeout(&mut self, now: Timestamp, timer: Timer) {
        self.raw(now, Raw::Timeout(timer));
    }

    /// A lane reports.
    pub(crate) fn report(&mut self, now: Timestamp, done: Done) {
        match done {
            Done::Written { last, took } => {
                self.metrics.fsync.record(now, took);
                self.board.counted().sync.observe(took);
                self.measure_room(now);
                self.raw(now, Raw::Persisted { write: last });
            }
            Done::WriteFailed { first, failure } => {
                self.raw(now, Raw::WriteFailed { write: first });
                self.fail(failure);
            }
            Done::Applied { last, responses, view, bytes, took, digests, alarms } => {
                self.metrics.apply.record(now, took);
                self.board.counted().apply.observe(took);
                self.apply.applied(bytes);
                if let Some(View(view)) = view {
                    self.see(now, view);
                }
                self.replica.step(now, Input::Effects { last, digests });
                self.alarmed(now, alarms);
                self.replica.step(now, Input::Applied { index: last, responses });
            }
            Done::Viewed(View(view)) => self.see(now, view),
            Done::ApplyFailed(failure) | Done::Panicked(failure) => self.fail(failure),
            Done::Fed { piece, result: Ok(encoded) } => self.fed(now, &piece, encoded),
            Done::Fed { result: Err(failure), .. } => self.fail(failure),
            Done::Flushed { index, state_bytes } => {
                self.gauges.set_state_bytes(state_bytes);
                self.replica.step(now, Input::Flushed { index, state_bytes });
            }
            Done::Unflushed => {
                self.snapshots.has_no_room();
                self.replica.step(now, Input::Snapshot(SnapshotNews::Unflushed));
            }
            Done::Checkpointed { last, result } => self.checkpointed(now, last, result),
            Done::Installed { last, view: View(view), bytes, digest, alarms } => {
                self.apply.applied(bytes);
                self.alarmed(now, alarms);
                self.replica.step(now, Input::Effects { last, digests: vec![digest] });
                self.installed(now, last, view);
            }
            Done::Snapshot(report) => self.snapshot_report(now, report),
            Done::Noted { left } => self.noted(left),
            Done::Acted { act, outcome } => self.ended(now, *act, outcome),
            Done::Met { request, answers } => {
                self.replica.step(now, Input::Met { request, answers });
            }
        }
    }

    /// News from the other nodes.
    pub(crate) fn hear(&mut self, now: Timestamp, event: PeerEvent) {
        match event {
            PeerEvent::Received { from, incarnation, message, held: _ } => {
                self.received(now, (from, incarnation), message);
            }
            PeerEvent::Connected { peer, .. } => self.connected(now, peer),
            PeerEvent::Lost { peer, reason, was_connected } => {
                self.disconnected(now, peer, reason, was_connected);
                self.raw(now, Raw::Unreachable { peer });
            }
            PeerEvent::Gone { peer } => self.raw(now, Raw::Gone { peer }),
            PeerEvent::Removed { by, reason } => {
                self.replica.step(now, Input::ToldRemoved { by, reason });
            }
            PeerEvent::Forgotten { by, runs_twice, reason } => {
                self.forgets(by, runs_twice, &reason);
            }
            PeerEvent::Refused { who, cause, reason } => {
                turned_away(&TurnedAway { cause, who, why: reason }, &self.board);
            }
            PeerEvent::Offered(incoming) => self.offered(now, incoming),
        }
    }

    /// A peer has connected.
    pub(crate) fn welcome(&self, accepted: Accepted) {
        self.network.accept(accepted);
    }

    /// Drains the replica once and hands the lanes on.
    pub(crate) fn dispatch(&mut self, now: Timestamp) {
        let lanes = self.replica.drain(now);
        let Lanes {
            write,
            send,
            feed,
            install,
            apply,
            snapshot,
            room,
            alarm,
            dropped,
            view,
            views,
            query,
            reply,
            peers,
            meet,
            removed,
            differing,
            event,
        } = lanes;
        if let Some(peers) = peers {
            self.network.set_peers(peers);
            self.tell_addresses();
        }
        if let Some(meeting) = meet {
            self.network.meet(meeting);
        }
        if let Some(write) = write {
            self.disk.write(write);
        }
        for send in send {
            self.send(now, send);
        }
        for piece in feed {
            self.network.read(piece, &self.replica);
        }
        if let Some(meta) = install {
            self.install(&meta);
        }
        if let Some(range) = apply {
            let all = *range.start()..range.end().next();
            let room = self.apply.room_bytes();
            let entries = if room == 0 { None } else { self.replica.entries(all, room) };
            self.apply.apply(range, entries.unwrap_or_default(), views);
        }
        for action in snapshot {
            self.snapshot(now, action);
        }
        // What the replica wants made of a state, it says in the turn in which it hears of that.
        self.snapshots.forget();
        self.room(now, &room, alarm);
        self.drop_messages(dropped);
        if view {
            self.apply.view();
        }
        if !query.is_empty() {
            self.answer_queries(now, query);
        }
        for reply in reply {
            self.reply(now, reply);
        }
        for event in event {
            self.observe(now, &event);
        }
        differing.into_iter().for_each(|one| self.tell_differing(one));
        if let Some(removal) = removed {
            self.removed(removal);
        }
    }

    /// Says whether this node leads.
    pub(crate) fn leads(&self) -> bool {
        self.replica.raft().leads()
    }

    /// Says whether a client waits to hear what became of its write.
    pub(crate) fn owes_answers(&self) -> bool {
        self.replica.owes_answers()
    }

    /// Begins to hand leadership over to the voter that has most of the log; says whether there is
    /// one, so that it is worth waiting.
    pub(crate) fn hand_over(&mut self, now: Timestamp) -> bool {
        let is_connected = |id| self.network.link(id).connected;
        let Some(best) = self.replica.successor(now, is_connected) else {
            return false;
        };
        tracing::info!(name: "hands-over", to = %best, "handing leadership over");
        self.raw(now, Raw::Transfer { request: HAND_OVER, to: best });
        true
    }

    /// Looks whether anything stands still, and says in a few words what the node does.
    pub(crate) fn line(&mut self, now: Timestamp) -> String {
        self.stalls.look(now, &self.replica.status());
        status::line(&self.replica.status(), self.disk_waits_ms(now))
    }

    /// Returns for how long the oldest write of the log has been under way, or of who looks whether
    /// the disk takes one, in milliseconds. A loop that was stopped itself may find one that is
    /// done: then its report is here.
    fn disk_waits_ms(&self, now: Timestamp) -> Option<u64> {
        let log = self.replica.raft().writing_since().map(|since| now.since(since) / 1_000_000);
        log.max(self.gauges.syncs().wait_ms())
    }

    /// Returns why the node must stop, if it must.
    pub(crate) fn take_failure(&mut self) -> Option<Failure> {
        self.failure.take()
    }

    /// Tells all clients that wait that this node goes, and ends the lanes when everything queued
    /// is done.
    pub(crate) fn stop(mut self, now: Timestamp) -> Ending {
        self.replica.step(now, Input::Abandon);
        self.dispatch(now);
        let Self { disk, apply, .. } = self;
        let (disk, machine) = (disk.finish(), apply.finish());
        Ending { threads: vec![("the log's disk", disk), ("the state machine", machine)] }
    }

    fn raw(&mut self, now: Timestamp, input: Raw) {
        self.replica.step(now, Input::Raft(input));
    }

    /// A node that was removed has nothing to do any more.
    fn removed(&mut self, removal: Removal) {
        let why = match removal {
            Removal::Applied { index } => {
                format!("this node was removed from the cluster by log entry {index}")
            }
            Removal::Told { by, reason } => format!("node {by} says: {reason}"),
        };
        self.fail(removal::removed(why));
    }

    pub(crate) fn fail(&mut self, failure: Failure) {
        let failure = match self.gauges.space().filter(|_| failure.exit == Exit::Io) {
            Some(space) => {
                let needs = space.needs(self.gauges.needed_bytes());
                let place = self.gauges.directory().display();
                failure.about(&format!("{space} at {place}, {needs} in hand"))
            }
            None => failure,
        };
        let failure = failure.log();
        self.failure.get_or_insert(failure);
    }

    fn send(&mut self, now: Timestamp, send: Outgoing) {
        let to = match &send {
            Outgoing::Message { to, .. } | Outgoing::Entries { to, .. } => *to,
            Outgoing::Snapshot { .. } => unreachable!("the replica decides which one is sent"),
        };
        if !self.network.send(send, &self.replica) {
            self.drop_messages(1);
            self.raw(now, Raw::Unreachable { peer: to });
        }
    }

    /// Old entries are read for a peer that is far behind: they go out if they are still wanted.
    fn fed(&mut self, now: Timestamp, piece: &Piece, encoded: Option<Encoded>) {
        let (number, to) = (piece.number, piece.to);
        let wanted = self.replica.wants(piece);
        let sent = encoded.filter(|_| wanted).and_then(|encoded| self.network.feed(to, encoded));
        if wanted && sent.is_none() {
            self.drop_messages(1);
        }
        self.replica.step(now, Input::Fed { number, to, sent });
    }

    /// Tells what this node is and does.
    pub(crate) fn status(&mut self, now: Timestamp) -> protocol::NodeStatus {
        let failure = self.failure.as_ref().map(ToString::to_string);
        let failure = failure.or_else(|| self.difference()).unwrap_or_default();
        self.stalls.look(now, &self.replica.status());
        let sources = Sources {
            identity: &self.identity,
            gauges: &self.gauges,
            failure: &failure,
            no_room: trouble(self.replica.room(), &self.gauges),
            alarms: self.replica.alarms().collect(),
            shortage: if self.leads() {
                self.replica.shortage().unwrap_or_default()
            } else {
                vec![]
            },
            lease_clock_error_ppm: self.lease_clock_error_ppm,
            pace_ms: self.pace_ms,
            stalls: &self.stalls,
            disk_waits_ms: self.disk_waits_ms(now),
            reads_wait_ms: self.queries.waits_ms(now),
        };
        let (network, snapshots, replica) = (&self.network, &self.snapshots, &self.replica);
        let link = |id: NodeId| Link {
            snapshot_bytes: snapshots.progress(id).unwrap_or_default(),
            differs_at: replica.difference_of(id),
            ..network.link(id)
        };
        status::report(now, &self.replica.status(), &mut self.metrics, &sources, link)
    }
}

/// Threads that finish what is queued.
pub(crate) struct Ending {
    threads: Vec<(&'static str, std::thread::JoinHandle<()>)>,
}

impl Ending {
    /// Says whether all is done.
    pub(crate) fn is_finished(&self) -> bool {
        self.threads.iter().all(|(_, thread)| thread.is_finished())
    }

    /// Returns the failure for the case that it is not done in time.
    pub(crate) fn late(&self) -> Failure {
        let left = self.threads.iter().filter(|(_, thread)| !thread.is_finished());
        let left: Vec<&str> = left.map(|(of, _)| *of).collect();
        Failure::new(Exit::Io, format!("{} did not finish in time", left.join(" and ")))
    }
}
