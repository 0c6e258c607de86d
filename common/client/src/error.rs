//! How a request can end without success; a variant a reaction.

use std::fmt;
use std::time::Duration;

use protocol::{ErrorCode, ErrorReply};
use transport::ConnectError;

/// What one endpoint had to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// The endpoint.
    pub endpoint: String,
    /// Why it could not help.
    pub why: String,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.endpoint, self.why)
    }
}

/// A request without success.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ClientError {
    /// No node answered at all.
    #[error("no node could be reached")]
    Unreachable {
        /// Each endpoint's reason.
        causes: Vec<Cause>,
        /// Whether every endpoint refused for reasons of certificates.
        certificates: bool,
    },
    /// Nodes answered, and none of them led within the deadline.
    #[error("no leader was found within {after:?}")]
    NoLeader {
        /// Each endpoint's reason.
        causes: Vec<Cause>,
        /// How long was tried.
        after: Duration,
    },
    /// The request may or may not have taken effect, and may still do so.
    #[error("the outcome is unknown: {why}")]
    Unknown {
        /// Why nobody can tell.
        why: String,
    },
    /// The cluster refused, for certain without any effect.
    #[error("refused: {}", .0.message)]
    Refused(ErrorReply),
    /// A node answered something else than was asked.
    #[error("{endpoint} answered something else than was asked")]
    Unexpected {
        /// Which node.
        endpoint: String,
    },
    /// No socket can be had, or the certificates cannot be used.
    #[error("cannot open an endpoint: {0}")]
    Endpoint(String),
}

/// What to do after an answer that is no success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reaction {
    /// Ask the node that the answer names, or another.
    Elsewhere,
    /// Ask again later.
    Later,
    /// Tell the caller.
    GiveUp,
}

/// Decides what an error answer calls for. Only refusals that certainly had no effect are tried
/// again; the caller has checked that.
pub(crate) fn reaction(code: ErrorCode) -> Reaction {
    match code {
        ErrorCode::NotLeader
        | ErrorCode::NoLeader
        | ErrorCode::Uninitialised
        | ErrorCode::ShuttingDown
        | ErrorCode::DiskFailed => Reaction::Elsewhere,
        ErrorCode::Busy | ErrorCode::Superseded => Reaction::Later,
        ErrorCode::Unauthorised
        | ErrorCode::BadRequest
        | ErrorCode::TooLarge
        | ErrorCode::AlreadyInitialised
        | ErrorCode::Abandoned
        | ErrorCode::Forbidden
        | ErrorCode::Internal => Reaction::GiveUp,
    }
}

/// Says whether an attempt to connect failed for reasons of certificates or identity.
pub(crate) fn is_about_certificates(error: &ConnectError) -> bool {
    match error {
        ConnectError::Handshake { .. } | ConnectError::Refused { .. } => true,
        ConnectError::Resolve { .. }
        | ConnectError::Silent { .. }
        | ConnectError::Closed { .. }
        | ConnectError::Protocol { .. } => false,
    }
}
