//! What becomes of data directories: old copies take their place, the end of a log is lost though
//! it was durable, and entries are damaged where they lie; and what a node does about it at its
//! start.
//!
//! A node that has forgotten something is another one from then on: it draws a new incarnation. A
//! damaged entry that was durable is never cut off: the node stays down until a peer has given it
//! the same one again. If a quorum, with the node itself, has that entry no more, and the node's
//! directory is of no use, then the node begins anew.

use std::collections::BTreeSet;

use consensus::{EntryId, HardState, LogIndex, NodeId};

use crate::broken::Broken;
use crate::coverage::Met;
use crate::disk::Disk;
use crate::faults::{Fault, MS};
use crate::quorum::decides;
use crate::world::{Happening, World};

/// Of a thousand faults that make a node forget, so many strike: one run has few nodes.
const FORGETS: u64 = 300;

/// Of a thousand times that something rots, so many the record of a vote does as well.
const VOTES: u64 = 500;

/// The most entries that are lost from the end of a log.
const END_MAX: u64 = 20;

/// How long a node waits until it asks its peers again, at most.
const AGAIN_NS: u64 = 20 * MS;

impl World {
    /// Spoils a node's data directory, if the others can do without it.
    pub(crate) fn spoil(&mut self, node: usize, fault: Fault) {
        let sound = |at: usize| !self.nodes[at].wiped && self.nodes[at].disk.damaged.is_empty();
        let others: BTreeSet<usize> = (0..self.nodes.len()).filter(|at| *at != node).collect();
        if !(0..self.nodes.len()).all(sound) || !self.is_core(&others) {
            return;
        }
        match fault {
            Fault::RollBack => self.roll_back(node),
            Fault::LoseEnd if self.forgets(node) => {
                self.crash(node);
                let entries = self.rng.between(1, END_MAX);
                // A torn end was never promised: it is no loss, and nobody notices.
                self.nodes[node].disk.drop_torn_end();
                if self.nodes[node].disk.has_end() {
                    self.note_again(node);
                    self.nodes[node].forget();
                    self.nodes[node].disk.lose_end(entries);
                    self.coverage.meet(Met::EndLost);
                }
            }
            Fault::Rot | Fault::Misdirect => self.damage(node, fault),
            Fault::LoseEnd
            | Fault::Crash
            | Fault::CrashLeader
            | Fault::Figure37
            | Fault::CrashAll
            | Fault::Pause
            | Fault::Partition
            | Fault::IsolateLeader
            | Fault::OneWay
            | Fault::CutLink
            | Fault::Heal
            | Fault::Stall
            | Fault::ClockJump
            | Fault::Wipe => {}
        }
    }

    /// Who has come back from having forgotten does so again at the first occasion: hardly any seed
    /// has the time for that otherwise.
    fn forgets(&mut self, node: usize) -> bool {
        let again = !self.nodes[node].former.is_empty();
        self.rng.permille(if again { 1_000 } else { FORGETS })
    }

    fn note_again(&mut self, node: usize) {
        if !self.nodes[node].former.is_empty() {
            self.coverage.meet(Met::ForgetsAgain);
        }
    }

    /// The first time a copy is kept, the second time it takes the place of the directory.
    fn roll_back(&mut self, node: usize) {
        let Some(copy) = self.nodes[node].copy.take() else {
            self.nodes[node].copy = Some(Box::new(self.nodes[node].disk.copy()));
            return;
        };
        self.coverage.meet(Met::RolledBack);
        self.crash(node);
        self.note_again(node);
        self.nodes[node].forget();
        self.nodes[node].disk = *copy;
    }

    /// Damages an entry, and now and then the record of term and vote; or two entries where one was
    /// written to the place of another. Half of the nodes start soon and notice.
    fn damage(&mut self, node: usize, fault: Fault) {
        let disk = &mut self.nodes[node].disk;
        let (base, end) = (disk.log.base().index.get(), disk.tail.min(disk.log.last().index).get());
        if base == end {
            return;
        }
        let places = if fault == Fault::Misdirect { 2 } else { 1 };
        for _ in 0..places {
            disk.damaged.insert(LogIndex::new(self.rng.between(base + 1, end)));
        }
        let met = if places == 1 { Met::Rotten } else { Met::Misdirected };
        self.coverage.meet(met);
        if self.rng.permille(500) {
            self.crash(node);
        }
        if fault == Fault::Rot && self.rng.permille(VOTES) {
            self.coverage.meet(Met::VoteRotten);
            self.nodes[node].disk.rot_vote(&mut self.rng);
        }
    }

    /// A node looks over its directory before it starts; says whether it may.
    pub(crate) fn is_looked_over(&mut self, node: usize) -> Result<bool, Broken> {
        let disk = &mut self.nodes[node].disk;
        if disk.drop_torn_end() {
            self.coverage.meet(Met::TornEndDropped);
        }
        let disk = &mut self.nodes[node].disk;
        let forgot = disk.copied || disk.log.last().index < disk.tail;
        if forgot {
            self.would_be_recognised(node)?;
        }
        let disk = &mut self.nodes[node].disk;
        if disk.copied {
            self.coverage.meet(Met::CopyNoticed);
            disk.copied = false;
            self.nodes[node].begin_anew(None);
        } else if disk.log.last().index < disk.tail {
            self.coverage.meet(Met::LostEndNoticed);
            disk.tail = disk.log.last().index;
            // A log that ends before the state is of no use to it.
            let useless = disk.tail < disk.flushed;
            let empty = || Disk::new(Vec::new(), HardState::default());
            self.nodes[node].begin_anew(useless.then(empty));
        }
        if self.nodes[node].disk.damaged.is_empty() {
            return Ok(true);
        }
        self.mend(node);
        let (life, later) = (self.nodes[node].life, self.rng.between(MS, AGAIN_NS));
        self.after(later, Happening::Start { node, life });
        Ok(false)
    }

    /// Says whether the healed core has all that is damaged on a node's disk.
    pub(crate) fn can_be_mended(&self, node: usize) -> bool {
        let disk = &self.nodes[node].disk;
        disk.damaged.iter().all(|index| {
            self.core.iter().any(|peer| {
                let other = &self.nodes[*peer].disk;
                other.log.get(*index) == disk.log.get(*index) && !other.damaged.contains(index)
            })
        })
    }

    /// Asks the peers in reach for what is damaged.
    fn mend(&mut self, node: usize) {
        let peers: Vec<usize> =
            (0..self.nodes.len()).filter(|at| self.reaches(node, *at)).collect();
        for index in self.nodes[node].disk.damaged.clone() {
            let id = self.nodes[node].disk.log.id(index).expect("what is damaged is in the log");
            let has = |at: &&usize| {
                let disk = &self.nodes[**at].disk;
                disk.log.id(index) == Some(id) && !disk.damaged.contains(&index)
            };
            if peers.iter().any(|at| has(&at)) {
                self.coverage.meet(Met::EntryMended);
                self.nodes[node].disk.damaged.remove(&index);
            } else if self.is_gone(node, id, &peers) {
                self.coverage.meet(Met::EntryGone);
                let empty = Disk::new(Vec::new(), HardState::default());
                return self.nodes[node].begin_anew(Some(empty));
            } else {
                self.coverage.meet(Met::EntryAwaited);
            }
        }
    }

    pub(crate) fn reaches(&self, node: usize, peer: usize) -> bool {
        let (one, other) = (&self.nodes[node], &self.nodes[peer]);
        let cut = |from: NodeId, to: NodeId| self.cut.contains(&(from, to));
        let talks = other.is_up() && !other.paused;
        node != peer && talks && !cut(one.id, other.id) && !cut(other.id, one.id)
    }

    /// Says whether a quorum, with the node itself, has an entry no more, damaged or not.
    fn is_gone(&self, node: usize, id: EntryId, peers: &[usize]) -> bool {
        let lacks = |voter: NodeId| {
            let at = self.nodes.iter().position(|node| node.id == voter);
            let lacks = |at: usize| {
                at == node
                    || peers.contains(&at) && self.nodes[at].disk.log.id(id.index) != Some(id)
            };
            at.is_some_and(lacks)
        };
        let configuration = self.nodes[node].disk.log.configuration().1;
        configuration.is_some_and(|known| decides(known.voters(), lacks))
    }
}
