//! Requests that are not for the leader: to one node, to the first that answers, or to each node in
//! its turn.

use std::sync::atomic::Ordering;

use protocol::{Consistency, ErrorReply, NodeStatus, Request, Response};
use tokio::time::{Instant, sleep, timeout};
use transport::Precision;

use crate::attempt::{Attempt, DIAL_PATIENCE, Manner};
use crate::client::Client;
use crate::error::{Cause, ClientError, Common, Reaction, reaction};
use crate::lead::first_to_connect;
use crate::members::REFRESH_EVERY;
use crate::search::{Search, Why};

impl Client {
    /// Asks one node; nothing that is asked so has an effect when it is asked twice.
    pub(crate) async fn on(
        &self,
        endpoint: &str,
        request: &Request,
    ) -> Result<Response, ClientError> {
        self.admit(request)?;
        let manner = Manner::plain(Instant::now() + self.shared.config.deadline);
        let mut attempt = self.attempt(endpoint, request, manner).await?;
        // A connection from before the node's restart breaks at its first use.
        if matches!(&attempt, Attempt::Failed { why, reply: None } if why.reached)
            && Instant::now() < manner.patience.deadline
        {
            attempt = self.attempt(endpoint, request, manner).await?;
        }
        // What a node is that has another history, or none, may be known.
        if matches!(&attempt, Attempt::Failed { why, reply: None }
            if why.precision == Precision::Generation)
            && matches!(request, Request::Status)
        {
            attempt = self.attempt(endpoint, request, manner.unnamed()).await?;
        }
        match attempt {
            Attempt::Done(response) => Ok(response),
            Attempt::Failed { reply: Some(reply), .. } => Err(ClientError::Refused(reply)),
            Attempt::Failed { why, .. } => {
                let common = Common::of(std::iter::once(why.precision));
                let causes = vec![Cause { endpoint: endpoint.into(), why: why.text }];
                Err(ClientError::Unreachable { causes, common })
            }
        }
    }

    /// Asks any node, each once: the first that can be reached and helps.
    pub(crate) async fn on_any(&self, request: &Request) -> Result<Response, ClientError> {
        self.on_first(request).await.map(|(_, response)| response)
    }

    /// The same, and says which node that is, so that it can be asked for what follows.
    pub(crate) async fn on_first(
        &self,
        request: &Request,
    ) -> Result<(String, Response), ClientError> {
        self.admit(request)?;
        let deadline = Instant::now() + self.patience();
        let mut search = Search::new();
        while !search.round_is_over() {
            let Some(endpoint) = first_to_connect(self, &mut search, deadline).await else {
                continue;
            };
            let all = self.shared.members.endpoints();
            let manner = match all.iter().all(|it| *it == endpoint || search.has_asked(it)) {
                true => Manner::plain(deadline),
                false => Manner::plain(deadline).leaving_time(request),
            };
            match self.attempt_or_learn(&endpoint, request, manner).await? {
                Attempt::Done(response) => return Ok((endpoint, response)),
                Attempt::Failed { why, reply } => {
                    search.failed(&endpoint, why);
                    if let Some(reply) = reply.filter(|r| reaction(r.code) == Reaction::GiveUp) {
                        return Err(ClientError::Refused(reply));
                    }
                }
            }
        }
        Err(search.nobody_helps())
    }

    /// Asks one node after the other, with growing waits between the rounds, until the deadline.
    pub(crate) async fn on_each(&self, request: &Request) -> Result<Response, ClientError> {
        self.admit(request)?;
        let config = &self.shared.config;
        let mut endpoints = config.endpoints.clone();
        let deadline = Instant::now() + config.deadline;
        let first = self.shared.turn.fetch_add(1, Ordering::Relaxed) % endpoints.len();
        let mut search = Search::new();
        let mut busy: Option<ErrorReply> = None;
        loop {
            let count = endpoints.len();
            for (place, endpoint) in endpoints.iter().cycle().skip(first).take(count).enumerate() {
                // What is not tried has nothing to say.
                if Instant::now() >= deadline {
                    break;
                }
                // Another one may be quicker; who is slow is found connected in the next round, and
                // what was asked there is asked of the others meanwhile. The last one of a round
                // has all the time: it may be the question that is slow, and not the nodes.
                let manner = match place + 1 == count {
                    true if count == 1 => Manner::plain(deadline),
                    true => Manner::plain(deadline).briefly(),
                    false => Manner::plain(deadline).briefly().leaving_time(request),
                };
                match self.attempt_or_learn(endpoint, request, manner).await? {
                    Attempt::Done(response) => return Ok(response),
                    Attempt::Failed { why, reply } => {
                        search.failed(endpoint, why);
                        match reply.map(|reply| (reaction(reply.code), reply)) {
                            Some((Reaction::GiveUp, reply)) => {
                                return Err(ClientError::Refused(reply));
                            }
                            Some((Reaction::Later, reply)) => busy = Some(reply),
                            Some((Reaction::Elsewhere, _)) | None => {}
                        }
                    }
                }
            }
            // Members that the caller did not name are asked when no other can help, and who leads
            // when that is all that is known of them.
            endpoints = self.shared.members.endpoints();
            let named = busy.as_ref().and_then(|reply| reply.leader.as_ref());
            let others = named.filter(|leader| !endpoints.contains(&leader.address));
            endpoints.extend(others.map(|leader| leader.address.clone()));
            let wait = search.next_wait();
            if Instant::now() + wait >= deadline || search.is_hopeless(endpoints.len()) {
                // That one has too much to do is said with the others' reasons.
                if let Request::Query { consistency: Consistency::AtLeast(index), .. } = request {
                    return Err(search.nobody_has(*index, config.deadline));
                }
                let late = search.give_up(config.deadline);
                return Err(busy.map_or(late, ClientError::Refused));
            }
            sleep(wait).await;
        }
    }

    /// Asks a node. If that is the only one that is known, and does not answer a question for a
    /// while, it is asked beside that who else there is; it is left if there are others.
    pub(crate) async fn attempt_or_learn(
        &self,
        endpoint: &str,
        request: &Request,
        manner: Manner,
    ) -> Result<Attempt, ClientError> {
        let is_alone = || self.shared.members.endpoints().len() == 1;
        let patience = manner.leaving_time(request).patience.answer;
        let attempt = self.attempt(endpoint, request, manner);
        if !is_alone() || patience >= manner.patience.answer {
            return attempt.await;
        }
        tokio::pin!(attempt);
        if let Ok(done) = timeout(patience, &mut attempt).await {
            return done;
        }
        let learnt = async {
            // Without an answer, it stays the only one.
            let _ = timeout(DIAL_PATIENCE, self.learn_members(endpoint)).await;
            if is_alone() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            done = &mut attempt => done,
            () = learnt => {
                let text = "it did not answer, and others are asked".to_owned();
                let why = Why { text, precision: Precision::Mute, reached: true };
                Ok(Attempt::Failed { why, reply: None })
            }
        }
    }

    async fn learn_members(&self, endpoint: &str) {
        let changes = self.shared.pool.changes();
        if let Ok(Response::Status(status)) = self.on(endpoint, &Request::Status).await
            && status.generation == self.generation()
        {
            let NodeStatus { configuration, configuration_index: index, commit, .. } = *status;
            self.shared.members.learn((changes, index), index <= commit, &configuration);
        }
    }

    /// Asks a node who leads; `None` if it does not know, or does not answer.
    pub(crate) async fn leader_of(&self, endpoint: &str) -> Option<String> {
        let Ok(Response::Status(status)) = self.on(endpoint, &Request::Status).await else {
            return None;
        };
        let leader = status.configuration.member(status.leader?)?;
        Some(leader.address.clone())
    }

    /// Asks a node that answers, now and then and beside everything else, where all members are: a
    /// client outlives the nodes that it was told of.
    pub(crate) fn refresh_members(&self, endpoint: &str) {
        if self.shared.members.is_due() {
            let (client, endpoint) = (self.clone(), endpoint.to_owned());
            tokio::spawn(async move {
                // Without an answer, the next due time comes; the caller's deadline may be a year.
                let _ = timeout(REFRESH_EVERY, client.learn_members(&endpoint)).await;
            });
        }
    }
}
