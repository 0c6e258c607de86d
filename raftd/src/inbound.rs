//! Incoming connections: handshakes, and what each connection is for. None of it runs in the
//! node's loop.

use std::time::Instant;

use protocol::Hello;
use tokio::sync::{mpsc, watch};
use transport::{
    Accepted, Alpn, Cause, ClientRequest, Endpoint, Forwarder, Incoming, SeatLimits, Seats,
    TurnedAway, serve_client,
};

use crate::inbound::handshakes::{Admission, Handshakes, Ticket};
use crate::logging::repeat::{self, Kind};

mod handshakes;

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
    pub(crate) fn accept(endpoint: Endpoint, hello: Hello, seats: SeatLimits) -> Self {
        let (to_peers, peers) = mpsc::channel(PEERS_WAITING_MAX);
        let (to_requests, requests) = mpsc::channel(REQUESTS_WAITING_MAX);
        let (hello, said) = watch::channel(hello);
        let acceptor = Acceptor {
            peers: to_peers,
            requests: to_requests,
            forwarder: Forwarder::new(endpoint.clone(), said.clone()),
            hello: said,
            seats: Seats::new(seats),
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
    seats: Seats,
}

impl Acceptor {
    async fn run(self, endpoint: Endpoint) {
        let handshakes = Handshakes::default();
        while let Some(incoming) = endpoint.accept().await {
            let from = incoming.remote();
            let known = (incoming.is_proven(), endpoint.has_reached(from));
            match handshakes.admit(Instant::now(), from, known) {
                Admission::Begin(ticket) => {
                    tokio::spawn(self.clone().welcome(incoming, ticket));
                }
                Admission::Prove => incoming.prove(),
                Admission::Drop => incoming.drop_silently(),
            }
        }
    }

    async fn welcome(self, incoming: Incoming, ticket: Ticket) {
        let finished = tokio::select! {
            finished = incoming.finish(&self.seats) => finished,
            () = ticket.gives_way() => return,
        };
        drop(ticket);
        match finished {
            Ok(accepted) => self.serve(accepted).await,
            Err(away) => turned_away(&away),
        }
    }

    async fn serve(self, accepted: Accepted) {
        match accepted.alpn {
            Alpn::Peer => {
                // The loop may have ended; then the connection is dropped.
                let _ = self.peers.send(accepted).await;
            }
            Alpn::Client | Alpn::Forward => {
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
        Cause::Crowd | Cause::Deaf => Kind::Crowd,
    };
    repeat::tell(kind, &away.who, &away.why);
}
