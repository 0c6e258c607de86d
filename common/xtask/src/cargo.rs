//! Calls cargo, always with the chosen target directory.

use crate::failure::Failure;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Returns the cargo that runs this program, or the one on the path when started by hand.
pub(crate) fn cargo_program() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// A binary of the workspace that a task becomes.
#[derive(Debug)]
pub(crate) struct Binary {
    pub(crate) package: &'static str,
    pub(crate) name: &'static str,
    /// Put before the arguments of the task.
    pub(crate) verb: Option<&'static str>,
}

/// The way to cargo.
#[derive(Debug)]
pub(crate) struct Cargo {
    target: Option<PathBuf>,
}

impl Cargo {
    /// Makes a way to cargo that builds in `target`, or in cargo's own default.
    pub(crate) fn new(target: Option<PathBuf>) -> Cargo {
        Cargo { target }
    }

    /// Returns where cargo builds, if it was decided here.
    pub(crate) fn target_dir(&self) -> Option<&Path> {
        self.target.as_deref()
    }

    /// Runs cargo and waits; returns the time that it took.
    ///
    /// # Errors
    ///
    /// [`Failure::Stage`] with `name` when cargo says no.
    pub(crate) fn run(&self, name: &str, arguments: &[&str]) -> Result<Duration, Failure> {
        let start = Instant::now();
        let status = self.command(arguments).status().map_err(start_failure)?;
        succeeded(name, status).map(|()| start.elapsed())
    }

    /// Runs cargo, repeats its standard output as it comes, and shows each line to `watch`.
    ///
    /// # Errors
    ///
    /// [`Failure::Stage`] with `name` when cargo says no.
    pub(crate) fn run_watched(
        &self,
        name: &str,
        arguments: &[&str],
        mut watch: impl FnMut(&str),
    ) -> Result<(), Failure> {
        let mut child =
            self.command(arguments).stdout(Stdio::piped()).spawn().map_err(start_failure)?;
        let mut output = BufReader::new(child.stdout.take().expect("standard output is piped"));
        let mut line = Vec::new();
        // A read error ends the loop like the end of the output does; the exit status decides.
        while output.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            // Whoever reads us may have gone away (`| head`): the run goes on and still counts.
            let _ = std::io::stdout().write_all(&line);
            watch(&String::from_utf8_lossy(&line));
            line.clear();
        }
        let _ = std::io::stdout().flush();
        succeeded(name, child.wait().map_err(start_failure)?)
    }

    /// Becomes a binary that is built already; returns only when cargo does not start.
    pub(crate) fn become_binary(
        &self,
        binary: &Binary,
        arguments: &[String],
    ) -> Result<(), Failure> {
        let mut command = self.command(&["run", "--quiet", "--release", "--locked"]);
        command.args(["-p", binary.package, "--bin", binary.name, "--"]);
        command.args(binary.verb).args(arguments);
        Err(start_failure(command.exec()))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(cargo_program());
        command.args(arguments);
        if let Some(target) = &self.target {
            command.env("CARGO_TARGET_DIR", target);
        }
        command
    }
}

fn start_failure(source: std::io::Error) -> Failure {
    Failure::Start { program: "cargo".to_owned(), source }
}

fn succeeded(name: &str, status: ExitStatus) -> Result<(), Failure> {
    if status.success() {
        return Ok(());
    }
    Err(Failure::Stage { name: name.to_owned(), code: status.code() })
}
