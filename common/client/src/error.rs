//! How a request can end without success; a variant a reaction.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use protocol::{ErrorCode, ErrorReply};
use tokio::time::Instant;
use transport::Precision;

/// What one endpoint had to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// The endpoint.
    pub endpoint: String,
    /// Why it could not help.
    pub why: String,
}

/// Why an endpoint could not help that took the request, and did not answer in time.
pub(crate) const LATE: &str = "it did not answer within the deadline";

impl Cause {
    /// Says whether it took the request, and did not answer in time: the answer may have been on
    /// its way.
    pub fn is_late(&self) -> bool {
        self.why == LATE
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.endpoint, self.why)
    }
}

/// What the reasons of all endpoints have in common, where no node could be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Common {
    /// Nothing.
    Nothing,
    /// A node that is there has no place for another connection, of anybody or of this certificate.
    Full,
    /// A node that is there has another history than the one that is known here.
    Generation,
    /// Every endpoint refused for reasons of certificates.
    Certificates,
}

impl Common {
    /// Returns what these reasons have in common.
    pub(crate) fn of(reasons: impl IntoIterator<Item = Precision>) -> Self {
        let reasons: BTreeSet<Precision> = reasons.into_iter().collect();
        let is_among = |precision| reasons.contains(&precision);
        match reasons.len() {
            1 if is_among(Precision::Identity) => Self::Certificates,
            _ if is_among(Precision::Full) => Self::Full,
            _ if is_among(Precision::Generation) => Self::Generation,
            _ => Self::Nothing,
        }
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
        /// What the reasons have in common.
        common: Common,
    },
    /// Nodes answered, and none of them led within the deadline, or reached who did.
    #[error("no leader was found within {after:?}")]
    NoLeader {
        /// Each endpoint's reason.
        causes: Vec<Cause>,
        /// How long was tried.
        after: Duration,
        /// Where the leader is that nodes name, if there was no way to it, not even through them.
        leader: Option<String>,
    },
    /// Nodes answered, and none of them has applied this entry within the deadline: see
    /// [`Consistency::AtLeast`](crate::Consistency::AtLeast).
    #[error("no node that was reached has applied entry {index} within {after:?}")]
    Lagging {
        /// Where the entry stands in the log.
        index: u64,
        /// Each endpoint's reason.
        causes: Vec<Cause>,
        /// How long was tried.
        after: Duration,
    },
    /// The leader has refused until the deadline, since its limits allow no more at a time: the
    /// request certainly had no effect.
    #[error("the leader has taken nothing within {after:?}: {why}")]
    Busy {
        /// What it says.
        why: String,
        /// How long was tried.
        after: Duration,
    },
    /// The request may or may not have taken effect, and may still do so.
    #[error("the outcome is unknown: {why}")]
    Unknown {
        /// Why nobody can tell.
        why: String,
        /// The command's number in its session, by which it can be asked about: see
        /// [`Session::outcome`](crate::Session::outcome). `None` outside of a session.
        sequence: Option<u64>,
    },
    /// The session is over, or never was, or is of a history that its client follows no more: this
    /// attempt had no effect and no later one will. What became of earlier attempts of the same
    /// command is not known (museum J3).
    #[error("session {session} has expired, was closed or never was")]
    SessionExpired {
        /// The session's id.
        session: u64,
    },
    /// The command was applied, once; its answer was too long to be kept for a retry.
    #[error("the command was applied at index {index}; its answer was too long to be kept")]
    AnswerNotKept {
        /// Where it stands in the log.
        index: u64,
    },
    /// The session has a window's number of commands above its oldest unanswered one; this command
    /// was not sent.
    #[error("the session waits for the answer to command {oldest}, and has no room for more")]
    WindowFull {
        /// The number of that command; see [`Session::outcome`](crate::Session::outcome).
        oldest: u64,
    },
    /// The session does not wait for an answer to such a command (any more).
    #[error("the session waits for no answer to command {sequence}")]
    NotWaiting {
        /// The number that was asked about.
        sequence: u64,
    },
    /// The command was not sent, since one before it was not applied, or nobody knows whether it
    /// was: see [`Client::propose_all`](crate::Client::propose_all).
    #[error("not sent, for a command before it was not applied: {why}")]
    Behind {
        /// What became of that command.
        why: String,
    },
    /// It is over a limit: it was not sent, and would be refused everywhere and always.
    #[error("{what} has {bytes} bytes, {limit} at most")]
    TooLarge {
        /// What is too large.
        what: String,
        /// Its size, in bytes.
        bytes: usize,
        /// The largest size, in bytes.
        limit: usize,
    },
    /// What was asked for makes no sense, as is found without asking anybody: nothing was sent.
    #[error("{0}")]
    Invalid(String),
    /// This client is of no more use, and this attempt had no effect: another one must be made.
    #[error("this client has ended: {0}")]
    Ended(&'static str),
    /// The cluster refused, for certain without any effect.
    #[error("refused: {}", .0.message)]
    Refused(ErrorReply),
    /// A node answered something else than was asked, to what may be asked again. Where it may have
    /// had an effect, that is [`ClientError::Unknown`].
    #[error("{endpoint} answered something else than was asked")]
    Unexpected {
        /// Which node.
        endpoint: String,
    },
    /// No socket can be had, or the certificates cannot be used.
    #[error("cannot open an endpoint: {0}")]
    Endpoint(String),
}

impl ClientError {
    /// Says for how long all attempts together were made, of which this is the last one's end.
    pub(crate) fn tried_since(self, began: Instant) -> Self {
        let took = began.elapsed();
        let mut error = self;
        if let Self::NoLeader { after, .. } | Self::Busy { after, .. } = &mut error {
            *after = took;
        }
        error
    }

    /// Says all of it in one line: where only a line is kept.
    pub(crate) fn at_length(&self) -> String {
        match self {
            Self::Unreachable { causes, .. }
            | Self::NoLeader { causes, .. }
            | Self::Lagging { causes, .. }
                if !causes.is_empty() =>
            {
                let causes: Vec<String> = causes.iter().map(ToString::to_string).collect();
                format!("{self} ({})", causes.join("; "))
            }
            Self::Unreachable { .. }
            | Self::NoLeader { .. }
            | Self::Lagging { .. }
            | Self::Busy { .. }
            | Self::Unknown { .. }
            | Self::SessionExpired { .. }
            | Self::AnswerNotKept { .. }
            | Self::WindowFull { .. }
            | Self::NotWaiting { .. }
            | Self::Behind { .. }
            | Self::TooLarge { .. }
            | Self::Invalid(_)
            | Self::Ended(_)
            | Self::Refused(_)
            | Self::Unexpected { .. }
            | Self::Endpoint(_) => self.to_string(),
        }
    }
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
        | ErrorCode::NotMet
        | ErrorCode::NoRoom
        | ErrorCode::Internal => Reaction::GiveUp,
    }
}
