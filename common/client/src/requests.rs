//! What can be asked of a cluster.

use bytes::Bytes;
use consensus::{Configuration, NodeId};
use protocol::{
    BootstrapRecord, LogDetail, LogPage, NodeStatus, Request, Response, SnapshotAnswer,
    SnapshotRequest,
};
use state_machine::Envelope;

use crate::client::Client;
use crate::error::ClientError;
use crate::limits;

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
    /// The index of the command; for a question, one behind which nothing lies that it has seen.
    pub index: u64,
    /// The machine's bytes.
    pub response: Bytes,
    /// How long ago the node that answered a question had last heard from a leader, in
    /// milliseconds: 0 at a leader, [`AGE_UNKNOWN_MS`](crate::AGE_UNKNOWN_MS) if never since it
    /// started. `None` for commands and for a leader's linearizable answer.
    pub age_ms: Option<u64>,
}

impl Client {
    /// Puts a command of at most [`PROPOSAL_BYTES_MAX`](crate::PROPOSAL_BYTES_MAX) bytes through
    /// the log and returns the machine's answer.
    ///
    /// # Errors
    /// [`ClientError::Unknown`] if the command may have taken effect, also if it has and its answer
    /// is longer than [`ANSWER_BYTES_MAX`](crate::ANSWER_BYTES_MAX); every other error says that it
    /// certainly has not. [`ClientError::TooLarge`] at once if the command is too large.
    pub async fn propose(&self, body: Bytes) -> Result<Answer, ClientError> {
        limits::command(&body)?;
        let command = Envelope::sessionless(body).encode();
        let Response::Applied { index, response } =
            self.on_leader(&Request::Propose { command }).await?
        else {
            return Err(self.unclear());
        };
        Ok(Answer { index, response, age_ms: None })
    }

    /// Asks the machine. A question has at most [`QUERY_BYTES_MAX`](crate::QUERY_BYTES_MAX) bytes,
    /// its answer at most [`ANSWER_BYTES_MAX`](crate::ANSWER_BYTES_MAX).
    ///
    /// A node that does not answer within 1.25 s, or within a quarter of the time until the
    /// deadline if that is more, is left for another one, which is asked the same: a question that
    /// the machine takes long to answer needs a deadline several times as long.
    ///
    /// # Errors
    /// Never [`ClientError::Unknown`]: a question has no effect. [`ClientError::TooLarge`] at once
    /// if the question is too large; [`ClientError::Refused`] with
    /// [`ErrorCode::TooLarge`](protocol::ErrorCode::TooLarge) if the answer is.
    pub async fn query(&self, query: Bytes, how: Consistency) -> Result<Answer, ClientError> {
        limits::query(&query)?;
        let consistency = match how {
            Consistency::Linearizable | Consistency::Follower => {
                protocol::Consistency::Linearizable
            }
            Consistency::AtLeast(index) => protocol::Consistency::AtLeast(index),
            Consistency::Stale => protocol::Consistency::Stale,
        };
        let request = Request::Query { query, consistency };
        let response = match how {
            Consistency::Linearizable => self.on_leader(&request).await?,
            Consistency::Follower | Consistency::AtLeast(_) => self.on_each(&request).await?,
            Consistency::Stale => self.on_any(&request).await?,
        };
        answer(response).ok_or_else(|| self.unexpected())
    }

    /// Asks the first node that answers about its own state, however old, and says which one that
    /// is: what is asked page by page is asked of one and the same ([`Client::query_of`]), since
    /// others may have applied less.
    ///
    /// # Errors
    /// As [`Client::query`].
    pub async fn query_any(&self, query: Bytes) -> Result<(String, Answer), ClientError> {
        limits::query(&query)?;
        let request = Request::Query { query, consistency: protocol::Consistency::Stale };
        let (endpoint, response) = self.on_first(&request).await?;
        match answer(response) {
            Some(answer) => Ok((endpoint, answer)),
            None => Err(ClientError::Unexpected { endpoint }),
        }
    }

    /// Asks one node for its status; works without a quorum.
    ///
    /// # Errors
    /// If that node does not answer.
    pub async fn status_of(&self, endpoint: &str) -> Result<NodeStatus, ClientError> {
        let Response::Status(status) = self.on(endpoint, &Request::Status).await? else {
            return Err(ClientError::Unexpected { endpoint: endpoint.into() });
        };
        Ok(*status)
    }

    /// Asks one node's own state, however old.
    ///
    /// # Errors
    /// If that node does not answer; else as [`Client::query`].
    pub async fn query_of(&self, endpoint: &str, query: Bytes) -> Result<Answer, ClientError> {
        limits::query(&query)?;
        let request = Request::Query { query, consistency: protocol::Consistency::Stale };
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
        let Response::Log(page) = response else {
            return Err(self.unexpected());
        };
        Ok(page)
    }

    /// Reads a piece of the log of the first node that answers, and says which one that is: the
    /// pieces that follow are read from the same, since others may have less.
    ///
    /// # Errors
    /// As [`Client::read_log`].
    pub async fn read_log_any(
        &self,
        from: u64,
        entries_max: u32,
        detail: LogDetail,
    ) -> Result<(String, LogPage), ClientError> {
        let request = Request::ReadLog { from, entries_max, detail };
        let (endpoint, response) = self.on_first(&request).await?;
        let Response::Log(page) = response else {
            return Err(ClientError::Unexpected { endpoint });
        };
        Ok((endpoint, page))
    }

    /// Gives a node the bootstrap record of its cluster.
    ///
    /// # Errors
    /// If the node does not answer, or has another history; at once, if names or addresses of its
    /// members are not as [`Client::reconfigure`] demands.
    pub async fn bootstrap(
        &self,
        endpoint: &str,
        record: BootstrapRecord,
    ) -> Result<(), ClientError> {
        limits::members(&record.configuration)?;
        let Response::Bootstrapped { .. } =
            self.on(endpoint, &Request::Bootstrap { record }).await?
        else {
            return Err(ClientError::Unexpected { endpoint: endpoint.into() });
        };
        Ok(())
    }

    /// Makes a new node ready to be added; see [`Request::Join`].
    ///
    /// # Errors
    /// If the node does not answer, or has another history.
    pub async fn join(&self, endpoint: &str, record: BootstrapRecord) -> Result<(), ClientError> {
        let Response::Bootstrapped { .. } = self.on(endpoint, &Request::Join { record }).await?
        else {
            return Err(ClientError::Unexpected { endpoint: endpoint.into() });
        };
        Ok(())
    }

    /// Changes the members; returns when the change is committed. Each has a name of its own, of 1
    /// to 64 bytes, and an address of at most 260.
    ///
    /// # Errors
    /// [`ClientError::Invalid`] or [`ClientError::TooLarge`] at once if a name or an address is not
    /// so; [`ClientError::Refused`] with [`ErrorCode::Forbidden`] if a safety rule forbids it, or
    /// the configuration does not stand at `expected_index`, with [`ErrorCode::NotMet`] if the
    /// leader does not find a new node where and as `target` names it; [`ClientError::Unknown`] if
    /// leadership was lost meanwhile: then the configuration tells how it ended.
    ///
    /// # Examples
    /// To remove a member:
    ///
    /// ```no_run
    /// use client::{Client, Configuration, Majority, NodeId, Voters};
    ///
    /// # async fn remove(client: &Client, gone: NodeId) -> Result<(), Box<dyn std::error::Error>> {
    /// let seen = client.status_of(&client.endpoints()[0]).await?;
    /// let (mut members, mut learners) =
    ///     (seen.configuration.members().clone(), seen.configuration.learners().clone());
    /// members.remove(&gone);
    /// learners.remove(&gone);
    /// let voting = members.keys().copied().filter(|id| !learners.contains(id));
    /// let voters = Voters::Stable(Majority::new(voting));
    /// let target = Configuration::new(voters, learners, members)?;
    /// client.reconfigure(&target, seen.configuration_index).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// [`ErrorCode::Forbidden`]: protocol::ErrorCode::Forbidden
    /// [`ErrorCode::NotMet`]: protocol::ErrorCode::NotMet
    pub async fn reconfigure(
        &self,
        target: &Configuration,
        expected_index: u64,
    ) -> Result<(), ClientError> {
        limits::members(target)?;
        let target = target.clone();
        let Response::Done =
            self.on_leader(&Request::Reconfigure { target, expected_index }).await?
        else {
            return Err(self.unclear());
        };
        Ok(())
    }

    /// Asks the leader to hand over to a voter; returns when it has given up leadership.
    ///
    /// # Errors
    /// If that node may not lead, or did not take over in time.
    pub async fn transfer(&self, to: NodeId) -> Result<(), ClientError> {
        let Response::Done = self.on_leader(&Request::Transfer { to: to.get() }).await? else {
            return Err(self.unclear());
        };
        self.remember(None);
        Ok(())
    }

    /// Asks one node for its snapshots, or to make one, and waits until the client's deadline. To
    /// make one takes as long as the state is large: one that is not finished by then goes on, and
    /// [`SnapshotRequest::List`] shows it when it is. A deadline of many minutes waits for it.
    ///
    /// # Errors
    /// If the node does not answer within the deadline, or refuses.
    pub async fn snapshot(
        &self,
        endpoint: &str,
        request: SnapshotRequest,
    ) -> Result<SnapshotAnswer, ClientError> {
        let Response::Snapshot(answer) = self.on(endpoint, &Request::Snapshot(request)).await?
        else {
            return Err(ClientError::Unexpected { endpoint: endpoint.into() });
        };
        Ok(answer)
    }
}

/// Reads the answer to a question.
fn answer(response: Response) -> Option<Answer> {
    let Response::Answer { index, response, age_ms } = response else {
        return None;
    };
    Some(Answer { index, response, age_ms })
}
