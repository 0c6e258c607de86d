//! The oracle: sees all nodes and disks at once, and says at the first step that breaks a promise
//! of Raft (figure 3.2, §3.4-3.8) what was broken.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use consensus::{
    Body, Entry, EntryId, Incarnation, LogIndex, Message, NodeId, Payload, RequestId, SnapshotMeta,
    Term, Verdict, Vote,
};

use crate::broken::Broken;
use crate::coverage::{Coverage, Met};
use crate::disk::Disk;
use crate::log::Log;
use crate::model::Model;
use crate::node::{self, Node};
use crate::quorum::{self, content, votes};
use crate::returning::{names_itself, returns_until_it_votes};
use crate::workload::Clients;

/// Which of a node's logs is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The one that the replica believes in.
    Memory,
    /// The durable one.
    Disk,
}

/// What was ever true in this world.
#[derive(Debug, Default)]
pub(crate) struct Oracle {
    /// Index 1 and on: what is committed there, and in which term that was first known.
    committed: Vec<(EntryId, Term)>,
    /// What each entry holds, and the term of the one before it.
    pub(crate) contents: BTreeMap<EntryId, (u64, Term)>,
    leaders: BTreeMap<Term, NodeId>,
    votes: BTreeMap<(NodeId, Incarnation, Term), Vote>,
    /// Who said to whom that it would have its vote in a term (§9.6).
    pub(crate) pre_votes: BTreeSet<(NodeId, NodeId, Term)>,
    pub(crate) matched: BTreeMap<(NodeId, Term, NodeId), LogIndex>,
    /// The members that each leader feeds and their data directories, by its latest configuration.
    pub(crate) members: BTreeMap<NodeId, BTreeSet<(NodeId, Incarnation)>>,
    /// Where each command is committed.
    commands: BTreeMap<Bytes, LogIndex>,
    /// What each command is answered, whoever applies it.
    pub(crate) answers: BTreeMap<LogIndex, Bytes>,
    /// What all of that makes of the state.
    pub(crate) model: Model,
    /// A number over the state behind each index at which some node stopped applying.
    states: BTreeMap<LogIndex, u64>,
    /// The configurations among the committed entries.
    pub(crate) configurations: Vec<(LogIndex, consensus::Configuration)>,
    /// Those that were ever appended at places of which nobody knows yet what will stand there.
    undecided: Vec<(LogIndex, consensus::Configuration)>,
    /// The leader that began the joint configuration at this place.
    pub(crate) began: Option<(LogIndex, NodeId, Term)>,
}

impl Oracle {
    /// Begins with a cluster of this configuration, which is the first entry of its members' logs.
    pub(crate) fn new(initial: &consensus::Configuration) -> Self {
        let (mut oracle, first) = (Self::default(), node::first(initial));
        oracle.appended(EntryId::ZERO, &[first]).expect("nothing is known yet");
        oracle
    }

    /// Entries are appended to a log (log matching, §3.5).
    pub(crate) fn appended(&mut self, prev: EntryId, entries: &[Entry]) -> Result<(), Broken> {
        let mut before = prev.term;
        for entry in entries {
            let found = (content(entry), before);
            let known = *self.contents.entry(entry.id).or_insert_with(|| {
                if let Payload::Configuration(configuration) = &entry.payload {
                    self.undecided.push((entry.id.index, configuration.clone()));
                }
                found
            });
            if known != found {
                let why = format!("entry {} has two contents or two predecessors", entry.id);
                return Err(Broken::new("logs match (§3.5)", why));
            }
            before = entry.id.term;
        }
        Ok(())
    }

    /// A node has led, if only for a moment (election safety, §3.4).
    pub(crate) fn led(&mut self, node: NodeId, term: Term) -> Result<(), Broken> {
        let first = *self.leaders.entry(term).or_insert(node);
        if first == node {
            return Ok(());
        }
        let why = format!("nodes {first} and {node} lead term {term}");
        Err(Broken::new("one leader a term (§3.4)", why))
    }

    /// A node follows another, which leads that term (§3.4).
    pub(crate) fn follows(&self, node: NodeId, leader: NodeId, term: Term) -> Result<(), Broken> {
        if self.leaders.get(&term) == Some(&leader) {
            return Ok(());
        }
        let why = format!("node {node} follows {leader} in term {term}");
        Err(Broken::new("who is followed leads that term (§3.4)", why))
    }

    /// A node leads (election safety §3.4, leader completeness §3.6).
    pub(crate) fn leads(&mut self, node: &Node, term: Term) -> Result<(), Broken> {
        self.led(node.id, term)?;
        let replica = node.replica.as_ref().expect("it was stepped");
        let status = replica.status();
        let uncommitted = status.configuration_index > status.commit;
        let before = node.memory.configuration_before(status.configuration_index).1;
        let leaving = uncommitted && before.is_some_and(|before| votes(before, node.id));
        let learns = status.configuration.learners().contains(&node.id);
        if !votes(status.configuration, node.id) && !leaving && !learns {
            let why = format!("node {} leads term {term}, and is no member", node.id);
            return Err(Broken::new("only members lead (§4.2.2)", why));
        }
        let own = node.disk.hard_state;
        let voted = |voter: NodeId| match voter == node.id {
            true => own.term == term && own.vote == Some(node.own_vote()),
            false => status.configuration.member(voter).is_some_and(|member| {
                self.votes.get(&(voter, member.incarnation, term)) == Some(&node.own_vote())
            }),
        };
        if !quorum::decides(status.configuration.voters(), voted) {
            let why = format!("node {} leads term {term} without them", node.id);
            return Err(Broken::new("leaders have the votes of a quorum (§3.4)", why));
        }
        let due = self.committed.iter().rev().find(|(_, known)| *known < term);
        match due {
            Some((id, _)) if !self.holds(node, *id, Place::Memory) => {
                let why = format!("node {} leads term {term} without committed {id}", node.id);
                Err(Broken::new("leaders have all that is committed (§3.6)", why))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Says whether a node has this entry, in its log or in the state that the log begins behind:
    /// there only if it is committed.
    pub(crate) fn holds(&self, node: &Node, id: EntryId, place: Place) -> bool {
        match place {
            Place::Memory => self.is_in(&node.memory, id),
            Place::Disk => self.is_on(&node.disk, id),
        }
    }

    /// Says whether a data directory holds this entry.
    fn is_on(&self, disk: &Disk, id: EntryId) -> bool {
        let below = id.index < disk.log.base().index || disk.log.base() == id;
        (!below || disk.is_covered()) && self.is_in(&disk.log, id)
    }

    fn is_in(&self, log: &Log, id: EntryId) -> bool {
        if id.index < log.base().index || log.base() == id {
            return self.committed_at(id.index) == Some(id);
        }
        log.id(id.index) == Some(id)
    }

    /// Returns what is committed at an index, as far as anybody has seen it.
    pub(crate) fn committed_at(&self, index: LogIndex) -> Option<EntryId> {
        let place = usize::try_from(index.get()).expect("a log fits into memory").checked_sub(1)?;
        self.committed.get(place).map(|(id, _)| *id)
    }

    /// Returns what a node believes to stand at an index.
    fn believed(&self, node: &Node, index: LogIndex) -> Option<EntryId> {
        node.memory.id(index).or_else(|| self.committed_at(index))
    }

    /// A message leaves a node: what it promises must be on the node's disk (§3.8).
    pub(crate) fn says(
        &mut self,
        node: &Node,
        to: NodeId,
        said: &Message,
        coverage: &mut Coverage,
    ) -> Result<(), Broken> {
        let on_disk = node.disk.hard_state;
        match &said.body {
            Body::Vote { candidate, verdict: Verdict::Granted } => {
                let vote = Vote { candidate: to, incarnation: *candidate };
                let voter = (node.id, node.incarnation, said.term);
                let first = *self.votes.entry(voter).or_insert(vote);
                if first != vote {
                    let why = format!(
                        "node {} voted for {first:?} and {vote:?} in term {}",
                        node.id, said.term
                    );
                    return Err(Broken::new("one vote a term (§3.4)", why));
                }
                if on_disk.term != said.term || on_disk.vote != Some(vote) {
                    return Err(early(node, "a vote", said));
                }
                let own = node.memory.configuration().1;
                if own.is_some_and(|own| own.learners().contains(&node.id)) {
                    coverage.meet(Met::PromotedUnknowingly);
                }
            }
            Body::RequestVote { transfer, .. } => {
                if on_disk.term != said.term || on_disk.vote != Some(node.own_vote()) {
                    return Err(early(node, "a campaign", said));
                }
                names_itself(node)?;
                if *transfer {
                    coverage.meet(Met::ElectedByTransfer);
                }
            }
            Body::Appended { matched, .. } => {
                let own = node.replica.as_ref().expect("it was stepped").raft().term();
                // In the same turn a newer leader may have cut what was acknowledged to this one.
                let older = said.term < own && node.disk.last().index >= *matched;
                let durable = matched.get() == 0
                    || older
                    || self
                        .believed(node, *matched)
                        .is_some_and(|id| self.holds(node, id, Place::Disk));
                if !durable || on_disk.term < said.term {
                    return Err(early(node, "an acknowledgement", said));
                }
            }
            Body::SnapshotInstalled { last } => {
                if !self.holds(node, *last, Place::Disk) || on_disk.term < said.term {
                    return Err(early(node, "that it holds a snapshot", said));
                }
            }
            Body::PreVote { verdict: Verdict::Granted } => {
                self.pre_votes.insert((node.id, to, said.term));
            }
            Body::RequestPreVote { .. }
            | Body::PreVote { .. }
            | Body::Vote { .. }
            | Body::AppendEntries { .. }
            | Body::Conflict { .. }
            | Body::TimeoutNow { .. }
            | Body::ReadIndex { .. }
            | Body::ReadIndexReply { .. }
            | Body::Effects { .. }
            | Body::Room { .. } => {}
        }
        Ok(())
    }

    /// A log shall begin behind `meta`. What goes is committed, and named rightly.
    pub(crate) fn compacts(
        &self,
        node: NodeId,
        meta: &SnapshotMeta,
        installs: bool,
    ) -> Result<(), Broken> {
        if self.committed_at(meta.last.index) != Some(meta.last) {
            let what = if installs { "installs a snapshot" } else { "compacts its log" };
            let why = format!("node {node} {what} up to {}, which is not committed", meta.last);
            return Err(Broken::new("snapshots hold what is committed (§5.1)", why));
        }
        let known = self.configurations.iter().rev().find(|(at, _)| *at <= meta.last.index);
        let right = known.is_some_and(|(at, configuration)| {
            *at == meta.configuration_index && *configuration == meta.configuration
        });
        if !right {
            let why = format!(
                "node {node} has the configuration of {} in a snapshot up to {}",
                meta.configuration_index, meta.last
            );
            return Err(Broken::new("a snapshot holds its latest configuration (§5.1)", why));
        }
        Ok(())
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
        // A newer leader may have cut what the follower had told this one.
        let raft = leader.replica.as_ref().expect("it believes").raft();
        let Some(disk) = follower.directory(raft.configuration()) else {
            return Ok(());
        };
        if matched.get() == 0 || disk.hard_state.term > term {
            return Ok(());
        }
        let own = self.believed(leader, matched);
        if own.is_none_or(|id| !self.is_on(disk, id)) {
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
        (term, to, counts_by): (Term, LogIndex, Option<&consensus::Configuration>),
        clients: &Clients,
    ) -> Result<(), Broken> {
        let node = &nodes[who];
        let base = node.memory.base();
        if base.index > node.seen_commit && self.committed_at(base.index) != Some(base) {
            let why = format!("node {} begins behind {base}, which is not committed", node.id);
            return Err(Broken::new("snapshots hold what is committed (§5.1)", why));
        }
        let first = node.seen_commit.max(base.index).get() + 1;
        for index in first..=to.get() {
            let Some(entry) = node.memory.get(LogIndex::new(index)) else {
                let why = format!("node {} commits {to} behind its log", node.id);
                return Err(Broken::new("only what is in the log is committed", why));
            };
            if let Some(id) = self.committed_at(entry.id.index) {
                if id != entry.id {
                    let why = format!("{id} is committed, node {} commits {}", node.id, entry.id);
                    return Err(Broken::new("committed entries stay (§3.6)", why));
                }
                continue;
            }
            self.commits_first(nodes, node, entry, (term, counts_by), clients)?;
        }
        Ok(())
    }

    /// Nobody knew before that this entry is committed.
    fn commits_first(
        &mut self,
        nodes: &[Node],
        node: &Node,
        entry: &Entry,
        (term, counts_by): (Term, Option<&consensus::Configuration>),
        clients: &Clients,
    ) -> Result<(), Broken> {
        // Only a leader counts. It goes by what was in force then: this turn may have brought more.
        let Some(configuration) = counts_by else {
            let why = format!("node {} commits {} before its leader did", node.id, entry.id);
            return Err(Broken::new("leaders commit (§3.6)", why));
        };
        let holds = |id: NodeId| {
            let holder = nodes.iter().find(|node| node.id == id);
            let disk = holder.and_then(|holder| holder.directory(configuration));
            disk.is_some_and(|disk| self.is_on(disk, entry.id))
        };
        if !quorum::decides(configuration.voters(), holds) {
            let why = format!(
                "node {} commits {} without a quorum of disks in {:?}",
                node.id,
                entry.id,
                configuration.voters()
            );
            return Err(Broken::new("committed is durable on a quorum (§3.6)", why));
        }
        self.committed.push((entry.id, term));
        let may_stand_again = self.model.committed(entry);
        match &entry.payload {
            Payload::Command(command) => {
                clients.committed(command)?;
                if clients.before(command).is_some_and(|one| !self.commands.contains_key(&one)) {
                    let why = format!("{} stands without what it came with", entry.id);
                    return Err(Broken::new("a batch keeps its order", why));
                }
                if may_stand_again {
                    return Ok(());
                }
                if let Some(before) = self.commands.insert(command.clone(), entry.id.index) {
                    let why = format!("a command is committed at {before} and {}", entry.id.index);
                    return Err(Broken::new("a command is applied once", why));
                }
            }
            Payload::Configuration(configuration) => {
                if let Some((_, before)) = self.configurations.last() {
                    returns_until_it_votes(before, configuration)?;
                }
                self.configurations.push((entry.id.index, configuration.clone()));
            }
            Payload::Noop => {}
        }
        Ok(())
    }

    /// A node is about to apply up to `to`: committed, and on its own disk.
    pub(crate) fn applies(&self, node: &Node, to: LogIndex) -> Result<(), Broken> {
        match self.committed_at(to) {
            Some(id) if self.holds(node, id, Place::Disk) => Ok(()),
            Some(id) => {
                let why = format!("node {} applies {id}, which is not on its disk", node.id);
                Err(Broken::new("applied is durable here", why))
            }
            None => {
                let why = format!("node {} applies {to}, which is not committed", node.id);
                Err(Broken::new("applied is committed", why))
            }
        }
    }

    /// A node has applied entries, or a snapshot: all nodes give the same answers, and have the
    /// same state behind the same entry.
    pub(crate) fn applied(
        &mut self,
        node: &Node,
        answers: &[(LogIndex, Bytes)],
        coverage: &mut Coverage,
    ) -> Result<(), Broken> {
        for (index, answer) in answers {
            if !self.answers.contains_key(index)
                && let Some(met) = self.model.answered(*index, answer)?
            {
                coverage.meet(met);
            }
            let first = self.answers.entry(*index).or_insert_with(|| answer.clone());
            if first != answer {
                let why = format!("node {} answers the command at {index} in its own way", node.id);
                return Err(Broken::new("all nodes give the same answers (§2.1)", why));
            }
        }
        let index = node.applied();
        let state = node.host.store().state();
        if !self.states.contains_key(&index) {
            self.model.holds(index, &state)?;
        }
        if *self.states.entry(index).or_insert(state.sum()) != state.sum() {
            let why = format!("node {} has another state at {index} than others", node.id);
            return Err(Broken::new("states behind the same entry are the same (§2.1)", why));
        }
        Ok(())
    }

    /// A node believes that it was removed: that must be committed.
    pub(crate) fn removes(&self, node: NodeId, removal: &replica::Removal) -> Result<(), Broken> {
        let mut known = self.configurations.iter().rev();
        let removes = match removal {
            replica::Removal::Applied { index } => known.find(|(at, _)| at == index),
            replica::Removal::Told { .. } => known.next().filter(|_| self.was_member(node)),
        };
        if removes.is_some_and(|(_, configuration)| configuration.member(node).is_none()) {
            return Ok(());
        }
        let why = format!("node {node} ends, and was not removed: {removal:?}");
        Err(Broken::new("who ends was removed (§4.2.2)", why))
    }

    /// Says whether a node was a member in a configuration that is committed.
    pub(crate) fn was_member(&self, node: NodeId) -> bool {
        self.configurations.iter().any(|(_, configuration)| configuration.member(node).is_some())
    }

    /// A client is told that its command has no effect.
    pub(crate) fn supersedes(&self, request: RequestId) -> Result<(), Broken> {
        match self.commands.get(&Clients::command(request)) {
            Some(index) => {
                let why = format!("request {request} is superseded, and committed at {index}");
                Err(Broken::new("what is refused has no effect", why))
            }
            None => Ok(()),
        }
    }

    /// Says whether this is the answer to a request, at the place where its command stands.
    pub(crate) fn is_answer(&self, request: RequestId, index: LogIndex, answer: &Bytes) -> bool {
        let command = Clients::command(request);
        self.commands.get(&command) == Some(&index) && self.answers.get(&index) == Some(answer)
    }

    /// Returns the configurations that may be in force somewhere: the latest that is committed, and
    /// all that may yet be.
    pub(crate) fn in_force(&self) -> impl Iterator<Item = &consensus::Configuration> {
        let decided = self.committed.len() as u64;
        let open = self.undecided.iter().filter(move |(at, _)| at.get() > decided);
        self.configurations.last().into_iter().chain(open).map(|(_, configuration)| configuration)
    }

    /// Returns what the command at an index was answered.
    pub(crate) fn answer_at(&self, index: LogIndex) -> Option<&Bytes> {
        self.answers.get(&index)
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
