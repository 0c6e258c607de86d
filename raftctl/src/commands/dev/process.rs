//! The raftd processes of a local cluster: started together, watched, stopped together.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::bundle::Bundles;
use crate::codes;
use crate::raftd::without_variables;
use crate::report::{Report, Result};

/// How long nodes may take to stop before they are killed; they have flushed by then.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// How often processes are looked at.
const WATCH_EVERY: Duration = Duration::from_millis(50);

/// How many lines of a log are shown when a node ends.
const TAIL_LINES: usize = 6;

/// The largest end of a log that is read for that, in bytes.
const TAIL_BYTES: u64 = 8 * 1024;

/// How long a node that ended stays down, as long as the service unit would leave it.
const RESTART_AFTER: Duration = Duration::from_secs(1);

/// A node that ran for a shorter time than this is in trouble.
const STABLE_AFTER: Duration = Duration::from_secs(5);

/// So often in a row a node in trouble is started again.
const RESTARTS_MAX: u32 = 5;

/// Exit codes that no restart mends, as in the service unit.
const FINAL_CODES: [i32; 4] = [64, 65, REMOVED, 78];

/// The exit code of a node that was removed from its cluster, which needs it no more.
const REMOVED: i32 = 77;

/// The processes; those that still run when this is dropped are killed.
pub(super) struct Processes {
    raftd: PathBuf,
    nodes: Vec<Process>,
}

struct Process {
    name: String,
    bundle: PathBuf,
    state: State,
    /// Starts in a row after a short life.
    troubles: u32,
}

enum State {
    Running {
        child: Child,
        since: Instant,
    },
    Ended {
        at: Instant,
    },
    /// It is not started again.
    GivenUp,
}

/// What happened to a node.
pub(super) enum Incident {
    /// It ended; the sentence says how.
    Ended(Report),
    /// It ended since it is no member any more.
    Removed(Report),
    /// It runs again.
    Restarted(String),
}

impl Processes {
    /// Starts a process for each node, with its output in a log beside its bundle.
    pub(super) fn start(raftd: &Path, bundles: &Bundles) -> Result<Self> {
        let mut all = Self { raftd: raftd.to_owned(), nodes: Vec::new() };
        for node in &bundles.plan.nodes {
            let bundle = bundles.node_directory(node);
            let child = spawn(raftd, &bundle)?;
            let state = State::Running { child, since: Instant::now() };
            all.nodes.push(Process { name: node.name.clone(), bundle, state, troubles: 0 });
        }
        Ok(all)
    }

    /// Returns names and process ids.
    pub(super) fn pids(&self) -> String {
        let one = |node: &Process| match &node.state {
            State::Running { child, .. } => format!("{} {}", node.name, child.id()),
            State::Ended { .. } | State::GivenUp => format!("{} ended", node.name),
        };
        self.nodes.iter().map(one).collect::<Vec<_>>().join(", ")
    }

    /// Waits until a node ends by itself, or one that ended runs again, as the service manager
    /// would have it.
    pub(super) async fn watch(&mut self) -> Incident {
        loop {
            for node in &mut self.nodes {
                if let Some(incident) = node.look(&self.raftd) {
                    return incident;
                }
            }
            tokio::time::sleep(WATCH_EVERY).await;
        }
    }

    /// Says whether no node runs or will run again.
    pub(super) fn all_given_up(&self) -> bool {
        self.nodes.iter().all(|node| matches!(node.state, State::GivenUp))
    }

    /// Asks all to stop, and kills those that do not in time.
    pub(super) async fn stop(&mut self) -> Result<()> {
        for node in &mut self.nodes {
            if let Some(child) = node.running() {
                // One that has ended meanwhile needs no signal.
                let _ = kill_process(Pid::from_child(child), Signal::TERM);
            }
        }
        let deadline = Instant::now() + STOP_TIMEOUT;
        while self.nodes.iter_mut().any(|node| node.running().is_some()) {
            if Instant::now() >= deadline {
                return Err(self.kill());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    /// Kills those that still run, and names them.
    fn kill(&mut self) -> Report {
        let mut names = Vec::new();
        for node in &mut self.nodes {
            let name = node.name.clone();
            if let Some(child) = node.running() {
                names.push(name);
                // It is gone either way.
                let _ = child.kill();
                let _ = child.wait();
            }
        }
        let message = format!("{} did not stop within {STOP_TIMEOUT:?}, killed", names.join(" "));
        Report::new(codes::NODE_ENDED, message)
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        if self.nodes.iter_mut().any(|node| node.running().is_some()) {
            // Whoever drops them early is failing already.
            let _ = self.kill();
        }
    }
}

impl Process {
    /// Returns the process, if it runs.
    fn running(&mut self) -> Option<&mut Child> {
        match &mut self.state {
            State::Running { child, .. } => match child.try_wait() {
                Ok(None) => Some(child),
                Ok(Some(_)) | Err(_) => None,
            },
            State::Ended { .. } | State::GivenUp => None,
        }
    }

    fn look(&mut self, raftd: &Path) -> Option<Incident> {
        match &mut self.state {
            State::Running { child, since } => {
                let Ok(Some(status)) = child.try_wait() else {
                    return None;
                };
                self.troubles = if since.elapsed() < STABLE_AFTER { self.troubles + 1 } else { 0 };
                let is_final = status.code().is_some_and(|code| FINAL_CODES.contains(&code));
                self.state = match is_final || self.troubles > RESTARTS_MAX {
                    true => State::GivenUp,
                    false => State::Ended { at: Instant::now() },
                };
                let report = self.ended(status);
                Some(match status.code() {
                    Some(REMOVED) => Incident::Removed(report),
                    Some(_) | None => Incident::Ended(report),
                })
            }
            State::Ended { at } if at.elapsed() >= RESTART_AFTER => {
                match spawn(raftd, &self.bundle) {
                    Ok(child) => {
                        let pid = child.id();
                        self.state = State::Running { child, since: Instant::now() };
                        Some(Incident::Restarted(format!("{} runs again, pid {pid}", self.name)))
                    }
                    Err(why) => {
                        self.state = State::GivenUp;
                        Some(Incident::Ended(why))
                    }
                }
            }
            State::Ended { .. } | State::GivenUp => None,
        }
    }

    /// Says how it ended; after a signal the log has nothing to add.
    fn ended(&self, status: ExitStatus) -> Report {
        let log = log(&self.bundle);
        let mut report = Report::new(codes::NODE_ENDED, format!("{} ended ({status})", self.name));
        if status.code().is_some() {
            for why in tail(&log) {
                report.causes.push(client::Cause { endpoint: self.name.clone(), why });
            }
            report = report.help(format!("less {}", log.display()));
        }
        report
    }
}

fn log(bundle: &Path) -> PathBuf {
    bundle.join("raftd.log")
}

fn spawn(raftd: &Path, bundle: &Path) -> Result<Child> {
    let log = log(bundle);
    let mut options = File::options();
    let opened = options.create(true).append(true).mode(0o600).open(&log);
    let opened = opened.map_err(|error| Report::io(&log, &error))?;
    let copy = opened.try_clone().map_err(|error| Report::io(&log, &error))?;
    let mut command = Command::new(raftd);
    // All nodes would have the same address, or the same data.
    without_variables(&mut command);
    command
        .arg("--config")
        .arg(bundle.join("raftd.toml"))
        .stdin(Stdio::null())
        .stdout(opened)
        .stderr(copy)
        // Ctrl-C reaches raftctl alone, which stops them in order.
        .process_group(0)
        .spawn()
        .map_err(|error| Report::io(raftd, &error))
}

/// Returns the last lines of a log.
fn tail(path: &Path) -> Vec<String> {
    use std::io::{Read as _, Seek as _, SeekFrom};
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let size = file.metadata()?.len();
        file.seek(SeekFrom::Start(size.saturating_sub(TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..]
        .iter()
        .map(|line| crate::output::units::printable(line.as_bytes()))
        .collect()
}
