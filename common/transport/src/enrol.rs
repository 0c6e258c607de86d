//! Connections between a host that has no certificate yet, which listens, and the operator's side,
//! which dials: one stream, four messages. Who is there is proven over [`EnrolmentLine::binding`].

use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use certs::{BINDING_BYTES, BINDING_LABEL, TokenId};
use protocol::Enrolment;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ClientConfig, Connection, EndpointConfig, RecvStream, SendStream, ServerConfig};

use crate::close::Close;
use crate::endpoint::{broken, describe};
use crate::error::{ConnectError, EndpointError};
use crate::limits::CLIENT_WINDOW_BYTES;
use crate::reach::{Places, Trail, called};
use crate::settings::transport;
use crate::socket;

/// A host that waits for the operator's side.
pub struct EnrolmentHost {
    endpoint: quinn::Endpoint,
}

/// Somebody who dials; it may be anybody.
pub struct EnrolmentCaller(quinn::Incoming);

/// A connection, and its one stream.
pub struct EnrolmentLine {
    connection: Connection,
    send: SendStream,
    receive: RecvStream,
}

impl EnrolmentHost {
    /// Listens.
    ///
    /// # Errors
    /// If the address cannot be bound.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn listen(address: SocketAddr) -> Result<Self, EndpointError> {
        let tls = certs::enrolment_server()?;
        let quic = QuicServerConfig::try_from(tls)
            .map_err(|error| EndpointError::Tls(error.to_string()))?;
        let mut config = ServerConfig::with_crypto(Arc::new(quic));
        config.transport_config(transport(CLIENT_WINDOW_BYTES));
        let endpoint = bind(address, Some(config))?;
        Ok(Self { endpoint })
    }

    /// Returns the address that is listened on.
    ///
    /// # Errors
    /// If the system does not tell.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.endpoint.local_addr()
    }

    /// Waits for somebody to dial; `None` once the host is closed.
    pub async fn accept(&self) -> Option<EnrolmentCaller> {
        self.endpoint.accept().await.map(EnrolmentCaller)
    }

    /// Closes all connections, and gives the address back.
    pub async fn close(self) {
        self.endpoint.close(Close::Done.code(), b"done");
        self.endpoint.wait_idle().await;
    }
}

impl EnrolmentCaller {
    /// Returns where it comes from.
    pub fn remote(&self) -> SocketAddr {
        self.0.remote_address()
    }

    /// Says whether it has shown that it receives what is sent to its address.
    pub fn is_proven(&self) -> bool {
        self.0.remote_address_validated() || !self.0.may_retry()
    }

    /// Asks it to come again with a proof of that, which keeps nothing here.
    pub fn prove(self) {
        // It fails only for those who need not be asked.
        let _ = self.0.retry();
    }

    /// Finishes the handshake and takes the stream.
    ///
    /// # Errors
    /// Why there is none, in words.
    pub async fn line(self) -> Result<EnrolmentLine, String> {
        let connection = self.0.await.map_err(|error| describe(&error))?;
        let (send, receive) = connection.accept_bi().await.map_err(|error| describe(&error))?;
        Ok(EnrolmentLine { connection, send, receive })
    }
}

impl EnrolmentLine {
    /// Dials a host that waits.
    ///
    /// # Errors
    /// As for any node; a node that runs speaks another protocol.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn dial(address: &str, within: Duration) -> Result<Self, ConnectError> {
        let unusable = |why: String| ConnectError::Handshake { address: address.to_owned(), why };
        let tls = certs::enrolment_client().map_err(|error| unusable(error.to_string()))?;
        let quic = QuicClientConfig::try_from(tls).map_err(|error| unusable(error.to_string()))?;
        let mut config = ClientConfig::new(Arc::new(quic));
        config.transport_config(transport(CLIENT_WINDOW_BYTES));
        let all = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
        let endpoint = bind(all, None).map_err(|error| unusable(error.to_string()))?;
        let attempt = |place: SocketAddr| {
            let (endpoint, config, name) = (endpoint.clone(), config.clone(), address.to_owned());
            async move {
                let name = called(&name, place);
                let failed = |why: String| ConnectError::Handshake { address: name.clone(), why };
                let connecting = endpoint.connect_with(config, place, certs::SERVER_NAME);
                let connection = connecting.map_err(|error| failed(error.to_string()))?;
                let connection = connection.await.map_err(|error| broken(&name, &error))?;
                let stream = connection.open_bi().await;
                let (send, receive) = stream.map_err(|error| broken(&name, &error))?;
                Ok(Self { connection, send, receive })
            }
        };
        Places::default().reach(&Trail::new(address), within, attempt).await
    }

    /// Returns where the other side is.
    pub fn remote(&self) -> SocketAddr {
        self.connection.remote_address()
    }

    /// Returns the value that only the two ends of this connection share (RFC 5705), for a token.
    ///
    /// # Errors
    /// If there is none, in words.
    pub fn binding(&self, token: TokenId) -> Result<[u8; BINDING_BYTES], String> {
        let mut binding = [0; BINDING_BYTES];
        self.connection
            .export_keying_material(&mut binding, BINDING_LABEL, &token.to_bytes())
            .map_err(|error| format!("no value for the proofs: {error:?}"))?;
        Ok(binding)
    }

    /// Says something.
    ///
    /// # Errors
    /// Why that was not possible, in words.
    pub async fn say(&mut self, message: &Enrolment) -> Result<(), String> {
        let bytes = message.encode().map_err(|error| error.to_string())?;
        self.send.write_all(&bytes).await.map_err(|error| error.to_string())
    }

    /// Waits for what the other side says.
    ///
    /// # Errors
    /// Why nothing came that makes sense, in words.
    pub async fn hear(&mut self) -> Result<Enrolment, String> {
        let mut length = [0; 4];
        let ended = |error: quinn::ReadExactError| match error {
            quinn::ReadExactError::FinishedEarly(_) => "it ended in the middle".to_owned(),
            quinn::ReadExactError::ReadError(error) => error.to_string(),
        };
        self.receive.read_exact(&mut length).await.map_err(ended)?;
        let size = Enrolment::announced(length).map_err(|error| error.to_string())?;
        let mut bytes = vec![0; size];
        self.receive.read_exact(&mut bytes).await.map_err(ended)?;
        Enrolment::decode(&bytes).map_err(|error| error.to_string())
    }

    /// Ends what this side has to say, and waits until the other side has gone.
    pub async fn finish(mut self) {
        let _ = self.send.finish();
        self.connection.closed().await;
    }
}

impl Drop for EnrolmentLine {
    fn drop(&mut self) {
        self.connection.close(Close::Done.code(), b"done");
    }
}

fn bind(
    address: SocketAddr,
    config: Option<ServerConfig>,
) -> Result<quinn::Endpoint, EndpointError> {
    let failed = |source| EndpointError::Bind { address, source };
    let socket = socket::bind(address, config.is_some()).map_err(failed)?;
    let runtime = Arc::new(quinn::TokioRuntime);
    quinn::Endpoint::new(EndpointConfig::default(), config, socket.into(), runtime).map_err(failed)
}
