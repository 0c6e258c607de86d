//! The raftd processes of a local cluster: started together, watched, stopped together.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::bundle::Bundles;
use crate::codes;
use crate::report::{Report, Result};

/// How long nodes may take to stop before they are killed; they have flushed by then.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// How often processes are looked at.
const WATCH_EVERY: Duration = Duration::from_millis(50);

/// How many lines of a log are shown when a node ends.
const TAIL_LINES: usize = 6;

/// The largest end of a log that is read for that, in bytes.
const TAIL_BYTES: u64 = 8 * 1024;

/// The processes; those that still run when this is dropped are killed.
pub(super) struct Processes {
    nodes: Vec<Process>,
}

struct Process {
    name: String,
    log: PathBuf,
    child: Child,
}

impl Processes {
    /// Starts a process for each node, with its output in a log beside its bundle.
    pub(super) fn start(raftd: &Path, bundles: &Bundles) -> Result<Self> {
        let mut nodes = Self { nodes: Vec::new() };
        for node in &bundles.plan.nodes {
            let bundle = bundles.node_directory(node);
            let log = bundle.join("raftd.log");
            let mut options = File::options();
            let opened = options.create(true).append(true).mode(0o600).open(&log);
            let opened = opened.map_err(|error| Report::io(&log, &error))?;
            let copy = opened.try_clone().map_err(|error| Report::io(&log, &error))?;
            let child = Command::new(raftd)
                .arg("--config")
                .arg(bundle.join("raftd.toml"))
                .stdin(Stdio::null())
                .stdout(opened)
                .stderr(copy)
                // Ctrl-C reaches raftctl alone, which stops them in order.
                .process_group(0)
                .spawn()
                .map_err(|error| Report::io(raftd, &error))?;
            nodes.nodes.push(Process { name: node.name.clone(), log, child });
        }
        Ok(nodes)
    }

    /// Waits until one of them ends by itself.
    pub(super) async fn watch(&mut self) -> Report {
        loop {
            for node in &mut self.nodes {
                if let Ok(Some(status)) = node.child.try_wait() {
                    return ended(node, status);
                }
            }
            tokio::time::sleep(WATCH_EVERY).await;
        }
    }

    /// Asks all to stop, and kills those that do not in time.
    pub(super) async fn stop(&mut self) -> Result<()> {
        for node in &self.nodes {
            // One that has ended needs no signal.
            let _ = kill_process(pid(&node.child), Signal::TERM);
        }
        let deadline = Instant::now() + STOP_TIMEOUT;
        while !self.nodes.iter_mut().all(|node| !matches!(node.child.try_wait(), Ok(None))) {
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
            if matches!(node.child.try_wait(), Ok(None)) {
                names.push(node.name.clone());
                // It is gone either way.
                let _ = node.child.kill();
                let _ = node.child.wait();
            }
        }
        let message = format!("{} did not stop within {STOP_TIMEOUT:?}, killed", names.join(" "));
        Report::new(codes::NODE_ENDED, message)
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        if self.nodes.iter_mut().any(|node| matches!(node.child.try_wait(), Ok(None))) {
            // Whoever drops them early is failing already.
            let _ = self.kill();
        }
    }
}

fn pid(child: &Child) -> Pid {
    Pid::from_child(child)
}

fn ended(node: &Process, status: std::process::ExitStatus) -> Report {
    let (name, log) = (&node.name, node.log.display());
    let mut report = Report::new(codes::NODE_ENDED, format!("{name} ended ({status})"));
    for why in tail(&node.log) {
        report.causes.push(client::Cause { endpoint: name.clone(), why });
    }
    report.help(format!("less {log}"))
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

/// Finds the daemon's program: as named, else beside this program, else on the PATH.
pub(super) fn find_raftd(named: Option<&Path>) -> Result<PathBuf> {
    let absent = |what: String| {
        Report::new(codes::NO_RAFTD, what)
            .help("cargo build --release    (builds raftd and raftctl)")
            .help("raftctl dev --raftd FILE")
    };
    if let Some(named) = named {
        let found = named.is_file().then(|| named.to_owned());
        return found.ok_or_else(|| absent(format!("{} is no file", named.display())));
    }
    let beside = std::env::current_exe().ok().and_then(|this| Some(this.parent()?.join("raftd")));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|directory| directory.join("raftd"));
    let found = beside.into_iter().chain(on_path).find(|candidate| candidate.is_file());
    found.ok_or_else(|| absent("raftd is neither beside raftctl nor on the PATH".to_owned()))
}
