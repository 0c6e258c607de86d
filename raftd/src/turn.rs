//! The loop: wait, step each input, drain once, dispatch. All waiting of a node is here.

use std::time::Duration;

use consensus::Timestamp;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use transport::{Accepted, ClientRequest, PeerEvent};

use crate::bootstrap::bootstrapped_before;
use crate::clock::until;
use crate::control::Command;
use crate::exit::Failure;
use crate::inbound::Inbound;
use crate::lanes::Done;
use crate::lanes::network::Elsewhere;
use crate::logging::repeat;
use crate::node::Node;
use crate::services::Services;

/// Inputs of one kind that are stepped before the replica is drained.
const INPUTS_MAX: usize = 256;

/// Timers that are due at once; a node that was paused has more than one.
const TIMERS_MAX: usize = 4;

/// How long a stopping node waits until another one leads, and until clients have their answers.
const HAND_OVER_TIMEOUT: Duration = Duration::from_secs(1);

/// A stopping node refuses what clients still send, until none has sent anything for so long: to
/// them, a connection that ends before an answer came would leave open what became of a write.
const QUIET: Duration = Duration::from_millis(50);

/// A node and all that it waits for.
pub(crate) struct Turn {
    node: Node,
    services: Services,
    reports: mpsc::Receiver<Done>,
    events: mpsc::Receiver<PeerEvent>,
    /// When a client has last asked for something.
    heard: Instant,
}

/// What woke the loop.
enum Woken {
    Report(Done),
    Event(PeerEvent),
    Request(ClientRequest),
    Peer(Accepted),
    Command(Command),
    Redirected(Elsewhere),
    Deaf,
    Due,
    Tick,
}

impl Turn {
    pub(crate) fn new(
        node: Node,
        services: Services,
        reports: mpsc::Receiver<Done>,
        events: mpsc::Receiver<PeerEvent>,
    ) -> Self {
        Self { node, services, reports, events, heard: Instant::now() }
    }

    /// Runs until it is asked to stop or fails, then finishes what is queued within `stop_timeout`.
    /// Gives back what surrounds the node.
    pub(crate) async fn run(mut self, stop_timeout: Duration) -> (Services, Result<(), Failure>) {
        let founded = std::mem::take(&mut self.services.founded);
        self.node.note_founding(self.services.clock.now(), founded);
        let mut tick = Instant::now();
        let mut leaving: Option<Instant> = None;
        let mut failed: Option<Failure> = None;
        loop {
            let woken = self.wait(leaving.map_or(tick, |until| tick.min(self.left(until)))).await;
            let now = self.services.clock.now();
            match woken {
                Woken::Report(done) => self.node.report(now, done),
                Woken::Event(event) => self.node.hear(now, event),
                Woken::Request(request) => self.ask(now, request),
                Woken::Peer(accepted) => self.node.welcome(accepted),
                Woken::Command(Command::Stop) => {
                    let asked_before = leaving.is_some();
                    if asked_before || self.node.leads() && !self.node.hand_over(now) {
                        return self.stop(stop_timeout, None).await;
                    }
                    leaving = Some(Instant::now() + HAND_OVER_TIMEOUT);
                }
                // An owner who does not wait for the answer needs none.
                Woken::Command(Command::Status(reply)) => drop(reply.send(self.node.status(now))),
                Woken::Command(Command::Bootstrap(record, reply)) => {
                    let present = self.services.inbound.hello.borrow().generation;
                    drop(reply.send(bootstrapped_before(present, record.generation())));
                }
                Woken::Redirected(elsewhere) => self.node.redirect(elsewhere),
                Woken::Deaf => self.node.fail(Inbound::deaf()),
                Woken::Due => {}
                Woken::Tick => {
                    tick = Instant::now() + self.services.control.interval();
                    let line = self.node.line(now);
                    self.services.control.beat(line);
                    self.services.control.post(|| self.node.shown(now, &self.services.inbound));
                    repeat::summarise(std::time::Instant::now(), false);
                    self.node.watch(now);
                    self.node.heal(now);
                    self.node.leave_office(now);
                    self.node.remember(now);
                    self.node.measure_room(now);
                    self.node.send_notes(now);
                }
            }
            let now = self.take_queued(now);
            self.fire(now);
            self.node.dispatch(now);
            if let Some(failure) = self.node.take_failure() {
                // What is acknowledged is durable; what is not gets no answer but "unknown".
                if leaving.is_some() || !self.leaves_office(now, &failure) {
                    return self.stop(stop_timeout, failed.or(Some(failure))).await;
                }
                leaving = Some(Instant::now() + HAND_OVER_TIMEOUT);
                failed = Some(failure);
            }
            if leaving.is_some_and(|until| self.has_left(until, failed.is_some())) {
                return self.stop(stop_timeout, failed).await;
            }
        }
    }

    /// Says whether a node that is to stop has nothing to wait for any more: another one leads, and
    /// clients know what became of what they asked for. Without a state nobody can tell them.
    fn has_left(&self, until: Instant, has_failed: bool) -> bool {
        let is_quiet = self.heard.elapsed() >= QUIET && !self.node.owes_answers();
        Instant::now() >= until || !self.node.leads() && (has_failed || is_quiet)
    }

    /// Returns when to look at that again.
    fn left(&self, until: Instant) -> Instant {
        let quiet = self.heard + QUIET;
        if quiet > Instant::now() { quiet.min(until) } else { until }
    }

    fn ask(&mut self, now: Timestamp, request: ClientRequest) {
        self.heard = Instant::now();
        self.node.ask(now, request);
    }

    /// A leader whose state alone is damaged still has its log, so that another one can take over
    /// at once; says whether that is begun.
    fn leaves_office(&mut self, now: Timestamp, failure: &Failure) -> bool {
        let begun = failure.is_of_the_state() && self.node.leads() && self.node.hand_over(now);
        if begun {
            self.node.dispatch(now);
        }
        begun
    }

    async fn wait(&mut self, tick: Instant) -> Woken {
        let now = self.services.clock.now();
        let due = self.node.deadline().map(|(at, _)| Instant::now() + until(now, at));
        let timer = async {
            match due {
                Some(due) => sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        let Services { inbound, control, reload, .. } = &mut self.services;
        tokio::select! {
            Some(done) = self.reports.recv() => Woken::Report(done),
            Some(event) = self.events.recv() => Woken::Event(event),
            Some(request) = inbound.requests.recv() => Woken::Request(request),
            Some(accepted) = inbound.peers.recv() => Woken::Peer(accepted),
            command = control.next() => Woken::Command(command),
            elsewhere = reload.redirected() => Woken::Redirected(elsewhere),
            Err(_) = inbound.accepting.changed() => Woken::Deaf,
            () = timer => Woken::Due,
            () = sleep_until(tick) => Woken::Tick,
        }
    }

    /// Takes what else has arrived, so that one drain serves all of it. The clock is read again
    /// behind each message, or a node that was stopped in between would believe that it heard from
    /// its leader earlier than that leader spoke, and a lease would outlast it (§6.4.1).
    fn take_queued(&mut self, mut now: Timestamp) -> Timestamp {
        for _ in 0..INPUTS_MAX {
            match self.reports.try_recv() {
                Ok(done) => self.node.report(now, done),
                Err(_) => break,
            }
        }
        for _ in 0..INPUTS_MAX {
            match self.events.try_recv() {
                Ok(event) => {
                    now = self.services.clock.now();
                    self.node.hear(now, event);
                }
                Err(_) => break,
            }
        }
        for _ in 0..INPUTS_MAX {
            match self.services.inbound.requests.try_recv() {
                Ok(request) => self.ask(now, request),
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
    async fn stop(
        self,
        within: Duration,
        failed: Option<Failure>,
    ) -> (Services, Result<(), Failure>) {
        let Self { node, services, mut reports, .. } = self;
        if !failed.as_ref().is_some_and(Failure::is_of_the_state) {
            tracing::info!(name: "stopping", "stopping");
            services.control.stopping();
        }
        let ending = node.stop(services.clock.now());
        let finish = async {
            while !ending.is_finished() {
                tokio::select! {
                    // Lanes wait when nobody takes their reports.
                    report = reports.recv() => if report.is_none() { sleep(PAUSE).await },
                    () = sleep(PAUSE) => {}
                }
            }
        };
        let finished = timeout(within, finish).await.map_err(|_| ending.late());
        let ended = match failed {
            // Why the node ends decides what is done next, and must not get lost.
            Some(failure) => {
                if let Err(late) = &finished {
                    tracing::error!(name: "stopped-late", "{late}");
                }
                Err(failure)
            }
            None => finished.inspect(|()| tracing::info!(name: "stopped", "stopped")),
        };
        (services, ended)
    }
}

/// How often it is looked whether the lanes have finished.
const PAUSE: Duration = Duration::from_millis(2);
