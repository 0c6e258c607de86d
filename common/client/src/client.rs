//! A client: what it knows of its cluster, and how it asks one node once.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use protocol::{Generation, Outcome, Request, Response};
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep};
use transport::certs::Credentials;
use transport::{CallError, Precision};

use crate::attempt::{ANSWER_PATIENCE_MIN, Attempt, Lead, Manner};
use crate::error::{ClientError, LATE};
use crate::limits;
use crate::members::Members;
use crate::pool::Pool;
use crate::search::Why;

/// Without an answer for so long, it is asked whether the node's port is still open.
const SUSPICIOUS_AFTER: Duration = Duration::from_millis(40);

/// The longest that anything is waited for: a year, which stands for no limit at all. Much more
/// cannot be added to a moment.
const PATIENCE_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Where a cluster is, and how long to try.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// Addresses of some or all nodes: a name or an IP address, a colon, and a port.
    pub endpoints: Vec<String>,
    /// Who this client is; see [`Client::replace_credentials`].
    pub credentials: Credentials,
    /// How long a request may take, with all retries: a year at most, and
    /// more counts as that.
    pub deadline: Duration,
    /// How long one attempt to connect may take: a year at most, and
    /// more counts as that.
    pub connect_timeout: Duration,
}

/// A client of a cluster; copies share connections. It lives as long as the runtime in which it was
/// made, and does not survive a fork.
#[derive(Clone)]
pub struct Client {
    pub(crate) shared: Arc<Shared>,
    /// Whose commands this copy carries, if they are a session's.
    bound: Option<Bound>,
}

/// What binds a copy of a client to one history.
#[derive(Clone, Copy)]
struct Bound {
    /// The session's id. It is a place in the log: in another history it may be somebody else's.
    session: u64,
    /// The changes of history before it was opened.
    changes: u64,
}

pub(crate) struct Shared {
    pub(crate) config: ClientConfig,
    pub(crate) pool: Pool,
    /// Who led when last heard.
    leader: Mutex<Option<Lead>>,
    /// Where the next question to any node begins.
    pub(crate) turn: AtomicUsize,
    /// Where all nodes are, as far as known.
    pub(crate) members: Members,
    closed: AtomicBool,
}

impl Client {
    /// Makes a client, inside of a tokio runtime with I/O and time; nothing is connected before the
    /// first request.
    ///
    /// Its connections live while that runtime is driven. A runtime of one thread is, only during
    /// its `block_on`: what a node has closed since is noticed at the next call, which connects
    /// anew after a second or more. [`blocking`](crate::blocking) has a thread for that.
    ///
    /// # Errors
    /// [`ClientError::Invalid`] if no endpoint is named, or one that cannot be `host:port`;
    /// [`ClientError::Endpoint`] outside of a runtime, or if no socket can be had.
    pub fn new(mut config: ClientConfig) -> Result<Self, ClientError> {
        for patience in [&mut config.deadline, &mut config.connect_timeout] {
            *patience = PATIENCE_MAX.min(*patience);
        }
        if config.endpoints.is_empty() {
            return Err(ClientError::Invalid("no endpoint is named".into()));
        }
        config.endpoints.iter().try_for_each(|endpoint| limits::endpoint(endpoint))?;
        let Ok(home) = Handle::try_current() else {
            let why = "a client is made inside of a tokio runtime, a blocking one anywhere";
            return Err(ClientError::Endpoint(why.into()));
        };
        let pool = Pool::new(home, &config.credentials, config.connect_timeout)?;
        let members = Members::new(&config.endpoints);
        let (leader, turn) = (Mutex::new(None), AtomicUsize::new(0));
        let closed = AtomicBool::new(false);
        let shared = Shared { config, pool, leader, turn, members, closed };
        Ok(Self { shared: Arc::new(shared), bound: None })
    }

    /// Makes a copy for a session that was opened after so many changes of history.
    pub(crate) fn bound_to(&self, session: u64, changes: u64) -> Self {
        Self { bound: Some(Bound { session, changes }), ..self.clone() }
    }

    /// Lets this client and its copies follow a history of the cluster. Every connection names it
    /// from now on, and whatever has another one refuses; without this call, a client follows the
    /// one that it meets first. After a restore, clients are told of the new one so.
    ///
    /// What an id or an index meant in one history, it does not in another: sessions that were
    /// opened before end with [`ClientError::SessionExpired`], and
    /// [`Consistency::AtLeast`](crate::Consistency::AtLeast) wants an index of the new one.
    pub fn follow(&self, generation: Generation) {
        self.shared.pool.follow(generation);
    }

    /// Returns the history that this client follows, as soon as it knows one.
    pub fn generation(&self) -> Option<Generation> {
        self.shared.pool.followed()
    }

    /// Lets this client, its copies and its sessions connect with other credentials of the same
    /// holder from now on: certificates end, and programs need not. Connections that exist live on,
    /// and are cut when their certificate is revoked.
    ///
    /// # Errors
    /// [`ClientError::Invalid`] if they are somebody else's, whose sessions are others; nothing has
    /// changed then.
    pub fn replace_credentials(&self, credentials: &Credentials) -> Result<(), ClientError> {
        let (new, old) = (credentials.identity(), self.shared.config.credentials.identity());
        if new != old {
            let why = format!("the credentials are those of {new}, and this client is {old}");
            return Err(ClientError::Invalid(why));
        }
        self.shared.pool.replace_credentials(credentials);
        Ok(())
    }

    /// Returns how long a request may take, with all retries.
    pub(crate) fn patience(&self) -> Duration {
        self.shared.config.deadline
    }

    /// Returns the endpoints that this client was given.
    pub fn endpoints(&self) -> &[String] {
        &self.shared.config.endpoints
    }

    /// Closes all connections, so that the nodes need not wait for them to time out. That ends this
    /// client and all its copies and sessions: each call from then on returns
    /// [`ClientError::Ended`] at once, and those under way end by their deadline.
    pub async fn close(&self) {
        self.shared.closed.store(true, Ordering::Relaxed);
        self.shared.pool.close().await;
    }

    /// Refuses whatever is asked after the end, of the client or of a session's history.
    pub(crate) fn is_open(&self) -> Result<(), ClientError> {
        match self.shared.closed.load(Ordering::Relaxed) {
            true => Err(ClientError::Ended("it was closed")),
            false => self.is_in_its_history(),
        }
    }

    fn is_in_its_history(&self) -> Result<(), ClientError> {
        match self.bound {
            Some(Bound { session, changes }) if changes != self.shared.pool.changes() => {
                Err(ClientError::SessionExpired { session })
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Judges a request before anything of it is sent.
    pub(crate) fn admit(&self, request: &Request) -> Result<(), ClientError> {
        self.is_open()?;
        limits::request(request)
    }

    /// Asks a node once, and sorts what came of it: an error is only an unknown outcome, or the end
    /// of a session's history.
    pub(crate) async fn attempt(
        &self,
        endpoint: &str,
        request: &Request,
        manner: Manner,
    ) -> Result<Attempt, ClientError> {
        let began = Instant::now();
        let attempt = self.attempt_in_silence(endpoint, request, manner).await;
        let took = began.elapsed();
        match &attempt {
            Ok(Attempt::Done(_)) => tracing::debug!("{endpoint} answered, after {took:?}"),
            Ok(Attempt::Failed { why, .. }) => {
                tracing::debug!("{endpoint}, after {took:?}: {}", why.text);
            }
            Err(error) => tracing::debug!("{endpoint}, after {took:?}: {error}"),
        }
        attempt
    }

    async fn attempt_in_silence(
        &self,
        endpoint: &str,
        request: &Request,
        manner: Manner,
    ) -> Result<Attempt, ClientError> {
        let failed = |text: String, precision, reached| {
            let why = Why { text, precision, reached };
            Ok(Attempt::Failed { why, reply: None })
        };
        // A record names its history itself, and nodes that have none yet are to get it.
        let brings_one = matches!(request, Request::Bootstrap { .. } | Request::Join { .. });
        let named = manner.named && !brings_one;
        let connection = match self.shared.pool.get((endpoint, named), manner.connected_by).await {
            Ok(connection) => connection,
            Err(why) => return Ok(Attempt::Failed { why: why.into(), reply: None }),
        };
        // Looked at with the connection in hand: it may lead to another history than the last one.
        self.is_in_its_history()?;
        let (asked, had_effect) = (Instant::now(), request.needs_leader());
        let gone = async {
            sleep(SUSPICIOUS_AFTER).await;
            self.shared.pool.closed((endpoint, named), &connection).await
        };
        let passage = manner.passage(request);
        // That there was no time tells nothing of the node: it may itself wait so long before it
        // says why it cannot help.
        let precise = |precision| {
            let short = asked.elapsed() < ANSWER_PATIENCE_MIN * 9 / 10;
            if short { Precision::Nothing } else { precision }
        };
        let answered = tokio::select! {
            // An answer that came before the connection ended is the answer.
            biased;
            answered = connection.call_until(request, &passage, manner.patience) => answered,
            gone = gone => Err(CallError::Lost(gone)),
        };
        match answered {
            Ok(Response::Error(reply)) => {
                if reply.outcome == Outcome::Unknown && had_effect {
                    return Err(unknown(format!("{endpoint}: {}", reply.message)));
                }
                let (text, precision) = (reply.message.clone(), Precision::Refused);
                let why = Why { text, precision, reached: true };
                Ok(Attempt::Failed { why, reply: Some(reply) })
            }
            Ok(response) => Ok(Attempt::Done(response)),
            Err(CallError::NotSent(why)) => failed(why, precise(Precision::Silence), false),
            Err(CallError::Lost(why)) if had_effect => {
                self.remember(None);
                Err(unknown(format!("{endpoint}: {why}")))
            }
            Err(CallError::Lost(why)) => failed(why, Precision::Mute, true),
            Err(CallError::Late) if had_effect => {
                Err(unknown(format!("{endpoint} did not answer within the deadline")))
            }
            Err(CallError::Late) => failed(LATE.into(), precise(Precision::Mute), true),
        }
    }

    pub(crate) fn leader(&self) -> Option<Lead> {
        let leader = self.shared.leader.lock();
        leader.unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    pub(crate) fn remember(&self, leader: Option<Lead>) {
        let mut known =
            self.shared.leader.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *known = leader;
    }

    pub(crate) fn unexpected(&self) -> ClientError {
        let endpoint = match self.leader() {
            Some(Lead::At(endpoint) | Lead::Through { by: endpoint, .. }) => endpoint,
            None => "a node".into(),
        };
        ClientError::Unexpected { endpoint }
    }

    /// The same of what may have had an effect.
    pub(crate) fn unclear(&self) -> ClientError {
        unknown(self.unexpected().to_string())
    }
}

fn unknown(why: String) -> ClientError {
    ClientError::Unknown { why, sequence: None }
}
