//! Many commands in a message, on real processes: each takes effect once, and in its order, whoever
//! dies meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use client::{Client, ClientError, ErrorCode, Session};
use fixtures::load::get;
use fixtures::{Cluster, PATIENCE};
use protocol::limits::{BATCH_ANSWER_BYTES_MAX, BATCH_COMMANDS_MAX};
use protocol::{Outcome, Passage, Request, Response};
use state_machine::{Envelope, KvCommand, KvResponse, SystemCommand};
use transport::Alpn;

use crate::identity::dial_at;
use crate::sessions::{increment, role, sum};

/// How many increments there are, in calls of so many, and how often the leader is killed.
const INCREMENTS: usize = 21_000;
const IN_A_CALL: usize = 700;
const KILLS: usize = 6;

fn put(key: &str, value: &str) -> Bytes {
    let (key, value) = (Bytes::from(key.to_owned()), Bytes::from(value.to_owned()));
    KvCommand::Put { key, value }.encode()
}

/// Increments so often, however long it takes to learn the outcomes, and returns what each command
/// was answered, in the order of the commands.
async fn increment_all(session: &Session, count: usize, unknown: &AtomicU64) -> Vec<u64> {
    let began = Instant::now();
    let mut sums = Vec::with_capacity(count);
    while sums.len() < count {
        assert!(began.elapsed() < 4 * PATIENCE, "no outcome");
        let commands = vec![increment("counter"); count - sums.len()];
        let mut lost = Vec::new();
        for ended in session.propose_all(commands).await {
            match ended {
                Ok(answer) if lost.is_empty() => sums.push(sum(&answer)),
                Err(ClientError::Unknown { sequence: Some(sequence), .. }) => lost.push(sequence),
                Err(
                    ClientError::NoLeader { .. }
                    | ClientError::Busy { .. }
                    | ClientError::Unreachable { .. }
                    | ClientError::Behind { .. },
                ) => {}
                other => panic!("behind {lost:?}: {other:?}"),
            }
        }
        while !lost.is_empty() {
            assert!(began.elapsed() < 4 * PATIENCE, "no outcome");
            unknown.fetch_add(1, Ordering::Relaxed);
            let mut left = Vec::new();
            for (sequence, ended) in session.outcomes(lost).await {
                match ended {
                    Ok(answer) => sums.push(sum(&answer)),
                    Err(ClientError::Unknown { .. }) => left.push(sequence),
                    Err(error) => panic!("{error}"),
                }
            }
            lost = left;
        }
    }
    sums
}

#[tokio::test]
async fn batches_through_kills_of_the_leader_take_effect_once_and_in_order() {
    let mut cluster = Cluster::start(3).await;
    let client = cluster.client_as(role("counting"), Duration::from_secs(5));
    let session = client.session("counting").await.unwrap();
    let answered = Arc::new(AtomicU64::new(0));
    let worker = {
        let (session, answered) = (session.clone(), Arc::clone(&answered));
        tokio::spawn(async move {
            let (mut sums, unknown) = (Vec::new(), AtomicU64::new(0));
            while sums.len() < INCREMENTS {
                sums.extend(increment_all(&session, IN_A_CALL, &unknown).await);
                answered.store(sums.len() as u64, Ordering::Relaxed);
            }
            sums
        })
    };
    for kill in 1..=KILLS {
        let goal = (kill * INCREMENTS / (KILLS + 1)) as u64;
        let began = Instant::now();
        while answered.load(Ordering::Relaxed) < goal {
            assert!(began.elapsed() < 2 * PATIENCE, "{:#?}", cluster.statuses(&client).await);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let leader = cluster.leader().await;
        cluster.nodes[leader].kill();
        cluster.nodes[leader].start();
    }
    let sums = worker.await.unwrap();
    let expected: Vec<u64> = (1..=INCREMENTS as u64).collect();
    assert_eq!(sums, expected, "each once, and each behind the one before it");
    let counter = get(&client, "counter").await.unwrap();
    assert_eq!(counter.as_deref(), Some(INCREMENTS.to_string().as_str()));
    assert!(session.unanswered().is_empty());
    session.close().await.unwrap();
    cluster.converged().await;
}

/// Asks one node, which is to pass it on if it does not lead.
async fn send(cluster: &Cluster, node: usize, commands: Vec<Bytes>) -> Response {
    let connection = dial_at(cluster, node, role("web"), Alpn::Client).await.unwrap();
    let passage = Passage::MayForward { within_ms: 20_000 };
    connection.call_for(&Request::Batch { commands }, &passage).await.unwrap()
}

fn sessionless(bodies: impl IntoIterator<Item = Bytes>) -> Vec<Bytes> {
    bodies.into_iter().map(|body| Envelope::sessionless(body).encode()).collect()
}

#[tokio::test]
async fn a_batch_stands_in_the_log_in_its_order_whichever_node_is_asked() {
    let cluster = Cluster::start(3).await;
    cluster.converged().await;
    let leader = cluster.leader().await;
    for node in 0..3 {
        let commands = sessionless((0..BATCH_COMMANDS_MAX).map(|_| increment(&format!("n{node}"))));
        let response = send(&cluster, node, commands).await;
        let Response::Batch { outcomes } = response else {
            panic!("{node} {leader}: {response:?}")
        };
        let applied: Vec<_> = outcomes.into_iter().map(Result::unwrap).collect();
        assert_eq!(applied.len(), BATCH_COMMANDS_MAX);
        for (place, pair) in applied.windows(2).enumerate() {
            assert!(pair[0].index < pair[1].index, "{node}: {place}");
        }
    }
    let client: Client = cluster.client();
    let answers = client.propose_all((0..1_500).map(|_| increment("all")).collect()).await;
    let sums: Vec<u64> = answers.iter().map(|answer| sum(answer.as_ref().unwrap())).collect();
    assert_eq!(sums, (1..=1_500).collect::<Vec<u64>>());
}

#[tokio::test]
async fn a_batch_is_refused_as_a_whole_for_what_does_not_belong_into_it() {
    let cluster = Cluster::start(1).await;
    let reserve =
        Envelope::system(&SystemCommand::ReserveId { name: "n9".into(), above: 0 }).encode();
    let mut commands = sessionless([put("k", "v")]);
    commands.push(reserve);
    let large = sessionless([put("k", "v"), Bytes::from(vec![0; 1_100_000])]);
    let foreign = {
        let client = cluster.client_as(role("other"), PATIENCE);
        let session = client.session("other").await.unwrap();
        let stolen = Envelope::in_session(session.id(), 1, 0, put("k", "v")).encode();
        [sessionless([put("k", "v")]), vec![stolen]].concat()
    };
    for (commands, code) in [
        (commands, ErrorCode::BadRequest),
        (large, ErrorCode::TooLarge),
        (foreign, ErrorCode::Unauthorised),
    ] {
        let response = send(&cluster, 0, commands).await;
        let Response::Error(refusal) = &response else { panic!("{code:?}: {response:?}") };
        assert_eq!((refusal.code, refusal.outcome), (code, Outcome::NotApplied));
    }
    assert_eq!(get(&cluster.client(), "k").await.unwrap(), None, "nothing of them was done");
}

/// What a machine answers may be longer than what it is asked.
#[tokio::test]
async fn answers_that_are_too_long_for_a_message_are_had_one_after_the_other_in_a_session() {
    const VALUE_BYTES: usize = 60 * 1024;
    let cluster = Cluster::start(1).await;
    let client = cluster.client_as(role("web"), PATIENCE);
    let session = client.session("web").await.unwrap();
    session.propose(put("large", &"x".repeat(VALUE_BYTES))).await.unwrap();
    // It differs, and the answer tells the present value.
    let swap = |place: usize| {
        let (key, expected) = (Bytes::from_static(b"large"), Some(Bytes::from_static(b"other")));
        let new = Some(Bytes::from(place.to_string()));
        KvCommand::CompareAndSwap { key, expected, new }.encode()
    };
    let count = 2 * BATCH_ANSWER_BYTES_MAX / VALUE_BYTES;
    let answers = session.propose_all((0..count).map(swap).collect()).await;
    assert_eq!(answers.len(), count);
    let mut last = 0;
    for answer in answers {
        let answer = answer.unwrap();
        assert!(answer.index > last, "{} behind {last}", answer.index);
        last = answer.index;
        let response = KvResponse::decode(&answer.response).unwrap();
        assert!(matches!(response, KvResponse::Differs { .. }), "{response:?}");
    }
}
