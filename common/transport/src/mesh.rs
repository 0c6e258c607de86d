//! All peers of a node: it sends only over connections that it dialled, and receives only on those
//! that it accepted, so that no two connections have to be told apart.

use std::collections::BTreeMap;

use consensus::{Incarnation, Message, NodeId};
use protocol::{
    Generation, Hello, HelloReply, PROTOCOL_VERSION, ProtocolError, RefusalCode, decode_message,
    encode_message,
};
use quinn::{Connection, RecvStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::endpoint::{Accepted, Close, Endpoint};
use crate::limits::CONNECT_TIMEOUT;
use crate::peer::{CONTROL, ENTRIES, Peer, PeerInfo};
use crate::stream::{FrameStream, ReadFailure};

/// News from the other nodes.
#[derive(Debug)]
pub enum PeerEvent {
    /// A message arrived.
    Received {
        /// The sender, as its certificate says.
        from: NodeId,
        /// Its data directory, as its hello said.
        incarnation: Incarnation,
        /// What it said.
        message: Message,
    },
    /// Messages can be sent to this peer now.
    Connected {
        /// The peer.
        peer: NodeId,
        /// Its data directory.
        incarnation: Incarnation,
    },
    /// An attempt to connect failed, or a connection broke.
    Lost {
        /// The peer.
        peer: NodeId,
        /// Why.
        reason: String,
        /// Whether there was a connection.
        was_connected: bool,
    },
    /// A connection from outside was refused or cut, and why.
    Refused {
        /// Who it was, as its certificate said.
        who: String,
        /// Why.
        reason: String,
    },
}

/// The connections to all other members.
pub struct Mesh {
    endpoint: Endpoint,
    generation: Generation,
    hello: Hello,
    events: mpsc::Sender<PeerEvent>,
    peers: BTreeMap<NodeId, Peer>,
}

impl Mesh {
    /// Makes a mesh without peers. `hello` is what this node says of itself; its generation is the
    /// one that all entries carry.
    ///
    /// # Panics
    /// If the hello has no generation or no node: such a node has no peers.
    pub fn new(endpoint: Endpoint, hello: Hello, events: mpsc::Sender<PeerEvent>) -> Self {
        let generation = hello.generation.expect("a node with peers has a generation");
        assert!(hello.node.is_some(), "a node with peers is a node");
        Self { endpoint, generation, hello, events, peers: BTreeMap::new() }
    }

    /// Dials these peers and drops all others; a peer with a new address is dialled anew.
    pub fn set_peers<'a>(&mut self, peers: impl IntoIterator<Item = (NodeId, &'a str)>) {
        let wanted: BTreeMap<NodeId, &str> =
            peers.into_iter().filter(|(id, _)| Some(*id) != self.hello.node).collect();
        self.peers.retain(|id, peer| wanted.get(id) == Some(&peer.address.as_str()));
        for (id, address) in wanted {
            self.peers.entry(id).or_insert_with(|| {
                let events = self.events.clone();
                let hello = self.hello.clone();
                Peer::start(self.endpoint.clone(), id, address.into(), hello, events)
            });
        }
    }

    /// Queues a message; `false` if it is dropped: no such peer, no connection, or no room. Entries
    /// have a stream of their own, so that heartbeats never wait behind them.
    ///
    /// # Errors
    /// If the message is over a limit of the protocol.
    pub fn send(&self, to: NodeId, message: &Message) -> Result<bool, ProtocolError> {
        let Some(peer) = self.peers.get(&to) else {
            return Ok(false);
        };
        let chunks = encode_message(&self.generation, message)?;
        let with_entries = match &message.body {
            consensus::Body::AppendEntries { entries, .. } => !entries.is_empty(),
            _ => false,
        };
        Ok(peer.send(with_entries, chunks))
    }

    /// Returns what is known of the way to a peer.
    pub fn info(&self, peer: NodeId) -> PeerInfo {
        self.peers.get(&peer).map(Peer::info).unwrap_or_default()
    }

    /// Receives on a connection that a peer dialled, in a task of its own.
    pub fn accept(&self, accepted: Accepted) {
        let receiver = Receiver {
            generation: self.generation,
            hello: self.hello.clone(),
            events: self.events.clone(),
        };
        tokio::spawn(receiver.run(accepted));
    }
}

/// Refuses a peer because this node belongs to no cluster yet; the peer tries again.
pub async fn refuse_peer(accepted: Accepted, ours: Hello) {
    let connection = accepted.connection;
    let reply = HelloReply::Refused {
        code: RefusalCode::Uninitialised,
        reason: format!(
            "this node is not initialised (data directory {}); run raftctl init, or add it anew",
            ours.incarnation
        ),
    };
    let _ = timeout(CONNECT_TIMEOUT, answer_hello(&connection, |_| Err(reply))).await;
}

#[derive(Clone)]
struct Receiver {
    generation: Generation,
    hello: Hello,
    events: mpsc::Sender<PeerEvent>,
}

impl Receiver {
    async fn run(self, accepted: Accepted) {
        let who = accepted.identity.to_string();
        let connection = accepted.connection.clone();
        let greeted = answer_hello(&connection, |theirs| {
            self.judge(&accepted, theirs).map(|()| self.hello.clone())
        });
        let theirs = match timeout(CONNECT_TIMEOUT, greeted).await {
            Ok(Ok(theirs)) => theirs,
            Ok(Err(reason)) => return self.refused(who, reason).await,
            Err(_) => return self.refused(who, "its hello took too long".into()).await,
        };
        let from = theirs.node.expect("a judged hello names its node");
        while let Ok(stream) = connection.accept_uni().await {
            let receiver = self.clone();
            let (connection, who) = (connection.clone(), who.clone());
            tokio::spawn(async move {
                let read = receiver.read(stream, from, theirs.incarnation).await;
                if let Err(reason) = read {
                    connection.close(Close::Malformed.code(), reason.as_bytes());
                    receiver.refused(who, reason).await;
                }
            });
        }
    }

    async fn refused(&self, who: String, reason: String) {
        // Without a listener the node stops, and nobody wants to know.
        let _ = self.events.send(PeerEvent::Refused { who, reason }).await;
    }

    /// Decides whether a peer may speak: the one who its certificate says, of this history.
    fn judge(&self, accepted: &Accepted, theirs: &Hello) -> Result<(), HelloReply> {
        let refuse = |code, reason| Err(HelloReply::Refused { code, reason });
        let certified = accepted.identity.node_id().map(NodeId::from);
        if theirs.protocol != PROTOCOL_VERSION {
            let found = theirs.protocol;
            let reason = format!("protocol {found}, this node speaks {PROTOCOL_VERSION}");
            return refuse(RefusalCode::Version, reason);
        }
        if theirs.cluster != self.hello.cluster {
            return refuse(RefusalCode::Cluster, "another cluster's id".into());
        }
        if theirs.node != certified || certified.is_none() || certified == self.hello.node {
            let said = theirs.node.map_or_else(|| "nobody".into(), |id| format!("node {id}"));
            let reason = format!("it says it is {said}, its certificate {}", accepted.identity);
            return refuse(RefusalCode::Identity, reason);
        }
        match theirs.generation {
            Some(generation) if generation == self.generation => Ok(()),
            Some(other) => {
                let ours = self.generation.short();
                let reason = format!("generation {}, this node has {ours}", other.short());
                refuse(RefusalCode::Generation, reason)
            }
            None => refuse(RefusalCode::Generation, "it has no generation".into()),
        }
    }

    async fn read(
        &self,
        stream: RecvStream,
        from: NodeId,
        incarnation: Incarnation,
    ) -> Result<(), String> {
        let mut frames = FrameStream::new(stream);
        match frames.kind().await {
            Ok(CONTROL | ENTRIES) => {}
            Ok(kind) => return Err(format!("a stream of unknown kind {kind}")),
            Err(_) => return Ok(()),
        }
        loop {
            let frame = match frames.next().await {
                Ok(frame) => frame,
                Err(ReadFailure::Ended(_)) => return Ok(()),
                Err(ReadFailure::Malformed(error)) => return Err(error.to_string()),
            };
            let message =
                decode_message(&self.generation, frame).map_err(|error| error.to_string())?;
            let received = PeerEvent::Received { from, incarnation, message };
            if self.events.send(received).await.is_err() {
                return Ok(());
            }
        }
    }
}

/// Takes a hello, lets `judge` decide, and answers. A refusal closes the connection once the other
/// side has had time to read it.
pub(crate) async fn answer_hello(
    connection: &Connection,
    judge: impl FnOnce(&Hello) -> Result<Hello, HelloReply>,
) -> Result<Hello, String> {
    let (mut send, receive) = connection.accept_bi().await.map_err(|error| error.to_string())?;
    let frame = match FrameStream::new(receive).next().await {
        Ok(frame) => frame,
        Err(ReadFailure::Ended(why)) => return Err(why),
        Err(ReadFailure::Malformed(error)) => {
            connection.close(Close::Malformed.code(), error.to_string().as_bytes());
            return Err(error.to_string());
        }
    };
    let theirs = Hello::decode(&frame).map_err(|error| {
        connection.close(Close::Malformed.code(), error.to_string().as_bytes());
        error.to_string()
    })?;
    let (reply, refused) = match judge(&theirs) {
        Ok(ours) => (HelloReply::Accepted(ours), None),
        Err(reply) => {
            let reason = match &reply {
                HelloReply::Refused { reason, .. } => reason.clone(),
                HelloReply::Accepted(_) => String::new(),
            };
            (reply, Some(reason))
        }
    };
    send.write_all(&reply.encode()).await.map_err(|error| error.to_string())?;
    let Some(reason) = refused else {
        return Ok(theirs);
    };
    let _ = send.finish();
    let _ = timeout(CONNECT_TIMEOUT, send.stopped()).await;
    connection.close(Close::Refused.code(), reason.as_bytes());
    Err(reason)
}
