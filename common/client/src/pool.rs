//! Connections to nodes, one each, made when needed and shared by all requests.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use consensus::Incarnation;
use protocol::{Hello, PROTOCOL_VERSION};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout};
use transport::certs::{Credentials, Expect};
use transport::{ClientConnection, ConnectError, Endpoint};

use crate::error::{ClientError, is_about_certificates};
use crate::probe;

/// How long to wait for the system's word that a port is closed.
const LOOK_FOR: Duration = Duration::from_millis(50);

/// How often to look whether a port is closed.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Long enough for the farewells to be sent.
const FAREWELL: Duration = Duration::from_millis(5);

pub(crate) struct Pool {
    endpoint: Endpoint,
    hello: Hello,
    connect_timeout: Duration,
    /// A slot a node, so that two requests do not dial the same node at once.
    slots: Mutex<BTreeMap<String, Arc<Slot>>>,
}

/// What is known of a node's address.
#[derive(Default)]
struct Slot {
    seat: Mutex<Seat>,
    /// When the port was last found closed; locked by the one who looks.
    closed: Mutex<Option<(Instant, SocketAddr)>>,
}

#[derive(Default)]
struct Seat {
    connection: Option<Arc<ClientConnection>>,
    /// The last failure: it is the answer also for all who waited while it came about.
    failed: Option<(Instant, Unreached)>,
}

/// Why there is no connection to a node.
#[derive(Clone, Debug)]
pub(crate) enum Unreached {
    /// Nobody listens on the port.
    Closed(SocketAddr),
    /// The handshake failed.
    Connect(ConnectError),
}

impl Unreached {
    /// Says whether it is for reasons of certificates or identity.
    pub(crate) fn is_about_certificates(&self) -> bool {
        match self {
            Self::Closed(_) => false,
            Self::Connect(error) => is_about_certificates(error),
        }
    }
}

impl fmt::Display for Unreached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed(address) => write!(f, "connection refused at {address} (UDP)"),
            Self::Connect(error) => error.fmt(f),
        }
    }
}

impl Pool {
    pub(crate) fn new(
        credentials: &Credentials,
        connect_timeout: Duration,
    ) -> Result<Self, ClientError> {
        let endpoint = Endpoint::client(credentials)
            .map_err(|error| ClientError::Endpoint(error.to_string()))?;
        let hello = Hello {
            protocol: PROTOCOL_VERSION,
            cluster: credentials.cluster().to_bytes(),
            generation: None,
            node: None,
            incarnation: Incarnation::default(),
            boot: 0,
            software: concat!("client ", env!("CARGO_PKG_VERSION")).into(),
            lease: None,
        };
        Ok(Self { endpoint, hello, connect_timeout, slots: Mutex::default() })
    }

    /// Returns a usable connection to a node.
    pub(crate) async fn get(&self, address: &str) -> Result<Arc<ClientConnection>, Unreached> {
        let arrived = Instant::now();
        let slot = self.slot(address).await;
        let mut seat = slot.seat.lock().await;
        if let Some(connection) = seat.connection.as_ref().filter(|found| found.is_usable()) {
            return Ok(Arc::clone(connection));
        }
        if let Some((_, why)) = seat.failed.as_ref().filter(|(at, _)| *at >= arrived) {
            return Err(why.clone());
        }
        match self.connect(address).await {
            Ok(connection) => {
                let connection = Arc::new(connection);
                seat.connection = Some(Arc::clone(&connection));
                Ok(connection)
            }
            Err(why) => {
                seat.failed = Some((Instant::now(), why.clone()));
                Err(why)
            }
        }
    }

    /// Waits until a node's port is found closed, which a connection to it would notice only by
    /// its idle timeout; gives that connection up. Waits for ever if the port stays open. However
    /// many wait, one looks at a time.
    pub(crate) async fn closed(&self, address: &str) -> Unreached {
        let arrived = Instant::now();
        let slot = self.slot(address).await;
        loop {
            let mut closed = slot.closed.lock().await;
            if let Some((_, place)) = closed.filter(|(at, _)| *at >= arrived) {
                return Unreached::Closed(place);
            }
            if let Ok(place) = timeout(LOOK_FOR, probe::closed(address)).await {
                *closed = Some((Instant::now(), place));
                slot.seat.lock().await.connection = None;
                return Unreached::Closed(place);
            }
            drop(closed);
            sleep(LOOK_EVERY).await;
        }
    }

    async fn slot(&self, address: &str) -> Arc<Slot> {
        Arc::clone(self.slots.lock().await.entry(address.to_owned()).or_default())
    }

    async fn connect(&self, address: &str) -> Result<ClientConnection, Unreached> {
        let connection = ClientConnection::connect(
            &self.endpoint,
            address,
            Expect::AnyNode,
            &self.hello,
            self.connect_timeout,
        );
        tokio::select! {
            connected = connection => connected.map_err(Unreached::Connect),
            closed = probe::closed(address) => Err(Unreached::Closed(closed)),
        }
    }

    pub(crate) async fn close(&self) {
        self.slots.lock().await.clear();
        // Nobody waits until the other sides have forgotten the connections.
        let _ = timeout(FAREWELL, self.endpoint.close("done")).await;
    }
}
