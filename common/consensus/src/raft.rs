//! The replica as a value: state, step, drain, deadline. It only dispatches; each procedure of the
//! dissertation has a file of its own.

use std::mem;
use std::ops::RangeInclusive;

use crate::actions::{Actions, Event, HardState, Ignored, Rejection, Reply, Send, Write};
use crate::config::{Config, ConfigError, Restored};
use crate::durability::{Durability, Promise};
use crate::entry::{Entry, Payload};
use crate::ids::{
    ClusterTime, Incarnation, LogIndex, NodeId, ReadTicket, RequestId, Term, Timestamp, WriteId,
};
use crate::input::{Input, SnapshotMeta, Timer};
use crate::log_view::LogView;
use crate::membership::Membership;
use crate::message::{Body, Message};
use crate::rng::Rng;
use crate::role::{Follower, Role};
use crate::snapshot::Install;

/// One replica: a value of a few hundred bytes, whatever the length of the log.
///
/// See the [crate documentation](crate) for how it is driven.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Raft {
    pub(crate) id: NodeId,
    pub(crate) incarnation: Incarnation,
    pub(crate) config: Config,
    pub(crate) hard_state: HardState,
    pub(crate) role: Role,
    pub(crate) log: LogView,
    pub(crate) membership: Membership,
    /// Highest index known to be committed.
    pub(crate) commit: LogIndex,
    /// Highest index handed to the state machine.
    pub(crate) handed: LogIndex,
    /// Highest index that the state machine reports as applied.
    pub(crate) applied: LogIndex,
    pub(crate) durability: Durability,
    /// Highest stamp seen; the base of cluster time if this node leads (§6.3).
    pub(crate) stamp: ClusterTime,
    pub(crate) rng: Rng,
    /// When this node started: with leases on it does not remember to whom it lent its vote.
    pub(crate) started: Timestamp,
    /// The leader that was last heard from, and when; for a leader of old, when it last heard from
    /// a quorum.
    pub(crate) contact: Option<(NodeId, Timestamp)>,
    /// The last name of a forwarded read. Where they start differs from run to run, so that no
    /// answer to an earlier run is taken for one to this (museum F3).
    pub(crate) tickets: ReadTicket,
    /// A snapshot of the leader's that replaces the state.
    pub(crate) install: Option<Install>,
    /// The disk has failed: nothing is promised any more.
    pub(crate) failed: bool,
    pub(crate) out: Outbox,
}

/// What has gathered since the last drain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Outbox {
    hard_state: bool,
    pub(crate) truncate_from: Option<LogIndex>,
    pub(crate) append: Vec<Entry>,
    pub(crate) compact_to: Option<SnapshotMeta>,
    pub(crate) send: Vec<Send>,
    promises: Vec<Promise>,
    pub(crate) reply: Vec<Reply>,
    pub(crate) event: Vec<Event>,
}

impl Outbox {
    fn writes(&self) -> bool {
        self.hard_state
            || self.truncate_from.is_some()
            || !self.append.is_empty()
            || self.compact_to.is_some()
    }
}

impl Raft {
    /// Starts a replica from what its disk holds. It starts as a follower without a leader (§3.4),
    /// whatever it was before (museum A14).
    ///
    /// # Errors
    /// If settings or the parts of `disk` contradict each other.
    pub fn restore(
        id: NodeId,
        config: Config,
        disk: Restored,
        now: Timestamp,
    ) -> Result<Self, ConfigError> {
        config.check()?;
        let Restored { incarnation, hard_state, log, membership, applied, stamp } = disk;
        if log.last().term > hard_state.term {
            return Err(ConfigError::TermBehindLog);
        }
        if applied < log.base().index || applied > log.last().index {
            return Err(ConfigError::AppliedOutsideLog);
        }
        if membership.index() > log.last().index {
            return Err(ConfigError::ConfigurationOutsideLog);
        }
        let durability = Durability::new(log.last().index);
        let rng = Rng::new(config.seed);
        // Below the half, so that counting never ends.
        let tickets = ReadTicket::new(Rng::new(!config.seed ^ now.get()).next() >> 1);
        let role = Role::Follower(Follower::new(None, now, now));
        let mut raft = Self {
            id,
            incarnation,
            config,
            hard_state,
            role,
            log,
            membership,
            // What was applied was committed.
            commit: applied,
            handed: applied,
            applied,
            durability,
            stamp,
            rng,
            started: now,
            contact: None,
            tickets,
            install: None,
            failed: false,
            out: Outbox::default(),
        };
        raft.follow(now, hard_state.term, None);
        raft.out = Outbox::default();
        Ok(raft)
    }

    /// Takes one input, at a time that was read *after* the input had arrived (leases rest on it).
    /// Refusals of requests come as a [`Reply`]; messages that make no sense, or come from those
    /// who have no say, change nothing and are told as an [`Event`].
    ///
    /// # Panics
    /// If the driver breaks its contract (acknowledges a write that it was not given, reports as
    /// applied what it was not given), or an invariant of the protocol is broken.
    pub fn step(&mut self, now: Timestamp, input: Input) {
        if self.failed {
            self.step_failed(&input);
            return;
        }
        match input {
            Input::Receive { from, incarnation, message } => {
                self.receive(now, from, incarnation, message);
            }
            Input::Timeout(timer) => self.timeout(now, timer),
            Input::Propose { request, commands } => self.propose(now, request, commands),
            Input::Read { request } => self.read(request),
            Input::Reconfigure { request, target } => self.reconfigure(now, request, &target),
            Input::Transfer { request, to } => self.transfer(now, request, to),
            Input::Persisted { write } => self.persisted(now, write),
            Input::WriteFailed { .. } => self.fail(now),
            Input::Applied { index } => self.note_applied(index),
            Input::SnapshotTaken { meta } => self.compact(&meta),
            Input::SnapshotReceived { from, term, meta } => {
                self.on_snapshot(now, from, term, meta);
            }
            // Either way the follower is asked what it has.
            Input::SnapshotSent { to, delivered: _ } => self.snapshot_sent(to),
            Input::Unreachable { peer } => self.unreachable(peer),
        }
    }

    /// Returns everything that is to be done since the last drain, merged, in lanes.
    pub fn drain(&mut self, now: Timestamp) -> Actions {
        if !self.failed {
            self.advance_commit();
            self.advance_change(now);
            self.serve_reads(now);
            self.ask_leader(now);
            self.replicate(now);
        }
        let write = self.take_write();
        let mut send = mem::take(&mut self.out.send);
        for promise in mem::take(&mut self.out.promises) {
            match self.durability.hold(promise) {
                Some(Promise::Message { to, message }) => send.push(Send::Message { to, message }),
                // A candidate's own vote always comes with a write, that of its term.
                Some(Promise::OwnVote { term }) => self.count_own_vote(now, term),
                None => {}
            }
        }
        let install = self.take_install();
        Actions {
            write,
            send,
            apply: self.take_apply(),
            install,
            reply: mem::take(&mut self.out.reply),
            event: mem::take(&mut self.out.event),
        }
    }

    /// Returns when to wake this replica by [`Input::Timeout`], and why. Changes with every step
    /// and drain.
    pub fn deadline(&self) -> Option<(Timestamp, Timer)> {
        if self.failed {
            return None;
        }
        match &self.role {
            Role::Follower(follower) => {
                let election = self.may_campaign().then_some((follower.election, Timer::Election));
                let read = follower.forwarding.deadline().map(|due| (due, Timer::Read));
                election.into_iter().chain(read).min()
            }
            Role::PreCandidate(candidacy) | Role::Candidate(candidacy) => {
                Some((candidacy.election, Timer::Election))
            }
            Role::Leader(leader) => {
                let due = (leader.heartbeat, Timer::Heartbeat);
                let due = due.min((leader.quorum_check, Timer::QuorumCheck));
                let transfer = leader.transfer.as_ref().map(|t| (t.until, Timer::Transfer));
                Some(transfer.map_or(due, |transfer| due.min(transfer)))
            }
        }
    }

    /// Returns the highest index that the state machine has applied.
    pub fn applied(&self) -> LogIndex {
        self.applied
    }

    /// Returns the last index that is on this node's disk.
    pub fn durable(&self) -> LogIndex {
        self.durability.durable()
    }

    /// Says whether the configuration before the one in force names this node as a member: if the
    /// one in force does not, it was removed.
    pub fn was_member(&self) -> bool {
        self.membership.previous().recognises(self.id, self.incarnation)
    }

    /// Returns the highest index known to be committed.
    pub fn commit(&self) -> LogIndex {
        self.commit
    }

    /// Returns what a leader knows to agree and to be durable on a member; `None` elsewhere.
    pub fn matched(&self, member: NodeId) -> Option<LogIndex> {
        self.role.leader()?.progress.get(&member).map(|progress| progress.matched)
    }

    /// Returns the term of the entry at `index`, where the log still knows it.
    pub fn term_at(&self, index: LogIndex) -> Option<Term> {
        self.log.term(index)
    }

    fn timeout(&mut self, now: Timestamp, timer: Timer) {
        match (timer, &self.role) {
            (Timer::Election, Role::Follower(Follower { election, .. })) => {
                if now >= *election {
                    self.pre_campaign(now);
                }
            }
            (Timer::Election, Role::PreCandidate(candidacy) | Role::Candidate(candidacy)) => {
                if now >= candidacy.election {
                    self.pre_campaign(now);
                }
            }
            (Timer::Heartbeat, Role::Leader(leader)) => {
                if now >= leader.heartbeat {
                    self.heartbeat(now);
                }
            }
            (Timer::QuorumCheck, Role::Leader(leader)) => {
                if now >= leader.quorum_check {
                    self.check_quorum(now);
                }
            }
            (Timer::Transfer, Role::Leader(_)) => self.abort_transfer(now),
            (Timer::Read, Role::Follower(_)) => self.retry_reads(now),
            // Stale: the role that set this deadline is gone.
            (Timer::Election | Timer::Read, Role::Leader(_))
            | (Timer::Read, Role::PreCandidate(_) | Role::Candidate(_))
            | (
                Timer::Heartbeat | Timer::QuorumCheck | Timer::Transfer,
                Role::Follower(_) | Role::PreCandidate(_) | Role::Candidate(_),
            ) => {}
        }
    }

    fn persisted(&mut self, now: Timestamp, write: WriteId) {
        if let Some(install) = &mut self.install {
            install.persisted(write);
        }
        for promise in self.durability.persisted(write) {
            match promise {
                Promise::Message { to, message } => self.send(to, message),
                Promise::OwnVote { term } => self.count_own_vote(now, term),
            }
        }
    }

    /// The disk failed: stop claiming anything, and stop leading (rule 6 of the design).
    fn fail(&mut self, now: Timestamp) {
        self.follow(now, self.hard_state.term, None);
        self.failed = true;
        self.durability.fail();
        self.out = Outbox { reply: mem::take(&mut self.out.reply), ..Outbox::default() };
    }

    fn step_failed(&mut self, input: &Input) {
        match input {
            Input::Propose { request, .. }
            | Input::Read { request }
            | Input::Reconfigure { request, .. }
            | Input::Transfer { request, .. } => self.reject(*request, Rejection::DiskFailed),
            Input::Applied { index } => self.note_applied(*index),
            Input::Receive { .. }
            | Input::Timeout(_)
            | Input::Persisted { .. }
            | Input::WriteFailed { .. }
            | Input::SnapshotTaken { .. }
            | Input::SnapshotReceived { .. }
            | Input::SnapshotSent { .. }
            | Input::Unreachable { .. } => {}
        }
    }

    fn note_applied(&mut self, index: LogIndex) {
        assert!(index <= self.handed, "only what was handed out can be applied");
        self.applied = self.applied.max(index);
        self.install.take_if(|install| install.is_applied(index));
    }

    fn take_write(&mut self) -> Option<Write> {
        if self.failed || !self.out.writes() {
            return None;
        }
        let hard_state = mem::take(&mut self.out.hard_state).then_some(self.hard_state);
        let id = self.durability.begin(self.log.last().index, hard_state.is_some());
        if let Some(install) = &mut self.install {
            install.written_by(id);
        }
        Some(Write {
            id,
            hard_state,
            truncate_from: self.out.truncate_from.take(),
            append: mem::take(&mut self.out.append),
            compact_to: self.out.compact_to.take(),
        })
    }

    /// Hands out what is committed *and* durable here, each index once, in order.
    fn take_apply(&mut self) -> Option<RangeInclusive<LogIndex>> {
        let ready = self.commit.min(self.durability.durable());
        // Entries behind a snapshot follow its installation.
        let waits = self.install.as_ref().is_some_and(Install::is_held);
        if self.failed || waits || ready <= self.handed {
            return None;
        }
        let first = self.handed.next();
        self.handed = ready;
        Some(first..=ready)
    }

    /// Sends at once. Only for what claims nothing that is not durable.
    pub(crate) fn send(&mut self, to: NodeId, message: Message) {
        self.out.send.push(Send::Message { to, message });
    }

    /// Sends as soon as everything that stands at the next drain is durable.
    pub(crate) fn promise(&mut self, to: NodeId, body: Body) {
        let message = Message { term: self.hard_state.term, body };
        self.out.promises.push(Promise::Message { to, message });
    }

    pub(crate) fn promise_own_vote(&mut self) {
        self.out.promises.push(Promise::OwnVote { term: self.hard_state.term });
    }

    pub(crate) fn reject(&mut self, request: RequestId, reason: Rejection) {
        self.out.reply.push(Reply::Rejected { request, reason });
    }

    pub(crate) fn ignore(&mut self, from: NodeId, why: Ignored) {
        self.out.event.push(Event::Ignored { from, why });
    }

    /// Says whether term and vote are on disk exactly as they are in memory.
    pub(crate) fn hard_state_durable(&self) -> bool {
        !self.out.hard_state && self.durability.hard_state_durable()
    }

    pub(crate) fn set_hard_state(&mut self, hard_state: HardState) {
        if self.hard_state != hard_state {
            if hard_state.term > self.hard_state.term {
                self.durability.forget_before(hard_state.term);
                self.out.promises.clear();
            }
            self.hard_state = hard_state;
            self.out.hard_state = true;
        }
    }

    /// Appends to the log: identity, configuration, stamp, and the bytes for the disk.
    pub(crate) fn append(&mut self, entry: Entry) {
        self.log.append(entry.id);
        self.stamp = self.stamp.max(entry.stamp);
        if let Payload::Configuration(configuration) = &entry.payload {
            self.membership.append(entry.id.index, configuration.clone());
            self.out.event.push(Event::Configuration { index: entry.id.index });
        }
        self.out.append.push(entry);
    }

    /// Cuts the log: `from` and all behind it give way to another leader's entries.
    pub(crate) fn truncate(&mut self, from: LogIndex) {
        assert!(from > self.commit, "committed entries are never cut off (§3.6)");
        self.log.truncate(from);
        self.durability.truncate(from);
        if self.membership.index() >= from {
            self.membership.truncate(from);
            self.out.event.push(Event::Configuration { index: self.membership.index() });
        }
        // Entries that no write has carried yet need not be cut on disk; older ones must be.
        let unwritten = self.out.append.iter().position(|entry| entry.id.index >= from);
        self.out.append.truncate(unwritten.unwrap_or(self.out.append.len()));
        let lowest = self.out.truncate_from.map_or(from, |earlier| earlier.min(from));
        self.out.truncate_from = Some(lowest);
    }

    /// Returns the leader of this term, if known.
    pub(crate) fn leader(&self) -> Option<NodeId> {
        match &self.role {
            Role::Follower(follower) => follower.leader,
            Role::PreCandidate(_) | Role::Candidate(_) => None,
            Role::Leader(_) => Some(self.id),
        }
    }

    /// Returns the current term.
    pub fn term(&self) -> Term {
        self.hard_state.term
    }
}
