//! The gate in front of every request: which right it takes, and whether the certificate has it, by
//! the one table of rights (`certs::RIGHTS`). What is not allowed there is denied.
//!
//! A question about the system's part is a query of its own kind. A command of the system takes the
//! right of what it does, wherever it stands in an envelope.

use bytes::Bytes;
use certs::{Right, Role};
use protocol::limits::{COMMAND_BYTES_MAX, LOG_PAGE_ENTRIES_MAX};
use protocol::{ConfigurationRequest, ErrorCode, ErrorReply, LogDetail, Request, SnapshotRequest};
use state_machine::{Envelope, EnvelopeKind, SystemCommand, SystemQuery};

use crate::answer;

/// Judges a request by the sender's certificate and by what every request must be, and returns what
/// the sender may have of it.
///
/// # Errors
/// The refusal to be answered.
pub(crate) fn admit(role: &Role, request: Request) -> Result<Request, ErrorReply> {
    let request = authorise(role, request)?;
    check(&request)?;
    Ok(request)
}

fn authorise(role: &Role, request: Request) -> Result<Request, ErrorReply> {
    let right = right(&request);
    if role.may(right) {
        return Ok(request);
    }
    // Some get the log without what is in it.
    if let Request::ReadLog { from, entries_max, .. } = request
        && role.may(Right::ReadLog)
    {
        return Ok(Request::ReadLog { from, entries_max, detail: LogDetail::Sizes });
    }
    let message = format!("the certificate of {role} does not allow to {}", right.action());
    Err(answer::refusal(ErrorCode::Unauthorised, message))
}

/// Returns the right that a request takes.
fn right(request: &Request) -> Right {
    match request {
        Request::Status => Right::ReadStatus,
        Request::Query { .. } => Right::Query,
        Request::SystemQuery { query, .. } => match SystemQuery::decode(query) {
            Ok(SystemQuery::Audit { .. }) => Right::ReadAudit,
            Ok(_) | Err(_) => Right::ReadSystem,
        },
        Request::Propose { command } => right_of_command(command),
        // What else might be in it is refused: see below.
        Request::Batch { .. } => Right::Propose,
        Request::ReadLog { detail: LogDetail::Sizes, .. } => Right::ReadLog,
        Request::ReadLog { detail: LogDetail::Commands | LogDetail::Values, .. } => {
            Right::ReadPayloads
        }
        Request::Bootstrap { .. } | Request::Join { .. } => Right::Bootstrap,
        Request::Reconfigure { .. } => Right::Reconfigure,
        Request::Transfer { .. } => Right::Transfer,
        Request::Snapshot(SnapshotRequest::Take) => Right::TakeSnapshot,
        Request::Snapshot(SnapshotRequest::List | SnapshotRequest::Fetch { .. }) => {
            Right::ReadSnapshots
        }
        Request::Certificate(_) => Right::RenewCertificates,
        Request::Configuration(ConfigurationRequest::Show | ConfigurationRequest::Check) => {
            Right::ReadConfiguration
        }
        Request::Configuration(ConfigurationRequest::Reload) => Right::ReloadConfiguration,
        Request::Note { .. } => Right::NoteActs,
    }
}

/// Returns the right that a proposed command takes: the machine's own bytes are its own business.
/// What cannot be read has no effect on any node.
fn right_of_command(command: &Bytes) -> Right {
    let Ok(envelope) = Envelope::decode(command) else {
        return Right::Propose;
    };
    match envelope.kind {
        EnvelopeKind::Machine => Right::Propose,
        EnvelopeKind::System => match SystemCommand::decode(&envelope.body) {
            Ok(SystemCommand::RegisterSession { .. } | SystemCommand::CloseSession { .. }) => {
                Right::UseSessions
            }
            Ok(SystemCommand::ReserveId { .. }) => Right::ReserveId,
            Ok(SystemCommand::SetAlarm { .. }) => Right::SetAlarm,
            Ok(SystemCommand::Note(_)) => Right::WriteAudit,
            Ok(SystemCommand::Revoke { .. } | SystemCommand::ForgetRevocation { .. }) => {
                Right::Revoke
            }
            Err(_) => Right::Propose,
        },
    }
}

fn check(request: &Request) -> Result<(), ErrorReply> {
    if let Request::ReadLog { from, entries_max, .. } = request
        && (*from == 0 || !(1..=LOG_PAGE_ENTRIES_MAX).contains(entries_max))
    {
        let message = format!(
            "a log page begins at index 1 or later and has 1 to {LOG_PAGE_ENTRIES_MAX} entries, \
             not {entries_max} from {from}"
        );
        return Err(answer::refusal(ErrorCode::BadRequest, message));
    }
    if let Request::Batch { commands } = request
        && commands.iter().any(is_of_the_system)
    {
        let message = "a command of the system is sent by itself, and not in a batch";
        return Err(answer::refusal(ErrorCode::BadRequest, message));
    }
    let size = request.payload_bytes();
    if size > COMMAND_BYTES_MAX {
        let message = format!("{size} bytes, {COMMAND_BYTES_MAX} at most");
        return Err(answer::refusal(ErrorCode::TooLarge, message));
    }
    Ok(())
}

/// Says whether a command is the system's; what cannot be read has no effect on any node.
fn is_of_the_system(command: &Bytes) -> bool {
    Envelope::decode(command).is_ok_and(|envelope| envelope.kind == EnvelopeKind::System)
}

#[cfg(test)]
mod tests;
