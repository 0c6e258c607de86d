//! Who may ask what: one authorisation layer in front of every client request. What is not allowed
//! here is denied.
//!
//! | role | status | query | propose | read log | bootstrap, join, change, transfer, snapshots |
//! |---|---|---|---|---|---|
//! | operator | yes | yes | yes | yes | yes |
//! | client | yes | yes | yes | - | - |
//! | reader | yes | yes | - | without payloads | - |
//! | node | - | - | - | yes | snapshots |
//!
//! Nodes read the log of others to repair their own, all of which they had anyway.
//!
//! A question about the system's part is a query like any other. A command of the system is
//! proposed like any other, but ids are reserved by operators only.

use bytes::Bytes;
use certs::Role;
use protocol::limits::{COMMAND_BYTES_MAX, LOG_PAGE_ENTRIES_MAX};
use protocol::{Audience, ErrorCode, ErrorReply, LogDetail, Request};
use state_machine::{Envelope, EnvelopeKind, SystemCommand};

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
    if let (Role::Client(_), Request::Propose { command }) = (role, &request)
        && reserves_id(command)
    {
        let message = format!("the certificate of {role} does not allow to reserve node ids");
        return Err(answer::refusal(ErrorCode::Unauthorised, message));
    }
    let kind = request.kind();
    // A member whose state is lost takes over another one's; one whose log is damaged reads
    // others'.
    if let (Role::Node(_), Request::Snapshot(_) | Request::ReadLog { .. }) = (role, &request) {
        return Ok(request);
    }
    let may = match (role, kind.audience) {
        (Role::Operator(_), _)
        | (Role::Client(_), Audience::Everybody | Audience::Clients)
        | (Role::Reader(_), Audience::Everybody | Audience::Readers) => true,
        (Role::Client(_), Audience::Readers | Audience::Operators)
        | (Role::Reader(_), Audience::Clients | Audience::Operators)
        | (Role::Node(_), _) => false,
    };
    if !may {
        let message = format!("the certificate of {role} does not allow to {}", kind.action);
        return Err(answer::refusal(ErrorCode::Unauthorised, message));
    }
    Ok(match (role, request) {
        (Role::Reader(_), Request::ReadLog { from, entries_max, detail: _ }) => {
            Request::ReadLog { from, entries_max, detail: LogDetail::Sizes }
        }
        (_, request) => request,
    })
}

/// Says whether a command is one of the system that only operators may give.
fn reserves_id(command: &Bytes) -> bool {
    let Ok(envelope) = Envelope::decode(command) else {
        return false;
    };
    match envelope.kind {
        EnvelopeKind::Machine => false,
        EnvelopeKind::System => match SystemCommand::decode(&envelope.body) {
            Ok(SystemCommand::ReserveId { .. }) => true,
            // Alarms have an effect for leaders alone.
            Ok(
                SystemCommand::RegisterSession { .. }
                | SystemCommand::CloseSession { .. }
                | SystemCommand::SetAlarm { .. },
            )
            | Err(_) => false,
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
    let size = request.payload_bytes();
    if size > COMMAND_BYTES_MAX {
        let message = format!("{size} bytes, {COMMAND_BYTES_MAX} at most");
        return Err(answer::refusal(ErrorCode::TooLarge, message));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use consensus::Configuration;
    use protocol::{BootstrapRecord, Consistency};
    use std::num::NonZeroU64;

    fn roles() -> [Role; 4] {
        let name = || "x".parse().expect("a name");
        [
            Role::Operator(name()),
            Role::Client(name()),
            Role::Reader(name()),
            Role::Node(NonZeroU64::MIN),
        ]
    }

    fn record() -> BootstrapRecord {
        BootstrapRecord {
            cluster: [7; 16],
            configuration: Configuration::unknown(),
            machine: "kv".to_owned(),
            machine_version: 1,
            parent: None,
        }
    }

    fn requests() -> [Request; 9] {
        [
            Request::Status,
            Request::Query { query: Bytes::new(), consistency: Consistency::Stale },
            Request::Propose { command: Bytes::new() },
            Request::ReadLog { from: 1, entries_max: 10, detail: LogDetail::Values },
            Request::Bootstrap { record: record() },
            Request::Join { record: record() },
            Request::Reconfigure { target: Configuration::unknown(), expected_index: 1 },
            Request::Transfer { to: 1 },
            Request::SystemQuery { query: Bytes::new(), stale: false },
        ]
    }

    #[test]
    fn the_table_of_roles_holds() {
        let some = |allowed: &[usize]| std::array::from_fn::<_, 9, _>(|n| allowed.contains(&n));
        let allowed = [[true; 9], some(&[0, 1, 2, 8]), some(&[0, 1, 3, 8]), some(&[3])];
        for (role, row) in roles().iter().zip(allowed) {
            for (request, wanted) in requests().into_iter().zip(row) {
                let asked = format!("{role}: {request:?}");
                let admitted = admit(role, request);
                assert_eq!(admitted.is_ok(), wanted, "{asked}");
                if let Err(refusal) = admitted {
                    assert_eq!(refusal.code, ErrorCode::Unauthorised);
                    assert!(refusal.message.contains(&role.to_string()), "{}", refusal.message);
                }
            }
        }
    }

    #[test]
    fn clients_open_and_close_sessions_and_only_operators_reserve_ids() {
        let [operator, client, ..] = roles();
        let name = || "n4".to_owned();
        for (command, clients_may) in [
            (SystemCommand::RegisterSession { nonce: [1; 16], name: name() }, true),
            (SystemCommand::CloseSession { session: 1 }, true),
            (SystemCommand::ReserveId { name: name() }, false),
        ] {
            let request = Request::Propose { command: Envelope::system(&command).encode() };
            assert!(admit(&operator, request.clone()).is_ok(), "{command:?}");
            assert_eq!(admit(&client, request).is_ok(), clients_may, "{command:?}");
        }
        // The machine's own bytes are its own business.
        let reserve = SystemCommand::ReserveId { name: name() };
        let command = Envelope::sessionless(reserve.encode()).encode();
        assert!(admit(&client, Request::Propose { command }).is_ok());
    }

    #[test]
    fn readers_see_no_payloads() {
        let [operator, _, reader, _] = roles();
        let payloads = |role: &Role| match admit(role, requests()[3].clone()) {
            Ok(Request::ReadLog { detail, .. }) => detail != LogDetail::Sizes,
            other => panic!("unexpected: {other:?}"),
        };
        assert!(payloads(&operator));
        assert!(!payloads(&reader));
    }

    #[test]
    fn what_is_too_large_or_makes_no_sense_is_refused_by_name() {
        let [operator, ..] = roles();
        let large = Bytes::from(vec![0; COMMAND_BYTES_MAX + 1]);
        let page =
            |from, entries_max| Request::ReadLog { from, entries_max, detail: LogDetail::Sizes };
        for (request, code) in [
            (Request::Propose { command: large.clone() }, ErrorCode::TooLarge),
            (
                Request::Query { query: large.clone(), consistency: Consistency::Stale },
                ErrorCode::TooLarge,
            ),
            (Request::SystemQuery { query: large, stale: true }, ErrorCode::TooLarge),
            (page(0, 5), ErrorCode::BadRequest),
            (page(1, 0), ErrorCode::BadRequest),
            (page(1, LOG_PAGE_ENTRIES_MAX + 1), ErrorCode::BadRequest),
        ] {
            assert_eq!(admit(&operator, request).map_err(|error| error.code), Err(code));
        }
    }
}
