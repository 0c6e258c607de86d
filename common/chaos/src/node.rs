//! A raftd on a host of its own, and who starts it again when it ends, as systemd does.

use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::failure::{Failure, Result, file};
use crate::machine::command::call;
use crate::machine::disk::Disk;
use crate::machine::network::Network;
use crate::machine::shim::Switches;

/// Exit codes after which nothing is started again (RestartPreventExitStatus of our units).
const FINAL_CODES: [i32; 4] = [64, 65, 77, 78];

/// How long nothing is started after an end (RestartSec of our units).
const RESTART_AFTER: Duration = Duration::from_secs(1);

/// A node with all that it has.
#[derive(Debug)]
pub(crate) struct Node {
    /// The host that it runs on.
    pub(crate) host: String,
    /// Its disk.
    pub(crate) disk: Disk,
    /// The faults of its disk and clock.
    pub(crate) switches: Switches,
    bundle: PathBuf,
    program: PathBuf,
    shim: PathBuf,
    log: PathBuf,
    process: Option<Child>,
    /// When it is to be started; `None`: it is not to run.
    due: Option<Instant>,
    /// How it ended when nobody had killed it, each time.
    ends: Vec<ExitStatus>,
}

/// What a node is made of.
pub(crate) struct Parts<'a> {
    /// The host that it runs on, which exists.
    pub(crate) host: &'a str,
    /// Its disk.
    pub(crate) disk: Disk,
    /// Its certificate and configuration.
    pub(crate) bundle: PathBuf,
    /// The raftd.
    pub(crate) program: &'a Path,
    /// The compiled shim.
    pub(crate) shim: &'a Path,
    /// Where its log and its switches lie.
    pub(crate) directory: &'a Path,
}

impl Node {
    /// Puts a node together; starts nothing.
    ///
    /// # Errors
    /// If its switches cannot be made.
    pub(crate) fn new(parts: Parts<'_>) -> Result<Self> {
        let Parts { host, disk, bundle, program, shim, directory } = parts;
        let switches = Switches::make(directory.join(format!("switches-{host}")))?;
        let log = directory.join(format!("{host}.log"));
        Ok(Self {
            host: host.to_owned(),
            disk,
            switches,
            bundle,
            program: program.to_owned(),
            shim: shim.to_owned(),
            log,
            process: None,
            due: None,
            ends: Vec::new(),
        })
    }

    /// Returns its data directory.
    pub(crate) fn data(&self) -> PathBuf {
        self.disk.path().join("data")
    }

    /// Lets it run from now on.
    ///
    /// # Errors
    /// If it cannot be started.
    pub(crate) fn start(&mut self, network: &Network) -> Result<()> {
        if self.process.is_some() {
            return Ok(());
        }
        self.due = Some(Instant::now());
        self.supervise(network)
    }

    /// Ends it with SIGKILL, if it runs, and does not start it again.
    pub(crate) fn kill(&mut self) {
        self.due = None;
        if let Some(mut process) = self.process.take() {
            // It may have ended by itself.
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Says whether it runs now.
    pub(crate) fn runs(&self) -> bool {
        self.process.is_some()
    }

    /// Stops it, or lets it go on.
    pub(crate) fn pause(&self, stop: bool) {
        if let Some(pid) = self.process.as_ref().map(Pid::from_child) {
            let signal = if stop { Signal::STOP } else { Signal::CONT };
            // It may have ended by itself.
            let _ = kill_process(pid, signal);
        }
    }

    /// Notes whether it has ended, and starts it when that is due.
    ///
    /// # Errors
    /// If it cannot be started.
    pub(crate) fn supervise(&mut self, network: &Network) -> Result<()> {
        let ended = self.process.as_mut().and_then(|process| process.try_wait().ok().flatten());
        if let Some(status) = ended {
            self.process = None;
            self.ends.push(status);
            let is_final = status.code().is_some_and(|code| FINAL_CODES.contains(&code));
            self.due = (!is_final).then(|| Instant::now() + RESTART_AFTER);
        }
        if self.process.is_none() && self.due.is_some_and(|due| due <= Instant::now()) {
            self.spawn(network)?;
        }
        Ok(())
    }

    /// Returns how often a broken invariant has ended it.
    pub(crate) fn aborts(&self) -> usize {
        self.ends.iter().filter(|status| status.signal() == Some(Signal::ABORT.as_raw())).count()
    }

    /// Returns how it ended the last time that nobody had killed it.
    pub(crate) fn last_end(&self) -> Option<ExitStatus> {
        self.ends.last().copied()
    }

    /// Says whether it has ended in a way after which nobody starts it again.
    pub(crate) fn has_given_up(&self) -> bool {
        let is_final = |status: ExitStatus| status.code().is_some_and(|c| FINAL_CODES.contains(&c));
        self.process.is_none() && self.due.is_none() && self.last_end().is_some_and(is_final)
    }

    /// Copies its data directory, file by file; it must not run.
    ///
    /// # Errors
    /// If `cp` says no.
    pub(crate) fn copy_data(&self, to: &Path) -> Result<()> {
        remove(to)?;
        copy(&self.data(), to)
    }

    /// Puts a copy in the place of its data directory; it must not run.
    ///
    /// # Errors
    /// If `cp` says no.
    pub(crate) fn replace_data(&self, from: &Path) -> Result<()> {
        self.wipe()?;
        copy(from, &self.data())
    }

    /// Removes its data directory; it must not run.
    ///
    /// # Errors
    /// If it cannot be removed.
    pub(crate) fn wipe(&self) -> Result<()> {
        remove(&self.data())
    }

    /// Cuts so many bytes off the end of its newest write-ahead log; it must not run.
    ///
    /// # Errors
    /// If there is no such file, or it cannot be cut.
    pub(crate) fn cut_log(&self, bytes: u64) -> Result<()> {
        let directory = self.data().join("log");
        let listed = fs::read_dir(&directory).map_err(file("cannot read", &directory))?;
        let paths = listed.filter_map(|entry| entry.ok().map(|entry| entry.path()));
        // Their names are numbers of one length.
        let logs = paths.filter(|path| path.extension().is_some_and(|end| end == "log"));
        let newest = logs.max().unwrap_or_else(|| directory.join("000000.log"));
        let log = File::options().write(true).open(&newest);
        let log = log.map_err(file("cannot open", &newest))?;
        let length = log.metadata().map_err(file("cannot read", &newest))?.len();
        log.set_len(length.saturating_sub(bytes)).map_err(file("cannot cut", &newest))
    }

    fn spawn(&mut self, network: &Network) -> Result<()> {
        let log = File::options().create(true).append(true).open(&self.log);
        let log = log.map_err(file("cannot open", &self.log))?;
        let address = network.address(&self.host).unwrap_or_default();
        let mut command = network.on(&self.host, Path::new("env"));
        // The shim is for raftd, not for what starts it.
        command.arg(format!("LD_PRELOAD={}", self.shim.display()));
        command.arg(format!("CHAOS_CONTROL={}", self.switches.path().display()));
        command.arg(&self.program).arg("--config").arg(self.bundle.join("raftd.toml"));
        command.arg("--data-dir").arg(self.data());
        command.args(["--listen", &format!("{address}:7400")]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        // A Ctrl-C is for the harness, which stops them in order.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let process = command.spawn().map_err(|error| Failure::Command {
            command: self.program.display().to_string(),
            why: error.to_string(),
        })?;
        self.process = Some(process);
        Ok(())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    call("cp", &["-a", &from.display().to_string(), &to.display().to_string()]).map(drop)
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(file("cannot remove", path)),
    }
}
