//! Requests that a follower passes on: whose they are, what comes back, and what is certain.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use certs::{Authority, ClusterId, Expect, Identity, Role};
use consensus::{Incarnation, NodeId};
use protocol::{
    Consistency, ErrorCode, ErrorReply, Generation, Hello, LeaderHint, Outcome, PROTOCOL_VERSION,
    Passage, Request, Response,
};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout};
use transport::limits::FORWARD_BYTES_MAX;
use transport::{
    Alpn, ClientConnection, ClientRequest, Endpoint, Forwarder, Seats, Trail, serve_client,
};

const PATIENCE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);
const FOR_LONG: Passage = Passage::MayForward { within_ms: 60_000 };

pub(crate) struct World {
    pub(crate) authority: Authority,
}

/// A node that answers in one way.
pub(crate) struct Node {
    pub(crate) address: String,
    asked: Arc<AtomicUsize>,
    endpoint: Endpoint,
    pub(crate) seats: Seats,
}

impl World {
    pub(crate) fn new() -> Self {
        Self { authority: Authority::create(ClusterId::generate().unwrap(), DAY).unwrap() }
    }

    pub(crate) fn hello(&self, node: Option<u64>) -> Hello {
        Hello {
            protocol: PROTOCOL_VERSION,
            cluster: self.authority.cluster().to_bytes(),
            generation: node.map(|_| Generation::from_slice(&[7; 32]).unwrap()),
            node: node.and_then(NodeId::new),
            incarnation: Incarnation::default(),
            boot: 0,
            software: "test".into(),
            lease: None,
            promises: protocol::Promises::default(),
        }
    }

    pub(crate) fn credentials(&self, role: Role) -> certs::Credentials {
        let identity = Identity::new(self.authority.cluster(), role);
        self.authority.issue(&identity, DAY).unwrap().credentials().unwrap()
    }

    /// Starts a node; `answer` may keep a request without an answer.
    fn node(
        &self,
        number: u64,
        answer: impl Fn(&ClientRequest) -> Option<Response> + Send + 'static,
    ) -> Node {
        let (node, mut requests) = self.listens(number);
        let counted = Arc::clone(&node.asked);
        tokio::spawn(async move {
            let mut kept = Vec::new();
            while let Some(request) = requests.recv().await {
                counted.fetch_add(1, Ordering::Relaxed);
                match answer(&request) {
                    Some(response) => request.responder.send(response),
                    None => kept.push(request),
                }
            }
        });
        node
    }

    /// Starts a node whose requests are answered by the test.
    pub(crate) fn listens(&self, number: u64) -> (Node, mpsc::Receiver<ClientRequest>) {
        let role = Role::Node(number.try_into().unwrap());
        let bind = "127.0.0.1:0".parse().unwrap();
        let endpoint = Endpoint::server(bind, &self.credentials(role)).unwrap();
        let address = endpoint.local_addr().unwrap().to_string();
        let (says, said) = watch::channel(self.hello(Some(number)));
        let forwarder = Forwarder::new(endpoint.clone(), said);
        let (sender, requests) = mpsc::channel(64);
        let (listener, seats) = (endpoint.clone(), crate::places());
        let places = seats.clone();
        tokio::spawn(async move {
            while let Some(incoming) = listener.accept().await {
                let Ok(accepted) = incoming.finish(&places).await else { continue };
                let (hello, to) = (says.borrow().clone(), (sender.clone(), forwarder.clone()));
                tokio::spawn(serve_client(accepted, hello, to));
            }
        });
        let asked = Arc::new(AtomicUsize::new(0));
        (Node { address, asked, endpoint, seats }, requests)
    }

    /// A client of a node.
    pub(crate) async fn client(&self, node: &Node) -> ClientConnection {
        self.client_called("eve", node).await
    }

    pub(crate) async fn client_called(&self, name: &str, node: &Node) -> ClientConnection {
        let credentials = self.credentials(Role::Client(name.parse().unwrap()));
        let (endpoint, hello) = (Endpoint::client(&credentials).unwrap(), self.hello(None));
        let (trail, how) = (Trail::new(&node.address), (Alpn::Client, Expect::AnyNode));
        ClientConnection::connect(&endpoint, &trail, how, &hello, PATIENCE).await.unwrap()
    }
}

/// A refusal that names another node as the leader.
fn follows(number: u64, address: &str) -> Response {
    let leader = LeaderHint { id: number, name: format!("n{number}"), address: address.into() };
    Response::Error(ErrorReply {
        code: ErrorCode::NotLeader,
        message: format!("node {number} leads"),
        leader: Some(leader),
        outcome: Outcome::NotApplied,
    })
}

pub(crate) fn put() -> Request {
    Request::Propose { command: Bytes::from_static(b"put") }
}

pub(crate) async fn asks(
    client: &ClientConnection,
    request: &Request,
    passage: &Passage,
) -> Response {
    timeout(PATIENCE, client.call_for(request, passage)).await.unwrap().unwrap()
}

async fn refused(client: &ClientConnection, passage: &Passage) -> ErrorReply {
    match asks(client, &put(), passage).await {
        Response::Error(error) => error,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_leader_answers_through_a_follower_and_knows_whom() {
    let world = World::new();
    let leader = world.node(1, |ask| {
        assert_eq!(
            (ask.via.map(NodeId::get), ask.identity.role.kind().word()),
            (Some(2), "client")
        );
        Some(Response::Applied { index: 9, response: Bytes::from_static(b"eve") })
    });
    let address = leader.address.clone();
    let follower = world.node(2, move |ask| {
        assert_eq!(ask.via, None);
        Some(follows(1, &address))
    });
    let client = world.client(&follower).await;
    let applied = Response::Applied { index: 9, response: Bytes::from_static(b"eve") };
    for _ in 0..3 {
        assert_eq!(asks(&client, &put(), &FOR_LONG).await, applied);
    }
    // Who does not ask for it is told who leads; so is who asks a question.
    let named = follows(1, &leader.address);
    assert_eq!(asks(&client, &put(), &Passage::Direct).await, named);
    let query = Request::Query { query: Bytes::new(), consistency: Consistency::Linearizable };
    assert_eq!(asks(&client, &query, &FOR_LONG).await, named);
    assert_eq!(leader.asked.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn a_leader_that_is_not_there_is_a_certain_refusal_that_says_why() {
    let world = World::new();
    let leader = world.node(1, |_| None);
    let address = leader.address.clone();
    leader.endpoint.close("gone").await;
    drop(leader);
    let (other, shown) = (world.node(3, |_| None), address.clone());
    let wrong = other.address.clone();
    let follower = world.node(2, move |ask| match &ask.request {
        Request::Transfer { .. } => Some(follows(1, &wrong)),
        _ => Some(follows(1, &address)),
    });
    let client = world.client(&follower).await;
    // Its endpoint may live a little longer than its task.
    let began = Instant::now();
    let error = loop {
        let error = refused(&client, &FOR_LONG).await;
        assert_eq!((error.code, error.outcome), (ErrorCode::NoLeader, Outcome::NotApplied));
        if error.message.contains("connection refused") || began.elapsed() > PATIENCE {
            break error;
        }
    };
    let wanted = format!(
        "n1 (node 1) leads, and this node does not reach it either: connection \
                          refused at {shown}"
    );
    assert!(error.message.starts_with(&wanted), "{}", error.message);
    assert_eq!(error.leader.unwrap().address, shown);

    // Another node is there: it is not asked.
    let Response::Error(error) = asks(&client, &Request::Transfer { to: 1 }, &FOR_LONG).await
    else {
        panic!("it is refused");
    };
    assert_eq!((error.code, error.outcome), (ErrorCode::NoLeader, Outcome::NotApplied));
    assert!(error.message.contains("expected node 1, found node 3"), "{}", error.message);
    assert_eq!(other.asked.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn what_was_passed_on_and_not_answered_is_unknown() {
    let world = World::new();
    let leader = world.node(1, |_| None);
    let address = leader.address.clone();
    let follower = world.node(2, move |_| Some(follows(1, &address)));
    let client = world.client(&follower).await;
    let error = refused(&client, &Passage::MayForward { within_ms: 300 }).await;
    assert_eq!(error.outcome, Outcome::Unknown, "{error:?}");
    assert_eq!(leader.asked.load(Ordering::Relaxed), 1);
    let (waits, gone) = (refused(&client, &FOR_LONG), async {
        while leader.asked.load(Ordering::Relaxed) < 2 {
            tokio::task::yield_now().await;
        }
        leader.endpoint.close("gone").await;
    });
    let (error, ()) = tokio::join!(waits, gone);
    assert_eq!((error.code, error.outcome), (ErrorCode::Abandoned, Outcome::Unknown), "{error:?}");
}

#[tokio::test]
async fn what_was_passed_on_is_not_passed_on_again() {
    let world = World::new();
    let (tell, told) = watch::channel(String::new());
    let leader = world.node(1, move |_| Some(follows(2, &told.borrow())));
    let address = leader.address.clone();
    let follower = world.node(2, move |_| Some(follows(1, &address)));
    tell.send_replace(follower.address.clone());
    let client = world.client(&follower).await;
    let answer = asks(&client, &put(), &FOR_LONG).await;
    assert_eq!(answer, follows(2, &follower.address), "as the one said who was named");
    let asked = [&leader, &follower].map(|node| node.asked.load(Ordering::Relaxed));
    assert_eq!(asked, [1, 1]);
}

#[tokio::test]
async fn no_more_is_passed_on_than_a_node_has_room_for() {
    let world = World::new();
    let leader = world.node(1, |_| None);
    let address = leader.address.clone();
    let follower = world.node(2, move |_| Some(follows(1, &address)));
    let size = 1 << 20;
    let mut asking = tokio::task::JoinSet::new();
    // No certificate gets so much room alone.
    let mut clients = Vec::new();
    for name in ["a", "b", "c", "d", "e", "f"] {
        clients.push(Arc::new(world.client_called(name, &follower).await));
    }
    let ask = |number: usize| {
        let client = Arc::clone(&clients[number % clients.len()]);
        async move {
            let command = Bytes::from(vec![0; size]);
            (number, client.call_for(&Request::Propose { command }, &FOR_LONG).await)
        }
    };
    for number in 0..FORWARD_BYTES_MAX / size + 4 {
        asking.spawn(ask(number));
    }
    let mut busy = 0;
    while busy < 4 {
        let (number, refused) =
            timeout(PATIENCE, asking.join_next()).await.unwrap().unwrap().unwrap();
        let Ok(Response::Error(error)) = refused else { panic!("{refused:?}") };
        assert_eq!(error.outcome, Outcome::NotApplied);
        match error.code {
            ErrorCode::Busy => busy += 1,
            // All that is on its way may be slower than the leader's sign of life is waited for.
            ErrorCode::NoLeader => drop(asking.spawn(ask(number))),
            code => panic!("{code:?}: {}", error.message),
        }
    }
    assert_eq!(asking.len(), FORWARD_BYTES_MAX / size, "these wait for the leader");
}

#[tokio::test]
async fn what_is_passed_on_is_awaited_no_longer_than_its_client_allows() {
    let world = World::new();
    let (answered, applied) =
        (AtomicUsize::new(0), Response::Applied { index: 9, response: Bytes::new() });
    let shown = applied.clone();
    let leader = world
        .node(1, move |_| (answered.fetch_add(1, Ordering::Relaxed) == 0).then(|| shown.clone()));
    let address = leader.address.clone();
    let follower = world.node(2, move |_| Some(follows(1, &address)));
    let client = world.client(&follower).await;
    // So that there is a way to the leader, which answers nothing after that.
    assert_eq!(asks(&client, &put(), &FOR_LONG).await, applied);
    crate::hasten();
    let began = Instant::now();
    let error = refused(&client, &Passage::MayForward { within_ms: 5_000 }).await;
    assert_eq!((error.code, error.outcome), (ErrorCode::Abandoned, Outcome::Unknown), "{error:?}");
    let took = began.elapsed();
    assert!((4..7).contains(&took.as_secs()), "{took:?}");
}

#[tokio::test]
async fn a_node_asks_only_on_behalf_of_people_of_its_own_cluster() {
    let world = World::new();
    let applied = Response::Applied { index: 9, response: Bytes::new() };
    let shown = applied.clone();
    let leader = world.node(1, move |_| Some(shown.clone()));
    let credentials = world.credentials(Role::Node(2.try_into().unwrap()));
    let (endpoint, hello) = (Endpoint::client(&credentials).unwrap(), world.hello(Some(2)));
    let expect = Expect::Node(1.try_into().unwrap());
    let (trail, how) = (Trail::new(&leader.address), (Alpn::Forward, expect));
    let node = ClientConnection::connect(&endpoint, &trail, how, &hello, PATIENCE).await.unwrap();
    let on_behalf_of = |cluster, role| {
        let identity = Identity::new(cluster, role).to_uri();
        Passage::OnBehalf { identity, from: "192.0.2.1:9".into(), certificate: None }
    };
    let (ours, eve) = (world.authority.cluster(), || Role::Client("eve".parse().unwrap()));
    assert_eq!(asks(&node, &put(), &on_behalf_of(ours, eve())).await, applied);
    let theirs = ClusterId::generate().unwrap();
    let (identity, from) = ("eve".to_owned(), String::new());
    for (passage, wanted) in [
        (on_behalf_of(theirs, eve()), "of another cluster"),
        (on_behalf_of(ours, Role::Node(3.try_into().unwrap())), "no node asks for anything"),
        (Passage::OnBehalf { identity, from, certificate: None }, "eve"),
    ] {
        let error = refused(&node, &passage).await;
        let told = (error.code, error.outcome);
        assert_eq!(told, (ErrorCode::Unauthorised, Outcome::NotApplied), "{error:?}");
        assert!(error.message.contains(wanted), "{wanted}: {error:?}");
    }
    assert_eq!(leader.asked.load(Ordering::Relaxed), 1);
}
