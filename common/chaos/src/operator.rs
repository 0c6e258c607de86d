//! The operator: `raftctl` on a host that is never cut off.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::failure::{Failure, Result};

/// How often a call that is waited for is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// How to call `raftctl`.
#[derive(Clone, Debug)]
pub(crate) struct Operator {
    space: String,
    program: PathBuf,
    directory: PathBuf,
}

/// What a call came to.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// Whether it exited with 0.
    pub(crate) done: bool,
    /// What it said on stdout.
    pub(crate) said: String,
    /// What it said on stderr.
    pub(crate) remarks: String,
}

impl Operator {
    /// `space` is the file of the network namespace; the authority is kept below `directory`.
    pub(crate) fn new(space: String, program: &Path, directory: &Path) -> Self {
        Self { space, program: program.to_owned(), directory: directory.to_owned() }
    }

    /// Returns where `init` keeps the cluster.
    pub(crate) fn cluster(&self) -> PathBuf {
        self.directory.join("cluster")
    }

    /// Returns the bundle of a member.
    pub(crate) fn bundle(&self, name: &str) -> PathBuf {
        self.cluster().join(format!("chaos-{name}"))
    }

    /// Calls it; whoever takes longer is killed, which counts as a no.
    ///
    /// # Errors
    /// If it cannot be started.
    pub(crate) fn call(&self, arguments: &[&str], within: Duration) -> Result<Answer> {
        let mut child = self.command(arguments).spawn().map_err(|error| self.failed(&error))?;
        let began = Instant::now();
        // What it says is short, and fits into the pipes.
        while child.try_wait().map_err(|error| self.failed(&error))?.is_none() {
            if began.elapsed() > within {
                // It may have ended just now.
                let _ = child.kill();
                break;
            }
            std::thread::sleep(LOOK);
        }
        let output = child.wait_with_output().map_err(|error| self.failed(&error))?;
        Ok(Answer {
            done: output.status.success(),
            said: String::from_utf8_lossy(&output.stdout).into_owned(),
            remarks: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Asks for the cluster's status; `None` if there is none to be had.
    pub(crate) fn status(&self) -> Option<Value> {
        let arguments = ["status", "-o", "json", "--timeout", "2s"];
        let answer = self.call(&arguments, Duration::from_secs(15)).ok()?;
        let mut envelope: Value = serde_json::from_str(&answer.said).ok()?;
        Some(envelope["data"].take())
    }

    /// Says whether there is such a command.
    pub(crate) fn knows(&self, words: &[&str]) -> bool {
        let arguments: Vec<&str> = words.iter().copied().chain(["--help"]).collect();
        self.call(&arguments, Duration::from_secs(10)).is_ok_and(|answer| answer.done)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.space)).arg("--").arg(&self.program).args(arguments);
        command.env("XDG_CONFIG_HOME", self.directory.join("config"));
        command.env("XDG_DATA_HOME", self.directory.join("share"));
        command.env_remove("RAFTCTL_CONTEXT").env_remove("RAFTCTL_ENDPOINT");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        command
    }

    fn failed(&self, error: &std::io::Error) -> Failure {
        Failure::Command { command: self.program.display().to_string(), why: error.to_string() }
    }
}
