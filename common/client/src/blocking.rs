//! The client for programs without an async runtime: each call blocks its thread until it is right
//! to answer. A thread of its own moves the packets.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle;

use bytes::Bytes;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

use crate::client::ClientConfig;
use crate::error::ClientError;
use crate::requests::{Answer, Consistency};

/// A client of a cluster; copies share connections.
///
/// # Panics
/// Its calls panic inside of an async runtime: there, [`crate::Client`] is the right one.
#[derive(Clone)]
pub struct Client {
    client: crate::Client,
    runtime: Arc<Runtime>,
}

/// A session, whose commands take effect exactly once; see [`crate::Session`].
#[derive(Clone)]
pub struct Session {
    session: crate::Session,
    runtime: Arc<Runtime>,
}

/// A thread that drives sockets and timers while calls wait elsewhere.
struct Runtime {
    handle: Handle,
    /// Dropped, it ends the thread.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Client {
    /// Makes a client; nothing is connected before the first request.
    ///
    /// # Errors
    /// If no endpoint is named, or no socket or thread can be had.
    pub fn new(config: ClientConfig) -> Result<Self, ClientError> {
        let runtime = Runtime::start()?;
        let client = {
            let _inside = runtime.handle.enter();
            crate::Client::new(config)?
        };
        Ok(Self { client, runtime: Arc::new(runtime) })
    }

    /// Puts a command through the log; see [`crate::Client::propose`].
    ///
    /// # Errors
    /// As there.
    pub fn propose(&self, body: Bytes) -> Result<Answer, ClientError> {
        self.runtime.handle.block_on(self.client.propose(body))
    }

    /// Puts commands through the log in their order; see [`crate::Client::propose_all`].
    ///
    /// # Errors
    /// For each command, as there.
    pub fn propose_all(&self, bodies: Vec<Bytes>) -> Vec<Result<Answer, ClientError>> {
        self.runtime.handle.block_on(self.client.propose_all(bodies))
    }

    /// Asks the machine; see [`crate::Client::query`].
    ///
    /// # Errors
    /// As there.
    pub fn query(&self, query: Bytes, how: Consistency) -> Result<Answer, ClientError> {
        self.runtime.handle.block_on(self.client.query(query, how))
    }

    /// Opens a session; see [`crate::Client::session`].
    ///
    /// # Errors
    /// As there.
    pub fn session(&self, name: &str) -> Result<Session, ClientError> {
        let session = self.runtime.handle.block_on(self.client.session(name))?;
        Ok(Session { session, runtime: Arc::clone(&self.runtime) })
    }

    /// Closes all connections, so that the nodes need not wait for them to time out.
    pub fn close(&self) {
        self.runtime.handle.block_on(self.client.close());
    }
}

impl Session {
    /// Returns the session's id.
    pub fn id(&self) -> u64 {
        self.session.id()
    }

    /// Puts a command through the log exactly once; see [`crate::Session::propose`].
    ///
    /// # Errors
    /// As there.
    pub fn propose(&self, body: Bytes) -> Result<Answer, ClientError> {
        self.runtime.handle.block_on(self.session.propose(body))
    }

    /// Puts commands through the log exactly once each and in their order; see
    /// [`crate::Session::propose_all`].
    ///
    /// # Errors
    /// For each command, as there.
    pub fn propose_all(&self, bodies: Vec<Bytes>) -> Vec<Result<Answer, ClientError>> {
        self.runtime.handle.block_on(self.session.propose_all(bodies))
    }

    /// Finds out how commands ended; see [`crate::Session::outcomes`].
    ///
    /// # Errors
    /// For each number, as there.
    pub fn outcomes(&self, sequences: Vec<u64>) -> BTreeMap<u64, Result<Answer, ClientError>> {
        self.runtime.handle.block_on(self.session.outcomes(sequences))
    }

    /// Finds out how a command ended; see [`crate::Session::outcome`].
    ///
    /// # Errors
    /// As there.
    pub fn outcome(&self, sequence: u64) -> Result<Answer, ClientError> {
        self.runtime.handle.block_on(self.session.outcome(sequence))
    }

    /// Ends the session; see [`crate::Session::close`].
    ///
    /// # Errors
    /// As there.
    pub fn close(self) -> Result<(), ClientError> {
        self.runtime.handle.block_on(self.session.close())
    }
}

impl Runtime {
    fn start() -> Result<Self, ClientError> {
        let failed = |error: std::io::Error| ClientError::Endpoint(error.to_string());
        let runtime = Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::Builder::new()
            .name("raftd-client".to_owned())
            .spawn(move || {
                // An error is the dropped sender: the last client has gone.
                let _ = runtime.block_on(stopped);
                // A name that does not resolve in time must not keep the program alive.
                runtime.shutdown_background();
            })
            .map_err(failed)?;
        Ok(Self { handle, stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It has nothing left to say.
            let _ = thread.join();
        }
    }
}
