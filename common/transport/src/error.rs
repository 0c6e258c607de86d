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

/// Why somebody who came was not let in, or was sent away: for those who count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It went by itself, or the network lost it: nothing was refused.
    Gone,
    /// A certificate was not accepted, theirs or ours.
    Certificate,
    /// It speaks QUIC, but not raftd's protocol.
    Protocol,
    /// Its role may not use what it asked for.
    Role,
    /// It is of another cluster, history or version, or was removed.
    Greeting,
    /// It sent bytes that make no sense.
    Nonsense,
    /// There was no place for another connection, of whomever.
    Crowd,
    /// One certificate has all the places that one gets.
    Share,
    /// It reads no answers.
    Deaf,
}

/// Somebody who came and was not let in, or was sent away.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{who}: {why}")]
pub struct TurnedAway {
    /// What kind of reason it was.
    pub cause: Cause,
    /// Where it came from, and who it is as far as that is known.
    pub who: String,
    /// Which check failed.
    pub why: String,
}

/// A failure to reach a node, by phase.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// The name has no address.
    #[error("the name in {address} cannot be resolved: {why}")]
    Resolve {
        /// What was asked for.
        address: String,
        /// The resolver's word.
        why: String,
    },
    /// The network says that nothing can be sent there.
    #[error("{}", .how.at(address))]
    Rejected {
        /// The resolved address.
        address: String,
        /// How.
        how: Rejection,
    },
    /// Nothing came back.
    #[error("no answer from {address} within {after:?}: {}", silence(*.after))]
    Silent {
        /// The resolved address.
        address: String,
        /// How long was waited.
        after: Duration,
    },
    /// There is a connection, and nothing is said on it.
    #[error("{address} accepts connections and gave no answer within {after:?}: {}", hush(*.after))]
    Mute {
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
    /// The node has no place for another connection, of anybody or of this certificate.
    #[error("{address} takes no more connections: {why}")]
    Full {
        /// The resolved address.
        address: String,
        /// Which limit is reached.
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
    /// Several addresses of one name were tried.
    #[error("{}", sentences(.errors))]
    Several {
        /// What each had to say, the most precise first.
        errors: Vec<ConnectError>,
    },
}

/// A silence that is shorter tells nothing.
pub(crate) const TELLING: Duration = Duration::from_secs(1);

/// Says what a silence may mean.
fn silence(after: Duration) -> &'static str {
    if after < TELLING {
        return "then the time was up";
    }
    "the handshake timed out (the machine is down, UDP is blocked on the way, or raftd hangs there)"
}

/// Says what it may mean that a node with which there is a connection says nothing.
fn hush(after: Duration) -> &'static str {
    if after < TELLING { "then the time was up" } else { "raftd hangs there, or the way is slow" }
}

/// How the network says that nothing can be sent to a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// Nobody listens on the port.
    Closed,
    /// The machine is not there, or a firewall says so.
    Host,
    /// There is no way to its network.
    Network,
    /// A firewall or a route forbids it.
    Prohibited,
    /// It cannot be tried from here.
    Unusable(String),
}

impl Rejection {
    fn at(&self, address: &str) -> String {
        match self {
            Self::Closed => format!("connection refused at {address} (UDP)"),
            Self::Host => {
                format!("host unreachable at {address}: it is not there, or a firewall rejects UDP")
            }
            Self::Network => format!("network unreachable at {address}: there is no route"),
            Self::Prohibited => {
                format!("UDP to {address} is rejected by a firewall or a route")
            }
            Self::Unusable(why) => format!("{address} cannot be used: {why}"),
        }
    }
}

/// How much a reason tells; the more, the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Precision {
    /// The time was too short to learn anything.
    Nothing,
    /// Nothing came back.
    Silence,
    /// It is there, and says nothing.
    Mute,
    /// The name leads nowhere.
    Unresolved,
    /// The network says no.
    Rejected,
    /// The node says no, or why it cannot help.
    Refused,
    /// The node serves others, and has no place for another connection.
    Full,
    /// The node has another history than the one that was named.
    Generation,
    /// Somebody is not who he should be.
    Identity,
}

impl ConnectError {
    /// Says how much this reason tells.
    pub fn precision(&self) -> Precision {
        match self {
            Self::Silent { .. } => Precision::Silence,
            Self::Mute { .. } => Precision::Mute,
            Self::Resolve { .. } => Precision::Unresolved,
            Self::Rejected { .. } => Precision::Rejected,
            Self::Closed { .. } | Self::Protocol { .. } => Precision::Refused,
            Self::Full { .. } => Precision::Full,
            Self::Refused { code: RefusalCode::Generation, .. } => Precision::Generation,
            Self::Handshake { .. } | Self::Refused { .. } => Precision::Identity,
            Self::Several { errors } => {
                errors.iter().map(Self::precision).max().unwrap_or(Precision::Nothing)
            }
        }
    }

    /// Returns the refusal of a node that said why, if there is one.
    pub fn refusal(&self) -> Option<(RefusalCode, &str)> {
        match self {
            Self::Refused { code, reason, .. } => Some((*code, reason)),
            Self::Several { errors } => errors.iter().find_map(Self::refusal),
            Self::Resolve { .. }
            | Self::Rejected { .. }
            | Self::Silent { .. }
            | Self::Mute { .. }
            | Self::Handshake { .. }
            | Self::Closed { .. }
            | Self::Full { .. }
            | Self::Protocol { .. } => None,
        }
    }

    /// Makes one of what several addresses had to say; `None` if there was none.
    pub(crate) fn all(mut errors: Vec<Self>) -> Option<Self> {
        // Stable: else in the order in which they were tried.
        errors.sort_by_key(|error| std::cmp::Reverse(error.precision()));
        match errors.len() {
            0 | 1 => errors.pop(),
            _ => Some(Self::Several { errors }),
        }
    }
}

fn sentences(errors: &[ConnectError]) -> String {
    let sentences: Vec<String> = errors.iter().map(ToString::to_string).collect();
    sentences.join("; ")
}

/// A request without an answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The request was not sent: it certainly had no effect.
    #[error("the request was not sent: {0}")]
    NotSent(String),
    /// The request was sent, and there was no answer in time.
    #[error("no answer came in time")]
    Late,
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
