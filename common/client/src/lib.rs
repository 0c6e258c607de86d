//! A client of a raftd cluster: [`Client::propose`] goes through the durable log and may change
//! state, [`Client::query`] only reads. Calls wait until it is right to answer.
//!
//! A [`Session`] makes a command take effect exactly once, whatever fails on the way; without one,
//! an outcome that is not known stays so. [`blocking`] is for programs without an async runtime.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use client::{Client, ClientConfig, ClientError, Credentials};
//! use state_machine::KvCommand;
//! use std::{path::Path, time::Duration};
//!
//! let files = ["ca.pem", "client.pem", "client.key"].map(Path::new);
//! let client = Client::new(ClientConfig {
//!     endpoints: vec!["db1:4001".into(), "db2:4001".into()],
//!     credentials: Credentials::load(files[0], files[1], files[2])?,
//!     deadline: Duration::from_secs(10),
//!     connect_timeout: Duration::from_secs(2),
//! })?;
//!
//! let session = client.session("billing").await?;
//! let increment = KvCommand::Increment { key: "invoices".into(), delta: 1 };
//! let answer = match session.propose(increment.encode()).await {
//!     // The deadline passed; the number tells what to ask about when the cluster is back.
//!     Err(ClientError::Unknown { sequence: Some(sequence), .. }) => {
//!         session.outcome(sequence).await?
//!     }
//!     other => other?,
//! };
//! println!("counted, at log index {}", answer.index);
//! session.close().await?;
//! # Ok(()) }
//! ```
//!
//! # Architecture invariants
//! - An outcome that is not known is [`ClientError::Unknown`], never a failure.
//! - Only what certainly had no effect is tried again: refusals and questions; and what has the
//!   effect of one attempt however often it is made: the commands of a session.
//! - What no node would take is refused before anything is sent.
//! - The low-water mark never passes a command that is not answered.
//! - A session's commands go into the history in which it was opened, and into no other.
//! - A connection that may have been lost while nobody looked carries no new request.
//! - Every wait ends at the deadline; each turn of a search notes an answer or a failure, and each
//!   round ends with a wait.
//! - Every address is tried, and the most precise reason of the latest round is told.

mod any;
mod attempt;
mod batch;
pub mod blocking;
mod certificates;
mod client;
mod configuration;
mod error;
mod lead;
mod limits;
mod members;
mod pool;
mod requests;
mod search;
mod session;
mod system;

pub use client::{Client, ClientConfig};
pub use consensus::{Configuration, Incarnation, Majority, Member, NodeId, RoleKind, Voters};
pub use error::{Cause, ClientError, Common};
pub use limits::{ANSWER_BYTES_MAX, PROPOSAL_BYTES_MAX, QUERY_BYTES_MAX};
pub use protocol::{
    AGE_UNKNOWN_MS, BootstrapRecord, CertificateAnswer, CertificateRequest, ConfigurationAnswer,
    ConfigurationRequest, EntryKind, ErrorCode, ErrorReply, FormerReport, Generation, LeaseReport,
    LogDetail, LogEntry, LogPage, NodeStatus, Outcome, PeerReport, ReadThrough, RoundReport,
    SnapshotAnswer, SnapshotRequest, Trouble, TroubleReport,
};
pub use requests::{Answer, Consistency};
pub use session::Session;
pub use state_machine::{Revocation, SystemAnswer, SystemQuery};
pub use system::Ended;
pub use transport::certs::Credentials;
pub use transport::{EnrolmentHost, EnrolmentLine};

#[cfg(test)]
mod tests;
