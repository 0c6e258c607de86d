//! Requests of clients and operators, as frames.

use bytes::Bytes;
use consensus::Configuration;

use crate::batch::{decode_batch, encode_batch};
use crate::body::{decode_from_body, encode_in_body};
use crate::certificate_request::CertificateRequest;
use crate::configuration::{bounded, decode_configuration, encode_configuration};
use crate::configuration_request::ConfigurationRequest;
use crate::error::ProtocolError;
use crate::frame::Frame;
use crate::generation::BootstrapRecord;
use crate::limits::{ADDRESS_BYTES_MAX, COMMAND_BYTES_MAX};
use crate::log_page::LogDetail;
use crate::snapshot_request::SnapshotRequest;
use crate::wire::client as pb;

/// What is asked of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// A command for the replicated machine, in its envelope.
    Propose {
        /// The command.
        command: Bytes,
    },
    /// Commands for the replicated machine, each in its envelope: they stand in the log in this
    /// order. Behind one that is refused, all others are refused as well.
    Batch {
        /// One to [`BATCH_COMMANDS_MAX`](crate::limits::BATCH_COMMANDS_MAX).
        commands: Vec<Bytes>,
    },
    /// A question to the replicated machine.
    Query {
        /// The question.
        query: Bytes,
        /// How new the answer must be.
        consistency: Consistency,
    },
    /// What the node knows of itself and its cluster; answered without a quorum.
    Status,
    /// Entries of this node's log.
    ReadLog {
        /// The first index.
        from: u64,
        /// The most entries.
        entries_max: u32,
        /// What is wanted of each.
        detail: LogDetail,
    },
    /// Makes a node without a history one of the first members of a new cluster.
    Bootstrap {
        /// What the cluster begins with.
        record: BootstrapRecord,
    },
    /// Makes a node that is none of the first members ready to be added: it takes over the history
    /// that begins with this record, with an empty log, and votes only once the log names it.
    Join {
        /// What the cluster began with.
        record: BootstrapRecord,
    },
    /// Changes the members, through a joint configuration where voters change; answered when that
    /// is committed.
    Reconfigure {
        /// The configuration to change to: a stable one.
        target: Configuration,
        /// Where the configuration stands that the operator has seen: another one is refused.
        expected_index: u64,
    },
    /// Asks the leader to hand over; answered when it has given up leadership.
    Transfer {
        /// The voter that shall lead.
        to: u64,
    },
    /// A question about the system's part of the state: sessions, removed members, reserved ids.
    SystemQuery {
        /// The question, in the encoding of `state-machine`.
        query: Bytes,
        /// Whether this node's own state is good enough, however old.
        stale: bool,
    },
    /// Something about this node's snapshots.
    Snapshot(SnapshotRequest),
    /// Something about this node's certificate.
    Certificate(CertificateRequest),
    /// Something about this node's configuration.
    Configuration(ConfigurationRequest),
    /// An administrative act for the audit: of the operator who asks, or one that a node has seen.
    Note {
        /// The act, as a command of the system, in the encoding of `state-machine`.
        command: Bytes,
    },
}

/// How a request may travel, or has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Passage {
    /// From who asks to who answers.
    #[default]
    Direct,
    /// The same, and nobody waits longer for the answer: what changes nothing is not done then.
    Within {
        /// How long, in milliseconds.
        within_ms: u32,
    },
    /// A node that does not lead may pass it on to the leader, once.
    MayForward {
        /// How long that node awaits the answer, in milliseconds.
        within_ms: u32,
    },
    /// A node passes it on, and has checked who asks. It is not passed on any further.
    OnBehalf {
        /// The URI of the identity that asks.
        identity: String,
        /// The address that it asks from; empty from nodes that do not tell it.
        from: String,
        /// The certificate that it showed; `None` from nodes that do not tell it.
        certificate: Option<CertificateId>,
    },
}

/// Tells a certificate from others of the same holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CertificateId {
    /// When it begins, in seconds since 1970.
    pub not_before_s: u64,
    /// The SHA-256 of its public key (DER of SubjectPublicKeyInfo).
    pub key: [u8; 32],
}

/// How new the answer to a question must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Consistency {
    /// As if there were one machine: a node that does not lead asks the leader for the index.
    Linearizable,
    /// Everything up to this index of the log: what a client has written, or seen elsewhere.
    AtLeast(u64),
    /// Whatever this node has applied.
    Stale,
}

impl Request {
    /// Says whether only a leader can do it: then other nodes forward it, and a lost answer leaves
    /// its outcome unknown. Everything else does no harm when it is done twice.
    pub const fn needs_leader(&self) -> bool {
        match self {
            Self::Propose { .. }
            | Self::Batch { .. }
            | Self::Reconfigure { .. }
            | Self::Transfer { .. }
            | Self::Note { .. } => true,
            Self::Query { .. }
            | Self::SystemQuery { .. }
            | Self::Status
            | Self::ReadLog { .. }
            | Self::Bootstrap { .. }
            | Self::Join { .. }
            | Self::Snapshot(_)
            | Self::Certificate(_)
            | Self::Configuration(_) => false,
        }
    }

    /// Returns the size of what the client has chosen freely, in bytes.
    pub fn payload_bytes(&self) -> usize {
        match self {
            Self::Propose { command } | Self::Note { command } => command.len(),
            Self::Batch { commands } => commands.iter().map(Bytes::len).sum(),
            Self::Query { query, .. } | Self::SystemQuery { query, .. } => query.len(),
            Self::Reconfigure { target, .. } => encode_configuration(target).len(),
            Self::Status
            | Self::ReadLog { .. }
            | Self::Bootstrap { .. }
            | Self::Join { .. }
            | Self::Transfer { .. }
            | Self::Configuration(_)
            | Self::Snapshot(_) => 0,
            Self::Certificate(CertificateRequest::Install { certificate, authorities }) => {
                certificate.len() + authorities.len()
            }
            Self::Certificate(CertificateRequest::Show | CertificateRequest::Request) => 0,
        }
    }

    /// Returns as how many requests it counts: each command of a batch is one.
    pub fn count(&self) -> usize {
        match self {
            Self::Batch { commands } => commands.len(),
            Self::Propose { .. }
            | Self::Query { .. }
            | Self::Status
            | Self::ReadLog { .. }
            | Self::Bootstrap { .. }
            | Self::Join { .. }
            | Self::Reconfigure { .. }
            | Self::Transfer { .. }
            | Self::SystemQuery { .. }
            | Self::Snapshot(_)
            | Self::Certificate(_)
            | Self::Configuration(_)
            | Self::Note { .. } => 1,
        }
    }
}

impl Request {
    /// Encodes the frame of a request that goes from who asks to who answers.
    ///
    /// # Errors
    /// If it is over a limit.
    pub fn encode(&self, id: u64) -> Result<Bytes, ProtocolError> {
        self.encode_for(id, &Passage::Direct)
    }

    /// Encodes the frame of a request.
    ///
    /// # Errors
    /// If it is over a limit.
    pub fn encode_for(&self, id: u64, passage: &Passage) -> Result<Bytes, ProtocolError> {
        let body = match self {
            Self::Propose { command } => pb::request::Body::Propose(command.clone()),
            Self::Batch { commands } => pb::request::Body::Batch(encode_batch(commands)?),
            Self::Query { query, consistency } => {
                pb::request::Body::Query(query_to_wire(query, *consistency))
            }
            Self::Status => pb::request::Body::Status(true),
            Self::ReadLog { from, entries_max, detail } => {
                pb::request::Body::ReadLog(pb::ReadLog {
                    from: *from,
                    entries_max: *entries_max,
                    detail: detail.code(),
                })
            }
            Self::Bootstrap { record } => pb::request::Body::Bootstrap(record.encode()),
            Self::Join { record } => pb::request::Body::Join(record.encode()),
            Self::Reconfigure { target, expected_index } => {
                pb::request::Body::Reconfigure(pb::Reconfigure {
                    target: encode_configuration(target),
                    expected_index: *expected_index,
                })
            }
            Self::Transfer { to } => pb::request::Body::Transfer(*to),
            Self::SystemQuery { query, stale } => {
                let (query, stale) = (query.clone(), *stale);
                pb::request::Body::SystemQuery(pb::SystemQuery { query, stale })
            }
            Self::Snapshot(request) => pb::request::Body::Snapshot(request.to_wire()),
            Self::Certificate(request) => pb::request::Body::Certificate(request.to_wire()),
            Self::Configuration(request) => pb::request::Body::Configuration(request.to_wire()),
            Self::Note { command } => pb::request::Body::Note(command.clone()),
        };
        let mut request = pb::Request { id, body: Some(body), ..pb::Request::default() };
        match passage {
            Passage::Direct => {}
            Passage::Within { within_ms } => request.answer_within_ms = Some(*within_ms),
            Passage::MayForward { within_ms } => request.forward_within_ms = Some(*within_ms),
            Passage::OnBehalf { identity, from, certificate } => {
                request.on_behalf = Some(identity.clone());
                request.on_behalf_from = Some(from.clone()).filter(|from| !from.is_empty());
                if let Some(CertificateId { not_before_s, key }) = certificate {
                    request.on_behalf_not_before_s = Some(*not_before_s);
                    request.on_behalf_key = Some(Bytes::copy_from_slice(key));
                }
            }
        }
        encode_in_body(&request)
    }

    /// Decodes the frame of a request, its id, and how it travels.
    ///
    /// # Errors
    /// If it is malformed.
    pub fn decode(frame: &Frame) -> Result<(u64, Self, Passage), ProtocolError> {
        let what = "a request";
        let request: pb::Request = decode_from_body(what, frame)?;
        let body = request.body.ok_or(ProtocolError::Missing { what: "a request's body" })?;
        let body = match body {
            pb::request::Body::Propose(command) => Self::Propose { command },
            pb::request::Body::Batch(bytes) => Self::Batch { commands: decode_batch(bytes)? },
            pb::request::Body::Query(query) => {
                Self::Query { consistency: consistency(&query), query: query.query }
            }
            pb::request::Body::Status(_) => Self::Status,
            pb::request::Body::ReadLog(read) => Self::ReadLog {
                from: read.from,
                entries_max: read.entries_max,
                detail: LogDetail::from_code(read.detail)?,
            },
            pb::request::Body::Bootstrap(bytes) => Self::Bootstrap { record: record(&bytes)? },
            pb::request::Body::Join(bytes) => Self::Join { record: record(&bytes)? },
            pb::request::Body::Reconfigure(change) => {
                bounded("a configuration", change.target.len(), COMMAND_BYTES_MAX)?;
                let target = decode_configuration(&change.target)?;
                Self::Reconfigure { target, expected_index: change.expected_index }
            }
            pb::request::Body::Transfer(to) => Self::Transfer { to },
            pb::request::Body::SystemQuery(asked) => {
                Self::SystemQuery { query: asked.query, stale: asked.stale }
            }
            pb::request::Body::Snapshot(request) => {
                Self::Snapshot(SnapshotRequest::from_wire(request)?)
            }
            pb::request::Body::Certificate(request) => {
                Self::Certificate(CertificateRequest::from_wire(request)?)
            }
            pb::request::Body::Configuration(request) => {
                Self::Configuration(ConfigurationRequest::from_wire(request)?)
            }
            pb::request::Body::Note(command) => Self::Note { command },
        };
        let passage = match (request.on_behalf, request.forward_within_ms) {
            (Some(identity), _) => {
                let from = request.on_behalf_from.unwrap_or_default();
                bounded("an address", from.len(), ADDRESS_BYTES_MAX)?;
                let key = request.on_behalf_key.and_then(|key| <[u8; 32]>::try_from(&key[..]).ok());
                let certificate = request.on_behalf_not_before_s.zip(key);
                let certificate =
                    certificate.map(|(not_before_s, key)| CertificateId { not_before_s, key });
                Passage::OnBehalf { identity, from, certificate }
            }
            (None, Some(within_ms)) => Passage::MayForward { within_ms },
            (None, None) => match request.answer_within_ms {
                Some(within_ms) => Passage::Within { within_ms },
                None => Passage::Direct,
            },
        };
        Ok((request.id, body, passage))
    }
}

fn record(bytes: &[u8]) -> Result<BootstrapRecord, ProtocolError> {
    bounded("a bootstrap record", bytes.len(), COMMAND_BYTES_MAX)?;
    BootstrapRecord::decode(bytes)
}

fn query_to_wire(query: &Bytes, consistency: Consistency) -> pb::Query {
    let (stale, at_least) = match consistency {
        Consistency::Linearizable => (false, None),
        // A node that does not know of indexes answers linearizably, which is new enough.
        Consistency::AtLeast(index) => (false, Some(index)),
        Consistency::Stale => (true, None),
    };
    pb::Query { query: query.clone(), stale, at_least }
}

fn consistency(query: &pb::Query) -> Consistency {
    match (query.at_least, query.stale) {
        (Some(index), _) => Consistency::AtLeast(index),
        (None, true) => Consistency::Stale,
        (None, false) => Consistency::Linearizable,
    }
}
