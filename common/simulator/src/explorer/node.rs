//! A node of an explored state: the core, its log and disk, and how it starts again.

use std::collections::VecDeque;

use consensus::{ClusterTime, Config, HardState, Raft, Restored, Timestamp, Write};

use super::members::{id, incarnation};
use crate::log::Log;

/// Longer than any timeout of [`config`], in nanoseconds.
pub(super) const PASSES_NS: u64 = 100;

#[derive(Clone)]
pub(super) struct Node {
    pub raft: Raft,
    /// The state's identity, as [`super::key`] made it of this node last.
    pub key: Option<u64>,
    pub now: Timestamp,
    pub hard_state: HardState,
    /// The log on the disk, which begins behind what the state covers.
    pub disk: Log,
    /// The log as the replica has it.
    pub memory: Log,
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
        self.disk.follow(&write);
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
}

pub(super) fn restore(
    at: usize,
    log: &Log,
    hard_state: HardState,
    now: Timestamp,
    config: &Config,
) -> Raft {
    let disk = Restored {
        incarnation: incarnation(at),
        hard_state,
        log: log.view().expect("the log is in order"),
        membership: log.membership().expect("in order"),
        applied: log.base().index,
        stamp: ClusterTime::ZERO,
    };
    Raft::restore(id(at), config.clone(), disk, now).expect("the disk's parts agree")
}

/// One choice for every draw, and timeouts that are always due.
pub(super) fn config() -> Config {
    let mut config = Config::new(1);
    config.heartbeat_ns = 1;
    config.election_timeout_ns = 2..3;
    config
}
