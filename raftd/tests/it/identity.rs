//! A node runs only with its own directory, its own certificate, and a configuration that makes
//! sense; every refusal says why.

use std::fs;
use std::num::NonZeroU64;
use std::time::Duration;

use certs::{Authority, ClusterId, Identity, Issued, Role, Validity};
use client::ClientError;
use fixtures::load::{get, put};
use fixtures::{Cluster, Node, PATIENCE, reason};
use protocol::{CertificateId, ErrorCode, Passage, Request, Response};
use rustix::process::Signal;
use state_machine::{Envelope, KvCommand, SystemAnswer, SystemCommand, SystemQuery};
use transport::certs::Expect;
use transport::{Alpn, ClientConnection, ConnectError, Endpoint, Trail};

#[tokio::test]
async fn a_node_refuses_the_data_directory_of_another() {
    let mut cluster = Cluster::start(3).await;
    for node in &mut cluster.nodes[..2] {
        node.kill();
    }
    let (own, other) = (cluster.nodes[0].data.clone(), cluster.nodes[1].data.clone());
    fs::rename(&own, own.with_extension("aside")).unwrap();
    fs::rename(&other, &own).unwrap();
    cluster.nodes[0].start();
    assert_eq!(cluster.nodes[0].ended().code(), Some(65));
    let log = cluster.nodes[0].log();
    assert!(log.contains("belongs to node 2 of cluster"), "{log}");
    assert!(log.contains("the certificate says node 1 of cluster"), "{log}");
}

#[tokio::test]
async fn a_node_refuses_its_directory_under_another_clusters_certificate() {
    let mut cluster = Cluster::start(1).await;
    cluster.nodes[0].kill();
    let day = Duration::from_secs(86_400);
    let foreign = Authority::create(ClusterId::generate().unwrap(), day).unwrap();
    for file in ["ca.crt", "node.crt", "node.key"] {
        fs::remove_file(cluster.nodes[0].directory.join(file)).unwrap();
    }
    cluster.nodes[0].issue(&foreign, 1);
    cluster.nodes[0].start();
    assert_eq!(cluster.nodes[0].ended().code(), Some(65));
    let log = cluster.nodes[0].log();
    assert!(log.contains(&foreign.cluster().to_string()), "{log}");
}

#[tokio::test]
async fn a_second_process_on_a_directory_is_told_who_has_it() {
    let mut cluster = Cluster::start(1).await;
    let pid = cluster.nodes[0].pid();
    let mut second = cluster.nodes[0].command();
    let output = second.args(["--listen", "127.0.0.1:0"]).output().unwrap();
    assert_eq!(output.status.code(), Some(74));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains(&format!("raftd (pid {pid}) is running")), "{said}");
    cluster.nodes[0].kill();
}

#[tokio::test]
async fn a_wiped_node_never_votes_and_is_named() {
    let mut cluster = Cluster::start(3).await;
    let record = cluster.record().await;
    let client = cluster.client();
    put(&client, "kept", "1").await.unwrap();
    let leader = cluster.leader().await;
    let wiped = (leader + 1) % 3;
    cluster.nodes[wiped].kill();
    fs::remove_dir_all(&cluster.nodes[wiped].data).unwrap();
    cluster.nodes[wiped].start();
    let status = cluster.answer_of(&cluster.nodes[wiped]).await;
    assert_eq!((status.generation, status.term), (None, 0), "it is uninitialised");

    // The record names the directory that is gone: it does not make the node a member again.
    let address = cluster.nodes[wiped].address.clone();
    let refused = client.bootstrap(&address, record.clone()).await.unwrap_err();
    assert!(reason(&refused).contains("it was wiped or replaced"), "{}", reason(&refused));

    // With the other follower gone as well there is no quorum: the wiped node does not help.
    cluster.nodes[(leader + 2) % 3].kill();
    let identity = Role::Operator("impatient".parse().unwrap());
    let impatient = cluster.client_as(identity, Duration::from_secs(3));
    let error = put(&impatient, "lost", "1").await.unwrap_err();
    let unwritten = matches!(error, ClientError::NoLeader { .. } | ClientError::Unknown { .. });
    assert!(unwritten, "{}", reason(&error));
    cluster.nodes[(leader + 2) % 3].start();
    assert_eq!(get(&client, "kept").await.unwrap().as_deref(), Some("1"));
}

#[tokio::test]
async fn a_node_that_shows_another_nodes_certificate_is_not_taken_for_it() {
    let mut cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    let (liar, honest) = ((leader + 1) % 3, (leader + 2) % 3);
    cluster.nodes[liar].kill();
    let id = cluster.nodes[honest].id;
    cluster.nodes[liar].issue(&cluster.authority, id);
    cluster.nodes[liar].start();
    assert_eq!(cluster.nodes[liar].ended().code(), Some(65));
    let log = cluster.nodes[liar].log();
    assert!(log.contains(&format!("the certificate says node {id}")), "{log}");
}

#[tokio::test]
async fn what_a_role_may_not_do_is_refused_by_name() {
    let cluster = Cluster::start(1).await;
    let deadline = Duration::from_secs(5);
    let name = || "eve".parse().unwrap();
    let reader = cluster.client_as(Role::Reader(name()), deadline);
    let error = put(&reader, "k", "v").await.unwrap_err();
    assert!(reason(&error).contains("does not allow to change data"), "{}", reason(&error));
    assert_eq!(get(&reader, "k").await.unwrap(), None, "it may read");

    let node = cluster.client_as(Role::Node(NonZeroU64::MIN), deadline);
    let error = put(&node, "k", "v").await.unwrap_err();
    assert!(reason(&error).contains("may not use raft-client/1"), "{}", reason(&error));
}

#[tokio::test]
async fn an_uninitialised_node_answers_status_and_refuses_the_rest_with_the_remedy() {
    let mut cluster = Cluster::prepare(1);
    cluster.nodes[0].start();
    let status = cluster.answer_of(&cluster.nodes[0]).await;
    assert_eq!(status.generation, None);
    let operator = Role::Operator("o".parse().unwrap());
    let client = cluster.client_as(operator, Duration::from_secs(1));
    let error = put(&client, "k", "v").await.unwrap_err();
    assert!(reason(&error).contains("raftctl init"), "{}", reason(&error));
}

#[test]
fn a_configuration_that_makes_no_sense_is_refused_with_file_key_and_bounds() {
    let cluster = Cluster::prepare(1);
    let node = &cluster.nodes[0];
    for (more, wanted) in [
        ("[raft]\nheartbeat = 5\n", "unknown field `heartbeat`"),
        ("[raft]\nheartbeat_ms = 1\n", "from 5 to 30000 ms"),
        ("[limits]\nrequests_max = -1\n", "limits.requests_max = -1 is out of bounds"),
        ("[raft]\nelection_timeout_ms = [300, 200]\n", "low below high"),
    ] {
        node.configure(more);
        let output = node.command().arg("--check-config").output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(78), "{said}");
        assert!(said.contains("raftd.toml") && said.contains(wanted), "{wanted}: {said}");
    }
    node.configure("");
    let output = node.command().arg("--check-config").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && said.contains("valid; node 1 of cluster"), "{said}");
    // The environment goes before the file, a flag before both.
    let listens = |command: &mut std::process::Command| {
        let output = command.arg("--check-config").env("RAFTD_LISTEN", "127.0.0.1:7").output();
        String::from_utf8_lossy(&output.unwrap().stdout).into_owned()
    };
    let said = listens(&mut node.command());
    assert!(said.contains("listens on 127.0.0.1:7\n"), "{said}");
    let said = listens(node.command().args(["--listen", "127.0.0.1:8"]));
    assert!(said.contains("listens on 127.0.0.1:8\n"), "{said}");
}

#[test]
fn a_missing_or_foreign_certificate_ends_the_node_with_78() {
    let cluster = Cluster::prepare(1);
    let node = &cluster.nodes[0];
    fs::remove_file(node.directory.join("node.key")).unwrap();
    let output = node.command().output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert!(said.contains("node.key"), "{said}");

    let day = Duration::from_secs(86_400);
    let foreign = Authority::create(ClusterId::generate().unwrap(), day).unwrap();
    fs::remove_file(node.directory.join("node.crt")).unwrap();
    let ca = fs::read(node.directory.join("ca.crt")).unwrap();
    fs::remove_file(node.directory.join("ca.crt")).unwrap();
    node.issue(&foreign, 1);
    fs::write(node.directory.join("ca.crt"), ca).unwrap();
    let output = node.command().output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(78), "{said}");
}

/// A certificate of node `id` for another time than now.
pub(crate) fn issued(cluster: &Cluster, id: u64, validity: Validity) -> Issued {
    let role = Role::Node(NonZeroU64::new(id).unwrap());
    let identity = Identity::new(cluster.authority.cluster(), role);
    cluster.authority.issue_within(&identity, validity).unwrap()
}

/// Puts certificate and key into the node's directory, right or wrong.
pub(crate) fn put_in(node: &Node, issued: &Issued) {
    fs::write(node.directory.join("node.crt"), &issued.certificate_pem).unwrap();
    fs::write(node.directory.join("node.key"), &issued.key_pem).unwrap();
}

/// From ten seconds ago on, for so long.
pub(crate) fn from_now(seconds: u64) -> Validity {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Validity { not_before: now.as_secs() - 10, not_after: now.as_secs() + seconds }
}

#[tokio::test]
async fn a_renewed_certificate_is_taken_while_the_node_runs_on_both_sides() {
    let mut cluster = Cluster::start(3).await;
    let client = cluster.client();
    put(&client, "before", "1").await.unwrap();
    let year = 400 * 86_400;
    let renewed: Vec<Issued> = (1..=3).map(|id| issued(&cluster, id, from_now(year))).collect();
    for (node, renewed) in cluster.nodes.iter().zip(&renewed) {
        put_in(node, renewed);
        // Who is not told looks by itself.
        if node.id != 3 {
            node.signal(Signal::HUP);
        }
        node.logged("certificates replaced for new connections").await;
        let status = cluster.answer_of(node).await;
        assert_eq!(
            status.certificate_not_after,
            i64::try_from(renewed.validity.not_after).unwrap()
        );
        // Asked again, nothing has changed.
        node.signal(Signal::HUP);
        node.logged("certificates unchanged").await;
    }
    // New connections in both directions work with them: a node that was away is dialled, and
    // dials.
    let place = (cluster.leader().await + 1) % 3;
    cluster.nodes[place].kill();
    cluster.nodes[place].start();
    put(&client, "after", "2").await.unwrap();
    cluster.converged().await;
    let fresh = cluster.client();
    assert_eq!(get(&fresh, "after").await.unwrap().as_deref(), Some("2"));
    let log = cluster.nodes[place].log();
    assert!(!log.contains("certificate of"), "nobody's certificate was refused: {log}");
}

#[tokio::test]
async fn certificates_that_do_not_fit_are_refused_and_the_old_ones_kept() {
    let cluster = Cluster::start(1).await;
    let node = &cluster.nodes[0];
    let before = cluster.answer_of(node).await.certificate_not_after;
    let good = fs::read(node.directory.join("node.key")).unwrap();
    let day = 86_400;
    let [expired, future, old] = [
        Validity { not_before: 1_000_000_000, not_after: 1_100_000_000 },
        Validity { not_before: from_now(day).not_after, not_after: from_now(2 * day).not_after },
        Validity { not_before: 1_000_000_000, not_after: from_now(900 * day).not_after },
    ];
    let foreign =
        Authority::create(ClusterId::generate().unwrap(), Duration::from_secs(86_400)).unwrap();
    let stranger = Identity::new(foreign.cluster(), Role::Node(NonZeroU64::MIN));
    let stranger = foreign.issue(&stranger, Duration::from_secs(86_400)).unwrap();
    let mut half = issued(&cluster, 1, from_now(day));
    half.certificate_pem.truncate(half.certificate_pem.len() / 2);
    let mut mismatched = issued(&cluster, 1, from_now(day));
    mismatched.key_pem = String::from_utf8(good).unwrap();
    for (files, why) in [
        (issued(&cluster, 1, expired), "node.crt (node 1) expired at 2004-11-09T11:33:20Z, "),
        (issued(&cluster, 1, future), "behind the one that made it"),
        (issued(&cluster, 1, old), "is older than the one in use"),
        (issued(&cluster, 2, from_now(day)), "they are those of node 2 of cluster"),
        (mismatched, "node.key is not the private key of"),
        (half, "the PEM text is cut off"),
        (stranger, "belongs to cluster"),
    ] {
        put_in(node, &files);
        node.signal(Signal::HUP);
        let log = node.logged(why).await;
        let line = log.lines().rfind(|line| line.contains(why)).unwrap();
        assert!(line.contains("the certificates in use stay, valid until "), "{line}");
        assert_eq!(cluster.answer_of(node).await.certificate_not_after, before, "{why}");
    }
    let fresh = cluster.client();
    put(&fresh, "still", "there").await.unwrap();
}

#[test]
fn a_node_whose_certificate_does_not_count_says_since_when_and_what_to_do() {
    let cluster = Cluster::prepare(1);
    let node = &cluster.nodes[0];
    let past = Validity { not_before: 1_000_000_000, not_after: 1_100_000_000 };
    put_in(node, &issued(&cluster, 1, past));
    let output = node.command().output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(74), "{said}");
    for wanted in [
        "node.crt (node 1) expired at 2004-11-09T11:33:20Z, ",
        " days ago by a clock that says 2",
        "help: `raftctl cert renew --all`",
        "systemctl reload-or-restart raftd",
    ] {
        assert!(said.contains(wanted), "{wanted}: {said}");
    }

    // A clock that is behind may be set in a moment: it is worth another start.
    let tomorrow = from_now(86_400).not_after;
    let future = Validity { not_before: tomorrow, not_after: tomorrow + 86_400 };
    put_in(node, &issued(&cluster, 1, future));
    let output = node.command().output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(74), "{said}");
    assert!(said.contains("is not valid before ") && said.contains("clock"), "{said}");
}

/// Waits until an act has ended in the audit.
pub(crate) async fn audited(cluster: &Cluster, what: &str) -> state_machine::Act {
    let began = std::time::Instant::now();
    loop {
        let query = SystemQuery::Audit { after: 0, limit: 100 };
        let found = cluster.client().system(&query, client::Consistency::Linearizable).await;
        let Ok(SystemAnswer::Audit { items, .. }) = &found else { panic!("{found:?}") };
        let mut acts = items.iter().map(|item| &item.act);
        if let Some(act) = acts.find(|act| act.what == what)
            && act.outcome != state_machine::Outcome::Asked
        {
            return act.clone();
        }
        assert!(began.elapsed() < fixtures::PATIENCE, "{what}: {items:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A connection to a node, with a certificate of any role, for whatever it takes it for.
async fn dial(cluster: &Cluster, role: Role, alpn: Alpn) -> Result<ClientConnection, ConnectError> {
    dial_at(cluster, 0, role, alpn).await
}

/// A connection to any of the nodes.
pub(crate) async fn dial_at(
    cluster: &Cluster,
    place: usize,
    role: Role,
    alpn: Alpn,
) -> Result<ClientConnection, ConnectError> {
    let config = cluster.client_config(role, Duration::from_secs(5), Vec::new());
    let endpoint = Endpoint::client(&config.credentials).unwrap();
    let hello = protocol::Hello {
        protocol: protocol::PROTOCOL_VERSION,
        cluster: cluster.authority.cluster().to_bytes(),
        generation: None,
        node: None,
        incarnation: consensus::Incarnation::default(),
        boot: 0,
        software: "test".into(),
        lease: None,
        promises: protocol::Promises::default(),
    };
    let trail = Trail::new(&cluster.nodes[place].address);
    let how = (alpn, Expect::AnyNode);
    ClientConnection::connect(&endpoint, &trail, how, &hello, Duration::from_secs(5)).await
}

/// Who had been revoked was served all the same, by way of a node that had not heard of it.
#[tokio::test]
async fn what_is_passed_on_for_a_revoked_certificate_is_refused() {
    let cluster = Cluster::start(1).await;
    let operator = cluster.client_as(Role::Operator("root".parse().unwrap()), PATIENCE);
    let until_s = 1_000_000;
    operator.revoke("client eve", until_s, Some([7; 32]), "lost").await.unwrap();
    let member = dial(&cluster, Role::Node(NonZeroU64::MIN), Alpn::Forward).await.unwrap();
    let command = KvCommand::Put { key: "k".into(), value: "v".into() }.encode();
    let put = Request::Propose { command: Envelope::sessionless(command).encode() };
    let (old, new) = (until_s, until_s + 1);
    let shown = |not_before_s, key| Some(CertificateId { not_before_s, key: [key; 32] });
    for (name, certificate, counts) in [
        ("eve", shown(old, 1), false),
        ("eve", shown(new, 7), false),
        ("eve", shown(new, 1), true),
        ("eve", None, false),
        ("web", shown(old, 7), true),
        ("web", None, true),
    ] {
        let role = Role::Client(name.parse().unwrap());
        let identity = Identity::new(cluster.authority.cluster(), role).to_uri();
        let passage = Passage::OnBehalf { identity, from: String::new(), certificate };
        match member.call_for(&put, &passage).await.unwrap() {
            Response::Applied { .. } => assert!(counts, "{name} {certificate:?}"),
            Response::Error(error) => {
                assert!(!counts && error.code == ErrorCode::Unauthorised, "{name}: {error:?}");
                assert!(error.message.contains("was revoked"), "{error:?}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_node_asks_for_nothing_but_on_behalf_of_others_and_only_as_a_member() {
    let cluster = Cluster::start(1).await;
    let name = || "eve".parse().unwrap();
    let node = |id| Role::Node(NonZeroU64::new(id).unwrap());
    let on_behalf = |authority: ClusterId, role: Role| Passage::OnBehalf {
        identity: Identity::new(authority, role).to_uri(),
        from: "192.0.2.1:7".into(),
        certificate: None,
    };
    let own = cluster.authority.cluster();
    let command = KvCommand::Put { key: "k".into(), value: "v".into() }.encode();
    let put = Request::Propose { command: Envelope::sessionless(command).encode() };
    let transfer = Request::Transfer { to: 1 };
    let member = dial(&cluster, node(1), Alpn::Forward).await.unwrap();
    let stranger = dial(&cluster, node(9), Alpn::Forward).await.unwrap();
    let client = dial(&cluster, Role::Client(name()), Alpn::Client).await.unwrap();

    let passed_on = member.call_for(&put, &on_behalf(own, Role::Client(name()))).await.unwrap();
    assert!(matches!(passed_on, Response::Applied { .. }), "{passed_on:?}");
    let foreign = ClusterId::generate().unwrap();
    let (identity, from) = ("root".to_owned(), String::new());
    let nobody = Passage::OnBehalf { identity, from, certificate: None };
    for (connection, request, passage, wanted) in [
        (&member, &put, Passage::Direct, "only passes on"),
        (&member, &Request::Status, Passage::Direct, "only passes on"),
        (&member, &Request::Status, on_behalf(own, Role::Operator(name())), "only passes on"),
        (&member, &put, on_behalf(own, Role::Reader(name())), "does not allow to change data"),
        (&member, &transfer, on_behalf(own, Role::Client(name())), "does not allow to hand"),
        (&member, &put, on_behalf(own, node(1)), "no node asks"),
        (&member, &put, on_behalf(foreign, Role::Operator(name())), "another cluster"),
        (&member, &put, nobody, "root"),
        (&stranger, &put, on_behalf(own, Role::Operator(name())), "no member"),
        (&client, &put, on_behalf(own, Role::Operator(name())), "only nodes"),
    ] {
        let Response::Error(error) = connection.call_for(request, &passage).await.unwrap() else {
            panic!("{request:?} {passage:?} is answered");
        };
        assert_eq!(error.code, ErrorCode::Unauthorised, "{passage:?}: {error:?}");
        assert!(error.message.contains(wanted), "{passage:?}: {}", error.message);
    }
    cluster.nodes[0].logged("a request was refused for its role").await;
    // What is passed on is noted with the address that it came from, and the node that says so.
    let mine = on_behalf(own, Role::Operator(name()));
    let refused = member.call_for(&Request::Transfer { to: 7 }, &mine).await.unwrap();
    assert!(matches!(refused, Response::Error(_)), "{refused:?}");
    let noted = audited(&cluster, "leader transfer node 7").await;
    assert_eq!((noted.who.as_str(), noted.node), ("operator eve", 1));
    assert_eq!(noted.from, "192.0.2.1:7 by way of node 1");
    assert!(matches!(noted.outcome, state_machine::Outcome::Refused { .. }), "{noted:?}");
    // Members tell what they have seen; strangers and clients do not, and operators for themselves.
    let note = state_machine::Act { what: "seen".into(), id: [3; 16], ..noted.clone() };
    let command = SystemCommand::Note(note.clone()).encode();
    let note = Request::Note { command };
    let told = member.call(&note).await.unwrap();
    assert!(matches!(told, Response::Applied { .. }), "{told:?}");
    assert_eq!(audited(&cluster, "seen").await.from, "192.0.2.1:7 by way of node 1");
    for connection in [&stranger, &client] {
        let Response::Error(error) = connection.call(&note).await.unwrap() else {
            panic!("a note of nobody is taken");
        };
        assert_eq!(error.code, ErrorCode::Unauthorised, "{error:?}");
    }
    cluster.client().note("certificate issued").await.unwrap();
    let noted = audited(&cluster, "certificate issued").await;
    assert_eq!(noted.who, "operator test");
    assert!(noted.from.starts_with("127.0.0.1:"), "{noted:?}");
    for (role, alpn) in [(node(1), Alpn::Client), (Role::Operator(name()), Alpn::Forward)] {
        let Err(error) = dial(&cluster, role, alpn).await else { panic!("{alpn:?} is open") };
        assert!(error.to_string().contains("may not use"), "{error}");
    }
}
