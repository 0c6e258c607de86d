//! What a running node takes anew: its certificates, and where members are dialled.
//!
//! Its owner asks for it; `main` does so on SIGHUP. Certificates that were replaced on the disk are
//! noticed without being asked, too, so that a forgotten signal is no outage months later. All of
//! it happens in a task of its own and on threads for files: the node's loop never waits for a disk
//! that is not its log's.

use std::future::Future;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use certs::{CertError, Credentials, NewKey};
use protocol::{CertificatesRead, Trouble};
use tokio::sync::{mpsc, watch};
use tokio::task::spawn_blocking;
use tokio::time::sleep;
use transport::Endpoint;

use crate::config::{CertificateFiles, Certificates, Config};
use crate::desk::Asked;
use crate::exit::{Exit, Failure, chain, unreadable};
use crate::identity::CertificateEnd;
use crate::lanes::network::Elsewhere;
use crate::reload::stored::choose;
use crate::troubles::Troubles;

mod foresight;
mod renewal;
mod stored;

pub(crate) use foresight::{Foresight, names_same};

/// How often it is looked whether the files of the credentials have changed. What has changed is
/// read when it was found the same twice, so that files which are being copied are left alone.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// How often a certificate that ends soon is warned of.
const WARN_EVERY: Duration = Duration::from_secs(24 * 60 * 60);

/// But one that counts for a short time is warned of so often in what is left of it.
const WARN_PARTS: u64 = 4;

/// Where members are dialled now, for the loop.
#[derive(Clone)]
pub(crate) struct Reload {
    elsewhere: watch::Receiver<Elsewhere>,
}

impl Reload {
    /// Returns where members are dialled, whatever the configuration in the log says.
    pub(crate) fn elsewhere(&self) -> Elsewhere {
        self.elsewhere.borrow().clone()
    }

    /// Waits until members are to be dialled elsewhere than before, and returns where.
    pub(crate) async fn redirected(&mut self) -> Elsewhere {
        match self.elsewhere.changed().await {
            Ok(()) => self.elsewhere.borrow_and_update().clone(),
            // The task that reads the configuration again has ended.
            Err(_) => std::future::pending().await,
        }
    }
}

/// The owner's way to hand in another configuration.
pub(crate) struct Updates {
    asked: watch::Sender<Update>,
    done: watch::Receiver<Done>,
    troubles: Troubles,
    foresight: Foresight,
}

/// A configuration that was handed in, and its number.
#[derive(Clone)]
struct Update {
    number: u64,
    config: Config,
}

/// Up to which number configurations were taken, and what became of the certificates.
#[derive(Clone)]
struct Done {
    number: u64,
    certificates: CertificatesRead,
}

impl Updates {
    /// Tells that a configuration was not even handed in, or that one was.
    pub(crate) fn tell(&self, refused: Option<&str>) {
        match refused {
            Some(why) => self.troubles.note(Trouble::Settings, why),
            None => self.troubles.end(Trouble::Settings),
        }
    }

    /// Returns what tells beforehand what would come of its certificates.
    pub(crate) fn foresight(&self) -> Foresight {
        self.foresight.clone()
    }

    /// Hands it in; what comes of it is logged, and told to whoever waits for it. Of several that
    /// wait, the last one counts.
    pub(crate) fn send(
        &self,
        config: Config,
    ) -> impl Future<Output = Option<CertificatesRead>> + use<> {
        let mut number = 0;
        self.asked.send_modify(|update| {
            number = update.number + 1;
            *update = Update { number, config };
        });
        let mut done = self.done.clone();
        async move {
            let done = done.wait_for(|done| done.number >= number).await;
            done.ok().map(|done| done.certificates.clone())
        }
    }
}

/// Starts the task that takes what has changed.
///
/// # Panics
/// Outside of a tokio runtime.
pub(crate) fn follow(
    config: &Config,
    endpoint: Endpoint,
    (end, troubles): (CertificateEnd, Troubles),
    requests: mpsc::Receiver<Asked>,
) -> (Updates, Reload) {
    let (updates, asked) = watch::channel(Update { number: 0, config: config.clone() });
    let certificates = CertificatesRead::Unchanged(end.unix_s().1);
    let (told, done) = watch::channel(Done { number: 0, certificates });
    let (to, elsewhere) = watch::channel(Elsewhere::new(config.peers.clone()));
    let foresight = Foresight(endpoint.presented());
    let follower = Follower {
        seen: Stamps::of(&config.certificates),
        certificates: config.certificates.clone(),
        stored: stored::place(&config.data_dir),
        requests,
        key: None,
        endpoint,
        end,
        troubles: troubles.clone(),
        looked: None,
        refused: None,
        warned: None,
        elsewhere: to,
        done: told,
    };
    tokio::spawn(follower.run(asked));
    (Updates { asked: updates, done, troubles, foresight }, Reload { elsewhere })
}

/// Loads and checks a node's credentials: those that the configuration names, or those that it got
/// over the wire and keeps in its data directory, whichever are newer.
///
/// # Errors
/// Which file fails which check, since or until when, and what to do about it. The exit code is 78,
/// but where time decides: the clock may be set, or a renewed file put in its place, so that is 74.
pub(crate) fn credentials(config: &Config) -> Result<Credentials, Failure> {
    let configured = configured(&config.certificates);
    choose(configured, &config.certificates, &stored::place(&config.data_dir), true)
}

fn configured(certificates: &Certificates) -> Result<Credentials, Failure> {
    match certificates {
        Certificates::Files(files) => Credentials::load(&files.ca, &files.certificate, &files.key)
            .map_err(|error| failure(&error, files)),
        Certificates::Memory(credentials) => Ok(credentials.clone()),
    }
}

/// The same for a node that runs already. A pipe was read when it started; reading it again would
/// wait for a writer.
fn again(certificates: &Certificates, stored: &Path) -> Result<Credentials, Failure> {
    let pipes = paths(certificates).into_iter().flatten();
    for path in pipes {
        if std::fs::metadata(path).is_ok_and(|found| !found.is_file()) {
            let shown = path.display();
            let message = format!("{shown}: it is no plain file, so it cannot be read again");
            return Err(Failure::new(Exit::Config, message));
        }
    }
    choose(configured(certificates), certificates, stored, false)
}

/// The same with the stamps of the files. They are looked at before they are read: what changes
/// meanwhile is noticed the next time.
fn stamped(certificates: &Certificates, stored: &Path) -> (Stamps, Result<Credentials, Failure>) {
    (Stamps::of(certificates), again(certificates, stored))
}

/// Returns where the authority's certificate, the node's and its key are, if they are in files.
fn paths(certificates: &Certificates) -> Option<[&Path; 3]> {
    match certificates {
        Certificates::Files(CertificateFiles { ca, certificate, key }) => {
            Some([ca, certificate, key])
        }
        Certificates::Memory(_) => None,
    }
}

/// Says where they are, for the log.
fn places(certificates: &Certificates) -> [String; 3] {
    let shown = |path: &Path| path.display().to_string();
    paths(certificates).map_or_else(|| ["memory"; 3].map(str::to_owned), |paths| paths.map(shown))
}

fn failure(error: &CertError, files: &CertificateFiles) -> Failure {
    let (certificate, ca) = (files.certificate.display(), files.ca.display());
    let restart = "then: systemctl reload-or-restart raftd";
    let written = "`raftctl init` writes them; raftd.toml names them under [identity]";
    let (exit, hint) = match error {
        CertError::Io { path, source } if source.kind() == ErrorKind::NotFound => {
            return unreadable(path, source).hint(written);
        }
        CertError::Io { path, source } => return unreadable(path, source),
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
    Failure::new(exit, chain(error)).hint(hint)
}

struct Follower {
    /// Where the certificates are that are in use, or shall be.
    certificates: Certificates,
    /// Where those are that came over the wire.
    stored: PathBuf,
    /// What operators ask.
    requests: mpsc::Receiver<Asked>,
    /// The key that was made last, whose certificate has yet to come.
    key: Option<NewKey>,
    endpoint: Endpoint,
    end: CertificateEnd,
    troubles: Troubles,
    /// The files that are in use.
    seen: Stamps,
    /// The files as they were found the last time.
    looked: Option<Stamps>,
    /// The files that were last refused.
    refused: Option<Stamps>,
    /// When it was last said that a certificate ends soon.
    warned: Option<Instant>,
    elsewhere: watch::Sender<Elsewhere>,
    /// What became of what the owner has handed in.
    done: watch::Sender<Done>,
}

impl Follower {
    async fn run(mut self, mut asked: watch::Receiver<Update>) {
        loop {
            self.warn();
            tokio::select! {
                Ok(()) = asked.changed() => {
                    let Update { number, config } = asked.borrow_and_update().clone();
                    let certificates = self.update(config).await;
                    self.done.send_replace(Done { number, certificates });
                }
                Some(asked) = self.requests.recv() => self.serve(asked).await,
                () = sleep(LOOK_EVERY) => self.look().await,
            }
        }
    }

    /// Takes another configuration, as far as a running node can.
    async fn update(&mut self, config: Config) -> CertificatesRead {
        self.certificates = config.certificates;
        let elsewhere = Elsewhere::new(config.peers);
        self.elsewhere.send_if_modified(|present| {
            let is_new = *present != elsewhere;
            *present = elsewhere;
            is_new
        });
        self.take(true).await
    }

    /// Takes credentials whose files have changed. Those that were refused are tried again, since
    /// the clock may be right by now, and complained of once.
    async fn look(&mut self) {
        let certificates = self.certificates.clone();
        let stamps = spawn_blocking(move || Stamps::of(&certificates)).await;
        let stamps = stamps.expect("looking at files does not panic");
        let settled = self.looked.as_ref() == Some(&stamps);
        self.looked = Some(stamps.clone());
        let is_refused = self.refused.as_ref() == Some(&stamps);
        if settled && stamps == self.seen && !is_refused {
            // Those that were refused are gone again.
            self.troubles.end(Trouble::Certificates);
        } else if settled {
            self.take(!is_refused).await;
        }
    }

    /// Reads the credentials, and uses them for new connections if they may take the place of
    /// those in use.
    async fn take(&mut self, loud: bool) -> CertificatesRead {
        let (certificates, stored) = (self.certificates.clone(), self.stored.clone());
        let read = spawn_blocking(move || stamped(&certificates, &stored)).await;
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
        match replaced {
            Ok((loaded, same)) => {
                (self.seen, self.refused) = (stamps, None);
                self.troubles.end(Trouble::Certificates);
                self.end.set(&loaded);
                self.tell(&loaded, &present, same, loud);
                let (_, until_s) = self.end.unix_s();
                match same {
                    true => CertificatesRead::Unchanged(until_s),
                    false => CertificatesRead::Replaced(until_s),
                }
            }
            Err(failure) => {
                self.refused = Some(stamps);
                self.troubles.note(Trouble::Certificates, &failure.message);
                if loud {
                    let hint = failure.hint.as_deref().unwrap_or_default();
                    tracing::warn!(
                        name: "certificates-refused",
                        "{failure}; the certificates in use stay, valid until {}; {hint}",
                        certs::utc(present.usable_until())
                    );
                }
                CertificatesRead::Refused(failure.message)
            }
        }
    }

    /// Says which certificates are in use from now on.
    fn tell(&mut self, loaded: &Credentials, before: &Credentials, same: bool, loud: bool) {
        let [_, certificate, _] = places(&self.certificates);
        let valid = certs::utc(loaded.usable_until());
        if same && loud {
            tracing::info!(
                name: "certificates-same",
                %certificate, "certificates unchanged, valid until {valid}"
            );
        }
        if !same {
            self.warned = None;
            tracing::info!(
                name: "certificates-new",
                %certificate,
                "certificates replaced for new connections: valid until {valid}, before until {}",
                certs::utc(before.usable_until())
            );
        }
    }

    /// Says once a day that a certificate ends soon.
    fn warn(&mut self) {
        let present = self.endpoint.credentials();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let (own, authority) = (present.validity(), present.authority_validity());
        let [ca, certificate, _] = places(&self.certificates);
        let (window, whose, file, what) = match authority.not_after < own.not_after {
            true => (authority, "the authority's", ca, "--authority --all"),
            false => (own, "this node's", certificate, "--all"),
        };
        let part = Duration::from_secs(window.soon().as_secs() / WARN_PARTS);
        let every = part.clamp(Duration::from_secs(1), WARN_EVERY);
        let due = self.warned.is_none_or(|said| said.elapsed() >= every);
        if !due || !window.ends_soon(now) {
            return;
        }
        self.warned = Some(Instant::now());
        tracing::warn!(
            name: "certificate-ends",
            %file,
            "{whose} certificate {} ({}): nodes refuse each other then; raftctl cert renew {what}",
            window.tense(now),
            certs::utc(window.not_after)
        );
    }
}

/// What tells versions of the three files from each other; `None` for one that is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamps([Option<Stamp>; 3]);

/// Device, inode, size, and when it was last written, in seconds and nanoseconds.
type Stamp = (u64, u64, u64, i64, i64);

impl Stamps {
    /// Certificates in memory never change by themselves.
    fn of(certificates: &Certificates) -> Self {
        let stamp = |path: &Path| {
            let found = std::fs::metadata(path).ok()?;
            Some((found.dev(), found.ino(), found.size(), found.mtime(), found.mtime_nsec()))
        };
        Self(paths(certificates).map_or([None; 3], |paths| paths.map(stamp)))
    }
}

#[cfg(test)]
mod tests;
