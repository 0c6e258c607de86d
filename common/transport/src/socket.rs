//! The UDP socket: of both address families where the machine has both, with large buffers.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};

use crate::limits::SOCKET_BUFFER_BYTES;

/// Binds a socket; says what an operator should know of it if it listens.
pub(crate) fn bind(address: SocketAddr, listens: bool) -> io::Result<Socket> {
    let open = |address| open(address, listens);
    let (socket, instead) = bind_with(address, open)?;
    if let Some((bound, error)) = instead.filter(|_| listens) {
        tracing::info!(
            name: "no-ipv6",
            listen = %bound,
            why = %error,
            "this machine has no IPv6: listening on all IPv4 addresses instead of {address}; \
             listen = \"{bound}\" in raftd.toml says the same"
        );
    }
    Ok(socket)
}

/// Takes a socket that the service manager has opened, with the buffers that it has.
pub(crate) fn adopt(socket: std::net::UdpSocket) -> Socket {
    let socket = Socket::from(socket);
    say_small(&socket);
    socket
}

/// Binds all v4 addresses where those of both families were asked for, and there is no v6: returns
/// what was bound instead, and why.
fn bind_with<S>(
    address: SocketAddr,
    open: impl Fn(SocketAddr) -> io::Result<S>,
) -> io::Result<(S, Option<(SocketAddr, io::Error)>)> {
    let error = match open(address) {
        Ok(socket) => return Ok((socket, None)),
        Err(error) => error,
    };
    let all = address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    // The errors of a missing family are many: no such family, no such option, no such address, or
    // what a sandbox says. A port that is taken is none of them.
    if !all || error.kind() == io::ErrorKind::AddrInUse {
        return Err(error);
    }
    let all_v4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
    match open(all_v4) {
        Ok(socket) => Ok((socket, Some((all_v4, error)))),
        // It has nothing to do with the family.
        Err(same) if same.kind() == error.kind() => Err(error),
        Err(other) => Err(other),
    }
}

fn open(address: SocketAddr, listens: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        // Whatever net.ipv6.bindv6only says.
        socket.set_only_v6(false)?;
    }
    // What the kernel gives less is said below.
    let _ = socket.set_send_buffer_size(SOCKET_BUFFER_BYTES);
    let _ = socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES);
    if listens {
        say_small(&socket);
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Says so when the kernel gave smaller buffers than were asked for, for nobody else does.
fn say_small(socket: &Socket) {
    let receive = socket.recv_buffer_size().unwrap_or(0);
    let send = socket.send_buffer_size().unwrap_or(0);
    if receive.min(send) < SOCKET_BUFFER_BYTES {
        tracing::warn!(
            name: "small-buffers",
            receive_bytes = receive,
            send_bytes = send,
            wanted_bytes = SOCKET_BUFFER_BYTES,
            "the kernel limits UDP buffers, packets may be lost under load; \
             try: sysctl -w net.core.rmem_max={SOCKET_BUFFER_BYTES} \
             net.core.wmem_max={SOCKET_BUFFER_BYTES} (and keep it in /etc/sysctl.d)"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::ErrorKind::{AddrInUse, AddrNotAvailable, PermissionDenied, Unsupported};

    /// Binds on a machine that refuses v6 addresses with one error, and v4 addresses with another.
    fn bound(
        address: &str,
        v6: Option<io::ErrorKind>,
        v4: Option<io::ErrorKind>,
    ) -> Result<String, io::ErrorKind> {
        let open = |address: SocketAddr| match if address.is_ipv6() { v6 } else { v4 } {
            Some(kind) => Err(io::Error::from(kind)),
            None => Ok(address.to_string()),
        };
        let bound = bind_with(address.parse().expect("it is one"), open);
        bound.map(|(address, _)| address).map_err(|error| error.kind())
    }

    #[test]
    fn without_ipv6_all_addresses_are_all_v4_addresses() {
        assert_eq!(bound("[::]:7400", None, None).as_deref(), Ok("[::]:7400"));
        for missing in [Unsupported, AddrNotAvailable, PermissionDenied] {
            assert_eq!(bound("[::]:7400", Some(missing), None).as_deref(), Ok("0.0.0.0:7400"));
        }
    }

    #[test]
    fn a_port_that_is_taken_and_one_address_that_is_missing_are_errors() {
        assert_eq!(bound("[::]:7400", Some(AddrInUse), None), Err(AddrInUse));
        assert_eq!(bound("[::]:7400", Some(Unsupported), Some(AddrInUse)), Err(AddrInUse));
        let denied = Some(PermissionDenied);
        assert_eq!(bound("[::]:74", denied, denied), Err(PermissionDenied));
        assert_eq!(bound("[fd00::1]:7400", Some(AddrNotAvailable), None), Err(AddrNotAvailable));
        assert_eq!(bound("[::1]:7400", Some(Unsupported), None), Err(Unsupported));
        assert_eq!(bound("10.0.0.1:7400", None, Some(AddrNotAvailable)), Err(AddrNotAvailable));
    }

    #[test]
    fn a_socket_for_all_addresses_takes_both_families() {
        let socket = bind("[::]:0".parse().expect("it is one"), false).expect("it is free");
        let local = socket.local_addr().ok().and_then(|local| local.as_socket()).expect("bound");
        // On a machine without IPv6 there is nothing more to show.
        if local.is_ipv6() {
            assert!(!socket.only_v6().expect("it is v6"));
        } else {
            assert_eq!(local.ip(), IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        }
    }
}
