//! All peers of a node: it sends to members over connections that it dialled, and receives on those
//! that it accepted, so that no two connections have to be told apart. Only those who are no
//! members here are answered on the connection that they dialled.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use consensus::{Message, NodeId};
use protocol::{Hello, ProtocolError, encode_message};
use tokio::sync::{Semaphore, mpsc};

use crate::arrivals::Arrivals;
use crate::endpoint::{Accepted, Endpoint};
use crate::error::ConnectError;
use crate::event::PeerEvent;
use crate::identify::identify;
use crate::limits::PEERS_INTAKE_BYTES_MAX;
use crate::memory::SharedMemory;
use crate::peer::{Peer, PeerInfo};
use crate::presence::Presence;
use crate::receive::{Receiver, ReturnPaths};
use crate::removed::Removed;
use crate::snapshot::SnapshotSender;

/// The connections to all other members.
pub struct Mesh {
    endpoint: Endpoint,
    receiver: Receiver,
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
        let return_paths = ReturnPaths::default();
        let removed = Removed::new(endpoint.guard().clone());
        let (arrivals, memory) = (Arrivals::default(), SharedMemory::default());
        let room = Arc::new(Semaphore::new(PEERS_INTAKE_BYTES_MAX));
        let receiver = Receiver {
            generation,
            hello,
            events,
            return_paths,
            removed,
            memory,
            arrivals,
            presence: Presence::default(),
            room,
        };
        Self { endpoint, receiver, peers: BTreeMap::new() }
    }

    /// Returns the list of removed members, to be kept by whoever applies the log.
    pub fn removed(&self) -> Removed {
        self.receiver.removed.clone()
    }

    /// Returns what is remembered of the other members.
    pub fn memory(&self) -> SharedMemory {
        self.receiver.memory.clone()
    }

    /// Dials these peers and drops all others; a peer with a new address is dialled anew.
    pub fn set_peers<'a>(&mut self, peers: impl IntoIterator<Item = (NodeId, &'a str)>) {
        let wanted: BTreeMap<NodeId, &str> =
            peers.into_iter().filter(|(id, _)| Some(*id) != self.receiver.hello.node).collect();
        self.receiver.removed.set_peers(wanted.keys().copied().collect());
        self.receiver.arrivals.retain(&wanted.keys().copied().collect());
        self.peers.retain(|id, peer| wanted.get(id) == Some(&peer.address.as_str()));
        for (id, address) in wanted {
            self.peers.entry(id).or_insert_with(|| {
                Peer::start(self.endpoint.clone(), id, address.into(), self.receiver.clone())
            });
        }
    }

    /// Queues a message; `false` if it is dropped: no such peer, no connection, or no room. Entries
    /// have a stream of their own, so that heartbeats never wait behind them.
    ///
    /// # Errors
    /// If the message is over a limit of the protocol.
    pub fn send(&self, to: NodeId, message: &Message) -> Result<bool, ProtocolError> {
        let chunks = encode_message(&self.receiver.generation, message)?;
        let with_entries = matches!(
            &message.body,
            consensus::Body::AppendEntries { entries, .. } if !entries.is_empty()
        );
        Ok(self.queue(to, with_entries, chunks))
    }

    /// Queues a message with entries that is encoded already, as [`Mesh::send`] does.
    pub fn send_entries(&self, to: NodeId, chunks: Vec<Bytes>) -> bool {
        self.queue(to, true, chunks)
    }

    /// Says whether messages with entries for a peer are still on this side: late, and not lost.
    /// What a way carries in some round trips does not count.
    pub fn has_unsent(&self, to: NodeId) -> bool {
        self.peers.get(&to).is_some_and(|peer| peer.entries().has_unsent())
    }

    /// Waits until that is no longer so, or the connection has ended. The future is on its own.
    pub fn all_sent(&self, to: NodeId) -> impl Future<Output = ()> + Send + use<> {
        let all_sent = self.peers.get(&to).map(|peer| peer.entries().all_sent());
        async move {
            if let Some(all_sent) = all_sent {
                all_sent.await;
            }
        }
    }

    fn queue(&self, to: NodeId, with_entries: bool, chunks: Vec<Bytes>) -> bool {
        match self.peers.get(&to) {
            Some(peer) => peer.send(with_entries, chunks),
            // A node that has just joined knows nobody, and a removed one may be asked for its
            // vote: both answer on the connection on which they were spoken to.
            None => self.receiver.return_paths.send(to, chunks),
        }
    }

    /// Returns the way for a snapshot to a peer; `None` if there is no connection.
    pub fn snapshot_sender(&self, to: NodeId) -> Option<SnapshotSender> {
        self.peers.get(&to)?.connection().map(SnapshotSender::new)
    }

    /// Asks who is at an address, within a time; see [`identify`]. The future is on its own.
    pub fn identify(
        &self,
        node: NodeId,
        address: String,
        within: Duration,
    ) -> impl Future<Output = Result<Hello, ConnectError>> + Send + use<> {
        identify(self.endpoint.clone(), self.receiver.hello.clone(), node, address, within)
    }

    /// Returns what is known of the way to a peer.
    pub fn info(&self, peer: NodeId) -> PeerInfo {
        let info = self.peers.get(&peer).map(Peer::info).unwrap_or_default();
        PeerInfo { doubled: self.receiver.presence.doubled(peer), ..info }
    }

    /// Receives on a connection that a peer dialled, in a task of its own.
    pub fn accept(&self, accepted: Accepted) {
        let receiver = self.receiver.clone();
        tokio::spawn(receiver.run(accepted));
    }
}
