//! A run: founds a cluster, does what the schedule says, demands after each phase that all is well
//! again, and judges in the end what the clients saw.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::cluster::{Cluster, Programs};
use crate::failure::{Failure, Result, write};
use crate::fault::{Course, Fault};
use crate::inject::{self, Active};
use crate::machine::leftovers::Slot;
use crate::report::Report;
use crate::rot;
use crate::schedule::{Injection, Phase, Schedule};
use crate::truth::{Sample, Span};
use crate::watch::{Clients, Observer};
use crate::workload::now_ns;

/// How often it is looked at what goes on.
pub(crate) const LOOK: Duration = Duration::from_millis(25);

/// Within this time all must be well again when nothing is broken any more.
pub(crate) const RECOVERY: Duration = Duration::from_secs(90);

/// How many questions at a time.
const WORKERS: usize = 30;

/// What a run is told.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// How long faults are injected.
    pub(crate) lasts: Duration,
    /// What everything random follows from.
    pub(crate) seed: u64,
    /// How many nodes are founded.
    pub(crate) nodes: usize,
    /// The only fault, if it is to be one.
    pub(crate) only: Option<Fault>,
    /// Faults that are left out.
    pub(crate) except: Vec<Fault>,
    /// What is tested.
    pub(crate) programs: Programs,
    /// Where the artefacts go.
    pub(crate) directory: PathBuf,
    /// Set when somebody wants it to end.
    pub(crate) stop: Arc<AtomicBool>,
}

/// A run under way.
pub(crate) struct Run {
    plan: Plan,
    cluster: Arc<Mutex<Cluster>>,
    pub(crate) observer: Observer,
    pub(crate) clients: Clients,
    /// A file has rotted, perhaps a snapshot that is read much later.
    pub(crate) has_rotten: bool,
    /// When a member was replaced last.
    pub(crate) replaced: Option<Instant>,
    supervisor: Option<JoinHandle<()>>,
    ended: Arc<AtomicBool>,
    active: Vec<Active>,
    spans: Vec<Span>,
    injected: BTreeMap<Fault, usize>,
    worst: (Duration, String),
    recoveries: usize,
    violations: Vec<String>,
    diary: Vec<String>,
    began: Instant,
}

/// Runs it to its end.
///
/// # Errors
/// If the harness cannot go on; what the cluster did wrong stands in the report.
pub(crate) fn run(plan: Plan, slot: &Slot) -> Result<Report> {
    let founded = Cluster::found(slot, plan.programs.clone(), &plan.directory, plan.nodes)?;
    let mut run = Run::begin(plan, founded)?;
    let done = run.phases();
    let interrupted = matches!(done, Err(Failure::Interrupted));
    if !interrupted {
        done?;
    }
    run.write_diary()?;
    let report = run.judge(interrupted);
    run.stop_supervisor();
    report
}

impl Run {
    fn begin(plan: Plan, cluster: Cluster) -> Result<Self> {
        let observer = Observer::start(cluster.operator.clone());
        let own = std::env::current_exe();
        let own = own.map_err(|error| Failure::Machine(error.to_string()))?;
        let hosts: Vec<String> = cluster.nodes().map(|node| node.host.clone()).collect();
        let endpoints: Vec<String> = hosts.iter().map(|host| cluster.endpoint(host)).collect();
        let credentials = cluster.operator.cluster().join("operator");
        let arguments = [
            format!("--endpoints={}", endpoints.join(",")),
            format!("--credentials={}", credentials.display()),
            format!("--seed={}", plan.seed),
            format!("--workers={WORKERS}"),
        ];
        let clients = Clients::start(cluster.on_clients(&own), &arguments, &plan.directory)?;
        let (cluster, ended) = (Arc::new(Mutex::new(cluster)), Arc::new(AtomicBool::new(false)));
        let supervisor = Some(supervise(Arc::clone(&cluster), Arc::clone(&ended)));
        Ok(Self {
            plan,
            cluster,
            observer,
            clients,
            has_rotten: false,
            replaced: None,
            supervisor,
            ended,
            active: Vec::new(),
            spans: Vec::new(),
            injected: BTreeMap::new(),
            worst: (Duration::ZERO, String::new()),
            recoveries: 0,
            violations: Vec::new(),
            diary: Vec::new(),
            began: Instant::now(),
        })
    }

    /// One phase after the other, until the time is over or something is wrong.
    fn phases(&mut self) -> Result<()> {
        let mut schedule = Schedule::new(self.plan.seed, self.plan.only, &self.plan.except);
        self.recover("the founding")?;
        while self.began.elapsed() < self.plan.lasts && self.violations.is_empty() {
            let phase = schedule.next_phase();
            let from_ns = now_ns();
            let name = self.phase(&phase)?;
            if let [injection] = &phase.injections[..]
                && phase.is_single
            {
                self.spans.push(Span { fault: injection.fault, from_ns, to_ns: now_ns() });
            }
            self.recover(&name)?;
            self.look_for_aborts();
            self.look_for_lies();
        }
        Ok(())
    }

    /// Carries a phase out; returns what it is called.
    fn phase(&mut self, phase: &Phase) -> Result<String> {
        if let [injection] = &phase.injections[..]
            && injection.fault.course() == Course::Alone
        {
            self.count(injection.fault);
            self.note(&format!("alone: {}", injection.fault.name()));
            self.alone(injection)?;
            return Ok(injection.fault.name().to_owned());
        }
        let began = Instant::now();
        let mut waiting = phase.injections.iter().peekable();
        while waiting.peek().is_some() || !self.active.is_empty() {
            self.pause(LOOK)?;
            while let Some(injection) = waiting.next_if(|one| one.after <= began.elapsed()) {
                self.inject(injection)?;
            }
            self.tick()?;
        }
        let names: BTreeSet<&str> = phase.injections.iter().map(|one| one.fault.name()).collect();
        Ok(names.into_iter().collect::<Vec<_>>().join(" "))
    }

    fn inject(&mut self, injection: &Injection) -> Result<()> {
        let held = self.active.iter().flat_map(|active| active.holds.clone()).collect();
        let leader = self.leader();
        let begun = inject::begin(&mut self.cluster(), injection, &held, leader.as_deref())?;
        if let Some(active) = begun {
            self.count(injection.fault);
            let (name, hold) = (injection.fault.name(), injection.hold);
            self.note(&format!("{name} {:?} for {hold:?}", active.holds));
            self.active.push(active);
        }
        Ok(())
    }

    fn tick(&mut self) -> Result<()> {
        let mut still = Vec::new();
        for mut active in std::mem::take(&mut self.active) {
            if !active.tick(&mut self.cluster())? {
                still.push(active);
            }
        }
        self.active = still;
        Ok(())
    }

    /// Waits until all is well, with nothing broken any more.
    pub(crate) fn recover(&mut self, behind: &str) -> Result<()> {
        let (began, from_ns) = (Instant::now(), now_ns());
        self.cluster().network.heal()?;
        let is_well = |run: &mut Self| {
            let last = run.observer.last().filter(|sample| sample.at_ns > from_ns);
            let served = run.clients.progress().acknowledged_ns.last().copied().unwrap_or(0);
            last.is_some_and(|sample| run.is_whole(&sample)) && served > from_ns
        };
        if self.wait(RECOVERY, is_well)? {
            let took = began.elapsed();
            self.recoveries += 1;
            self.note(&format!("well after {:.1} s ({behind})", took.as_secs_f64()));
            if took > self.worst.0 {
                self.worst = (took, behind.to_owned());
            }
            return Ok(());
        }
        let said = self
            .observer
            .last()
            .map_or_else(String::new, |sample| format!("{} {}", sample.health, sample.reason));
        let ends = self.ends();
        self.wrong(format!(
            "not well {} s after {behind} was over: {said}{ends}",
            RECOVERY.as_secs()
        ));
        Ok(())
    }

    /// Says whether all is well, with as many voters as in the beginning: one that was demoted to
    /// be healed must vote again.
    pub(crate) fn is_whole(&self, sample: &Sample) -> bool {
        let voters = self.plan.nodes as u64;
        sample.is_healthy()
            && sample.voters == voters
            && sample.tolerates == Some((voters.saturating_sub(1)) / 2)
    }

    /// Says which nodes have ended for good, and how.
    fn ends(&self) -> String {
        let cluster = self.cluster();
        let given_up = cluster.nodes().filter(|node| node.has_given_up());
        given_up
            .filter_map(|node| Some(format!("; {} ended with {}", node.host, node.last_end()?)))
            .collect()
    }

    fn look_for_aborts(&mut self) {
        let cluster = self.cluster();
        let aborted: Vec<String> = cluster
            .nodes()
            .filter(|node| node.aborts() > 0)
            .map(|node| node.host.clone())
            .collect();
        drop(cluster);
        for host in aborted {
            self.wrong(format!("a broken invariant has ended {host}: see {host}.log"));
        }
    }

    fn look_for_lies(&mut self) {
        let (samples, progress) = (self.observer.samples(), self.clients.progress());
        for lie in crate::truth::lies(&samples, &progress.acknowledged_ns, &self.spans) {
            self.wrong(lie);
        }
    }

    /// Ends the clients, and judges what they saw.
    fn judge(&mut self, interrupted: bool) -> Result<Report> {
        let endpoints: Vec<String> = {
            let cluster = self.cluster();
            cluster.nodes().map(|node| cluster.endpoint(&node.host)).collect()
        };
        if !interrupted {
            self.note("the clients end");
        }
        let finished =
            if interrupted { Err(Failure::Interrupted) } else { self.clients.finish(&endpoints) };
        let history = match finished {
            Ok(path) => path,
            Err(Failure::Interrupted) => return Err(Failure::Interrupted),
            Err(failure) => {
                self.wrong(failure.to_string());
                self.plan.directory.join("history")
            }
        };
        let progress = self.clients.progress();
        Ok(Report {
            seed: self.plan.seed,
            lasted: self.began.elapsed(),
            directory: self.plan.directory.clone(),
            history,
            injected: self.injected.clone(),
            recoveries: self.recoveries,
            worst: self.worst.clone(),
            unknown: progress.unknown,
            failed: progress.failed,
            states: progress.states,
            samples: self.observer.samples(),
            spans: self.spans.clone(),
            violations: self.violations.clone(),
        })
    }

    /// Waits until something is so; says whether it came to that in time.
    pub(crate) fn wait(
        &mut self,
        within: Duration,
        mut is_so: impl FnMut(&mut Self) -> bool,
    ) -> Result<bool> {
        let began = Instant::now();
        while began.elapsed() < within {
            if is_so(self) {
                return Ok(true);
            }
            self.look_after_snapshots()?;
            self.pause(LOOK)?;
        }
        Ok(false)
    }

    /// Does what status asks for where a snapshot has rotted: what was set aside is looked at, and
    /// removed. Before any file has, a damaged snapshot is nobody's fault but raftd's.
    fn look_after_snapshots(&self) -> Result<()> {
        if !self.has_rotten {
            return Ok(());
        }
        let cluster = self.cluster();
        cluster.nodes().try_for_each(|node| rot::remove_set_aside(&node.data()))
    }

    /// Lets time pass, which somebody may end.
    pub(crate) fn pause(&self, time: Duration) -> Result<()> {
        let began = Instant::now();
        loop {
            if self.plan.stop.load(Ordering::Relaxed) {
                return Err(Failure::Interrupted);
            }
            let left = time.saturating_sub(began.elapsed());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(Duration::from_millis(100)));
        }
    }

    /// Returns the cluster, which is supervised meanwhile by nobody.
    pub(crate) fn cluster(&self) -> MutexGuard<'_, Cluster> {
        self.cluster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns who leads, as `status` said last.
    pub(crate) fn leader(&self) -> Option<String> {
        self.observer.last().and_then(|sample: Sample| sample.leader)
    }

    /// Notes that something is wrong.
    pub(crate) fn wrong(&mut self, what: String) {
        if !self.violations.contains(&what) {
            self.note(&format!("VIOLATION: {what}"));
            self.violations.push(what);
        }
    }

    /// Says what goes on, and writes it down.
    pub(crate) fn note(&mut self, what: &str) {
        let line = format!("{:8.2} s  {what}", self.began.elapsed().as_secs_f64());
        eprintln!("{line}");
        self.diary.push(format!("{} {line}", now_ns()));
    }

    fn count(&mut self, fault: Fault) {
        *self.injected.entry(fault).or_default() += 1;
    }

    fn write_diary(&self) -> Result<()> {
        let path = self.plan.directory.join("schedule");
        write(&path, &(self.diary.join("\n") + "\n"))
    }

    fn stop_supervisor(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        if let Some(supervisor) = self.supervisor.take() {
            // It has nothing left to say.
            let _ = supervisor.join();
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.stop_supervisor();
    }
}

fn supervise(cluster: Arc<Mutex<Cluster>>, ended: Arc<AtomicBool>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        while !ended.load(Ordering::Relaxed) {
            let supervised = cluster.lock().unwrap_or_else(PoisonError::into_inner).supervise();
            if let Err(failure) = supervised {
                eprintln!("warning: {failure}");
            }
            std::thread::sleep(LOOK);
        }
    })
}
