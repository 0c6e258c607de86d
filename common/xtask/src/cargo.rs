//! Calls cargo, always with the chosen target directory.

use crate::failure::Failure;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Returns a command of cargo with the environment that it has when it is typed. `cargo run` tells
/// a program which package it is; build scripts look at that (ring's does), and all that stands on
/// them would be compiled anew each time that `cargo xtask` and plain cargo take turns.
pub(crate) fn cargo_command() -> Command {
    let mut command = Command::new(cargo_program());
    for (name, _) in std::env::vars_os() {
        if is_of_a_package(&name.to_string_lossy()) {
            command.env_remove(name);
        }
    }
    command
}

/// Returns the cargo that runs this program, or the one on the path when started by hand.
pub(crate) fn cargo_program() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

fn is_of_a_package(name: &str) -> bool {
    name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")
}

/// Begins every build of what `verify` tests as well.
///
/// cargo compiles a dependency once more when other features of it are asked for, and unites those
/// of all packages that are selected: with their tests' dependencies, if a target for tests is
/// selected. `--examples` is such a target and stands for no file here, so programs are built from
/// what the tests are built from.
pub(crate) const BUILD: [&str; 5] = ["build", "--release", "--locked", "--workspace", "--examples"];

/// A binary of the workspace that a task becomes.
#[derive(Debug)]
pub(crate) struct Binary {
    /// What cargo selects to build it.
    pub(crate) built_from: BuiltFrom,
    pub(crate) name: &'static str,
    /// Put before the arguments of the task.
    pub(crate) verb: Option<&'static str>,
}

/// What cargo selects to build a binary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BuiltFrom {
    /// One package: for what must not need RocksDB.
    Package(&'static str),
    /// The whole workspace, with [`BUILD`].
    Workspace,
}

/// Where a runner tells of its tests: `cargo test` on the one, `cargo nextest` on the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
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

    /// Runs cargo with one more variable in its environment, and waits.
    ///
    /// # Errors
    ///
    /// [`Failure::Stage`] with `name` when cargo says no.
    pub(crate) fn run_with(
        &self,
        name: &str,
        arguments: &[&str],
        (variable, value): (&str, &Path),
    ) -> Result<(), Failure> {
        let status = self.command(arguments).env(variable, value).status();
        succeeded(name, status.map_err(start_failure)?)
    }

    /// Runs cargo, repeats the stream on which it tells of tests as it comes, and shows each line
    /// of it to `watch`.
    ///
    /// # Errors
    ///
    /// [`Failure::Stage`] with `name` when cargo says no.
    pub(crate) fn run_watched(
        &self,
        name: &str,
        arguments: &[&str],
        stream: Stream,
        mut watch: impl FnMut(&str),
    ) -> Result<(), Failure> {
        let mut command = self.command(arguments);
        match stream {
            Stream::Stdout => command.stdout(Stdio::piped()),
            Stream::Stderr => command.stderr(Stdio::piped()),
        };
        let mut child = command.spawn().map_err(start_failure)?;
        let piped: Box<dyn Read> = match stream {
            Stream::Stdout => Box::new(child.stdout.take().expect("standard output is piped")),
            Stream::Stderr => Box::new(child.stderr.take().expect("standard error is piped")),
        };
        let mut output = BufReader::new(piped);
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

    /// Becomes a binary that is built already; returns only when it does not start.
    pub(crate) fn become_binary(
        &self,
        binary: &Binary,
        arguments: &[String],
    ) -> Result<(), Failure> {
        let mut command = Command::new(self.built(binary.name));
        command.args(binary.verb).args(arguments);
        let source = command.exec();
        Err(Failure::Start { program: binary.name.to_owned(), source })
    }

    /// Runs a binary that is built already, and waits.
    ///
    /// # Errors
    ///
    /// [`Failure::Stage`] with `name` when it says no.
    pub(crate) fn run_built(
        &self,
        name: &str,
        binary: &str,
        arguments: &[&str],
    ) -> Result<(), Failure> {
        let status = Command::new(self.built(binary)).args(arguments).status();
        let status =
            status.map_err(|source| Failure::Start { program: binary.to_owned(), source })?;
        succeeded(name, status)
    }

    /// Returns where cargo puts a binary.
    pub(crate) fn built(&self, binary: &str) -> PathBuf {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let target = self.target.clone().unwrap_or_else(|| root.join("target"));
        target.join("release").join(binary)
    }

    /// Tells whether `cargo nextest` is installed.
    pub(crate) fn has_nextest(&self) -> bool {
        let mut command = self.command(&["nextest", "--version"]);
        let silent = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        silent.status().is_ok_and(|status| status.success())
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = cargo_command();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_does_not_hear_from_which_package_it_is_called() {
        let command = cargo_command();
        for name in ["CARGO_MANIFEST_DIR", "CARGO_PKG_NAME"] {
            assert!(std::env::var_os(name).is_some(), "cargo tells the test");
            let hidden = command.get_envs().any(|(of, value)| of == name && value.is_none());
            assert!(hidden, "{name} is passed on");
        }
    }
}
