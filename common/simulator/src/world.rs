//! The world: a heap of events in the order of time, and what each of them does.

use std::collections::BTreeSet;

use consensus::{
    Configuration, Incarnation, Input as Raw, LogIndex, Majority, Message, NodeId, RequestId,
    Timestamp, Voters,
};
use replica::{Alarm, Input, SnapshotNews, Transfer};

use crate::agenda::Agenda;
use crate::broken::Broken;
use crate::coverage::{Coverage, Met};
use crate::disk::Snapshot;
use crate::faults::{MS, Profile};
use crate::habits::Habits;
use crate::newcomers::Changes;
use crate::node::{Late, Node, member};
use crate::oracle::Oracle;
use crate::rng::Rng;
use crate::rooms::Rooms;
use crate::scenarios::{Figure37, Scenarios};
use crate::sessions::Sessions;
use crate::settings::{Clocks, Settings};
use crate::stream::{Asked, Reading, Stream};
use crate::ways::Ways;
use crate::workload::Clients;

/// What a state takes on the disk: of no consequence here, where the profile says what is kept.
pub(crate) const STATE_BYTES: u64 = 64;

/// What happens at some time.
#[derive(Clone, Debug)]
pub(crate) enum Happening {
    Deliver {
        from: NodeId,
        /// The data directory that spoke.
        incarnation: Incarnation,
        to: usize,
        message: Message,
    },
    Wake {
        node: usize,
        life: u32,
    },
    DiskDone {
        node: usize,
        life: u32,
    },
    Applied {
        node: usize,
        life: u32,
    },
    Read(usize, u32, Box<Reading>),
    /// A node's loop is free again, and takes what has arrived meanwhile.
    Turn {
        node: usize,
        life: u32,
    },
    /// A question is answered from a view.
    Answer(usize, u32, Box<Asked>),
    /// A process ends that was told to, or must.
    Ends {
        node: usize,
        life: u32,
    },
    /// A leader gives leadership back.
    GiveBack {
        node: usize,
        life: u32,
        to: usize,
    },
    /// Something that is no fault of the network's happens, by the seed's habits.
    Trouble,
    /// A node's state becomes durable.
    Flush {
        node: usize,
        life: u32,
    },
    /// Its replica is told.
    Flushed {
        node: usize,
        life: u32,
        index: LogIndex,
    },
    /// The last byte of a snapshot is here; it is durable here; its sender hears how it ended.
    Arrives(Box<Stream>),
    Received(Box<Stream>),
    Sent {
        node: usize,
        life: u32,
        number: u64,
        to: NodeId,
        end: Transfer,
    },
    /// The nodes that a change brings in have said who they are.
    Met {
        node: usize,
        life: u32,
        request: RequestId,
    },
    /// A snapshot is a file, or could not be written.
    Made {
        node: usize,
        life: u32,
        snapshot: Option<Box<Snapshot>>,
    },
    /// A lane dropped something for a peer.
    Unreachable {
        node: usize,
        life: u32,
        peer: NodeId,
    },
    /// A node learns that the process of another one has ended.
    Gone {
        node: usize,
        life: u32,
        peer: NodeId,
    },
    Start {
        node: usize,
        life: u32,
    },
    Resume {
        node: usize,
        life: u32,
    },
    Fault,
    /// The scenario of figure 3.7 begins.
    Figure37,
    Request,
    /// The room on a node's disk is measured.
    Measure {
        node: usize,
    },
    /// Leaders are told with which data directories members are connected.
    Directories,
    /// A leader proposes an alarm by itself.
    Alarm {
        node: usize,
        life: u32,
        alarm: Alarm,
    },
    /// A scenario goes on; or it has a client ask.
    Scenario,
    Ask {
        node: usize,
        read: bool,
    },
}

/// Something that has happened, as it is repeated: when, how long after what happened before it,
/// which event it was, and what.
#[derive(Clone, Debug)]
pub(crate) struct Taken {
    pub(crate) at: Timestamp,
    pub(crate) later_ns: u64,
    pub(crate) event: u64,
    pub(crate) happening: Happening,
}

/// Everything there is.
pub(crate) struct World {
    pub(crate) now: Timestamp,
    pub(crate) rng: Rng,
    pub(crate) profile: Profile,
    pub(crate) habits: Habits,
    pub(crate) nodes: Vec<Node>,
    pub(crate) oracle: Oracle,
    pub(crate) clients: Clients,
    pub(crate) sessions: Sessions,
    pub(crate) changes: Changes,
    pub(crate) coverage: Coverage,
    /// Pairs (from, to) between which nothing arrives.
    pub(crate) cut: BTreeSet<(NodeId, NodeId)>,
    /// Whether no more faults are injected; nodes outside of the core stay as they are.
    pub(crate) faults_over: bool,
    /// Nodes that are healed.
    pub(crate) core: BTreeSet<usize>,
    /// Nodes that stay down.
    pub(crate) gone: BTreeSet<usize>,
    /// Who led last, and since when; and who led before, and may not know better yet.
    pub(crate) leader: usize,
    pub(crate) elected: Timestamp,
    pub(crate) previous_leader: usize,
    pub(crate) figure_3_7: Figure37,
    pub(crate) scenarios: Scenarios,
    pub(crate) rooms: Rooms,
    pub(crate) ways: Ways,
    pub(crate) trace: bool,
    pub(crate) agenda: Agenda<Happening>,
    /// What has happened, where it is to be repeated.
    pub(crate) tape: Option<Vec<Taken>>,
    /// When the faults ended.
    pub(crate) healed: Option<Timestamp>,
    /// What events draw from, and how many there may be.
    pub(crate) seed: u64,
    events_max: u64,
    /// Snapshots that have arrived so far.
    pub(crate) offers: u64,
    pub(crate) digest: u64,
    /// When the present millisecond began, and how many things have happened in it.
    moment: (Timestamp, u64),
}

/// Entries that a leader takes beyond what is committed, where a way is narrow.
const UNCOMMITTED_MAX: u64 = 2_000;

/// A node that wakes for nothing, again and again, would keep a processor busy for ever.
const IN_A_MOMENT_MAX: u64 = 20_000;

impl World {
    /// When every run begins.
    pub(crate) const START: Timestamp = Timestamp::new(1_000 * MS);

    pub(crate) fn new(seed: u64, settings: Settings) -> Self {
        let mut rng = Rng::new(seed);
        let mut profile = Profile::draw(&mut rng);
        let mut habits = Habits::draw(seed, &mut profile);
        if settings.clocks == Clocks::FurtherThanTold {
            profile.run_clocks_apart();
        }
        let mut scenarios = Scenarios::draw(seed, &profile);
        if settings.clocks == Clocks::FurtherThanTold {
            // What such clocks break needs a leader that is alone.
            scenarios.alone_often = 400;
        }
        let ways = Ways::draw(seed);
        if ways.are_narrow() {
            // All that waits for such a way is to arrive within the time that a healed core has.
            habits.limits.uncommitted_max = habits.limits.uncommitted_max.min(UNCOMMITTED_MAX);
        }
        let first = profile.voters + profile.learners;
        let ids: Vec<NodeId> = (1..=first + profile.spares).filter_map(NodeId::new).collect();
        let members = &ids[..usize::try_from(first).expect("few")];
        let voters = usize::try_from(profile.voters).expect("few");
        let configuration = Configuration::new(
            Voters::Stable(Majority::new(ids[..voters].iter().copied())),
            members[voters..].iter().copied().collect(),
            members.iter().map(|id| (*id, member(*id))).collect(),
        );
        let configuration = configuration.expect("distinct ids");
        let ppm = profile.drift_ppm;
        let mut drift = || habits.drift(rng.between(0, 2 * ppm), ppm);
        let initial = |id: &NodeId| members.contains(id).then_some(&configuration);
        let mut nodes: Vec<Node> =
            ids.iter().map(|id| Node::new(*id, initial(id), drift())).collect();
        if settings.clocks == Clocks::FurtherThanTold {
            nodes.iter_mut().for_each(|node| node.drift_at_an_end(&mut rng, ppm));
        }
        Self {
            now: Self::START,
            rng,
            profile,
            habits,
            nodes,
            oracle: Oracle::new(&configuration),
            clients: Clients::default(),
            sessions: Sessions::default(),
            changes: Changes::draw(seed),
            coverage: Coverage::default(),
            cut: BTreeSet::new(),
            faults_over: false,
            core: BTreeSet::new(),
            gone: BTreeSet::new(),
            leader: 0,
            elected: Timestamp::ZERO,
            previous_leader: 0,
            figure_3_7: Figure37::None,
            scenarios,
            rooms: Rooms::draw(seed, ids.len()),
            ways,
            trace: settings.trace,
            agenda: Agenda::by_time(),
            tape: None,
            healed: None,
            seed: seed ^ settings.history.wrapping_mul(0x2545_f491_4f6c_dd1d),
            events_max: settings.events_max,
            offers: 0,
            digest: 0xcbf2_9ce4_8422_2325,
            moment: (Self::START, 0),
        }
    }

    /// Starts all nodes, faults and clients.
    pub(crate) fn start_all(&mut self) -> Result<(), Broken> {
        for node in 0..self.nodes.len() {
            if self.habits.offset_ns > 0 {
                self.coverage.meet(Met::ClockOff);
                let ahead = self.rng.between(0, self.habits.offset_ns);
                self.nodes[node].jump(ahead);
            }
            self.start(node)?;
        }
        self.measure_all();
        self.after(1, Happening::Directories);
        self.after(self.profile.fault_ns, Happening::Fault);
        self.after(self.profile.request_ns, Happening::Request);
        self.after(self.habits.trouble_ns, Happening::Trouble);
        Ok(())
    }

    pub(crate) fn after(&mut self, nanos: u64, happening: Happening) {
        let at = self.now.after(nanos);
        self.at(at, happening);
    }

    pub(crate) fn at(&mut self, at: Timestamp, happening: Happening) {
        self.agenda.add(at, happening);
    }

    /// Lets the next thing happen, unless it is later than `until`; says whether it did.
    pub(crate) fn turn(&mut self, until: Timestamp) -> Result<bool, Broken> {
        let Some((at, happening)) = self.agenda.next(until) else {
            self.now = until;
            return Ok(false);
        };
        let event = self.coverage.events + 1;
        self.note(at, event, &happening);
        self.take(at, event, happening)?;
        Ok(true)
    }

    /// Lets something happen: it draws what this event of the seed draws.
    pub(crate) fn take(
        &mut self,
        at: Timestamp,
        event: u64,
        happening: Happening,
    ) -> Result<(), Broken> {
        if self.coverage.events >= self.events_max {
            return Err(Broken::new("this is long enough", "the run is given up"));
        }
        if at.since(self.moment.0) >= MS {
            self.moment = (at, 0);
        }
        // Of answers there are no more than questions were asked, which may be tens of thousands.
        self.moment.1 += u64::from(!matches!(happening, Happening::Answer(..)));
        if self.moment.1 > IN_A_MOMENT_MAX {
            let why = format!("{IN_A_MOMENT_MAX} things happen in 1 ms, the last {happening:?}");
            return Err(Broken::new("time goes on", why));
        }
        self.now = at;
        self.rng = Rng::of_event(self.seed, event);
        self.coverage.pass(at);
        if self.trace {
            eprintln!("{:>12.6} {happening:?}", at.get() as f64 / 1e9);
        }
        self.happen(happening)?;
        self.fold();
        Ok(())
    }

    fn happen(&mut self, happening: Happening) -> Result<(), Broken> {
        match happening {
            Happening::Deliver { from, incarnation, to, message } => {
                self.deliver((from, incarnation), to, message)
            }
            Happening::Wake { node, life } => {
                if self.nodes[node].life != life || self.nodes[node].wake != Some(self.now) {
                    return Ok(());
                }
                self.nodes[node].wake = None;
                self.meet(node, Late::Due)
            }
            Happening::Turn { node, life } => self.loop_is_free(node, life),
            Happening::Answer(node, life, asked) => self.if_alive(node, life, Late::Answer(asked)),
            Happening::Ends { node, life } => self.end(node, life),
            Happening::GiveBack { node, life, to } => self.given_back(node, life, to),
            Happening::Trouble => self.trouble(),
            Happening::DiskDone { node, life } => self.if_alive(node, life, Late::DiskDone),
            Happening::Read(node, life, read) => self.if_alive(node, life, Late::Read(read)),
            Happening::Applied { node, life } => self.if_alive(node, life, Late::Applied),
            Happening::Flush { node, life } => {
                if self.nodes[node].life == life {
                    self.flush(node);
                }
                Ok(())
            }
            Happening::Flushed { node, life, index } => {
                let input = Input::Flushed { index, state_bytes: STATE_BYTES };
                self.if_alive(node, life, Late::Ask(input))
            }
            Happening::Arrives(stream) => self.arrives(stream),
            Happening::Received(stream) => self.received(stream),
            Happening::Sent { node, life, number, to, end } => {
                if self.nodes[node].life == life {
                    self.nodes[node].sending.remove(&number);
                }
                let input = Input::Snapshot(SnapshotNews::Sent { number, to, end });
                self.if_alive(node, life, Late::Ask(input))
            }
            Happening::Met { node, life, request } => self.met(node, life, request),
            Happening::Made { node, life, snapshot } => self.made(node, life, snapshot),
            Happening::Unreachable { node, life, peer } => {
                let input = Input::Raft(Raw::Unreachable { peer });
                self.if_alive(node, life, Late::Ask(input))
            }
            Happening::Gone { node, life, peer } => self.misses(node, life, peer),
            Happening::Start { node, life } => {
                if self.nodes[node].life == life && !self.gone.contains(&node) {
                    self.start(node)?;
                }
                Ok(())
            }
            Happening::Resume { node, life } => {
                if self.nodes[node].life != life {
                    return Ok(());
                }
                self.resume(node)
            }
            Happening::Fault => self.inject(),
            Happening::Figure37 => self.begin_figure_3_7(),
            Happening::Request => self.request(),
            Happening::Measure { node } => self.measure(node),
            Happening::Directories => self.tell_directories(),
            Happening::Alarm { node, life, alarm } => self.alarm(node, life, alarm),
            Happening::Scenario => {
                self.advance_scenario();
                Ok(())
            }
            Happening::Ask { node, read } => self.ask(node, read),
        }
    }

    fn deliver(
        &mut self,
        (from, incarnation): (NodeId, Incarnation),
        to: usize,
        message: Message,
    ) -> Result<(), Broken> {
        if self.cut.contains(&(from, self.nodes[to].id)) || !self.nodes[to].is_up() {
            return Ok(());
        }
        if let Some(until) = self.hears_at(to) {
            self.at(until, Happening::Deliver { from, incarnation, to, message });
            return Ok(());
        }
        if self.is_turned_away(from, to) {
            return self.tell_removed(from, to);
        }
        self.greet(from, to)?;
        self.meet(to, Late::Message(from, incarnation, message))
    }

    pub(crate) fn if_alive(&mut self, node: usize, life: u32, late: Late) -> Result<(), Broken> {
        if self.nodes[node].life == life {
            return self.meet(node, late);
        }
        self.lose(&late);
        Ok(())
    }

    /// Something reaches a node that is up, or waits until it goes on.
    pub(crate) fn meet(&mut self, node: usize, late: Late) -> Result<(), Broken> {
        if self.nodes[node].paused {
            self.nodes[node].backlog.push(late);
            return Ok(());
        }
        match late {
            Late::Message(from, incarnation, message) => {
                self.step(node, Input::Raft(Raw::Receive { from, incarnation, message }))
            }
            Late::Ask(input) => self.step(node, input),
            Late::Answer(asked) => self.answer_from(node, *asked),
            Late::DiskDone => self.disk_done(node),
            Late::Read(reading) => self.send_piece(node, *reading),
            Late::Applied => self.work(node),
            Late::Arrived(stream) => self.offered(stream),
            Late::Received(stream) => self.receive_snapshot(&stream),
            Late::Due => self.due(node),
        }
    }
}
