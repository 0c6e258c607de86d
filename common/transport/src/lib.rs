//! QUIC between nodes, and between clients and nodes: mutual TLS always, one UDP port, separate
//! streams for heartbeats and entries.
//!
//! # Architecture invariants
//! - Only this crate names quinn; there is no plain mode.
//! - Who may use which protocol is decided by the one table of rights, [`certs::RIGHTS`].
//! - Every connection, whoever made it, is looked at by the one guard when it is made, and closed
//!   when its certificate is revoked or its member is removed.
//! - A node asks for nothing of its own; on behalf of others it asks once, over a protocol of its
//!   own.
//! - Sending never blocks the caller: a full lane drops and says so.
//! - Receiving holds the sender back, by QUIC's windows; nothing grows without bound.
//! - No Raft rules: messages go through as they are.

mod allowance;
mod alpn;
mod arrivals;
mod asked;
mod batch;
mod call;
mod chunks;
mod close;
mod endpoint;
mod enrol;
mod error;
mod event;
mod forward;
mod guard;
mod handshake;
mod identify;
mod lane;
pub mod limits;
mod memory;
mod mesh;
mod peer;
mod presence;
mod probe;
mod pulse;
mod reach;
mod receive;
mod removed;
mod reset;
mod responder;
mod seats;
mod serve;
mod settings;
mod silence;
mod snapshot;
mod socket;
mod sockets;
mod stream;

pub use allowance::Held;
pub use alpn::Alpn;
pub use asked::Patience;
pub use call::ClientConnection;
pub use certs;
pub use endpoint::{Accepted, Endpoint, Incoming, Presented};
pub use enrol::{EnrolmentCaller, EnrolmentHost, EnrolmentLine};
pub use error::{
    CallError, Cause, ConnectError, EndpointError, Precision, Rejection, SnapshotError, TurnedAway,
};
pub use event::PeerEvent;
pub use forward::Forwarder;
pub use guard::{Guard, Revoked};
pub use identify::{answer_identify, identify};
pub use memory::SharedMemory;
pub use mesh::Mesh;
pub use peer::PeerInfo;
pub use probe::closed;
pub use reach::Trail;
pub use removed::Removed;
pub use responder::{ClientRequest, Responder};
pub use seats::{Full, SeatLimits, Seats};
pub use serve::serve_client;
pub use snapshot::{IncomingSnapshot, OutgoingSnapshot, SnapshotSender};
