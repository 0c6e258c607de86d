//! The client's side of a connection: many requests at a time on one stream, told apart by number.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use certs::Expect;
use protocol::{Hello, Passage, Request, Response};
use quinn::{Connection, RecvStream, SendStream};
use tokio::sync::{mpsc, oneshot};

use crate::alpn::Alpn;
use crate::close::Close;
use crate::endpoint::{Endpoint, broken, describe};
use crate::error::{CallError, ConnectError};
use crate::guard::Watched;
use crate::handshake::greet;
use crate::limits::CONTROL_MESSAGES_MAX;
use crate::reach::{Trail, called};
use crate::silence::ended;
use crate::stream::{FrameStream, ReadFailure, pump};

/// A connection to a node, for a client or an operator.
pub struct ClientConnection {
    connection: Connection,
    hello: Hello,
    queue: mpsc::Sender<Vec<Bytes>>,
    waiting: Arc<Mutex<Waiting>>,
    watched: Watched,
}

#[derive(Default)]
struct Waiting {
    last: u64,
    answers: BTreeMap<u64, oneshot::Sender<Result<Response, CallError>>>,
    /// Why the connection is of no more use.
    broken: Option<String>,
}

impl Drop for ClientConnection {
    fn drop(&mut self) {
        self.connection.close(Close::Done.code(), b"done");
    }
}

impl ClientConnection {
    /// Connects, and exchanges hellos: only an answer proves that the node takes this certificate.
    /// The trail tells whoever cannot wait how far it came, and where it leads.
    ///
    /// # Errors
    /// By phase: resolving, silence, handshake, refusal; of each address that was tried.
    pub async fn connect(
        endpoint: &Endpoint,
        trail: &Trail,
        (alpn, expect): (Alpn, Expect),
        ours: &Hello,
        within: Duration,
    ) -> Result<Self, ConnectError> {
        let address = trail.address();
        let attempt = |place| {
            let (endpoint, address) = (endpoint.clone(), address.clone());
            let (trail, ours) = (trail.clone(), ours.clone());
            async move {
                let (connection, watched) = endpoint.dial(&address, place, expect, alpn).await?;
                trail.greets(place);
                let address = called(&address, place);
                let hello = greet(&connection, &address, &ours).await?;
                let (send, receive) =
                    connection.open_bi().await.map_err(|error| broken(&address, &error))?;
                Ok(Self::start((connection, watched), hello, send, receive))
            }
        };
        endpoint.places.reach(trail, within, attempt).await
    }

    fn start(
        (connection, watched): (Connection, Watched),
        hello: Hello,
        mut send: SendStream,
        receive: RecvStream,
    ) -> Self {
        let (queue, mut queued) = mpsc::channel(CONTROL_MESSAGES_MAX);
        let waiting = Arc::new(Mutex::new(Waiting::default()));
        let writer = Arc::clone(&waiting);
        tokio::spawn(async move {
            if let Err(error) = pump(&mut queued, &mut send, |_| ()).await {
                fail(&writer, &error.to_string());
            }
        });
        tokio::spawn(read(FrameStream::new(receive), connection.clone(), Arc::clone(&waiting)));
        Self { connection, hello, queue, waiting, watched }
    }

    /// Returns the address to which it leads.
    pub fn remote(&self) -> SocketAddr {
        let remote = self.connection.remote_address();
        // A v4 address on a v6 socket is told as what it is.
        SocketAddr::new(remote.ip().to_canonical(), remote.port())
    }

    /// Returns whose certificate was shown and checked at the other end.
    pub fn identity(&self) -> Option<certs::Identity> {
        self.watched.identity()
    }

    /// Returns what the node said of itself.
    pub fn hello(&self) -> &Hello {
        &self.hello
    }

    /// Gives the connection up as soon as nobody listens at its other end any more: all that wait
    /// for answers are told.
    pub(crate) fn watch(&self) {
        let connection = self.connection.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = ended(&connection) => {
                    connection.close(Close::Done.code(), b"nobody listens there");
                }
                _ = connection.closed() => {}
            }
        });
    }

    /// Says whether requests may still be answered.
    pub fn is_usable(&self) -> bool {
        lock(&self.waiting).broken.is_none() && self.connection.close_reason().is_none()
    }

    /// Asks, and waits for the answer however long it takes; dropping the future forgets it.
    ///
    /// # Errors
    /// If the request could not be sent, or the connection broke before the answer.
    pub async fn call(&self, request: &Request) -> Result<Response, CallError> {
        self.call_for(request, &Passage::Direct).await
    }

    /// As [`ClientConnection::call`], of a request that travels in some way.
    ///
    /// # Errors
    /// As there.
    pub async fn call_for(
        &self,
        request: &Request,
        passage: &Passage,
    ) -> Result<Response, CallError> {
        let (answer, answered) = oneshot::channel();
        let id = {
            let mut waiting = lock(&self.waiting);
            if let Some(why) = &waiting.broken {
                return Err(CallError::NotSent(why.clone()));
            }
            waiting.last += 1;
            let id = waiting.last;
            waiting.answers.insert(id, answer);
            id
        };
        let _forget = Forget { id, waiting: &self.waiting };
        let frame = request
            .encode_for(id, passage)
            .map_err(|error| CallError::NotSent(error.to_string()))?;
        if self.queue.send(vec![frame]).await.is_err() {
            let why = lock(&self.waiting).broken.clone();
            return Err(CallError::NotSent(why.unwrap_or_else(|| "it is closed".into())));
        }
        answered.await.unwrap_or_else(|_| Err(CallError::Lost("it is closed".into())))
    }
}

/// Forgets a request whose caller has gone.
struct Forget<'a> {
    id: u64,
    waiting: &'a Mutex<Waiting>,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        lock(self.waiting).answers.remove(&self.id);
    }
}

async fn read(mut frames: FrameStream, connection: Connection, waiting: Arc<Mutex<Waiting>>) {
    let why = loop {
        let frame = match frames.next().await {
            Ok(frame) => frame,
            Err(ReadFailure::Ended(why)) => {
                break connection.close_reason().map_or(why, |error| describe(&error));
            }
            Err(ReadFailure::Malformed(error)) => {
                connection.close(Close::Malformed.code(), error.to_string().as_bytes());
                break error.to_string();
            }
        };
        match Response::decode(&frame) {
            Ok((id, response)) => {
                if let Some(answer) = lock(&waiting).answers.remove(&id) {
                    // Whoever asked may have gone.
                    let _ = answer.send(Ok(response));
                }
            }
            Err(error) => {
                connection.close(Close::Malformed.code(), error.to_string().as_bytes());
                break error.to_string();
            }
        }
    };
    fail(&waiting, &why);
}

/// Ends all that wait: whether their requests arrived is not known.
fn fail(waiting: &Mutex<Waiting>, why: &str) {
    let mut waiting = lock(waiting);
    waiting.broken.get_or_insert_with(|| why.to_owned());
    for (_, answer) in std::mem::take(&mut waiting.answers) {
        let _ = answer.send(Err(CallError::Lost(why.to_owned())));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Forwarder, SeatLimits, Seats, serve_client};
    use certs::{Authority, ClusterId, Credentials, Identity, Role};
    use consensus::Incarnation;
    use protocol::{Generation, PROTOCOL_VERSION};
    use tokio::sync::watch;
    use tokio::time::timeout;

    const DAY: Duration = Duration::from_secs(86_400);
    const PATIENCE: Duration = Duration::from_secs(60);

    fn credentials(authority: &Authority, role: Role) -> Credentials {
        let identity = Identity::new(authority.cluster(), role);
        let issued = authority.issue(&identity, DAY).expect("it is issued");
        issued.credentials().expect("they are sound")
    }

    fn hello(authority: &Authority) -> Hello {
        Hello {
            protocol: PROTOCOL_VERSION,
            cluster: authority.cluster().to_bytes(),
            generation: Generation::from_slice(&[7; 32]).ok(),
            node: None,
            incarnation: Incarnation::default(),
            boot: 0,
            software: "test".into(),
            lease: None,
            promises: protocol::Promises::default(),
        }
    }

    /// Connects to a node whose requests come out of the receiver.
    async fn connect() -> (ClientConnection, mpsc::Receiver<crate::ClientRequest>) {
        let cluster = ClusterId::generate().expect("there is chance");
        let authority = Authority::create(cluster, DAY).expect("it is made");
        let role = Role::Node(1.try_into().expect("not 0"));
        let bind = "127.0.0.1:0".parse().expect("an address");
        let node = Endpoint::server(bind, &credentials(&authority, role)).expect("it listens");
        let trail = Trail::new(&node.local_addr().expect("it listens").to_string());
        let (says, said) = watch::channel(hello(&authority));
        let forwarder = Forwarder::new(node.clone(), said);
        let (sender, requests) = mpsc::channel(64);
        tokio::spawn(async move {
            let seats = Seats::new(SeatLimits { connections_max: 9, per_identity_max: 9 });
            while let Some(incoming) = node.accept().await {
                let Ok(accepted) = incoming.finish(&seats).await else { continue };
                let (hello, to) = (says.borrow().clone(), (sender.clone(), forwarder.clone()));
                tokio::spawn(serve_client(accepted, hello, to));
            }
        });
        let eve = credentials(&authority, Role::Client("eve".parse().expect("a name")));
        let (endpoint, how) = (Endpoint::client(&eve), (Alpn::Client, Expect::AnyNode));
        let (endpoint, ours) = (endpoint.expect("a socket"), hello(&authority));
        let made = ClientConnection::connect(&endpoint, &trail, how, &ours, PATIENCE).await;
        (made.expect("it is reached"), requests)
    }

    #[tokio::test]
    async fn a_request_whose_caller_has_gone_leaves_nothing_behind() {
        let (connection, mut requests) = connect().await;
        let waiting = || lock(&connection.waiting).answers.len();
        let mut next = async || timeout(PATIENCE, requests.recv()).await.ok().flatten();
        let asked = tokio::select! {
            answered = connection.call(&Request::Status) => panic!("{answered:?}"),
            asked = next() => asked.expect("it arrives"),
        };
        assert_eq!(waiting(), 0, "its caller has gone");
        // The late answer is nobody's; the next one is its own caller's.
        asked.responder.send(Response::Done);
        let answers = async {
            let asked = next().await.expect("it arrives");
            assert_eq!(waiting(), 1);
            let (index, response) = (7, Bytes::new());
            asked.responder.send(Response::Applied { index, response });
        };
        let request = Request::Propose { command: Bytes::new() };
        let (answered, ()) = tokio::join!(connection.call(&request), answers);
        assert!(matches!(answered, Ok(Response::Applied { index: 7, .. })), "{answered:?}");
        assert_eq!(waiting(), 0);
    }
}
