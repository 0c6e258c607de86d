//! A client of a raftd cluster: [`Client::propose`] goes through the durable log and may change
//! state, [`Client::query`] only reads. Calls wait until it is right to answer.
//!
//! # Architecture invariants
//! - An outcome that is not known is [`ClientError::Unknown`], never a failure.
//! - Only what certainly had no effect is tried again: refusals and questions.
//! - Every wait ends at the deadline.

mod any;
mod client;
mod error;
mod pool;
mod probe;
mod search;

pub use client::{Answer, Client, ClientConfig, Consistency};
pub use error::{Cause, ClientError};
pub use protocol::{
    AGE_UNKNOWN_MS, ErrorCode, ErrorReply, LogEntry, LogPage, NodeStatus, Outcome, PeerReport,
};
pub use transport::certs::Credentials;
