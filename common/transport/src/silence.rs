//! Notices at once that the process at the other end of a connection has ended. A killed process
//! says no farewell, and QUIC waits for an idle timeout; but the kernel of its machine answers for
//! a closed port. So when nothing arrives for a moment, that port is asked.
//!
//! A process that is stopped, or slow, holds its port, and a machine that is gone answers nothing:
//! for both, all is as if nobody had asked. A firewall that rejects looks like a closed port: what
//! follows from this must do no harm where it is wrong.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use quinn::Connection;
use tokio::net::UdpSocket;
use tokio::time::sleep;

/// Without a packet for so long, the port is asked: members acknowledge each other's heartbeats.
const QUIET: Duration = Duration::from_millis(20);

/// So often it is asked in a row, and then every third time: a connection that has nothing to carry
/// is quiet for long.
const IN_A_ROW: u64 = 4;
const THEN_EVERY: u64 = 3;

/// Too short for any QUIC packet: whoever listens drops it without an answer.
const NOTHING: [u8; 1] = [0];

/// Waits until the system says that nobody listens any more at the other end of a connection; waits
/// for ever if it never does.
pub(crate) async fn ended(connection: &Connection) {
    let Some(socket) = socket_to(connection.remote_address()).await else {
        return std::future::pending().await;
    };
    let (mut seen, mut quiet) = (0, 0_u64);
    loop {
        tokio::select! {
            () = refused(&socket) => return,
            () = sleep(QUIET) => {}
        }
        let arrived = connection.stats().udp_rx.datagrams;
        if arrived != seen {
            (seen, quiet) = (arrived, 0);
            continue;
        }
        quiet += 1;
        if quiet <= IN_A_ROW || quiet.is_multiple_of(THEN_EVERY) {
            // What it is told of an earlier packet comes as an error of the next.
            if is_refused(&socket.send(&NOTHING).await) {
                return;
            }
        }
    }
}

/// Makes a socket that is told of closed ports at one place.
async fn socket_to(place: SocketAddr) -> Option<UdpSocket> {
    // A v4 address on a v6 socket is asked as what it is; another keeps its scope.
    let ip = place.ip().to_canonical();
    let place = if ip.is_ipv4() { SocketAddr::new(ip, place.port()) } else { place };
    let any: SocketAddr = match place {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await.ok()?;
    socket.connect(place).await.ok()?;
    Some(socket)
}

/// Waits until a packet was refused.
async fn refused(socket: &UdpSocket) {
    loop {
        let read = socket.recv(&mut [0; 16]).await;
        if is_refused(&read) {
            return;
        }
        if read.is_err() {
            // Some other trouble of the way there: it is looked at again later.
            sleep(QUIET).await;
        }
    }
}

fn is_refused(done: &std::io::Result<usize>) -> bool {
    done.as_ref().is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::timeout;

    #[tokio::test]
    async fn a_port_that_is_given_up_is_noticed_and_one_that_is_held_is_not() {
        let held = UdpSocket::bind("127.0.0.1:0").await.expect("a port is free");
        let address = held.local_addr().expect("it is bound");
        let mapped = format!("[::ffff:127.0.0.1]:{}", address.port());
        for place in [address, mapped.parse().expect("an address")] {
            let socket = socket_to(place).await.expect("a socket can be had");
            assert_eq!(socket.send(&NOTHING).await.ok(), Some(1));
            assert!(timeout(QUIET, refused(&socket)).await.is_err(), "it is held");
        }
        drop(held);
        let socket = socket_to(address).await.expect("a socket can be had");
        let _ = socket.send(&NOTHING).await;
        timeout(Duration::from_secs(5), refused(&socket)).await.expect("nobody holds it");
    }
}
