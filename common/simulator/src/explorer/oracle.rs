//! Sees all nodes and disks of an explored state, and says which promise of Raft is broken.

use std::collections::BTreeMap;
use std::sync::Arc;

use consensus::{
    Body, EntryId, Incarnation, LogIndex, Message, NodeId, Raft, Reply, RequestId, RoleKind,
    SnapshotMeta, Term, Verdict, Vote,
};

use super::action::Letter;
use super::members::place_of;
use super::node::Node;
use crate::log::Log;
use crate::quorum::decides;

/// Says whether a log holds an entry, which is committed if the log begins behind it.
fn held(log: &Log, id: EntryId) -> bool {
    id.index < log.base().index || log.id(id.index) == Some(id)
}

/// Returns the place of an index in a vector that begins at index 1.
fn place(index: LogIndex) -> usize {
    usize::try_from(index.get() - 1).expect("a log fits into memory")
}

/// What was ever true on the way to this state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Oracle {
    /// Index 1 at place 0: what is committed, and in which term that was first known.
    committed: Vec<(EntryId, Term)>,
    /// Who leads a term; `None` if that node has lost its power since.
    leaders: BTreeMap<Term, Option<usize>>,
    /// By data directory: another one has promised nothing.
    votes: BTreeMap<(Incarnation, Term), Vote>,
    /// How far each node was known to have committed in this life.
    seen: BTreeMap<usize, LogIndex>,
    /// How far a leader of a term knew each data directory to agree.
    matched: BTreeMap<(Term, Incarnation), LogIndex>,
    /// What data directories held that have come back as they were before: nobody uses them any
    /// more, so that what they acknowledged still counts.
    gone: BTreeMap<Incarnation, Log>,
    /// Whether `matched` is not looked at: it multiplies the states that are told apart.
    ignores_matches: bool,
    /// Reads, each with what was committed when it was asked.
    reads: BTreeMap<RequestId, usize>,
}

impl Oracle {
    pub(super) fn ignore_matches(&mut self) {
        self.ignores_matches = true;
        self.matched.clear();
    }

    /// Says how many entries are committed.
    pub(super) fn committed(&self) -> usize {
        self.committed.len()
    }

    /// A node lost its power: it knows again only what its disk holds.
    pub(super) fn forget(&mut self, at: usize) {
        self.seen.remove(&at);
        for leader in self.leaders.values_mut().filter(|leader| **leader == Some(at)) {
            *leader = None;
        }
    }

    /// A node goes on from an old copy of its disk, as another one.
    pub(super) fn is_gone(&mut self, before: Incarnation, disk: &Log) {
        self.gone.insert(before, disk.clone());
    }

    pub(super) fn asked(&mut self, request: RequestId) {
        self.reads.insert(request, self.committed.len());
    }

    /// A node answers what it was asked.
    pub(super) fn answers(&mut self, before: &Raft, reply: &Reply) -> Result<(), String> {
        match reply {
            Reply::ReadAt { request, index, .. } => self.served(*request, *index),
            Reply::Appended { range, .. } if before.is_transferring() => {
                let what = "who hands over takes no writes (§3.10)";
                Err(format!("{what}: one is appended at {}", range.start))
            }
            Reply::Rejected { request, .. } => {
                self.reads.remove(request);
                Ok(())
            }
            Reply::Appended { .. } | Reply::Done { .. } | Reply::Undecided { .. } => Ok(()),
        }
    }

    /// A read may be served at `index`: it sees all that was committed before it was asked (§6.4).
    fn served(&mut self, request: RequestId, index: LogIndex) -> Result<(), String> {
        let floor = self.reads.remove(&request).unwrap_or(0);
        if index.get() >= floor as u64 {
            return Ok(());
        }
        Err(format!("reads are not stale (§6.4): {floor} was committed, served at {index}"))
    }

    /// Looks at a node after a step.
    pub(super) fn look(&mut self, nodes: &[Arc<Node>], at: usize) -> Result<(), String> {
        let status = nodes[at].raft.status();
        let leaving = nodes[at].memory.configuration_before(status.configuration_index).1;
        let known = |id: NodeId| {
            let member = status.configuration.member(id);
            let member = member.or_else(|| leaving.and_then(|before| before.member(id)));
            member.map_or(Incarnation::new(0), |member| member.incarnation)
        };
        if status.role == RoleKind::Leader {
            // A member that was removed and comes again begins anew.
            let feeds = |of: &Incarnation| status.peers.iter().any(|peer| known(peer.id) == *of);
            self.matched.retain(|(term, of), _| *term != status.term || feeds(of));
            self.leads(&nodes[at], at, status.term)?;
        }
        for peer in status.peers.iter().filter(|_| !self.ignores_matches) {
            let before = self.matched.entry((status.term, known(peer.id))).or_default();
            if peer.matched < *before {
                let (what, id) = ("match never moves back (§3.5)", peer.id);
                return Err(format!("{what}: that of {id} from {before} to {}", peer.matched));
            }
            *before = peer.matched;
        }
        if nodes[at].memory.configuration().0 != status.configuration_index {
            let what = "the configuration in force is the log's latest (§4.1)";
            let index = status.configuration_index;
            return Err(format!("{what}: node {} goes by that of {index}", at + 1));
        }
        let seen = self.seen.get(&at).copied().unwrap_or(LogIndex::ZERO);
        if status.commit > seen {
            let leads = status.role == RoleKind::Leader;
            let own = nodes[at].raft.term_at(status.commit) == Some(status.term);
            // What the log begins behind is committed: that was looked at when it was compacted.
            let seen = seen.max(nodes[at].memory.base().index);
            if leads && !own {
                let what = "a leader counts entries of its own term only (§3.6.2)";
                return Err(format!("{what}: node {} commits {}", at + 1, status.commit));
            }
            for index in seen.get() + 1..=status.commit.get() {
                self.commits(nodes, at, LogIndex::new(index), status.term)?;
            }
            self.seen.insert(at, status.commit);
        }
        Ok(())
    }

    fn leads(&mut self, node: &Node, at: usize, term: Term) -> Result<(), String> {
        match self.leaders.insert(term, Some(at)) {
            None => self.is_elected(node, at, term)?,
            Some(first) if first == Some(at) => {}
            Some(_) => {
                let what = "one leader a term (§3.4)";
                return Err(format!("{what}: node {} leads {term} too", at + 1));
            }
        }
        let due = self.committed.iter().rev().find(|(_, known)| *known < term);
        if let Some((id, _)) = due.filter(|(id, _)| !held(&node.memory, *id)) {
            let what = "leaders have all that is committed (§3.6)";
            return Err(format!("{what}: node {} leads {term} without {id}", at + 1));
        }
        Ok(())
    }

    /// Who wins an election votes itself, or may until its removal is committed; or it learns, and
    /// has heard of no leader for long: here, much time passes at once. A quorum has voted for it,
    /// each with the data directory that it knows, and its own vote is on its disk.
    fn is_elected(&self, node: &Node, at: usize, term: Term) -> Result<(), String> {
        let status = node.raft.status();
        let vote = Vote { candidate: status.id, incarnation: node.incarnation };
        let own = node.hard_state.term == term && node.hard_state.vote == Some(vote);
        let voted = |voter: NodeId| match status.configuration.member(voter) {
            _ if voter == status.id => own,
            Some(member) => self.votes.get(&(member.incarnation, term)) == Some(&vote),
            None => false,
        };
        if !decides(status.configuration.voters(), voted) {
            let what = "leaders have the votes of a quorum (§3.4)";
            return Err(format!("{what}: node {} leads {term} without them", at + 1));
        }
        let before = node.memory.configuration_before(status.configuration_index).1;
        let leaving = status.configuration_index > status.commit
            && before.is_some_and(|before| before.is_voter(status.id));
        if status.configuration.member(status.id).is_some() || leaving {
            return Ok(());
        }
        Err(format!("only members lead (§4.2.2): node {} leads {term}", at + 1))
    }

    fn commits(
        &mut self,
        nodes: &[Arc<Node>],
        at: usize,
        index: LogIndex,
        term: Term,
    ) -> Result<(), String> {
        let id = nodes[at].memory.id(index).ok_or("only what is in the log is committed")?;
        match self.committed.get(place(index)) {
            Some((known, _)) if *known == id => Ok(()),
            Some((known, _)) => {
                let what = "committed entries stay (§3.6)";
                Err(format!("{what}: {known} is committed, node {} commits {id}", at + 1))
            }
            None => {
                self.committed.push((id, term));
                let configuration = nodes[at].raft.status().configuration.clone();
                let voters = configuration.voters();
                let holds = |voter: NodeId| {
                    let Some(member) = configuration.member(voter) else {
                        return false;
                    };
                    let recorded = member.incarnation;
                    let node = nodes.get(place_of(voter));
                    let present = node.filter(|node| node.incarnation == recorded);
                    let disk = present.map(|node| &node.disk).or(self.gone.get(&recorded));
                    disk.is_some_and(|disk| held(disk, id))
                };
                if decides(voters, holds) {
                    return Ok(());
                }
                let what = "committed is durable on a quorum (§3.6)";
                Err(format!("{what}: {id} is not on the disks of a quorum of {voters:?}"))
            }
        }
    }

    /// What is committed at an index, as far as anybody has seen it.
    fn committed_at(&self, index: LogIndex) -> Option<EntryId> {
        let at = usize::try_from(index.get()).ok()?.checked_sub(1)?;
        self.committed.get(at).map(|(id, _)| *id)
    }

    /// A snapshot ends with what is committed there, and says so.
    pub(super) fn is_named(&self, meta: &SnapshotMeta) -> Result<(), String> {
        match self.committed_at(meta.last.index) {
            Some(id) if id == meta.last => Ok(()),
            Some(_) | None => {
                let what = "a snapshot names its last entry, which is committed (§5.1)";
                Err(format!("{what}: one ends with {}", meta.last))
            }
        }
    }

    /// A message leaves a node: what it promises must be on that node's disk (§3.8).
    pub(super) fn says(&mut self, node: &Node, letter: &Letter) -> Result<(), String> {
        let Message { term, body } = &letter.message;
        let disk = node.hard_state;
        let kept = match body {
            Body::Vote { candidate: incarnation, verdict: Verdict::Granted } => {
                let candidate = NodeId::new(letter.to as u64 + 1).expect("not 0");
                let vote = Vote { candidate, incarnation: *incarnation };
                let first = *self.votes.entry((letter.incarnation, *term)).or_insert(vote);
                if first != vote {
                    return Err(format!(
                        "one vote a term (§3.4): node {} gives {first:?} and {vote:?} in {term}",
                        letter.from + 1
                    ));
                }
                disk.term > *term || disk.term == *term && disk.vote == Some(vote)
            }
            Body::RequestVote { .. } => disk.term >= *term,
            Body::Appended { matched, .. } => {
                let known = node.memory.id(*matched).or_else(|| self.committed_at(*matched));
                let known = known.is_some_and(|id| held(&node.disk, id));
                (known || matched.get() == 0) && disk.term >= *term
            }
            Body::SnapshotInstalled { last } => held(&node.disk, *last) && disk.term >= *term,
            Body::RequestPreVote { .. }
            | Body::PreVote { .. }
            | Body::Vote { .. }
            | Body::AppendEntries { .. }
            | Body::Conflict { .. }
            | Body::TimeoutNow { .. }
            | Body::ReadIndex { .. }
            | Body::ReadIndexReply { .. }
            | Body::Effects { .. }
            | Body::Room { .. } => true,
        };
        if kept {
            return Ok(());
        }
        Err(format!("promises are durable (§3.8): node {} says {body:?} early", letter.from + 1))
    }
}
