//! A cluster in a test's hand: every message, write and timer moves when the test says so.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use consensus::*;

pub const MS: u64 = 1_000_000;

pub fn id(number: u64) -> NodeId {
    NodeId::new(number).unwrap()
}

pub fn incarnation(node: u64) -> Incarnation {
    Incarnation::new(100 + node)
}

pub fn at(term: u64, index: u64) -> EntryId {
    EntryId { term: Term::new(term), index: LogIndex::new(index) }
}

pub fn command(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

/// An entry whose contents follow from its identity, as log matching demands.
pub fn entry(term: u64, index: u64) -> Entry {
    let payload = Payload::Command(command(&format!("{term}.{index}")));
    Entry::new(at(term, index), ClusterTime::ZERO, payload)
}

pub fn configuration(voters: &[u64], learners: &[u64]) -> Configuration {
    let member = |number: &u64| {
        let name = format!("n{number}");
        let address = format!("{name}:7400");
        (id(*number), Member { incarnation: incarnation(*number), name, address })
    };
    Configuration::new(
        Voters::Stable(Majority::new(voters.iter().map(|n| id(*n)))),
        learners.iter().map(|n| id(*n)).collect(),
        voters.iter().chain(learners).map(member).collect(),
    )
    .unwrap()
}

/// The request of every change.
pub const CHANGE: u64 = 7_000;

/// A node: the replica and what its disk holds.
pub struct Node {
    pub raft: Raft,
    pub log: Vec<Entry>,
    pub hard_state: HardState,
    pub writes: VecDeque<Write>,
    pub applied: Vec<EntryId>,
    pub replies: Vec<Reply>,
    pub events: Vec<Event>,
    /// What the disk's log begins behind; the places below hold anything.
    pub base: Option<SnapshotMeta>,
    /// Followers that need a snapshot, and where it must end at least.
    pub wanted: Vec<(NodeId, LogIndex)>,
    pub installed: Vec<EntryId>,
    /// Snapshots that were handed out and not applied, while a test holds them.
    pub hold_installs: bool,
    memory: Vec<Entry>,
}

/// A message under way.
#[derive(Clone, Debug, PartialEq)]
pub struct Letter {
    pub from: NodeId,
    pub to: NodeId,
    pub message: Message,
}

pub struct Cluster {
    pub now: Timestamp,
    pub nodes: BTreeMap<NodeId, Node>,
    pub letters: VecDeque<Letter>,
    /// Writes are acknowledged at once unless a test holds them.
    pub held_disks: BTreeSet<NodeId>,
    pub cut: BTreeSet<(NodeId, NodeId)>,
    /// What each step led to, until somebody takes it.
    pub journal: Vec<(NodeId, Actions)>,
    configuration: Configuration,
    config: Config,
}

impl Cluster {
    pub fn new(voters: &[u64]) -> Self {
        Self::with(configuration(voters, &[]), Config::new(1))
    }

    pub fn with(configuration: Configuration, config: Config) -> Self {
        let members: Vec<NodeId> = configuration.members().keys().copied().collect();
        let mut cluster = Self {
            now: Timestamp::new(1_000 * MS),
            nodes: BTreeMap::new(),
            letters: VecDeque::new(),
            held_disks: BTreeSet::new(),
            cut: BTreeSet::new(),
            journal: Vec::new(),
            configuration,
            config,
        };
        for member in members {
            cluster.start(member.get(), &[], HardState { term: Term::new(1), vote: None });
        }
        cluster
    }

    /// Starts a node whose log holds the bootstrap entry (1,1) and then entries of these terms.
    pub fn start(&mut self, number: u64, terms: &[u64], hard_state: HardState) {
        let first = Payload::Configuration(self.configuration.clone());
        let mut log = vec![Entry::new(at(1, 1), ClusterTime::ZERO, first)];
        for (place, term) in terms.iter().enumerate() {
            log.push(entry(*term, place as u64 + 2));
        }
        self.boot(number, log, hard_state, None);
    }

    fn boot(
        &mut self,
        number: u64,
        log: Vec<Entry>,
        hard_state: HardState,
        base: Option<SnapshotMeta>,
    ) {
        let mut runs: Vec<TermRun> = Vec::new();
        let bottom = base.as_ref().map_or(EntryId::ZERO, |meta| meta.last);
        let first = usize::try_from(bottom.index.get()).unwrap();
        for entry in &log[first..] {
            if runs.last().is_none_or(|run| run.term < entry.id.term) {
                runs.push(TermRun { term: entry.id.term, first: entry.id.index });
            }
        }
        let last = LogIndex::new(log.len() as u64);
        let configuration = |entry: &Entry| match &entry.payload {
            Payload::Configuration(found) => Some((entry.id.index, found.clone())),
            Payload::Noop | Payload::Command(_) => None,
        };
        let configurations = log[first..].iter().filter_map(configuration).collect();
        let below = base.as_ref().map_or((LogIndex::ZERO, Configuration::unknown()), |meta| {
            (meta.configuration_index, meta.configuration.clone())
        });
        let membership = Membership::restore(below, configurations);
        let disk = Restored {
            incarnation: incarnation(number),
            hard_state,
            log: LogView::restore(bottom, runs, last).unwrap(),
            membership: membership.unwrap(),
            applied: bottom.index,
            stamp: ClusterTime::ZERO,
        };
        let config = Config { seed: self.config.seed + number, ..self.config.clone() };
        let raft = Raft::restore(id(number), config, disk, self.now).unwrap();
        let node = Node {
            raft,
            memory: log.clone(),
            log,
            hard_state,
            writes: VecDeque::new(),
            applied: Vec::new(),
            replies: Vec::new(),
            events: Vec::new(),
            base,
            wanted: Vec::new(),
            installed: Vec::new(),
            hold_installs: false,
        };
        self.nodes.insert(id(number), node);
    }

    /// Starts a node that belongs to no cluster: its log is empty.
    pub fn start_blank(&mut self, number: u64) {
        self.boot(number, Vec::new(), HardState::default(), None);
    }

    /// Asks a node for a change of members, and delivers all that follows.
    pub fn change(&mut self, number: u64, target: &Configuration) -> Vec<Reply> {
        self.take_replies(number);
        let request = RequestId::new(CHANGE);
        self.step(number, Input::Reconfigure { request, target: target.clone() });
        self.settle();
        self.take_replies(number)
    }

    /// Cuts the power: writes that are not acknowledged are lost, and the node starts again.
    pub fn crash(&mut self, number: u64) {
        let node = self.nodes.remove(&id(number)).unwrap();
        self.letters.retain(|letter| letter.from != id(number) && letter.to != id(number));
        self.boot(number, node.log, node.hard_state, node.base);
    }

    /// Nodes that start from now on have these settings.
    pub fn configure(&mut self, config: Config) {
        self.config = config;
    }

    pub fn node(&self, number: u64) -> &Node {
        &self.nodes[&id(number)]
    }

    pub fn status(&self, number: u64) -> Status<'_> {
        self.node(number).raft.status()
    }

    pub fn role(&self, number: u64) -> RoleKind {
        self.status(number).role
    }

    pub fn term(&self, number: u64) -> u64 {
        self.status(number).term.get()
    }

    pub fn commit(&self, number: u64) -> u64 {
        self.status(number).commit.get()
    }

    pub fn ids(&self, number: u64) -> Vec<EntryId> {
        self.node(number).memory.iter().map(|entry| entry.id).collect()
    }

    /// Steps one input and dispatches what comes out.
    pub fn step(&mut self, number: u64, input: Input) {
        let node = self.nodes.get_mut(&id(number)).unwrap();
        let before = node.raft.clone();
        node.raft.step(self.now, input);
        self.flush(number, &before);
    }

    fn flush(&mut self, number: u64, before: &Raft) {
        let now = self.now;
        let node = self.nodes.get_mut(&id(number)).unwrap();
        let actions = node.raft.drain(now);
        node.raft.check_state();
        node.raft.check_transition(before);
        if !actions.is_empty() {
            self.journal.push((id(number), actions.clone()));
        }
        node.replies.extend(actions.reply);
        node.events.extend(actions.event);
        if let Some(write) = actions.write {
            if let Some(from) = write.truncate_from {
                node.memory.truncate(from.get() as usize - 1);
            }
            if let Some(meta) = &write.compact_to {
                compact(&mut node.memory, meta.last);
            }
            node.memory.extend(write.append.iter().cloned());
            node.writes.push_back(write);
        }
        let mut letters = Vec::new();
        for send in actions.send {
            let (to, message) = match send {
                Outgoing::Message { to, message } => (to, message),
                Outgoing::Entries { to, term, prev, range, commit, round } => {
                    let range = range.start.get() as usize - 1..range.end.get() as usize - 1;
                    let entries = node.memory[range].to_vec();
                    (
                        to,
                        Message {
                            term,
                            body: Body::AppendEntries { prev, entries, commit, round },
                        },
                    )
                }
                Outgoing::Snapshot { to, at_least, .. } => {
                    node.wanted.push((to, at_least));
                    continue;
                }
            };
            letters.push(Letter { from: id(number), to, message });
        }
        self.letters.extend(letters);
        if let Some(meta) = actions.install {
            let node = self.nodes.get_mut(&id(number)).unwrap();
            assert!(node.base.as_ref().is_some_and(|base| base.last >= meta.last), "log first");
            node.installed.push(meta.last);
            if !node.hold_installs {
                self.step(number, Input::Applied { index: meta.last.index });
            }
        }
        if let Some(range) = actions.apply {
            let node = self.nodes.get_mut(&id(number)).unwrap();
            for index in range.start().get()..=range.end().get() {
                node.applied.push(node.memory[index as usize - 1].id);
            }
            self.step(number, Input::Applied { index: *range.end() });
        }
        if !self.held_disks.contains(&id(number)) {
            self.persist(number);
        }
    }

    /// Acknowledges all writes of a node.
    pub fn persist(&mut self, number: u64) {
        while self.persist_one(number) {}
    }

    /// Acknowledges the oldest write of a node.
    pub fn persist_one(&mut self, number: u64) -> bool {
        let node = self.nodes.get_mut(&id(number)).unwrap();
        let Some(write) = node.writes.pop_front() else {
            return false;
        };
        if let Some(hard_state) = write.hard_state {
            node.hard_state = hard_state;
        }
        if let Some(from) = write.truncate_from {
            node.log.truncate(from.get() as usize - 1);
        }
        if let Some(meta) = write.compact_to {
            compact(&mut node.log, meta.last);
            node.base = Some(meta);
        }
        node.log.extend(write.append);
        self.step(number, Input::Persisted { write: write.id });
        true
    }

    /// Delivers everything, and what comes of it, until all is quiet.
    pub fn settle(&mut self) {
        for _ in 0..10_000 {
            let Some(letter) = self.letters.pop_front() else {
                return;
            };
            self.deliver(letter);
        }
        panic!("the cluster does not come to rest");
    }

    pub fn deliver(&mut self, letter: Letter) {
        if self.cut.contains(&(letter.from, letter.to)) || !self.nodes.contains_key(&letter.to) {
            return;
        }
        let incarnation = incarnation(letter.from.get());
        let message = letter.message;
        self.step(letter.to.get(), Input::Receive { from: letter.from, incarnation, message });
    }

    /// Says something to a node in another's name.
    pub fn say(&mut self, from: u64, to: u64, term: u64, body: Body) {
        let message = Message { term: Term::new(term), body };
        self.deliver(Letter { from: id(from), to: id(to), message });
    }

    /// Takes the messages that a node has sent.
    pub fn take_from(&mut self, number: u64) -> Vec<Letter> {
        let (taken, rest): (Vec<Letter>, Vec<Letter>) =
            self.letters.drain(..).partition(|letter| letter.from == id(number));
        self.letters = rest.into();
        taken
    }

    /// Cuts a node off from all others, both ways.
    pub fn isolate(&mut self, number: u64) {
        for other in self.nodes.keys().copied().collect::<Vec<_>>() {
            self.cut.insert((id(number), other));
            self.cut.insert((other, id(number)));
        }
    }

    pub fn heal(&mut self) {
        self.cut.clear();
    }

    pub fn pass(&mut self, ms: u64) {
        self.now = self.now.after(ms * MS);
    }

    /// Fires a node's own deadline, if it has passed.
    pub fn tick(&mut self, number: u64) {
        let due = self.nodes[&id(number)].raft.deadline();
        if let Some((_, timer)) = due.filter(|(time, _)| *time <= self.now) {
            self.step(number, Input::Timeout(timer));
        }
    }

    /// Lets a node time out and delivers all that follows.
    pub fn campaign(&mut self, number: u64) {
        self.pass(1_000);
        self.time_out(number);
        self.settle();
    }

    /// Fires the timer of elections, whether its time has come or not.
    pub fn time_out(&mut self, number: u64) {
        self.step(number, Input::Timeout(Timer::Election));
    }

    /// Time passes, a millisecond at a time, for all nodes.
    pub fn run(&mut self, ms: u64) {
        for _ in 0..ms {
            self.pass(1);
            for number in self.nodes.keys().copied().collect::<Vec<_>>() {
                self.tick(number.get());
            }
            self.settle();
        }
    }

    pub fn leaders(&self) -> Vec<u64> {
        let numbers = self.nodes.keys().map(|id| id.get());
        numbers.filter(|number| self.role(*number) == RoleKind::Leader).collect()
    }

    pub fn propose(&mut self, number: u64, request: u64, text: &str) {
        let commands = vec![command(text)];
        self.step(number, Input::Propose { request: RequestId::new(request), commands });
    }

    pub fn read(&mut self, number: u64, request: u64) {
        self.step(number, Input::Read { request: RequestId::new(request) });
    }

    pub fn take_replies(&mut self, number: u64) -> Vec<Reply> {
        std::mem::take(&mut self.nodes.get_mut(&id(number)).unwrap().replies)
    }
}

/// The answer to a read that a round of heartbeats has confirmed.
pub fn read_at(request: u64, index: u64) -> Reply {
    let (request, index) = (RequestId::new(request), LogIndex::new(index));
    Reply::ReadAt { request, index, basis: Basis::Round }
}

pub fn hard_state(term: u64, vote: Option<u64>) -> HardState {
    HardState { term: Term::new(term), vote: vote.map(vote_for) }
}

/// A vote for a node with its data directory.
pub fn vote_for(node: u64) -> Vote {
    Vote { candidate: id(node), incarnation: incarnation(node) }
}

/// Grants a vote to a node with its data directory.
pub fn granted(to: u64) -> Body {
    Body::Vote { candidate: incarnation(to), verdict: Verdict::Granted }
}

pub fn heartbeat(prev: EntryId, commit: u64) -> Body {
    append(prev, Vec::new(), commit)
}

pub fn append(prev: EntryId, entries: Vec<Entry>, commit: u64) -> Body {
    let round = ReadRound::ZERO;
    Body::AppendEntries { prev, entries, commit: LogIndex::new(commit), round }
}

pub fn request_vote(last: EntryId) -> Body {
    Body::RequestVote { last, transfer: false }
}

/// The bodies of letters to one node.
pub fn bodies(letters: &[Letter], to: u64) -> Vec<Body> {
    letters.iter().filter(|l| l.to == id(to)).map(|l| l.message.body.clone()).collect()
}

/// Follows a compaction: a log that does not hold the new base is dropped, and begins behind it.
fn compact(log: &mut Vec<Entry>, base: EntryId) {
    let place = base.index.get() as usize;
    if log.get(place - 1).is_none_or(|entry| entry.id != base) {
        *log = vec![Entry::new(base, ClusterTime::ZERO, Payload::Noop); place];
    }
}
