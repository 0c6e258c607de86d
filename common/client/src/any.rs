//! Questions that any node can answer: each node is asked first in its turn, and another one if it
//! cannot help.

use std::sync::atomic::Ordering;

use protocol::{Request, Response};
use tokio::time::{Instant, sleep};

use crate::client::{Attempt, Client};
use crate::error::{ClientError, Reaction, reaction};
use crate::search::Search;

impl Client {
    /// Asks one node after the other, with growing waits between the rounds, until the deadline.
    pub(crate) async fn on_each(&self, request: &Request) -> Result<Response, ClientError> {
        let config = &self.shared.config;
        let mut endpoints = config.endpoints.clone();
        let deadline = Instant::now() + config.deadline;
        let first = self.shared.turn.fetch_add(1, Ordering::Relaxed) % endpoints.len();
        let mut search = Search::new(endpoints.len());
        let mut busy = None;
        loop {
            for endpoint in endpoints.iter().cycle().skip(first).take(endpoints.len()) {
                match self.attempt(endpoint, request, deadline).await? {
                    Attempt::Done(response) => return Ok(response),
                    Attempt::Failed { why, certificates, reached, reply } => {
                        search.failed(endpoint, why, certificates, reached);
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
            // Whom the caller did not name is asked when nobody else can help.
            endpoints = self.shared.members.endpoints();
            let wait = search.next_wait();
            if Instant::now() + wait >= deadline || search.is_hopeless() {
                let late = search.give_up(config.deadline);
                return Err(busy.map_or(late, ClientError::Refused));
            }
            sleep(wait).await;
        }
    }

    /// Asks a node who leads; `None` if it does not know, or does not answer.
    pub(crate) async fn leader_of(&self, endpoint: &str) -> Option<String> {
        let status = self.status_of(endpoint).await.ok()?;
        let leader = status.configuration.member(status.leader?)?;
        Some(leader.address.clone())
    }
}
