//! What each role may do, asked of a real node over real connections: as the table says, for every
//! protocol and every request.

use std::num::NonZeroU64;
use std::time::Duration;

use bytes::Bytes;
use certs::{Expect, Identity, RIGHTS, Right, Role, RoleKind};
use consensus::{Configuration, EntryId, Incarnation, NodeId};
use fixtures::Cluster;
use protocol::{
    BootstrapRecord, CertificateRequest, ConfigurationRequest, Consistency, ErrorCode, Hello,
    LogDetail, PROTOCOL_VERSION, Promises, Request, Response, SnapshotRequest,
};
use state_machine::{Act, Envelope, Outcome, SystemCommand, SystemQuery};
use transport::{Alpn, ClientConnection, ConnectError, Endpoint, Trail};

const DAY: Duration = Duration::from_secs(86_400);

pub(crate) fn role(kind: RoleKind) -> Role {
    // Node 1 is the one that is asked; it may ask itself.
    kind.named("x".parse().unwrap()).unwrap_or(Role::Node(NonZeroU64::MIN))
}

pub(crate) async fn connect(
    cluster: &Cluster,
    kind: RoleKind,
    alpn: Alpn,
) -> Result<ClientConnection, ConnectError> {
    let identity = Identity::new(cluster.authority.cluster(), role(kind));
    let issued = cluster.authority.issue(&identity, DAY).unwrap();
    let endpoint = Endpoint::client(&issued.credentials().unwrap()).unwrap();
    let hello = Hello {
        protocol: PROTOCOL_VERSION,
        cluster: cluster.authority.cluster().to_bytes(),
        generation: None,
        node: identity.node_id().map(NodeId::from),
        incarnation: Incarnation::default(),
        boot: 0,
        software: "a test".into(),
        lease: None,
        promises: Promises::default(),
    };
    let trail = Trail::new(&cluster.nodes[0].address);
    let how = (alpn, Expect::AnyNode);
    ClientConnection::connect(&endpoint, &trail, how, &hello, Duration::from_secs(10)).await
}

fn propose(command: &SystemCommand) -> Request {
    Request::Propose { command: Envelope::system(command).encode() }
}

fn act() -> Act {
    let text = String::new;
    let outcome = Outcome::Done;
    Act { id: [7; 16], who: text(), from: text(), node: 1, clock_s: 0, what: text(), outcome }
}

/// A request that takes this right, and does no harm where it is allowed.
fn request(right: Right, record: &BootstrapRecord, written: u64) -> Option<Request> {
    let page = |detail| Request::ReadLog { from: written, entries_max: 1, detail };
    Some(match right {
        Right::Peer | Right::Forward | Right::Ask => return None,
        Right::ReadStatus => Request::Status,
        Right::Query => {
            Request::Query { query: Bytes::new(), consistency: Consistency::Linearizable }
        }
        Right::ReadSystem => Request::SystemQuery { query: Bytes::new(), stale: true },
        Right::Propose => {
            Request::Propose { command: Envelope::sessionless(Bytes::new()).encode() }
        }
        Right::UseSessions => propose(&SystemCommand::CloseSession { session: 1 }),
        Right::ReserveId => propose(&SystemCommand::ReserveId { name: "n9".into(), above: 0 }),
        Right::SetAlarm => {
            let member = NodeId::new(1).unwrap();
            propose(&SystemCommand::SetAlarm { member, raised: true })
        }
        Right::NoteActs => Request::Note { command: SystemCommand::Note(act()).encode() },
        Right::WriteAudit => propose(&SystemCommand::Note(act())),
        Right::ReadAudit => {
            let query = SystemQuery::Audit { after: 0, limit: 1 }.encode();
            Request::SystemQuery { query, stale: true }
        }
        Right::ReadLog => page(LogDetail::Sizes),
        Right::ReadPayloads => page(LogDetail::Values),
        Right::Bootstrap => Request::Bootstrap { record: record.clone() },
        Right::Reconfigure => {
            Request::Reconfigure { target: Configuration::unknown(), expected_index: 99_999 }
        }
        Right::Transfer => Request::Transfer { to: 1 },
        Right::TakeSnapshot => Request::Snapshot(SnapshotRequest::Take),
        Right::ReadSnapshots => {
            Request::Snapshot(SnapshotRequest::Fetch { last: EntryId::default(), offset: 0 })
        }
        Right::Revoke => {
            let (holder, why) = ("client nobody".into(), String::new());
            propose(&SystemCommand::Revoke { holder, until_s: 1, key: None, why })
        }
        Right::RenewCertificates => Request::Certificate(CertificateRequest::Show),
        Right::ReadConfiguration => Request::Configuration(ConfigurationRequest::Show),
        Right::ReloadConfiguration => Request::Configuration(ConfigurationRequest::Reload),
    })
}

/// Asks the first node, which has no history or no state, for all that the table does not give to
/// who asks.
pub(crate) async fn gives_nobody_more(cluster: &Cluster, record: &BootstrapRecord) {
    let mut refusals = 0;
    for kind in RoleKind::ALL {
        for alpn in [Alpn::Forward, Alpn::Client] {
            let Ok(connection) = connect(cluster, kind, alpn).await else { continue };
            let others = RIGHTS.iter().filter(|row| !row.roles.contains(&kind));
            for row in others.filter(|row| row.right != Right::ReadPayloads) {
                let Some(request) = request(row.right, record, 1) else { continue };
                let Response::Error(error) = connection.call(&request).await.unwrap() else {
                    panic!("{kind} by {alpn:?} got what it asked for: {request:?}");
                };
                assert_eq!(error.code, ErrorCode::Unauthorised, "{kind}, {request:?}: {error:?}");
                refusals += 1;
            }
        }
    }
    assert!(refusals > 40, "{refusals}");
}

/// Whoever may not found a cluster must not do it because nobody has yet.
#[tokio::test]
async fn a_node_without_a_history_gives_nobody_more_than_the_table_says() {
    let mut cluster = Cluster::prepare(1);
    cluster.nodes[0].start();
    cluster.nodes[0].logged("ready").await;
    let record = cluster.record().await;
    gives_nobody_more(&cluster, &record).await;
    let operator = connect(&cluster, RoleKind::Operator, Alpn::Client).await.unwrap();
    let Response::Status(status) = operator.call(&Request::Status).await.unwrap() else {
        panic!("an operator sees the status");
    };
    assert_eq!(status.generation, None, "nobody has founded anything");
}

#[tokio::test]
async fn a_node_gives_each_role_what_the_table_says() {
    let cluster = Cluster::start(1).await;
    let record = cluster.record().await;
    let written = cluster.client().propose(Bytes::new()).await.unwrap().index;
    let mut refusals = 0;
    for kind in RoleKind::ALL {
        for alpn in [Alpn::Peer, Alpn::Forward, Alpn::Client] {
            let made = connect(&cluster, kind, alpn).await;
            let asked = format!("{kind} by {alpn:?}");
            if !kind.may(alpn.right()) {
                let why = made.err().unwrap_or_else(|| panic!("{asked} got in")).to_string();
                assert!(why.contains("may not use raft-"), "{asked}: {why}");
                continue;
            }
            // As a peer, only a node itself may speak; no request comes that way.
            let Ok(connection) = made else {
                assert_eq!(alpn, Alpn::Peer, "{asked}");
                continue;
            };
            for row in RIGHTS {
                let Some(request) = request(row.right, &record, written) else { continue };
                let asked = format!("{asked}: {request:?}");
                let payloads_asked = row.right == Right::ReadPayloads;
                let refused = match connection.call(&request).await.unwrap() {
                    Response::Error(error) => error.code == ErrorCode::Unauthorised,
                    // The log without what is in it.
                    Response::Log(page) if payloads_asked => {
                        page.entries.iter().all(|entry| entry.payload.is_none())
                    }
                    _ => false,
                };
                refusals += usize::from(refused);
                assert_eq!(refused, !row.roles.contains(&kind), "{asked}");
            }
        }
    }
    assert!(refusals > 30, "{refusals}");
}
