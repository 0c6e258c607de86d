//! The replica: consensus, the log's tail, and waiting clients, stepped as one value.

use std::collections::BTreeMap;
use std::mem;
use std::ops::Range;

use bytes::Bytes;
use consensus::{
    Actions, Basis, Body, Chain, Entry, EntryId, Event, Incarnation, Input as Raw, LogIndex,
    NodeId, Outgoing, Raft, Rejection, RequestId, RoleKind, Status, Term, Timer, Timestamp,
};

use crate::alarms::Alarms;
use crate::cache::Cache;
use crate::chaining::Chaining;
use crate::compaction::Compaction;
use crate::comparison::Comparison;
use crate::departures::Departures;
use crate::feeding::Feeding;
use crate::healing::Healing;
use crate::input::{Consistency, Input, Proposal, Purpose, Sent};
use crate::lanes::{Lanes, Piece, Question, Reply, RoomLevel};
use crate::limits::Limits;
use crate::newcomers::{Change, Newcomers, Next};
use crate::requests::{Ending, Requests};
use crate::room::Room;
use crate::snapshots::Snapshots;
use crate::untaken::Untaken;
use crate::views::Views;

mod alarms;
mod batch;
mod effects;
mod held;
mod load;
mod news;

/// Marks the core's names for batches; the driver's names for requests stay below.
const BATCH: u64 = 1 << 63;

/// Consensus with everything around it that is not I/O.
#[derive(Clone, Debug)]
pub struct Replica {
    raft: Raft,
    limits: Limits,
    cache: Cache,
    chaining: Chaining,
    requests: Requests,
    compaction: Compaction,
    snapshots: Snapshots,
    departures: Departures,
    newcomers: Newcomers,
    healing: Healing,
    room: Room,
    alarms: Alarms,
    feeding: Feeding,
    comparison: Comparison,
    /// Proposals since the last drain, or since leadership is handed over: one step of the core for
    /// all of them.
    proposed: Vec<Proposal>,
    /// Bytes of entries that were proposed here and are not applied, by index.
    unapplied: Vec<(LogIndex, usize)>,
    unapplied_bytes: usize,
    /// The leadership that they belong to.
    leadership: Term,
    reply: Vec<Reply>,
    views: Views,
    untaken: Untaken,
    /// The core's name for the last batch of proposals.
    batch: u64,
    /// Until when proposals are held, if leadership was handed over.
    held_until: Option<Timestamp>,
}

impl Replica {
    /// Wraps a core that was restored just now. The disk has snapshots that end at these entries.
    pub fn new(now: Timestamp, raft: Raft, limits: Limits, snapshots: Vec<EntryId>) -> Self {
        let flushed = raft.applied();
        let departures = Departures::new(now, &raft);
        Self {
            raft,
            limits,
            cache: Cache::new(limits.cache_bytes_max),
            chaining: Chaining::default(),
            requests: Requests::default(),
            compaction: Compaction::new(limits.keep),
            snapshots: Snapshots::new(snapshots, flushed),
            departures,
            newcomers: Newcomers::default(),
            healing: Healing::default(),
            room: Room::default(),
            alarms: Alarms::default(),
            untaken: Untaken::default(),
            feeding: Feeding::new(limits.feed),
            comparison: Comparison::default(),
            proposed: Vec::new(),
            unapplied: Vec::new(),
            unapplied_bytes: 0,
            leadership: Term::ZERO,
            reply: Vec::new(),
            views: Views::new(flushed),
            batch: 0,
            held_until: None,
        }
    }

    /// Goes on from the chain value of the last entry on the disk.
    #[must_use]
    pub fn behind(self, last: Chain) -> Self {
        Self { chaining: Chaining::new(last), ..self }
    }

    /// Takes one input.
    ///
    /// # Panics
    /// As [`Raft::step`].
    pub fn step(&mut self, now: Timestamp, input: Input) {
        match input {
            Input::Raft(raw) => {
                if let Some(raw) = self.compare(raw).and_then(|raw| self.hear_room(raw)) {
                    self.raw(now, raw);
                }
            }
            Input::Effects { last, digests } => self.comparison.applied(last, &digests),
            Input::Propose { request, command, purpose } => {
                self.propose(now, request, command, purpose);
            }
            Input::ProposeAll { proposals } => self.propose_all(now, proposals),
            Input::Query { request, query, consistency } => {
                self.ask(now, request, query, consistency);
            }
            Input::Applied { index, responses } => self.applied(now, index, responses),
            Input::Viewed { applied } => self.views.made(applied),
            Input::Flushed { index, state_bytes } => self.flushed(now, index, state_bytes),
            Input::TakeSnapshot { request } => self.take_snapshot(request),
            Input::Snapshot(news) => self.snapshot_news(now, news),
            Input::Reconfigure { request, target, expected_index, removed } => {
                let change = Change { request, target, expected_index };
                let next = self.newcomers.ask(&self.raft, change, &removed);
                self.go_on(now, next);
            }
            Input::Directories { seen } => self.heal(now, &seen),
            Input::Met { request, answers } => {
                if let Some(next) = self.newcomers.met(&self.raft, request, answers) {
                    self.go_on(now, next);
                }
            }
            Input::Space(space) => self.room.measured(now, space, self.under_way_bytes()),
            Input::Alarms { raised } => self.alarms.applied(raised),
            Input::Fed { number, to, sent } => self.fed(now, number, to, sent),
            Input::ToldRemoved { by, reason } => self.departures.told(by, reason),
            Input::Abandon => self.abandon(),
        }
    }

    /// Returns what is to be done since the last drain.
    pub fn drain(&mut self, now: Timestamp) -> Lanes {
        self.flush_proposals(now);
        self.ask_for_untaken(now);
        self.leave_office(now);
        let Actions { mut write, mut send, apply, install, reply, event } = self.raft.drain(now);
        self.raft.check_state();
        if let Some(write) = &mut write {
            self.chaining.follow(write, self.raft.last().index);
            self.cache.follow(write, self.raft.last().index);
            self.compaction.follow(write);
            self.room.follow(write);
        }
        for event in &event {
            match event {
                Event::Role(RoleKind::Leader, _) => {}
                Event::Role(..) => self.snapshots.stop_sending(),
                Event::Configuration { .. } => {
                    self.departures.follow(now, &self.raft);
                }
                Event::Leader(_)
                | Event::HandsOver { .. }
                | Event::Ignored { .. }
                | Event::VoteRefused { .. } => {}
            }
        }
        self.cache.evict(self.raft.durable().min(self.raft.applied()));
        let feed = self.feed(now, &mut send);
        self.want_snapshots(now, &mut send);
        self.tell_effects(now, &mut send);
        let alarm = self.tell_room(now, &mut send);
        for reply in reply {
            self.answer(now, reply);
        }
        let status_applied = self.raft.applied();
        self.views.release(self.requests.ready(status_applied));
        let (query, view) = self.views.take(status_applied);
        let views = self.views.are_wanted(now);
        for request in self.requests.late(now) {
            let leader = self.raft.leader().filter(|leader| *leader != self.raft.id());
            self.reply.push(Reply::Behind { request, applied: status_applied, leader });
        }
        self.healing.take_own(&mut self.reply);
        Lanes {
            write,
            send,
            feed,
            install,
            apply,
            snapshot: self.snapshots.take(),
            room: self.room.take(),
            alarm,
            dropped: self.untaken.take_count(),
            view,
            views,
            query,
            reply: mem::take(&mut self.reply),
            peers: self.departures.peers(now, &self.raft),
            meet: self.newcomers.take(),
            removed: self.departures.removed(),
            differing: self.comparison.take(),
            event,
        }
    }

    /// Returns when to wake this replica, and why.
    pub fn deadline(&self) -> Option<(Timestamp, Timer)> {
        let late = self.requests.deadline().into_iter().chain(self.gives_up_at()).min();
        let late = late.map(|due| (due, Timer::Question));
        let feed = self.feeding.deadline().map(|due| (due, Timer::Feed));
        self.raft.deadline().into_iter().chain(late).chain(feed).min()
    }

    /// Says whether a client waits to hear what became of its write, which may have been proposed
    /// when this node led.
    pub fn owes_answers(&self) -> bool {
        self.requests.has_writes()
    }

    /// Returns what the core tells about itself.
    pub fn status(&self) -> Status<'_> {
        self.raft.status()
    }

    /// Returns the core, to be inspected.
    pub fn raft(&self) -> &Raft {
        &self.raft
    }

    /// Returns the entries of `range` from its start on, at least one and as many as fit into
    /// `bytes_max`; `None` if the disk must be asked.
    pub fn entries(&self, range: Range<LogIndex>, bytes_max: usize) -> Option<Vec<Entry>> {
        self.cache.get(range, bytes_max)
    }

    /// Says whether a piece of old entries is still to be sent, now that it is read.
    pub fn wants(&self, piece: &Piece) -> bool {
        self.feeding.wants(piece, &self.raft)
    }

    /// Returns how much room there is on the disk.
    pub fn room(&self) -> RoomLevel {
        self.room.level()
    }

    /// Takes from the messages what is not in memory, and returns the pieces of it that are due.
    fn feed(&mut self, now: Timestamp, send: &mut Vec<Outgoing>) -> Vec<Piece> {
        let Self { feeding, cache, raft, .. } = self;
        feeding.take_over(now, send, cache, raft.last().index);
        if feeding.is_idle() {
            return Vec::new();
        }
        feeding.advance(now, send, cache, raft)
    }

    /// A piece of old entries was sent, or was not.
    fn fed(&mut self, now: Timestamp, number: u64, to: NodeId, sent: Option<Sent>) {
        if self.feeding.fed(now, (number, to), sent, &self.raft) {
            self.raft.step(now, Raw::Unreachable { peer: to });
        }
    }

    fn raw(&mut self, now: Timestamp, raw: Raw) {
        if let Raw::Persisted { write } = raw {
            self.room.written(write);
            self.room.look(now, self.under_way_bytes());
        }
        if let Raw::Receive { message, .. } = &raw
            && let Body::AppendEntries { entries, .. } = &message.body
            && !entries.is_empty()
            && (self.is_full() || !self.room.takes(entries))
        {
            self.untaken.dropped(raw);
            return;
        }
        self.raft.step(now, raw);
    }

    /// There is room again for what was dropped: its leader hears that it is not here.
    fn ask_for_untaken(&mut self, now: Timestamp) {
        if !self.is_full()
            && self.room.takes_commands()
            && let Some(question) = self.untaken.take_question(self.raft.term())
        {
            self.raft.step(now, question);
        }
    }

    /// Says whether no more entries should be taken from leaders: the disk or the state machine is
    /// behind. What waits in memory for a commitment does not count: it may need more entries.
    fn is_full(&self) -> bool {
        let applies = self.raft.applied() < self.raft.commit();
        self.room.unwritten_bytes() >= self.limits.unwritten_bytes_max
            || applies && self.cache.bytes() > 2 * self.limits.cache_bytes_max
    }

    /// Returns the bytes of commands that are taken and not yet on the disk, in log and state.
    fn under_way_bytes(&self) -> usize {
        let proposed = if self.raft.leads() { self.unapplied_bytes } else { 0 };
        proposed.max(self.room.unwritten_bytes())
    }

    fn propose(&mut self, now: Timestamp, request: RequestId, command: Bytes, purpose: Purpose) {
        let holds = self.holds(now);
        if !holds && !self.raft.leads() && !self.raft.has_failed() {
            // Judged as it comes: who is elected later in this turn has looked at no limit for it.
            let reason = Rejection::NotLeader { leader: self.raft.leader() };
            self.reply.push(Reply::Refused { request, reason });
            return;
        }
        let term = self.raft.term();
        if self.raft.leads() && mem::replace(&mut self.leadership, term) != term {
            // What an earlier leadership left may stand beyond the log's end, where it is decided
            // only when the log grows: it must not take the room of what would let it grow.
            self.forget_unapplied();
        }
        if self.raft.leads()
            && (self.refuses_for_difference(request)
                || self.refuses_for_room(now, request, (command.len(), purpose)))
        {
            return;
        }
        let count = self.unapplied.len() + self.proposed.len();
        let bytes = self.unapplied_bytes + command.len();
        let is_full = count >= self.limits.proposals_max || bytes > self.limits.proposal_bytes_max;
        // The core takes all that comes together, or nothing.
        let has_place = !self.raft.leads() || (self.proposed.len() as u64) < self.raft.places();
        let is_own = matches!(purpose, Purpose::Alarm | Purpose::Note);
        if !has_place || is_full && !is_own {
            self.reply.push(Reply::Refused { request, reason: Rejection::Busy });
            return;
        }
        self.unapplied_bytes += command.len();
        self.proposed.push(Proposal { request, command, purpose });
    }

    fn ask(&mut self, now: Timestamp, request: RequestId, query: Bytes, consistency: Consistency) {
        if self.refuses_for_difference(request) {
            return;
        }
        self.views.question(now);
        if self.waiting().1 >= self.limits.questions_max {
            self.reply.push(Reply::Refused { request, reason: Rejection::Busy });
            return;
        }
        match consistency {
            Consistency::Stale => {
                let question = Question { request, query, consistency, basis: Basis::Local };
                self.views.release([question]);
            }
            Consistency::AtLeast(index) => {
                let until = now.after(self.limits.behind_wait_ns);
                self.requests.awaits(request, query, index, until);
            }
            Consistency::Linearizable => {
                self.requests.asked(request, query);
                self.raft.step(now, Raw::Read { request });
            }
        }
    }

    /// Goes on with a change of members.
    fn go_on(&mut self, now: Timestamp, next: Next) {
        match next {
            Next::Begin(Change { request, target, .. }) => {
                self.raft.step(now, Raw::Reconfigure { request, target });
            }
            Next::Meet => {}
            Next::Refuse(request, why) => self.reply.push(Reply::ChangeRefused { request, why }),
        }
    }

    /// Goes on with taking in a member that has forgotten what it promised.
    fn heal(&mut self, now: Timestamp, seen: &BTreeMap<NodeId, Incarnation>) {
        if let Some(change) = self.healing.next(now, &self.raft, seen) {
            // No id comes back that was removed: all of them are members.
            let next = self.newcomers.ask(&self.raft, change, &BTreeMap::new());
            self.go_on(now, next);
        }
    }

    fn answer(&mut self, now: Timestamp, reply: consensus::Reply) {
        match reply {
            consensus::Reply::Appended { term, range, .. } => self.appended(term, range.start),
            consensus::Reply::ReadAt { request, index, basis } => {
                let until = now.after(self.limits.behind_wait_ns);
                self.requests.readable(request, index, basis, until);
            }
            consensus::Reply::Rejected { request, reason } => self.rejected(request, reason),
            consensus::Reply::Done { request } => self.reply.push(Reply::Done { request }),
            consensus::Reply::Undecided { request } => self.reply.push(Reply::Unknown { request }),
        }
    }

    /// A rejection names a question, or the batch of proposals of this turn.
    fn rejected(&mut self, request: RequestId, reason: Rejection) {
        let batch = RequestId::new(self.batch);
        if request == batch && !self.proposed.is_empty() {
            for Proposal { request, command, .. } in mem::take(&mut self.proposed) {
                self.unapplied_bytes -= command.len();
                self.reply.push(Reply::Refused { request, reason });
            }
            return;
        }
        if self.requests.refused(request) {
            self.reply.push(Reply::Refused { request, reason });
        }
    }

    fn applied(&mut self, now: Timestamp, index: LogIndex, responses: Vec<(LogIndex, Bytes)>) {
        self.raft.step(now, Raw::Applied { index });
        self.departures.applied(&self.raft);
        let raft = &self.raft;
        for ending in self.requests.applied(index, |at| raft.term_at(at), responses) {
            self.reply.push(match ending {
                Ending::Applied { request, index, response } => {
                    Reply::Applied { request, index, response }
                }
                Ending::Superseded { request } => Reply::Superseded { request },
                Ending::Unknown { request } => Reply::Unknown { request },
            });
        }
        if self.raft.term_at(index).is_some_and(|term| term > self.leadership) {
            self.forget_unapplied();
        }
        let done = self.unapplied.iter().take_while(|(at, _)| *at <= index).count();
        for (_, bytes) in self.unapplied.drain(..done) {
            self.unapplied_bytes -= bytes;
        }
    }

    /// The state is durable: compacts the log, as far as nobody is likely to need it.
    fn flushed(&mut self, now: Timestamp, index: LogIndex, state_bytes: u64) {
        self.snapshots.flushed(now, index, state_bytes);
        self.follow_fed(now, state_bytes);
        let raft = &self.raft;
        let floor = self.snapshots.floor(now, |follower| raft.matched(follower));
        let base = self.raft.base().index;
        let index = index.min(self.raft.applied());
        let index = floor.map_or(index, |floor| floor.min(index));
        if let Some(to) = self.compaction.compact_to(base, index, state_bytes)
            && let Some(meta) = self.raft.snapshot_meta(to)
        {
            self.raft.step(now, Raw::SnapshotTaken { meta });
        }
    }

    fn abandon(&mut self) {
        let (writes, questions) = self.requests.abandon();
        self.reply.extend(writes.into_iter().map(|request| Reply::Unknown { request }));
        let leader: Option<NodeId> = None;
        let reason = Rejection::NotLeader { leader };
        let refuse = |request| Reply::Refused { request, reason };
        self.reply.extend(questions.into_iter().chain(self.views.abandon()).map(refuse));
        let proposed = mem::take(&mut self.proposed);
        self.reply.extend(proposed.into_iter().map(|it| refuse(it.request)));
        self.reply.extend(self.newcomers.abandon().map(refuse));
        let unmade = self.snapshots.abandon();
        self.reply.extend(unmade.into_iter().map(|request| Reply::Unknown { request }));
        self.unapplied.clear();
        self.unapplied_bytes = 0;
    }
}
