//! Asking who is at an address: the one who should be, somebody else, nobody.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use certs::{Authority, ClusterId, Identity, Role};
use consensus::{Body, Incarnation, Message, NodeId, Term};
use protocol::{Generation, Hello, PROTOCOL_VERSION, RefusalCode};
use tokio::sync::mpsc;
use transport::{ConnectError, Endpoint, Mesh, PeerEvent, Rejection, answer_identify, identify};

const PATIENCE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);

fn id(number: u64) -> NodeId {
    NodeId::new(number).unwrap()
}

fn authority() -> Authority {
    Authority::create(ClusterId::generate().unwrap(), DAY).unwrap()
}

fn hello(authority: &Authority, number: u64) -> Hello {
    Hello {
        protocol: PROTOCOL_VERSION,
        cluster: authority.cluster().to_bytes(),
        generation: Some(Generation::from_slice(&[7; 32]).unwrap()),
        node: Some(id(number)),
        incarnation: Incarnation::new(100 + number),
        boot: number,
        software: "test".into(),
        lease: None,
        promises: protocol::Promises::default(),
    }
}

fn endpoint(authority: &Authority, number: u64) -> Endpoint {
    let identity = Identity::new(authority.cluster(), Role::Node(number.try_into().unwrap()));
    let credentials = authority.issue(&identity, DAY).unwrap().credentials().unwrap();
    Endpoint::server("127.0.0.1:0".parse().unwrap(), &credentials).unwrap()
}

/// A node with a history: its mesh, what it hears, and where it is.
struct Side {
    mesh: Arc<Mutex<Mesh>>,
    events: mpsc::Receiver<PeerEvent>,
    endpoint: Endpoint,
    address: String,
}

fn start(authority: &Authority, number: u64, says: Hello) -> Side {
    let endpoint = endpoint(authority, number);
    let address = endpoint.local_addr().unwrap().to_string();
    let (sender, events) = mpsc::channel(1_024);
    let mesh = Arc::new(Mutex::new(Mesh::new(endpoint.clone(), says, sender)));
    let (accepting, listener) = (Arc::clone(&mesh), endpoint.clone());
    tokio::spawn(async move {
        while let Some(incoming) = listener.accept().await {
            if let Ok(accepted) = incoming.finish(&crate::places()).await {
                accepting.lock().unwrap().accept(accepted);
            }
        }
    });
    Side { mesh, events, endpoint, address }
}

/// A node without a history; returns where it is.
fn start_uninitialised(authority: &Authority, number: u64) -> String {
    let endpoint = endpoint(authority, number);
    let address = endpoint.local_addr().unwrap().to_string();
    let says = Hello { generation: None, ..hello(authority, number) };
    tokio::spawn(async move {
        while let Some(incoming) = endpoint.accept().await {
            if let Ok(accepted) = incoming.finish(&crate::places()).await {
                tokio::spawn(answer_identify(accepted, says.clone()));
            }
        }
    });
    address
}

impl Side {
    async fn visits(&self, number: u64, address: &str) -> Result<Hello, ConnectError> {
        let asked = self.mesh.lock().unwrap().identify(id(number), address.to_owned(), PATIENCE);
        asked.await
    }

    async fn hears<T>(&mut self, mut wanted: impl FnMut(PeerEvent) -> Option<T>) -> T {
        let listening = async {
            loop {
                let event = self.events.recv().await.expect("the mesh lives");
                if let Some(found) = wanted(event) {
                    return found;
                }
            }
        };
        tokio::time::timeout(PATIENCE, listening).await.expect("it is heard in time")
    }
}

#[tokio::test]
async fn a_visit_learns_who_is_there_with_or_without_a_history() {
    let ours = authority();
    let one = start(&ours, 1, hello(&ours, 1));
    let two = start(&ours, 2, hello(&ours, 2));
    assert_eq!(one.visits(2, &two.address).await, Ok(hello(&ours, 2)));
    let empty = start_uninitialised(&ours, 3);
    let said = one.visits(3, &empty).await.unwrap();
    assert_eq!((said.incarnation, said.generation), (Incarnation::new(103), None));
    // Also oneself: an address that is about to be one's own.
    assert_eq!(one.visits(1, &one.address).await, Ok(hello(&ours, 1)));
}

#[tokio::test]
async fn a_node_without_a_history_is_visited_and_not_sent_anything() {
    let ours = authority();
    let mut one = start(&ours, 1, hello(&ours, 1));
    let empty = start_uninitialised(&ours, 3);
    one.mesh.lock().unwrap().set_peers([(id(3), empty.as_str())]);
    let why = one
        .hears(|event| match event {
            PeerEvent::Lost { reason, was_connected, .. } => Some((reason, was_connected)),
            PeerEvent::Connected { .. } => panic!("it hears nothing"),
            _ => None,
        })
        .await;
    assert!(why.0.contains("is not initialised (data directory"), "{why:?}");
    assert!(!why.1);
}

#[tokio::test]
async fn whoever_else_is_there_is_named_with_what_differs() {
    let (ours, theirs) = (authority(), authority());
    let one = start(&ours, 1, hello(&ours, 1));
    let two = start(&ours, 2, hello(&ours, 2));
    let stranger = start(&theirs, 3, hello(&theirs, 3));
    let why = one.visits(3, &two.address).await.unwrap_err().to_string();
    assert!(why.contains("node 3") && why.contains("node 2"), "both are named: {why}");
    let why = one.visits(3, &stranger.address).await.unwrap_err().to_string();
    assert!(why.contains(&theirs.cluster().to_string()), "{why}");
    assert!(!why.contains("Other"), "in words: {why}");

    let generation = Some(Generation::from_slice(&[8; 32]).unwrap());
    let other = start(&ours, 4, Hello { generation, ..hello(&ours, 4) });
    let error = one.visits(4, &other.address).await.unwrap_err();
    let refused = matches!(error, ConnectError::Refused { code: RefusalCode::Generation, .. });
    assert!(refused, "{error}");

    // A process with this node's own certificate is another one all the same.
    let double = start(&ours, 1, Hello { boot: 99, ..hello(&ours, 1) });
    let error = one.visits(1, &double.address).await.unwrap_err();
    let refused = matches!(error, ConnectError::Refused { code: RefusalCode::Identity, .. });
    assert!(refused, "{error}");

    // Its certificate is right, and it says that it is somebody else.
    let liar = start(&ours, 5, hello(&ours, 6));
    let why = one.visits(5, &liar.address).await.unwrap_err().to_string();
    assert!(why.contains("it says it is node 6, its certificate node 5"), "{why}");
}

#[tokio::test]
async fn where_nobody_is_the_visit_ends_in_time() {
    let ours = authority();
    let one = start(&ours, 1, hello(&ours, 1));
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let nobody = taken.local_addr().unwrap().to_string();
    let within = Duration::from_millis(300);
    let began = std::time::Instant::now();
    let asked = identify(one.endpoint.clone(), hello(&ours, 1), id(2), nobody.clone(), within);
    let error = asked.await.unwrap_err();
    assert_eq!(error, ConnectError::Silent { address: nobody.clone(), after: within });
    assert!(began.elapsed() < PATIENCE / 2, "{:?}", began.elapsed());

    // A port that nobody has open says so at once.
    drop(taken);
    let again =
        transport::identify(one.endpoint.clone(), hello(&ours, 1), id(2), nobody.clone(), PATIENCE);
    let error = again.await.unwrap_err();
    assert_eq!(error, ConnectError::Rejected { address: nobody, how: Rejection::Closed });
    assert!(began.elapsed() < PATIENCE / 2, "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_visit_does_not_take_the_place_of_the_connection_that_there_is() {
    let ours = authority();
    let mut one = start(&ours, 1, hello(&ours, 1));
    let two = start(&ours, 2, hello(&ours, 2));
    // Node 2 knows nobody: it answers on the connection that node 1 dialled.
    one.mesh.lock().unwrap().set_peers([(id(2), two.address.as_str())]);
    one.hears(|event| matches!(event, PeerEvent::Connected { .. }).then_some(())).await;
    one.visits(2, &two.address).await.unwrap();
    let message =
        Message { term: Term::new(3), body: Body::RequestPreVote { last: Default::default() } };
    let began = std::time::Instant::now();
    // Its way back may be under construction still.
    while !two.mesh.lock().unwrap().send(id(1), &message).unwrap() {
        assert!(began.elapsed() < PATIENCE, "there is no way back");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    one.visits(2, &two.address).await.unwrap();
    assert!(two.mesh.lock().unwrap().send(id(1), &message).unwrap(), "the way back stays");
    for _ in 0..2 {
        let heard = one.hears(|event| match event {
            PeerEvent::Received { from, message, .. } => Some((from, message)),
            PeerEvent::Lost { reason, .. } => panic!("lost: {reason}"),
            _ => None,
        });
        assert_eq!(heard.await, (id(2), message.clone()));
    }
}

#[tokio::test]
async fn a_node_is_met_at_all_addresses_that_it_listens_on_and_dials_in_every_family() {
    let ours = authority();
    let place = |text: &str| text.parse().unwrap();
    let mut many = endpoint(&ours, 2).also_at(place("127.0.0.2:0"), None).unwrap();
    // A machine without IPv6 has no such address.
    if let Ok(more) = many.clone().also_at(place("[::1]:0"), None) {
        many = more;
    }
    let says = Hello { generation: None, ..hello(&ours, 2) };
    let listener = many.clone();
    tokio::spawn(async move {
        while let Some(incoming) = listener.accept().await {
            if let Ok(accepted) = incoming.finish(&crate::places()).await {
                tokio::spawn(answer_identify(accepted, says.clone()));
            }
        }
    });
    let addresses = many.local_addrs();
    assert!(addresses.len() >= 2, "{addresses:?}");
    assert_eq!(many.local_addr().unwrap(), addresses[0]);
    let all = "[::]:0".parse().unwrap();
    let visitor = |authority: &Authority| {
        let identity = Identity::new(authority.cluster(), Role::Node(1.try_into().unwrap()));
        let credentials = authority.issue(&identity, DAY).unwrap().credentials().unwrap();
        Endpoint::server(all, &credentials).unwrap()
    };
    let visit = async |from: &Endpoint, authority: &Authority, at: &str| {
        identify(from.clone(), hello(authority, 1), id(2), at.to_owned(), PATIENCE).await
    };
    let one = visitor(&ours);
    for address in &addresses {
        let met = visit(&one, &ours, &address.to_string()).await;
        assert_eq!(met.map(|hello| hello.node), Ok(Some(id(2))), "{address}");
        // And whom it dials itself: here, itself.
        let met = visit(&many, &ours, &address.to_string()).await;
        assert_eq!(met.map(|hello| hello.node), Ok(Some(id(2))), "{address}");
    }
    // Other certificates are shown at all of them.
    let other = authority();
    let identity = Identity::new(other.cluster(), Role::Node(2.try_into().unwrap()));
    many.replace(&other.issue(&identity, DAY).unwrap().credentials().unwrap()).unwrap();
    for address in &addresses {
        let refused = visit(&one, &ours, &address.to_string()).await;
        assert!(matches!(refused, Err(ConnectError::Handshake { .. })), "{address}: {refused:?}");
    }
    many.close("the end").await;
    assert!(many.accept().await.is_none());
}
