//! What a node remembers of others, as the daemon does, and what its process knows of them besides:
//! by that it is told whether the rule of `protocol` which recognises an old copy of a directory
//! judges as it must.

use std::collections::{BTreeMap, BTreeSet};

use consensus::Verdict;
use consensus::{Body, EntryId, HardState, Incarnation, LogIndex, Message, NodeId, Raft, Term};
use protocol::{Memory, Promises, Remembered};

use crate::disk::Disk;

/// What a node remembers of others, and whom its process has met.
#[derive(Debug, Default)]
pub(crate) struct Acquaintances {
    pub(crate) memory: Memory,
    /// What its disk held when it started.
    pub(crate) promises: Promises,
    pub(crate) boot: u64,
    /// The starts of the directories that it has met.
    pub(crate) met: BTreeMap<(NodeId, Incarnation), u64>,
    /// The last terms in which they have voted for this process's node or, as it led, acknowledged
    /// something to it.
    pub(crate) terms: BTreeMap<(NodeId, Incarnation), Term>,
    /// What they have acknowledged to it, and in which term.
    pub(crate) acknowledged: BTreeMap<(NodeId, Incarnation), (Term, LogIndex)>,
    /// The last terms in which they have voted for it.
    pub(crate) votes: BTreeMap<(NodeId, Incarnation), Term>,
    /// The processes that it has met.
    pub(crate) processes: BTreeSet<(NodeId, u64)>,
    /// Nodes of whose present process it has a message, though it has not met it: a network would
    /// not bring that, and what it promises is not noted.
    pub(crate) strangers: BTreeSet<NodeId>,
    /// How much news each process has told.
    pub(crate) told: BTreeMap<(NodeId, u64), u64>,
}

impl Acquaintances {
    /// A process starts, and counts that on its disk.
    pub(crate) fn start(disk: &mut Disk, boot: u64) -> Self {
        disk.starts += 1;
        let mut memory = Memory::default();
        memory.recall(disk.remembered.iter().copied());
        Self { memory, promises: promises(disk), boot, ..Self::default() }
    }

    /// Notes what a message promises.
    pub(crate) fn note(
        &mut self,
        (from, incarnation): (NodeId, Incarnation),
        message: &Message,
        raft: &Raft,
    ) {
        if self.strangers.contains(&from) {
            return;
        }
        let votes = Body::Vote { candidate: raft.incarnation(), verdict: Verdict::Granted };
        let matched = if let Body::Appended { matched, .. } = message.body {
            Some(matched).filter(|_| raft.leads())
        } else {
            None
        };
        if (message.body == votes || matched.is_some())
            && self.met.contains_key(&(from, incarnation))
        {
            let term = self.terms.entry((from, incarnation)).or_default();
            *term = message.term.max(*term);
            if message.body == votes {
                // One that arrives late says nothing of the terms since.
                let voted = self.votes.entry((from, incarnation)).or_default();
                *voted = message.term.max(*voted);
            }
            if let Some(matched) = matched.filter(|_| message.term == raft.term()) {
                let known = self.acknowledged.entry((from, incarnation)).or_default();
                *known = (message.term, matched).max(*known);
            }
        }
        let leads = Some(raft.term()).filter(|_| raft.leads());
        let at = (raft.incarnation(), leads, raft.commit());
        self.memory.note((from, incarnation), message, at);
    }

    /// Says how much of its own log the node keeps.
    pub(crate) fn keep(&mut self, raft: &Raft) {
        self.memory.keep(Remembered {
            node: raft.id(),
            incarnation: raft.incarnation(),
            starts: self.promises.starts,
            boot: self.boot,
            term: Term::ZERO,
            voted: None,
            acknowledged: EntryId::ZERO,
            kept: raft.durable().min(raft.commit()),
        });
    }

    /// Returns all that is remembered, for the disk.
    pub(crate) fn all(&self) -> Vec<Remembered> {
        self.memory.all()
    }
}

/// What a disk says of what was promised with it.
pub(crate) fn promises(disk: &Disk) -> Promises {
    let last = disk.log.last().index;
    let HardState { term, vote } = disk.hard_state;
    Promises { starts: disk.starts, term, vote, last }
}
