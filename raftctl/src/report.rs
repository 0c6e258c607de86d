//! How a command ends without success: what, why, what to do, and the exit code.

use std::fmt::Write as _;
use std::time::Duration;

use client::{Cause, ClientError, Common, ErrorCode, ErrorReply};
use serde_json::{Value, json};

use crate::codes::{self, Code};
use crate::exit::Exit;

/// Why a command did not succeed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Report {
    /// The error's code; `None` where only the exit code speaks.
    pub(crate) code: Option<Code>,
    /// How the process ends.
    pub(crate) exit: Exit,
    /// One line, without a full stop.
    pub(crate) message: String,
    /// What each endpoint had to say.
    pub(crate) causes: Vec<Cause>,
    /// What to do: the exact next command where there is one.
    pub(crate) help: Vec<String>,
}

/// What a command gives.
pub(crate) type Result<T> = std::result::Result<T, Report>;

/// Ends as a verdict says which was told: whoever has closed the pipe did not make a success of it.
///
/// # Errors
/// If it could not be told, or is none.
pub(crate) fn told(told: Result<()>, verdict: Result<()>) -> Result<()> {
    match told {
        Err(report) if report == Report::quiet(Exit::Done) => verdict,
        Ok(()) | Err(_) => told.and(verdict),
    }
}

impl Report {
    /// Makes a report whose exit code is the one of its code's page.
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code: Some(code),
            exit: codes::page(code).exit,
            message: message.into(),
            causes: Vec::new(),
            help: Vec::new(),
        }
    }

    /// Ends with an exit code and without a word.
    pub(crate) fn quiet(exit: Exit) -> Self {
        Self { code: None, exit, message: String::new(), causes: Vec::new(), help: Vec::new() }
    }

    /// Adds what to do.
    #[must_use]
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help.push(help.into());
        self
    }

    /// Adds what each endpoint had to say.
    #[must_use]
    pub(crate) fn causes(mut self, causes: Vec<Cause>) -> Self {
        self.causes = causes;
        self
    }

    /// Adds what was done before this went wrong: what stdout should have said.
    #[must_use]
    pub(crate) fn and_yet(mut self, said: &str) -> Self {
        if self.code.is_some() {
            self.message = format!("{}; it was done all the same: {said}", self.message);
        }
        self
    }

    /// Makes a report about a local file or directory.
    pub(crate) fn io(path: &std::path::Path, error: &std::io::Error) -> Self {
        if let Some(denied) = Self::denied(path, error) {
            return denied;
        }
        let absent = error.kind() == std::io::ErrorKind::NotFound;
        let code = if absent { codes::NO_FILE } else { codes::LOCAL_FILE };
        Self::new(code, format!("{}: {error}", path.display()))
    }

    /// Makes a report about a local file that this user has no right to; `None` if that is not it.
    fn denied(path: &std::path::Path, error: &std::io::Error) -> Option<Self> {
        let whose = storage::rights::explain(path, error, storage::rights::Want::Use)?;
        Some(Self::new(codes::NO_RIGHT, format!("{}: {error}: {whose}", path.display())))
    }

    /// Makes a report of what went wrong between this program and the cluster.
    pub(crate) fn from_client(error: ClientError) -> Self {
        match error {
            ClientError::Unreachable { causes, common: Common::Certificates } => {
                let message = "no node accepts these certificates, or none that these trust";
                let renew = renewal(&causes);
                Self::new(codes::CERTIFICATES, message)
                    .causes(causes)
                    .help("raftctl context show    (which certificates are used)")
                    .help(renew)
            }
            ClientError::Unreachable { causes, common: Common::Full } => {
                let message = "the nodes take no more connections: they serve others";
                Self::new(codes::CROWDED, message)
                    .causes(causes)
                    .help("close connections of the same certificate, or use another one")
            }
            ClientError::Unreachable { causes, common: Common::Generation } => {
                let message = "the nodes that answer have another history than the one known here";
                Self::new(codes::HISTORY, message)
                    .causes(causes)
                    .help("raftctl context show    (which history the context follows)")
                    .help("raftctl explain R0461")
            }
            ClientError::Unreachable { causes, common: Common::Nothing } => {
                Self::new(codes::UNREACHABLE, "no node could be reached")
                    .causes(causes)
                    .help("raftctl status    (what each node answers)")
            }
            ClientError::NoLeader { causes, after, leader } => {
                Self::no_leader(causes, after, leader)
            }
            ClientError::Lagging { index, causes, after } => {
                let after = milliseconds(after);
                let message = format!("no node that was reached has applied entry {index} within");
                Self::new(codes::LAGGING, format!("{message} {after:?}"))
                    .causes(causes)
                    .help("raftctl status    (how far each node has come)")
            }
            ClientError::Unknown { why, .. } => {
                Self::new(codes::UNKNOWN, format!("the outcome is unknown: {why}"))
                    .help("read the value back before you try again: it may have been written")
            }
            ClientError::Refused(reply) => Self::from_reply(&reply),
            error @ (ClientError::TooLarge { .. } | ClientError::Invalid(_)) => {
                Self::new(codes::REFUSED, error.to_string())
            }
            ClientError::Unexpected { endpoint } => {
                let message = format!("{endpoint} answered something else than was asked");
                Self::new(codes::UNEXPECTED, message)
                    .help("raftctl version    (is the node much older or newer?)")
            }
            ClientError::Endpoint(why) => Self::new(codes::INTERNAL, why),
            error @ ClientError::Ended(_) => Self::new(codes::INTERNAL, error.to_string()),
            error @ ClientError::SessionExpired { .. } => {
                Self::new(codes::SESSION_EXPIRED, error.to_string())
                    .help("read the value back: an earlier attempt may have been applied")
            }
            error @ ClientError::AnswerNotKept { .. } => {
                Self::new(codes::ANSWER_NOT_KEPT, error.to_string()).help("read the value back")
            }
            error @ (ClientError::Busy { .. }
            | ClientError::WindowFull { .. }
            | ClientError::NotWaiting { .. }
            | ClientError::Behind { .. }) => Self::new(codes::BUSY, error.to_string()),
        }
    }

    fn no_leader(causes: Vec<Cause>, after: Duration, leader: Option<String>) -> Self {
        let after = milliseconds(after);
        if let Some(leader) = leader {
            let message = format!("the leader at {leader} could not be reached within {after:?}");
            return Self::new(codes::LEADER_CUT_OFF, message)
                .causes(causes)
                .help("raftctl status    (which nodes reach the leader)");
        }
        let help = "raftctl status    (it says why nobody can win)";
        // Nobody has said that nobody leads: an answer may have been on its way.
        if !causes.is_empty() && causes.iter().all(Cause::is_late) {
            return Self::new(codes::NO_LEADER, format!("nobody has answered within {after:?}"))
                .causes(causes)
                .help("--timeout 60s    (for what takes long on its way)")
                .help(help);
        }
        let message = format!("no leader was found within {after:?}");
        Self::new(codes::NO_LEADER, message).causes(causes).help(help)
    }

    fn from_reply(reply: &ErrorReply) -> Self {
        let code = match reply.code {
            ErrorCode::NotLeader | ErrorCode::NoLeader => codes::NO_LEADER,
            ErrorCode::Busy => codes::BUSY,
            ErrorCode::Unauthorised => codes::UNAUTHORISED,
            ErrorCode::BadRequest | ErrorCode::TooLarge | ErrorCode::Forbidden => codes::REFUSED,
            ErrorCode::NotMet => codes::NOT_MET,
            ErrorCode::NoRoom => codes::NO_ROOM,
            ErrorCode::Uninitialised => codes::UNINITIALISED,
            ErrorCode::AlreadyInitialised => codes::OTHER_GENERATION,
            ErrorCode::Abandoned => codes::UNKNOWN,
            ErrorCode::ShuttingDown
            | ErrorCode::Superseded
            | ErrorCode::DiskFailed
            | ErrorCode::Internal => codes::NODE_FAILED,
        };
        let report = Self::new(code, reply.message.clone());
        if reply.code == ErrorCode::NoRoom {
            let help = "raftctl status    (which disks are full; free space or enlarge them, or \
                        delete keys; if it is the leader's only: raftctl leader transfer)";
            return report.help(help);
        }
        if reply.code != ErrorCode::NotMet {
            return report;
        }
        let help = "nothing was changed; raftd must run there, and the leader's machine reach it";
        report.help(help)
    }

    /// Writes the report for people: `error[R0103]: ..`, a line per endpoint, `help:`.
    pub(crate) fn to_text(&self) -> String {
        let mut text = match self.code {
            Some(code) => format!("error[{code}]: {}\n", self.message),
            None if self.message.is_empty() => String::new(),
            None => format!("{}\n", self.message),
        };
        let width = self.causes.iter().map(|cause| cause.endpoint.len()).max().unwrap_or(0);
        for cause in &self.causes {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "  {:width$}  {}", cause.endpoint, cause.why);
        }
        for help in &self.help {
            let _ = writeln!(text, "help: {help}");
        }
        text
    }

    /// Returns the report for programs.
    pub(crate) fn to_json(&self) -> Value {
        let cause = |cause: &Cause| json!({ "endpoint": cause.endpoint, "why": cause.why });
        json!({
            "code": self.code.map(|code| code.to_string()),
            "message": self.message,
            "causes": self.causes.iter().map(cause).collect::<Vec<_>>(),
            "help": self.help,
            "exitCode": self.exit.code(),
        })
    }
}

impl From<ClientError> for Report {
    fn from(error: ClientError) -> Self {
        Self::from_client(error)
    }
}

impl From<certs::IdentityError> for Report {
    fn from(error: certs::IdentityError) -> Self {
        certs::CertError::from(error).into()
    }
}

/// Says what fails which check, with the times, and what to do about it.
impl From<certs::CertError> for Report {
    fn from(error: certs::CertError) -> Self {
        if let certs::CertError::Io { path, source } = &error
            && let Some(denied) = Self::denied(path, source)
        {
            return denied;
        }
        let said = error.to_string();
        if error.is_not_found() {
            return Self::new(codes::NO_FILE, said);
        }
        // The enum is open: whatever else is wrong with a certificate is one thing to an operator.
        #[allow(clippy::wildcard_enum_match_arm, reason = "CertError is non_exhaustive")]
        match error {
            certs::CertError::Expired { .. } => Self::new(codes::CREDENTIALS, said)
                .help("raftctl cert renew --all    (where the authority is; also now)"),
            certs::CertError::AuthorityExpired { .. } => Self::new(codes::AUTHORITY_ENDS, said)
                .help("raftctl cert renew --authority --all    (where the authority is)"),
            certs::CertError::NotYetValid { .. } => Self::new(codes::CREDENTIALS, said)
                .help("date -u; timedatectl    (the clock of this machine)")
                .help("raftctl cert renew --all    (if it is right now, and was ahead then)"),
            // No room, a disk that fails: nothing is wrong with the certificate.
            certs::CertError::Io { .. } => Self::new(codes::LOCAL_FILE, said),
            _ => Self::new(codes::CREDENTIALS, said),
        }
    }
}
/// Rounds: 200 ms that were asked for are 199.99 a moment later.
fn milliseconds(time: Duration) -> Duration {
    Duration::from_millis((time.as_secs_f64() * 1e3).round() as u64)
}

/// How a certificate that is refused is renewed.
fn renewal(causes: &[Cause]) -> &'static str {
    if causes.iter().any(|cause| cause.why.contains(" was revoked ")) {
        return "raftctl cert renew ROLE/NAME --new-key    (where the authority is)";
    }
    "raftctl cert renew --all    (where the authority is; if one has expired)"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_was_on_its_way_is_told_from_a_cluster_without_a_leader() {
        let late = || "it did not answer within the deadline".to_owned();
        let cause = |why| Cause { endpoint: "n1:7400".into(), why };
        let report = |causes| Report::no_leader(causes, Duration::from_secs(5), None);
        let said = report(vec![cause(late()), cause(late())]);
        assert_eq!(said.message, "nobody has answered within 5s");
        assert!(said.help[0].starts_with("--timeout 60s"), "{said:?}");
        let knows = cause("this node does not lead, and knows of no leader".into());
        for causes in [vec![cause(late()), knows], Vec::new()] {
            assert_eq!(report(causes).message, "no leader was found within 5s");
        }
    }
}
