//! Forwarding requests: a client that reaches followers and not the leader asks one of them to pass
//! its request on, and that node asks the leader in its place, over a connection for nothing else.
//!
//! A node's certificate gives it no right to ask for anything: it says on whose behalf it asks,
//! whose certificate it has checked itself, and the leader decides by that identity. So a leader
//! trusts the members of its configuration to say truly who asked them; it trusts them with every
//! vote and entry as well. Who is no member is not believed. Only what nobody but a leader can do
//! is passed on, and only once: what came from a node is never passed on again.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use certs::Expect;
use protocol::{ErrorCode, ErrorReply, Hello, LeaderHint, Outcome, Passage, Request, Response};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, timeout, timeout_at};

use crate::alpn::Alpn;
use crate::asked::Patience;
use crate::call::ClientConnection;
use crate::endpoint::Endpoint;
use crate::error::CallError;
use crate::limits::{FORWARD_BYTES_MAX, FORWARDS_MAX};
use crate::reach::Trail;

/// A leader that was heard of so recently is taken to be alive: its answer is awaited.
const HEARD_WITHIN: Duration = Duration::from_millis(250);

/// Else it is asked for a sign of life first, or for a connection, which may take so long: what is
/// sent to a leader which hangs has an outcome that nobody knows. A follower's leader is near, or
/// it would not be the leader for long; and another one may be elected soon.
const SIGN_WITHIN: Duration = Duration::from_millis(500);

/// A node's way to its leader, for others.
#[derive(Clone)]
pub struct Forwarder {
    endpoint: Endpoint,
    hello: watch::Receiver<Hello>,
    /// Requests, and their bytes, that may be passed on at a time.
    room: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    /// Locked while somebody dials.
    contact: Arc<tokio::sync::Mutex<Contact>>,
}

/// How the leader was last reached, or not.
#[derive(Default)]
struct Contact {
    connection: Option<Arc<LeaderConnection>>,
    /// The last failure: it is the answer also for all who waited while it came about.
    failed: Option<(Instant, String)>,
}

/// A connection to a leader.
struct LeaderConnection {
    leader: u64,
    address: String,
    requests: ClientConnection,
    heard: Mutex<Instant>,
}

impl Forwarder {
    /// Makes a way that is opened when it is first needed. `hello` is what this node says of
    /// itself.
    pub fn new(endpoint: Endpoint, hello: watch::Receiver<Hello>) -> Self {
        let room = Arc::new(Semaphore::new(FORWARDS_MAX));
        let bytes = Arc::new(Semaphore::new(FORWARD_BYTES_MAX));
        Self { endpoint, hello, room, bytes, contact: Arc::default() }
    }

    /// Returns permits for a request that is to be forwarded, if there is room for one more.
    pub(crate) fn admit(&self, request: &Request) -> Option<[OwnedSemaphorePermit; 2]> {
        let size = u32::try_from(request.payload_bytes()).ok()?;
        let room = Arc::clone(&self.room).try_acquire_owned().ok()?;
        let bytes = Arc::clone(&self.bytes).try_acquire_many_owned(size).ok()?;
        Some([room, bytes])
    }

    /// Lets the leader note an act that this node has seen; says whether it has.
    pub async fn note(&self, leader: &LeaderHint, command: Bytes, within: Duration) -> bool {
        let (request, until) = (Request::Note { command }, Instant::now() + within);
        let answered = self.pass_on(leader, &request, &Passage::Direct, until).await;
        matches!(answered, Response::Applied { .. })
    }

    /// Asks the leader, on somebody's behalf or on its own.
    pub(crate) async fn pass_on(
        &self,
        leader: &LeaderHint,
        request: &Request,
        passage: &Passage,
        until: Instant,
    ) -> Response {
        let LeaderHint { id, name, address } = leader;
        let cut_off = |why: &str| {
            let message =
                format!("{name} (node {id}) leads, and this node does not reach it either: {why}");
            let (code, leader, outcome) =
                (ErrorCode::NoLeader, Some(leader.clone()), Outcome::NotApplied);
            Response::Error(ErrorReply { code, message, leader, outcome })
        };
        let late = "the deadline passed";
        let connection = match timeout_at(until, self.connection(leader)).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(why)) => return cut_off(&why),
            Err(_) => return cut_off(late),
        };
        let patience = Patience::until(until);
        match connection.requests.call_until(request, passage, patience).await {
            Ok(response) => {
                connection.hears();
                response
            }
            Err(CallError::NotSent(why)) => cut_off(&why),
            Err(CallError::Lost(why)) => {
                unknown(format!("passed on to {name} at {address}; then the way was lost: {why}"))
            }
            Err(CallError::Late) => {
                unknown(format!("passed on to {name} at {address}, which did not answer"))
            }
        }
    }

    /// Returns a connection to the leader on which it has just been heard.
    async fn connection(&self, leader: &LeaderHint) -> Result<Arc<LeaderConnection>, String> {
        let arrived = Instant::now();
        let mut contact = self.contact.lock().await;
        if let Some(connection) = contact.connection.as_ref().filter(|known| known.leads_to(leader))
        {
            if connection.is_alive().await {
                return Ok(Arc::clone(connection));
            }
            contact.connection = None;
            contact.failed =
                Some((Instant::now(), format!("it gave no sign of life within {SIGN_WITHIN:?}")));
        }
        if let Some((_, why)) = contact.failed.as_ref().filter(|(at, _)| *at >= arrived) {
            return Err(why.clone());
        }
        match self.dial(leader).await {
            Ok(made) => Ok(Arc::clone(contact.connection.insert(Arc::new(made)))),
            Err(why) => {
                contact.failed = Some((Instant::now(), why.clone()));
                Err(why)
            }
        }
    }

    async fn dial(&self, leader: &LeaderHint) -> Result<LeaderConnection, String> {
        let LeaderHint { id, address, .. } = leader;
        let expect = (*id).try_into().map(Expect::Node).map_err(|_| "there is no node 0")?;
        let (trail, hello) = (Trail::new(address), self.hello.borrow().clone());
        let (endpoint, how) = (&self.endpoint, (Alpn::Forward, expect));
        let made = ClientConnection::connect(endpoint, &trail, how, &hello, SIGN_WITHIN);
        let requests = made.await.map_err(|error| error.to_string())?;
        requests.watch();
        let heard = Mutex::new(Instant::now());
        Ok(LeaderConnection { leader: *id, address: address.clone(), requests, heard })
    }
}

impl LeaderConnection {
    fn leads_to(&self, leader: &LeaderHint) -> bool {
        self.leader == leader.id && self.address == leader.address && self.requests.is_usable()
    }

    /// Whatever it answers to a question that it need not answer: then it does not hang.
    async fn is_alive(&self) -> bool {
        if self.lock().elapsed() < HEARD_WITHIN {
            return true;
        }
        let sign = timeout(SIGN_WITHIN, self.requests.call(&Request::Status)).await;
        let alive = matches!(sign, Ok(Ok(_)));
        if alive {
            self.hears();
        }
        alive
    }

    fn hears(&self) {
        *self.lock() = Instant::now();
    }

    fn lock(&self) -> MutexGuard<'_, Instant> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unknown(message: String) -> Response {
    let (code, leader, outcome) = (ErrorCode::Abandoned, None, Outcome::Unknown);
    Response::Error(ErrorReply { code, message, leader, outcome })
}
