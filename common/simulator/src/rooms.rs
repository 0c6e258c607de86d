//! How much room there is on the disks of a seed, and what nodes are told of it.
//!
//! They draw from a generator of their own, so that a seed without them runs as if there were none.

use std::collections::BTreeSet;

use bytes::Bytes;
use consensus::{Configuration, NodeId, Timestamp};
use replica::{Purpose, Space};
use state_machine::{Envelope, EnvelopeKind};

use crate::machine::{self, Numbered};
use crate::rng::Rng;

/// Of a thousand seeds, disks fill up in so many.
const SEEDS: u64 = 200;

/// What a node needs in hand, and what it needs to go on; bytes.
pub(crate) const NEEDED: u64 = 1_000_000;
pub(crate) const LEAST: u64 = 100_000;

/// How full a disk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fill {
    /// There is room, plenty or little.
    Room,
    /// A leader refuses what adds data.
    Short,
    /// Nothing is taken.
    End,
}

/// The disks of a seed.
#[derive(Debug)]
pub(crate) struct Rooms {
    pub(crate) rng: Rng,
    /// Whether they fill up at all.
    pub(crate) fill_up: bool,
    /// How full each node's is.
    pub(crate) fill: Vec<Fill>,
    /// How many alarms leaders have proposed, and how many commands they refused for others' disks.
    pub(crate) alarms: u64,
    pub(crate) refused_for_others: u64,
}

/// What a replica knows of its disk.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    pub(crate) space: Option<Space>,
    /// Since when there is room, by the node's clock.
    pub(crate) since: Option<Timestamp>,
    /// The most bytes of commands that can have been on their way to the disk in this turn.
    pub(crate) under_way: usize,
    /// It was told in this very turn, before or behind what was decided by it.
    pub(crate) told_now: bool,
    /// The members with an alarm, as it was told before this turn.
    pub(crate) alarmed: BTreeSet<NodeId>,
    /// The configuration in force then.
    pub(crate) configuration: Option<Configuration>,
}

impl Told {
    /// Returns what the commands under way take at most: each is written twice.
    pub(crate) fn most(&self) -> u64 {
        2 * self.under_way as u64
    }
}

impl Rooms {
    pub(crate) fn draw(seed: u64, nodes: usize) -> Self {
        let mut rng = Rng::new(seed ^ 0x0d15_c5f1_11ed_0b0e);
        let fill_up = rng.permille(SEEDS);
        let fill = vec![Fill::Room; nodes];
        Self { rng, fill_up, fill, alarms: 0, refused_for_others: 0 }
    }

    /// Measures a disk.
    pub(crate) fn measure(&mut self, node: usize) -> Space {
        let usable_bytes = match self.fill[node] {
            Fill::Room => self.rng.between(NEEDED * 5 / 4, 10 * NEEDED),
            Fill::Short => self.rng.between(LEAST * 5 / 4, NEEDED - 1),
            Fill::End => self.rng.between(0, LEAST - 1),
        };
        Space { usable_bytes, needed_bytes: NEEDED, least_bytes: LEAST }
    }

    /// Returns what a client's command is good for, as the daemon finds out: by asking its machine.
    /// Where there is room for all, nothing depends on it, and what was meant is good enough.
    pub(crate) fn purpose(&self, command: &Bytes) -> Purpose {
        let frees = match self.fill_up {
            true => frees(command, |body| Numbered::frees(body)),
            false => frees_space(command),
        };
        if frees { Purpose::Frees } else { Purpose::Data }
    }

    /// Draws how full a disk is from now on.
    pub(crate) fn redraw(&mut self) -> Fill {
        match self.rng.index(10) {
            0..=5 => Fill::Room,
            6 | 7 => Fill::Short,
            _ => Fill::End,
        }
    }
}

/// Says whether a command frees space, by what was meant by it.
pub(crate) fn frees_space(command: &Bytes) -> bool {
    frees(command, |body| Numbered::request(body).is_some_and(machine::frees))
}

fn frees(command: &Bytes, of_machine: impl Fn(&Bytes) -> bool) -> bool {
    Envelope::decode(command).is_ok_and(|envelope| match envelope.kind {
        EnvelopeKind::System => true,
        EnvelopeKind::Machine => of_machine(&envelope.body),
    })
}
