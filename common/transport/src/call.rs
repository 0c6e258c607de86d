//! The client's side of a connection: many requests at a time on one stream, told apart by number.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use certs::Expect;
use protocol::{Hello, Passage, Request, Response};
use quinn::{Connection, RecvStream, SendStream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use crate::alpn::Alpn;
use crate::asked::{Asked, Numbered, Patience, lock, write};
use crate::close::Close;
use crate::endpoint::{Endpoint, broken, describe};
use crate::error::{CallError, ConnectError};
use crate::guard::Watched;
use crate::handshake::greet;
use crate::limits::CONTROL_MESSAGES_MAX;
use crate::pulse::Pulse;
use crate::reach::{Trail, called};
use crate::silence::ended;
use crate::stream::{FrameStream, ReadFailure};

/// A connection to a node, for a client or an operator.
pub struct ClientConnection {
    connection: Connection,
    hello: Hello,
    queue: mpsc::Sender<Numbered>,
    asked: Arc<Mutex<Asked>>,
    pulse: Arc<Pulse>,
    watched: Watched,
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
        let asked = Arc::new(Mutex::new(Asked::default()));
        let (writer, way) = (Arc::clone(&asked), connection.clone());
        tokio::spawn(async move {
            if let Err(error) = write(&mut queued, (&way, &mut send), &writer).await {
                lock(&writer).fail(&error.to_string());
            }
        });
        tokio::spawn(read(FrameStream::new(receive), connection.clone(), Arc::clone(&asked)));
        let pulse = Pulse::of(&connection);
        Self { connection, hello, queue, asked, pulse, watched }
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

    /// Says whether requests may still be answered: neither has it ended, as far as is known here,
    /// nor did this program stand still for so long that it may have.
    pub fn is_usable(&self) -> bool {
        let is_whole = || lock(&self.asked).broken().is_none();
        is_whole() && self.connection.close_reason().is_none() && self.pulse.is_steady()
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
        let (number, answered) = self.begin()?;
        self.settle((number, answered), request, passage).await
    }

    /// As [`ClientConnection::call_for`], for no longer than the patience lasts.
    ///
    /// # Errors
    /// As there; [`CallError::NotSent`] if the request could not leave in time, and
    /// [`CallError::Late`] if it has left and there is no answer.
    pub async fn call_until(
        &self,
        request: &Request,
        passage: &Passage,
        patience: Patience,
    ) -> Result<Response, CallError> {
        let began = Instant::now();
        let (number, answered) = self.begin()?;
        let settled = self.settle((number, answered), request, passage);
        tokio::pin!(settled);
        loop {
            // It becomes later while it is waited for.
            let until = lock(&self.asked).until(number, began, patience);
            if Instant::now() >= until {
                let given_up = lock(&self.asked).give_up(number);
                return match given_up {
                    Some(error) => Err(error),
                    // It has just been answered.
                    None => settled.await,
                };
            }
            if let Ok(answered) = timeout_at(until, &mut settled).await {
                return answered;
            }
        }
    }

    fn begin(&self) -> Result<(u64, Answered), CallError> {
        let (answer, answered) = oneshot::channel();
        let number = lock(&self.asked).ask(answer).map_err(CallError::NotSent)?;
        Ok((number, answered))
    }

    async fn settle(
        &self,
        (number, answered): (u64, Answered),
        request: &Request,
        passage: &Passage,
    ) -> Result<Response, CallError> {
        let _forget = Forget { number, asked: &self.asked };
        let frame = request
            .encode_for(number, passage)
            .map_err(|error| CallError::NotSent(error.to_string()))?;
        if self.queue.send((number, frame)).await.is_err() {
            let why = lock(&self.asked).broken().unwrap_or("it is closed").to_owned();
            return Err(CallError::NotSent(why));
        }
        answered.await.unwrap_or_else(|_| Err(CallError::Lost("it is closed".into())))
    }
}

type Answered = oneshot::Receiver<Result<Response, CallError>>;

/// Forgets a request whose caller has gone.
struct Forget<'a> {
    number: u64,
    asked: &'a Mutex<Asked>,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        let _ = lock(self.asked).give_up(self.number);
    }
}

async fn read(mut frames: FrameStream, connection: Connection, asked: Arc<Mutex<Asked>>) {
    let why = loop {
        let frame = match frames.next_or_part().await {
            Ok(Some(frame)) => frame,
            Ok(None) => {
                lock(&asked).part();
                continue;
            }
            Err(ReadFailure::Ended(why)) => {
                break connection.close_reason().map_or(why, |error| describe(&error));
            }
            Err(ReadFailure::Malformed(error)) => {
                connection.close(Close::Malformed.code(), error.to_string().as_bytes());
                break error.to_string();
            }
        };
        match Response::decode(&frame) {
            Ok((number, response)) => lock(&asked).answered(number, response),
            Err(error) => {
                connection.close(Close::Malformed.code(), error.to_string().as_bytes());
                break error.to_string();
            }
        }
    };
    lock(&asked).fail(&why);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Forwarder, SeatLimits, Seats, serve_client};
    use bytes::Bytes;
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
            let seats = Seats::new(SeatLimits {
                connections_max: 9,
                per_identity_max: 9,
                requests_per_identity_max: 9,
            });
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
        let waiting = || lock(&connection.asked).len();
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
