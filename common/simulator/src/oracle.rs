//! The oracle: sees all nodes and disks at once, and says at the first step that breaks a promise
//! of Raft (figure 3.2, §3.4-3.8) what was broken.

use std::collections::BTreeMap;

use bytes::Bytes;
use consensus::{Body, Entry, EntryId, LogIndex, Message, NodeId, Payload, Tally, Term, Verdict};

use crate::disk::place;
use crate::node::Node;
use crate::workload::Clients;

/// An invariant that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Broken {
    pub(crate) invariant: &'static str,
    pub(crate) why: String,
}

impl Broken {
    pub(crate) fn new(invariant: &'static str, why: impl Into<String>) -> Self {
        Self { invariant, why: why.into() }
    }
}

/// What was ever true in this world.
#[derive(Debug, Default)]
pub(crate) struct Oracle {
    /// Index 1 and on: what is committed there, and in which term that was first known.
    committed: Vec<(EntryId, Term)>,
    /// What each entry holds, and the term of the one before it.
    contents: BTreeMap<EntryId, (u64, Term)>,
    leaders: BTreeMap<Term, NodeId>,
    votes: BTreeMap<(NodeId, Term), NodeId>,
    matched: BTreeMap<(NodeId, Term, NodeId), LogIndex>,
    /// Where each command is committed.
    commands: BTreeMap<Bytes, LogIndex>,
}

impl Oracle {
    /// Entries are appended to a log (log matching, §3.5).
    pub(crate) fn appended(&mut self, prev: EntryId, entries: &[Entry]) -> Result<(), Broken> {
        let mut before = prev.term;
        for entry in entries {
            let found = (content(entry), before);
            let known = *self.contents.entry(entry.id).or_insert(found);
            if known != found {
                let why = format!("entry {} has two contents or two predecessors", entry.id);
                return Err(Broken::new("logs match (§3.5)", why));
            }
            before = entry.id.term;
        }
        Ok(())
    }

    /// A node leads (election safety §3.4, leader completeness §3.6).
    pub(crate) fn leads(&mut self, node: &Node, term: Term) -> Result<(), Broken> {
        let first = *self.leaders.entry(term).or_insert(node.id);
        if first != node.id {
            let why = format!("nodes {first} and {} lead term {term}", node.id);
            return Err(Broken::new("one leader a term (§3.4)", why));
        }
        for (id, known) in self.committed.iter().rev() {
            if *known < term {
                let there = place(*id).and_then(|place| node.memory.get(place));
                if there.map(|entry| entry.id) == Some(*id) {
                    return Ok(());
                }
                let why = format!("node {} leads term {term} without committed {id}", node.id);
                return Err(Broken::new("leaders have all that is committed (§3.6)", why));
            }
        }
        Ok(())
    }

    /// A message leaves a node: what it promises must be on the node's disk (§3.8).
    pub(crate) fn says(&mut self, node: &Node, to: NodeId, said: &Message) -> Result<(), Broken> {
        let on_disk = node.disk.hard_state;
        match &said.body {
            Body::Vote { verdict: Verdict::Granted } => {
                let first = *self.votes.entry((node.id, said.term)).or_insert(to);
                if first != to {
                    let why = format!(
                        "node {} voted for {first} and {to} in term {}",
                        node.id, said.term
                    );
                    return Err(Broken::new("one vote a term (§3.4)", why));
                }
                if on_disk.term != said.term || on_disk.voted_for != Some(to) {
                    return Err(early(node, "a vote", said));
                }
            }
            Body::RequestVote { .. } => {
                if on_disk.term != said.term || on_disk.voted_for != Some(node.id) {
                    return Err(early(node, "a campaign", said));
                }
            }
            Body::Appended { matched, .. } => {
                let there = place(EntryId { term: Term::ZERO, index: *matched });
                let durable = there.is_none_or(|place| {
                    let (disk, memory) = (node.disk.log.get(place), node.memory.get(place));
                    disk.map(|entry| entry.id) == memory.map(|entry| entry.id) && disk.is_some()
                });
                if !durable || on_disk.term < said.term {
                    return Err(early(node, "an acknowledgement", said));
                }
            }
            Body::RequestPreVote { .. }
            | Body::PreVote { .. }
            | Body::Vote { .. }
            | Body::AppendEntries { .. }
            | Body::Conflict { .. }
            | Body::SnapshotInstalled { .. }
            | Body::TimeoutNow { .. }
            | Body::ReadIndex { .. }
            | Body::ReadIndexReply { .. } => {}
        }
        Ok(())
    }

    /// A leader's configuration changed: a member that was removed and comes again begins anew.
    pub(crate) fn reconfigured(&mut self, node: NodeId, raft: &consensus::Raft) {
        for ((leader, _, member), known) in &mut self.matched {
            if *leader == node {
                *known = raft.matched(*member).unwrap_or_default();
            }
        }
    }

    /// A leader believes that a follower's log agrees with its own up to `matched`.
    pub(crate) fn believes(
        &mut self,
        leader: &Node,
        term: Term,
        follower: &Node,
        matched: LogIndex,
    ) -> Result<(), Broken> {
        let known = self.matched.entry((leader.id, term, follower.id)).or_default();
        if matched < *known {
            let why = format!("match of {} went from {known} to {matched}", follower.id);
            return Err(Broken::new("match never moves back (§3.5)", why));
        }
        *known = matched;
        let Some(place) = place(EntryId { term: Term::ZERO, index: matched }) else {
            return Ok(());
        };
        // A newer leader may have cut what the follower had told this one.
        if follower.disk.hard_state.term > term {
            return Ok(());
        }
        let own = leader.memory.get(place).map(|entry| entry.id);
        if own.is_none_or(|id| !follower.disk.has(id)) {
            let why = format!(
                "leader {} in term {term} counts {} up to {matched}, where their logs differ",
                leader.id, follower.id
            );
            return Err(Broken::new("match is what agrees and is durable (§3.5)", why));
        }
        Ok(())
    }

    /// A node knows in `term` that its log is committed up to `to`.
    pub(crate) fn commits(
        &mut self,
        nodes: &[Node],
        who: usize,
        (term, to): (Term, LogIndex),
        clients: &Clients,
    ) -> Result<(), Broken> {
        let node = &nodes[who];
        for index in node.seen_commit.get()..to.get() {
            let place = usize::try_from(index).expect("a log fits into memory");
            let Some(entry) = node.memory.get(place) else {
                let why = format!("node {} commits {to} behind its log", node.id);
                return Err(Broken::new("only what is in the log is committed", why));
            };
            if let Some((id, _)) = self.committed.get(place) {
                if *id != entry.id {
                    let why = format!("{id} is committed, node {} commits {}", node.id, entry.id);
                    return Err(Broken::new("committed entries stay (§3.6)", why));
                }
                continue;
            }
            let holds = |id: NodeId| {
                let holder = nodes.iter().find(|node| node.id == id);
                Some(holder.is_some_and(|holder| holder.disk.has(entry.id)))
            };
            let replica = node.replica.as_ref().expect("it was stepped");
            let configuration = replica.raft().status().configuration;
            if configuration.voters().tally(holds) != Tally::Won {
                let why = format!(
                    "node {} commits {} without a quorum of disks in {:?}",
                    node.id,
                    entry.id,
                    configuration.voters()
                );
                return Err(Broken::new("committed is durable on a quorum (§3.6)", why));
            }
            self.committed.push((entry.id, term));
            if let Payload::Command(command) = &entry.payload {
                clients.committed(command)?;
                if let Some(before) = self.commands.insert(command.clone(), entry.id.index) {
                    let why = format!("a command is committed at {before} and {}", entry.id.index);
                    return Err(Broken::new("a command is applied once", why));
                }
            }
        }
        Ok(())
    }

    /// A node applies up to `to`: committed, and on its own disk.
    pub(crate) fn applies(&self, node: &Node, to: LogIndex) -> Result<(), Broken> {
        let known = place(EntryId { term: Term::ZERO, index: to });
        let committed = known.and_then(|place| self.committed.get(place));
        match committed {
            Some((id, _)) if node.disk.has(*id) => Ok(()),
            Some((id, _)) => {
                let why = format!("node {} applies {id}, which is not on its disk", node.id);
                Err(Broken::new("applied is durable here", why))
            }
            None => {
                let why = format!("node {} applies {to}, which is not committed", node.id);
                Err(Broken::new("applied is committed", why))
            }
        }
    }

    pub(crate) fn committed(&self) -> usize {
        self.committed.len()
    }
}

fn early(node: &Node, what: &str, said: &Message) -> Broken {
    let (id, term) = (node.id, said.term);
    let why = format!("node {id} sends {what} of term {term} before it is on its disk");
    Broken::new("promises are durable (§3.8)", why)
}

/// A number for what an entry holds (FNV-1a).
fn content(entry: &Entry) -> u64 {
    let (kind, bytes): (u64, &[u8]) = match &entry.payload {
        Payload::Noop => (1, &[]),
        Payload::Command(command) => (2, command),
        Payload::Configuration(_) => (3, &[]),
    };
    let start = (0xcbf2_9ce4_8422_2325 ^ kind).wrapping_mul(0x0100_0000_01b3) ^ entry.stamp.get();
    bytes.iter().fold(start, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
