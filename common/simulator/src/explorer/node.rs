//! A node of an explored state: the core, its log and disk, and how it starts again.

use std::collections::VecDeque;

use consensus::{ClusterTime, Config, HardState, Incarnation, Raft, Restored, Timestamp, Write};

use super::members::id;
use crate::log::Log;

/// Longer than any timeout of [`config`], in nanoseconds.
pub(super) const PASSES_NS: u64 = 100;

/// What a disk holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Disk {
    pub hard_state: HardState,
    /// The log, which begins behind what the state covers.
    pub log: Log,
}

#[derive(Clone)]
pub(super) struct Node {
    pub raft: Raft,
    /// The data directory.
    pub incarnation: Incarnation,
    /// The state's identity, as [`super::key`] made it of this node last.
    pub key: Option<u64>,
    pub now: Timestamp,
    pub hard_state: HardState,
    /// The log on the disk, which begins behind what the state covers.
    pub disk: Log,
    /// The log as the replica has it.
    pub memory: Log,
    pub writes: VecDeque<Write>,
    /// What the disk held before, the latest last, as far as it may come back.
    pub past: Vec<Disk>,
    /// Whether disks may come back as they were before.
    pub keeps_past: bool,
}

impl Node {
    pub(super) fn pass(&mut self) {
        self.now = self.now.after(PASSES_NS);
    }

    pub(super) fn persist(&mut self) -> Option<consensus::WriteId> {
        let write = self.writes.pop_front()?;
        if self.keeps_past {
            let log = self.disk.clone();
            self.past.push(Disk { hard_state: self.hard_state, log });
        }
        if let Some(hard_state) = write.hard_state {
            self.hard_state = hard_state;
        }
        self.disk.follow(&write);
        Some(write.id)
    }

    pub(super) fn crash(&mut self, at: usize, kept: usize, config: &Config) {
        for _ in 0..kept {
            self.persist();
        }
        self.start(at, config);
    }

    /// Starts from what the disk held `back` writes ago.
    pub(super) fn roll_back(&mut self, at: usize, back: usize, config: &Config) {
        let place = self.past.len() - back;
        let Disk { hard_state, log } = self.past[place].clone();
        self.past.truncate(place);
        (self.hard_state, self.disk) = (hard_state, log);
        self.start(at, config);
    }

    fn start(&mut self, at: usize, config: &Config) {
        self.writes.clear();
        self.memory.clone_from(&self.disk);
        let (incarnation, hard_state) = (self.incarnation, self.hard_state);
        self.raft = restore(at, incarnation, &self.disk, hard_state, self.now, config);
    }
}

pub(super) fn restore(
    at: usize,
    incarnation: Incarnation,
    log: &Log,
    hard_state: HardState,
    now: Timestamp,
    config: &Config,
) -> Raft {
    let disk = Restored {
        incarnation,
        hard_state,
        log: log.view().expect("the log is in order"),
        membership: log.membership().expect("in order"),
        applied: log.base().index,
        stamp: ClusterTime::ZERO,
    };
    Raft::restore(id(at), config.clone(), disk, now).expect("the disk's parts agree")
}

/// One choice for every draw, and timeouts that are always due; but what a voter has shown of
/// itself in the step before still counts.
pub(super) fn config() -> Config {
    let mut config = Config::new(1);
    config.heartbeat_ns = 1;
    config.election_timeout_ns = 51..52;
    config
}
