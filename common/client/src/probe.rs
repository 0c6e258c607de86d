//! A closed port says so at once (ICMP), but a QUIC handshake does not hear it: it only times out.
//! So a connected socket listens for that answer beside each handshake.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::{UdpSocket, lookup_host};

/// Too short for any QUIC packet: whoever listens drops it without an answer.
const NOTHING: [u8; 1] = [0];

/// Waits until the system says that nobody listens there, and returns the resolved address; waits
/// for ever if it never does.
pub(crate) async fn closed(address: &str) -> SocketAddr {
    match ask(address).await {
        Some(closed) => closed,
        None => std::future::pending().await,
    }
}

async fn ask(address: &str) -> Option<SocketAddr> {
    let resolved = lookup_host(address).await.ok()?.next()?;
    let any: SocketAddr = match resolved {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await.ok()?;
    socket.connect(resolved).await.ok()?;
    socket.send(&NOTHING).await.ok()?;
    match socket.recv(&mut [0; 16]).await {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Some(resolved),
        Ok(_) | Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::time::timeout;

    #[tokio::test]
    async fn a_closed_port_is_noticed_and_an_open_one_is_not() {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port is free");
        let address = socket.local_addr().expect("it is bound");
        let open = timeout(Duration::from_millis(100), closed(&address.to_string())).await;
        assert!(open.is_err());
        drop(socket);
        let found = timeout(Duration::from_secs(5), closed(&address.to_string())).await;
        assert_eq!(found, Ok(address));
    }
}
