//! Sessions on real processes: a command takes effect exactly once, whoever dies meanwhile (§6.3).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use certs::Role;
use client::{Answer, Client, ClientError, Consistency, ErrorCode, Session};
use consensus::{NodeId, RoleKind};
use fixtures::load::get;
use fixtures::{Cluster, PATIENCE, Relay};
use protocol::{LogDetail, Outcome, Passage, Request, Response};
use rustix::process::Signal;
use state_machine::{
    Envelope, KvCommand, KvQuery, KvResponse, Owner, SystemAnswer, SystemCommand, SystemQuery,
    SystemResponse,
};
use transport::Alpn;

use crate::identity::dial_at;

/// How often the counter is incremented, and how often its leader is killed meanwhile.
const INCREMENTS: u64 = 2_000;
const KILLS: u64 = 10;

/// How many increments are under way at a time.
const AT_A_TIME: u64 = 16;

pub(crate) fn increment(key: &str) -> Bytes {
    KvCommand::Increment { key: Bytes::copy_from_slice(key.as_bytes()), delta: 1 }.encode()
}

pub(crate) fn sum(answer: &Answer) -> u64 {
    match KvResponse::decode(&answer.response).unwrap() {
        KvResponse::Value { value, .. } => std::str::from_utf8(&value).unwrap().parse().unwrap(),
        other => panic!("{other:?}"),
    }
}

pub(crate) fn role(name: &str) -> Role {
    Role::Client(name.parse().unwrap())
}

/// Increments, however long it takes to learn the outcome.
async fn increment_once(session: &Session, unknown: &AtomicU64) -> u64 {
    let began = Instant::now();
    let mut ended = session.propose(increment("counter")).await;
    loop {
        let sequence = match ended {
            Ok(answer) => return sum(&answer),
            Err(ClientError::Unknown { sequence: Some(sequence), .. }) => Some(sequence),
            Err(
                ClientError::NoLeader { .. }
                | ClientError::Busy { .. }
                | ClientError::Unreachable { .. },
            ) => None,
            Err(error) => panic!("{error}"),
        };
        assert!(began.elapsed() < 4 * PATIENCE, "no outcome");
        ended = match sequence {
            Some(sequence) => {
                unknown.fetch_add(1, Ordering::Relaxed);
                session.outcome(sequence).await
            }
            None => session.propose(increment("counter")).await,
        };
    }
}

#[tokio::test]
async fn increments_through_ten_kills_of_the_leader_count_to_exactly_their_number() {
    let mut cluster = Cluster::start(3).await;
    let client = cluster.client_as(role("counting"), Duration::from_secs(5));
    let session = client.session("counting").await.unwrap();
    let (left, answered) = (Arc::new(AtomicU64::new(INCREMENTS)), Arc::new(AtomicU64::new(0)));
    let unknown = Arc::new(AtomicU64::new(0));
    let workers: Vec<_> = (0..AT_A_TIME)
        .map(|_| {
            let (session, left) = (session.clone(), Arc::clone(&left));
            let (answered, unknown) = (Arc::clone(&answered), Arc::clone(&unknown));
            tokio::spawn(async move {
                let mut sums = Vec::new();
                let take = |left: u64| left.checked_sub(1);
                while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok() {
                    sums.push(increment_once(&session, &unknown).await);
                    answered.fetch_add(1, Ordering::Relaxed);
                }
                sums
            })
        })
        .collect();
    for kill in 1..=KILLS {
        let goal = kill * INCREMENTS / (KILLS + 1);
        let began = Instant::now();
        while answered.load(Ordering::Relaxed) < goal {
            assert!(began.elapsed() < 2 * PATIENCE, "{:#?}", cluster.statuses(&client).await);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let leader = cluster.leader().await;
        cluster.nodes[leader].kill();
        cluster.nodes[leader].start();
    }
    let mut sums = BTreeSet::new();
    for worker in workers {
        sums.extend(worker.await.unwrap());
    }
    assert_eq!(sums, (1..=INCREMENTS).collect(), "each answer is that of one increment");
    let counter = get(&client, "counter").await.unwrap();
    assert_eq!(counter.as_deref(), Some(INCREMENTS.to_string().as_str()));
    assert!(session.unanswered().is_empty());
    session.close().await.unwrap();
    cluster.converged().await;
}

#[tokio::test]
async fn a_session_survives_the_restart_of_all_nodes_and_ends_when_it_is_closed() {
    let mut cluster = Cluster::start(3).await;
    let client = cluster.client_as(role("web"), Duration::from_secs(20));
    let session = client.session("web").await.unwrap();
    assert_eq!(sum(&session.propose(increment("n")).await.unwrap()), 1);
    for node in &mut cluster.nodes {
        node.kill();
    }
    for node in &mut cluster.nodes {
        node.start();
    }
    assert_eq!(sum(&session.propose(increment("n")).await.unwrap()), 2);
    assert_eq!(listed(&client).await, [(session.id(), "web".to_owned())]);
    let query = SystemQuery::Session { session: session.id() };
    let SystemAnswer::Session { found: Some(found), .. } =
        client.system(&query, Consistency::Linearizable).await.unwrap()
    else {
        panic!("no such session");
    };
    assert_eq!((found.session.low_water, found.session.highest), (2, 2));
    assert_eq!(found.cached.iter().map(|cached| cached.sequence).collect::<Vec<_>>(), [2]);

    let copy = session.clone();
    session.close().await.unwrap();
    assert_eq!(listed(&client).await, []);
    let expired = copy.propose(increment("n")).await.unwrap_err();
    assert!(matches!(expired, ClientError::SessionExpired { .. }), "{expired}");
    assert_eq!(get(&client, "n").await.unwrap().as_deref(), Some("2"));
    let nothing = copy.outcome(7).await.unwrap_err();
    assert!(matches!(nothing, ClientError::NotWaiting { sequence: 7 }), "{nothing}");
}

async fn listed(client: &Client) -> Vec<(u64, String)> {
    let query = SystemQuery::Sessions { after: 0, limit: 10 };
    match client.system(&query, Consistency::Linearizable).await.unwrap() {
        SystemAnswer::Sessions { items, .. } => {
            items.into_iter().map(|(id, session)| (id, session.name)).collect()
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_outcome_that_was_unknown_is_found_out_later_and_is_final() {
    let mut cluster = Cluster::start(3).await;
    let client = cluster.client_as(role("patient"), Duration::from_secs(2));
    let session = client.session("patient").await.unwrap();
    let leader = cluster.leader().await;
    // The leader alone takes the command and cannot commit it.
    let others: Vec<usize> = (0..3).filter(|place| *place != leader).collect();
    for place in &others {
        cluster.nodes[*place].kill();
    }
    let sequence = match session.propose(increment("n")).await {
        Err(ClientError::Unknown { sequence: Some(sequence), .. }) => sequence,
        other => panic!("{other:?}"),
    };
    assert_eq!(session.unanswered(), [sequence]);
    for place in &others {
        cluster.nodes[*place].start();
    }
    cluster.leader().await;
    assert_eq!(sum(&session.outcome(sequence).await.unwrap()), 1);
    assert!(session.unanswered().is_empty());
    assert_eq!(sum(&session.propose(increment("n")).await.unwrap()), 2);
    assert_eq!(get(&client, "n").await.unwrap().as_deref(), Some("2"));
}

#[tokio::test]
async fn an_id_is_reserved_once_a_name_and_by_operators_only() {
    let cluster = Cluster::start(1).await;
    let operator = cluster.client();
    let id = |id| NodeId::new(id).unwrap();
    assert_eq!(operator.reserve_id("n2", 0).await.unwrap(), id(2));
    assert_eq!(operator.reserve_id("n3", 0).await.unwrap(), id(3));
    assert_eq!(operator.reserve_id("n2", 0).await.unwrap(), id(2), "its own");
    match operator.reserve_id("n1", 0).await.unwrap_err() {
        ClientError::Refused(reply) => assert_eq!(reply.message, "node 1 is called n1 already"),
        other => panic!("{other:?}"),
    }
    let client = cluster.client_as(role("web"), Duration::from_secs(5));
    match client.reserve_id("n4", 0).await.unwrap_err() {
        ClientError::Refused(reply) => assert_eq!(reply.code, ErrorCode::Unauthorised),
        other => panic!("{other:?}"),
    }
    let history = client.system(&SystemQuery::History, Consistency::Linearizable).await.unwrap();
    let SystemAnswer::History(history) = history else { panic!("{history:?}") };
    assert_eq!(history.len(), 1);
    assert_eq!(history[0].id.index.get(), 1, "the first configuration");
}

#[tokio::test]
async fn a_client_outlives_the_only_node_that_it_was_told_of() {
    let mut cluster = Cluster::start(3).await;
    let told = vec![cluster.nodes[0].address.clone()];
    let config = cluster.client_config(role("web"), Duration::from_secs(10), told);
    let client = Client::new(config).unwrap();
    let session = client.session("web").await.unwrap();
    let (began, mut count) = (Instant::now(), 0);
    while began.elapsed() < Duration::from_millis(1_500) {
        count += 1;
        assert_eq!(sum(&session.propose(increment("n")).await.unwrap()), count);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    cluster.nodes[0].kill();
    assert_eq!(sum(&session.propose(increment("n")).await.unwrap()), count + 1);
}

/// Runs a program that has no runtime, in a thread of its own.
async fn script<T: Send + 'static>(
    cluster: &Cluster,
    program: impl FnOnce(client::blocking::Client) -> T + Send + 'static,
) -> T {
    let told = vec![cluster.nodes[0].address.clone()];
    let config = cluster.client_config(role("script"), Duration::from_secs(10), told);
    let run = move || program(client::blocking::Client::new(config).unwrap());
    let script = std::thread::spawn(run);
    tokio::task::spawn_blocking(|| script.join()).await.unwrap().unwrap()
}

#[tokio::test]
async fn a_program_without_a_runtime_has_the_same_sessions() {
    let cluster = Cluster::start(1).await;
    let sums = script(&cluster, |client| {
        let session = client.session("script").unwrap();
        let sums = [1, 2, 3].map(|_| sum(&session.propose(increment("n")).unwrap()));
        session.close().unwrap();
        client.close();
        sums
    });
    assert_eq!(sums.await, [1, 2, 3]);
}

#[tokio::test]
async fn a_program_without_a_runtime_writes_and_reads_without_a_session() {
    let cluster = Cluster::start(3).await;
    let seen = script(&cluster, |client| {
        let written = client.propose(increment("n")).unwrap();
        assert_eq!(sum(&written), 1);
        let query = KvQuery::Get { key: Bytes::from_static(b"n") }.encode();
        let latest = client.query(query.clone(), Consistency::Linearizable).unwrap();
        // What it has written is there, whichever node answers.
        let own = Consistency::AtLeast(written.index);
        let own = client.query(query, own).unwrap();
        client.close();
        assert!(latest.index >= written.index && own.index >= written.index);
        [latest, own].map(|answer| sum(&answer))
    });
    assert_eq!(seen.await, [1, 1]);
    let after = get(&cluster.client(), "n").await.unwrap();
    assert_eq!(after.as_deref(), Some("1"), "once");
}

/// Returns how often a key is put by the log of the first node.
async fn times_in_the_log(cluster: &Cluster, key: &str) -> usize {
    let operator =
        cluster.client_as(Role::Operator("root".parse().unwrap()), Duration::from_secs(20));
    let page = operator.read_log(None, 1, 1_000, LogDetail::Commands).await.unwrap();
    let texts = page.entries.iter().filter_map(|entry| entry.text.as_deref());
    texts.filter(|text| text.contains(key)).count()
}

/// Each attempt was one more copy in the log, while that was slow.
#[tokio::test]
async fn a_command_that_is_under_way_is_not_put_into_the_log_again() {
    let cluster = Cluster::start(3).await;
    let client = cluster.client_as(role("web"), Duration::from_secs(20));
    let session = client.session("web").await.unwrap();
    let leader = cluster.leader().await;
    let followers: Vec<&fixtures::Node> =
        (0..3).filter(|place| *place != leader).map(|place| &cluster.nodes[place]).collect();
    let ways = [
        dial_at(&cluster, leader, role("web"), Alpn::Client).await.unwrap(),
        dial_at(&cluster, leader, role("web"), Alpn::Client).await.unwrap(),
    ];
    followers.iter().for_each(|node| node.signal(Signal::STOP));
    let command =
        |sequence| Envelope::in_session(session.id(), sequence, 1, increment("n")).encode();
    let alone = Request::Propose { command: command(1) };
    let together = Request::Batch { commands: vec![command(1), command(2)] };
    let asking = async {
        let ask = |way: usize, request: &Request, after_ms| {
            let (way, request) = (&ways[way], request.clone());
            async move {
                tokio::time::sleep(Duration::from_millis(after_ms)).await;
                way.call_for(&request, &Passage::Direct).await.unwrap()
            }
        };
        tokio::join!(ask(0, &alone, 0), ask(1, &alone, 100), ask(0, &together, 200))
    };
    let waking = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        followers.iter().for_each(|node| node.signal(Signal::CONT));
    };
    let ((first, second, last), ()) = tokio::join!(asking, waking);
    for earlier in [first, second] {
        let Response::Error(error) = earlier else { panic!("{earlier:?}") };
        assert_eq!((error.code, error.outcome), (ErrorCode::Abandoned, Outcome::Unknown));
    }
    let Response::Batch { outcomes } = last else { panic!("{last:?}") };
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    let operator = cluster.client();
    assert_eq!(get(&operator, "n").await.unwrap().as_deref(), Some("2"));
    assert_eq!(times_in_the_log(&cluster, "increment n").await, 2, "each once");
}

/// It waited behind the first attempt, at a node that could not know any more what became of that.
#[tokio::test]
async fn who_leads_no_more_keeps_no_command_that_is_sent_again() {
    let cluster = Cluster::start(3).await;
    let client = cluster.client_as(role("web"), Duration::from_secs(20));
    let session = client.session("web").await.unwrap();
    let leader = cluster.leader().await;
    let way = dial_at(&cluster, leader, role("web"), Alpn::Client).await.unwrap();
    let others = || (0..3).filter(|place| *place != leader).map(|place| &cluster.nodes[place]);
    others().for_each(|node| node.signal(Signal::STOP));
    let command = Envelope::in_session(session.id(), 1, 1, increment("n")).encode();
    let request = Request::Propose { command };
    let again = async {
        while cluster.answer_of(&cluster.nodes[leader]).await.role == RoleKind::Leader {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let answer = way.call_for(&request, &Passage::Direct);
        let answer = tokio::time::timeout(Duration::from_secs(5), answer).await;
        others().for_each(|node| node.signal(Signal::CONT));
        answer
    };
    let (first, again) = tokio::join!(way.call_for(&request, &Passage::Direct), again);
    let Response::Error(error) = again.expect("it is answered at once").unwrap() else {
        panic!("nobody leads")
    };
    assert_eq!((error.code, error.outcome), (ErrorCode::NoLeader, Outcome::NotApplied));
    // Whatever has become of the first attempt, nothing is counted twice.
    drop(first);
    assert_eq!(sum(&session.propose(increment("n")).await.unwrap()), 1);
}

/// An attempt ended behind five seconds, and the next one sent everything again.
#[tokio::test]
async fn a_command_that_takes_long_on_its_way_arrives() {
    let cluster = Cluster::start(1).await;
    let relay = Relay::to(&cluster.nodes[0].address);
    let deadline = Duration::from_secs(60);
    let mut config = cluster.client_config(role("far"), deadline, vec![relay.address.clone()]);
    config.connect_timeout = deadline;
    let client = Client::new(config).unwrap();
    relay.slow_down(120_000);
    let session = client.session("far").await.unwrap();
    let value = Bytes::from(vec![b'x'; 900_000]);
    let put = KvCommand::Put { key: Bytes::from_static(b"far"), value };
    session.propose(put.encode()).await.unwrap();
    assert!(times_in_the_log(&cluster, "put far").await <= 2);
}

/// Proposes with the certificate of a client called eve, at the leader or by way of a follower, and
/// returns the answer of the system's part; `None` if the command was refused before.
async fn as_eve(cluster: &Cluster, place: usize, envelope: &Envelope) -> Option<SystemResponse> {
    let alpn = Alpn::Client;
    let connection = dial_at(cluster, place, role("eve"), alpn).await.unwrap();
    let request = Request::Propose { command: envelope.encode() };
    match connection.call_for(&request, &Passage::Direct).await.unwrap() {
        Response::Applied { response, .. } => Some(SystemResponse::decode(&response).unwrap()),
        Response::Error(error) => {
            assert_eq!(error.code, ErrorCode::Unauthorised, "{error:?}");
            None
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_session_is_out_of_reach_for_every_other_certificate() {
    let cluster = Cluster::start(3).await;
    let client = cluster.client_as(role("victim"), Duration::from_secs(20));
    let session = client.session("web").await.unwrap();
    assert_eq!(sum(&session.propose(increment("n")).await.unwrap()), 1);
    let leader = cluster.leader().await;
    let id = session.id();
    let victim = Owner { name: "client victim".into(), is_operator: true };
    let write = Envelope::in_session(id, 2, 3, increment("stolen"));
    let close = Envelope::system(&SystemCommand::CloseSession { session: id });
    for envelope in [write, close] {
        // Whatever it says of its owner.
        for owner in [Owner::default(), victim.clone()] {
            let envelope = Envelope { owner, ..envelope.clone() };
            match as_eve(&cluster, leader, &envelope).await {
                None | Some(SystemResponse::Closed | SystemResponse::SessionExpired { .. }) => {}
                Some(other) => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(sum(&session.propose(increment("n")).await.unwrap()), 2, "applied, and so answered");
    assert_eq!(get(&client, "stolen").await.unwrap(), None);
    assert_eq!(get(&client, "n").await.unwrap().as_deref(), Some("2"));

    // Others don't see that it is there; an operator does, and may close it.
    assert_eq!(listed(&client).await, [(id, "web".to_owned())]);
    let eve = cluster.client_as(role("eve"), Duration::from_secs(20));
    let reader = cluster.client_as(Role::Reader("eve".parse().unwrap()), Duration::from_secs(20));
    let query = SystemQuery::Session { session: id };
    for other in [&eve, &reader] {
        assert_eq!(listed(other).await, []);
        let found = other.system(&query, Consistency::Linearizable).await.unwrap();
        assert!(matches!(found, SystemAnswer::Session { found: None, .. }), "{found:?}");
    }
    let operator =
        cluster.client_as(Role::Operator("root".parse().unwrap()), Duration::from_secs(20));
    assert_eq!(listed(&operator).await, [(id, "web".to_owned())]);
    let connection =
        dial_at(&cluster, leader, Role::Operator("root".parse().unwrap()), Alpn::Client)
            .await
            .unwrap();
    let close = Envelope::system(&SystemCommand::CloseSession { session: id });
    let request = Request::Propose { command: close.encode() };
    let closed = connection.call_for(&request, &Passage::Direct).await.unwrap();
    let Response::Applied { response, .. } = closed else { panic!("{closed:?}") };
    let ended = SystemResponse::decode(&response).unwrap();
    assert!(matches!(ended, SystemResponse::Ended { highest: 2, .. }), "{ended:?}");
}
