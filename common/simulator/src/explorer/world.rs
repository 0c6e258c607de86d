//! A cluster without a clock: every action that could happen next can be chosen.
//!
//! Between any two steps time passes, so that every timeout is due and no leader counts as fresh.
//! What a state does next then depends on neither times nor chance, and states that differ only in
//! those are one.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use consensus::{
    Body, ClusterTime, Config, Configuration, Entry, EntryId, HardState, Incarnation, Input,
    LogIndex, LogView, Majority, Member, Membership, Message, Mutation, NodeId, Payload, Raft,
    Reply, RequestId, Restored, RoleKind, Send, Term, TermRun, Timer, Timestamp, Voters, Write,
};

use super::oracle::Oracle;

/// Longer than any timeout of [`config`], in nanoseconds.
const PASSES_NS: u64 = 100;

/// A message under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Letter {
    /// The sender's place among the nodes.
    pub from: usize,
    /// The receiver's place.
    pub to: usize,
    /// What is said.
    pub message: Message,
}

/// Something that may happen next. Letters are named by what they say, so that a trace means the
/// same after other actions are taken out of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// It arrives.
    Deliver(Letter),
    /// Delivered, and it will arrive again.
    Repeat(Letter),
    /// It is lost.
    Drop(Letter),
    /// A node's timer fires.
    Timeout(usize, Timer),
    /// The oldest write of a node reaches its disk, and is acknowledged.
    Persist(usize),
    /// Power is lost: so many of the writes under way survive, and the node starts again.
    Crash(usize, usize),
    /// A client asks this node for a write.
    Propose(usize),
    /// A client asks this node for a read.
    Read(usize),
}

/// How often the costly actions may be chosen in one trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Budget {
    /// Election timeouts.
    pub timeouts: u8,
    /// Crashes.
    pub crashes: u8,
    /// Writes.
    pub proposals: u8,
    /// Reads.
    pub reads: u8,
    /// Messages that arrive twice.
    pub repeats: u8,
    /// Messages that are lost.
    pub drops: u8,
}

#[derive(Clone)]
pub(super) struct Node {
    pub raft: Raft,
    now: Timestamp,
    pub hard_state: HardState,
    /// What is on the disk; index 1 is at place 0.
    pub disk: Vec<Entry>,
    /// The log as the replica has it.
    pub memory: Vec<Entry>,
    pub writes: VecDeque<Write>,
    pub life: u32,
}

/// All nodes, disks and messages at one moment.
#[derive(Clone)]
pub struct World {
    pub(super) nodes: Vec<Node>,
    pub(super) letters: Vec<Letter>,
    pub(super) budget: Budget,
    pub(super) oracle: Oracle,
    pub(super) voters: usize,
    requests: u64,
    mutation: Option<Mutation>,
}

impl World {
    /// Starts a bootstrapped cluster of voters, and learners behind them.
    pub fn new(voters: usize, learners: usize, budget: Budget, mutation: Option<Mutation>) -> Self {
        let configuration = configuration(voters, learners);
        let id = EntryId { term: Term::new(1), index: LogIndex::new(1) };
        let payload = Payload::Configuration(configuration);
        let log = vec![Entry { id, stamp: ClusterTime::ZERO, payload }];
        let hard_state = HardState { term: Term::new(1), voted_for: None };
        let node = |at| Node {
            raft: restore(at, &log, hard_state, Timestamp::ZERO, mutation),
            now: Timestamp::ZERO,
            hard_state,
            disk: log.clone(),
            memory: log.clone(),
            writes: VecDeque::new(),
            life: 0,
        };
        Self {
            nodes: (0..voters + learners).map(node).collect(),
            letters: Vec::new(),
            budget,
            oracle: Oracle::default(),
            voters,
            requests: 0,
            mutation,
        }
    }

    /// Lets node 1 be elected and everything it says arrive, so that a search begins with a leader
    /// whose term has a committed entry.
    ///
    /// # Errors
    /// If an invariant is broken on the way.
    pub fn led(mut self) -> Result<Self, String> {
        let budget = self.budget;
        self.budget.timeouts = 1;
        self.take(&Action::Timeout(0, Timer::Election))?;
        loop {
            let quiet = |action: &Action| matches!(action, Action::Persist(_) | Action::Deliver(_));
            let Some(action) = self.actions().into_iter().find(quiet) else {
                self.budget = budget;
                return Ok(self);
            };
            self.take(&action)?;
        }
    }

    /// Returns how many entries are committed.
    pub fn committed(&self) -> usize {
        self.oracle.committed()
    }

    /// Lists all that may happen next.
    pub fn actions(&self) -> Vec<Action> {
        let mut actions = Vec::new();
        for (place, letter) in self.letters.iter().enumerate() {
            if self.letters[..place].contains(letter) {
                continue;
            }
            actions.push(Action::Deliver(letter.clone()));
            if self.budget.repeats > 0 {
                actions.push(Action::Repeat(letter.clone()));
            }
            if self.budget.drops > 0 {
                actions.push(Action::Drop(letter.clone()));
            }
        }
        for (at, node) in self.nodes.iter().enumerate() {
            let role = node.raft.status().role;
            if self.budget.timeouts > 0 && at < self.voters {
                match role {
                    RoleKind::Leader => {
                        actions.push(Action::Timeout(at, Timer::Heartbeat));
                        actions.push(Action::Timeout(at, Timer::QuorumCheck));
                    }
                    RoleKind::Follower | RoleKind::PreCandidate | RoleKind::Candidate => {
                        actions.push(Action::Timeout(at, Timer::Election));
                    }
                }
            }
            if !node.writes.is_empty() {
                actions.push(Action::Persist(at));
            }
            if self.budget.crashes > 0 {
                actions.extend((0..=node.writes.len()).map(|kept| Action::Crash(at, kept)));
            }
            if role == RoleKind::Leader && self.budget.proposals > 0 {
                actions.push(Action::Propose(at));
            }
            if role == RoleKind::Leader && self.budget.reads > 0 {
                actions.push(Action::Read(at));
            }
        }
        actions
    }

    /// Takes an action; `Ok(false)` if it cannot happen here.
    ///
    /// # Errors
    /// If an invariant is broken.
    pub fn take(&mut self, action: &Action) -> Result<bool, String> {
        let Some((at, input)) = self.input(action) else {
            return Ok(false);
        };
        if let Some(input) = input {
            self.step(at, input)?;
        }
        Ok(true)
    }

    /// Takes what an action uses up; `None` if it cannot happen.
    fn input(&mut self, action: &Action) -> Option<(usize, Option<Input>)> {
        match action {
            Action::Deliver(letter) => {
                self.remove(letter)?;
                Some((letter.to, Some(receive(letter))))
            }
            Action::Repeat(letter) => {
                self.letters.contains(letter).then_some(())?;
                spend(&mut self.budget.repeats)?;
                Some((letter.to, Some(receive(letter))))
            }
            Action::Drop(letter) => {
                self.letters.contains(letter).then_some(())?;
                spend(&mut self.budget.drops)?;
                self.remove(letter)?;
                Some((letter.to, None))
            }
            Action::Timeout(at, timer) => {
                let leads = self.nodes[*at].raft.status().role == RoleKind::Leader;
                (leads == (*timer != Timer::Election)).then_some(())?;
                spend(&mut self.budget.timeouts)?;
                Some((*at, Some(Input::Timeout(*timer))))
            }
            Action::Persist(at) => {
                let write = self.nodes[*at].persist()?;
                Some((*at, Some(Input::Persisted { write })))
            }
            Action::Crash(at, kept) => {
                (self.nodes[*at].writes.len() >= *kept).then_some(())?;
                spend(&mut self.budget.crashes)?;
                self.nodes[*at].crash(*at, *kept, self.mutation);
                self.oracle.forget(*at);
                Some((*at, None))
            }
            Action::Propose(at) => {
                (self.nodes[*at].raft.status().role == RoleKind::Leader).then_some(())?;
                spend(&mut self.budget.proposals)?;
                let request = self.request();
                let commands = vec![Bytes::copy_from_slice(&request.get().to_le_bytes())];
                Some((*at, Some(Input::Propose { request, commands })))
            }
            Action::Read(at) => {
                (self.nodes[*at].raft.status().role == RoleKind::Leader).then_some(())?;
                spend(&mut self.budget.reads)?;
                let request = self.request();
                self.oracle.asked(request);
                Some((*at, Some(Input::Read { request })))
            }
        }
    }

    fn request(&mut self) -> RequestId {
        self.requests += 1;
        RequestId::new(self.requests)
    }

    fn remove(&mut self, letter: &Letter) -> Option<()> {
        let place = self.letters.iter().position(|found| found == letter)?;
        self.letters.remove(place);
        Some(())
    }

    fn step(&mut self, at: usize, input: Input) -> Result<(), String> {
        let node = &mut self.nodes[at];
        node.now = node.now.after(PASSES_NS);
        let now = node.now;
        let before = node.raft.clone();
        node.raft.step(now, input);
        let actions = node.raft.drain(now);
        node.raft.check_state();
        node.raft.check_transition(&before);
        if let Some(write) = actions.write {
            follow(&mut node.memory, &write);
            node.writes.push_back(write);
        }
        self.oracle.look(&self.nodes, at, self.voters)?;
        for send in actions.send {
            let letter = self.letter(at, send);
            if let Some(letter) = letter {
                self.oracle.says(&self.nodes[at], &letter)?;
                self.letters.push(letter);
            }
        }
        for reply in actions.reply {
            if let Reply::ReadAt { request, index, .. } = reply {
                self.oracle.served(request, index)?;
            }
        }
        match actions.apply {
            Some(range) => self.step(at, Input::Applied { index: *range.end() }),
            None => Ok(()),
        }
    }

    fn letter(&self, from: usize, send: Send) -> Option<Letter> {
        let (to, message) = match send {
            Send::Message { to, message } => (to, message),
            Send::Entries { to, term, prev, range, commit, round } => {
                let (start, end) = (place(range.start), place(range.end));
                let entries = self.nodes[from].memory[start..end].to_vec();
                let body = Body::AppendEntries { prev, entries, commit, round };
                (to, Message { term, body })
            }
            Send::Snapshot { .. } => return None,
        };
        Some(Letter { from, to: place(LogIndex::new(to.get())), message })
    }
}

impl Node {
    fn persist(&mut self) -> Option<consensus::WriteId> {
        let write = self.writes.pop_front()?;
        if let Some(hard_state) = write.hard_state {
            self.hard_state = hard_state;
        }
        follow(&mut self.disk, &write);
        Some(write.id)
    }

    fn crash(&mut self, at: usize, kept: usize, mutation: Option<Mutation>) {
        for _ in 0..kept {
            self.persist();
        }
        self.writes.clear();
        self.memory.clone_from(&self.disk);
        self.raft = restore(at, &self.disk, self.hard_state, self.now, mutation);
        self.life += 1;
    }

    /// Says whether this very entry is on the disk.
    pub(super) fn holds(&self, id: EntryId) -> bool {
        self.disk.get(place(id.index)).is_some_and(|entry| entry.id == id)
    }
}

fn spend(budget: &mut u8) -> Option<()> {
    *budget = budget.checked_sub(1)?;
    Some(())
}

fn receive(letter: &Letter) -> Input {
    let (from, message) = (id(letter.from), letter.message.clone());
    Input::Receive { from, incarnation: incarnation(letter.from), message }
}

fn follow(log: &mut Vec<Entry>, write: &Write) {
    if let Some(from) = write.truncate_from {
        log.truncate(place(from));
    }
    log.extend(write.append.iter().cloned());
}

/// Returns the place of an index in a vector that begins at index 1.
pub(super) fn place(index: LogIndex) -> usize {
    usize::try_from(index.get() - 1).expect("a log fits into memory")
}

fn id(at: usize) -> NodeId {
    NodeId::new(at as u64 + 1).expect("not 0")
}

fn incarnation(at: usize) -> Incarnation {
    Incarnation::new(100 + at as u64)
}

fn configuration(voters: usize, learners: usize) -> Configuration {
    let member = |at| {
        let (name, address) = (String::new(), String::new());
        (id(at), Member { incarnation: incarnation(at), name, address })
    };
    let members: BTreeMap<NodeId, Member> = (0..voters + learners).map(member).collect();
    let majority = Majority::new((0..voters).map(id));
    let learners = (voters..voters + learners).map(id).collect();
    Configuration::new(Voters::Stable(majority), learners, members).expect("sound by construction")
}

fn restore(
    at: usize,
    log: &[Entry],
    hard_state: HardState,
    now: Timestamp,
    mutation: Option<Mutation>,
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
    Raft::restore(id(at), config(mutation), disk, now).expect("the disk's parts agree")
}

/// One choice for every draw, and timeouts that are always due.
fn config(mutation: Option<Mutation>) -> Config {
    let mut config = Config::new(1);
    config.heartbeat_ns = 1;
    config.election_timeout_ns = 2..3;
    config.chaos.mutation = mutation;
    config
}
