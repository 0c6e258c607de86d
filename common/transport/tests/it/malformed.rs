//! Bytes that make no sense from a peer whose handshake is good: its connection is cut, the reason
//! is told on both sides, and everybody else goes on.

use std::sync::Arc;
use std::time::Duration;

use certs::{Authority, ClusterId, Credentials, Expect, Identity, Role};
use consensus::{Incarnation, NodeId};
use protocol::limits::FRAME_BODY_BYTES_MAX;
use protocol::{Generation, Hello, PROTOCOL_VERSION};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, ConnectionError};
use tokio::sync::mpsc;
use tokio::time::timeout;
use transport::{Cause, Endpoint, Mesh, PeerEvent};

const PATIENCE: Duration = Duration::from_secs(20);
const DAY: Duration = Duration::from_secs(86_400);

fn credentials(authority: &Authority, number: u64) -> Credentials {
    let identity = Identity::new(authority.cluster(), Role::Node(number.try_into().unwrap()));
    authority.issue(&identity, DAY).unwrap().credentials().unwrap()
}

fn hello(authority: &Authority, number: u64) -> Hello {
    Hello {
        protocol: PROTOCOL_VERSION,
        cluster: authority.cluster().to_bytes(),
        generation: Some(Generation::from_slice(&[7; 32]).unwrap()),
        node: NodeId::new(number),
        incarnation: Incarnation::default(),
        boot: number,
        software: "test".into(),
        lease: None,
        promises: protocol::Promises::default(),
    }
}

/// Node 1, and what it hears.
fn listener(authority: &Authority) -> (std::net::SocketAddr, mpsc::Receiver<PeerEvent>) {
    let endpoint =
        Endpoint::server("127.0.0.1:0".parse().unwrap(), &credentials(authority, 1)).unwrap();
    let address = endpoint.local_addr().unwrap();
    let (sender, events) = mpsc::channel(64);
    let mesh = Mesh::new(endpoint.clone(), hello(authority, 1), sender);
    tokio::spawn(async move {
        while let Some(incoming) = endpoint.accept().await {
            if let Ok(accepted) = incoming.finish(&crate::places()).await {
                mesh.accept(accepted);
            }
        }
    });
    (address, events)
}

/// Node 2 by its certificate and its hello; what it says then is up to the test.
async fn dial(authority: &Authority, address: std::net::SocketAddr) -> Connection {
    let expect = Expect::Node(1.try_into().unwrap());
    let tls = credentials(authority, 2).client_config(expect, &[b"raft-peer/1"]).unwrap();
    let config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
    let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let connecting = endpoint.connect_with(config, address, certs::SERVER_NAME).unwrap();
    let connection = connecting.await.unwrap();
    let (mut send, mut receive) = connection.open_bi().await.unwrap();
    send.write_all(&hello(authority, 2).encode()).await.unwrap();
    let mut prefix = [0; 12];
    receive.read_exact(&mut prefix).await.unwrap();
    connection
}

fn prefix(version: u8, header: usize, body: usize) -> Vec<u8> {
    let mut bytes = vec![version, 0, 0, 0];
    for size in [header, body] {
        bytes.extend_from_slice(&u32::try_from(size).unwrap().to_le_bytes());
    }
    bytes
}

#[tokio::test]
async fn senseless_streams_and_frames_cut_their_connection_with_the_reason() {
    let authority = Authority::create(ClusterId::generate().unwrap(), DAY).unwrap();
    let (address, mut events) = listener(&authority);
    let control = |frame: Vec<u8>| [vec![1], frame].concat();
    for (bytes, wanted) in [
        (vec![9], "unknown kind 9"),
        (control(prefix(7, 0, 0)), "version 7"),
        (control(prefix(1, 0, FRAME_BODY_BYTES_MAX + 1)), "body"),
        (control(prefix(1, 1 << 30, 0)), "header"),
        (control([prefix(1, 3, 0), vec![255; 3]].concat()), "message"),
        (control([prefix(1, 0, 0)].concat()), "body"),
    ] {
        let connection = dial(&authority, address).await;
        let mut stream = connection.open_uni().await.unwrap();
        stream.write_all(&bytes).await.unwrap();
        let refused = async {
            loop {
                if let PeerEvent::Refused { who, cause, reason } = events.recv().await.unwrap() {
                    assert_eq!(cause, Cause::Nonsense, "{reason}");
                    return (who, reason);
                }
            }
        };
        let (who, reason) = timeout(PATIENCE, refused).await.unwrap();
        assert!(who.contains("node 2") && reason.contains(wanted), "{wanted}: {who}: {reason}");
        let ended = timeout(PATIENCE, connection.closed()).await.unwrap();
        let ConnectionError::ApplicationClosed(close) = ended else {
            panic!("{wanted}: {ended}");
        };
        assert_eq!(close.reason, reason.as_bytes(), "{wanted}: told there, too");
    }
    // And nobody has to pay for it.
    let connection = dial(&authority, address).await;
    assert!(connection.close_reason().is_none());
}
