//! The sockets of one endpoint: one that listens and dials, and others that a node listens on as
//! well. Whoever comes at any of them is let in alike.

use std::future::{Future as _, poll_fn};
use std::net::{Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use quinn::{Accept, Endpoint, EndpointConfig, ServerConfig, VarInt};

use crate::error::EndpointError;
use crate::socket;

/// At least one socket with QUIC on it.
#[derive(Clone, Debug)]
pub(crate) struct Sockets {
    first: Endpoint,
    others: Vec<Endpoint>,
}

impl Sockets {
    pub(crate) fn of(first: Endpoint) -> Self {
        Self { first, others: Vec::new() }
    }

    /// Adds one.
    pub(crate) fn add(&mut self, other: Endpoint) {
        self.others.push(other);
    }

    pub(crate) fn first(&self) -> &Endpoint {
        &self.first
    }

    /// Returns all, the first one first.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Endpoint> {
        [&self.first].into_iter().chain(&self.others)
    }

    /// Returns the one to dial from: the first that has the family of this address.
    pub(crate) fn toward(&self, remote: SocketAddr) -> &Endpoint {
        let reaches = |socket: &&Endpoint| {
            // A socket of IPv6 that listens at all addresses has both.
            socket.local_addr().is_ok_and(|local| match local.ip().to_canonical().is_ipv6() {
                true => remote.is_ipv6() || local.ip().is_unspecified(),
                false => remote.is_ipv4(),
            })
        };
        self.all().find(reaches).unwrap_or(&self.first)
    }

    /// Waits for somebody who comes; `None` once they are closed. Cancel-safe.
    pub(crate) async fn accept(&self) -> Option<quinn::Incoming> {
        if self.others.is_empty() {
            return self.first.accept().await;
        }
        let mut waiting: Vec<Pin<Box<Accept<'_>>>> =
            self.all().map(|socket| Box::pin(socket.accept())).collect();
        poll_fn(|context| {
            let mut found = waiting.iter_mut().map(|accept| accept.as_mut().poll(context));
            found.find(Poll::is_ready).unwrap_or(Poll::Pending)
        })
        .await
    }

    pub(crate) fn set_server_config(&self, config: &ServerConfig) {
        self.all().for_each(|socket| socket.set_server_config(Some(config.clone())));
    }

    pub(crate) fn close(&self, code: VarInt, reason: &[u8]) {
        self.all().for_each(|socket| socket.close(code, reason));
    }

    /// Waits until what was to be sent is sent.
    pub(crate) async fn wait_idle(&self) {
        for socket in self.all() {
            socket.wait_idle().await;
        }
    }
}

/// Opens a socket at an address; with a configuration of a server it listens.
pub(crate) fn bind(
    address: SocketAddr,
    config: Option<ServerConfig>,
    settings: EndpointConfig,
) -> Result<Endpoint, EndpointError> {
    let bound = socket::bind(address, config.is_some());
    let bound = bound.map_err(|source| EndpointError::Bind { address, source })?;
    on(bound, address, config, settings)
}

/// Listens on a socket that is bound already.
pub(crate) fn adopt(
    bound: std::net::UdpSocket,
    config: ServerConfig,
    settings: EndpointConfig,
) -> Result<Endpoint, EndpointError> {
    let any = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
    let address = bound.local_addr().unwrap_or(any);
    on(socket::adopt(bound), address, Some(config), settings)
}

fn on(
    bound: socket2::Socket,
    address: SocketAddr,
    config: Option<ServerConfig>,
    settings: EndpointConfig,
) -> Result<Endpoint, EndpointError> {
    let runtime = Arc::new(quinn::TokioRuntime);
    let made = Endpoint::new(settings, config, bound.into(), runtime);
    made.map_err(|source| EndpointError::Bind { address, source })
}
