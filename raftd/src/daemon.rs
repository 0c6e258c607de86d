//! The process around a node: what is global (the log, panics, signals, the service manager), and
//! what its operator decides in files.

use std::path::Path;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

use crate::cli::Cli;
use crate::config::Settings;
use crate::control::{Command, Heartbeat};
use crate::daemon::configuration::Configuration;
use crate::desk::{AskedOwner, to_owner};
use crate::exit::{Exit, Failure};
use crate::identity::node_of;
use crate::lifecycle::{Start, start};
use crate::logging::{self, Logging};
use crate::program::Program;
use crate::reload::credentials;
use crate::running::Running;
use crate::shutdown::{Ask, Signals, abort_on_panic, hold_reload};
use crate::systemd::{self, STARTING_INTERVAL, Systemd};

mod configuration;
mod threads;

/// How often the service manager hears what the node does, if its watchdog does not want to hear
/// that more often.
const STATUS_INTERVAL: Duration = Duration::from_secs(1);

/// With fewer open files, a database of some 100 GB is in danger.
const FILES_MIN: u64 = 4_096;

/// Checks configuration and credentials without touching anything, and says what is in force.
///
/// # Errors
/// Exit 78 with the first thing that is wrong.
pub(crate) fn check(cli: &Cli) -> Result<String, Failure> {
    let settings = Settings::load(&cli.config, &cli.overrides)?;
    let credentials = credentials(&settings.node)?;
    node_of(&credentials)?;
    let (who, file) = (credentials.identity(), settings.file.display());
    let (data, listen) = (settings.node.data_dir.display(), settings.node.listens());
    Ok(format!("{file}: valid; {who}, data in {data}, listens on {listen}"))
}

/// Runs a node with this program's machine and log until it is asked to stop.
pub(crate) fn run(cli: &Cli, program: Program) -> Result<(), Failure> {
    let settings = Settings::load(&cli.config, &cli.overrides)?;
    let logging = Logging::start(settings.log_level, settings.log_format);
    abort_on_panic();
    if let Err(error) = certs::forbid_core_dumps() {
        tracing::warn!(
            name: "core-dumps",
            "a core dump of this process would hold keys and data: {error}"
        );
    }
    more_files();
    threads::check()?;
    // Files of the data directory are for this user only, whatever umask the daemon was given.
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::from_error(Exit::Io, "the runtime", &error))?;
    let ended = runtime.block_on(supervise(cli, settings, logging, program));
    // The node has a runtime of its own, which has ended. What may be left here reads a
    // configuration, perhaps from a file system that hangs.
    runtime.shutdown_background();
    ended
}

/// Takes all the open files that this process may have: the database keeps each of its files open,
/// and most systems begin with 1,024, as programs that use select(2) need it.
fn more_files() {
    let limit = getrlimit(Resource::Nofile);
    let all = Rlimit { current: limit.maximum, maximum: limit.maximum };
    // What cannot be raised stays as it was.
    let raised = setrlimit(Resource::Nofile, all).is_ok();
    let files = if raised { limit.maximum } else { limit.current };
    if files.is_some_and(|files| files < FILES_MIN) {
        let files = files.unwrap_or_default();
        tracing::warn!(
            name: "few-files",
            files,
            wanted = FILES_MIN,
            "this process may open few files, and a large database ends with \"Too many open \
             files\": LimitNOFILE= in its unit, or ulimit -Hn, allows more"
        );
    }
}

async fn supervise(
    cli: &Cli,
    settings: Settings,
    logging: Logging,
    program: Program,
) -> Result<(), Failure> {
    let signal = |error| Failure::from_error(Exit::Io, "signal handlers", &error);
    let held = hold_reload().map_err(signal)?;
    let mut systemd = Systemd::from_environment()
        .map_err(|error| Failure::from_error(Exit::Io, "a thread", &error))?;
    let heartbeat =
        systemd.keepalive_interval().map_or(STATUS_INTERVAL, |due| due.min(STATUS_INTERVAL));
    let socket = systemd::socket(settings.node.listen, &settings.file)?;
    let (desk, asked) = to_owner();
    let how = Start { file: settings.file.clone(), socket, heartbeat, desk: Some(desk) };
    let starting = start(program, settings.node.clone(), how);
    tokio::pin!(starting);
    let running = loop {
        tokio::select! {
            started = &mut starting => break started?,
            () = sleep(STARTING_INTERVAL) => systemd.starting("opens its log and its state"),
        }
    };
    let signals = Signals::install(held).map_err(signal)?;
    systemd.ready();
    let heartbeats = running.heartbeats();
    let configuration = Configuration::new(cli, settings, (logging, running.foresight()));
    let supervisor =
        Supervisor { configuration, asked, running, heartbeats, systemd, has_stopped: false };
    supervisor.run(signals).await
}

/// Stands between the node and the system that the process runs on.
struct Supervisor<'a> {
    configuration: Configuration<'a>,
    /// What operators ask about the configuration.
    asked: mpsc::Receiver<AskedOwner>,
    running: Running,
    heartbeats: watch::Receiver<Heartbeat>,
    systemd: Systemd,
    /// The service manager knows that the node stops.
    has_stopped: bool,
}

impl Supervisor<'_> {
    async fn run(mut self, mut signals: Signals) -> Result<(), Failure> {
        loop {
            tokio::select! {
                biased;
                ask = signals.next() => match ask {
                    Ask::Stop => self.running.command(Command::Stop).await,
                    Ask::Reload => self.configuration.reload(None),
                },
                read = self.configuration.read() => self.configuration.take(read, &self.running),
                Some(asked) = self.asked.recv() => self.configuration.answer(asked),
                beat = next(&mut self.heartbeats) => self.tell(&beat),
                ended = self.running.wait() => return ended,
            }
        }
    }

    /// Passes on to the service manager what the node does, and what the log could not say.
    fn tell(&mut self, beat: &Heartbeat) {
        if beat.is_stopping {
            if !std::mem::replace(&mut self.has_stopped, true) {
                self.systemd.stopping();
            }
            return;
        }
        self.systemd.keepalive();
        let mut line = beat.line.clone();
        match logging::lost_lines() {
            0 => {}
            lost => line.push_str(&format!("; {lost} log lines lost, the log took none")),
        }
        if let Some(why) = self.configuration.refused() {
            line.push_str(&format!("; reload refused: {why}"));
        }
        self.systemd.status(&line);
    }
}

/// Waits for the next sign of life. Cancel-safe.
async fn next(heartbeats: &mut watch::Receiver<Heartbeat>) -> Heartbeat {
    match heartbeats.changed().await {
        Ok(()) => heartbeats.borrow_and_update().clone(),
        // The node has ended.
        Err(_) => std::future::pending().await,
    }
}

/// Writes a failure for people: what is wrong, and what to do.
pub(crate) fn explain(failure: &Failure, config: &Path) -> String {
    let how = if failure.exit.is_wanted() { "stopped" } else { "error" };
    let mut text = format!("{how}: {failure}\n");
    if let Some(hint) = &failure.hint {
        text.push_str(&format!("help: {hint}\n"));
    }
    text.push_str(&format!(
        "(configuration {}; exit code {})",
        config.display(),
        failure.exit.code()
    ));
    text
}
