//! A whole program around a machine: the command line of `raftd`, its configuration and its exit
//! codes.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::CommandFactory as _;
use environment::Failure as Unreadable;
use signal_hook::low_level::exit;
use state_machine::StoredMachine;
use storage::{LogProvider, RocksLogs};
use tracing::Level;

use crate::cli::{Cli, Command};
use crate::config::{Config, Settings};
use crate::daemon::{self, check, explain};
use crate::enroll::enroll;
use crate::exit::{Exit, Failure};
use crate::lifecycle::{self, Start};
use crate::logging;
use crate::program::Program;
use crate::running::Running;

/// How often an embedded node looks after itself.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// A node that replicates a machine of the user's, as `raftd` replicates the key/value machine.
///
/// [`Server::main`] makes a daemon of it, for which certificates, bootstrap, members and status are
/// `raftctl`'s as ever; a cluster for another machine is made by `raftctl init --machine
/// NAME:VERSION`.
/// [`Server::start`] runs it inside of a program.
///
/// ```no_run
/// fn main() -> std::process::ExitCode {
///     raftd::Server::new(state_machine::Kv).main()
/// }
/// ```
pub struct Server {
    program: Program,
}

impl Server {
    /// A node with this machine, and a log on RocksDB.
    pub fn new(machine: impl StoredMachine) -> Self {
        Self { program: Program { machine: Arc::new(machine), logs: Arc::new(RocksLogs) } }
    }

    /// Keeps the log elsewhere; see [`storage::PersistentLog`] for what it must hold to.
    #[must_use]
    pub fn with_log(mut self, logs: impl LogProvider) -> Self {
        self.program.logs = Arc::new(logs);
        self
    }

    /// Starts a node in this process, on threads of its own, and waits until it listens. Nothing
    /// that is global is touched: no signals, no panic hook, no log; [`Server::run`] does that.
    ///
    /// What the node has to say goes to `tracing`. Lines that strangers can cause again and again
    /// are counted after the first few, for all nodes of a process together.
    ///
    /// A future that is dropped before it is ready leaves a node that stops by itself, in good
    /// order and on its own threads. Nobody can wait for that: until it has ended, the data
    /// directory and the address are in use, and another start is refused.
    ///
    /// # Errors
    /// If the configuration is out of bounds, the certificates are not a node's, the data directory
    /// is damaged or in use, or the address cannot be had.
    pub async fn start(self, config: Config) -> Result<Running, Failure> {
        let file = PathBuf::from("the configuration");
        let how = Start { file, socket: None, heartbeat: HEARTBEAT, desk: None };
        lifecycle::start(self.program, config, how).await
    }

    /// Runs a node as a daemon until it is asked to stop: takes signals, sets up the log, speaks
    /// with the service manager, and ends the process on a panic.
    ///
    /// # Errors
    /// Whatever ends the process, with its exit code.
    pub fn run(self, cli: &Cli) -> Result<(), Failure> {
        let ended = daemon::run(cli, self.program).map_err(Failure::log);
        logging::finish();
        ended
    }

    /// All of a program's `main`: reads the command line, runs, and says how it ended. When a node
    /// has run, the process ends here, without exit handlers.
    pub fn main(self) -> ExitCode {
        let cli = match Cli::read() {
            Ok(cli) => cli,
            Err(Unreadable::Variable(bad)) => {
                let code = Exit::Usage.code();
                let text = format!("error: {bad}\nhelp: {}\n(exit code {code})", bad.hint());
                logging::last_words(Level::ERROR, &text);
                return code.into();
            }
            Err(Unreadable::CommandLine(error)) => return misused(&error),
        };
        let done = if let Some(Command::Enroll(args)) = &cli.command {
            enroll(args).and_then(|file| file.map_or(Ok(()), |file| go_on(&file)))
        } else if let Some(Command::Completion { shell }) = cli.command {
            told(std::io::stdout().write_all(&completion(shell)))
        } else if cli.check_config {
            check(&cli).and_then(|found| told(writeln!(std::io::stdout(), "{found}")))
        } else if cli.print_config {
            Settings::load(&cli.config, &cli.overrides)
                .and_then(|found| told(std::io::stdout().write_all(found.print().as_bytes())))
        } else {
            let code = self.run(&cli).map_or_else(|failure| last(&cli, &failure), |()| 0);
            // Without exit handlers: they take the database's threads apart, and one that still
            // waits for a disk, and then goes on, would end the process with SIGABRT.
            exit(code.into());
        };
        done.map_or_else(|failure| last(&cli, &failure).into(), |()| ExitCode::SUCCESS)
    }
}

/// Says for the last time what has ended the process; returns its exit code.
fn last(cli: &Cli, failure: &Failure) -> u8 {
    let level = if failure.exit.is_wanted() { Level::INFO } else { Level::ERROR };
    let mut text = explain(failure, &cli.config);
    if !cli.overrides.variables.is_empty() {
        let names = cli.overrides.variables.join(" ");
        text.push_str(&format!("\n(set in the environment: {names})"));
    }
    logging::last_words(level, &text);
    failure.exit.code()
}

/// Writes a shell's completion script.
fn completion(shell: clap_complete::Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "raftd", &mut script);
    script
}

/// Goes on as the node of this configuration, in this process: whoever watches it sees no other.
fn go_on(configuration: &Path) -> Result<(), Failure> {
    use std::os::unix::process::CommandExt as _;
    let program = std::env::current_exe()
        .map_err(|error| Failure::from_error(Exit::Io, "this program", &error))?;
    let error = std::process::Command::new(program).arg("--config").arg(configuration).exec();
    Err(Failure::from_error(Exit::Io, "this program", &error))
}

/// Shows help or version, or says what is wrong with the command line.
fn misused(error: &clap::Error) -> ExitCode {
    if error.use_stderr() {
        let text = error.render();
        let text = if logging::is_colorful() { text.ansi().to_string() } else { text.to_string() };
        logging::last_words(Level::ERROR, text.trim_end());
        return Exit::Usage.code().into();
    }
    let written = error.print().and_then(|()| std::io::stdout().flush());
    match told(written) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            logging::last_words(Level::ERROR, &failure.to_string());
            ExitCode::from(&failure)
        }
    }
}

/// Judges what could not be written to stdout. A reader that has closed its pipe needs no more.
fn told(written: std::io::Result<()>) -> Result<(), Failure> {
    match written {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(Failure::from_error(Exit::Io, "stdout", &error)),
    }
}

/// Runs a node that replicates `machine`, with everything else as `raftd` has it: all of a
/// program's `main`.
pub fn main(machine: impl StoredMachine) -> ExitCode {
    Server::new(machine).main()
}
