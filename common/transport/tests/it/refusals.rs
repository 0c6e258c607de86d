//! Nodes over loopback, with real certificates: who is let in, who is turned away, and what it is
//! told.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use certs::{Authority, ClusterId, Identity, Role};
use consensus::{Body, EntryId, Incarnation, LogIndex, Message, NodeId, Term};
use protocol::{Generation, Hello, PROTOCOL_VERSION, Promises, Remembered};
use tokio::sync::mpsc;
use tokio::time::Instant;
use transport::limits::BACKOFF_MAX;
use transport::{Alpn, Endpoint, Mesh, PeerEvent};

const PATIENCE: Duration = Duration::from_secs(20);
const DAY: Duration = Duration::from_secs(86_400);

/// A node: its mesh, what it hears, and where it is.
struct Side {
    mesh: Arc<Mutex<Mesh>>,
    events: mpsc::Receiver<PeerEvent>,
    address: String,
}

fn id(number: u64) -> NodeId {
    NodeId::new(number).unwrap()
}

fn hello(authority: &Authority, number: u64, generation: u8) -> Hello {
    Hello {
        protocol: PROTOCOL_VERSION,
        cluster: authority.cluster().to_bytes(),
        generation: Some(Generation::from_slice(&[generation; 32]).unwrap()),
        node: Some(id(number)),
        incarnation: Incarnation::default(),
        boot: number,
        software: "test".into(),
        lease: None,
        promises: Promises::default(),
    }
}

/// A node with this certificate that says this of itself.
fn start(authority: &Authority, certified: u64, says: Hello) -> Side {
    let identity = Identity::new(authority.cluster(), Role::Node(certified.try_into().unwrap()));
    let credentials = authority.issue(&identity, DAY).unwrap().credentials().unwrap();
    let endpoint = Endpoint::server("127.0.0.1:0".parse().unwrap(), &credentials).unwrap();
    let address = endpoint.local_addr().unwrap().to_string();
    let (sender, events) = mpsc::channel(1_024);
    let mesh = Arc::new(Mutex::new(Mesh::new(endpoint.clone(), says, sender)));
    let accepting = Arc::clone(&mesh);
    tokio::spawn(async move {
        while let Some(incoming) = endpoint.accept().await {
            if let Ok(accepted) = incoming.finish(&crate::places()).await
                && accepted.alpn == Alpn::Peer
            {
                accepting.lock().unwrap().accept(accepted);
            }
        }
    });
    Side { mesh, events, address }
}

impl Side {
    fn dials(&self, peer: u64, other: &Self) {
        let address = other.address.clone();
        self.mesh.lock().unwrap().set_peers([(id(peer), address.as_str())]);
    }

    /// Waits for what is wanted among the news.
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

    async fn is_connected(&mut self) {
        self.hears(|event| matches!(event, PeerEvent::Connected { .. }).then_some(())).await;
    }

    /// Waits until a connection fails, and returns why.
    async fn loses(&mut self) -> String {
        self.hears(|event| match event {
            PeerEvent::Lost { reason, .. } => Some(reason),
            _ => None,
        })
        .await
    }
}

fn pre_vote() -> Message {
    Message { term: Term::new(3), body: Body::RequestPreVote { last: Default::default() } }
}

fn authority() -> Authority {
    Authority::create(ClusterId::generate().unwrap(), DAY).unwrap()
}

#[tokio::test]
async fn nodes_of_one_history_hear_each_other() {
    let ours = authority();
    let (mut one, mut two) =
        (start(&ours, 1, hello(&ours, 1, 7)), start(&ours, 2, hello(&ours, 2, 7)));
    two.dials(1, &one);
    two.is_connected().await;
    let message = pre_vote();
    assert!(two.mesh.lock().unwrap().send(id(1), &message).unwrap());
    let (from, heard) = one
        .hears(|event| match event {
            PeerEvent::Received { from, message, .. } => Some((from, message)),
            _ => None,
        })
        .await;
    assert_eq!((from, heard), (id(2), message));
}

#[tokio::test]
async fn a_removed_node_is_told_so_also_while_it_is_connected_and_nobody_else_is() {
    let ours = authority();
    let (mut two, mut three) =
        (start(&ours, 2, hello(&ours, 2, 7)), start(&ours, 3, hello(&ours, 3, 7)));
    let one = start(&ours, 1, hello(&ours, 1, 7));
    two.dials(1, &one);
    three.dials(1, &one);
    two.is_connected().await;
    three.is_connected().await;
    one.mesh.lock().unwrap().removed().replace([(id(2), LogIndex::new(9))]);
    // It is told at its next word: a node that missed its removal campaigns.
    let message = pre_vote();
    two.mesh.lock().unwrap().send(id(1), &message).unwrap();
    three.mesh.lock().unwrap().send(id(1), &message).unwrap();
    let (by, reason) = two
        .hears(|event| match event {
            PeerEvent::Removed { by, reason } => Some((by, reason)),
            _ => None,
        })
        .await;
    let told = "node 2 was removed from the cluster by log entry 9";
    assert_eq!((by, reason.as_str()), (id(1), told));
    let still = three.mesh.lock().unwrap().info(id(1));
    assert!(still.connected, "{still:?}");
}

#[tokio::test]
async fn another_history_another_name_and_another_version_are_refused_by_what_differs() {
    let ours = authority();
    let one = start(&ours, 1, hello(&ours, 1, 7));
    let version = Hello { protocol: PROTOCOL_VERSION + 1, ..hello(&ours, 2, 7) };
    for (says, wanted) in [
        (hello(&ours, 2, 8), "generation"),
        (hello(&ours, 3, 7), "it says it is node 3, its certificate"),
        (version, "protocol 2, this node speaks 1"),
    ] {
        let mut two = start(&ours, 2, says);
        two.dials(1, &one);
        let why = two.loses().await;
        assert!(why.contains(wanted), "{wanted}: {why}");
    }
}

#[tokio::test]
async fn another_clusters_node_fails_the_handshake_by_the_cluster() {
    let (ours, theirs) = (authority(), authority());
    let one = start(&ours, 1, hello(&ours, 1, 7));
    let mut stranger = start(&theirs, 2, hello(&theirs, 2, 7));
    stranger.dials(1, &one);
    let why = stranger.loses().await;
    assert!(why.contains(&ours.cluster().to_string()), "{why}");
}

#[tokio::test]
async fn a_peer_that_cannot_be_had_is_dialled_less_and_less_often() {
    let (ours, theirs) = (authority(), authority());
    let one = start(&ours, 1, hello(&ours, 1, 7));
    let mut stranger = start(&theirs, 2, hello(&theirs, 2, 7));
    stranger.dials(1, &one);
    stranger.loses().await;
    crate::hasten();
    for _ in 0..8 {
        stranger.loses().await;
    }
    let began = Instant::now();
    stranger.loses().await;
    // Each wait has half of its length at least, and the longest is reached by now.
    assert!(began.elapsed() >= BACKOFF_MAX / 2, "{:?}", began.elapsed());
}

/// The other side may know nothing of what it promised before: who dials has to know it.
#[tokio::test]
async fn who_dials_a_member_that_has_forgotten_what_it_promised_sends_it_nothing() {
    let ours = authority();
    let promises = Promises { starts: 3, ..Promises::default() };
    let says = Hello { promises, ..hello(&ours, 2, 7) };
    let (mut one, two) = (start(&ours, 1, hello(&ours, 1, 7)), start(&ours, 2, says.clone()));
    let before = Remembered {
        node: id(2),
        incarnation: says.incarnation,
        starts: says.promises.starts + 1,
        boot: says.boot + 1,
        term: Term::new(9),
        voted: Some(Term::new(9)),
        acknowledged: EntryId { term: Term::new(9), index: LogIndex::new(100) },
        kept: LogIndex::new(100),
    };
    one.mesh.lock().unwrap().memory().recall([before]);
    one.dials(2, &two);
    let why = one
        .hears(|event| match event {
            PeerEvent::Lost { reason, was_connected, .. } => Some((reason, was_connected)),
            PeerEvent::Connected { .. } => panic!("it is sent all there is"),
            _ => None,
        })
        .await;
    assert!(!why.1 && why.0.contains("was started 4 times, and says 3"), "{why:?}");
}
