//! The replica: consensus, the log's tail, and waiting clients, stepped as one value.

use std::mem;
use std::ops::{Range, RangeInclusive};

use bytes::Bytes;
use consensus::{
    Actions, Basis, Entry, Event, Input as Raw, LogIndex, NodeId, Outgoing, Raft, Rejection,
    RequestId, SnapshotMeta, Status, Term, Timer, Timestamp, Write,
};

use crate::cache::Cache;
use crate::policy::{Keep, Policy};
use crate::requests::{Ending, Requests};

/// Marks the core's names for batches; the driver's names for requests stay below.
const BATCH: u64 = 1 << 63;

/// Bounds on what a replica keeps in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of entries kept in memory.
    pub cache_bytes_max: usize,
    /// Bytes of proposals that are not applied yet.
    pub proposal_bytes_max: usize,
    /// Proposals that are not applied yet.
    pub proposals_max: usize,
    /// Questions that wait.
    pub questions_max: usize,
    /// How long a question waits for an index that is not applied yet, in nanoseconds: this node
    /// may have been removed, and hear no more of what it waits for.
    pub behind_wait_ns: u64,
    /// What of the log stays behind a durable state, for followers that are behind.
    pub keep: Keep,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            cache_bytes_max: 64 * 1024 * 1024,
            proposal_bytes_max: 64 * 1024 * 1024,
            proposals_max: 65_536,
            questions_max: 65_536,
            behind_wait_ns: 1_000_000_000,
            keep: Keep::default(),
        }
    }
}

/// All that can happen to a replica.
#[derive(Clone, Debug)]
pub enum Input {
    /// Something for the consensus core, but for commands and questions of clients.
    Raft(Raw),
    /// A client's command.
    Propose {
        /// Named again in the reply.
        request: RequestId,
        /// The command, in its envelope.
        command: Bytes,
    },
    /// A client's question.
    Query {
        /// Named again in the reply.
        request: RequestId,
        /// The question.
        query: Bytes,
        /// How new the answer must be.
        consistency: Consistency,
    },
    /// The state machine applied everything up to `index`.
    Applied {
        /// The last applied index.
        index: LogIndex,
        /// The machine's answers, ascending.
        responses: Vec<(LogIndex, Bytes)>,
    },
    /// The state machine's state is durable up to `index`: the log is not needed for a restart.
    Flushed {
        /// The last index that the durable state covers.
        index: LogIndex,
        /// What the state takes on the disk, in bytes.
        state_bytes: u64,
    },
    /// The node stops: all that wait are told.
    Abandon,
}

/// How new the answer to a question must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Consistency {
    /// As if there were one machine (§6.4). Whether a leader relies on its lease is a setting of
    /// the core's, and none of the client's business.
    Linearizable,
    /// Everything up to this index is applied here: a client sees what it has written (or seen
    /// elsewhere), from any node, without asking the leader.
    AtLeast(LogIndex),
    /// Whatever this node has applied.
    Stale,
}

/// A question that the present state may answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The request.
    pub request: RequestId,
    /// The question.
    pub query: Bytes,
    /// How new the answer must be.
    pub consistency: Consistency,
    /// The answer may leave only if this holds, by the clock as it stands after the state was
    /// read; if not, the question is to be put once more.
    pub basis: Basis,
}

/// What a replica wants done; lanes as in [`Actions`].
#[must_use = "dropped lanes are lost promises"]
#[derive(Clone, Debug, Default)]
pub struct Lanes {
    /// Disk.
    pub write: Option<Write>,
    /// Network.
    pub send: Vec<Outgoing>,
    /// State machine, before `apply`: replace the state by this snapshot.
    pub install: Option<SnapshotMeta>,
    /// State machine.
    pub apply: Option<RangeInclusive<LogIndex>>,
    /// Questions that the present state may answer.
    pub query: Vec<Question>,
    /// Clients.
    pub reply: Vec<Reply>,
    /// Observers.
    pub event: Vec<Event>,
}

/// An answer for a client, other than that to a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The command is applied.
    Applied {
        /// The request.
        request: RequestId,
        /// Where it stands.
        index: LogIndex,
        /// The machine's answer.
        response: Bytes,
    },
    /// A change of members is committed, or leadership was given up.
    Done {
        /// The request.
        request: RequestId,
    },
    /// Certainly without effect; another node may be asked.
    Refused {
        /// The request.
        request: RequestId,
        /// Why.
        reason: Rejection,
    },
    /// Certainly without effect: another leader's entry has taken its place.
    Superseded {
        /// The request.
        request: RequestId,
    },
    /// Nobody knows yet.
    Unknown {
        /// The request.
        request: RequestId,
    },
    /// The index that a question asks for was not reached in time; another node may be further.
    Behind {
        /// The request.
        request: RequestId,
        /// What this node has applied.
        applied: LogIndex,
    },
}

/// Consensus with everything around it that is not I/O.
#[derive(Clone, Debug)]
pub struct Replica {
    raft: Raft,
    limits: Limits,
    cache: Cache,
    requests: Requests,
    policy: Policy,
    /// Proposals since the last drain: one step of the core for all of them.
    proposed: Vec<(RequestId, Bytes)>,
    /// Bytes of entries that were proposed here and are not applied, by index.
    unapplied: Vec<(LogIndex, usize)>,
    unapplied_bytes: usize,
    /// The leadership that they belong to.
    leadership: Term,
    reply: Vec<Reply>,
    query: Vec<Question>,
    /// The core's name for the last batch of proposals.
    batch: u64,
}

impl Replica {
    /// Wraps a core.
    pub fn new(raft: Raft, limits: Limits) -> Self {
        Self {
            raft,
            limits,
            cache: Cache::new(limits.cache_bytes_max),
            requests: Requests::default(),
            policy: Policy::new(limits.keep),
            proposed: Vec::new(),
            unapplied: Vec::new(),
            unapplied_bytes: 0,
            leadership: Term::ZERO,
            reply: Vec::new(),
            query: Vec::new(),
            batch: 0,
        }
    }

    /// Takes one input.
    ///
    /// # Panics
    /// As [`Raft::step`].
    pub fn step(&mut self, now: Timestamp, input: Input) {
        match input {
            Input::Raft(raw) => self.raft.step(now, raw),
            Input::Propose { request, command } => self.propose(request, command),
            Input::Query { request, query, consistency } => {
                self.ask(now, request, query, consistency);
            }
            Input::Applied { index, responses } => self.applied(now, index, responses),
            Input::Flushed { index, state_bytes } => self.flushed(now, index, state_bytes),
            Input::Abandon => self.abandon(),
        }
    }

    /// Returns what is to be done since the last drain.
    pub fn drain(&mut self, now: Timestamp) -> Lanes {
        self.flush_proposals(now);
        let Actions { write, send, apply, install, reply, event } = self.raft.drain(now);
        if let Some(write) = &write {
            self.cache.follow(write.truncate_from, write.compact_to.as_ref(), &write.append);
            self.policy.follow(write);
        }
        for reply in reply {
            self.answer(now, reply);
        }
        let status_applied = self.raft.applied();
        self.query.extend(self.requests.ready(status_applied));
        for request in self.requests.late(now) {
            self.reply.push(Reply::Behind { request, applied: status_applied });
        }
        self.cache.evict(self.raft.durable().min(status_applied));
        Lanes {
            write,
            send,
            install,
            apply,
            query: mem::take(&mut self.query),
            reply: mem::take(&mut self.reply),
            event,
        }
    }

    /// Returns when to wake this replica, and why.
    pub fn deadline(&self) -> Option<(Timestamp, Timer)> {
        let late = self.requests.deadline().map(|due| (due, Timer::Question));
        self.raft.deadline().into_iter().chain(late).min()
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

    /// Returns how many bytes of entries are in memory.
    pub fn cache_bytes(&self) -> usize {
        self.cache.bytes()
    }

    /// Returns how many clients wait for writes, and for answers.
    pub fn waiting(&self) -> (usize, usize) {
        (self.requests.writing(), self.requests.questions())
    }

    /// Returns how many bytes of commands were proposed here and are not applied.
    pub fn proposed_bytes(&self) -> usize {
        self.unapplied_bytes
    }

    fn propose(&mut self, request: RequestId, command: Bytes) {
        let term = self.raft.term();
        if mem::replace(&mut self.leadership, term) != term {
            // What an earlier leadership left may stand beyond the log's end, where it is decided
            // only when the log grows: it must not take the room of what would let it grow.
            self.unapplied.clear();
            self.unapplied_bytes = self.proposed.iter().map(|(_, command)| command.len()).sum();
        }
        let count = self.unapplied.len() + self.proposed.len();
        let bytes = self.unapplied_bytes + command.len();
        if count >= self.limits.proposals_max || bytes > self.limits.proposal_bytes_max {
            self.reply.push(Reply::Refused { request, reason: Rejection::Busy });
            return;
        }
        self.unapplied_bytes += command.len();
        self.proposed.push((request, command));
    }

    /// Steps all proposals that have gathered as one, so that the core works once a turn.
    fn flush_proposals(&mut self, now: Timestamp) {
        if self.proposed.is_empty() {
            return;
        }
        self.batch = BATCH | (self.batch + 1);
        let commands = self.proposed.iter().map(|(_, command)| command.clone()).collect();
        let request = RequestId::new(self.batch);
        self.raft.step(now, Raw::Propose { request, commands });
    }

    fn ask(&mut self, now: Timestamp, request: RequestId, query: Bytes, consistency: Consistency) {
        let full = self.requests.questions() >= self.limits.questions_max;
        match consistency {
            Consistency::Stale => {
                self.query.push(Question { request, query, consistency, basis: Basis::Local });
            }
            Consistency::Linearizable | Consistency::AtLeast(_) if full => {
                self.reply.push(Reply::Refused { request, reason: Rejection::Busy });
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

    fn appended(&mut self, term: Term, first: LogIndex) {
        let mut index = first;
        for (request, command) in mem::take(&mut self.proposed) {
            self.requests.appended(request, term, index);
            self.unapplied.push((index, command.len()));
            index = index.next();
        }
    }

    /// A rejection names a question, or the batch of proposals of this turn.
    fn rejected(&mut self, request: RequestId, reason: Rejection) {
        let batch = RequestId::new(self.batch);
        if request == batch && !self.proposed.is_empty() {
            for (request, command) in mem::take(&mut self.proposed) {
                self.unapplied_bytes -= command.len();
                self.reply.push(Reply::Refused { request, reason });
            }
            return;
        }
        self.requests.refused(request);
        self.reply.push(Reply::Refused { request, reason });
    }

    fn applied(&mut self, now: Timestamp, index: LogIndex, responses: Vec<(LogIndex, Bytes)>) {
        self.raft.step(now, Raw::Applied { index });
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
        let done = self.unapplied.iter().take_while(|(at, _)| *at <= index).count();
        for (_, bytes) in self.unapplied.drain(..done) {
            self.unapplied_bytes -= bytes;
        }
    }

    /// Compacts the log behind a durable state, as far as nobody is likely to need it.
    fn flushed(&mut self, now: Timestamp, index: LogIndex, state_bytes: u64) {
        let base = self.raft.status().base.index;
        let index = index.min(self.raft.applied());
        if let Some(to) = self.policy.compact_to(base, index, state_bytes)
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
        self.reply.extend(questions.into_iter().map(refuse));
        let proposed = mem::take(&mut self.proposed);
        self.reply.extend(proposed.into_iter().map(|(request, _)| refuse(request)));
        self.unapplied.clear();
        self.unapplied_bytes = 0;
    }
}
