//! What a client may make a node keep: commands that wait for their end, the room of requests, and
//! answers that are not taken.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use certs::{Expect, Role};
use protocol::limits::{BATCH_COMMANDS_MAX, REQUESTS_IN_FLIGHT_MAX};
use protocol::{Passage, Request, Response};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, ConnectionError, TransportConfig};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use transport::ClientRequest;

use crate::forward::{Node, World, asks, put};

const PATIENCE: Duration = Duration::from_secs(60);

async fn next(requests: &mut mpsc::Receiver<ClientRequest>) -> ClientRequest {
    timeout(PATIENCE, requests.recv()).await.unwrap().unwrap()
}

#[tokio::test]
async fn each_command_of_a_batch_counts_as_a_request_until_the_batch_is_answered() {
    let world = World::new();
    let (node, mut requests) = world.listens(1);
    let client = Arc::new(world.client(&node).await);
    let mut asking = JoinSet::new();
    let ask = |request: Request| {
        let client = Arc::clone(&client);
        async move { client.call(&request).await }
    };
    let commands = vec![Bytes::from_static(b"put"); BATCH_COMMANDS_MAX];
    let mut kept = Vec::new();
    for _ in 0..REQUESTS_IN_FLIGHT_MAX / BATCH_COMMANDS_MAX {
        asking.spawn(ask(Request::Batch { commands: commands.clone() }));
        kept.push(next(&mut requests).await);
    }
    asking.spawn(ask(put()));
    // Beside it, another client comes and is served: what would be read, has been.
    let other = world.client_called("ann", &node).await;
    for _ in 0..20 {
        let answers = async {
            let asked = next(&mut requests).await;
            assert_eq!(asked.request, Request::Status, "no more than the batches is taken");
            asked.responder.send(Response::Done);
        };
        tokio::join!(asks(&other, &Request::Status, &Passage::Direct), answers);
    }
    drop(kept.pop());
    assert_eq!(next(&mut requests).await.request, put(), "one batch has its answer");
}

/// As many readers as it has connections would have taken the places of all others.
#[tokio::test]
async fn connections_of_one_certificate_share_its_requests_and_status_is_answered_beside_them() {
    let world = World::new();
    let (node, mut requests) = world.listens(1);
    let first = Arc::new(world.client(&node).await);
    let batch = || Request::Batch { commands: vec![Bytes::new(); BATCH_COMMANDS_MAX] };
    let mut asking = JoinSet::new();
    let mut kept = Vec::new();
    for _ in 0..REQUESTS_IN_FLIGHT_MAX / BATCH_COMMANDS_MAX {
        let client = Arc::clone(&first);
        asking.spawn(async move { client.call(&batch()).await });
        kept.push(next(&mut requests).await);
    }
    let second = world.client(&node).await;
    let answers = async {
        let asked = next(&mut requests).await;
        assert_eq!(asked.request, Request::Status);
        asked.responder.send(Response::Done);
    };
    tokio::join!(asks(&second, &Request::Status, &Passage::Direct), answers);
    asking.spawn(async move { second.call(&put()).await });
    // Another certificate is served beside them.
    let other = Arc::new(world.client_called("ann", &node).await);
    for _ in 0..20 {
        let client = Arc::clone(&other);
        asking.spawn(async move { client.call(&Request::Status).await });
        let asked = next(&mut requests).await;
        assert_eq!(asked.request, Request::Status, "the second connection has a place");
        asked.responder.send(Response::Done);
    }
    drop(kept.pop());
    assert_eq!(next(&mut requests).await.request, put(), "one batch has its answer");
}

#[tokio::test]
async fn a_request_takes_its_room_until_it_is_answered() {
    let world = World::new();
    let (node, mut requests) = world.listens(1);
    let client = world.client(&node).await;
    let command = Bytes::from(vec![0; 512 * 1024]);
    let bytes = command.len();
    let came = || node.seats.kept().iter().map(|(_, came, _)| came).sum::<usize>();
    let (request, applied) =
        (Request::Propose { command }, Response::Applied { index: 1, response: Bytes::new() });
    let answers = async {
        let asked = next(&mut requests).await;
        assert!(came() >= bytes, "{} of {bytes} are kept", came());
        asked.responder.send(applied.clone());
    };
    let (answer, ()) = tokio::join!(asks(&client, &request, &Passage::Direct), answers);
    assert_eq!(answer, applied);
    let is_free = async {
        while came() > 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, is_free).await.unwrap();
}

/// A client that lets nothing but the greeting through, and reads no answer.
async fn deaf_client(world: &World, node: &Node) -> (quinn::Endpoint, Connection) {
    let credentials = world.credentials(Role::Client("eve".parse().unwrap()));
    let tls = credentials.client_config(Expect::AnyNode, &[b"raft-client/1"]).unwrap();
    let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
    let mut transport = TransportConfig::default();
    transport.stream_receive_window(1_024_u32.into());
    transport.keep_alive_interval(Some(Duration::from_millis(500)));
    config.transport_config(Arc::new(transport));
    let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = node.address.parse().unwrap();
    let connection = endpoint.connect_with(config, address, certs::SERVER_NAME).unwrap();
    let connection = connection.await.unwrap();
    let (mut send, mut receive) = connection.open_bi().await.unwrap();
    send.write_all(&world.hello(None).encode()).await.unwrap();
    receive.read_exact(&mut [0; 12]).await.unwrap();
    (endpoint, connection)
}

#[tokio::test]
async fn a_client_that_takes_no_answers_is_sent_away_and_told_why() {
    let world = World::new();
    let (node, mut requests) = world.listens(1);
    let (_endpoint, connection) = deaf_client(&world, &node).await;
    let (mut send, _receive) = connection.open_bi().await.unwrap();
    send.write_all(&put().encode(1).unwrap()).await.unwrap();
    let asked = next(&mut requests).await;
    let response = Bytes::from(vec![0; 1024 * 1024]);
    asked.responder.send(Response::Applied { index: 1, response });
    crate::hasten();
    let ended = timeout(PATIENCE, connection.closed()).await.unwrap();
    let ConnectionError::ApplicationClosed(close) = ended else { panic!("{ended}") };
    assert_eq!(close.reason, b"it has taken no answer for 30s"[..]);
}
