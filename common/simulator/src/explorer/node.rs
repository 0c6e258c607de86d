//! A node of an explored state: the core, its log and disk, and how it starts again.

use std::collections::VecDeque;

use consensus::{
    ClusterTime, Config, Configuration, Entry, EntryId, HardState, LogIndex, LogView, Membership,
    Mutation, Payload, Raft, Restored, TermRun, Timestamp, Write,
};

use super::world::{id, incarnation, place};

/// Longer than any timeout of [`config`], in nanoseconds.
pub(super) const PASSES_NS: u64 = 100;

#[derive(Clone)]
pub(super) struct Node {
    pub raft: Raft,
    /// The state's identity, as [`super::key`] made it of this node last.
    pub key: Option<u64>,
    pub now: Timestamp,
    pub hard_state: HardState,
    /// What is on the disk; index 1 is at place 0.
    pub disk: Vec<Entry>,
    /// The log as the replica has it.
    pub memory: Vec<Entry>,
    pub writes: VecDeque<Write>,
}

impl Node {
    pub(super) fn pass(&mut self) {
        self.now = self.now.after(PASSES_NS);
    }

    pub(super) fn persist(&mut self) -> Option<consensus::WriteId> {
        let write = self.writes.pop_front()?;
        if let Some(hard_state) = write.hard_state {
            self.hard_state = hard_state;
        }
        follow(&mut self.disk, &write);
        Some(write.id)
    }

    pub(super) fn crash(&mut self, at: usize, kept: usize, config: &Config) {
        for _ in 0..kept {
            self.persist();
        }
        self.writes.clear();
        self.memory.clone_from(&self.disk);
        self.raft = restore(at, &self.disk, self.hard_state, self.now, config);
    }

    /// Says whether this very entry is on the disk.
    pub(super) fn holds(&self, id: EntryId) -> bool {
        self.disk.get(place(id.index)).is_some_and(|entry| entry.id == id)
    }
}

pub(super) fn follow(log: &mut Vec<Entry>, write: &Write) {
    if let Some(from) = write.truncate_from {
        log.truncate(place(from));
    }
    log.extend(write.append.iter().cloned());
}

pub(super) fn restore(
    at: usize,
    log: &[Entry],
    hard_state: HardState,
    now: Timestamp,
    config: &Config,
) -> Raft {
    let mut runs: Vec<TermRun> = Vec::new();
    let mut in_log = Vec::new();
    for entry in log {
        if runs.last().is_none_or(|run| run.term < entry.id.term) {
            runs.push(TermRun { term: entry.id.term, first: entry.id.index });
        }
        if let Payload::Configuration(configuration) = &entry.payload {
            in_log.push((entry.id.index, configuration.clone()));
        }
    }
    let last = LogIndex::new(log.len() as u64);
    let base = (LogIndex::ZERO, Configuration::unknown());
    let disk = Restored {
        incarnation: incarnation(at),
        hard_state,
        log: LogView::restore(EntryId::ZERO, runs, last).expect("the log is in order"),
        membership: Membership::restore(base, in_log).expect("in order"),
        applied: LogIndex::ZERO,
        stamp: ClusterTime::ZERO,
    };
    Raft::restore(id(at), config.clone(), disk, now).expect("the disk's parts agree")
}

/// One choice for every draw, and timeouts that are always due.
pub(super) fn config(mutation: Option<Mutation>) -> Config {
    let mut config = Config::new(1);
    config.heartbeat_ns = 1;
    config.election_timeout_ns = 2..3;
    config.chaos.mutation = mutation;
    config
}
