use super::*;
use certs::{RIGHTS, RoleKind};
use consensus::{Configuration, EntryId, NodeId};
use protocol::{BootstrapRecord, CertificateRequest, ConfigurationRequest, Consistency};
use state_machine::{Act, Outcome};
use std::num::NonZeroU64;

fn role(kind: RoleKind) -> Role {
    let name = "x".parse().expect("a name");
    kind.named(name).unwrap_or(Role::Node(NonZeroU64::MIN))
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

fn propose(command: &SystemCommand) -> Request {
    Request::Propose { command: Envelope::system(command).encode() }
}

fn page(detail: LogDetail) -> Request {
    Request::ReadLog { from: 1, entries_max: 10, detail }
}

fn act() -> Act {
    let text = String::new;
    let outcome = Outcome::Done;
    Act { id: [7; 16], who: text(), from: text(), node: 1, clock_s: 0, what: text(), outcome }
}

/// Returns requests that take a right: each kind of them. Connections take the first three.
fn requests(right: Right) -> Vec<Request> {
    let name = || "n4".to_owned();
    let member = NodeId::new(1).expect("not 0");
    match right {
        Right::Peer | Right::Forward | Right::Ask => Vec::new(),
        Right::ReadStatus => vec![Request::Status],
        Right::Query => [Consistency::Linearizable, Consistency::AtLeast(3), Consistency::Stale]
            .map(|consistency| Request::Query { query: Bytes::new(), consistency })
            .into(),
        Right::ReadSystem => {
            [true, false].map(|stale| Request::SystemQuery { query: Bytes::new(), stale }).into()
        }
        Right::Propose => {
            // A machine may use the system's bytes for its own ends.
            let reserve = SystemCommand::ReserveId { name: name(), above: 0 };
            let sessionless = Envelope::sessionless(reserve.encode()).encode();
            let in_session = Envelope::in_session(7, 1, 0, Bytes::new()).encode();
            let batch = Request::Batch { commands: vec![sessionless.clone(), in_session.clone()] };
            let alone = [Bytes::new(), sessionless, in_session];
            alone.map(|command| Request::Propose { command }).into_iter().chain([batch]).collect()
        }
        Right::UseSessions => vec![
            propose(&SystemCommand::RegisterSession { nonce: [1; 16], name: name() }),
            propose(&SystemCommand::CloseSession { session: 1 }),
        ],
        Right::ReserveId => vec![propose(&SystemCommand::ReserveId { name: name(), above: 0 })],
        Right::SetAlarm => {
            [true, false].map(|raised| propose(&SystemCommand::SetAlarm { member, raised })).into()
        }
        Right::NoteActs => vec![Request::Note { command: SystemCommand::Note(act()).encode() }],
        Right::WriteAudit => vec![propose(&SystemCommand::Note(act()))],
        Right::ReadAudit => {
            let query = SystemQuery::Audit { after: 0, limit: 1 }.encode();
            [true, false].map(|stale| Request::SystemQuery { query: query.clone(), stale }).into()
        }
        Right::ReadLog => vec![page(LogDetail::Sizes)],
        Right::ReadPayloads => vec![page(LogDetail::Commands), page(LogDetail::Values)],
        Right::Bootstrap => {
            vec![Request::Bootstrap { record: record() }, Request::Join { record: record() }]
        }
        Right::Reconfigure => {
            let target = Configuration::unknown();
            vec![Request::Reconfigure { target, expected_index: 1 }]
        }
        Right::Transfer => vec![Request::Transfer { to: 1 }],
        Right::TakeSnapshot => vec![Request::Snapshot(SnapshotRequest::Take)],
        Right::ReadSnapshots => vec![
            Request::Snapshot(SnapshotRequest::List),
            Request::Snapshot(SnapshotRequest::Fetch { last: EntryId::default(), offset: 0 }),
        ],
        Right::Revoke => {
            let (holder, why) = ("client c".to_owned(), String::new());
            let forget = SystemCommand::ForgetRevocation { holder: holder.clone() };
            let revoke = SystemCommand::Revoke { holder, until_s: 1, key: None, why };
            vec![propose(&revoke), propose(&forget)]
        }
        Right::RenewCertificates => {
            let (certificate, authorities) = (String::new(), String::new());
            [
                CertificateRequest::Show,
                CertificateRequest::Request,
                CertificateRequest::Install { certificate, authorities },
            ]
            .map(Request::Certificate)
            .into()
        }
        Right::ReadConfiguration => [ConfigurationRequest::Show, ConfigurationRequest::Check]
            .map(Request::Configuration)
            .into(),
        Right::ReloadConfiguration => vec![Request::Configuration(ConfigurationRequest::Reload)],
    }
}

#[test]
fn every_role_gets_what_the_table_gives_it_and_nothing_else() {
    let mut pairs = 0;
    for row in RIGHTS {
        for kind in RoleKind::ALL {
            for request in requests(row.right) {
                pairs += 1;
                let (role, asked) = (role(kind), format!("{kind}: {request:?}"));
                let wanted = row.roles.contains(&kind);
                match admit(&role, request.clone()) {
                    Ok(admitted) if admitted == request => assert!(wanted, "{asked}"),
                    // The log without what is in it.
                    Ok(admitted) => {
                        assert!(!wanted && role.may(Right::ReadLog), "{asked}");
                        assert_eq!(admitted, page(LogDetail::Sizes), "{asked}");
                    }
                    Err(refusal) => {
                        assert!(!wanted, "{asked}: {}", refusal.message);
                        assert_eq!(refusal.code, ErrorCode::Unauthorised, "{asked}");
                        let said = format!("of {role} does not allow to {}", row.action);
                        assert!(refusal.message.ends_with(&said), "{}", refusal.message);
                    }
                }
            }
        }
    }
    assert!(pairs > 100, "{pairs}");
}

#[test]
fn what_is_too_large_or_makes_no_sense_is_refused_by_name() {
    let operator = role(RoleKind::Operator);
    let large = Bytes::from(vec![0; COMMAND_BYTES_MAX + 1]);
    let half = large.slice(COMMAND_BYTES_MAX / 2..);
    let system = Envelope::system(&SystemCommand::CloseSession { session: 1 }).encode();
    let page = |from, entries_max| Request::ReadLog { from, entries_max, detail: LogDetail::Sizes };
    for (request, code) in [
        (Request::Propose { command: large.clone() }, ErrorCode::TooLarge),
        (
            Request::Query { query: large.clone(), consistency: Consistency::Stale },
            ErrorCode::TooLarge,
        ),
        (Request::SystemQuery { query: large, stale: true }, ErrorCode::TooLarge),
        (Request::Batch { commands: vec![half.clone(), half] }, ErrorCode::TooLarge),
        (Request::Batch { commands: vec![Bytes::new(), system] }, ErrorCode::BadRequest),
        (page(0, 5), ErrorCode::BadRequest),
        (page(1, 0), ErrorCode::BadRequest),
        (page(1, LOG_PAGE_ENTRIES_MAX + 1), ErrorCode::BadRequest),
    ] {
        assert_eq!(admit(&operator, request).map_err(|error| error.code), Err(code));
    }
}
