//! What a node answers to clients and operators, as frames.

use bytes::Bytes;

use crate::body::{decode_from_body, encode_in_body};
use crate::certificate_request::CertificateAnswer;
use crate::configuration::bounded;
use crate::configuration_request::ConfigurationAnswer;
use crate::error::ProtocolError;
use crate::frame::Frame;
use crate::generation::Generation;
use crate::limits::BATCH_COMMANDS_MAX;
use crate::log_page::{LogEntry, LogPage};
use crate::snapshot_request::SnapshotAnswer;
use crate::status::NodeStatus;
use crate::wire::client as pb;

/// The age of an answer from a node that has not heard from any leader since it started.
pub const AGE_UNKNOWN_MS: u64 = u64::MAX;

/// About what a node's report takes, without its members and for each of them.
const STATUS_BYTES: usize = 2_048;
const STATUS_MEMBER_BYTES: usize = 1_024;

/// About what an entry takes in a page beyond its contents, and a snapshot in a list.
const LISTED_BYTES: usize = 64;

/// What a node answers.
#[derive(Clone, Debug, PartialEq)]
pub enum Response {
    /// The command is applied.
    Applied {
        /// Where it stands in the log.
        index: u64,
        /// The machine's answer.
        response: Bytes,
    },
    /// What became of each command of a batch, in their order.
    Batch {
        /// As many as there were commands.
        outcomes: Vec<Result<Applied, ErrorReply>>,
    },
    /// The question is answered.
    Answer {
        /// Everything up to here was applied before.
        index: u64,
        /// The machine's answer.
        response: Bytes,
        /// How long ago the node last heard from a leader, in milliseconds: 0 at a leader,
        /// [`AGE_UNKNOWN_MS`] if never. `None` from a leader that answers linearizably.
        age_ms: Option<u64>,
    },
    /// What the node knows.
    Status(Box<NodeStatus>),
    /// Entries.
    Log(LogPage),
    /// This history is (or was already) this node's.
    Bootstrapped {
        /// Its generation.
        generation: Generation,
    },
    /// What was asked for has happened.
    Done,
    /// Something about this node's snapshots.
    Snapshot(SnapshotAnswer),
    /// Something about this node's certificate.
    Certificate(CertificateAnswer),
    /// Something about this node's configuration.
    Configuration(ConfigurationAnswer),
    /// No.
    Error(ErrorReply),
}

/// A command that is applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Where it stands in the log.
    pub index: u64,
    /// The machine's answer.
    pub response: Bytes,
}

/// A refusal, or an unknown outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorReply {
    /// For programs.
    pub code: ErrorCode,
    /// For people.
    pub message: String,
    /// The node to ask instead.
    pub leader: Option<LeaderHint>,
    /// Whether the request had no effect for certain, or may have had one.
    pub outcome: Outcome,
}

/// The node to ask instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaderHint {
    /// The leader's id.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// Its address.
    pub address: String,
}

/// What is known of a request that was not answered with success.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// It certainly had no effect, and never will.
    NotApplied,
    /// Nobody knows; it may still take effect.
    Unknown,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal),* $(,)?) => {
        /// Why a request was refused; a variant a reaction of the caller.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ErrorCode { $($(#[$doc])* $name),* }

        impl ErrorCode {
            /// All of them, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// Returns its name, for programs that count.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name)),* }
            }

            const fn code(self) -> u32 {
                match self { $(Self::$name => $code),* }
            }

            fn from_code(code: u32) -> Result<Self, ProtocolError> {
                match code {
                    $($code => Ok(Self::$name),)*
                    _ => Err(ProtocolError::Unknown {
                        what: "an error's code",
                        found: code.into(),
                    }),
                }
            }
        }
    };
}

codes! {
    /// Another node leads.
    NotLeader = 1,
    /// Nobody is known to lead.
    NoLeader = 2,
    /// A limit is reached; later there may be room.
    Busy = 3,
    /// This certificate may not do this.
    Unauthorised = 4,
    /// The request makes no sense.
    BadRequest = 5,
    /// The request is over a limit.
    TooLarge = 6,
    /// This node belongs to no cluster yet.
    Uninitialised = 7,
    /// This node belongs to another history already.
    AlreadyInitialised = 8,
    /// This node is going down.
    ShuttingDown = 9,
    /// The entry was replaced by another leader's.
    Superseded = 10,
    /// The node's disk failed.
    DiskFailed = 11,
    /// The node lost leadership, or waited too long, and cannot tell.
    Abandoned = 12,
    /// The node met an error that it did not expect.
    Internal = 13,
    /// A rule that keeps the cluster safe forbids it, or it is not as the operator believed.
    Forbidden = 14,
    /// The leader did not find a node that is to be added where it should be, or as it should be.
    NotMet = 15,
    /// The leader's disk has no room for more data; deletions and reads go on.
    NoRoom = 16,
}

fn entry_bytes(entry: &LogEntry) -> usize {
    let text = entry.text.as_ref().map_or(0, String::len);
    LISTED_BYTES + text + entry.payload.as_ref().map_or(0, Bytes::len)
}

fn outcome_bytes(outcome: &Result<Applied, ErrorReply>) -> usize {
    let bytes = match outcome {
        Ok(applied) => applied.response.len(),
        Err(error) => error.message.len(),
    };
    LISTED_BYTES + bytes
}

impl Response {
    /// Returns about how many bytes the answer takes in memory: exactly what is of any size, and a
    /// guess for the rest.
    pub fn weight_bytes(&self) -> usize {
        match self {
            Self::Applied { response, .. } | Self::Answer { response, .. } => response.len(),
            Self::Batch { outcomes } => outcomes.iter().map(outcome_bytes).sum(),
            Self::Status(status) => {
                STATUS_BYTES + status.configuration.members().len() * STATUS_MEMBER_BYTES
            }
            Self::Log(page) => page.entries.iter().map(entry_bytes).sum(),
            Self::Snapshot(SnapshotAnswer::Piece { bytes, .. }) => bytes.len(),
            Self::Snapshot(SnapshotAnswer::List(list)) => list.len() * LISTED_BYTES,
            Self::Snapshot(SnapshotAnswer::Taken(_)) => LISTED_BYTES,
            Self::Certificate(answer) => answer.len(),
            Self::Configuration(answer) => answer.len(),
            Self::Error(error) => error.message.len(),
            Self::Bootstrapped { .. } | Self::Done => 0,
        }
    }

    /// Encodes the frame of an answer to request `id`.
    ///
    /// # Errors
    /// If it is over a limit.
    pub fn encode(&self, id: u64) -> Result<Bytes, ProtocolError> {
        let body = match self {
            Self::Applied { index, response } => pb::response::Body::Applied(pb::Applied {
                index: *index,
                response: response.clone(),
            }),
            Self::Batch { outcomes } => pb::response::Body::Batch(pb::BatchAnswer {
                outcomes: outcomes.iter().map(outcome_to_wire).collect(),
            }),
            Self::Answer { index, response, age_ms } => pb::response::Body::Answer(pb::Answer {
                index: *index,
                response: response.clone(),
                age_ms: *age_ms,
            }),
            Self::Status(status) => pb::response::Body::Status(status.to_wire()),
            Self::Log(page) => pb::response::Body::Log(page.to_wire()),
            Self::Bootstrapped { generation } => {
                pb::response::Body::Bootstrapped(Bytes::copy_from_slice(generation.bytes()))
            }
            Self::Done => pb::response::Body::Done(true),
            Self::Snapshot(answer) => pb::response::Body::Snapshot(answer.to_wire()),
            Self::Certificate(answer) => pb::response::Body::Certificate(answer.to_wire()),
            Self::Configuration(answer) => pb::response::Body::Configuration(answer.to_wire()),
            Self::Error(error) => pb::response::Body::Error(error_to_wire(error)),
        };
        encode_in_body(&pb::Response { id, body: Some(body) })
    }

    /// Decodes the frame of an answer, and the id of the request.
    ///
    /// # Errors
    /// If it is malformed.
    pub fn decode(frame: &Frame) -> Result<(u64, Self), ProtocolError> {
        let what = "an answer";
        let response: pb::Response = decode_from_body(what, frame)?;
        let body = response.body.ok_or(ProtocolError::Missing { what: "an answer's body" })?;
        let body = match body {
            pb::response::Body::Applied(applied) => {
                Self::Applied { index: applied.index, response: applied.response }
            }
            pb::response::Body::Answer(answer) => Self::Answer {
                index: answer.index,
                response: answer.response,
                age_ms: answer.age_ms,
            },
            pb::response::Body::Status(status) => {
                Self::Status(Box::new(NodeStatus::from_wire(status)?))
            }
            pb::response::Body::Log(page) => Self::Log(LogPage::from_wire(page)?),
            pb::response::Body::Bootstrapped(hash) => {
                Self::Bootstrapped { generation: Generation::from_slice(&hash)? }
            }
            pb::response::Body::Done(_) => Self::Done,
            pb::response::Body::Snapshot(answer) => {
                Self::Snapshot(SnapshotAnswer::from_wire(answer)?)
            }
            pb::response::Body::Certificate(answer) => {
                Self::Certificate(CertificateAnswer::from_wire(answer)?)
            }
            pb::response::Body::Configuration(answer) => {
                Self::Configuration(ConfigurationAnswer::from_wire(answer)?)
            }
            pb::response::Body::Batch(batch) => {
                bounded("a batch of outcomes", batch.outcomes.len(), BATCH_COMMANDS_MAX)?;
                let outcomes = batch.outcomes.into_iter().map(outcome_from_wire);
                Self::Batch { outcomes: outcomes.collect::<Result<_, _>>()? }
            }
            pb::response::Body::Error(error) => Self::Error(error_from_wire(error)?),
        };
        Ok((response.id, body))
    }
}

fn outcome_to_wire(outcome: &Result<Applied, ErrorReply>) -> pb::CommandOutcome {
    let body = match outcome {
        Ok(Applied { index, response }) => {
            let (index, response) = (*index, response.clone());
            pb::command_outcome::Body::Applied(pb::Applied { index, response })
        }
        Err(error) => pb::command_outcome::Body::Error(error_to_wire(error)),
    };
    pb::CommandOutcome { body: Some(body) }
}

fn outcome_from_wire(
    outcome: pb::CommandOutcome,
) -> Result<Result<Applied, ErrorReply>, ProtocolError> {
    match outcome.body.ok_or(ProtocolError::Missing { what: "a command's outcome" })? {
        pb::command_outcome::Body::Applied(pb::Applied { index, response }) => {
            Ok(Ok(Applied { index, response }))
        }
        pb::command_outcome::Body::Error(error) => error_from_wire(error).map(Err),
    }
}

fn error_to_wire(error: &ErrorReply) -> pb::Error {
    pb::Error {
        code: error.code.code(),
        message: error.message.clone(),
        leader: error.leader.as_ref().map(|leader| pb::Leader {
            id: leader.id,
            name: leader.name.clone(),
            address: leader.address.clone(),
        }),
        unknown: error.outcome == Outcome::Unknown,
    }
}

fn error_from_wire(error: pb::Error) -> Result<ErrorReply, ProtocolError> {
    Ok(ErrorReply {
        code: ErrorCode::from_code(error.code)?,
        message: error.message,
        leader: error.leader.map(|leader| LeaderHint {
            id: leader.id,
            name: leader.name,
            address: leader.address,
        }),
        outcome: if error.unknown { Outcome::Unknown } else { Outcome::NotApplied },
    })
}
