//! Why an address cannot be listened on, and what to do about it.

use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use tokio::time::sleep;
use transport::EndpointError;

use crate::exit::{Exit, Failure, chain};

/// How long an address is waited for that the machine does not have yet: with the second that the
/// units leave between starts, their 20 starts in 5 minutes are never used up, and the node is
/// there when the address is.
const ADDRESS_PATIENCE: Duration = Duration::from_secs(15);

/// How often it is tried meanwhile.
const PAUSE: Duration = Duration::from_millis(250);

/// Opens the endpoint; waits a while for an address that the machine does not have yet.
///
/// # Errors
/// Why it cannot be opened, and what to do about it.
pub(crate) async fn patiently<T>(
    open: impl Fn() -> Result<T, EndpointError>,
    listen: SocketAddr,
    file: &Path,
) -> Result<T, Failure> {
    let began = Instant::now();
    let mut told = false;
    loop {
        let error = match open() {
            Ok(opened) => return Ok(opened),
            Err(error) => error,
        };
        if !is_missing(&error) || began.elapsed() >= ADDRESS_PATIENCE {
            return Err(failure(&error, listen, file));
        }
        if !std::mem::replace(&mut told, true) {
            let seconds = ADDRESS_PATIENCE.as_secs();
            tracing::warn!(
                name: "address-awaited",
                "{}; waiting for the address for {seconds} s", chain(&error)
            );
        }
        sleep(PAUSE).await;
    }
}

/// Says whether the machine does not have the address, yet.
fn is_missing(error: &EndpointError) -> bool {
    match error {
        EndpointError::Bind { source, .. } => source.kind() == ErrorKind::AddrNotAvailable,
        EndpointError::Certificates(_) | EndpointError::Tls(_) => false,
    }
}

/// Explains why the address under `listen` in a configuration file cannot be used. Most causes pass
/// by themselves: a network that is not up yet, a process that is about to end.
fn failure(error: &EndpointError, listen: SocketAddr, file: &Path) -> Failure {
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
            let who = match holders(port).as_slice() {
                [] => "another process".to_owned(),
                known => known.join(" or "),
            };
            let hint = format!(
                "`ss -ulpn 'sport = :{port}'` shows who listens there; stop it, or set another \
                 port in `listen` in {file}, which all other members must then be told"
            );
            (Exit::Io, format!("{said}, by {who}"), hint)
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
        _ if Errno::from_io_error(source) == Some(Errno::AFNOSUPPORT) => {
            let hint = format!(
                "this machine has no IPv6: set `listen` in {file} to one of its IPv4 addresses, or \
                 to 0.0.0.0:{port} for all of them"
            );
            (Exit::Config, said, hint)
        }
        _ if is_link_local(ip) => {
            let hint = format!(
                "a link-local address needs the number of its interface (`ip link`): listen = \
                 \"[{ip}%2]:{port}\" in {file}"
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

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(_) => false,
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

/// Returns which processes have a UDP port, on whatever address, as far as this one may look.
fn holders(port: u16) -> Vec<String> {
    let tables = ["/proc/net/udp", "/proc/net/udp6"].map(fs::read_to_string);
    let inodes = tables.iter().flatten().flat_map(|table| inodes(table, port));
    let sockets: Vec<PathBuf> = inodes.map(|inode| format!("socket:[{inode}]").into()).collect();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let has_one = |process: &fs::DirEntry| {
        let files = fs::read_dir(process.path().join("fd")).into_iter().flatten().flatten();
        let mut targets = files.filter_map(|file| fs::read_link(file.path()).ok());
        targets.any(|target| sockets.contains(&target))
    };
    let name = |process: fs::DirEntry| {
        let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
        format!("{} (pid {})", name.trim(), process.file_name().display())
    };
    // Beside processes there are names for this one.
    let is_process = |entry: &fs::DirEntry| {
        entry.file_name().to_str().is_some_and(|name| name.bytes().all(|b| b.is_ascii_digit()))
    };
    processes.filter(is_process).filter(has_one).map(name).collect()
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
    use std::cell::Cell;
    use std::io;
    use std::net::UdpSocket;

    fn failed(listen: &str, source: impl Into<io::Error>) -> Failure {
        let listen = listen.parse().expect("it is an address");
        let error = EndpointError::Bind { address: listen, source: source.into() };
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
    fn an_address_that_no_machine_or_this_one_never_has_is_a_matter_of_the_configuration() {
        let failure = failed("[fe80::1]:7400", Errno::INVAL);
        assert_eq!(failure.exit, Exit::Config);
        assert!(failure.hint.is_some_and(|hint| hint.contains("[fe80::1%2]:7400")));
        let failure = failed("[::1]:7400", Errno::AFNOSUPPORT);
        assert_eq!(failure.exit, Exit::Config);
        let hint = failure.hint.expect("something can be done");
        assert!(hint.contains("no IPv6") && hint.contains("0.0.0.0:7400"), "{hint}");
    }

    #[tokio::test]
    async fn an_address_that_comes_late_is_waited_for_and_a_port_that_is_taken_is_not() {
        let listen: SocketAddr = "192.0.2.1:7400".parse().expect("it is an address");
        let refuse = |kind: ErrorKind| {
            Err(EndpointError::Bind { address: listen, source: io::Error::from(kind) })
        };
        let tries = Cell::new(0);
        let open = |kind| {
            tries.set(tries.get() + 1);
            if tries.get() < 3 { refuse(kind) } else { Ok("open") }
        };
        let file = Path::new("raftd.toml");
        let late = patiently(|| open(ErrorKind::AddrNotAvailable), listen, file).await;
        assert_eq!((late, tries.replace(0)), (Ok("open"), 3));
        let taken = patiently(|| open(ErrorKind::AddrInUse), listen, file).await;
        assert_eq!((taken.is_err(), tries.get()), (true, 1));
    }

    #[test]
    fn who_has_the_port_is_named() {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
        let port = socket.local_addr().expect("it is bound").port();
        let me = format!("(pid {})", std::process::id());
        let found = holders(port);
        assert!(found.len() == 1 && found[0].ends_with(&me), "{found:?}");
        drop(socket);
    }

    #[test]
    fn the_kernels_table_is_read() {
        let table = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt \
                     uid  timeout inode ref pointer drops\n  \
                     201: 00000000:1CE8 00000000:0000 07 00000000:00000000 00:00000000 00000000 \
                     0        0 123456 2 0000000000000000 0\n  \
                     202: 0100007F:1CE9 00000000:0000 07 00000000:00000000 00:00000000 00000000 \
                     0        0 123457 2 0000000000000000 0\n";
        assert_eq!(inodes(table, 7_400), ["123456"]);
        assert_eq!(inodes(table, 7_402), [""; 0]);
    }
}
