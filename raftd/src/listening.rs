//! Why an address cannot be listened on, and what to do about it.

use std::fs;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::Path;

use transport::EndpointError;

use crate::exit::{Exit, Failure, chain};

/// Explains why the address under `listen` in a configuration file cannot be had. Most causes pass:
/// a network that is not up yet, a process that is about to end.
pub(crate) fn failure(error: &EndpointError, listen: SocketAddr, file: &Path) -> Failure {
    let said = chain(error);
    let source = match error {
        EndpointError::Bind { source, .. } => source,
        EndpointError::Certificates(_) | EndpointError::Tls(_) => {
            return Failure::new(Exit::Io, said);
        }
    };
    let (port, ip, file) = (listen.port(), listen.ip(), file.display());
    let (exit, said, hint) = match source.kind() {
        ErrorKind::AddrInUse => {
            let who = holder(port).unwrap_or_else(|| "another process".to_owned());
            let hint = format!(
                "`ss -ulpn 'sport = :{port}'` shows who listens there; stop it, or set another \
                 port in `listen` in {file}, which all other members must then be told"
            );
            (Exit::Io, format!("{said}: {who} has it"), hint)
        }
        ErrorKind::AddrNotAvailable => {
            let hint = format!(
                "no interface of this machine has {ip}, or not yet: `ip address` shows which it \
                 has; listen = \"[::]:{port}\" in {file} listens on all of them"
            );
            (Exit::Io, said, hint)
        }
        ErrorKind::PermissionDenied => {
            let hint = format!(
                "ports below 1024 take the capability CAP_NET_BIND_SERVICE; set a higher one in \
                 `listen` in {file}"
            );
            (Exit::Io, said, hint)
        }
        _ if ip.is_ipv6() && !has_ipv6() => {
            let hint = format!(
                "this machine has no IPv6: set `listen` in {file} to one of its IPv4 addresses, or \
                 to 0.0.0.0:{port} for all of them"
            );
            (Exit::Config, said, hint)
        }
        _ => {
            let hint = format!("set `listen` in {file} to an address of this machine and a port");
            (Exit::Io, said, hint)
        }
    };
    Failure::new(exit, said).hint(hint)
}

/// Says whether this machine has IPv6 at all.
fn has_ipv6() -> bool {
    fs::exists("/proc/net/if_inet6").unwrap_or(true)
}

/// Returns which process has a UDP port, as far as this one may look.
fn holder(port: u16) -> Option<String> {
    let tables = ["/proc/net/udp", "/proc/net/udp6"].map(fs::read_to_string);
    let inodes: Vec<String> =
        tables.iter().flatten().flat_map(|table| inodes(table, port)).collect();
    for process in fs::read_dir("/proc").ok()?.flatten() {
        let Ok(files) = fs::read_dir(process.path().join("fd")) else {
            continue;
        };
        let mut targets = files.flatten().filter_map(|file| fs::read_link(file.path()).ok());
        let has = targets.any(|target| {
            inodes.iter().any(|inode| target == Path::new(&format!("socket:[{inode}]")))
        });
        if has {
            let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            return Some(format!("{} (pid {})", name.trim(), process.file_name().display()));
        }
    }
    None
}

/// Returns the sockets with this local port in a table of the kernel's.
fn inodes(table: &str, port: u16) -> Vec<String> {
    let port = format!(":{port:04X}");
    let sockets = table.lines().skip(1).filter_map(|line| {
        let mut fields = line.split_whitespace();
        let local = fields.nth(1)?;
        let inode = fields.nth(7)?;
        local.ends_with(&port).then(|| inode.to_owned())
    });
    sockets.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;

    fn failed(listen: &str, kind: ErrorKind) -> Failure {
        let listen = listen.parse().expect("it is an address");
        let error = EndpointError::Bind { address: listen, source: kind.into() };
        failure(&error, listen, Path::new("/etc/raftd/raftd.toml"))
    }

    #[test]
    fn causes_that_pass_are_tried_again_and_each_has_its_remedy() {
        for (kind, remedy) in [
            (ErrorKind::AddrInUse, "ss -ulpn 'sport = :7400'"),
            (ErrorKind::AddrNotAvailable, "no interface of this machine has 192.0.2.1"),
            (ErrorKind::PermissionDenied, "CAP_NET_BIND_SERVICE"),
            (ErrorKind::InvalidInput, "an address of this machine and a port"),
        ] {
            let failure = failed("192.0.2.1:7400", kind);
            assert_eq!(failure.exit, Exit::Io);
            assert!(failure.message.contains("192.0.2.1:7400"), "{failure}");
            let hint = failure.hint.expect("something can be done");
            assert!(hint.contains(remedy) && !hint.contains("\n"), "{hint}");
        }
    }

    #[test]
    fn who_has_the_port_is_named() {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
        let port = socket.local_addr().expect("it is bound").port();
        let found = holder(port).expect("it is this very process");
        assert!(found.ends_with(&format!("(pid {})", std::process::id())), "{found}");
        drop(socket);
    }

    #[test]
    fn the_kernels_table_is_read() {
        let table = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   \
                     uid  timeout inode ref pointer drops\n  \
                     201: 00000000:1CE8 00000000:0000 07 00000000:00000000 00:00000000 00000000     \
                     0        0 123456 2 0000000000000000 0\n  \
                     202: 0100007F:1CE9 00000000:0000 07 00000000:00000000 00:00000000 00000000     \
                     0        0 123457 2 0000000000000000 0\n";
        assert_eq!(inodes(table, 7_400), ["123456"]);
        assert_eq!(inodes(table, 7_402), [""; 0]);
    }
}
