//! Connections to nodes, one each, made when needed and shared by all requests.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use consensus::Incarnation;
use protocol::{Hello, PROTOCOL_VERSION};
use tokio::sync::Mutex;
use transport::certs::{Credentials, Expect};
use transport::{ClientConnection, ConnectError, Endpoint};

use crate::error::ClientError;

pub(crate) struct Pool {
    endpoint: Endpoint,
    hello: Hello,
    connect_timeout: Duration,
    /// A slot a node, so that two requests do not dial the same node at once.
    slots: Mutex<BTreeMap<String, Slot>>,
}

type Slot = Arc<Mutex<Option<Arc<ClientConnection>>>>;

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
        };
        Ok(Self { endpoint, hello, connect_timeout, slots: Mutex::default() })
    }

    /// Returns a usable connection to a node.
    pub(crate) async fn get(&self, address: &str) -> Result<Arc<ClientConnection>, ConnectError> {
        let slot = Arc::clone(self.slots.lock().await.entry(address.to_owned()).or_default());
        let mut slot = slot.lock().await;
        if let Some(connection) = slot.as_ref().filter(|connection| connection.is_usable()) {
            return Ok(Arc::clone(connection));
        }
        let connection = ClientConnection::connect(
            &self.endpoint,
            address,
            Expect::AnyNode,
            &self.hello,
            self.connect_timeout,
        );
        let connection = Arc::new(connection.await?);
        *slot = Some(Arc::clone(&connection));
        Ok(connection)
    }

    pub(crate) async fn close(&self) {
        self.slots.lock().await.clear();
        self.endpoint.close("done").await;
    }
}
