//! A cluster without a clock: every action that could happen next can be chosen.
//!
//! Between any two steps time passes, so that every timeout is due and no leader counts as fresh.
//! What a state does next then depends on neither times nor chance, and states that differ only in
//! those are one.

use std::collections::VecDeque;
use std::sync::Arc;

use consensus::{
    Body, ClusterTime, Config, Entry, EntryId, HardState, Input, LogIndex, Message, Outgoing,
    Payload, Reply, RequestId, RoleKind, Term, Timer, Timestamp,
};

use super::action::{Action, Budget, Letter, Stream};
use super::digest::hash;
use super::members::{another, configuration, id, incarnation, place_of};
use super::node::{Node, PASSES_NS, config, restore};
use super::oracle::Oracle;
use crate::log::Log;

/// A letter with its number, which is worked out once.
#[derive(Debug)]
pub(super) struct Posted {
    pub letter: Letter,
    pub number: u64,
}

/// All nodes, disks and messages at one time; states share in memory what is the same in them.
#[derive(Clone)]
pub struct World {
    pub(super) nodes: Vec<Arc<Node>>,
    pub(super) letters: Vec<Arc<Posted>>,
    /// Snapshots under way.
    pub(super) streams: Vec<Arc<Stream>>,
    /// Whether letters stay under way for ever: each may be lost, arrive late and any number of
    /// times.
    keeps_letters: bool,
    /// Whether answers of older terms stay under way as well: in a search for a bug, which may take
    /// them for something.
    keeps_stale_answers: bool,
    /// Whether nodes do not notice that their disks are old: they keep their incarnations.
    notices_nothing: bool,
    pub(super) budget: Budget,
    pub(super) oracle: Arc<Oracle>,
    /// What passes between two steps, in nanoseconds.
    pub(super) passes_ns: u64,
    /// What was posted since somebody emptied it.
    pub(super) posted: Vec<Arc<Posted>>,
    requests: u64,
    config: Config,
}

impl World {
    /// Starts a bootstrapped cluster of voters, and learners behind them.
    pub fn new(voters: usize, learners: usize, budget: Budget) -> Self {
        Self::with(voters, learners, budget, config())
    }

    pub(super) fn with(voters: usize, learners: usize, budget: Budget, config: Config) -> Self {
        let configuration = configuration(voters, learners);
        let id = EntryId { term: Term::new(1), index: LogIndex::new(1) };
        let payload = Payload::Configuration(configuration);
        let log = Log::new(vec![Entry::new(id, ClusterTime::ZERO, payload)]);
        let hard_state = HardState { term: Term::new(1), vote: None };
        let node = |at| Node {
            raft: restore(at, incarnation(at), &log, hard_state, Timestamp::ZERO, &config),
            incarnation: incarnation(at),
            key: None,
            now: Timestamp::ZERO,
            hard_state,
            disk: log.clone(),
            memory: log.clone(),
            writes: VecDeque::new(),
            past: Vec::new(),
            keeps_past: budget.rollbacks > 0,
        };
        Self {
            nodes: (0..voters + learners).map(node).map(Arc::new).collect(),
            letters: Vec::new(),
            streams: Vec::new(),
            keeps_letters: false,
            keeps_stale_answers: false,
            notices_nothing: false,
            budget,
            oracle: Arc::default(),
            passes_ns: PASSES_NS,
            posted: Vec::new(),
            requests: 0,
            config,
        }
    }

    /// Lets answers of older terms stay under way: for a search for a bug in the core, which may
    /// take them for something.
    #[must_use]
    pub fn keeping_stale_answers(self) -> Self {
        Self { keeps_stale_answers: true, ..self }
    }

    /// Lets nodes not notice that their disks are old copies. That breaks Raft, as a search must
    /// find.
    #[must_use]
    pub fn noticing_nothing(self) -> Self {
        Self { notices_nothing: true, ..self }
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

    /// Says whether a node's votes and acknowledgements count in the configuration of another one.
    pub fn counts(&self, at: usize, with: usize) -> bool {
        let configuration = self.nodes[with].raft.status().configuration;
        let incarnation = self.nodes[at].incarnation;
        configuration.is_voter(id(at)) && configuration.recognises(id(at), incarnation)
    }

    /// Returns how many entries are committed.
    pub fn committed(&self) -> usize {
        self.oracle.committed()
    }

    /// Takes an action; `Ok(false)` if it cannot happen here, or is refused.
    ///
    /// # Errors
    /// If an invariant is broken.
    pub fn take(&mut self, action: &Action) -> Result<bool, String> {
        match action {
            Action::Propose(at)
            | Action::Read(at)
            | Action::Transfer(at, _)
            | Action::Reconfigure(at, _) => {
                let before = self.clone();
                if !self.ask(*at, action)? {
                    *self = before;
                    return Ok(false);
                }
            }
            Action::Compact(at) => {
                if !self.compact(*at)? {
                    return Ok(false);
                }
            }
            Action::Arrive(stream) => {
                if !self.arrive(stream)? {
                    return Ok(false);
                }
            }
            Action::Cut(stream) => {
                if !self.cut(stream)? {
                    return Ok(false);
                }
            }
            Action::Deliver(_)
            | Action::Repeat(_)
            | Action::Drop(_)
            | Action::Timeout(..)
            | Action::Persist(_)
            | Action::Crash(..)
            | Action::RollBack(..) => {
                let Some((at, input)) = self.input(action) else {
                    return Ok(false);
                };
                if let Some(input) = input {
                    self.step(at, input)?;
                }
                if matches!(action, Action::Crash(..) | Action::RollBack(..)) {
                    self.cut_all(at)?;
                }
            }
        }
        self.write_at_once()?;
        self.tidy();
        Ok(true)
    }

    /// Takes what an action uses up; `None` if it cannot happen.
    fn input(&mut self, action: &Action) -> Option<(usize, Option<Input>)> {
        match action {
            Action::Deliver(letter) => {
                match self.keeps_letters {
                    true => self.holds(letter).then_some(())?,
                    false => self.remove(letter)?,
                }
                Some((letter.to, Some(receive(letter))))
            }
            Action::Repeat(letter) => {
                self.holds(letter).then_some(())?;
                spend(&mut self.budget.repeats)?;
                Some((letter.to, Some(receive(letter))))
            }
            Action::Drop(letter) => {
                self.holds(letter).then_some(())?;
                spend(&mut self.budget.drops)?;
                self.remove(letter)?;
                Some((letter.to, None))
            }
            Action::Timeout(at, timer) => {
                let leads = self.nodes[*at].raft.status().role == RoleKind::Leader;
                let leaders = match timer {
                    Timer::Heartbeat | Timer::QuorumCheck | Timer::Transfer => true,
                    Timer::Election | Timer::ReadIndex | Timer::Question | Timer::Feed => false,
                };
                (leads == leaders).then_some(())?;
                spend(&mut self.budget.timeouts)?;
                Some((*at, Some(Input::Timeout(*timer))))
            }
            Action::Persist(at) => {
                let write = self.node(*at).persist()?;
                Some((*at, Some(Input::Persisted { write })))
            }
            Action::Crash(at, kept) => {
                (self.nodes[*at].writes.len() >= *kept).then_some(())?;
                spend(&mut self.budget.crashes)?;
                let config = self.config.clone();
                self.node(*at).crash(*at, *kept, &config);
                Arc::make_mut(&mut self.oracle).forget(*at);
                Some((*at, None))
            }
            Action::RollBack(at, back) => {
                (1..=self.nodes[*at].past.len()).contains(back).then_some(())?;
                spend(&mut self.budget.rollbacks)?;
                let (config, notices) = (self.config.clone(), !self.notices_nothing);
                let oracle = Arc::make_mut(&mut self.oracle);
                oracle.forget(*at);
                let node = Arc::make_mut(&mut self.nodes[*at]);
                if notices {
                    oracle.is_gone(node.incarnation, &node.disk);
                    node.incarnation = another(node.incarnation);
                }
                node.key = None;
                node.roll_back(*at, *back, &config);
                Some((*at, None))
            }
            Action::Propose(_)
            | Action::Read(_)
            | Action::Transfer(..)
            | Action::Reconfigure(..)
            | Action::Compact(_)
            | Action::Arrive(_)
            | Action::Cut(_) => None,
        }
    }

    pub(super) fn request(&mut self) -> RequestId {
        self.requests += 1;
        RequestId::new(self.requests)
    }

    fn node(&mut self, at: usize) -> &mut Node {
        let node = Arc::make_mut(&mut self.nodes[at]);
        node.key = None;
        node
    }

    fn holds(&self, letter: &Letter) -> bool {
        self.letters.iter().any(|found| found.letter == *letter)
    }

    fn remove(&mut self, letter: &Letter) -> Option<()> {
        let place = self.letters.iter().position(|found| found.letter == *letter)?;
        self.letters.remove(place);
        Some(())
    }

    /// From now on no time passes, so that who was heard from counts as fresh.
    pub(super) fn hold_time(&mut self) {
        self.passes_ns = 0;
    }

    pub(super) fn let_time_pass(&mut self) {
        self.passes_ns = PASSES_NS;
    }

    pub(super) fn step(&mut self, at: usize, input: Input) -> Result<(), String> {
        self.step_with(at, input).map(|_| ())
    }

    /// Steps a node, drains it and hands its lanes on; returns what clients are told.
    pub(super) fn step_with(&mut self, at: usize, input: Input) -> Result<Vec<Reply>, String> {
        // A disk may be as quick as it likes: what waits for evidence is not too late by it.
        let written = matches!(input, Input::Persisted { .. });
        let passes_ns = if written { 0 } else { self.passes_ns };
        let node = self.node(at);
        node.now = node.now.after(passes_ns);
        let now = node.now;
        let before = node.raft.clone();
        node.raft.step(now, input);
        let actions = node.raft.drain(now);
        node.raft.check_state();
        node.raft.check_transition(&before);
        let base = actions.write.as_ref().and_then(|write| write.compact_to.clone());
        if let Some(write) = actions.write {
            node.memory.follow(&write);
            node.writes.push_back(write);
        }
        if let Some(meta) = base {
            self.oracle.is_named(&meta)?;
        }
        Arc::make_mut(&mut self.oracle).look(&self.nodes, at)?;
        let mut snapshots = Vec::new();
        for send in actions.send {
            let (to, message) = match send {
                Outgoing::Message { to, message } => (to, message),
                Outgoing::Entries { to, term, prev, range, commit, round } => {
                    let entries = self.nodes[at].memory.range(range);
                    let entries = entries.ok_or("what is sent is in the log")?.to_vec();
                    let body = Body::AppendEntries { prev, entries, commit, round };
                    (to, Message { term, body })
                }
                Outgoing::Snapshot { to, term, at_least } => {
                    snapshots.push((to, term, at_least));
                    continue;
                }
            };
            let incarnation = self.nodes[at].incarnation;
            let letter = Letter { from: at, incarnation, to: place_of(to), message };
            Arc::make_mut(&mut self.oracle).says(&self.nodes[at], &letter)?;
            self.post(letter);
        }
        for reply in &actions.reply {
            Arc::make_mut(&mut self.oracle).answers(&before, reply)?;
        }
        let installed = actions.install.map(|meta| meta.last.index);
        for index in installed.into_iter().chain(actions.apply.map(|range| *range.end())) {
            self.step(at, Input::Applied { index })?;
        }
        for (to, term, at_least) in snapshots {
            self.send_snapshot(at, to, term, at_least)?;
        }
        Ok(actions.reply)
    }

    fn post(&mut self, letter: Letter) {
        let number = hash(&letter);
        let posted = Arc::new(Posted { letter, number });
        self.take_in(&posted);
        self.posted.push(posted);
    }

    /// Adds a letter; `false` if it is there for ever already, or means nothing to its receiver.
    pub(super) fn take_in(&mut self, posted: &Arc<Posted>) -> bool {
        let same = |other: &Arc<Posted>| other.number == posted.number;
        if self.keeps_letters && self.letters.iter().any(same) || self.is_void(&posted.letter) {
            return false;
        }
        self.letters.push(Arc::clone(posted));
        true
    }

    /// From now on letters stay under way for ever.
    pub(super) fn keep_letters(&mut self) {
        self.keeps_letters = true;
        Arc::make_mut(&mut self.oracle).ignore_matches();
    }

    /// Where letters stay under way, a slow disk adds nothing but at a leader that may yet crash.
    /// What others do not promise before it is durable may as well be late on the network, and a
    /// crash before that is one before the step: they say nothing else that binds them (§3.8). A
    /// leader says what it has not on its own disk (§10.2.1).
    fn write_at_once(&mut self) -> Result<(), String> {
        for at in 0..self.nodes.len() {
            while self.writes_at_once(at) && !self.nodes[at].writes.is_empty() {
                let write = self.node(at).persist().expect("there is one");
                self.step(at, Input::Persisted { write })?;
            }
        }
        Ok(())
    }

    fn writes_at_once(&self, at: usize) -> bool {
        let leads = || self.nodes[at].raft.status().role == RoleKind::Leader;
        self.keeps_letters && (self.budget.crashes == 0 || !leads())
    }

    /// Says whether a letter changes nothing for ever: it answers something of a term that its
    /// receiver has left behind for good.
    fn is_void(&self, letter: &Letter) -> bool {
        let answers = match letter.message.body {
            Body::PreVote { .. }
            | Body::Vote { .. }
            | Body::Appended { .. }
            | Body::Conflict { .. }
            | Body::SnapshotInstalled { .. } => !self.keeps_stale_answers,
            Body::RequestPreVote { .. }
            | Body::RequestVote { .. }
            | Body::AppendEntries { .. }
            | Body::TimeoutNow { .. }
            | Body::ReadIndex { .. }
            | Body::ReadIndexReply { .. }
            | Body::Effects { .. }
            | Body::Room { .. } => false,
        };
        answers && letter.message.term < self.nodes[letter.to].hard_state.term
    }

    /// Forgets the letters that change nothing any more.
    pub(super) fn tidy(&mut self) {
        let void: Vec<bool> =
            self.letters.iter().map(|other| self.is_void(&other.letter)).collect();
        let mut void = void.into_iter();
        self.letters.retain(|_| !void.next().unwrap_or(false));
    }
}

pub(super) fn spend(budget: &mut u8) -> Option<()> {
    *budget = budget.checked_sub(1)?;
    Some(())
}

fn receive(letter: &Letter) -> Input {
    let Letter { from, incarnation, to: _, message } = letter.clone();
    Input::Receive { from: id(from), incarnation, message }
}
