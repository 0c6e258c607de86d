//! Nodes that are started directly, one process each, so that their start can be timed.

use std::ops::Range;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use client::{Client, ClientConfig, Consistency, Credentials, NodeStatus};
use rustix::process::Signal;
use state_machine::KvQuery;
use tokio::runtime::Runtime;

use crate::growth::group::Group;
use crate::interrupt;
use crate::loading::fill;
use crate::systems::raftd::{self, NAME, Place};
use crate::systems::{System, http, metric, signal, spawn};
use crate::usage::Usage;

/// How often a node is asked whether it answers.
const POLL: Duration = Duration::from_millis(2);

/// How long a start may take: a large log or state is read.
const START_TIMEOUT: Duration = Duration::from_secs(600);

/// How long a stop may take.
const STOP_TIMEOUT: Duration = Duration::from_secs(60);

/// The cluster that a node belongs to, as its operator sees it.
pub(crate) struct Site {
    raftctl: PathBuf,
    directory: PathBuf,
    runtime: Runtime,
}

/// A node; dropping it ends its process.
pub(crate) struct Node {
    pub(crate) place: Place,
    log: PathBuf,
    child: Option<Child>,
    /// The most memory that a process of it ever had, as far as these have ended.
    peak: u64,
    /// What bounds its memory; removed behind the process.
    group: Option<Group>,
}

/// How long a start took.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Started {
    /// From the beginning of the process until it answers: log and state are opened.
    pub(crate) answers_ms: f64,
    /// Until it answers a linearizable read: it leads, and has applied what is committed.
    pub(crate) serves_ms: f64,
}

impl Site {
    /// Founds a cluster of one node, which does not run yet.
    ///
    /// # Errors
    /// If it does not start.
    pub(crate) fn found(system: &System, directory: &Path) -> Result<(Self, Node), String> {
        let places = raftd::found(&system.program, directory, 1)?;
        let place = places.into_iter().next().ok_or("no node was founded")?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        let site =
            Self { raftctl: system.program.clone(), directory: directory.to_owned(), runtime };
        let node = site.node(place, None);
        Ok((site, node))
    }

    /// Returns a node that does not run yet.
    pub(crate) fn node(&self, place: Place, group: Option<Group>) -> Node {
        let name = place.data.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let log = self.directory.join(format!("{name}.log"));
        Node { place, log, child: None, peak: 0, group }
    }

    /// Runs `raftctl` on the cluster, and returns how many seconds that took.
    ///
    /// # Errors
    /// What it said.
    pub(crate) fn raftctl(&self, arguments: &[&str]) -> Result<f64, String> {
        let began = Instant::now();
        let all = [arguments, &["--context", NAME, "--quiet"]].concat();
        interrupt::run(raftd::raftctl(&self.raftctl, &self.directory, &all))?;
        Ok(began.elapsed().as_secs_f64())
    }

    /// Writes keys to a node, as [`fill`] does.
    ///
    /// # Errors
    /// If the node ends or the generator fails.
    pub(crate) fn fill(
        &self,
        node: &mut Node,
        size: u32,
        extent: (u64, Range<u64>),
    ) -> Result<f64, String> {
        let target = raftd::target(&self.directory, std::slice::from_ref(&node.place));
        fill(&target, size, extent).map_err(|why| match node.ended() {
            None => why,
            Some(how) => node.said(&how),
        })
    }

    /// Starts a node, and waits until it serves.
    ///
    /// # Errors
    /// If it ends, or serves nobody in time.
    pub(crate) fn start(&self, node: &mut Node) -> Result<Started, String> {
        let began = node.spawn(&self.raftctl.with_file_name("raftd"), &[])?;
        let ms = || began.elapsed().as_secs_f64() * 1e3;
        let client = self.client(&node.place.endpoint)?;
        self.wait(node, &client, |_| true)?;
        let answers_ms = ms();
        self.wait(node, &client, |status| status.leader.is_some())?;
        let query = KvQuery::Get { key: "none".into() }.encode();
        let read = async { client.query(query, Consistency::Linearizable).await };
        self.runtime.block_on(read).map_err(|error| node.said(&error.to_string()))?;
        let serves_ms = ms();
        self.runtime.block_on(client.close());
        Ok(Started { answers_ms, serves_ms })
    }

    /// Starts a node that is no member yet, and waits until it answers; `arguments` go before its
    /// configuration.
    ///
    /// # Errors
    /// As [`Site::start`].
    pub(crate) fn start_new(&self, node: &mut Node, arguments: &[&str]) -> Result<(), String> {
        node.spawn(&self.raftctl.with_file_name("raftd"), arguments)?;
        let client = self.client(&node.place.endpoint)?;
        self.wait(node, &client, |_| true)
    }

    /// Waits until a node answers so.
    fn wait(
        &self,
        node: &mut Node,
        client: &Client,
        is_so: impl Fn(&NodeStatus) -> bool,
    ) -> Result<(), String> {
        let began = Instant::now();
        loop {
            let status = self.runtime.block_on(client.status_of(&node.place.endpoint));
            match status {
                Ok(status) if is_so(&status) => return Ok(()),
                Ok(_) => {}
                Err(error) if began.elapsed() > START_TIMEOUT => {
                    return Err(node.said(&error.to_string()));
                }
                Err(_) => {}
            }
            if let Some(how) = node.ended() {
                return Err(node.said(&how));
            }
            interrupt::check()?;
            std::thread::sleep(POLL);
        }
    }

    fn client(&self, endpoint: &str) -> Result<Client, String> {
        let operator = raftd::operator(&self.directory);
        let credentials = Credentials::load_from(&operator, "operator");
        let config = ClientConfig {
            endpoints: vec![endpoint.to_owned()],
            credentials: credentials.map_err(|error| error.to_string())?,
            deadline: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(1),
        };
        // It binds a socket, which takes the runtime.
        let _entered = self.runtime.enter();
        Client::new(config).map_err(|error| error.to_string())
    }
}

impl Node {
    /// Bounds its memory from its next start on.
    pub(crate) fn bound(&mut self, group: Group) {
        self.group = Some(group);
    }

    fn spawn(&mut self, raftd: &Path, arguments: &[&str]) -> Result<Instant, String> {
        let mut command = match &self.group {
            Some(group) => group.command(raftd),
            None => Command::new(raftd),
        };
        command.args(arguments).arg("--config").arg(&self.place.configuration);
        let began = Instant::now();
        self.child = Some(spawn(command, &self.log)?);
        Ok(began)
    }

    /// Says how its process has ended, if none runs.
    fn ended(&mut self) -> Option<String> {
        match self.child.as_mut().map(Child::try_wait) {
            None => Some("the node was not started".to_owned()),
            Some(Ok(None)) => None,
            Some(Ok(Some(status))) if status.signal() == Some(Signal::KILL.as_raw()) => {
                let hint = self.group.as_ref().map_or("", |_| ", perhaps for want of memory");
                Some(format!("the node was killed{hint}"))
            }
            Some(Ok(Some(status))) => Some(format!("the node has ended: {status}")),
            Some(Err(error)) => Some(format!("the node is lost: {error}")),
        }
    }

    /// Ends its process, by SIGTERM or SIGKILL.
    ///
    /// # Errors
    /// If it has ended before, or does not in time.
    pub(crate) fn end(&mut self, how: Signal) -> Result<(), String> {
        if let Some(how) = self.ended() {
            return Err(self.said(&how));
        }
        self.peak = self.peak_bytes();
        let Some(mut child) = self.child.take() else { return Ok(()) };
        signal(child.id(), how);
        let began = Instant::now();
        while matches!(child.try_wait(), Ok(None)) {
            if began.elapsed() > STOP_TIMEOUT {
                // It is gone either way.
                let _ = child.kill();
                let _ = child.wait();
                return Err(self.said(&format!("the node does not stop within {STOP_TIMEOUT:?}")));
            }
            std::thread::sleep(POLL);
        }
        Ok(())
    }

    /// Waits until it ends by itself, and ends it if it does not.
    pub(crate) fn join(&mut self, patience: Duration) {
        let began = Instant::now();
        while self.ended().is_none() && began.elapsed() < patience && !interrupt::is_noted() {
            std::thread::sleep(POLL);
        }
        self.kill();
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Returns the memory that it has, in bytes.
    pub(crate) fn resident_bytes(&self) -> u64 {
        self.usage().resident
    }

    /// Returns the most memory that it ever had since this was last forgotten, in bytes.
    pub(crate) fn peak_bytes(&self) -> u64 {
        self.usage().peak.max(self.peak)
    }

    /// Returns how much its process has written to the disk, in bytes.
    pub(crate) fn written_bytes(&self) -> u64 {
        self.usage().written
    }

    /// Forgets what processes had that have ended.
    pub(crate) fn forget_peak(&mut self) {
        self.peak = 0;
    }

    fn usage(&self) -> Usage {
        self.child.as_ref().map_or_else(Usage::default, |child| Usage::of(&[child.id()]))
    }

    /// Reads one of its metrics, which are up to a second old.
    ///
    /// # Errors
    /// If it does not tell.
    pub(crate) fn metric(&self, name: &str) -> Result<f64, String> {
        let page = http(self.place.metrics, "/metrics").map_err(|error| error.to_string())?;
        metric(&page, name).ok_or_else(|| format!("the node does not tell {name}"))
    }

    /// Adds the end of what it has logged to a reason.
    fn said(&self, why: &str) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        format!("{why}\n{}", lines[lines.len().saturating_sub(5)..].join("\n"))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}
