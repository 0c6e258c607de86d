//! Incoming connections: handshakes, and what each connection is for. None of it runs in the
//! node's loop.

use std::time::Instant;

use protocol::{Hello, Trouble};
use tokio::sync::{mpsc, watch};
use transport::{
    Accepted, Alpn, Cause, ClientRequest, Endpoint, Forwarder, Incoming, Seats, TurnedAway,
    serve_client,
};

use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::inbound::handshakes::{Admission, Handshakes, Ticket};
use crate::logging::repeat::{self, Kind};
use crate::observe::board::Board;
use crate::observe::counted::Handshake;
use crate::troubles::Troubles;

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
    /// The way to the leader, for others.
    pub(crate) forwarder: Forwarder,
    /// What this node says of itself.
    pub(crate) hello: watch::Sender<Hello>,
    /// The places for connections.
    pub(crate) seats: Seats,
    /// Fails when nobody can come in any more: a socket is gone.
    pub(crate) accepting: watch::Receiver<()>,
}

impl Inbound {
    /// Says how a node ends that nobody can talk to any more; a restart opens its sockets anew.
    pub(crate) fn deaf() -> Failure {
        let why = "the socket is gone: the system gives nothing of it, and nobody can come in";
        Failure::new(Exit::Io, why)
    }

    /// Begins to accept connections.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub(crate) fn accept(
        endpoint: Endpoint,
        hello: Hello,
        config: &Config,
        (board, troubles): (Board, Troubles),
    ) -> Self {
        let (to_peers, peers) = mpsc::channel(PEERS_WAITING_MAX);
        let (to_requests, requests) = mpsc::channel(REQUESTS_WAITING_MAX);
        let (hello, said) = watch::channel(hello);
        let seats = Seats::new(config.limits.seats());
        tokio::spawn(endpoint.guard().clone().keep());
        let forwarder = Forwarder::new(endpoint.clone(), said.clone());
        let acceptor = Acceptor {
            peers: to_peers,
            requests: to_requests,
            forwarder: forwarder.clone(),
            hello: said,
            seats: seats.clone(),
            board,
            troubles,
        };
        let (accepts, accepting) = watch::channel(());
        tokio::spawn(async move {
            acceptor.run(endpoint).await;
            drop(accepts);
        });
        Self { peers, requests, forwarder, hello, seats, accepting }
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
    board: Board,
    troubles: Troubles,
}

impl Acceptor {
    async fn run(self, endpoint: Endpoint) {
        let handshakes = Handshakes::default();
        while let Some(incoming) = endpoint.accept().await {
            let from = incoming.remote();
            let known = (incoming.is_proven(), endpoint.has_reached(from));
            let counts = &self.board.counted().handshakes;
            match handshakes.admit(Instant::now(), from, known) {
                Admission::Begin(ticket) => {
                    counts.count(&Handshake::Begun);
                    tokio::spawn(self.clone().welcome(incoming, ticket));
                }
                Admission::Prove => {
                    counts.count(&Handshake::Proven);
                    incoming.prove();
                }
                Admission::Drop => {
                    counts.count(&Handshake::Dropped);
                    incoming.drop_silently();
                }
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
            Err(away) => {
                // Nothing else of the node shows it: it serves those that have a place.
                if away.cause == Cause::Crowd {
                    self.troubles.note(Trouble::Places, &away.why);
                }
                turned_away(&away, &self.board);
            }
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
                    turned_away(&away, &self.board);
                }
            }
        }
    }
}

/// Counts a connection that was refused, and logs it: the first few, for strangers decide how often
/// that happens.
pub(crate) fn turned_away(away: &TurnedAway, board: &Board) {
    board.counted().refused.count(&away.cause);
    let kind = match away.cause {
        Cause::Gone => return tracing::debug!(from = %away.who, why = %away.why, "nobody came in"),
        Cause::Certificate => Kind::Certificate,
        Cause::Protocol => Kind::Protocol,
        Cause::Role => Kind::Role,
        Cause::Greeting => Kind::Greeting,
        Cause::Nonsense => Kind::Nonsense,
        Cause::Crowd | Cause::Share | Cause::Deaf => Kind::Crowd,
    };
    repeat::tell(kind, &away.who, &away.why);
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;
    use std::time::Duration;

    use certs::{Authority, ClusterId, Identity, Role};
    use protocol::{PROTOCOL_VERSION, Promises};

    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);
    const PATIENCE: Duration = Duration::from_secs(60);

    /// It went on as if nobody wanted anything of it.
    #[tokio::test]
    async fn it_is_told_when_nobody_can_come_in_any_more() {
        let authority = Authority::create(ClusterId::generate().expect("bits"), DAY);
        let authority = authority.expect("it is made");
        let identity = Identity::new(authority.cluster(), Role::Node(NonZeroU64::MIN));
        let issued = authority.issue(&identity, DAY).expect("it signs");
        let credentials = issued.credentials().expect("it is whole");
        let listen = "127.0.0.1:0".parse().expect("an address");
        let endpoint = Endpoint::server(listen, &credentials).expect("a free port");
        let hello = Hello {
            protocol: PROTOCOL_VERSION,
            cluster: authority.cluster().to_bytes(),
            generation: None,
            node: consensus::NodeId::new(1),
            incarnation: consensus::Incarnation::default(),
            boot: 1,
            software: String::new(),
            lease: None,
            promises: Promises::default(),
        };
        let config = Config::new("/nowhere", credentials);
        let mut inbound = Inbound::accept(endpoint.clone(), hello, &config, Default::default());
        assert_eq!(inbound.accepting.has_changed().ok(), Some(false));
        endpoint.close("as if the system had taken it").await;
        let told = tokio::time::timeout(PATIENCE, inbound.accepting.changed()).await;
        assert!(told.is_ok_and(|told| told.is_err()));
    }
}
