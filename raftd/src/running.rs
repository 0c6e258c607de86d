//! A node that runs in this process, as its owner sees it.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::thread::JoinHandle;
use std::time::Duration;

use certs::Credentials;
use client::{Client, ClientConfig, ClientError};
use consensus::{Incarnation, NodeId};
use protocol::{CertificatesRead, NodeStatus};
use tokio::sync::{mpsc, oneshot, watch};

use crate::config::Config;
use crate::control::{Command, Heartbeat, Owner};
use crate::exit::{Exit, Failure};
use crate::reload::{Foresight, Updates};

/// How long a request of [`Running::client`] may take, with all retries.
const CLIENT_DEADLINE: Duration = Duration::from_secs(10);

/// How long one of its attempts to connect may take.
const CLIENT_CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// A node that runs on threads of its own; any number of them may run in one process.
///
/// Dropping it stops the node in good order, as [`Running::stop`] does, and blocks the thread until
/// it has stopped: some milliseconds, one second longer for a leader that waits until another node
/// leads, and 20 seconds longer at most for what is queued for the disk.
#[must_use = "dropping it stops the node"]
pub struct Running {
    about: About,
    /// `None` once the node was asked to stop for good.
    commands: Option<mpsc::Sender<Command>>,
    heartbeats: watch::Receiver<Heartbeat>,
    updates: Updates,
    ended: Ended,
}

/// What a node says of itself when it listens.
#[derive(Clone)]
pub(crate) struct About {
    pub(crate) node: NodeId,
    pub(crate) cluster: [u8; 16],
    pub(crate) incarnation: Incarnation,
    /// The name and the version of its machine.
    pub(crate) machine: (String, u32),
    pub(crate) address: SocketAddr,
}

impl Running {
    pub(crate) fn new(about: About, owner: Owner, updates: Updates, ended: Ended) -> Self {
        let Owner { commands, heartbeats } = owner;
        Self { about, commands: Some(commands), heartbeats, updates, ended }
    }

    /// Returns the node's id, which its certificate names.
    pub fn node(&self) -> NodeId {
        self.about.node
    }

    /// Returns the address that it listens on, with the port that the system chose.
    pub fn address(&self) -> SocketAddr {
        self.about.address
    }

    /// Returns the address at which this machine reaches the node.
    pub fn local_address(&self) -> SocketAddr {
        let mut address = self.about.address;
        if address.ip().is_unspecified() {
            address.set_ip(match address.ip() {
                IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
            });
        }
        address
    }

    /// Returns a client of the node's cluster. It finds the leader and the other members through
    /// this node; `credentials` are an operator's, a client's or a reader's, not the node's own.
    ///
    /// # Errors
    /// If no socket can be had, or outside of a tokio runtime.
    pub fn client(&self, credentials: &Credentials) -> Result<Client, ClientError> {
        Client::new(ClientConfig {
            endpoints: vec![self.local_address().to_string()],
            credentials: credentials.clone(),
            deadline: CLIENT_DEADLINE,
            connect_timeout: CLIENT_CONNECT_TIMEOUT,
        })
    }

    /// Returns what the node tells of itself; `None` once it has ended.
    pub async fn status(&self) -> Option<NodeStatus> {
        let (reply, status) = oneshot::channel();
        self.commands.as_ref()?.send(Command::Status(reply)).await.ok()?;
        status.await.ok()
    }

    /// Uses other certificates for new connections from now on, and dials members where
    /// [`Config::peers`] says now. The node reads the files of its certificates again, also if
    /// `config` names the same ones. Everything else takes another start. What comes of it is
    /// logged.
    ///
    /// # Errors
    /// As [`Config::check`]: nothing of it is taken then.
    pub fn update(&self, config: Config) -> Result<(), Failure> {
        config.check()?;
        drop(self.updates.send(config));
        Ok(())
    }

    /// The same, and tells what becomes of the certificates; `None` if the node ends first.
    pub(crate) fn update_and_tell(
        &self,
        config: Config,
    ) -> impl Future<Output = Option<CertificatesRead>> + use<> {
        self.updates.send(config)
    }

    /// Returns what tells what the node would do with other certificates.
    pub(crate) fn foresight(&self) -> Foresight {
        self.updates.foresight()
    }

    /// Tells the node that a configuration was read for it and refused, or that one was taken.
    pub(crate) fn tell_refused(&self, why: Option<&str>) {
        self.updates.tell(why);
    }

    /// Stops the node in good order: a leader hands leadership over first, clients that wait are
    /// answered, and what is queued for the disk is written.
    ///
    /// # Errors
    /// If the node ended otherwise.
    pub async fn stop(mut self) -> Result<(), Failure> {
        // A node without an owner stops.
        self.commands = None;
        self.ended.result().await
    }

    /// Waits until the node has ended, by itself or because it was asked to. Its data directory may
    /// be used again then; while a question that takes long is still being answered it is in use,
    /// as [`Server::start`](crate::Server::start) says. May be called again, and by several tasks.
    ///
    /// # Errors
    /// Why it ended, unless it was asked to. [`Failure::exit`] tells what to do:
    /// [`Exit::Removed`] that it was removed from the cluster, [`Exit::Io`] that the disk or the
    /// network failed, [`Exit::Internal`] that the machine panicked or an invariant was broken.
    pub async fn wait(&self) -> Result<(), Failure> {
        self.ended.result().await
    }

    pub(crate) fn about(&self) -> &About {
        &self.about
    }

    pub(crate) async fn command(&self, command: Command) {
        if let Some(commands) = &self.commands {
            // A node that has ended needs no command.
            let _ = commands.send(command).await;
        }
    }

    pub(crate) fn heartbeats(&self) -> watch::Receiver<Heartbeat> {
        self.heartbeats.clone()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.commands = None;
        self.ended.join();
    }
}

/// The end of a node's thread.
pub(crate) struct Ended {
    result: watch::Receiver<Option<Result<(), Failure>>>,
    thread: Option<JoinHandle<()>>,
}

impl Ended {
    pub(crate) fn new(
        result: watch::Receiver<Option<Result<(), Failure>>>,
        thread: JoinHandle<()>,
    ) -> Self {
        Self { result, thread: Some(thread) }
    }

    /// Waits until the node has ended.
    pub(crate) async fn result(&self) -> Result<(), Failure> {
        let mut result = self.result.clone();
        match result.wait_for(Option::is_some).await {
            Ok(ended) => ended.clone().unwrap_or(Ok(())),
            Err(_) => Err(Failure::new(Exit::Internal, "the node's thread is gone")),
        }
    }

    fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            // It catches panics, and tells of them.
            let _ = thread.join();
        }
    }
}
