use std::net::SocketAddr;

use certs::{Authority, ClusterId, Credentials, Expect, Identity, Role};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ClientConfig, Endpoint, ServerConfig};
use tokio::net::UdpSocket;
use tokio::time::timeout;

use super::*;

const PATIENCE: Duration = Duration::from_secs(60);

/// How long a packet is under way, in each direction, in microseconds: drawn anew for each.
const WAY_US: std::ops::Range<u64> = 10_000..20_000;

const SENT_BYTES: usize = 1024 * 1024;

/// A way on which nothing is lost and every packet takes its own time, in both directions.
async fn way(to: SocketAddr) -> SocketAddr {
    let any: SocketAddr = "127.0.0.1:0".parse().expect("it is one");
    let near = Arc::new(UdpSocket::bind(any).await.expect("there is a port"));
    let far = Arc::new(UdpSocket::bind(any).await.expect("there is a port"));
    let address = near.local_addr().expect("it is bound");
    tokio::spawn(async move {
        let (mut client, mut there, mut back) = (any, vec![0; 65_536], vec![0; 65_536]);
        loop {
            let (socket, packet, target) = tokio::select! {
                came = near.recv_from(&mut there) => {
                    let (size, from) = came.expect("the loopback works");
                    client = from;
                    (Arc::clone(&far), there[..size].to_vec(), to)
                }
                came = far.recv_from(&mut back) => {
                    let (size, _) = came.expect("the loopback works");
                    (Arc::clone(&near), back[..size].to_vec(), client)
                }
            };
            let more = getrandom::u64().expect("there are random numbers");
            let wait = WAY_US.start + more % (WAY_US.end - WAY_US.start);
            tokio::spawn(async move {
                sleep(Duration::from_micros(wait)).await;
                socket.send_to(&packet, target).await.expect("the loopback works");
            });
        }
    });
    address
}

/// Reads what arrives on a stream at a listener, to its end.
async fn reads(listener: Endpoint) {
    let connection = listener.accept().await.expect("it is dialled").await.expect("a handshake");
    let mut stream = connection.accept_uni().await.expect("a stream");
    let all = stream.read_to_end(SENT_BYTES).await.expect("everything arrives");
    assert_eq!(all.len(), SENT_BYTES);
    connection.close(0_u32.into(), b"done");
    listener.wait_idle().await;
}

fn credentials(authority: &Authority, number: u64) -> Credentials {
    let role = Role::Node(number.try_into().expect("it is not 0"));
    let identity = Identity::new(authority.cluster(), role);
    let issued = authority.issue(&identity, Duration::from_secs(86_400));
    issued.and_then(|issued| issued.credentials()).expect("a certificate")
}

async fn connected(authority: &Authority) -> (Endpoint, Connection, tokio::task::JoinHandle<()>) {
    let tls = credentials(authority, 1).server_config(&[b"test"]).expect("a configuration");
    let tls = QuicServerConfig::try_from(tls).expect("a configuration");
    let mut config = ServerConfig::with_crypto(Arc::new(tls));
    config.transport_config(transport(CONNECTION_WINDOW_BYTES));
    let any = "127.0.0.1:0".parse().expect("it is one");
    let listener = Endpoint::server(config, any).expect("there is a port");
    let address = way(listener.local_addr().expect("it is bound")).await;
    let reader = tokio::spawn(reads(listener));
    let expect = Expect::Node(1.try_into().expect("it is not 0"));
    let tls = credentials(authority, 2).client_config(expect, &[b"test"]);
    let tls = QuicClientConfig::try_from(tls.expect("a configuration")).expect("a configuration");
    let mut config = ClientConfig::new(Arc::new(tls));
    config.transport_config(transport(CONNECTION_WINDOW_BYTES));
    let endpoint = Endpoint::client(any).expect("there is a port");
    let connecting = endpoint.connect_with(config, address, certs::SERVER_NAME);
    let connection = connecting.expect("it is an address").await.expect("a handshake");
    (endpoint, connection, reader)
}

#[tokio::test]
async fn packets_that_are_overtaken_are_not_taken_for_lost() {
    let cluster = ClusterId::generate().expect("there are random numbers");
    let authority = Authority::create(cluster, Duration::from_secs(86_400)).expect("an authority");
    let (_endpoint, connection, reader) = connected(&authority).await;
    let mut stream = connection.open_uni().await.expect("a stream");
    let sent = async {
        stream.write_all(&vec![7; SENT_BYTES]).await.expect("it is taken");
        stream.finish().expect("it is open");
        connection.closed().await;
        reader.await.expect("everything has arrived");
    };
    timeout(PATIENCE, sent).await.expect("it arrives in time");
    let path = connection.stats().path;
    assert!(path.sent_packets > 100, "{path:?}");
    // A full buffer loses some at a time, which is one event; the RFC's numbers make 72 to 102.
    assert!(path.congestion_events < 35, "{path:?}");
}
