//! What the connections to other nodes report to the node's loop.

use consensus::{Incarnation, Message, NodeId};

use crate::allowance::Held;
use crate::error::Cause;
use crate::snapshot::IncomingSnapshot;

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
        /// The room that it takes until the loop has it.
        held: Held,
    },
    /// A leader offers a snapshot.
    Offered(IncomingSnapshot),
    /// A peer says that this node was removed from the cluster: it has applied that.
    Removed {
        /// The peer.
        by: NodeId,
        /// What it says, with the log entry.
        reason: String,
    },
    /// A peer knows that this node has promised more than its data directory holds, or that another
    /// process runs with that.
    Forgotten {
        /// The peer.
        by: NodeId,
        /// Whether another process runs.
        runs_twice: bool,
        /// What it says.
        reason: String,
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
    /// Nobody listens any more where this peer was connected: its process has ended. Its connection
    /// is lost next.
    Gone {
        /// The peer.
        peer: NodeId,
    },
    /// A connection from outside was refused or cut, and why.
    Refused {
        /// Who it was, as its certificate said.
        who: String,
        /// What kind of reason it was.
        cause: Cause,
        /// Why.
        reason: String,
    },
}
