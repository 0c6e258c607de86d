//! The configuration of a daemon while it runs: shown to operators, and read again by SIGHUP or at
//! an operator's request. Files are read on a thread of their own, since a disk that hangs must not
//! keep the watchdog waiting.

use std::sync::Arc;
use std::time::Duration;

use protocol::{
    CertificatesRead, ConfigurationAnswer, ConfigurationRequest, ErrorCode, Reloaded, Response,
};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;
use transport::Responder;

use crate::answer::refusal;
use crate::cli::Cli;
use crate::config::{Settings, Taken};
use crate::desk::AskedOwner;
use crate::exit::{Exit, Failure};
use crate::logging::Logging;
use crate::reload::{Foresight, names_same};
use crate::running::Running;

/// Operators who wait for one reload.
const WAITING_MAX: usize = 64;

/// Operators who have the files looked at, at once.
const CHECKS_MAX: usize = 4;

/// How long an answer waits for certificates that are read from a slow disk.
const CERTIFICATES_PATIENCE: Duration = Duration::from_secs(5);

/// Files that are being read.
type Reading = JoinHandle<Result<Read, Failure>>;

/// Settings that were read, and what the node would do with the certificates that they name.
pub(super) struct Read {
    settings: Settings,
    certificates: CertificatesRead,
}

/// The settings in force, and how others come.
pub(super) struct Configuration<'a> {
    cli: &'a Cli,
    settings: Settings,
    logging: Logging,
    foresight: Foresight,
    /// Why the configuration was not taken when it was last read again.
    refused: Option<Failure>,
    /// Files that are being read, and who waits for it.
    reading: Option<(Reading, Vec<Responder>)>,
    /// Who asked meanwhile: what is being read may be older than that.
    next: Option<Vec<Responder>>,
    /// How many may have the files looked at.
    checks: Arc<Semaphore>,
}

impl<'a> Configuration<'a> {
    pub(super) fn new(
        cli: &'a Cli,
        settings: Settings,
        (logging, foresight): (Logging, Foresight),
    ) -> Self {
        Self {
            cli,
            settings,
            logging,
            foresight,
            refused: None,
            reading: None,
            next: None,
            checks: Arc::new(Semaphore::new(CHECKS_MAX)),
        }
    }

    /// Says in one line why the configuration was not taken that was read last.
    pub(super) fn refused(&self) -> Option<&str> {
        self.refused.as_ref().and_then(|failure| failure.message.lines().next())
    }

    /// Answers an operator, now or when the files are read.
    pub(super) fn answer(&mut self, (request, responder): AskedOwner) {
        match request {
            ConfigurationRequest::Show => {
                let answer = ConfigurationAnswer::Shown {
                    file: self.file(),
                    settings: self.settings.told(),
                    refused: self.refused.as_ref().map(told).unwrap_or_default(),
                };
                responder.send(Response::Configuration(answer));
            }
            ConfigurationRequest::Reload => self.reload(Some(responder)),
            ConfigurationRequest::Check => self.check(responder),
        }
    }

    /// Reads the files and tells what a reload would do.
    fn check(&self, responder: Responder) {
        let Ok(turn) = Arc::clone(&self.checks).try_acquire_owned() else {
            let busy = "others have the configuration looked at";
            return responder.send(Response::Error(refusal(ErrorCode::Busy, busy)));
        };
        let (file, mut settings) = (self.file(), self.settings.clone());
        let read = self.load();
        tokio::spawn(async move {
            let read = read.await.expect("reading the configuration does not panic");
            let (taken, refused, certificates) = match read {
                Ok(read) => (settings.take(read.settings), String::new(), read.certificates),
                Err(failure) => (Taken::default(), told(&failure), CertificatesRead::Unread),
            };
            let answer = reloaded(file, taken, refused, certificates);
            responder.send(Response::Configuration(answer));
            drop(turn);
        });
    }

    /// Reads the files, or does so again when they are read.
    pub(super) fn reload(&mut self, responder: Option<Responder>) {
        if self.reading.is_none() {
            return self.begin(responder.into_iter().collect());
        }
        let waiting = self.next.get_or_insert_default();
        match responder {
            Some(responder) if waiting.len() >= WAITING_MAX => {
                let busy = "too many wait for the configuration to be read again";
                responder.send(Response::Error(refusal(ErrorCode::Busy, busy)));
            }
            responder => waiting.extend(responder),
        }
    }

    fn begin(&mut self, waiting: Vec<Responder>) {
        self.reading = Some((self.load(), waiting));
    }

    fn load(&self) -> Reading {
        let (file, overrides) = (self.cli.config.clone(), self.cli.overrides.clone());
        let foresight = self.foresight.clone();
        let present = self.settings.node.certificates.clone();
        spawn_blocking(move || {
            let settings = Settings::load_again(&file, &overrides)?;
            let certificates = foresight.look(&settings.node);
            match &certificates {
                // A configuration that names what cannot be used makes no sense as a whole.
                CertificatesRead::Refused(why)
                    if !names_same(&present, &settings.node.certificates) =>
                {
                    let message = format!("{}: [identity]: {why}", file.display());
                    Err(Failure::new(Exit::Config, message))
                }
                CertificatesRead::Refused(_)
                | CertificatesRead::Unread
                | CertificatesRead::Unchanged(_)
                | CertificatesRead::Replaced(_) => Ok(Read { settings, certificates }),
            }
        })
    }

    /// Waits until files are read. Cancel-safe.
    pub(super) async fn read(&mut self) -> Result<Read, Failure> {
        match &mut self.reading {
            Some((read, _)) => read.await.expect("reading the configuration does not panic"),
            None => std::future::pending().await,
        }
    }

    /// Takes what was read, as far as a running node can, and tells who has asked. A node whose
    /// configuration cannot be read still looks at its certificates.
    pub(super) fn take(&mut self, read: Result<Read, Failure>, running: &Running) {
        let (taken, refused) = match read {
            Ok(read) => (self.apply(read.settings), String::new()),
            Err(failure) => {
                tracing::warn!(
                    name: "reload-refused",
                    "{failure}; the configuration stays as it was"
                );
                let why = told(&failure);
                self.refused = Some(failure);
                (Taken::default(), why)
            }
        };
        running.tell_refused(self.refused.as_ref().map(in_a_line).as_deref());
        let waiting = self.reading.take().map(|(_, waiting)| waiting).unwrap_or_default();
        let certificates = running.update_and_tell(self.settings.node.clone());
        if !waiting.is_empty() {
            let file = self.file();
            tokio::spawn(async move {
                let certificates = timeout(CERTIFICATES_PATIENCE, certificates).await;
                let unknown = || CertificatesRead::Refused("they could not be read yet".to_owned());
                let certificates = certificates.ok().flatten().unwrap_or_else(unknown);
                let answer = reloaded(file, taken, refused, certificates);
                for responder in waiting {
                    responder.send(Response::Configuration(answer.clone()));
                }
            });
        }
        if let Some(next) = self.next.take() {
            self.begin(next);
        }
    }

    fn apply(&mut self, read: Settings) -> Taken {
        let taken = self.settings.take(read);
        self.refused = None;
        self.logging.set_level(self.settings.log_level);
        let names = |changes: &[protocol::SettingChange]| {
            changes.iter().map(|change| change.name.as_str()).collect::<Vec<_>>().join(", ")
        };
        let changed = names(&taken.changed);
        tracing::info!(
            name: "reloaded",
            level = %self.settings.log_level, changed, "configuration read again"
        );
        if !taken.waiting.is_empty() {
            let settings = names(&taken.waiting);
            tracing::warn!(
                name: "reload-needs-restart",
                settings, "changed settings that only a restart of raftd takes"
            );
        }
        taken
    }

    fn file(&self) -> String {
        self.settings.file.display().to_string()
    }
}

fn reloaded(
    file: String,
    Taken { changed, waiting }: Taken,
    refused: String,
    certificates: CertificatesRead,
) -> ConfigurationAnswer {
    ConfigurationAnswer::Reloaded(Reloaded { file, refused, changed, waiting, certificates })
}

/// Says what is wrong where one line is all there is: of several, the first says where it is, and
/// the last what it is.
fn in_a_line(failure: &Failure) -> String {
    let mut lines = failure.message.lines();
    let first = lines.next().unwrap_or_default();
    lines.next_back().map_or_else(|| first.to_owned(), |last| format!("{first}: {last}"))
}

/// Says what is wrong, and what to do.
fn told(failure: &Failure) -> String {
    let hint = failure.hint.iter().map(|hint| format!("; {hint}")).collect::<String>();
    format!("{failure}{hint}")
}
