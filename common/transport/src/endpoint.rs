//! One UDP socket that listens and dials, always with certificates on both sides.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use certs::{Credentials, Expect, Identity, Role};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ClientConfig, Connection, ConnectionError, EndpointConfig, ServerConfig};
use quinn::{TransportConfig, TransportErrorCode, VarInt};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::time::timeout;

use crate::error::{ConnectError, EndpointError, Rejection};
use crate::limits::{
    CONNECTION_WINDOW_BYTES, IDLE_TIMEOUT, KEEP_ALIVE, SOCKET_BUFFER_BYTES, STREAM_WINDOW_BYTES,
    STREAMS_MAX,
};
use crate::probe;
use crate::reach::{Places, called};
use crate::reset;

/// What a connection is for; the TLS handshake settles it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Alpn {
    /// Between nodes.
    Peer,
    /// From clients and operators.
    Client,
}

impl Alpn {
    const ALL: [Self; 2] = [Self::Peer, Self::Client];

    const fn name(self) -> &'static [u8] {
        match self {
            Self::Peer => b"raft-peer/1",
            Self::Client => b"raft-client/1",
        }
    }

    /// Says whether a certificate of this role may use it: the one table, default deny.
    pub const fn admits(self, role: &Role) -> bool {
        match (self, role) {
            (Self::Peer, Role::Node(_))
            | (Self::Client, Role::Operator(_) | Role::Client(_) | Role::Reader(_)) => true,
            (Self::Peer, Role::Operator(_) | Role::Client(_) | Role::Reader(_))
            | (Self::Client, Role::Node(_)) => false,
        }
    }
}

/// TLS alerts, as QUIC's error codes carry them (RFC 9001 §4.8).
const TLS_ALERTS: std::ops::RangeInclusive<u64> = 0x100..=0x1ff;

/// Codes with which connections are closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Close {
    Done,
    Refused,
    Malformed,
}

impl Close {
    pub(crate) fn code(self) -> VarInt {
        VarInt::from_u32(match self {
            Self::Done => 0,
            Self::Refused => 1,
            Self::Malformed => 2,
        })
    }
}

/// A connection from outside whose certificate has been checked.
#[derive(Debug)]
pub struct Accepted {
    /// Who it is.
    pub identity: Identity,
    /// What for.
    pub alpn: Alpn,
    /// Where from.
    pub remote: SocketAddr,
    pub(crate) connection: Connection,
}

impl Accepted {
    /// Closes the connection and says why.
    pub fn refuse(self, why: &str) {
        self.connection.close(Close::Refused.code(), why.as_bytes());
    }
}

/// A connection from outside before its handshake.
#[derive(Debug)]
pub struct Incoming(quinn::Incoming);

impl Incoming {
    /// Finishes the handshake and checks whether this role may use this protocol.
    ///
    /// # Errors
    /// A sentence that says who came and which check failed.
    pub async fn finish(self) -> Result<Accepted, String> {
        let remote = self.0.remote_address();
        let failed = |why: String| format!("connection from {remote} refused: {why}");
        let connecting = self.0.accept().map_err(|error| failed(error.to_string()))?;
        let connection = timeout(IDLE_TIMEOUT, connecting)
            .await
            .map_err(|_| failed("the handshake took too long".into()))?
            .map_err(|error| failed(error.to_string()))?;
        let refused = |why: String| {
            connection.close(Close::Refused.code(), why.as_bytes());
            failed(why)
        };
        let alpn = negotiated(&connection).ok_or_else(|| refused("unknown protocol".into()))?;
        let identity = identity(&connection).map_err(&refused)?;
        if !alpn.admits(&identity.role) {
            let role = identity.role.kind();
            let protocol = String::from_utf8_lossy(alpn.name()).into_owned();
            return Err(refused(format!("a {role} certificate may not use {protocol}")));
        }
        Ok(Accepted { identity, alpn, remote, connection })
    }
}

/// One UDP socket with QUIC on it.
#[derive(Clone, Debug)]
pub struct Endpoint {
    inner: quinn::Endpoint,
    /// What new connections show and check; those that exist keep what they began with.
    credentials: Arc<RwLock<Credentials>>,
    /// Where names led.
    pub(crate) places: Places,
}

impl Endpoint {
    /// Listens, and dials from the same socket.
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
        Self::bind(bind, Some(config), credentials, reset::config(reset_key))
    }

    /// Dials only, from any port.
    ///
    /// # Errors
    /// If no socket can be had.
    pub fn client(credentials: &Credentials) -> Result<Self, EndpointError> {
        let dual = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
        Self::bind(dual, None, credentials, reset::config(None)).or_else(|_| {
            let v4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
            Self::bind(v4, None, credentials, reset::config(None))
        })
    }

    fn bind(
        address: SocketAddr,
        config: Option<ServerConfig>,
        credentials: &Credentials,
        settings: EndpointConfig,
    ) -> Result<Self, EndpointError> {
        let failed = |source| EndpointError::Bind { address, source };
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))
            .map_err(failed)?;
        if address.is_ipv6() {
            socket.set_only_v6(false).map_err(failed)?;
        }
        enlarge(&socket, config.is_some());
        socket.bind(&address.into()).map_err(failed)?;
        let runtime = Arc::new(quinn::TokioRuntime);
        let inner =
            quinn::Endpoint::new(settings, config, socket.into(), runtime).map_err(failed)?;
        let credentials = Arc::new(RwLock::new(credentials.clone()));
        Ok(Self { inner, credentials, places: Places::default() })
    }

    /// Returns the address that is listened on.
    ///
    /// # Errors
    /// If the system does not tell.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    /// Returns the certificates in use.
    pub fn credentials(&self) -> Credentials {
        self.credentials.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Lets all copies of a listening endpoint use other certificates for every connection from
    /// now on, on both sides. Connections that exist live on.
    ///
    /// # Errors
    /// If the certificates are not a node's; nothing has changed then.
    pub fn replace(&self, credentials: &Credentials) -> Result<(), EndpointError> {
        self.inner.set_server_config(Some(server_config(credentials)?));
        let mut present = self.credentials.write().unwrap_or_else(PoisonError::into_inner);
        *present = credentials.clone();
        Ok(())
    }

    /// Waits for a connection; `None` once the endpoint is closed.
    pub async fn accept(&self) -> Option<Incoming> {
        self.inner.accept().await.map(Incoming)
    }

    /// Closes all connections, tells the other sides why, and waits until that is sent.
    pub async fn close(&self, reason: &str) {
        self.inner.close(Close::Done.code(), reason.as_bytes());
        // A peer that is gone does not keep a process from ending.
        let _ = timeout(Duration::from_millis(500), self.inner.wait_idle()).await;
    }

    /// Makes the handshake with one address of a name.
    pub(crate) async fn dial(
        &self,
        address: &str,
        remote: SocketAddr,
        expect: Expect,
        alpn: Alpn,
    ) -> Result<Connection, ConnectError> {
        let address = called(address, remote);
        let failed = |why: String| ConnectError::Handshake { address: address.clone(), why };
        let tls = self.credentials().client_config(expect, &[alpn.name()]);
        let tls = tls.map_err(|error| failed(error.to_string()))?;
        let quic = QuicClientConfig::try_from(tls).map_err(|error| failed(error.to_string()))?;
        let mut config = ClientConfig::new(Arc::new(quic));
        config.transport_config(transport());
        let connecting =
            self.inner.connect_with(config, remote, certs::SERVER_NAME).map_err(|error| {
                let how = Rejection::Unusable(match error {
                    quinn::ConnectError::InvalidRemoteAddress(_) if remote.port() != 0 => {
                        "this socket has no IPv6".into()
                    }
                    other => other.to_string(),
                });
                ConnectError::Rejected { address: address.clone(), how }
            })?;
        tokio::select! {
            connected = connecting => connected.map_err(|error| match error {
                ConnectionError::TimedOut => {
                    ConnectError::Silent { address: address.clone(), after: IDLE_TIMEOUT }
                }
                other => broken(&address, &other),
            }),
            how = probe::rejected(remote) => Err(ConnectError::Rejected { address, how }),
        }
    }
}

/// What whoever connects is shown, and how it is checked.
fn server_config(credentials: &Credentials) -> Result<ServerConfig, EndpointError> {
    let tls = credentials.server_config(&Alpn::ALL.map(Alpn::name))?;
    let quic =
        QuicServerConfig::try_from(tls).map_err(|error| EndpointError::Tls(error.to_string()))?;
    let mut config = ServerConfig::with_crypto(Arc::new(quic));
    config.transport_config(transport());
    Ok(config)
}

/// Sorts what ended a connection while it was made: a failed check of certificates, which waiting
/// does not mend, or a node that stops or has enough.
pub(crate) fn broken(address: &str, error: &ConnectionError) -> ConnectError {
    let address = address.to_owned();
    let code = match error {
        ConnectionError::TransportError(error) => Some(u64::from(error.code)),
        ConnectionError::ConnectionClosed(close) => Some(u64::from(close.error_code)),
        _ => None,
    };
    match (code, error) {
        (Some(code), _) if TLS_ALERTS.contains(&code) => {
            ConnectError::Handshake { address, why: describe(error) }
        }
        (Some(code), _) if code == u64::from(TransportErrorCode::CONNECTION_REFUSED) => {
            ConnectError::Closed { address, why: "it stops, or has enough connections".into() }
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
            String::from_utf8_lossy(&close.reason).into_owned()
        }
        ConnectionError::ConnectionClosed(close) if !close.reason.is_empty() => {
            format!("the other side says: {}", in_words(&String::from_utf8_lossy(&close.reason)))
        }
        ConnectionError::TransportError(error) if !error.reason.is_empty() => {
            in_words(&error.reason)
        }
        ConnectionError::TimedOut => {
            format!("nothing was heard for {IDLE_TIMEOUT:?}: it hangs, or the network is cut")
        }
        other => other.to_string(),
    }
}

/// Leaves out the names that rustls gives to the reasons of others.
fn in_words(reason: &str) -> String {
    let reason = reason.strip_prefix("invalid peer certificate: ").unwrap_or(reason);
    let inner = reason.strip_prefix("Other(OtherError(").and_then(|rest| rest.strip_suffix("))"));
    inner.unwrap_or(reason).to_owned()
}

fn negotiated(connection: &Connection) -> Option<Alpn> {
    let data = connection.handshake_data()?;
    let data = data.downcast::<quinn::crypto::rustls::HandshakeData>().ok()?;
    let name = data.protocol?;
    Alpn::ALL.into_iter().find(|alpn| alpn.name() == name)
}

fn identity(connection: &Connection) -> Result<Identity, String> {
    let chain = connection.peer_identity().ok_or("no certificate was shown")?;
    let chain = chain
        .downcast::<Vec<certs::CertificateDer<'static>>>()
        .map_err(|_| "the certificate is of an unknown kind")?;
    certs::identity_of(&chain).map_err(|error| error.to_string())
}

fn transport() -> Arc<TransportConfig> {
    let mut config = TransportConfig::default();
    let idle = IDLE_TIMEOUT.try_into().expect("two seconds fit");
    config
        .max_idle_timeout(Some(idle))
        .keep_alive_interval(Some(KEEP_ALIVE))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES))
        .receive_window(VarInt::from_u32(CONNECTION_WINDOW_BYTES))
        .send_window(u64::from(CONNECTION_WINDOW_BYTES))
        .max_concurrent_bidi_streams(VarInt::from_u32(STREAMS_MAX))
        .max_concurrent_uni_streams(VarInt::from_u32(STREAMS_MAX))
        .datagram_receive_buffer_size(None)
        // Lost handshake packets are sent again soon: the default assumes a third of a second.
        .initial_rtt(Duration::from_millis(30));
    Arc::new(config)
}

/// Asks for large socket buffers; says so when the kernel gives less, for nobody else does.
fn enlarge(socket: &Socket, tell: bool) {
    let _ = socket.set_send_buffer_size(SOCKET_BUFFER_BYTES);
    let _ = socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES);
    let given = socket.recv_buffer_size().unwrap_or(0);
    if tell && given < SOCKET_BUFFER_BYTES {
        tracing::warn!(
            given_bytes = given,
            wanted_bytes = SOCKET_BUFFER_BYTES,
            "the kernel limits UDP buffers, packets may be lost under load; \
             try: sysctl -w net.core.rmem_max={SOCKET_BUFFER_BYTES} \
             net.core.wmem_max={SOCKET_BUFFER_BYTES}"
        );
    }
}
