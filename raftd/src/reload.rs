//! What is read again while the node runs: the level of the log, and the credentials.
//!
//! SIGHUP asks for it. Certificates that were replaced on the disk are noticed without being asked,
//! too, so that a forgotten signal is no outage months later. All of it happens in a task of its
//! own and on threads for files: the node's loop never waits for a disk that is not its log's.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use certs::{CertError, Credentials};
use tokio::sync::{Notify, watch};
use tokio::task::spawn_blocking;
use tokio::time::sleep;
use transport::Endpoint;

use crate::cli::Overrides;
use crate::config::{self, Config};
use crate::exit::{Exit, Failure, chain, unreadable};
use crate::identity::CertificateEnd;
use crate::lanes::network::Elsewhere;
use crate::logging::Logging;

/// How often it is looked whether the files of the credentials have changed. What has changed is
/// read when it was found the same twice, so that files which are being copied are left alone.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// How often a certificate that ends soon is warned of.
const WARN_EVERY: Duration = Duration::from_secs(24 * 60 * 60);

/// Asks for everything to be read again.
pub(crate) struct Reload {
    asked: Arc<Notify>,
    elsewhere: watch::Receiver<Elsewhere>,
}

impl Reload {
    /// Asks; what comes of it is logged.
    pub(crate) fn reload(&self) {
        self.asked.notify_one();
    }

    /// Returns where members are dialled, whatever the configuration in the log says.
    pub(crate) fn elsewhere(&self) -> Elsewhere {
        self.elsewhere.borrow().clone()
    }

    /// Waits until members are to be dialled elsewhere than before, and returns where.
    pub(crate) async fn redirected(&mut self) -> Elsewhere {
        match self.elsewhere.changed().await {
            Ok(()) => self.elsewhere.borrow_and_update().clone(),
            // Nobody reads the configuration again.
            Err(_) => std::future::pending().await,
        }
    }
}

/// Where settings come from, and what follows them.
pub(crate) struct Settings {
    pub(crate) file: PathBuf,
    pub(crate) overrides: Overrides,
    pub(crate) logging: Logging,
}

impl Settings {
    /// Starts the task that reads again.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub(crate) fn follow(self, config: Config, endpoint: Endpoint, end: CertificateEnd) -> Reload {
        let asked = Arc::new(Notify::new());
        let (to, elsewhere) = watch::channel(Elsewhere::new(config.peers.clone()));
        let follower = Follower {
            settings: self,
            seen: Stamps::of(&config.identity),
            config,
            endpoint,
            end,
            looked: None,
            refused: None,
            warned: None,
            elsewhere: to,
        };
        tokio::spawn(follower.run(Arc::clone(&asked)));
        Reload { asked, elsewhere }
    }
}

/// Loads and checks a node's credentials.
///
/// # Errors
/// Which file fails which check, since or until when, and what to do about it. The exit code is 78,
/// but where time decides: the clock may be set, or a renewed file put in its place, so that is 74.
pub(crate) fn credentials(identity: &config::Identity) -> Result<Credentials, Failure> {
    Credentials::load(&identity.ca, &identity.certificate, &identity.key)
        .map_err(|error| failure(&error, identity))
}

/// The same for a running node, which waits for nobody: a pipe was read when it started.
fn again(identity: &config::Identity) -> Result<Credentials, Failure> {
    for path in [&identity.ca, &identity.certificate, &identity.key] {
        if std::fs::metadata(path).is_ok_and(|found| !found.is_file()) {
            let shown = path.display();
            let message = format!("{shown}: it is no plain file, so it cannot be read again");
            return Err(Failure::new(Exit::Config, message));
        }
    }
    credentials(identity)
}

fn failure(error: &CertError, identity: &config::Identity) -> Failure {
    let (certificate, ca) = (identity.certificate.display(), identity.ca.display());
    let restart = "then: systemctl reload-or-restart raftd";
    let written = "`raftctl init` writes them; raftd.toml names them under [identity]";
    let (exit, hint) = match error {
        CertError::Io { path, source } => return unreadable(path, source).hint(written),
        CertError::Expired { .. } => (
            Exit::Io,
            format!(
                "`raftctl cert renew --all`, where the authority is, renews it also now; put the \
                 new node.crt at {certificate}, {restart}"
            ),
        ),
        CertError::AuthorityExpired { .. } => (
            Exit::Io,
            format!(
                "`raftctl cert renew --authority --all`, where the authority is, renews it also \
                 now; put the new ca.crt at {ca} and node.crt at {certificate}, {restart}"
            ),
        ),
        CertError::NotYetValid { .. } => (
            Exit::Io,
            "compare this machine's clock with another one (timedatectl); if it is right, the \
             certificate was made on a machine whose clock is ahead"
                .to_owned(),
        ),
        _ => (Exit::Config, written.to_owned()),
    };
    let now = match error {
        CertError::Expired { now, .. }
        | CertError::AuthorityExpired { now, .. }
        | CertError::NotYetValid { now, .. } => format!("; it is {} now", certs::utc(*now)),
        _ => String::new(),
    };
    Failure::new(exit, format!("{}{now}", chain(error))).hint(hint)
}

struct Follower {
    settings: Settings,
    /// What is in force; of the rest than credentials and level, since the start.
    config: Config,
    endpoint: Endpoint,
    end: CertificateEnd,
    /// The files that are in use.
    seen: Stamps,
    /// The files as they were found the last time.
    looked: Option<Stamps>,
    /// The files that were last refused.
    refused: Option<Stamps>,
    /// When it was last said that a certificate ends soon.
    warned: Option<Instant>,
    elsewhere: watch::Sender<Elsewhere>,
}

impl Follower {
    async fn run(mut self, asked: Arc<Notify>) {
        loop {
            self.warn();
            tokio::select! {
                () = asked.notified() => self.reload().await,
                () = sleep(LOOK_EVERY) => self.look().await,
            }
        }
    }

    /// Reads everything again.
    async fn reload(&mut self) {
        let (file, overrides) = (self.settings.file.clone(), self.settings.overrides.clone());
        let read = spawn_blocking(move || Config::load_again(&file, &overrides)).await;
        match read.expect("reading the configuration does not panic") {
            Ok(config) => {
                self.settings.logging.set_level(config.log_level);
                tracing::info!(level = %config.log_level, "configuration read again");
                let waiting = needs_restart(&self.config, &config);
                if !waiting.is_empty() {
                    let settings = waiting.join(", ");
                    tracing::warn!(settings, "changed settings that only a restart of raftd takes");
                }
                self.config.identity = config.identity;
                self.elsewhere.send_replace(Elsewhere::new(config.peers));
            }
            Err(failure) => tracing::warn!("{failure}; the configuration stays as it was"),
        }
        self.take(true).await;
    }

    /// Takes credentials whose files have changed. Those that were refused are tried again, since
    /// the clock may be right by now, and complained of once.
    async fn look(&mut self) {
        let identity = self.config.identity.clone();
        let stamps = spawn_blocking(move || Stamps::of(&identity)).await;
        let stamps = stamps.expect("looking at files does not panic");
        let settled = self.looked.as_ref() == Some(&stamps);
        self.looked = Some(stamps.clone());
        if settled && stamps != self.seen {
            let loud = self.refused.as_ref() != Some(&stamps);
            self.take(loud).await;
        }
    }

    /// Reads the credentials, and uses them for new connections if they may take the place of
    /// those in use.
    async fn take(&mut self, loud: bool) {
        let identity = self.config.identity.clone();
        // Looked at before they are read: what changes meanwhile is noticed the next time.
        let read = spawn_blocking(move || (Stamps::of(&identity), again(&identity))).await;
        let (stamps, loaded) = read.expect("reading credentials does not panic");
        let present = self.endpoint.credentials();
        let replaced = loaded.and_then(|loaded| {
            let keep = |why: String| {
                Failure::new(Exit::Config, format!("the credentials cannot be taken: {why}"))
                    .hint("a restart of raftd takes what belongs to its data directory")
            };
            loaded.may_succeed(&present).map_err(keep)?;
            let same = loaded.is_same_as(&present);
            if !same {
                self.endpoint.replace(&loaded).map_err(|error| keep(chain(&error)))?;
            }
            Ok((loaded, same))
        });
        let (until, certificate) =
            (certs::utc(present.usable_until()), self.config.identity.certificate.display());
        match replaced {
            Ok((loaded, same)) => {
                (self.seen, self.refused) = (stamps, None);
                self.end.set(&loaded);
                let valid = certs::utc(loaded.usable_until());
                match same {
                    true if loud => {
                        tracing::info!(%certificate, "certificates unchanged, valid until {valid}");
                    }
                    true => {}
                    false => {
                        self.warned = None;
                        tracing::info!(
                            %certificate,
                            "certificates replaced for new connections: valid until {valid}, \
                             before until {until}"
                        );
                    }
                }
            }
            Err(failure) => {
                self.refused = Some(stamps);
                if loud {
                    let hint = failure.hint.as_deref().unwrap_or_default();
                    tracing::warn!(
                        "{failure}; the certificates in use stay, valid until {until}; {hint}"
                    );
                }
            }
        }
    }

    /// Says once a day that a certificate ends soon.
    fn warn(&mut self) {
        let due = self.warned.is_none_or(|said| said.elapsed() >= WARN_EVERY);
        let present = self.endpoint.credentials();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let (own, authority) = (present.validity(), present.authority_validity());
        let (window, whose, file, what) = match authority.not_after < own.not_after {
            true => (authority, "the authority's", &self.config.identity.ca, "--authority --all"),
            false => (own, "this node's", &self.config.identity.certificate, "--all"),
        };
        if !due || !window.ends_soon(now) {
            return;
        }
        self.warned = Some(Instant::now());
        tracing::warn!(
            file = %file.display(),
            "{whose} certificate {} ({}): nodes refuse each other then; raftctl cert renew {what}",
            window.tense(now),
            certs::utc(window.not_after)
        );
    }
}

/// Names the settings that differ and are read at the start only.
fn needs_restart(old: &Config, new: &Config) -> Vec<&'static str> {
    [
        ("data_dir", old.data_dir != new.data_dir),
        ("listen", old.listen != new.listen),
        ("[raft]", old.raft != new.raft),
        ("[limits]", old.limits != new.limits),
    ]
    .into_iter()
    .filter_map(|(name, differs)| differs.then_some(name))
    .collect()
}

/// What tells versions of the three files from each other; `None` for one that is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamps([Option<Stamp>; 3]);

/// Device, inode, size, and when it was last written, in seconds and nanoseconds.
type Stamp = (u64, u64, u64, i64, i64);

impl Stamps {
    fn of(identity: &config::Identity) -> Self {
        let stamp = |path: &Path| {
            let found = std::fs::metadata(path).ok()?;
            Some((found.dev(), found.ino(), found.size(), found.mtime(), found.mtime_nsec()))
        };
        Self([stamp(&identity.ca), stamp(&identity.certificate), stamp(&identity.key)])
    }
}
