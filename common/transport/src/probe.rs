//! A closed port says so at once (ICMP), and so does a firewall that rejects, but a QUIC handshake
//! does not hear it: it only times out. So a connected socket listens for that answer beside each
//! handshake.
//!
//! Given up: a router's word that a host or network cannot be reached reaches such a socket only
//! with an option (`IP_RECVERR`) that no safe library offers here; then it is silence. What this
//! machine itself knows (no route, no IPv6, a rejecting firewall) is heard.

use std::io::{Error, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::timeout;

use crate::error::Rejection;

/// Too short for any QUIC packet: whoever listens drops it without an answer.
const NOTHING: [u8; 1] = [0];

/// How long to wait for the system's word before asking again: it may get lost, and systems say it
/// only so often.
const AGAIN_AFTER: Duration = Duration::from_millis(250);

/// Waits until the system says that nothing can be sent there, and how; waits for ever if it never
/// does.
pub(crate) async fn rejected(place: SocketAddr) -> Rejection {
    let any: SocketAddr = match place {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = match UdpSocket::bind(any).await {
        Ok(socket) => socket,
        Err(_) if place.is_ipv6() => return Rejection::Unusable("this machine has no IPv6".into()),
        // Out of sockets: nothing is learnt here.
        Err(_) => return std::future::pending().await,
    };
    if let Err(error) = socket.connect(place).await {
        // A route that swallows everything is called an invalid argument.
        return read(&error).unwrap_or(Rejection::Network);
    }
    loop {
        let heard = async {
            socket.send(&NOTHING).await?;
            socket.recv(&mut [0; 16]).await
        };
        if let Ok(Err(error)) = timeout(AGAIN_AFTER, heard).await
            && let Some(rejection) = read(&error)
        {
            return rejection;
        }
    }
}

/// Waits until the system says that nobody listens on a port; waits for ever if it never does.
pub async fn closed(place: SocketAddr) {
    match rejected(place).await {
        Rejection::Closed => {}
        Rejection::Host | Rejection::Network | Rejection::Prohibited | Rejection::Unusable(_) => {
            std::future::pending::<()>().await;
        }
    }
}

#[allow(clippy::wildcard_enum_match_arm, reason = "the standard library may add kinds")]
fn read(error: &Error) -> Option<Rejection> {
    match error.kind() {
        ErrorKind::ConnectionRefused => Some(Rejection::Closed),
        ErrorKind::HostUnreachable => Some(Rejection::Host),
        ErrorKind::NetworkUnreachable | ErrorKind::AddrNotAvailable => Some(Rejection::Network),
        ErrorKind::PermissionDenied => Some(Rejection::Prohibited),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_closed_port_is_noticed_and_an_open_one_is_not() {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port is free");
        let address = socket.local_addr().expect("it is bound");
        let open = timeout(Duration::from_millis(100), rejected(address)).await;
        assert!(open.is_err());
        drop(socket);
        let found = timeout(Duration::from_secs(5), rejected(address)).await;
        assert_eq!(found, Ok(Rejection::Closed));
    }

    #[tokio::test]
    async fn a_place_without_a_way_is_noticed_and_is_no_closed_port() {
        // An address for documentation, on a link that does not exist.
        let place: SocketAddr = "[fe80::1%4294967295]:7400".parse().expect("it is one");
        let found = timeout(Duration::from_secs(5), rejected(place)).await.expect("at once");
        assert_ne!(found, Rejection::Closed);
        let port_closed = timeout(Duration::from_millis(100), closed(place)).await;
        assert!(port_closed.is_err());
    }
}
