//! What can be asked of a cluster, and how one node is asked.

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use consensus::{Configuration, NodeId};
use protocol::{
    ErrorReply, Freshness, LogDetail, LogPage, NodeStatus, Outcome, Request, Response,
    SnapshotAnswer, SnapshotRequest,
};
use state_machine::Envelope;
use tokio::time::{Instant, sleep, timeout_at};
use transport::certs::Credentials;
use transport::{CallError, Precision};

use crate::error::{Cause, ClientError};
use crate::lead::{Lead, Manner};
use crate::members::Members;
use crate::pool::Pool;
use crate::search::Why;

/// Without an answer for so long, it is asked whether the node's port is still open.
const SUSPICIOUS_AFTER: Duration = Duration::from_millis(150);

/// Where a cluster is, and how long to try.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// Addresses of some or all nodes.
    pub endpoints: Vec<String>,
    /// Who this client is.
    pub credentials: Credentials,
    /// How long a request may take, with all retries.
    pub deadline: Duration,
    /// How long one attempt to connect may take.
    pub connect_timeout: Duration,
}

/// How fresh an answer must be, and who may give it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Consistency {
    /// As if there were one machine: everything acknowledged before the question is in the answer.
    /// The leader is asked.
    Linearizable,
    /// The same promise; any node is asked, each in turn. It asks the leader only how far the log
    /// is committed, so that reads scale with the nodes and cost a little more time.
    Follower,
    /// Everything up to this index of the log: with an [`Answer::index`] of one's own, one reads
    /// one's writes (and never back in time) from any node, without the leader.
    AtLeast(u64),
    /// Whatever the node that is asked has applied.
    Stale,
}

/// The machine's answer, and where it stands in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The index of the command; for a question, an index that was applied before.
    pub index: u64,
    /// The machine's bytes.
    pub response: Bytes,
    /// How long ago the node that answered a question had last heard from a leader, in
    /// milliseconds: 0 at a leader, [`AGE_UNKNOWN_MS`](crate::AGE_UNKNOWN_MS) if never since it
    /// started. `None` for commands and for a leader's linearizable answer.
    pub age_ms: Option<u64>,
}

/// A client of a cluster; copies share connections.
#[derive(Clone)]
pub struct Client {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) config: ClientConfig,
    pub(crate) pool: Pool,
    /// Who led when last heard.
    leader: Mutex<Option<Lead>>,
    /// Where the next question to any node begins.
    pub(crate) turn: AtomicUsize,
    /// Where all nodes are, as far as known.
    pub(crate) members: Members,
}

/// What one endpoint gave.
pub(crate) enum Attempt {
    Done(Response),
    Failed { why: Why, reply: Option<ErrorReply> },
}

impl Client {
    /// Makes a client; nothing is connected before the first request.
    ///
    /// # Errors
    /// If no endpoint is named, or no socket can be had.
    pub fn new(config: ClientConfig) -> Result<Self, ClientError> {
        if config.endpoints.is_empty() {
            return Err(ClientError::Endpoint("no endpoint is named".into()));
        }
        let pool = Pool::new(&config.credentials, config.connect_timeout)?;
        let members = Members::new(&config.endpoints);
        let (leader, turn) = (Mutex::new(None), AtomicUsize::new(0));
        Ok(Self { shared: Arc::new(Shared { config, pool, leader, turn, members }) })
    }

    /// Puts a command through the log and returns the machine's answer.
    ///
    /// # Errors
    /// [`ClientError::Unknown`] if the command may have taken effect; every other error says that
    /// it certainly has not.
    pub async fn propose(&self, body: Bytes) -> Result<Answer, ClientError> {
        let command = Envelope::sessionless(body).encode();
        match self.on_leader(&Request::Propose { command }).await? {
            Response::Applied { index, response } => Ok(Answer { index, response, age_ms: None }),
            _ => Err(self.unexpected()),
        }
    }

    /// Asks the machine.
    ///
    /// # Errors
    /// Never [`ClientError::Unknown`]: a question has no effect.
    pub async fn query(&self, query: Bytes, how: Consistency) -> Result<Answer, ClientError> {
        let freshness = match how {
            Consistency::Linearizable | Consistency::Follower => Freshness::Linearizable,
            Consistency::AtLeast(index) => Freshness::AtLeast(index),
            Consistency::Stale => Freshness::Stale,
        };
        let request = Request::Query { query, freshness };
        let response = match how {
            Consistency::Linearizable => self.on_leader(&request).await?,
            Consistency::Follower | Consistency::AtLeast(_) => self.on_each(&request).await?,
            Consistency::Stale => self.on_any(&request).await?,
        };
        answer(response).ok_or_else(|| self.unexpected())
    }

    /// Asks one node for its status; works without a quorum.
    ///
    /// # Errors
    /// If that node does not answer.
    pub async fn status_of(&self, endpoint: &str) -> Result<NodeStatus, ClientError> {
        match self.on(endpoint, &Request::Status).await? {
            Response::Status(status) => Ok(*status),
            _ => Err(ClientError::Unexpected { endpoint: endpoint.into() }),
        }
    }

    /// Asks one node's own state, however old.
    ///
    /// # Errors
    /// If that node does not answer.
    pub async fn query_of(&self, endpoint: &str, query: Bytes) -> Result<Answer, ClientError> {
        let request = Request::Query { query, freshness: Freshness::Stale };
        answer(self.on(endpoint, &request).await?)
            .ok_or_else(|| ClientError::Unexpected { endpoint: endpoint.into() })
    }

    /// Reads a piece of a node's log; from the first endpoint that answers if none is named.
    ///
    /// # Errors
    /// If no node answers, or this certificate may not read the log.
    pub async fn read_log(
        &self,
        endpoint: Option<&str>,
        from: u64,
        entries_max: u32,
        detail: LogDetail,
    ) -> Result<LogPage, ClientError> {
        let request = Request::ReadLog { from, entries_max, detail };
        let response = match endpoint {
            Some(endpoint) => self.on(endpoint, &request).await?,
            None => self.on_any(&request).await?,
        };
        match response {
            Response::Log(page) => Ok(page),
            _ => Err(self.unexpected()),
        }
    }

    /// Gives a node its founding record.
    ///
    /// # Errors
    /// If the node does not answer, or has another history.
    pub async fn bootstrap(&self, endpoint: &str, record: Bytes) -> Result<(), ClientError> {
        match self.on(endpoint, &Request::Bootstrap { record }).await? {
            Response::Bootstrapped { .. } => Ok(()),
            _ => Err(ClientError::Unexpected { endpoint: endpoint.into() }),
        }
    }

    /// Makes a new node ready to be added; see [`Request::Join`].
    ///
    /// # Errors
    /// If the node does not answer, or has another history.
    pub async fn join(&self, endpoint: &str, record: Bytes) -> Result<(), ClientError> {
        match self.on(endpoint, &Request::Join { record }).await? {
            Response::Bootstrapped { .. } => Ok(()),
            _ => Err(ClientError::Unexpected { endpoint: endpoint.into() }),
        }
    }

    /// Changes the members; returns when the change is committed.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with [`ErrorCode::Forbidden`] if a safety rule forbids it, or the
    /// configuration does not stand at `expected_index`, with [`ErrorCode::NotMet`] if the leader
    /// does not find a new node where and as `target` names it; [`ClientError::Unknown`] if
    /// leadership was lost meanwhile: then the configuration tells how it ended.
    ///
    /// [`ErrorCode::Forbidden`]: protocol::ErrorCode::Forbidden
    /// [`ErrorCode::NotMet`]: protocol::ErrorCode::NotMet
    pub async fn reconfigure(
        &self,
        target: &Configuration,
        expected_index: u64,
    ) -> Result<(), ClientError> {
        let target = protocol::encode_configuration(target);
        match self.on_leader(&Request::Reconfigure { target, expected_index }).await? {
            Response::Done => Ok(()),
            _ => Err(self.unexpected()),
        }
    }

    /// Asks the leader to hand over to a voter; returns when it has given up leadership.
    ///
    /// # Errors
    /// If that node may not lead, or did not take over in time.
    pub async fn transfer(&self, to: NodeId) -> Result<(), ClientError> {
        match self.on_leader(&Request::Transfer { to: to.get() }).await? {
            Response::Done => {
                self.remember(None);
                Ok(())
            }
            _ => Err(self.unexpected()),
        }
    }

    /// Asks one node for its snapshots, or to make one; takes as long as the node needs.
    ///
    /// # Errors
    /// If the node does not answer, or refuses.
    pub async fn snapshot(
        &self,
        endpoint: &str,
        request: SnapshotRequest,
    ) -> Result<SnapshotAnswer, ClientError> {
        match self.on(endpoint, &Request::Snapshot(request)).await? {
            Response::Snapshot(answer) => Ok(answer),
            _ => Err(ClientError::Unexpected { endpoint: endpoint.into() }),
        }
    }

    /// Returns how long a request may take, with all retries.
    pub(crate) fn patience(&self) -> Duration {
        self.shared.config.deadline
    }

    /// Returns the endpoints that this client was given.
    pub fn endpoints(&self) -> &[String] {
        &self.shared.config.endpoints
    }

    /// Closes all connections, so that the nodes need not wait for them to time out.
    pub async fn close(&self) {
        self.shared.pool.close().await;
    }

    /// Asks one node; nothing that is asked so has an effect when it is asked twice.
    async fn on(&self, endpoint: &str, request: &Request) -> Result<Response, ClientError> {
        let manner = Manner::plain(Instant::now() + self.shared.config.deadline);
        let mut attempt = self.attempt(endpoint, request, manner).await?;
        // A connection from before the node's restart breaks at its first use.
        if matches!(&attempt, Attempt::Failed { why, reply: None } if why.reached)
            && Instant::now() < manner.deadline
        {
            attempt = self.attempt(endpoint, request, manner).await?;
        }
        match attempt {
            Attempt::Done(response) => Ok(response),
            Attempt::Failed { reply: Some(reply), .. } => Err(ClientError::Refused(reply)),
            Attempt::Failed { why, .. } => {
                let certificates = why.precision == Precision::Identity;
                let causes = vec![Cause { endpoint: endpoint.into(), why: why.text }];
                Err(ClientError::Unreachable { causes, certificates })
            }
        }
    }

    /// Asks a node once, and sorts what came of it: only an unknown outcome is an error here.
    pub(crate) async fn attempt(
        &self,
        endpoint: &str,
        request: &Request,
        manner: Manner,
    ) -> Result<Attempt, ClientError> {
        let failed = |text: String, precision, reached| {
            let why = Why { text, precision, reached };
            Ok(Attempt::Failed { why, reply: None })
        };
        let connection = match self.shared.pool.get(endpoint, manner.connected_by).await {
            Ok(connection) => connection,
            Err(why) => return Ok(Attempt::Failed { why: why.into(), reply: None }),
        };
        let (asked, had_effect) = (Instant::now(), has_effect(request));
        let gone = async {
            sleep(SUSPICIOUS_AFTER).await;
            self.shared.pool.closed(endpoint, &connection).await
        };
        let passage = manner.passage();
        let answer = connection.call_for(request, &passage);
        let answered = tokio::select! {
            answered = timeout_at(manner.deadline, answer) => answered,
            gone = gone => Ok(Err(CallError::Lost(gone))),
        };
        match answered {
            Ok(Ok(Response::Error(reply))) => {
                if reply.outcome == Outcome::Unknown && had_effect {
                    return Err(unknown(format!("{endpoint}: {}", reply.message)));
                }
                let (text, precision) = (reply.message.clone(), Precision::Refused);
                let why = Why { text, precision, reached: true };
                Ok(Attempt::Failed { why, reply: Some(reply) })
            }
            Ok(Ok(response)) => Ok(Attempt::Done(response)),
            Ok(Err(CallError::NotSent(why))) => failed(why, Precision::Silence, false),
            Ok(Err(CallError::Lost(why))) if had_effect => {
                self.remember(None);
                Err(unknown(format!("{endpoint}: {why}")))
            }
            Ok(Err(CallError::Lost(why))) => failed(why, Precision::Mute, true),
            Err(_) if had_effect => {
                Err(unknown(format!("{endpoint} did not answer within the deadline")))
            }
            Err(_) => {
                // That there was no time to answer tells nothing of the node.
                let short = asked.elapsed() < SUSPICIOUS_AFTER;
                let precision = if short { Precision::Nothing } else { Precision::Mute };
                failed("it did not answer within the deadline".into(), precision, true)
            }
        }
    }

    pub(crate) fn leader(&self) -> Option<Lead> {
        let leader = self.shared.leader.lock();
        leader.unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    pub(crate) fn remember(&self, leader: Option<Lead>) {
        let mut known =
            self.shared.leader.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *known = leader;
    }

    pub(crate) fn unexpected(&self) -> ClientError {
        let endpoint = match self.leader() {
            Some(Lead::At(endpoint) | Lead::Through { by: endpoint, .. }) => endpoint,
            None => "a node".into(),
        };
        ClientError::Unexpected { endpoint }
    }
}

/// Reads the answer to a question.
fn answer(response: Response) -> Option<Answer> {
    let Response::Answer { index, response, age_ms } = response else {
        return None;
    };
    Some(Answer { index, response, age_ms })
}

fn unknown(why: String) -> ClientError {
    ClientError::Unknown { why, sequence: None }
}

/// Says whether a request may change something, so that a lost answer leaves its outcome unknown.
fn has_effect(request: &Request) -> bool {
    match request {
        Request::Propose { .. } | Request::Reconfigure { .. } | Request::Transfer { .. } => true,
        // Repeating these changes nothing more.
        Request::Bootstrap { .. } | Request::Join { .. } => false,
        // A second snapshot does no harm.
        Request::Query { .. }
        | Request::SystemQuery { .. }
        | Request::Status
        | Request::ReadLog { .. }
        | Request::Snapshot(_) => false,
    }
}
