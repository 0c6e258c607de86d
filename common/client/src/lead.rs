//! Asks the leader, whoever that is and however it is reached: directly, or through a node that
//! reaches it where this machine does not.

use std::collections::BTreeSet;
use std::time::Duration;

use protocol::{Request, Response};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};
use transport::{Patience, Precision};

use crate::attempt::{ANSWER_PATIENCE_MIN, Attempt, DIAL_PATIENCE, Lead, Manner};
use crate::client::Client;
use crate::error::{ClientError, Reaction, reaction};
use crate::search::{Search, Why};

/// After so long through another node, the leader is looked for anew.
const THROUGH_FOR: Duration = Duration::from_secs(5);

/// The nodes, as a search sees them.
pub(crate) trait Nodes: Sync {
    /// Returns the addresses that the caller was told, and then all that are known.
    fn endpoints(&self) -> (Vec<String>, Vec<String>);

    /// Waits until there is a connection to a node.
    fn dial(
        &self,
        endpoint: String,
        until: Instant,
    ) -> impl Future<Output = Result<(), Why>> + Send + 'static;

    /// Asks a node once; only an unknown outcome is an error, or the end of a session's history.
    fn ask(
        &self,
        endpoint: &str,
        request: &Request,
        manner: Manner,
    ) -> impl Future<Output = Result<Attempt, ClientError>> + Send;

    /// Takes over that this node has answered.
    fn answered(
        &self,
        endpoint: String,
        response: &Response,
        manner: Manner,
    ) -> impl Future<Output = ()> + Send;

    /// Returns who led when last heard.
    fn known(&self) -> Option<Lead>;

    /// Remembers who leads.
    fn remember(&self, lead: Option<Lead>);

    /// Says whether there is a connection to a node; if not, one is tried for now and then.
    fn is_at_hand(&self, endpoint: &str) -> bool;
}

/// Asks the leader: the last known one first, then whomever the answers name, then all others, with
/// growing waits, until the deadline; each node for as long as the patience lasts. Each turn of the
/// loop notes an answer or a failure, so that each round ends, and each round ends with a wait.
pub(crate) async fn on_leader(
    nodes: &impl Nodes,
    request: &Request,
    patience: Patience,
) -> Result<Response, ClientError> {
    let (began, deadline) = (Instant::now(), patience.deadline);
    let mut search = Search::new();
    loop {
        let target = match next(nodes, &mut search) {
            Some(target) => Some(target),
            None => first_to_connect(nodes, &mut search, deadline).await,
        };
        if let Some(endpoint) = target {
            let manner = manner(nodes, &search, &endpoint, (request, patience));
            match nodes.ask(&endpoint, request, manner).await? {
                Attempt::Done(response) => {
                    nodes.answered(endpoint, &response, manner).await;
                    return Ok(response);
                }
                Attempt::Failed { why, reply } => {
                    let reached = why.reached;
                    search.failed(&endpoint, why);
                    if let Some(reply) = &reply {
                        search.heard(&endpoint, reply);
                    }
                    let hint = reply.as_ref().and_then(|reply| reply.leader.clone());
                    match reply.map(|reply| (reaction(reply.code), reply)) {
                        Some((Reaction::GiveUp, reply)) => return Err(ClientError::Refused(reply)),
                        Some((Reaction::Later, _)) => match hint {
                            Some(leader) if search.may_follow(&leader.address, &endpoint) => {
                                nodes.remember(Some(Lead::At(leader.address)));
                            }
                            Some(_) | None => search.pause(),
                        },
                        Some((Reaction::Elsewhere, _)) | None => {
                            let named = hint.map(|hint| hint.address);
                            nodes.remember(turn(&mut search, endpoint, reached, named));
                        }
                    }
                }
            }
        }
        if search.round_is_over() || Instant::now() >= deadline {
            let wait = search.next_wait();
            let endpoints = nodes.endpoints().1.len();
            if Instant::now() + wait >= deadline || search.is_hopeless(endpoints) {
                return Err(search.give_up(deadline.saturating_duration_since(began)));
            }
            sleep(wait).await;
        }
    }
}

/// Returns the node to ask by what is known, if it was not asked in this round.
fn next(nodes: &impl Nodes, search: &mut Search) -> Option<String> {
    let endpoint = match nodes.known()? {
        Lead::At(leader) => leader,
        Lead::Through { leader, .. } if nodes.is_at_hand(&leader) => {
            nodes.remember(Some(Lead::At(leader.clone())));
            leader
        }
        Lead::Through { since, .. } if since.elapsed() > THROUGH_FOR => {
            nodes.remember(None);
            return None;
        }
        Lead::Through { by, leader, .. } => {
            search.go_through(&leader, &by);
            by
        }
    };
    Some(endpoint).filter(|endpoint| !search.has_asked(endpoint))
}

fn manner(
    nodes: &impl Nodes,
    search: &Search,
    endpoint: &str,
    (request, patience): (&Request, Patience),
) -> Manner {
    let forward = search.is_detour();
    let manner = Manner { forward, ..Manner::patient(patience) };
    let others: Vec<String> =
        nodes.endpoints().1.into_iter().filter(|other| other != endpoint).collect();
    let manner = if others.is_empty() { manner } else { manner.briefly() };
    let is_last = others.iter().all(|other| search.has_asked(other));
    if forward || is_last { manner } else { manner.leaving_time(request) }
}

/// Decides how to go on after a node that could not help: with the leader that it names, or through
/// a node that reaches the leader.
fn turn(
    search: &mut Search,
    endpoint: String,
    reached: bool,
    named: Option<String>,
) -> Option<Lead> {
    let through = |by, leader| Some(Lead::Through { by, leader, since: Instant::now() });
    if let Some(leader) = named {
        if search.may_follow(&leader, &endpoint) {
            return Some(Lead::At(leader));
        }
        if search.is_unreached(&leader) && search.make_detour() {
            return through(endpoint, leader);
        }
        return None;
    }
    let by = search.namer(&endpoint).filter(|_| !reached)?.to_owned();
    if search.make_detour() { through(by, endpoint) } else { None }
}

/// Connects to all endpoints that were not asked in this round, and returns the first that answers,
/// so that a dead machine costs no time. Whoever does not answer in time is noted; if nobody is
/// left to be asked, the round is over.
pub(crate) async fn first_to_connect(
    nodes: &impl Nodes,
    search: &mut Search,
    deadline: Instant,
) -> Option<String> {
    let (told, all) = nodes.endpoints();
    // Those that were told come first: the caller may have chosen who is near.
    let open = |endpoints: Vec<String>| -> BTreeSet<String> {
        endpoints.into_iter().filter(|endpoint| !search.has_asked(endpoint)).collect()
    };
    let (mut asking, all) = (open(told), open(all));
    if asking.is_empty() {
        asking.clone_from(&all);
    }
    if asking.is_empty() {
        search.pause();
        return None;
    }
    // Somebody is there, and may know more soon, or others are yet to be tried: then nobody waits
    // long for these.
    let until = match search.has_reached() || all.len() > asking.len() {
        true => deadline.min(Instant::now() + DIAL_PATIENCE),
        false => deadline,
    };
    let mut dialling = JoinSet::new();
    for endpoint in &asking {
        let (dial, endpoint) = (nodes.dial(endpoint.clone(), until), endpoint.clone());
        dialling.spawn(async move { (endpoint, dial.await) });
    }
    while let Some(dialled) = dialling.join_next().await {
        match dialled {
            Ok((endpoint, Ok(()))) => return Some(endpoint),
            Ok((endpoint, Err(why))) => {
                asking.remove(&endpoint);
                search.failed(&endpoint, why);
            }
            Err(_) => {}
        }
    }
    for endpoint in asking {
        let text = "the attempt to connect broke off".to_owned();
        search.failed(&endpoint, Why { text, precision: Precision::Nothing, reached: false });
    }
    None
}

impl Client {
    /// Asks the leader.
    pub(crate) async fn on_leader(&self, request: &Request) -> Result<Response, ClientError> {
        self.on_leader_for(request, Patience::until(Instant::now() + self.patience())).await
    }

    /// Asks the leader, with this patience.
    pub(crate) async fn on_leader_for(
        &self,
        request: &Request,
        patience: Patience,
    ) -> Result<Response, ClientError> {
        self.admit(request)?;
        on_leader(self, request, patience).await
    }
}

impl Nodes for Client {
    fn endpoints(&self) -> (Vec<String>, Vec<String>) {
        (self.shared.config.endpoints.clone(), self.shared.members.endpoints())
    }

    fn dial(
        &self,
        endpoint: String,
        until: Instant,
    ) -> impl Future<Output = Result<(), Why>> + Send + 'static {
        let shared = std::sync::Arc::clone(&self.shared);
        async move {
            let got = shared.pool.get((&endpoint, true), until).await;
            got.map(|_| ()).map_err(Why::from)
        }
    }

    fn ask(
        &self,
        endpoint: &str,
        request: &Request,
        manner: Manner,
    ) -> impl Future<Output = Result<Attempt, ClientError>> + Send {
        self.attempt_or_learn(endpoint, request, manner)
    }

    async fn answered(&self, endpoint: String, response: &Response, manner: Manner) {
        self.refresh_members(&endpoint);
        // A follower that answers in the leader's place is no leader; nor need one be that may have
        // passed the request on.
        let in_its_place = matches!(response, Response::Answer { age_ms: Some(_), .. });
        if !in_its_place && !manner.forward {
            return self.remember(Some(Lead::At(endpoint)));
        }
        if matches!(self.known(), Some(Lead::Through { by, .. }) if by == endpoint) {
            return;
        }
        // The caller waits meanwhile for what is here already.
        let until = manner.patience.deadline.min(Instant::now() + ANSWER_PATIENCE_MIN);
        let asked = timeout_at(until, self.leader_of(&endpoint)).await;
        self.remember(match asked.ok().flatten() {
            Some(leader) if leader == endpoint || self.is_at_hand(&leader) => {
                Some(Lead::At(leader))
            }
            Some(leader) => Some(Lead::Through { by: endpoint, leader, since: Instant::now() }),
            None => None,
        });
    }

    fn known(&self) -> Option<Lead> {
        self.leader()
    }

    fn remember(&self, lead: Option<Lead>) {
        Client::remember(self, lead);
    }

    fn is_at_hand(&self, endpoint: &str) -> bool {
        self.shared.pool.is_at_hand(endpoint)
    }
}

#[cfg(test)]
mod tests;
