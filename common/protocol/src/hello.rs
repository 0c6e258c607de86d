//! Handshakes: who is there, of which cluster and which history.

use bytes::Bytes;
use consensus::{Incarnation, LogIndex, NodeId, Term, Vote};
use prost::Message as _;

use crate::configuration::{bounded, node_id};
use crate::error::ProtocolError;
use crate::frame::{Frame, encode_frame};
use crate::generation::{Generation, cluster, optional_generation};
use crate::limits::NAME_BYTES_MAX;
use crate::wire::peer as pb;

/// The version of the protocol between nodes, and between nodes and clients.
pub const PROTOCOL_VERSION: u32 = 1;

const REASON_BYTES_MAX: usize = 1024;

/// The first frame on a connection, from either side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The version that the sender speaks.
    pub protocol: u32,
    /// The sender's cluster.
    pub cluster: [u8; 16],
    /// The sender's history; `None` before it has one, and for clients that do not care.
    pub generation: Option<Generation>,
    /// The sender, if it is a node.
    pub node: Option<NodeId>,
    /// The sender's data directory.
    pub incarnation: Incarnation,
    /// A random number made when the sender's process started.
    pub boot: u64,
    /// The sender's software version, for people.
    pub software: String,
    /// What a node's leader may rely on when it serves reads by its lease; `None` where leases are
    /// off.
    pub lease: Option<LeaseTerms>,
    /// What a node has promised before its process started.
    pub promises: Promises,
}

/// What a node's disk held when its process started: all that it has promised before is in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Promises {
    /// How often a node was started with the data directory, this time included; 0 from who is no
    /// node, or has none yet.
    pub starts: u64,
    /// Its term.
    pub term: Term,
    /// Its vote in that term.
    pub vote: Option<Vote>,
    /// The last index of its log.
    pub last: LogIndex,
}

/// What leases rest on: all nodes of a cluster must have the same (§6.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseTerms {
    /// How far a node's clock may run from true time, in parts per million; above 0.
    pub clock_error_ppm: u32,
    /// How long a voter stands by its leader: the shortest election timeout, in milliseconds.
    pub stands_ms: u32,
}

/// The answer to a [`Hello`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HelloReply {
    /// Welcome; and who answers.
    Accepted(Hello),
    /// Not welcome.
    Refused {
        /// For programs.
        code: RefusalCode,
        /// For people.
        reason: String,
    },
}

/// Why a node refuses a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RefusalCode {
    /// The protocol versions differ.
    Version,
    /// The clusters differ.
    Cluster,
    /// The histories differ.
    Generation,
    /// The sender is not who its certificate says.
    Identity,
    /// This node belongs to no cluster yet.
    Uninitialised,
    /// This certificate may not do this.
    Role,
    /// The nodes' leases rest on different settings.
    Lease,
    /// The sender was removed from the cluster: the reason names the log entry.
    Removed,
    /// The sender has promised more than its data directory holds.
    Forgotten,
    /// Another process runs with the sender's data directory, or a copy of it.
    RunsTwice,
}

impl RefusalCode {
    const ALL: [Self; 10] = [
        Self::Version,
        Self::Cluster,
        Self::Generation,
        Self::Identity,
        Self::Uninitialised,
        Self::Role,
        Self::Lease,
        Self::Removed,
        Self::Forgotten,
        Self::RunsTwice,
    ];

    const fn code(self) -> u32 {
        match self {
            Self::Version => 1,
            Self::Cluster => 2,
            Self::Generation => 3,
            Self::Identity => 4,
            Self::Uninitialised => 5,
            Self::Role => 6,
            Self::Lease => 8,
            Self::Removed => 7,
            Self::Forgotten => 40,
            Self::RunsTwice => 41,
        }
    }

    fn from_code(code: u32) -> Result<Self, ProtocolError> {
        let found = Self::ALL.into_iter().find(|refusal| refusal.code() == code);
        found.ok_or(ProtocolError::Unknown { what: "a refusal's code", found: code.into() })
    }
}

impl Hello {
    /// Encodes the frame.
    pub fn encode(&self) -> Bytes {
        encode_frame(&self.to_wire(), 0).expect("a hello is small")
    }

    /// Decodes the frame.
    ///
    /// # Errors
    /// If it is malformed, or its names are too long.
    pub fn decode(frame: &Frame) -> Result<Self, ProtocolError> {
        let what = "a hello";
        no_body(what, frame)?;
        let hello = pb::Hello::decode(frame.header.clone())
            .map_err(|source| ProtocolError::Malformed { what, source })?;
        Self::from_wire(hello)
    }

    fn to_wire(&self) -> pb::Hello {
        pb::Hello {
            protocol: self.protocol,
            cluster: Bytes::copy_from_slice(&self.cluster),
            generation: self
                .generation
                .map_or_else(Bytes::new, |g| Bytes::copy_from_slice(g.bytes())),
            node: self.node.map_or(0, NodeId::get),
            incarnation: self.incarnation.get(),
            boot: self.boot,
            software: self.software.clone(),
            lease_clock_error_ppm: self.lease.map_or(0, |lease| lease.clock_error_ppm),
            lease_ms: self.lease.map_or(0, |lease| lease.stands_ms),
            starts: self.promises.starts,
            term: self.promises.term.get(),
            voted_for: self.promises.vote.map_or(0, |vote| vote.candidate.get()),
            voted_directory: self.promises.vote.map_or(0, |vote| vote.incarnation.get()),
            last: self.promises.last.get(),
        }
    }

    fn from_wire(hello: pb::Hello) -> Result<Self, ProtocolError> {
        bounded("a software version", hello.software.len(), NAME_BYTES_MAX)?;
        Ok(Self {
            protocol: hello.protocol,
            cluster: cluster(&hello.cluster)?,
            generation: optional_generation(&hello.generation)?,
            node: optional(hello.node)?,
            incarnation: Incarnation::new(hello.incarnation),
            boot: hello.boot,
            software: hello.software,
            lease: (hello.lease_clock_error_ppm > 0).then_some(LeaseTerms {
                clock_error_ppm: hello.lease_clock_error_ppm,
                stands_ms: hello.lease_ms,
            }),
            promises: Promises {
                starts: hello.starts,
                term: Term::new(hello.term),
                vote: optional(hello.voted_for)?.map(|candidate| {
                    let incarnation = Incarnation::new(hello.voted_directory);
                    Vote { candidate, incarnation }
                }),
                last: LogIndex::new(hello.last),
            },
        })
    }
}

impl HelloReply {
    /// Encodes the frame.
    pub fn encode(&self) -> Bytes {
        let outcome = match self {
            Self::Accepted(hello) => pb::hello_reply::Outcome::Accepted(hello.to_wire()),
            Self::Refused { code, reason } => {
                let reason = reason.chars().take(REASON_BYTES_MAX / 4).collect();
                pb::hello_reply::Outcome::Refused(pb::Refusal { code: code.code(), reason })
            }
        };
        let reply = pb::HelloReply { outcome: Some(outcome) };
        encode_frame(&reply, 0).expect("a reply is small")
    }

    /// Decodes the frame.
    ///
    /// # Errors
    /// If it is malformed, or its texts are too long.
    pub fn decode(frame: &Frame) -> Result<Self, ProtocolError> {
        let what = "an answer to a hello";
        no_body(what, frame)?;
        let reply = pb::HelloReply::decode(frame.header.clone())
            .map_err(|source| ProtocolError::Malformed { what, source })?;
        match reply.outcome.ok_or(ProtocolError::Missing { what: "the outcome of a hello" })? {
            pb::hello_reply::Outcome::Accepted(hello) => {
                Hello::from_wire(hello).map(Self::Accepted)
            }
            pb::hello_reply::Outcome::Refused(refusal) => {
                bounded("a refusal's reason", refusal.reason.len(), REASON_BYTES_MAX)?;
                let code = RefusalCode::from_code(refusal.code)?;
                Ok(Self::Refused { code, reason: refusal.reason })
            }
        }
    }
}

fn optional(id: u64) -> Result<Option<NodeId>, ProtocolError> {
    if id == 0 { Ok(None) } else { node_id(id).map(Some) }
}

pub(crate) fn no_body(what: &'static str, frame: &Frame) -> Result<(), ProtocolError> {
    match frame.body.len() {
        0 => Ok(()),
        extra => Err(ProtocolError::Trailing { what, extra }),
    }
}
