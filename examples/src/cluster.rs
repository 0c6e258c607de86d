//! A local cluster of real processes, started and driven by `raftctl` as a user would.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use client::{Client, ClientConfig, Credentials};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// How long the nodes may take to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// A running `raftctl dev`; dropping it stops the nodes.
pub struct Cluster {
    directory: PathBuf,
    dev: Child,
}

impl Cluster {
    /// Starts so many nodes below `directory` and waits until they are healthy.
    ///
    /// # Errors
    /// A sentence for people, with what raftctl said.
    pub fn start(directory: &Path, nodes: usize) -> Result<Self, String> {
        Self::start_with(directory, nodes, &[])
    }

    /// Starts nodes with more arguments for `raftctl dev`: another program and machine, say.
    ///
    /// # Errors
    /// As [`Cluster::start`].
    pub fn start_with(directory: &Path, nodes: usize, more: &[&str]) -> Result<Self, String> {
        let log = std::fs::File::create(directory.join("dev.log"));
        let log =
            log.map_err(|error| format!("cannot write below {}: {error}", directory.display()))?;
        let mut command = raftctl(directory)?;
        command.args(["dev", "--name", "example", "--nodes", &nodes.to_string()]).args(more);
        command.arg("--dir").arg(directory.join("cluster"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let dev = command.spawn().map_err(|error| format!("cannot start raftctl: {error}"))?;
        let mut cluster = Self { directory: directory.to_owned(), dev };
        let began = Instant::now();
        while cluster.status().is_none_or(|status| status["health"] != "HEALTHY") {
            let ended = cluster.dev.try_wait().ok().flatten().is_some();
            if ended || began.elapsed() > Duration::from_secs(60) {
                let said = std::fs::read_to_string(directory.join("dev.log")).unwrap_or_default();
                return Err(format!("the cluster does not become healthy:\n{said}"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(cluster)
    }

    /// Makes a call of `raftctl` on this cluster.
    ///
    /// # Errors
    /// If there is no `raftctl` beside this program.
    pub fn raftctl(&self) -> Result<Command, String> {
        raftctl(&self.directory)
    }

    /// Asks for the cluster's status; `None` if there is none to be had at the moment.
    pub fn status(&self) -> Option<Value> {
        let Output { stdout, .. } =
            self.raftctl().ok()?.args(["status", "-o", "json"]).output().ok()?;
        let mut envelope: Value = serde_json::from_slice(&stdout).ok()?;
        Some(envelope["data"].take())
    }

    /// Returns the commit index, if it is known.
    pub fn commit(&self) -> Option<u64> {
        self.status()?["commit"].as_str()?.parse().ok()
    }

    /// Kills the leader with SIGKILL; returns its name.
    ///
    /// # Errors
    /// If there is no leader, or its process is not found.
    pub fn kill_leader(&self) -> Result<String, String> {
        let status = self.status().ok_or("there is no status")?;
        let name = status["leader"]["name"].as_str().ok_or("there is no leader")?.to_owned();
        self.signal(&name, Signal::KILL)?;
        Ok(name)
    }

    /// Returns a node's data directory.
    pub fn data(&self, name: &str) -> PathBuf {
        self.directory.join("cluster").join(format!("data-{name}"))
    }

    /// Sends a node's process a signal.
    ///
    /// # Errors
    /// If its process is not found.
    pub fn signal(&self, name: &str, signal: Signal) -> Result<(), String> {
        // The lock file of a data directory names the process that holds it.
        let lock = self.data(name).join("LOCK");
        let text = std::fs::read_to_string(&lock)
            .map_err(|error| format!("cannot read {}: {error}", lock.display()))?;
        let pid = text.trim().parse().ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| format!("{} names no process", lock.display()))?;
        kill_process(pid, signal).map_err(|error| format!("cannot signal {name}: {error}"))
    }

    /// Returns the nodes' names and addresses.
    pub fn nodes(&self) -> Vec<(String, String)> {
        let status = self.status().unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let nodes = status["nodes"].as_array().cloned().unwrap_or_default();
        nodes.iter().map(|node| (text(&node["name"]), text(&node["address"]))).collect()
    }

    /// Makes a client of the library, with the operator's certificate.
    ///
    /// # Errors
    /// If the certificate cannot be read, or no socket can be had.
    pub fn client(&self) -> Result<Client, String> {
        let directory = self.directory.join("cluster").join("operator");
        let credentials = Credentials::load_from(&directory, "operator");
        Client::new(ClientConfig {
            endpoints: self.nodes().into_iter().map(|(_, address)| address).collect(),
            credentials: credentials.map_err(|error| error.to_string())?,
            deadline: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(2),
        })
        .map_err(|error| error.to_string())
    }

    /// Stops all nodes, as Ctrl-C does.
    ///
    /// # Errors
    /// If they do not stop in time.
    pub fn stop(mut self) -> Result<(), String> {
        interrupt(&self.dev);
        let began = Instant::now();
        while began.elapsed() < STOP_TIMEOUT {
            if self.dev.try_wait().map_err(|error| error.to_string())?.is_some() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Err(format!("the nodes do not stop within {STOP_TIMEOUT:?}"))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Ok(None) = self.dev.try_wait() {
            interrupt(&self.dev);
            // It stops its nodes first, and nobody is left to be told if it fails.
            let _ = self.dev.wait();
        }
    }
}

fn interrupt(child: &Child) {
    if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        // It may have ended already.
        let _ = kill_process(pid, Signal::INT);
    }
}

/// A call of the `raftctl` beside this program, with a configuration directory of its own.
fn raftctl(directory: &Path) -> Result<Command, String> {
    let own = std::env::current_exe().map_err(|error| format!("where am I? {error}"))?;
    // Tests run one directory further down.
    let mut places = own.ancestors().skip(1).take(2).map(|place| place.join("raftctl"));
    let Some(program) = places.find(|program| program.exists()) else {
        let own = own.display();
        return Err(format!("there is no raftctl beside {own}; type: cargo build --release"));
    };
    let mut command = Command::new(program);
    command.env("XDG_CONFIG_HOME", directory.join("config")).env_remove("RAFTCTL_CONTEXT");
    Ok(command)
}
