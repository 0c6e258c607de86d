//! A peer's process ends without a word, and another one takes its place: how that is noticed.

use std::net::SocketAddr;
use std::sync::mpsc::Receiver;
use std::thread::JoinHandle;
use std::time::Duration;

use certs::{Authority, ClusterId, Identity, Role};
use consensus::{Incarnation, NodeId};
use protocol::{Generation, Hello, PROTOCOL_VERSION};
use tokio::runtime::Builder;
use tokio::sync::{mpsc, oneshot};
use transport::{Endpoint, Mesh, PeerEvent};

const PATIENCE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);
const KEY: [u8; 32] = [7; 32];

fn id(number: u64) -> NodeId {
    NodeId::new(number).unwrap()
}

/// A node in a thread and runtime of its own, which end without a word.
struct Process {
    thread: Option<JoinHandle<()>>,
    stop: Option<oneshot::Sender<()>>,
    events: Receiver<PeerEvent>,
    address: SocketAddr,
}

impl Process {
    fn start(
        authority: &Authority,
        number: u64,
        boot: u64,
        (bind, key): (SocketAddr, Option<[u8; 32]>),
        peers: &[(u64, SocketAddr)],
    ) -> Self {
        let role = Role::Node(number.try_into().unwrap());
        let identity = Identity::new(authority.cluster(), role);
        let credentials = authority.issue(&identity, DAY).unwrap().credentials().unwrap();
        let hello = Hello {
            protocol: PROTOCOL_VERSION,
            cluster: authority.cluster().to_bytes(),
            generation: Some(Generation::from_slice(&[7; 32]).unwrap()),
            node: Some(id(number)),
            incarnation: Incarnation::new(100 + number),
            boot,
            software: "test".into(),
            lease: None,
            promises: protocol::Promises::default(),
        };
        let peers: Vec<(NodeId, String)> =
            peers.iter().map(|(number, place)| (id(*number), place.to_string())).collect();
        let (stop, stopped) = oneshot::channel();
        let (tell, told) = std::sync::mpsc::channel();
        let (forward, events) = std::sync::mpsc::channel();
        let live = async move {
            let endpoint = Endpoint::server_with(bind, &credentials, key.as_ref()).unwrap();
            tell.send(endpoint.local_addr().unwrap()).unwrap();
            let (sender, mut heard) = mpsc::channel(1_024);
            let mut mesh = Mesh::new(endpoint.clone(), hello, sender);
            mesh.set_peers(peers.iter().map(|(id, place)| (*id, place.as_str())));
            tokio::spawn(async move {
                while let Some(event) = heard.recv().await {
                    let _ = forward.send(event);
                }
            });
            tokio::spawn(async move {
                while let Some(incoming) = endpoint.accept().await {
                    if let Ok(accepted) = incoming.finish(&crate::places()).await {
                        mesh.accept(accepted);
                    }
                }
            });
            let _ = stopped.await;
        };
        let thread = std::thread::spawn(move || {
            Builder::new_current_thread().enable_all().build().unwrap().block_on(live);
        });
        let address = told.recv().unwrap();
        Self { thread: Some(thread), stop: Some(stop), events, address }
    }

    /// SIGKILL, as it were; returns where it was.
    fn kill(mut self) -> SocketAddr {
        drop(self.stop.take());
        self.thread.take().unwrap().join().unwrap();
        self.address
    }

    /// Waits until there is a connection to a peer.
    fn connects(&self) {
        self.hears(|event| matches!(event, PeerEvent::Connected { .. }).then_some(()));
    }

    /// Waits until a connection breaks; returns why it did.
    fn loses(&self) -> String {
        self.hears(|event| match event {
            PeerEvent::Lost { reason, was_connected: true, .. } => Some(reason),
            _ => None,
        })
    }

    fn hears<T>(&self, wanted: impl Fn(PeerEvent) -> Option<T>) -> T {
        loop {
            let event = self.events.recv_timeout(PATIENCE).expect("it is heard in time");
            if let Some(found) = wanted(event) {
                return found;
            }
        }
    }
}

fn any_port() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

#[test]
fn a_process_with_the_key_of_the_one_before_ends_its_connections() {
    let authority = Authority::create(ClusterId::generate().unwrap(), DAY).unwrap();
    let two = Process::start(&authority, 2, 1, (any_port(), Some(KEY)), &[]);
    let one = Process::start(&authority, 1, 1, (any_port(), None), &[(2, two.address)]);
    one.connects();
    let place = two.kill();
    // It dials nobody: only its word for packets of old can tell that it is another process.
    let _two = Process::start(&authority, 2, 2, (place, Some(KEY)), &[]);
    assert_eq!(one.loses(), "reset by peer");
    one.connects();
}

#[test]
fn a_process_that_dials_is_known_by_its_number_where_the_key_is_another() {
    let authority = Authority::create(ClusterId::generate().unwrap(), DAY).unwrap();
    let two = Process::start(&authority, 2, 1, (any_port(), Some(KEY)), &[]);
    let one = Process::start(&authority, 1, 1, (any_port(), None), &[(2, two.address)]);
    one.connects();
    let place = two.kill();
    // As after its data directory was wiped.
    let ways = [(1, one.address)];
    let _two = Process::start(&authority, 2, 2, (place, Some([8; 32])), &ways);
    assert_eq!(one.loses(), "it has restarted");
    one.connects();
}

/// Two processes run with one certificate and data directory, of which one is a copy.
#[test]
fn a_copy_at_another_address_takes_nobodys_place() {
    let authority = Authority::create(ClusterId::generate().unwrap(), DAY).unwrap();
    let two = Process::start(&authority, 2, 1, (any_port(), Some(KEY)), &[]);
    let one = Process::start(&authority, 1, 1, (any_port(), None), &[(2, two.address)]);
    one.connects();
    let ways = [(1, one.address)];
    let copy = Process::start(&authority, 2, 2, (any_port(), Some(KEY)), &ways);
    // Whether it is a successor shows at the address.
    assert_eq!(one.loses(), "it has restarted");
    one.connects();
    copy.connects();
    copy.kill();
    let copy = Process::start(&authority, 2, 2, (any_port(), Some(KEY)), &ways);
    copy.connects();
    // Nothing was lost meanwhile: the next loss is this one.
    let place = two.kill();
    let _two = Process::start(&authority, 2, 3, (place, Some(KEY)), &[]);
    assert_eq!(one.loses(), "reset by peer");
    one.connects();
}
