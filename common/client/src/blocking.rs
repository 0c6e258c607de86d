//! The client for programs without an async runtime: each call blocks its thread until it is right
//! to answer. A thread of its own moves the packets.
//!
//! Some of what only operators do is not here, and [`crate::Client`] has it: bootstrapping, the
//! system's part of the state, certificates and configurations of nodes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle;

use bytes::Bytes;
use consensus::{Configuration, NodeId};
use protocol::{Generation, LogDetail, LogPage, NodeStatus, SnapshotAnswer, SnapshotRequest};
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use transport::certs::Credentials;

use crate::client::ClientConfig;
use crate::error::ClientError;
use crate::requests::{Answer, Consistency};
use crate::system::Ended;

/// A client of a cluster; copies share connections.
///
/// It does not survive a fork, since its thread does not: in the child, each call returns
/// [`ClientError::Ended`] at once, and another client must be made. The parent's goes on.
///
/// # Panics
/// Its calls panic inside of an async runtime: there, [`crate::Client`] is the right one.
#[derive(Clone)]
pub struct Client {
    client: Bound<crate::Client>,
}

/// A session, whose commands take effect exactly once; see [`crate::Session`].
#[derive(Clone)]
pub struct Session {
    session: Bound<crate::Session>,
}

/// What lives on the runtime's thread.
struct Bound<T> {
    /// There until it is dropped.
    inner: Option<T>,
    runtime: Arc<Runtime>,
}

/// A thread that drives sockets and timers while calls wait elsewhere.
struct Runtime {
    handle: Handle,
    /// Dropped, it ends the thread.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    /// The process that has the thread.
    process: u32,
}

impl Client {
    /// Makes a client; nothing is connected before the first request.
    ///
    /// # Errors
    /// As [`crate::Client::new`]; it needs no runtime, but a thread.
    pub fn new(config: ClientConfig) -> Result<Self, ClientError> {
        let runtime = Runtime::start()?;
        let client = {
            let _inside = runtime.handle.enter();
            crate::Client::new(config)?
        };
        Ok(Self { client: Bound::new(client, Arc::new(runtime)) })
    }

    /// Puts a command through the log; see [`crate::Client::propose`].
    ///
    /// # Errors
    /// As there.
    pub fn propose(&self, body: Bytes) -> Result<Answer, ClientError> {
        self.client.call(async |client| client.propose(body).await)
    }

    /// Puts commands through the log in their order; see [`crate::Client::propose_all`].
    ///
    /// # Errors
    /// For each command, as there.
    pub fn propose_all(&self, bodies: Vec<Bytes>) -> Vec<Result<Answer, ClientError>> {
        let count = bodies.len();
        let ended = self.client.run(async |client| client.propose_all(bodies).await);
        ended.unwrap_or_else(|error| vec![Err(error); count])
    }

    /// Asks the machine; see [`crate::Client::query`].
    ///
    /// # Errors
    /// As there.
    pub fn query(&self, query: Bytes, how: Consistency) -> Result<Answer, ClientError> {
        self.client.call(async |client| client.query(query, how).await)
    }

    /// Asks the first node that answers, and says which one that is; see
    /// [`crate::Client::query_any`].
    ///
    /// # Errors
    /// As there.
    pub fn query_any(&self, query: Bytes) -> Result<(String, Answer), ClientError> {
        self.client.call(async |client| client.query_any(query).await)
    }

    /// Asks one node for its status; see [`crate::Client::status_of`].
    ///
    /// # Errors
    /// As there.
    pub fn status_of(&self, endpoint: &str) -> Result<NodeStatus, ClientError> {
        self.client.call(async |client| client.status_of(endpoint).await)
    }

    /// Asks one node's own state; see [`crate::Client::query_of`].
    ///
    /// # Errors
    /// As there.
    pub fn query_of(&self, endpoint: &str, query: Bytes) -> Result<Answer, ClientError> {
        self.client.call(async |client| client.query_of(endpoint, query).await)
    }

    /// Reads a piece of a node's log; see [`crate::Client::read_log`].
    ///
    /// # Errors
    /// As there.
    pub fn read_log(
        &self,
        endpoint: Option<&str>,
        from: u64,
        entries_max: u32,
        detail: LogDetail,
    ) -> Result<LogPage, ClientError> {
        self.client.call(async |client| client.read_log(endpoint, from, entries_max, detail).await)
    }

    /// Reads a piece of the log of the first node that answers, and says which one that is; see
    /// [`crate::Client::read_log_any`].
    ///
    /// # Errors
    /// As there.
    pub fn read_log_any(
        &self,
        from: u64,
        entries_max: u32,
        detail: LogDetail,
    ) -> Result<(String, LogPage), ClientError> {
        self.client.call(async |client| client.read_log_any(from, entries_max, detail).await)
    }

    /// Changes the members; see [`crate::Client::reconfigure`].
    ///
    /// # Errors
    /// As there.
    pub fn reconfigure(
        &self,
        target: &Configuration,
        expected_index: u64,
    ) -> Result<(), ClientError> {
        self.client.call(async |client| client.reconfigure(target, expected_index).await)
    }

    /// Asks the leader to hand over to a voter; see [`crate::Client::transfer`].
    ///
    /// # Errors
    /// As there.
    pub fn transfer(&self, to: NodeId) -> Result<(), ClientError> {
        self.client.call(async |client| client.transfer(to).await)
    }

    /// Asks one node for its snapshots, or to make one; see [`crate::Client::snapshot`].
    ///
    /// # Errors
    /// As there.
    pub fn snapshot(
        &self,
        endpoint: &str,
        request: SnapshotRequest,
    ) -> Result<SnapshotAnswer, ClientError> {
        self.client.call(async |client| client.snapshot(endpoint, request).await)
    }

    /// Closes anybody's session; see [`crate::Client::close_session`].
    ///
    /// # Errors
    /// As there.
    pub fn close_session(&self, session: u64) -> Result<Option<Ended>, ClientError> {
        self.client.call(async |client| client.close_session(session).await)
    }

    /// Opens a session; see [`crate::Client::session`].
    ///
    /// # Errors
    /// As there.
    pub fn session(&self, name: &str) -> Result<Session, ClientError> {
        let session = self.client.call(async |client| client.session(name).await)?;
        Ok(Session { session: Bound::new(session, Arc::clone(&self.client.runtime)) })
    }

    /// Lets this client and its copies follow a history of the cluster; see
    /// [`crate::Client::follow`]. In a forked child nothing happens.
    pub fn follow(&self, generation: Generation) {
        if let Ok(client) = self.client.here() {
            client.follow(generation);
        }
    }

    /// Returns the history that this client follows, as soon as it knows one; none in a forked
    /// child.
    pub fn generation(&self) -> Option<Generation> {
        self.client.here().ok()?.generation()
    }

    /// Connects with other credentials of the same holder from now on; see
    /// [`crate::Client::replace_credentials`].
    ///
    /// # Errors
    /// As there.
    pub fn replace_credentials(&self, credentials: &Credentials) -> Result<(), ClientError> {
        self.client.here()?.replace_credentials(credentials)
    }

    /// Returns the endpoints that this client was given.
    pub fn endpoints(&self) -> &[String] {
        self.client.get().endpoints()
    }

    /// Closes all connections, and ends the client and its copies; see [`crate::Client::close`].
    pub fn close(&self) {
        // In a forked child, the connections are the parent's.
        let _ = self.client.run(async |client| client.close().await);
    }
}

impl Session {
    /// Returns the session's id.
    pub fn id(&self) -> u64 {
        self.session.get().id()
    }

    /// Puts a command through the log exactly once; see [`crate::Session::propose`].
    ///
    /// # Errors
    /// As there.
    pub fn propose(&self, body: Bytes) -> Result<Answer, ClientError> {
        self.session.call(async |session| session.propose(body).await)
    }

    /// Puts commands through the log exactly once each and in their order; see
    /// [`crate::Session::propose_all`].
    ///
    /// # Errors
    /// For each command, as there.
    pub fn propose_all(&self, bodies: Vec<Bytes>) -> Vec<Result<Answer, ClientError>> {
        let count = bodies.len();
        let ended = self.session.run(async |session| session.propose_all(bodies).await);
        ended.unwrap_or_else(|error| vec![Err(error); count])
    }

    /// Finds out how commands ended; see [`crate::Session::outcomes`].
    ///
    /// # Errors
    /// For each number, as there.
    pub fn outcomes(&self, sequences: Vec<u64>) -> BTreeMap<u64, Result<Answer, ClientError>> {
        let asked = sequences.clone();
        let ended = self.session.run(async |session| session.outcomes(sequences).await);
        ended.unwrap_or_else(|error| {
            asked.into_iter().map(|sequence| (sequence, Err(error.clone()))).collect()
        })
    }

    /// Finds out how a command ended; see [`crate::Session::outcome`].
    ///
    /// # Errors
    /// As there.
    pub fn outcome(&self, sequence: u64) -> Result<Answer, ClientError> {
        self.session.call(async |session| session.outcome(sequence).await)
    }

    /// Returns the numbers of the commands that are not answered, in order; see
    /// [`crate::Session::unanswered`]. None in a forked child, which cannot await any.
    pub fn unanswered(&self) -> Vec<u64> {
        self.session.here().map(crate::Session::unanswered).unwrap_or_default()
    }

    /// Gives a command up whose outcome is unknown; see [`crate::Session::forget`]. In a forked
    /// child nothing happens.
    pub fn forget(&self, sequence: u64) {
        if let Ok(session) = self.session.here() {
            session.forget(sequence);
        }
    }

    /// Ends the session; see [`crate::Session::close`].
    ///
    /// # Errors
    /// As there.
    pub fn close(self) -> Result<(), ClientError> {
        self.session.call(async |session| session.clone().close().await)
    }
}

impl<T> Bound<T> {
    fn new(inner: T, runtime: Arc<Runtime>) -> Self {
        Self { inner: Some(inner), runtime }
    }

    fn get(&self) -> &T {
        self.inner.as_ref().expect("it is there until it is dropped")
    }

    /// Returns it where its thread is.
    ///
    /// # Errors
    /// In a forked child: whoever held a lock of it will never give it back there.
    fn here(&self) -> Result<&T, ClientError> {
        if self.runtime.is_elsewhere() {
            return Err(ClientError::Ended("it was made before a fork, and stays with the parent"));
        }
        Ok(self.get())
    }

    /// Waits for what the thread does.
    ///
    /// # Errors
    /// As [`Bound::here`].
    fn run<R>(&self, ask: impl AsyncFnOnce(&T) -> R) -> Result<R, ClientError> {
        Ok(self.runtime.handle.block_on(ask(self.here()?)))
    }

    /// As [`Bound::run`], of what may fail itself.
    fn call<R>(
        &self,
        ask: impl AsyncFnOnce(&T) -> Result<R, ClientError>,
    ) -> Result<R, ClientError> {
        self.run(ask)?
    }
}

impl<T: Clone> Clone for Bound<T> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), runtime: Arc::clone(&self.runtime) }
    }
}

impl<T> Drop for Bound<T> {
    fn drop(&mut self) {
        if self.runtime.is_elsewhere() {
            // The thread may have held its locks when the process was forked.
            std::mem::forget(self.inner.take());
        }
    }
}

impl Runtime {
    /// Says whether the thread is in another process: this one was forked from it.
    fn is_elsewhere(&self) -> bool {
        self.process != std::process::id()
    }

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
        let process = std::process::id();
        Ok(Self { handle, stop: Some(stop), thread: Some(thread), process })
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        if self.is_elsewhere() {
            // There is nobody to stop or to wait for.
            return std::mem::forget((self.stop.take(), self.thread.take()));
        }
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It has nothing left to say.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests;
