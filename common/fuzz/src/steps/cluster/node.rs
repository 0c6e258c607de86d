//! A core, its log and its disk.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use consensus::{
    Actions, ClusterTime, Config, Configuration, Entry, EntryId, HardState, Incarnation, Input,
    LogIndex, LogView, Majority, Member, Membership, NodeId, Outgoing, Payload, Raft, Restored,
    SnapshotMeta, Term, TermRun, Timestamp, Voters, Write,
};

/// How many nodes found the cluster.
pub(super) const NODES: u64 = 3;

/// Longer than any timeout.
const PASSES_NS: u64 = 100;

pub(super) fn id(number: u64) -> NodeId {
    NodeId::new(number).expect("ids begin at 1")
}

pub(super) fn incarnation(node: u64) -> Incarnation {
    Incarnation::new(100 + node)
}

/// Returns a configuration of these members; without a voter, that of the first cluster.
pub(super) fn configuration(voters: &[u64], learners: &[u64]) -> Configuration {
    let member = |number: &u64| {
        let (name, address) = (format!("n{number}"), format!("n{number}:7400"));
        (id(*number), Member { incarnation: incarnation(*number), name, address })
    };
    let members: BTreeMap<NodeId, Member> = voters.iter().chain(learners).map(member).collect();
    let majority = Majority::new(voters.iter().map(|number| id(*number)));
    let learners = learners.iter().map(|number| id(*number)).collect();
    Configuration::new(Voters::Stable(majority), learners, members)
        .unwrap_or_else(|_| configuration(&[1, 2, 3], &[]))
}

/// A log behind what was compacted.
#[derive(Clone, Default)]
struct Log {
    base: Option<SnapshotMeta>,
    entries: Vec<Entry>,
}

impl Log {
    fn base(&self) -> EntryId {
        self.base.as_ref().map_or(EntryId::ZERO, |meta| meta.last)
    }

    fn last(&self) -> EntryId {
        self.entries.last().map_or(self.base(), |entry| entry.id)
    }

    fn place(&self, index: LogIndex) -> Option<usize> {
        usize::try_from(index.get().checked_sub(self.base().index.get() + 1)?).ok()
    }

    fn follow(&mut self, write: &Write) {
        if let Some(place) = write.truncate_from.and_then(|from| self.place(from)) {
            self.entries.truncate(place);
        }
        if let Some(meta) = &write.compact_to {
            let place = self.place(meta.last.index);
            let holds = place.and_then(|place| self.entries.get(place)).map(|entry| entry.id);
            match place {
                Some(place) if holds == Some(meta.last) => drop(self.entries.drain(..=place)),
                Some(_) | None => self.entries.clear(),
            }
            self.base = Some(meta.clone());
        }
        self.entries.extend(write.append.iter().cloned());
    }

    fn view(&self) -> LogView {
        let mut runs: Vec<TermRun> = Vec::new();
        for entry in &self.entries {
            if runs.last().is_none_or(|run| run.term < entry.id.term) {
                runs.push(TermRun { term: entry.id.term, first: entry.id.index });
            }
        }
        LogView::restore(self.base(), runs, self.last().index).expect("the log is in order")
    }

    fn membership(&self) -> Membership {
        let in_log = |entry: &Entry| match &entry.payload {
            Payload::Configuration(configuration) => Some((entry.id.index, configuration.clone())),
            Payload::Noop | Payload::Command(_) => None,
        };
        let base = self.base.as_ref();
        let base = base.map_or((LogIndex::ZERO, Configuration::unknown()), |meta| {
            (meta.configuration_index, meta.configuration.clone())
        });
        let found = Membership::restore(base, self.entries.iter().filter_map(in_log).collect());
        found.expect("configurations stand in order")
    }
}

pub(super) struct Node {
    number: u64,
    pub(super) raft: Raft,
    now: Timestamp,
    hard_state: HardState,
    disk: Log,
    /// The log as the core has it.
    memory: Log,
    writes: VecDeque<Write>,
    apply: LogIndex,
}

impl Node {
    /// Makes a node of a cluster that was just founded.
    pub(super) fn new(number: u64) -> Self {
        let id = EntryId { term: Term::new(1), index: LogIndex::new(1) };
        let payload = Payload::Configuration(configuration(&[1, 2, 3], &[]));
        let first = Entry::new(id, ClusterTime::ZERO, payload);
        let disk = Log { base: None, entries: vec![first] };
        let hard_state = HardState { term: Term::new(1), vote: None };
        let now = Timestamp::ZERO;
        let raft = restore(number, &disk, hard_state, now);
        let (memory, writes) = (disk.clone(), VecDeque::new());
        Self { number, raft, now, hard_state, disk, memory, writes, apply: LogIndex::ZERO }
    }

    pub(super) fn step(&mut self, input: Input) -> Actions {
        self.raft.step(self.now, input);
        let actions = self.raft.drain(self.now);
        self.raft.check_state();
        actions
    }

    /// Takes what the disk and the state machine are to do, and returns the rest.
    pub(super) fn follow(&mut self, actions: Actions) -> Vec<Outgoing> {
        if let Some(write) = actions.write {
            self.memory.follow(&write);
            self.writes.push_back(write);
        }
        if let Some(meta) = actions.install {
            self.apply = self.apply.max(meta.last.index);
        }
        if let Some(range) = actions.apply {
            self.apply = self.apply.max(*range.end());
        }
        actions.send
    }

    pub(super) fn entries(&self, range: Range<LogIndex>) -> Option<Vec<Entry>> {
        let (first, end) = (self.memory.place(range.start)?, self.memory.place(range.end)?);
        Some(self.memory.entries.get(first..end)?.to_vec())
    }

    /// Time passes, and the next deadline with it.
    pub(super) fn timeout(&mut self) -> Option<Input> {
        self.now = self.now.after(PASSES_NS);
        self.raft.deadline().map(|(_, timer)| Input::Timeout(timer))
    }

    pub(super) fn persisted(&mut self) -> Option<Input> {
        let write = self.persist()?;
        Some(Input::Persisted { write: write.id })
    }

    pub(super) fn applied(&mut self) -> Option<Input> {
        (self.apply > self.raft.applied()).then_some(Input::Applied { index: self.apply })
    }

    /// The state machine's state is durable as far as it is applied.
    pub(super) fn compacted(&mut self) -> Option<Input> {
        let applied = self.raft.applied();
        let meta = (applied > self.raft.base().index).then(|| self.raft.snapshot_meta(applied));
        Some(Input::SnapshotTaken { meta: meta?? })
    }

    /// Ends and starts again; so many of the writes on their way still reach the disk.
    pub(super) fn crash(&mut self, kept: usize) {
        for _ in 0..kept {
            self.persist();
        }
        self.writes.clear();
        self.memory = self.disk.clone();
        self.apply = self.disk.base().index;
        self.raft = restore(self.number, &self.disk, self.hard_state, self.now);
    }

    fn persist(&mut self) -> Option<Write> {
        let write = self.writes.pop_front()?;
        if let Some(hard_state) = write.hard_state {
            self.hard_state = hard_state;
        }
        self.disk.follow(&write);
        Some(write)
    }
}

fn restore(number: u64, disk: &Log, hard_state: HardState, now: Timestamp) -> Raft {
    let mut config = Config::new(number);
    config.heartbeat_ns = 1;
    config.election_timeout_ns = 2..3;
    let restored = Restored {
        incarnation: incarnation(number),
        hard_state,
        log: disk.view(),
        membership: disk.membership(),
        applied: disk.base().index,
        stamp: ClusterTime::ZERO,
    };
    Raft::restore(id(number), config, restored, now).expect("the disk's parts agree")
}
