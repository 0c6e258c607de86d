//! A snapshot on its way: when it counts as stored, and for how long either side is waited for.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use certs::{Authority, ClusterId, Identity, Role};
use consensus::{Incarnation, NodeId, Term};
use protocol::{Generation, Hello, PROTOCOL_VERSION, SnapshotOffer};
use tokio::sync::mpsc;
use tokio::time::timeout;
use transport::limits::SNAPSHOT_PATIENCE;
use transport::{Endpoint, IncomingSnapshot, Mesh, PeerEvent, SnapshotError, SnapshotSender};

/// Twice as long as either side is waited for.
const PATIENCE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);
const FILE: Bytes = Bytes::from_static(b"the head and all that follows");

/// Node 1, which sends, and node 2.
struct Pair {
    sender: SnapshotSender,
    events: mpsc::Receiver<PeerEvent>,
    _meshes: [Arc<Mutex<Mesh>>; 2],
}

fn id(number: u64) -> NodeId {
    NodeId::new(number).unwrap()
}

fn node(
    authority: &Authority,
    number: u64,
) -> (Arc<Mutex<Mesh>>, mpsc::Receiver<PeerEvent>, String) {
    let identity = Identity::new(authority.cluster(), Role::Node(number.try_into().unwrap()));
    let credentials = authority.issue(&identity, DAY).unwrap().credentials().unwrap();
    let endpoint = Endpoint::server("127.0.0.1:0".parse().unwrap(), &credentials).unwrap();
    let address = endpoint.local_addr().unwrap().to_string();
    let hello = Hello {
        protocol: PROTOCOL_VERSION,
        cluster: authority.cluster().to_bytes(),
        generation: Some(Generation::from_slice(&[7; 32]).unwrap()),
        node: Some(id(number)),
        incarnation: Incarnation::default(),
        boot: number,
        software: "test".into(),
        lease: None,
        promises: protocol::Promises::default(),
    };
    let (sender, events) = mpsc::channel(1_024);
    let mesh = Arc::new(Mutex::new(Mesh::new(endpoint.clone(), hello, sender)));
    let accepting = Arc::clone(&mesh);
    tokio::spawn(async move {
        while let Some(incoming) = endpoint.accept().await {
            if let Ok(accepted) = incoming.finish(&crate::places()).await {
                accepting.lock().unwrap().accept(accepted);
            }
        }
    });
    (mesh, events, address)
}

impl Pair {
    async fn connect() -> Self {
        let authority = Authority::create(ClusterId::generate().unwrap(), DAY).unwrap();
        let (one, mut news, _) = node(&authority, 1);
        let (two, events, address) = node(&authority, 2);
        one.lock().unwrap().set_peers([(id(2), address.as_str())]);
        let connected =
            async { while !matches!(news.recv().await.unwrap(), PeerEvent::Connected { .. }) {} };
        timeout(PATIENCE, connected).await.unwrap();
        let sender = one.lock().unwrap().snapshot_sender(id(2)).unwrap();
        // What comes later is read as well: nothing waits for room there.
        tokio::spawn(async move { while news.recv().await.is_some() {} });
        Self { sender, events, _meshes: [one, two] }
    }

    async fn is_offered(&mut self) -> IncomingSnapshot {
        let offered = async {
            loop {
                if let PeerEvent::Offered(offered) = self.events.recv().await.unwrap() {
                    return offered;
                }
            }
        };
        timeout(PATIENCE, offered).await.unwrap()
    }
}

fn offer() -> SnapshotOffer {
    let (head, size_bytes) = (FILE.slice(..8), FILE.len() as u64);
    SnapshotOffer { term: Term::new(3), head, size_bytes }
}

/// Sends the whole file; returns what became of it.
async fn send(sender: SnapshotSender) -> Result<(), SnapshotError> {
    let (mut outgoing, from) = sender.offer(&offer()).await?;
    outgoing.send(FILE.slice(usize::try_from(from).unwrap()..)).await?;
    outgoing.finish().await
}

/// Receives the whole file, and says that it is written.
async fn write(incoming: &mut IncomingSnapshot) {
    incoming.begin(0).await.unwrap();
    let mut written = 0;
    while let Some(bytes) = incoming.next().await.unwrap() {
        written += bytes.len() as u64;
        incoming.written_to(written).await.unwrap();
    }
    assert_eq!(written, FILE.len() as u64);
}

#[tokio::test]
async fn a_snapshot_that_is_written_to_its_end_is_not_stored_until_its_receiver_says_so() {
    let mut pair = Pair::connect().await;
    let sending = tokio::spawn(send(pair.sender.clone()));
    let mut incoming = pair.is_offered().await;
    write(&mut incoming).await;
    incoming.refuse("the checksum is wrong".into()).await;
    let ended = timeout(PATIENCE, sending).await.unwrap().unwrap();
    let Err(SnapshotError::Refused(why)) = ended else { panic!("{ended:?}") };
    assert_eq!(why, "the checksum is wrong");
    let sending = tokio::spawn(send(pair.sender.clone()));
    let mut incoming = pair.is_offered().await;
    write(&mut incoming).await;
    incoming.stored().await.unwrap();
    assert!(timeout(PATIENCE, sending).await.unwrap().unwrap().is_ok());
}

#[tokio::test]
async fn neither_side_of_a_snapshot_is_waited_for_any_longer_when_it_is_silent() {
    let mut pair = Pair::connect().await;
    crate::hasten();
    let silent = SnapshotError::Silent(SNAPSHOT_PATIENCE);
    // The receiver says nothing to an offer.
    let ended = timeout(PATIENCE, send(pair.sender.clone())).await.unwrap();
    assert!(ended.as_ref().is_err_and(|error| *error == silent), "{ended:?}");
    drop(pair.is_offered().await);
    // It never says that the whole is stored.
    let sending = tokio::spawn(send(pair.sender.clone()));
    let mut incoming = pair.is_offered().await;
    write(&mut incoming).await;
    let ended = timeout(PATIENCE, sending).await.unwrap().unwrap();
    assert!(ended.as_ref().is_err_and(|error| *error == silent), "{ended:?}");
    // The sender offers, and sends nothing.
    let offering = tokio::spawn({
        let sender = pair.sender.clone();
        async move { sender.offer(&offer()).await }
    });
    let mut incoming = pair.is_offered().await;
    incoming.begin(0).await.unwrap();
    let _outgoing = timeout(PATIENCE, offering).await.unwrap().unwrap().unwrap();
    let ended = timeout(PATIENCE, incoming.next()).await.unwrap();
    assert!(ended.as_ref().is_err_and(|error| *error == silent), "{ended:?}");
}

/// It has most of it, and must read that first: it was given up before it could say so, for ever.
#[tokio::test]
async fn a_receiver_of_a_large_snapshot_has_the_time_to_read_what_it_has_of_it() {
    let mut pair = Pair::connect().await;
    let large = SnapshotOffer { size_bytes: 10 * 1024 * 1024 * 1024, ..offer() };
    let offering = tokio::spawn({
        let (sender, large) = (pair.sender.clone(), large.clone());
        async move { sender.offer(&large).await.map(|(_, offset)| offset) }
    });
    let mut incoming = pair.is_offered().await;
    crate::hasten();
    tokio::time::sleep(SNAPSHOT_PATIENCE + SNAPSHOT_PATIENCE / 2).await;
    incoming.begin(large.size_bytes - 1).await.unwrap();
    let begun = timeout(10 * PATIENCE, offering).await.unwrap().unwrap();
    assert_eq!(begun, Ok(large.size_bytes - 1));
}

#[tokio::test]
async fn more_than_was_offered_of_a_snapshot_is_not_taken() {
    let mut pair = Pair::connect().await;
    let short = SnapshotOffer { size_bytes: FILE.len() as u64 - 1, ..offer() };
    let sending = tokio::spawn({
        let sender = pair.sender.clone();
        async move {
            let (mut outgoing, _) = sender.offer(&short).await?;
            outgoing.send(FILE.clone()).await?;
            outgoing.finish().await
        }
    });
    let mut incoming = pair.is_offered().await;
    incoming.begin(0).await.unwrap();
    let taken = timeout(PATIENCE, incoming.next()).await.unwrap();
    let Err(why) = taken else { panic!("it is taken") };
    assert!(why.to_string().contains("a piece in the wrong place"), "{why}");
    drop(incoming);
    assert!(timeout(PATIENCE, sending).await.unwrap().unwrap().is_err());
}
