//! Requests of clients and operators, and their answers, as frames.

use bytes::Bytes;

use crate::error::ProtocolError;
use crate::frame::{Frame, encode_frame};
use crate::log_page::{LogDetail, LogPage};
use crate::snapshot_request::{SnapshotAnswer, SnapshotRequest};
use crate::status::NodeStatus;
use crate::wire::client as pb;

/// What is asked of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// A command for the replicated machine, in its envelope.
    Propose {
        /// The command.
        command: Bytes,
    },
    /// A question to the replicated machine.
    Query {
        /// The question.
        query: Bytes,
        /// How new the answer must be.
        freshness: Freshness,
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
    /// The founding act: a bootstrap record.
    Bootstrap {
        /// [`crate::BootstrapRecord::encode`].
        record: Bytes,
    },
    /// Makes a node that is none of the founders ready to be added: it takes over the history that
    /// this record founded, with an empty log, and votes only once the log names it.
    Join {
        /// [`crate::BootstrapRecord::encode`].
        record: Bytes,
    },
    /// Changes the members, through a joint configuration where voters change; answered when that
    /// is committed.
    Reconfigure {
        /// [`crate::encode_configuration`] of a stable configuration.
        target: Bytes,
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
}

/// How a request may travel, or has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Passage {
    /// From who asks to who answers.
    #[default]
    Direct,
    /// A node that does not lead may pass it on to the leader, once.
    MayForward {
        /// How long that node awaits the answer, in milliseconds.
        within_ms: u32,
    },
    /// A node passes it on, and has checked who asks. It is not passed on any further.
    OnBehalf {
        /// The URI of the identity that asks.
        identity: String,
    },
}

/// How new the answer to a question must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Freshness {
    /// As if there were one machine: a node that does not lead asks the leader for the index.
    Linearizable,
    /// Everything up to this index of the log: what a client has written, or seen elsewhere.
    AtLeast(u64),
    /// Whatever this node has applied.
    Stale,
}

/// The age of an answer from a node that has not heard from any leader since it started.
pub const AGE_UNKNOWN_MS: u64 = u64::MAX;

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
        generation: Bytes,
    },
    /// What was asked for has happened.
    Done,
    /// Something about this node's snapshots.
    Snapshot(SnapshotAnswer),
    /// No.
    Error(ErrorReply),
}

/// A refusal, or an unknown outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorReply {
    /// For programs.
    pub code: ErrorCode,
    /// For people.
    pub message: String,
    /// Whom to ask instead.
    pub leader: Option<LeaderHint>,
    /// Whether the request had no effect for certain, or may have had one.
    pub outcome: Outcome,
}

/// Whom to ask instead.
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
            Self::Query { query, freshness } => {
                pb::request::Body::Query(query_to_wire(query, *freshness))
            }
            Self::Status => pb::request::Body::Status(true),
            Self::ReadLog { from, entries_max, detail } => {
                pb::request::Body::ReadLog(pb::ReadLog {
                    from: *from,
                    entries_max: *entries_max,
                    detail: detail.code(),
                })
            }
            Self::Bootstrap { record } => pb::request::Body::Bootstrap(record.clone()),
            Self::Join { record } => pb::request::Body::Join(record.clone()),
            Self::Reconfigure { target, expected_index } => {
                pb::request::Body::Reconfigure(pb::Reconfigure {
                    target: target.clone(),
                    expected_index: *expected_index,
                })
            }
            Self::Transfer { to } => pb::request::Body::Transfer(*to),
            Self::SystemQuery { query, stale } => {
                let (query, stale) = (query.clone(), *stale);
                pb::request::Body::SystemQuery(pb::SystemQuery { query, stale })
            }
            Self::Snapshot(request) => pb::request::Body::Snapshot(request.to_wire()),
        };
        let (forward_within_ms, on_behalf) = match passage {
            Passage::Direct => (None, None),
            Passage::MayForward { within_ms } => (Some(*within_ms), None),
            Passage::OnBehalf { identity } => (None, Some(identity.clone())),
        };
        encode_in_body(&pb::Request { id, body: Some(body), forward_within_ms, on_behalf })
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
            pb::request::Body::Query(query) => {
                Self::Query { freshness: freshness(&query), query: query.query }
            }
            pb::request::Body::Status(_) => Self::Status,
            pb::request::Body::ReadLog(read) => Self::ReadLog {
                from: read.from,
                entries_max: read.entries_max,
                detail: LogDetail::from_code(read.detail)?,
            },
            pb::request::Body::Bootstrap(record) => Self::Bootstrap { record },
            pb::request::Body::Join(record) => Self::Join { record },
            pb::request::Body::Reconfigure(change) => {
                Self::Reconfigure { target: change.target, expected_index: change.expected_index }
            }
            pb::request::Body::Transfer(to) => Self::Transfer { to },
            pb::request::Body::SystemQuery(asked) => {
                Self::SystemQuery { query: asked.query, stale: asked.stale }
            }
            pb::request::Body::Snapshot(request) => {
                Self::Snapshot(SnapshotRequest::from_wire(request)?)
            }
        };
        let passage = match (request.on_behalf, request.forward_within_ms) {
            (Some(identity), _) => Passage::OnBehalf { identity },
            (None, Some(within_ms)) => Passage::MayForward { within_ms },
            (None, None) => Passage::Direct,
        };
        Ok((request.id, body, passage))
    }
}

impl Response {
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
            Self::Answer { index, response, age_ms } => pb::response::Body::Answer(pb::Answer {
                index: *index,
                response: response.clone(),
                age_ms: *age_ms,
            }),
            Self::Status(status) => pb::response::Body::Status(status.to_wire()),
            Self::Log(page) => pb::response::Body::Log(page.to_wire()),
            Self::Bootstrapped { generation } => {
                pb::response::Body::Bootstrapped(generation.clone())
            }
            Self::Done => pb::response::Body::Done(true),
            Self::Snapshot(answer) => pb::response::Body::Snapshot(answer.to_wire()),
            Self::Error(error) => pb::response::Body::Error(pb::Error {
                code: error.code.code(),
                message: error.message.clone(),
                leader: error.leader.as_ref().map(|leader| pb::Leader {
                    id: leader.id,
                    name: leader.name.clone(),
                    address: leader.address.clone(),
                }),
                unknown: error.outcome == Outcome::Unknown,
            }),
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
            pb::response::Body::Bootstrapped(generation) => Self::Bootstrapped { generation },
            pb::response::Body::Done(_) => Self::Done,
            pb::response::Body::Snapshot(answer) => {
                Self::Snapshot(SnapshotAnswer::from_wire(answer)?)
            }
            pb::response::Body::Error(error) => Self::Error(ErrorReply {
                code: ErrorCode::from_code(error.code)?,
                message: error.message,
                leader: error.leader.map(|leader| LeaderHint {
                    id: leader.id,
                    name: leader.name,
                    address: leader.address,
                }),
                outcome: if error.unknown { Outcome::Unknown } else { Outcome::NotApplied },
            }),
        };
        Ok((response.id, body))
    }
}

fn query_to_wire(query: &Bytes, freshness: Freshness) -> pb::Query {
    let (stale, at_least) = match freshness {
        Freshness::Linearizable => (false, None),
        // A node that does not know of indexes answers linearizably, which is new enough.
        Freshness::AtLeast(index) => (false, Some(index)),
        Freshness::Stale => (true, None),
    };
    pb::Query { query: query.clone(), stale, at_least }
}

fn freshness(query: &pb::Query) -> Freshness {
    match (query.at_least, query.stale) {
        (Some(index), _) => Freshness::AtLeast(index),
        (None, true) => Freshness::Stale,
        (None, false) => Freshness::Linearizable,
    }
}

/// Requests and answers carry values of up to a megabyte, so the protobuf message stands in the
/// frame's body, whose limit is the larger one.
fn encode_in_body(message: &impl prost::Message) -> Result<Bytes, ProtocolError> {
    let size = message.encoded_len();
    let prefix = encode_frame(&(), size)?;
    let mut frame = Vec::with_capacity(prefix.len() + size);
    frame.extend_from_slice(&prefix);
    message.encode_raw(&mut frame);
    Ok(frame.into())
}

fn decode_from_body<M: prost::Message + Default>(
    what: &'static str,
    frame: &Frame,
) -> Result<M, ProtocolError> {
    if !frame.header.is_empty() {
        return Err(ProtocolError::Trailing { what, extra: frame.header.len() });
    }
    M::decode(frame.body.clone()).map_err(|source| ProtocolError::Malformed { what, source })
}
