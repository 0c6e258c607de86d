//! A node of the modelled world: the replica under test, its disk, its clock and its state machine.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use consensus::{
    Chain, ClusterTime, Config, Configuration, Entry, EntryId, HardState, Incarnation, LogIndex,
    Member, Message, NodeId, Payload, Raft, Restored, Term, Timestamp, Vote,
};
use replica::{Input, Limits, Replica};
use state_machine::{Host, QueryView};

use crate::acquaintances::Acquaintances;
use crate::broken::Broken;
use crate::disk::{Disk, Lost};
use crate::inbox::Turns;
use crate::log::Log;
use crate::machine::Numbered;
use crate::rng::Rng;
use crate::rooms::Told;
use crate::store::{State, Store};
use crate::stream::{Asked, Reading, Stream};
use crate::watch::Watch;

/// An entry's bytes beside its command, at most.
const ENTRY_BYTES: usize = 128;

/// What a paused node will find when it wakes.
#[derive(Clone, Debug)]
pub(crate) enum Late {
    Message(NodeId, Incarnation, Message),
    Ask(replica::Input),
    /// A question is answered.
    Answer(Box<Asked>),
    DiskDone,
    /// A piece of old entries is read.
    Read(Box<Reading>),
    Applied,
    Due,
    /// A snapshot has arrived whole.
    Arrived(Box<Stream>),
    /// It is durable.
    Received(Box<Stream>),
}

/// What waits for the state machine.
#[derive(Clone, Debug)]
pub(crate) enum Task {
    /// Apply up to here; the entries, if they were read at once.
    Apply(LogIndex, Option<Vec<Entry>>),
    /// Replace the state by this snapshot on the disk.
    Install(EntryId),
    /// Make a view of the state.
    View,
    /// Keep the state at hand, for a snapshot.
    Checkpoint,
}

/// A node.
pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) incarnation: Incarnation,
    /// Whether its data directory was lost, and it is not yet a member with the one it has now.
    pub(crate) wiped: bool,
    /// A copy of its data directory that somebody keeps.
    pub(crate) copy: Option<Box<Disk>>,
    /// `None` while it is down.
    pub(crate) replica: Option<Replica>,
    /// Counts its starts; events of earlier lives are void.
    pub(crate) life: u32,
    pub(crate) disk: Disk,
    /// The log as the replica has it: the durable one and what is on its way.
    pub(crate) memory: Log,
    /// The state machine, as it is now.
    pub(crate) host: Host<Store>,
    /// What waits for it.
    pub(crate) tasks: VecDeque<Task>,
    /// The state that is at hand to be written to a snapshot.
    pub(crate) checkpoint: Option<State>,
    /// The end of the snapshot that is being written.
    pub(crate) making: Option<EntryId>,
    /// Snapshots that are being sent, by the number of the sending.
    pub(crate) sending: BTreeMap<u64, EntryId>,
    /// Followers that are fed, and whether a piece is under way to them.
    pub(crate) feeding: BTreeMap<NodeId, bool>,
    /// Snapshots that have arrived, and wait for a decision.
    pub(crate) offers: BTreeMap<u64, Box<Stream>>,
    /// The newest view of the state, and whether views are made with every batch.
    pub(crate) view: QueryView,
    pub(crate) views: bool,
    /// The nodes that it talks to.
    pub(crate) peers: BTreeSet<NodeId>,
    /// How far the oracle has looked at the commit index.
    pub(crate) seen_commit: LogIndex,
    /// The room on the disk that the replica was told of last.
    pub(crate) room: Told,
    pub(crate) paused: bool,
    pub(crate) backlog: Vec<Late>,
    /// The loop: what has arrived there, and until when it is busy.
    pub(crate) turns: Turns,
    /// What it remembers of others.
    pub(crate) acquaintances: Acquaintances,
    /// What the oracle has seen of it in this life.
    pub(crate) watch: Watch,
    /// The data directories that it had before it lost them.
    pub(crate) former: BTreeMap<Incarnation, Box<Disk>>,
    /// The next time at which a wake-up is scheduled, in world time.
    pub(crate) wake: Option<Timestamp>,
    /// The disk is slow until then.
    pub(crate) stalled: Timestamp,
    /// How the node's clock differs: parts per million, and nanoseconds ahead.
    drift_ppm: i64,
    pub(crate) ahead_ns: u64,
    /// The last entry that was appended, and its cluster time.
    pub(crate) stamped: (EntryId, ClusterTime),
    /// The latest cluster time of what its log begins behind.
    pub(crate) known_stamp: ClusterTime,
}

impl Node {
    /// Makes a first member, or a node that belongs to no cluster yet.
    pub(crate) fn new(id: NodeId, configuration: Option<&Configuration>, drift_ppm: i64) -> Self {
        let term = configuration.map_or(Term::ZERO, |_| Term::new(1));
        let log = configuration.map(first).into_iter().collect();
        let disk = Disk::new(log, HardState { term, vote: None });
        Self {
            id,
            incarnation: incarnation(id),
            wiped: false,
            copy: None,
            replica: None,
            life: 0,
            disk,
            memory: Log::default(),
            host: host(State::default()),
            tasks: VecDeque::new(),
            checkpoint: None,
            making: None,
            sending: BTreeMap::new(),
            feeding: BTreeMap::new(),
            offers: BTreeMap::new(),
            view: host(State::default()).view(),
            views: false,
            peers: BTreeSet::new(),
            seen_commit: LogIndex::ZERO,
            room: Told::default(),
            paused: false,
            backlog: Vec::new(),
            turns: Turns::default(),
            acquaintances: Acquaintances::default(),
            watch: Watch::default(),
            former: BTreeMap::new(),
            wake: None,
            stalled: Timestamp::ZERO,
            drift_ppm,
            ahead_ns: 0,
            stamped: (EntryId::ZERO, ClusterTime::ZERO),
            known_stamp: ClusterTime::ZERO,
        }
    }

    /// Lets the node's clock be as fast, or as slow, as clocks are at most.
    pub(crate) fn drift_at_an_end(&mut self, rng: &mut Rng, ppm: u64) {
        let ppm = i64::try_from(ppm).expect("small");
        self.drift_ppm = if rng.permille(500) { ppm } else { -ppm };
    }

    /// The node's own clock.
    pub(crate) fn local(&self, now: Timestamp) -> Timestamp {
        Timestamp::new(self.counted_ns(now) + self.ahead_ns)
    }

    /// What the clock would show if it never jumped.
    pub(crate) fn counted_ns(&self, now: Timestamp) -> u64 {
        let real = i128::from(now.get());
        let own = real + real * i128::from(self.drift_ppm) / 1_000_000;
        u64::try_from(own).expect("clocks drift by less than time")
    }

    /// When the world's clock shows what the node's clock shows at `local`, or a little later.
    pub(crate) fn global(&self, local: Timestamp) -> Timestamp {
        let own = i128::from(local.get().saturating_sub(self.ahead_ns));
        let real = own * 1_000_000 / (1_000_000 + i128::from(self.drift_ppm)) + 2;
        Timestamp::new(u64::try_from(real).expect("a time is not negative"))
    }

    pub(crate) fn jump(&mut self, nanos: u64) {
        self.ahead_ns += nanos;
    }

    /// The room was told in this turn, or not; and so much is on its way to the disk, at most. Who
    /// is answered in this turn is among them.
    pub(crate) fn note_under_way(&mut self, told: bool) {
        let waiting: usize = self.watch.writes.values().map(|(bytes, _)| bytes).sum();
        let durable = self.disk.log.last().index;
        let behind = self.memory.entries().iter().rev().take_while(|e| e.id.index > durable);
        let bytes = |entry: &Entry| match &entry.payload {
            Payload::Command(command) => command.len() + ENTRY_BYTES,
            Payload::Noop | Payload::Configuration(_) => 8 * ENTRY_BYTES,
        };
        self.room.told_now = told;
        self.room.under_way = waiting.max(behind.map(bytes).sum());
    }

    /// Returns a vote for this node with its present directory.
    pub(crate) fn own_vote(&self) -> Vote {
        Vote { candidate: self.id, incarnation: self.incarnation }
    }

    pub(crate) fn is_up(&self) -> bool {
        self.replica.is_some()
    }

    /// What the state machine has applied.
    pub(crate) fn applied(&self) -> LogIndex {
        self.host.applied().index
    }

    /// Starts the process from what the disk holds, as the daemon does. A log that begins behind
    /// the state means that the power went while a snapshot was installed: that goes on first.
    pub(crate) fn start(
        &mut self,
        now: Timestamp,
        config: Config,
        limits: Limits,
    ) -> Result<Start, Broken> {
        let disk = &mut self.disk;
        if !disk.is_covered() {
            let why = format!(
                "node {} restarts, its log begins behind {}, its durable state covers {}",
                self.id,
                disk.log.base(),
                disk.flushed
            );
            return Err(Broken::new("what is compacted is in a durable state (§5.1)", why));
        }
        let base = disk.log.base();
        let waiting = disk.files.iter().any(|file| file.meta.last.index > disk.flushed);
        let start = match disk.file(base) {
            Some(snapshot) if base.index > disk.flushed => {
                (disk.flushed, disk.state) = (base.index, snapshot.state.clone());
                Start::Installs
            }
            Some(_) | None if waiting => Start::DropsSnapshot,
            Some(_) | None => Start::Plain,
        };
        self.host = host(disk.state.clone());
        let stamps = disk.log.entries().iter().map(|entry| entry.stamp);
        let base = disk.log.base_meta().map(|meta| meta.stamp);
        self.known_stamp = base.unwrap_or_default();
        let stamp = stamps.chain(base).chain([self.host.time()]).max().unwrap_or_default();
        let torn = |what| Broken::new("what was written can be restored", what);
        let restored = Restored {
            incarnation: self.incarnation,
            hard_state: disk.restored(),
            log: disk.log.view().ok_or_else(|| torn("the disk's log is not in order"))?,
            membership: disk
                .log
                .membership()
                .ok_or_else(|| torn("the disk's configurations are not in order"))?,
            applied: disk.flushed,
            stamp,
        };
        let raft = Raft::restore(self.id, config, restored, self.local(now))
            .map_err(|error| Broken::new("what was written can be restored", error.to_string()))?;
        let files = self.disk.files.iter().map(|file| file.meta.last).collect();
        let chain = self.disk.log.chain(self.disk.log.last().index);
        let replica = Replica::new(self.local(now), raft, limits, files);
        let mut replica = replica.behind(chain);
        if !self.host.alarms().is_empty() {
            let raised = self.host.alarms().clone();
            replica.step(self.local(now), Input::Alarms { raised });
        }
        self.replica = Some(replica);
        self.memory.clone_from(&self.disk.log);
        self.seen_commit = self.disk.flushed;
        self.tasks.clear();
        self.checkpoint = None;
        self.making = None;
        self.sending.clear();
        self.feeding.clear();
        self.offers.clear();
        self.peers.clear();
        (self.view, self.views) = (self.host.view(), false);
        self.backlog.clear();
        self.turns = Turns::default();
        self.watch = Watch::new(self.local(now));
        self.room = Told::default();
        self.paused = false;
        self.wake = None;
        self.life += 1;
        self.acquaintances = Acquaintances::start(&mut self.disk, u64::from(self.life));
        Ok(start)
    }

    /// Cuts the power.
    pub(crate) fn crash(&mut self, rng: &mut Rng) -> Lost {
        self.replica = None;
        if rng.permille(500) {
            self.disk.remembered = self.acquaintances.all();
        }
        let lost = self.disk.crash(rng);
        self.backlog.clear();
        self.turns = Turns::default();
        self.life += 1;
        lost
    }

    /// Replaces the data directory by an empty one.
    pub(crate) fn wipe(&mut self) {
        self.begin_anew(Some(Disk::new(Vec::new(), HardState::default())));
    }

    /// Its directory is about to forget something: what it was is remembered here.
    pub(crate) fn forget(&mut self) {
        let directory = || Box::new(self.disk.clone());
        self.former.entry(self.incarnation).or_insert_with(directory);
        self.wiped = true;
    }

    /// Draws a new incarnation for a directory that has forgotten something: this one, or the one
    /// that stays.
    pub(crate) fn begin_anew(&mut self, directory: Option<Disk>) {
        self.forget();
        if let Some(directory) = directory {
            self.disk = directory;
        }
        self.incarnation = Incarnation::new(self.incarnation.get() + 1_000);
    }

    /// Returns the data directory that a configuration counts for this node, if that is one of its
    /// own: the present one, or the one that it has lost.
    pub(crate) fn directory(&self, configuration: &Configuration) -> Option<&Disk> {
        let incarnation = configuration.member(self.id)?.incarnation;
        let former = self.former.get(&incarnation);
        // A directory that has forgotten something is not another one before the next start.
        if incarnation == self.incarnation && (former.is_none() || self.is_up()) {
            return Some(&self.disk);
        }
        former.map(|disk| &**disk)
    }

    /// Says whether the directory that a configuration counts for this node is the present one, and
    /// whole.
    pub(crate) fn is_sound(&self, configuration: &Configuration) -> bool {
        let known = configuration.member(self.id).map(|member| member.incarnation);
        let forgot = self.former.contains_key(&self.incarnation);
        known == Some(self.incarnation) && !forgot && self.disk.damaged.is_empty()
    }

    /// Makes the state durable.
    pub(crate) fn persist(&mut self) -> LogIndex {
        let flushed = self.host.persist().expect("memory does not fail");
        self.disk.flushed = flushed;
        self.disk.state = self.host.store().state();
        flushed
    }
}

/// How a node started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    Plain,
    /// It installed a snapshot that a crash had come before.
    Installs,
    /// It found a snapshot that its log does not wait for.
    DropsSnapshot,
}

/// The first entry of a cluster's log.
pub(crate) fn first(configuration: &Configuration) -> Entry {
    let id = EntryId { term: Term::new(1), index: LogIndex::new(1) };
    let payload = Payload::Configuration(configuration.clone());
    let entry = Entry::new(id, ClusterTime::ZERO, payload);
    // The storage gives it one when the cluster is founded.
    let chain = protocol::chain(Chain::ZERO, &entry);
    Entry { chain, ..entry }
}

/// Opens a state.
pub(crate) fn host(state: State) -> Host<Store> {
    Host::open(Store::new(state), Arc::new(Numbered::default())).expect("memory does not fail")
}

/// The data directories that the modelled nodes begin with.
pub(crate) fn incarnation(id: NodeId) -> Incarnation {
    Incarnation::new(1_000 + id.get())
}

/// Members with names and addresses that nobody looks at.
pub(crate) fn member(id: NodeId) -> Member {
    Member { incarnation: incarnation(id), name: format!("n{id}"), address: format!("n{id}:1") }
}
