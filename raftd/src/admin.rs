//! Who may ask what: one authorisation layer in front of every client request. What is not allowed
//! here is denied.
//!
//! | role | status | query | propose | read log | bootstrap, join, reconfigure, transfer, snapshots |
//! |---|---|---|---|---|---|
//! | operator | yes | yes | yes | yes | yes |
//! | client | yes | yes | yes | - | - |
//! | reader | yes | yes | - | without payloads | - |
//! | node | - | - | - | - | - |

use certs::Role;
use protocol::limits::{COMMAND_BYTES_MAX, LOG_PAGE_ENTRIES_MAX};
use protocol::{ErrorCode, ErrorReply, Request};

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
    match (role, request) {
        (Role::Operator(_), request)
        | (
            Role::Client(_),
            request @ (Request::Propose { .. } | Request::Query { .. } | Request::Status),
        )
        | (Role::Reader(_), request @ (Request::Query { .. } | Request::Status)) => Ok(request),
        (Role::Reader(_), Request::ReadLog { from, entries_max, payloads: _ }) => {
            Ok(Request::ReadLog { from, entries_max, payloads: false })
        }
        (
            Role::Client(_) | Role::Reader(_) | Role::Node(_),
            request @ (Request::Propose { .. }
            | Request::Query { .. }
            | Request::Status
            | Request::ReadLog { .. }
            | Request::Bootstrap { .. }
            | Request::Join { .. }
            | Request::Reconfigure { .. }
            | Request::Transfer { .. }
            | Request::Snapshot(_)),
        ) => {
            let message = format!("the certificate of {role} does not allow to {}", verb(&request));
            Err(answer::refusal(ErrorCode::Unauthorised, message))
        }
    }
}

fn check(request: &Request) -> Result<(), ErrorReply> {
    let size = match request {
        Request::Propose { command } => command.len(),
        Request::Query { query, .. } => query.len(),
        Request::Bootstrap { record } | Request::Join { record } => record.len(),
        Request::Reconfigure { target, .. } => target.len(),
        Request::ReadLog { from, entries_max, .. } => {
            return if *from == 0 || !(1..=LOG_PAGE_ENTRIES_MAX).contains(entries_max) {
                let message = format!(
                    "a log page begins at index 1 or later and has 1 to {LOG_PAGE_ENTRIES_MAX} \
                     entries, not {entries_max} from {from}"
                );
                Err(answer::refusal(ErrorCode::BadRequest, message))
            } else {
                Ok(())
            };
        }
        Request::Status | Request::Transfer { .. } | Request::Snapshot(_) => return Ok(()),
    };
    if size > COMMAND_BYTES_MAX {
        let message = format!("{size} bytes, {COMMAND_BYTES_MAX} at most");
        return Err(answer::refusal(ErrorCode::TooLarge, message));
    }
    Ok(())
}

fn verb(request: &Request) -> &'static str {
    match request {
        Request::Propose { .. } => "change data",
        Request::Query { .. } => "read data",
        Request::Status => "read the status",
        Request::ReadLog { .. } => "read the log",
        Request::Bootstrap { .. } | Request::Join { .. } => "bootstrap a cluster",
        Request::Reconfigure { .. } => "change the members",
        Request::Transfer { .. } => "hand leadership over",
        Request::Snapshot(_) => "make and read snapshots",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use protocol::Freshness;
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

    fn requests() -> [Request; 8] {
        [
            Request::Status,
            Request::Query { query: Bytes::new(), freshness: Freshness::Stale },
            Request::Propose { command: Bytes::new() },
            Request::ReadLog { from: 1, entries_max: 10, payloads: true },
            Request::Bootstrap { record: Bytes::new() },
            Request::Join { record: Bytes::new() },
            Request::Reconfigure { target: Bytes::new(), expected_index: 1 },
            Request::Transfer { to: 1 },
        ]
    }

    #[test]
    fn the_table_of_roles_holds() {
        let some = |allowed: &[usize]| std::array::from_fn::<_, 8, _>(|n| allowed.contains(&n));
        let allowed = [[true; 8], some(&[0, 1, 2]), some(&[0, 1, 3]), [false; 8]];
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
    fn readers_see_no_payloads() {
        let [operator, _, reader, _] = roles();
        let payloads = |role: &Role| match admit(role, requests()[3].clone()) {
            Ok(Request::ReadLog { payloads, .. }) => payloads,
            other => panic!("unexpected: {other:?}"),
        };
        assert!(payloads(&operator));
        assert!(!payloads(&reader));
    }

    #[test]
    fn what_is_too_large_or_makes_no_sense_is_refused_by_name() {
        let [operator, ..] = roles();
        let large = Bytes::from(vec![0; COMMAND_BYTES_MAX + 1]);
        let page = |from, entries_max| Request::ReadLog { from, entries_max, payloads: false };
        for (request, code) in [
            (Request::Propose { command: large.clone() }, ErrorCode::TooLarge),
            (
                Request::Query { query: large.clone(), freshness: Freshness::Stale },
                ErrorCode::TooLarge,
            ),
            (Request::Bootstrap { record: large }, ErrorCode::TooLarge),
            (page(0, 5), ErrorCode::BadRequest),
            (page(1, 0), ErrorCode::BadRequest),
            (page(1, LOG_PAGE_ENTRIES_MAX + 1), ErrorCode::BadRequest),
        ] {
            assert_eq!(admit(&operator, request).map_err(|error| error.code), Err(code));
        }
    }
}
