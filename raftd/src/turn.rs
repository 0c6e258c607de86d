//! The loop: wait, step each input, drain once, dispatch. All waiting of a node is here.

use std::time::Duration;

use consensus::Timestamp;
use storage::DataDirectory;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use transport::{Accepted, ClientRequest, PeerEvent, answer_visit};

use crate::bootstrap::answer_uninitialised;
use crate::clock::{Clock, until};
use crate::daemon::Program;
use crate::door::Door;
use crate::exit::Failure;
use crate::gauges::Gauges;
use crate::identity::Identity;
use crate::lanes::Done;
use crate::lanes::network::Elsewhere;
use crate::logging;
use crate::node::{Ending, Node};
use crate::reload::Reload;
use crate::shutdown::{Ask, Signals};
use crate::systemd::Systemd;

/// Inputs of one kind that are stepped before the replica is drained.
const INPUTS_MAX: usize = 256;

/// Timers that are due at once; a node that was paused has more than one.
const TIMERS_MAX: usize = 4;

/// How long a stopping leader waits until another one has taken over.
const HAND_OVER_TIMEOUT: Duration = Duration::from_secs(1);

/// How often the service manager hears what the node does.
const STATUS_INTERVAL: Duration = Duration::from_secs(1);

/// Everything around a node that is not a lane.
pub(crate) struct Surroundings {
    pub(crate) clock: Clock,
    pub(crate) door: Door,
    pub(crate) signals: Signals,
    pub(crate) systemd: Systemd,
    pub(crate) reload: Reload,
    /// The machine that a founding record must name, and how its log is made.
    pub(crate) founding: Program,
}

/// How a phase ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// By a signal.
    Stopped,
    /// The node has a history now.
    Initialised,
}

/// A node and all that it waits for.
pub(crate) struct Turn {
    node: Node,
    around: Surroundings,
    reports: mpsc::Receiver<Done>,
    events: mpsc::Receiver<PeerEvent>,
}

/// What woke the loop.
enum Woken {
    Report(Done),
    Event(PeerEvent),
    Request(ClientRequest),
    Peer(Accepted),
    Signal(Ask),
    Redirected(Elsewhere),
    Due,
    Tick,
}

impl Turn {
    pub(crate) fn new(
        node: Node,
        around: Surroundings,
        reports: mpsc::Receiver<Done>,
        events: mpsc::Receiver<PeerEvent>,
    ) -> Self {
        Self { node, around, reports, events }
    }

    /// Runs until a signal or a failure, then finishes what is queued within `stop_timeout`.
    pub(crate) async fn run(mut self, stop_timeout: Duration) -> Result<(), Failure> {
        let mut tick = Instant::now();
        let mut leaving: Option<Instant> = None;
        loop {
            let woken = self.wait(leaving.map_or(tick, |until| tick.min(until))).await;
            let now = self.around.clock.now();
            match woken {
                Woken::Report(done) => self.node.report(now, done),
                Woken::Event(event) => self.node.hear(now, event),
                Woken::Request(request) => self.node.ask(now, request),
                Woken::Peer(accepted) => self.node.welcome(accepted),
                Woken::Signal(Ask::Stop) => {
                    let asked_before = leaving.is_some();
                    if asked_before || !self.node.leads() || !self.node.hand_over(now) {
                        return self.stop(stop_timeout).await;
                    }
                    leaving = Some(Instant::now() + HAND_OVER_TIMEOUT);
                }
                Woken::Signal(Ask::Reload) => self.around.reload.reload(),
                Woken::Redirected(elsewhere) => self.node.redirect(now, elsewhere),
                Woken::Due => {}
                Woken::Tick => {
                    tick = Instant::now() + self.around.tick_interval();
                    self.around.systemd.keepalive();
                    let line = self.line(now);
                    self.around.systemd.status(&line);
                    self.node.watch(now);
                    self.node.look_for_room(now);
                }
            }
            let now = self.gather(now);
            self.fire(now);
            self.node.dispatch(now);
            if leaving.is_some_and(|until| !self.node.leads() || Instant::now() >= until) {
                return self.stop(stop_timeout).await;
            }
            if let Some(failure) = self.node.take_failure() {
                // What is acknowledged is durable; what is not gets no answer but "unknown".
                let stopped = self.stop(stop_timeout).await;
                return stopped.and(Err(failure));
            }
        }
    }

    /// Says in a few words what the node does, and what the log could not say.
    fn line(&mut self, now: Timestamp) -> String {
        let line = self.node.line(now);
        match logging::lost_lines() {
            0 => line,
            lost => format!("{line}; {lost} log lines lost, the log took none"),
        }
    }

    async fn wait(&mut self, tick: Instant) -> Woken {
        let now = self.around.clock.now();
        let due = self.node.deadline().map(|(at, _)| Instant::now() + until(now, at));
        let timer = async {
            match due {
                Some(due) => sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        let Surroundings { door, signals, reload, .. } = &mut self.around;
        tokio::select! {
            Some(done) = self.reports.recv() => Woken::Report(done),
            Some(event) = self.events.recv() => Woken::Event(event),
            Some(request) = door.requests.recv() => Woken::Request(request),
            Some(accepted) = door.peers.recv() => Woken::Peer(accepted),
            ask = signals.next() => Woken::Signal(ask),
            elsewhere = reload.redirected() => Woken::Redirected(elsewhere),
            () = timer => Woken::Due,
            () = sleep_until(tick) => Woken::Tick,
        }
    }

    /// Takes what else has arrived, so that one drain serves all of it. The clock is read again
    /// behind each message, or a node that was stopped in between would believe that it heard from
    /// its leader earlier than that leader spoke, and a lease would outlast it (§6.4.1).
    fn gather(&mut self, mut now: Timestamp) -> Timestamp {
        for _ in 0..INPUTS_MAX {
            match self.reports.try_recv() {
                Ok(done) => self.node.report(now, done),
                Err(_) => break,
            }
        }
        for _ in 0..INPUTS_MAX {
            match self.events.try_recv() {
                Ok(event) => {
                    now = self.around.clock.now();
                    self.node.hear(now, event);
                }
                Err(_) => break,
            }
        }
        for _ in 0..INPUTS_MAX {
            match self.around.door.requests.try_recv() {
                Ok(request) => self.node.ask(now, request),
                Err(_) => break,
            }
        }
        now
    }

    fn fire(&mut self, now: Timestamp) {
        for _ in 0..TIMERS_MAX {
            match self.node.deadline() {
                Some((at, timer)) if at <= now => self.node.timeout(now, timer),
                Some(_) | None => return,
            }
        }
    }

    /// Tells clients, then lets the lanes finish what is queued.
    async fn stop(self, within: Duration) -> Result<(), Failure> {
        let Self { node, around, mut reports, .. } = self;
        tracing::info!("stopping");
        around.systemd.stopping();
        let ending = node.stop(around.clock.now());
        let finish = async {
            while !ending.is_finished() {
                tokio::select! {
                    // Lanes wait when nobody takes their reports.
                    report = reports.recv() => if report.is_none() { sleep(PAUSE).await },
                    () = sleep(PAUSE) => {}
                }
            }
        };
        timeout(within, finish).await.map_err(|_| Ending::late())?;
        tracing::info!("stopped");
        Ok(())
    }
}

/// How often it is looked whether the lanes have finished.
const PAUSE: Duration = Duration::from_millis(2);

impl Surroundings {
    /// Serves a node without a history until it has one.
    pub(crate) async fn uninitialised(
        &mut self,
        identity: &mut Identity,
        gauges: &Gauges,
        directory: &mut DataDirectory,
    ) -> Result<Ended, Failure> {
        tracing::info!(
            "uninitialised: waiting for `raftctl init`; {} holds no data of a cluster, and this \
             node does not vote: if it should hold some, is its file system mounted?",
            directory.path().display()
        );
        self.systemd.status("uninitialised: waiting for `raftctl init`");
        let interval = self.tick_interval();
        loop {
            tokio::select! {
                Some(request) = self.door.requests.recv() => {
                    let now = self.clock.now();
                    let program = &self.founding;
                    if answer_uninitialised(now, request, identity, gauges, directory, program)? {
                        identity.generation = directory.generation();
                        let generation = identity.generation;
                        self.door.hello.send_modify(|hello| hello.generation = generation);
                        return Ok(Ended::Initialised);
                    }
                }
                Some(accepted) = self.door.peers.recv() => {
                    let hello = self.door.hello.borrow().clone();
                    tokio::spawn(answer_visit(accepted, hello));
                }
                ask = self.signals.next() => match ask {
                    Ask::Stop => {
                        self.systemd.stopping();
                        tracing::info!("stopped");
                        return Ok(Ended::Stopped);
                    }
                    Ask::Reload => self.reload.reload(),
                },
                () = sleep(interval) => self.systemd.keepalive(),
            }
        }
    }

    fn tick_interval(&self) -> Duration {
        self.systemd.keepalive_interval().map_or(STATUS_INTERVAL, |due| due.min(STATUS_INTERVAL))
    }
}
