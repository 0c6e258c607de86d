//! Why there is no connection, and what became of a request on one that broke.

use std::time::Duration;

use protocol::{ProtocolError, RefusalCode};

/// A failure to use the local endpoint.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// The address cannot be bound.
    #[error("cannot listen on UDP {address}: {source}")]
    Bind {
        /// The address.
        address: std::net::SocketAddr,
        /// The system's word.
        source: std::io::Error,
    },
    /// The certificates cannot be used.
    #[error(transparent)]
    Certificates(#[from] certs::CertError),
    /// The TLS settings do not suit QUIC.
    #[error("the TLS settings do not suit QUIC: {0}")]
    Tls(String),
}

/// A failure to reach a node, by phase.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// The name has no address.
    #[error("cannot resolve {address}: {why}")]
    Resolve {
        /// What was asked for.
        address: String,
        /// The resolver's word.
        why: String,
    },
    /// Nothing came back.
    #[error(
        "no answer from {address} within {after:?}: nobody listens, UDP is blocked, \
         or it is not raftd"
    )]
    Silent {
        /// The resolved address.
        address: String,
        /// How long was waited.
        after: Duration,
    },
    /// A certificate was refused, here or there, or the other side is not raftd.
    #[error("the handshake with {address} failed: {why}")]
    Handshake {
        /// The resolved address.
        address: String,
        /// Which check failed.
        why: String,
    },
    /// The other side closed the connection, for no reason of certificates.
    #[error("{address} closed the connection: {why}")]
    Closed {
        /// The resolved address.
        address: String,
        /// The other side's word, or ours.
        why: String,
    },
    /// The node refused, and said why.
    #[error("{address} refuses: {reason}")]
    Refused {
        /// The resolved address.
        address: String,
        /// For programs.
        code: RefusalCode,
        /// For people.
        reason: String,
    },
    /// The node said something that makes no sense.
    #[error("{address} does not speak raftd's protocol: {why}")]
    Protocol {
        /// The resolved address.
        address: String,
        /// What makes no sense.
        why: ProtocolError,
    },
}

/// A request without an answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The request was not sent: it certainly had no effect.
    #[error("the request was not sent: {0}")]
    NotSent(String),
    /// The connection broke after the request may have been sent.
    #[error("the connection broke before the answer came: {0}")]
    Lost(String),
}

/// Why a snapshot was not delivered, or not received.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// The connection or the stream broke: what was written stays, and is not sent again.
    #[error("the stream broke: {0}")]
    Broken(String),
    /// The other side is silent.
    #[error("the other side was silent for {0:?}")]
    Silent(Duration),
    /// The receiver does not want it.
    #[error("the receiver refused it: {0}")]
    Refused(String),
    /// The other side said what makes no sense.
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
}
