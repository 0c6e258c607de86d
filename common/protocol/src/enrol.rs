//! What a host that has no certificate yet and the operator's side say to each other: four
//! messages, each with a length before it.

use bytes::Bytes;
use prost::Message as _;

use crate::error::ProtocolError;
use crate::limits::ENROLMENT_BYTES_MAX;
use crate::wire::enrol as pb;

/// What one side says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Enrolment {
    /// The operator's side is there, and proves that it made the token.
    Greeting {
        /// Which token.
        token: [u8; 8],
        /// The proof, over what only the two ends of the connection share.
        proof: Bytes,
        /// What its clock says, in seconds since 1970.
        clock_s: u64,
        /// Its version.
        software: String,
    },
    /// The host proves that it has the token, and asks for a certificate.
    Application {
        /// The request (PKCS#10, DER).
        request: Bytes,
        /// The proof, over the connection and the request.
        proof: Bytes,
        /// What its clock says, in seconds since 1970.
        clock_s: u64,
        /// Its version.
        software: String,
    },
    /// What the host is to put in place, beside its key.
    Bundle {
        /// The authority's certificate, as PEM.
        authority: String,
        /// The node's certificate, as PEM.
        certificate: String,
        /// A raftd.toml.
        configuration: String,
    },
    /// It is in place, durably.
    Stored,
    /// It ends here.
    Refused {
        /// Why.
        reason: String,
    },
}

impl Enrolment {
    /// Encodes the message, with its length before it (u32, little-endian).
    ///
    /// # Errors
    /// If it is over a limit.
    pub fn encode(&self) -> Result<Bytes, ProtocolError> {
        let body = match self {
            Self::Greeting { token, proof, clock_s, software } => {
                pb::message::Body::Greeting(pb::Greeting {
                    token: Bytes::copy_from_slice(token),
                    proof: proof.clone(),
                    clock_s: *clock_s,
                    software: software.clone(),
                })
            }
            Self::Application { request, proof, clock_s, software } => {
                pb::message::Body::Application(pb::Application {
                    request: request.clone(),
                    proof: proof.clone(),
                    clock_s: *clock_s,
                    software: software.clone(),
                })
            }
            Self::Bundle { authority, certificate, configuration } => {
                pb::message::Body::Bundle(pb::Bundle {
                    authority: authority.clone(),
                    certificate: certificate.clone(),
                    configuration: configuration.clone(),
                })
            }
            Self::Stored => pb::message::Body::Stored(true),
            Self::Refused { reason } => pb::message::Body::Refused(reason.clone()),
        };
        let body = pb::Message { body: Some(body) }.encode_to_vec();
        bounded(body.len())?;
        let size = u32::try_from(body.len()).expect("the limit is below 4 GiB");
        Ok([&size.to_le_bytes()[..], &body].concat().into())
    }

    /// Decodes a message without its length.
    ///
    /// # Errors
    /// If it is malformed.
    pub fn decode(bytes: &[u8]) -> Result<Self, ProtocolError> {
        let what = "a message of an enrolment";
        let message = pb::Message::decode(bytes);
        let message = message.map_err(|source| ProtocolError::Malformed { what, source })?;
        Ok(match message.body.ok_or(ProtocolError::Missing { what })? {
            pb::message::Body::Greeting(greeting) => Self::Greeting {
                token: greeting.token[..].try_into().map_err(|_| ProtocolError::Invalid {
                    what,
                    why: format!("a token's id has {} bytes", greeting.token.len()),
                })?,
                proof: greeting.proof,
                clock_s: greeting.clock_s,
                software: greeting.software,
            },
            pb::message::Body::Application(application) => Self::Application {
                request: application.request,
                proof: application.proof,
                clock_s: application.clock_s,
                software: application.software,
            },
            pb::message::Body::Bundle(bundle) => Self::Bundle {
                authority: bundle.authority,
                certificate: bundle.certificate,
                configuration: bundle.configuration,
            },
            pb::message::Body::Stored(_) => Self::Stored,
            pb::message::Body::Refused(reason) => Self::Refused { reason },
        })
    }

    /// Returns how long the message is that this length announces, in bytes.
    ///
    /// # Errors
    /// If it is over a limit: before memory is taken for it.
    pub fn announced(length: [u8; 4]) -> Result<usize, ProtocolError> {
        let size = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
        bounded(size).map(|()| size)
    }
}

fn bounded(found: usize) -> Result<(), ProtocolError> {
    let (what, limit) = ("a message of an enrolment", ENROLMENT_BYTES_MAX);
    if found > limit { Err(ProtocolError::TooLarge { what, found, limit }) } else { Ok(()) }
}
