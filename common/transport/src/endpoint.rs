//! One UDP socket that listens and dials, always with certificates on both sides.

use std::net::{Ipv6Addr, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use certs::{Credentials, Expect, Identity, Role};
use protocol::CertificateId;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ClientConfig, Connection, ConnectionError, ServerConfig};
use quinn::{TransportErrorCode, VarInt};
use tokio::time::timeout;

use crate::alpn::Alpn;
use crate::close::Close;
use crate::error::{Cause, ConnectError, EndpointError, Rejection, TurnedAway};
use crate::guard::{self, Guard, Watched};
use crate::limits::{
    CLIENT_STREAMS_MAX, CLIENT_WINDOW_BYTES, CONNECTION_WINDOW_BYTES, IDLE_TIMEOUT,
    INCOMING_BYTES_MAX, INCOMING_MAX, INCOMING_TOTAL_BYTES_MAX,
};
use crate::probe;
use crate::reach::{Places, called};
use crate::reset;
use crate::seats::{Full, Seat, Seats};
use crate::settings::transport;
use crate::sockets::{self, Sockets};

/// TLS alerts, as QUIC's error codes carry them (RFC 9001 §4.8).
const TLS_ALERTS: std::ops::RangeInclusive<u64> = 0x100..=0x1ff;

/// The alert for a protocol that the other side does not know (RFC 7301 §3.2).
const NO_COMMON_PROTOCOL: u64 = 0x178;

/// The most characters that are taken over of what the other side says.
const HEARD_CHARS_MAX: usize = 500;

/// A connection from outside whose certificate has been checked.
#[derive(Debug)]
pub struct Accepted {
    /// Who it is.
    pub identity: Identity,
    /// The certificate that it has shown.
    pub(crate) certificate: CertificateId,
    /// What for.
    pub alpn: Alpn,
    /// Where from.
    pub remote: SocketAddr,
    pub(crate) connection: Connection,
    /// Its place, which it has until it ends.
    pub(crate) seat: Seat,
    /// Whoever looks after it as long.
    pub(crate) watched: Watched,
}

/// A connection from outside before its handshake.
#[derive(Debug)]
pub struct Incoming {
    incoming: quinn::Incoming,
    guard: Guard,
}

impl Incoming {
    /// Returns where it comes from; anybody may have written that, unless it is proven.
    pub fn remote(&self) -> SocketAddr {
        plain(self.incoming.remote_address())
    }

    /// Says whether whoever comes has shown that it receives what is sent to its address.
    pub fn is_proven(&self) -> bool {
        self.incoming.remote_address_validated() || !self.incoming.may_retry()
    }

    /// Asks it to come again with a proof of that, which keeps nothing here.
    pub fn prove(self) {
        // It fails only for those who need not be asked.
        let _ = self.incoming.retry();
    }

    /// Says nothing: whoever means it comes again.
    pub fn drop_silently(self) {
        self.incoming.ignore();
    }

    /// Finishes the handshake, checks whether this role may use this protocol, and gives the
    /// connection a place.
    ///
    /// # Errors
    /// Who came, and which check failed.
    pub async fn finish(self, seats: &Seats) -> Result<Accepted, TurnedAway> {
        let remote = plain(self.incoming.remote_address());
        let away = |cause, why| TurnedAway { cause, who: remote.to_string(), why };
        let broken = |error| away(cause(&error), describe(&error));
        let connecting = self.incoming.accept().map_err(broken)?;
        let connection = timeout(IDLE_TIMEOUT, connecting)
            .await
            .map_err(|_| away(Cause::Gone, "the handshake took too long".into()))?
            .map_err(broken)?;
        let refused = |cause, why: String| {
            connection.close(Close::Refused.code(), why.as_bytes());
            away(cause, why)
        };
        let alpn = negotiated(&connection)
            .ok_or_else(|| refused(Cause::Protocol, "unknown protocol".into()))?;
        let shown = guard::shown(&connection).map_err(|why| refused(Cause::Certificate, why))?;
        let (identity, certificate) = (shown.identity.clone(), guard::id(&shown));
        if !alpn.admits(&identity.role) {
            let protocol = String::from_utf8_lossy(alpn.name());
            let why = format!("the certificate of {identity} may not use {protocol}");
            return Err(refused(Cause::Role, why));
        }
        let watched = self.guard.watch(&connection, shown, alpn);
        let watched = watched.map_err(|why| refused(Cause::Certificate, why))?;
        if alpn == Alpn::Client && !matches!(identity.role, Role::Operator(_)) {
            connection.set_max_concurrent_bi_streams(VarInt::from_u32(CLIENT_STREAMS_MAX + 1));
        } else {
            connection.set_receive_window(VarInt::from_u32(CONNECTION_WINDOW_BYTES));
            connection.set_send_window(u64::from(CONNECTION_WINDOW_BYTES));
        }
        let seat = seats.seat(&identity, alpn).map_err(|full| {
            let why = full.to_string();
            connection.close(Close::Full.code(), why.as_bytes());
            let cause = match full {
                Full::Everybody { .. } => Cause::Crowd,
                Full::Identity { .. } => Cause::Share,
            };
            TurnedAway { cause, who: format!("{identity} at {remote}"), why }
        })?;
        Ok(Accepted { identity, certificate, alpn, remote, connection, seat, watched })
    }
}

/// The credentials that an endpoint shows. Who holds this holds no socket.
#[derive(Clone, Debug)]
pub struct Presented(Arc<RwLock<Credentials>>);

impl Presented {
    /// Returns those of now.
    pub fn now(&self) -> Credentials {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Lets the endpoint dial with others from now on; one that listens needs
    /// [`Endpoint::replace`].
    pub fn replace(&self, credentials: &Credentials) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = credentials.clone();
    }
}

/// A UDP socket with QUIC on it, or several.
#[derive(Clone, Debug)]
pub struct Endpoint {
    sockets: Sockets,
    /// What new connections show and check.
    credentials: Arc<RwLock<Credentials>>,
    /// Where names led.
    pub(crate) places: Places,
    guard: Guard,
}

impl Endpoint {
    /// Listens, and dials from the same socket. Without IPv6 on this machine, all addresses are all
    /// v4 addresses: [`Endpoint::local_addr`] tells.
    ///
    /// # Errors
    /// If the address cannot be bound, or the certificates are not a node's.
    pub fn server(bind: SocketAddr, credentials: &Credentials) -> Result<Self, EndpointError> {
        Self::server_with(bind, credentials, None)
    }

    /// As [`Endpoint::server`], with a key by which peers and clients take this process for the one
    /// before: they notice a restart in one round trip.
    ///
    /// # Errors
    /// As [`Endpoint::server`].
    pub fn server_with(
        bind: SocketAddr,
        credentials: &Credentials,
        reset_key: Option<&[u8; 32]>,
    ) -> Result<Self, EndpointError> {
        let config = server_config(credentials)?;
        let socket = sockets::bind(bind, Some(config), reset::config(reset_key))?;
        Ok(Self::with(socket, credentials))
    }

    /// As [`Endpoint::server_with`], on a socket that is bound already.
    ///
    /// # Errors
    /// If the socket cannot be used, or the certificates are not a node's.
    pub fn server_on(
        socket: std::net::UdpSocket,
        credentials: &Credentials,
        reset_key: Option<&[u8; 32]>,
    ) -> Result<Self, EndpointError> {
        let config = server_config(credentials)?;
        let socket = sockets::adopt(socket, config, reset::config(reset_key))?;
        Ok(Self::with(socket, credentials))
    }

    /// Dials only, from any port.
    ///
    /// # Errors
    /// If no socket can be had.
    pub fn client(credentials: &Credentials) -> Result<Self, EndpointError> {
        let all = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
        Ok(Self::with(sockets::bind(all, None, reset::config(None))?, credentials))
    }

    /// Listens at one more address, before anybody has come; whom it dials, it dials from the first
    /// socket that has the other's family.
    ///
    /// # Errors
    /// If the address cannot be bound.
    pub fn also_at(
        mut self,
        bind: SocketAddr,
        reset_key: Option<&[u8; 32]>,
    ) -> Result<Self, EndpointError> {
        let config = server_config(&self.credentials())?;
        self.sockets.add(sockets::bind(bind, Some(config), reset::config(reset_key))?);
        Ok(self)
    }

    fn with(socket: quinn::Endpoint, credentials: &Credentials) -> Self {
        let credentials = Arc::new(RwLock::new(credentials.clone()));
        let (sockets, places) = (Sockets::of(socket), Places::default());
        Self { sockets, credentials, places, guard: Guard::default() }
    }

    /// Returns the address that is listened on; of several, the first one.
    ///
    /// # Errors
    /// If the system does not tell.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.sockets.first().local_addr()
    }

    /// Returns all addresses that are listened on, as far as the system tells.
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        self.sockets.all().filter_map(|socket| socket.local_addr().ok()).collect()
    }

    /// Returns who looks after the connections.
    pub fn guard(&self) -> &Guard {
        &self.guard
    }

    /// Returns the certificates in use.
    pub fn credentials(&self) -> Credentials {
        self.presented().now()
    }

    /// Returns what tells the credentials also when the endpoint is gone.
    pub fn presented(&self) -> Presented {
        Presented(Arc::clone(&self.credentials))
    }

    /// Lets all copies of a listening endpoint use other certificates for every connection from
    /// now on, on both sides. Connections that exist live on, but for those of an authority that is
    /// trusted no more.
    ///
    /// # Errors
    /// If the certificates are not a node's; nothing has changed then.
    pub fn replace(&self, credentials: &Credentials) -> Result<(), EndpointError> {
        let config = server_config(credentials)?;
        // Handshakes that are under way are judged by the new ones, whichever they began with.
        self.guard.trust(&self.credentials(), credentials);
        self.sockets.set_server_config(&config);
        self.presented().replace(credentials);
        Ok(())
    }

    /// Waits for a connection; `None` once the endpoint is closed.
    pub async fn accept(&self) -> Option<Incoming> {
        let incoming = self.sockets.accept().await?;
        Some(Incoming { incoming, guard: self.guard.clone() })
    }

    /// Says whether a node that was dialled was reached at this address.
    pub fn has_reached(&self, address: SocketAddr) -> bool {
        self.places.lead_to(address.ip().to_canonical())
    }

    /// Closes all connections, tells the other sides why, and waits until that is sent.
    pub async fn close(&self, reason: &str) {
        self.sockets.close(Close::Done.code(), reason.as_bytes());
        // A peer that is gone does not keep a process from ending.
        let _ = timeout(Duration::from_millis(500), self.sockets.wait_idle()).await;
    }

    /// Makes the handshake with one address of a name.
    pub(crate) async fn dial(
        &self,
        address: &str,
        remote: SocketAddr,
        expect: Expect,
        alpn: Alpn,
    ) -> Result<(Connection, Watched), ConnectError> {
        let address = called(address, remote);
        let failed = |why: String| ConnectError::Handshake { address: address.clone(), why };
        let tls = self.credentials().client_config(expect, &[alpn.name()]);
        let tls = tls.map_err(|error| failed(error.to_string()))?;
        let quic = QuicClientConfig::try_from(tls).map_err(|error| failed(error.to_string()))?;
        let mut config = ClientConfig::new(Arc::new(quic));
        config.transport_config(transport(CONNECTION_WINDOW_BYTES));
        let socket = self.sockets.toward(remote);
        let connecting =
            socket.connect_with(config, remote, certs::SERVER_NAME).map_err(|error| {
                let is_family = remote.port() != 0
                    && matches!(error, quinn::ConnectError::InvalidRemoteAddress(_));
                let why =
                    if is_family { "this socket has no IPv6".into() } else { error.to_string() };
                let how = Rejection::Unusable(why);
                ConnectError::Rejected { address: address.clone(), how }
            })?;
        let connected = tokio::select! {
            connected = connecting => connected.map_err(|error| {
                if error == ConnectionError::TimedOut {
                    return ConnectError::Silent { address: address.clone(), after: IDLE_TIMEOUT };
                }
                broken(&address, &error)
            }),
            how = probe::rejected(remote) => {
                Err(ConnectError::Rejected { address: address.clone(), how })
            }
        };
        let connection = connected?;
        let watched = guard::shown(&connection)
            .and_then(|shown| self.guard.watch(&connection, shown, alpn))
            .map_err(|why| {
                connection.close(Close::Refused.code(), why.as_bytes());
                failed(why)
            })?;
        Ok((connection, watched))
    }
}

/// What whoever connects is shown, and how it is checked.
fn server_config(credentials: &Credentials) -> Result<ServerConfig, EndpointError> {
    let tls = credentials.server_config(&Alpn::ALL.map(Alpn::name))?;
    let quic =
        QuicServerConfig::try_from(tls).map_err(|error| EndpointError::Tls(error.to_string()))?;
    let mut config = ServerConfig::with_crypto(Arc::new(quic));
    // What nobody has shown a certificate for, and what clients send, is little; nodes and
    // operators get more when it is known who they are.
    config
        .transport_config(transport(CLIENT_WINDOW_BYTES))
        .max_incoming(INCOMING_MAX)
        .incoming_buffer_size(INCOMING_BYTES_MAX)
        .incoming_buffer_size_total(INCOMING_TOTAL_BYTES_MAX);
    Ok(config)
}

/// Sorts what ended a connection while it was made: a failed check of certificates, which waiting
/// does not mend, or a node that stops or has enough.
pub(crate) fn broken(address: &str, error: &ConnectionError) -> ConnectError {
    let address = address.to_owned();
    let code = match error {
        ConnectionError::TransportError(error) => Some(u64::from(error.code)),
        ConnectionError::ConnectionClosed(close) => Some(u64::from(close.error_code)),
        ConnectionError::VersionMismatch
        | ConnectionError::ApplicationClosed(_)
        | ConnectionError::Reset
        | ConnectionError::TimedOut
        | ConnectionError::LocallyClosed
        | ConnectionError::CidsExhausted => None,
    };
    match (code, error) {
        (Some(code), _) if TLS_ALERTS.contains(&code) => {
            ConnectError::Handshake { address, why: describe(error) }
        }
        (Some(code), _) if code == u64::from(TransportErrorCode::CONNECTION_REFUSED) => {
            ConnectError::Closed { address, why: "it stops, or has enough connections".into() }
        }
        (_, ConnectionError::ApplicationClosed(close))
            if close.error_code == Close::Full.code() =>
        {
            ConnectError::Full { address, why: describe(error) }
        }
        (_, ConnectionError::ApplicationClosed(close))
            if close.error_code == Close::Refused.code() =>
        {
            ConnectError::Handshake { address, why: describe(error) }
        }
        (_, ConnectionError::TimedOut) => ConnectError::Mute { address, after: IDLE_TIMEOUT },
        _ => ConnectError::Closed { address, why: describe(error) },
    }
}

/// Returns why a connection ended, as a sentence; what the other side said comes first.
pub(crate) fn describe(error: &ConnectionError) -> String {
    match error {
        ConnectionError::ApplicationClosed(close) if !close.reason.is_empty() => {
            heard(&close.reason)
        }
        ConnectionError::ConnectionClosed(close) if !close.reason.is_empty() => {
            format!("the other side says: {}", in_words(&heard(&close.reason)))
        }
        // It may speak of a certificate, which says what its owner likes.
        ConnectionError::TransportError(error) if !error.reason.is_empty() => {
            in_words(&heard(error.reason.as_bytes()))
        }
        ConnectionError::TimedOut => {
            format!("nothing was heard for {IDLE_TIMEOUT:?}: it hangs, or the network is cut")
        }
        ConnectionError::ApplicationClosed(_)
        | ConnectionError::ConnectionClosed(_)
        | ConnectionError::TransportError(_)
        | ConnectionError::VersionMismatch
        | ConnectionError::Reset
        | ConnectionError::LocallyClosed
        | ConnectionError::CidsExhausted => heard(error.to_string().as_bytes()),
    }
}

/// Leaves out the names that rustls gives to the reasons of others.
fn in_words(reason: &str) -> String {
    let reason = reason.strip_prefix("invalid peer certificate: ").unwrap_or(reason);
    let inner = reason.strip_prefix("Other(OtherError(").and_then(|rest| rest.strip_suffix("))"));
    inner.unwrap_or(reason).to_owned()
}

/// Sorts what ended a connection from outside while it was made.
fn cause(error: &ConnectionError) -> Cause {
    let by_code = |code: u64, otherwise| match code {
        NO_COMMON_PROTOCOL => Cause::Protocol,
        code if TLS_ALERTS.contains(&code) => Cause::Certificate,
        _ => otherwise,
    };
    match error {
        ConnectionError::VersionMismatch => Cause::Protocol,
        ConnectionError::TransportError(error) => by_code(error.code.into(), Cause::Protocol),
        ConnectionError::ConnectionClosed(close) => by_code(close.error_code.into(), Cause::Gone),
        ConnectionError::ApplicationClosed(_)
        | ConnectionError::Reset
        | ConnectionError::TimedOut
        | ConnectionError::LocallyClosed
        | ConnectionError::CidsExhausted => Cause::Gone,
    }
}

/// Returns what the other side said, fit for a line: it may be anybody.
pub(crate) fn heard(words: &[u8]) -> String {
    let text = String::from_utf8_lossy(words);
    let escaped = text.chars().take(HEARD_CHARS_MAX).flat_map(|char| {
        let (as_it_is, escaped) = match char {
            '"' | '\'' | '\\' => (Some(char), None),
            other => (None, Some(other.escape_debug())),
        };
        as_it_is.into_iter().chain(escaped.into_iter().flatten())
    });
    escaped.collect()
}

/// Returns an address without the disguise of a v4 address on a v6 socket.
fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn negotiated(connection: &Connection) -> Option<Alpn> {
    let data = connection.handshake_data()?;
    let data = data.downcast::<quinn::crypto::rustls::HandshakeData>().ok()?;
    let name = data.protocol?;
    Alpn::ALL.into_iter().find(|alpn| alpn.name() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_other_side_says_is_one_line_of_bounded_length() {
        assert_eq!(heard("it's \"n1\", Zürich".as_bytes()), "it's \"n1\", Zürich");
        assert_eq!(heard(b"a\nERROR b\x1b[2J\xff"), "a\\nERROR b\\u{1b}[2J\u{fffd}");
        assert_eq!(heard("\u{202e}".as_bytes()), "\\u{202e}");
        assert_eq!(heard(&[b'x'; 10_000]).len(), HEARD_CHARS_MAX);
    }

    #[test]
    fn a_v4_address_is_shown_as_one() {
        for (address, shown) in [
            ("[::ffff:192.0.2.1]:7400", "192.0.2.1:7400"),
            ("[2001:db8::1]:7400", "[2001:db8::1]:7400"),
        ] {
            assert_eq!(plain(address.parse().expect("it is one")).to_string(), shown);
        }
    }

    #[test]
    fn what_a_check_says_is_told_without_the_names_of_its_wrappings() {
        let why = "node 2 expired (yesterday)";
        let wrapped = format!("invalid peer certificate: Other(OtherError({why}))");
        assert_eq!(in_words(&wrapped), why);
        assert_eq!(in_words("invalid peer certificate: Expired"), "Expired");
        assert_eq!(in_words(why), why);
    }
}
