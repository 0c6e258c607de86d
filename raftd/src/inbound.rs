//! Incoming connections: handshakes, and what each connection is for. None of it runs in the
//! node's loop.

use std::sync::Arc;

use protocol::Hello;
use tokio::sync::{Semaphore, mpsc, watch};
use transport::{
    Accepted, Alpn, Cause, ClientRequest, Endpoint, Forwarder, Incoming, TurnedAway, serve_client,
};

use crate::logging::repeat::{self, Kind};

/// Handshakes under way; more wait in the socket.
const HANDSHAKES_MAX: usize = 64;

/// At most so many of them are with addresses that are not proven. Beyond it, the other side must
/// first show that it receives what is sent to its address; without this rule, 32 first packets a
/// second with forged addresses would keep everybody out.
const UNPROVEN_MAX: usize = HANDSHAKES_MAX / 2;

/// Requests that wait for the loop; beyond it their connections are held back.
const REQUESTS_WAITING_MAX: usize = 1_024;

/// Connections of peers that wait for the loop.
const PEERS_WAITING_MAX: usize = 64;

/// What comes in from the network.
pub(crate) struct Inbound {
    /// Connections that other nodes have dialled.
    pub(crate) peers: mpsc::Receiver<Accepted>,
    /// Requests of clients and operators.
    pub(crate) requests: mpsc::Receiver<ClientRequest>,
    /// What this node says of itself.
    pub(crate) hello: watch::Sender<Hello>,
}

impl Inbound {
    /// Begins to accept connections.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub(crate) fn accept(endpoint: Endpoint, hello: Hello, clients_max: u32) -> Self {
        let (to_peers, peers) = mpsc::channel(PEERS_WAITING_MAX);
        let (to_requests, requests) = mpsc::channel(REQUESTS_WAITING_MAX);
        let (hello, said) = watch::channel(hello);
        let acceptor = Acceptor {
            peers: to_peers,
            requests: to_requests,
            forwarder: Forwarder::new(endpoint.clone(), said.clone()),
            hello: said,
            clients: Arc::new(Semaphore::new(clients_max as usize)),
        };
        tokio::spawn(acceptor.run(endpoint));
        Self { peers, requests, hello }
    }
}

#[derive(Clone)]
struct Acceptor {
    peers: mpsc::Sender<Accepted>,
    requests: mpsc::Sender<ClientRequest>,
    /// Passes requests on to the leader, for clients that do not reach it.
    forwarder: Forwarder,
    hello: watch::Receiver<Hello>,
    clients: Arc<Semaphore>,
}

impl Acceptor {
    async fn run(self, endpoint: Endpoint) {
        let handshakes = Arc::new(Semaphore::new(HANDSHAKES_MAX));
        while let Some(incoming) = endpoint.accept().await {
            let is_crowded = handshakes.available_permits() <= HANDSHAKES_MAX - UNPROVEN_MAX;
            let Some(incoming) = (if is_crowded { incoming.proven() } else { Some(incoming) })
            else {
                continue;
            };
            let Ok(permit) = Arc::clone(&handshakes).acquire_owned().await else {
                return;
            };
            let acceptor = self.clone();
            tokio::spawn(async move {
                let accepted = acceptor.handshake(incoming).await;
                drop(permit);
                if let Some(accepted) = accepted {
                    acceptor.serve(accepted).await;
                }
            });
        }
    }

    async fn handshake(&self, incoming: Incoming) -> Option<Accepted> {
        incoming.finish().await.inspect_err(turned_away).ok()
    }

    async fn serve(self, accepted: Accepted) {
        match accepted.alpn {
            Alpn::Peer => {
                // The loop may have ended; then the connection is dropped.
                let _ = self.peers.send(accepted).await;
            }
            Alpn::Client | Alpn::Forward => {
                let Ok(_permit) = Arc::clone(&self.clients).try_acquire_owned() else {
                    let from = format!("{} at {}", accepted.identity, accepted.remote);
                    let why = "limits.connections_max in raftd.toml is reached";
                    repeat::tell(Kind::Crowd, from, why);
                    return accepted.refuse("too many connections (limits.connections_max)");
                };
                let hello = self.hello.borrow().clone();
                let to = (self.requests, self.forwarder);
                if let Err(away) = serve_client(accepted, hello, to).await {
                    turned_away(&away);
                }
            }
        }
    }
}

/// Logs a connection that was refused. Strangers decide how often that happens, so it is counted.
pub(crate) fn turned_away(away: &TurnedAway) {
    let kind = match away.cause {
        Cause::Gone => return tracing::debug!(from = %away.who, why = %away.why, "nobody came in"),
        Cause::Certificate => Kind::Certificate,
        Cause::Protocol => Kind::Protocol,
        Cause::Role => Kind::Role,
        Cause::Greeting => Kind::Greeting,
        Cause::Nonsense => Kind::Nonsense,
    };
    repeat::tell(kind, &away.who, &away.why);
}
