//! The systems that are measured: three nodes of each on this machine.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::interrupt;

mod etcd;
mod nats;
pub(crate) mod raftd;

/// The names by which they are asked for; ours is first.
pub(crate) const NAMES: [&str; 3] = ["raftd", "etcd", "nats"];

/// Nodes of a cluster.
pub(crate) const NODES: usize = 3;

/// How long a cluster may take until it serves.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// How long its processes may take to end.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// How often it is looked.
const LOOK: Duration = Duration::from_millis(50);

/// A system that is there.
#[derive(Clone, Debug)]
pub(crate) struct System {
    pub(crate) name: &'static str,
    /// What it says of itself.
    pub(crate) version: String,
    pub(crate) program: PathBuf,
}

/// Nodes that run; dropping it ends them.
pub(crate) struct Cluster {
    processes: Vec<Child>,
    /// Whose use of the machine counts.
    pub(crate) nodes: Vec<u32>,
    /// What the generator must know: the system, where its nodes are, and the certificates.
    pub(crate) target: Value,
    /// How the nodes are told to end.
    end: Signal,
    /// Where the nodes tell their metrics, and how their count of syncs is called.
    metrics: Vec<u16>,
    syncs: Option<&'static str>,
}

impl System {
    /// Looks for a system.
    ///
    /// # Errors
    /// How it is installed.
    pub(crate) fn find(name: &str) -> Result<Self, String> {
        match name {
            "raftd" => raftd::find(),
            "etcd" => etcd::find(),
            _ => nats::find(),
        }
    }

    /// Says what it is, for programs.
    pub(crate) fn json(&self) -> Value {
        json!({ "name": self.name, "version": self.version })
    }

    /// Starts a new cluster below a directory, and waits until it serves.
    ///
    /// # Errors
    /// What its nodes said last.
    pub(crate) fn start(&self, directory: &Path) -> Result<Cluster, String> {
        std::fs::create_dir_all(directory).map_err(|error| error.to_string())?;
        match self.name {
            "raftd" => raftd::start(&self.program, directory, NODES),
            "etcd" => etcd::start(&self.program, directory),
            _ => nats::start(&self.program, directory),
        }
    }

    /// Starts so many nodes of raftd in place of three.
    ///
    /// # Errors
    /// As [`System::start`].
    pub(crate) fn start_many(&self, directory: &Path, nodes: usize) -> Result<Cluster, String> {
        std::fs::create_dir_all(directory).map_err(|error| error.to_string())?;
        raftd::start(&self.program, directory, nodes)
    }
}

impl Cluster {
    /// Returns how often all nodes have synced their logs, if they tell.
    pub(crate) fn syncs(&self) -> Option<f64> {
        let name = self.syncs?;
        let counts = self.metrics.iter().map(|port| metric(&http(*port, "/metrics").ok()?, name));
        counts.sum()
    }

    fn has_ended(&mut self) -> bool {
        self.processes.iter_mut().any(|process| !matches!(process.try_wait(), Ok(None)))
    }

    /// Waits until the nodes serve.
    fn await_service(
        mut self,
        log: &Path,
        mut serves: impl FnMut(&Self) -> bool,
    ) -> Result<Self, String> {
        let began = Instant::now();
        while !serves(&self) {
            interrupt::check()?;
            if self.has_ended() || began.elapsed() > START_TIMEOUT {
                let said = std::fs::read_to_string(log).unwrap_or_default();
                let lines: Vec<&str> = said.lines().rev().take(5).collect();
                let last: Vec<&str> = lines.into_iter().rev().collect();
                return Err(format!("the cluster does not start:\n{}", last.join("\n")));
            }
            std::thread::sleep(LOOK);
        }
        Ok(self)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for process in &self.processes {
            signal(process.id(), self.end);
        }
        let began = Instant::now();
        for process in &mut self.processes {
            while matches!(process.try_wait(), Ok(None)) && began.elapsed() < STOP_TIMEOUT {
                std::thread::sleep(LOOK);
            }
            // It may have ended by itself.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

pub(crate) fn signal(process: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(process).ok().and_then(Pid::from_raw) {
        // It may have ended already.
        let _ = kill_process(pid, signal);
    }
}

/// Looks for a program on the `PATH`.
fn on_path(program: &str, install: &str) -> Result<PathBuf, String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|place| place.join(program));
    let mut found = found.filter(|place| place.is_file());
    found.next().ok_or_else(|| format!("{program} is not on the PATH; to measure it: {install}"))
}

/// Returns the first line that a program says of its version.
fn version(program: &Path, flag: &str) -> String {
    let said = Command::new(program).arg(flag).output().map(|output| output.stdout);
    let text = String::from_utf8_lossy(&said.unwrap_or_default()).into_owned();
    text.lines().next().unwrap_or("unknown").trim().to_owned()
}

/// Starts a process that writes into a log. Ctrl-C does not reach it: it is ended in order.
pub(crate) fn spawn(mut command: Command, log: &Path) -> Result<Child, String> {
    let said = |error: std::io::Error| format!("{}: {error}", log.display());
    let file = std::fs::OpenOptions::new().create(true).append(true).open(log).map_err(said)?;
    let copy = file.try_clone().map_err(said)?;
    command.stdin(Stdio::null()).stdout(file).stderr(copy).process_group(0);
    command.spawn().map_err(|error| format!("{command:?}: {error}"))
}

/// Finds ports that are free, all at the same time.
pub(crate) fn free_ports(count: usize) -> Result<Vec<u16>, String> {
    let listen = |_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let open: Vec<TcpListener> =
        (0..count).map(listen).collect::<Result<_, _>>().map_err(|error| error.to_string())?;
    let port = |socket: &TcpListener| socket.local_addr().map(|address| address.port());
    open.iter().map(port).collect::<Result<_, _>>().map_err(|error| error.to_string())
}

/// Asks a port of this machine for a page.
pub(crate) fn http(port: u16, page: &str) -> std::io::Result<String> {
    use std::io::{Read, Write};
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    write!(stream, "GET {page} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut text = Vec::new();
    stream.read_to_end(&mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Reads a metric without labels out of a page.
pub(crate) fn metric(page: &str, name: &str) -> Option<f64> {
    let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    line.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_told_from_others_whose_names_begin_alike() {
        let page = "# TYPE x_count counter\nx_count_more 1\nx_count 2.5e1\n";
        assert_eq!(metric(page, "x_count"), Some(25.0));
        assert_eq!(metric(page, "x"), None);
    }

    #[test]
    fn what_is_missing_is_named_with_the_command_that_installs_it() {
        let why = on_path("no-such-program", "apt-get install it").expect_err("there is none");
        assert!(why.ends_with("to measure it: apt-get install it"), "{why}");
    }
}
