//! A node of the modelled world: the replica under test, its disk, its clock and its state machine.

use std::collections::VecDeque;

use consensus::{
    ClusterTime, Config, Configuration, Entry, EntryId, HardState, Incarnation, LogIndex, LogView,
    Member, Membership, Message, NodeId, Payload, Raft, Restored, Term, TermRun, Timestamp,
};
use replica::{Limits, Replica};

use crate::chance::Chance;
use crate::disk::Disk;

/// What a paused node will find when it wakes.
#[derive(Clone, Debug)]
pub(crate) enum Late {
    Message(NodeId, Message),
    Ask(replica::Input),
    DiskDone,
    Applied,
    Due,
}

/// A node.
pub(crate) struct Node {
    pub(crate) id: NodeId,
    /// `None` while it is down.
    pub(crate) replica: Option<Replica>,
    /// Counts its starts; events of earlier lives are void.
    pub(crate) life: u32,
    pub(crate) disk: Disk,
    /// The log as the replica has it: the durable one and what is on its way.
    pub(crate) memory: Vec<Entry>,
    /// What the state machine has applied, and what of it survives a crash.
    pub(crate) applied: LogIndex,
    pub(crate) flushed: LogIndex,
    /// Ranges that wait for the state machine.
    pub(crate) to_apply: VecDeque<LogIndex>,
    /// How far the oracle has looked at the commit index.
    pub(crate) seen_commit: LogIndex,
    pub(crate) paused: bool,
    pub(crate) backlog: Vec<Late>,
    /// The next time at which a wake-up is scheduled, in world time.
    pub(crate) wake: Option<Timestamp>,
    /// The disk is slow until then.
    pub(crate) stalled: Timestamp,
    /// How the node's clock differs: parts per million, and nanoseconds ahead.
    drift_ppm: i64,
    ahead_ns: u64,
}

impl Node {
    /// Makes a first member, or a node that belongs to no cluster yet.
    pub(crate) fn new(id: NodeId, configuration: Option<&Configuration>, drift_ppm: i64) -> Self {
        let first = |configuration: &Configuration| {
            let id = EntryId { term: Term::new(1), index: LogIndex::new(1) };
            let payload = Payload::Configuration(configuration.clone());
            Entry { id, stamp: ClusterTime::ZERO, payload }
        };
        let term = configuration.map_or(Term::ZERO, |_| Term::new(1));
        let log = configuration.map(first).into_iter().collect();
        let disk = Disk::new(log, HardState { term, voted_for: None });
        Self {
            id,
            replica: None,
            life: 0,
            disk,
            memory: Vec::new(),
            applied: LogIndex::ZERO,
            flushed: LogIndex::ZERO,
            to_apply: VecDeque::new(),
            seen_commit: LogIndex::ZERO,
            paused: false,
            backlog: Vec::new(),
            wake: None,
            stalled: Timestamp::ZERO,
            drift_ppm,
            ahead_ns: 0,
        }
    }

    /// The node's own clock.
    pub(crate) fn local(&self, now: Timestamp) -> Timestamp {
        let real = i128::from(now.get());
        let own = real + real * i128::from(self.drift_ppm) / 1_000_000;
        Timestamp::new(u64::try_from(own).expect("clocks drift by less than time") + self.ahead_ns)
    }

    /// When the world's clock shows what the node's clock shows at `local`, or a little later.
    pub(crate) fn global(&self, local: Timestamp) -> Timestamp {
        let own = i128::from(local.get().saturating_sub(self.ahead_ns));
        let real = own * 1_000_000 / (1_000_000 + i128::from(self.drift_ppm)) + 2;
        Timestamp::new(u64::try_from(real).expect("a time is not negative"))
    }

    pub(crate) fn jump(&mut self, nanos: u64) {
        self.ahead_ns += nanos;
    }

    pub(crate) fn is_up(&self) -> bool {
        self.replica.is_some()
    }

    /// Starts the process from what the disk holds.
    pub(crate) fn start(&mut self, now: Timestamp, config: Config) {
        let mut runs: Vec<TermRun> = Vec::new();
        for entry in &self.disk.log {
            if runs.last().is_none_or(|run| run.term < entry.id.term) {
                runs.push(TermRun { term: entry.id.term, first: entry.id.index });
            }
        }
        let stamp = self.disk.log.iter().map(|entry| entry.stamp).max().unwrap_or_default();
        let configuration = |entry: &Entry| match &entry.payload {
            Payload::Configuration(configuration) => Some((entry.id.index, configuration.clone())),
            Payload::Noop | Payload::Command(_) => None,
        };
        let configurations = self.disk.log.iter().filter_map(configuration).collect();
        let none = (LogIndex::ZERO, Configuration::unknown());
        let restored = Restored {
            incarnation: incarnation(self.id),
            hard_state: self.disk.hard_state,
            log: LogView::restore(EntryId::ZERO, runs, self.disk.last().index)
                .expect("the disk's log is contiguous"),
            membership: Membership::restore(none, configurations).expect("ascending"),
            applied: self.flushed,
            stamp,
        };
        let raft = Raft::restore(self.id, config, restored, self.local(now))
            .expect("what was written can be restored");
        let limits = Limits { cache_bytes_max: 4_096, ..Limits::default() };
        self.replica = Some(Replica::new(raft, limits));
        self.memory.clone_from(&self.disk.log);
        self.applied = self.flushed;
        self.seen_commit = self.flushed;
        self.to_apply.clear();
        self.backlog.clear();
        self.paused = false;
        self.wake = None;
        self.life += 1;
    }

    /// Cuts the power.
    pub(crate) fn crash(&mut self, chance: &mut Chance) {
        self.replica = None;
        self.disk.crash(chance);
        self.backlog.clear();
        self.life += 1;
    }
}

/// The modelled nodes' data directories are never replaced.
pub(crate) fn incarnation(id: NodeId) -> Incarnation {
    Incarnation::new(1_000 + id.get())
}

/// Members with names and addresses that nobody looks at.
pub(crate) fn member(id: NodeId) -> Member {
    Member { incarnation: incarnation(id), name: format!("n{id}"), address: format!("n{id}:1") }
}
