//! A node that keeps to a script: a real server with real certificates, which notes what it is
//! asked, and answers each request as it was told to.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use consensus::Incarnation;
use protocol::{
    Applied, ErrorCode, ErrorReply, Generation, Hello, Outcome, PROTOCOL_VERSION, Request, Response,
};
use state_machine::SystemResponse;
use tokio::sync::{mpsc, watch};
use transport::certs::{Authority, ClusterId, Credentials, Identity, Role};
use transport::{
    ClientRequest, Endpoint, Forwarder, Guard, Responder, Revoked, SeatLimits, Seats, serve_client,
};

use crate::{Client, ClientConfig, NodeId};

pub(super) const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The history that a node has.
pub(super) const HISTORY: [u8; 32] = [7; 32];

/// What becomes of one request.
#[derive(Clone, Debug)]
pub(super) enum Turn {
    /// It is answered.
    Says(Response),
    /// It is answered, and nothing is any more.
    Last(Response),
    /// It is answered when the next request has come.
    Late(Response),
    /// Its connection is cut instead of an answer; the next one may be made at once.
    Cuts,
}

/// A node that keeps to a script.
pub(super) struct Node {
    authority: Arc<Authority>,
    says: watch::Sender<Hello>,
    address: String,
    asked: Arc<Mutex<Vec<Request>>>,
}

impl Node {
    /// Starts a node; what comes beyond the script is applied, at index 7.
    pub(super) fn start(script: impl IntoIterator<Item = Turn>) -> Self {
        let authority = Authority::create(ClusterId::generate().unwrap(), DAY).unwrap();
        Self::start_in(Arc::new(authority), HISTORY, script)
    }

    /// Starts another node of the cluster, which has this history.
    pub(super) fn start_beside(
        &self,
        history: [u8; 32],
        script: impl IntoIterator<Item = Turn>,
    ) -> Self {
        Self::start_in(Arc::clone(&self.authority), history, script)
    }

    fn start_in(
        authority: Arc<Authority>,
        history: [u8; 32],
        script: impl IntoIterator<Item = Turn>,
    ) -> Self {
        let identity = Identity::new(authority.cluster(), Role::Node(1.try_into().unwrap()));
        let credentials = authority.issue(&identity, DAY).unwrap().credentials().unwrap();
        let endpoint = Endpoint::server("127.0.0.1:0".parse().unwrap(), &credentials).unwrap();
        let address = endpoint.local_addr().unwrap().to_string();
        let hello = Hello {
            protocol: PROTOCOL_VERSION,
            cluster: authority.cluster().to_bytes(),
            generation: Some(Generation::new(history)),
            node: NodeId::new(1),
            incarnation: Incarnation::default(),
            boot: 0,
            software: "test".into(),
            lease: None,
            promises: protocol::Promises::default(),
        };
        let (says, said) = watch::channel(hello);
        let forwarder = Forwarder::new(endpoint.clone(), said.clone());
        let (sender, requests) = mpsc::channel(64);
        let (asked, guard) = (Arc::default(), endpoint.guard().clone());
        tokio::spawn(play(requests, script.into_iter().collect(), guard, Arc::clone(&asked)));
        let seats = Seats::new(SeatLimits {
            connections_max: 64,
            per_identity_max: 64,
            requests_per_identity_max: 4_096,
        });
        tokio::spawn(async move {
            while let Some(incoming) = endpoint.accept().await {
                let Ok(accepted) = incoming.finish(&seats).await else { continue };
                let (hello, to) = (said.borrow().clone(), (sender.clone(), forwarder.clone()));
                tokio::spawn(serve_client(accepted, hello, to));
            }
        });
        Self { authority, says, address, asked }
    }

    /// Gives the node a history, or none, which it says from now on.
    pub(super) fn has(&self, history: Option<[u8; 32]>) {
        self.says.send_modify(|hello| hello.generation = history.map(Generation::new));
    }

    /// Makes a client of this node, with a deadline that nobody waits for.
    pub(super) fn client(&self) -> Client {
        self.client_of([self])
    }

    /// Makes a client of these nodes.
    pub(super) fn client_of<'a>(&self, nodes: impl IntoIterator<Item = &'a Node>) -> Client {
        self.client_with(nodes, self.credentials("eve", DAY))
    }

    /// Issues credentials that last so long.
    pub(super) fn credentials(&self, name: &str, validity: Duration) -> Credentials {
        let role = Role::Client(name.parse().unwrap());
        let identity = Identity::new(self.authority.cluster(), role);
        self.authority.issue(&identity, validity).unwrap().credentials().unwrap()
    }

    /// Makes a client with these credentials.
    pub(super) fn client_with<'a>(
        &self,
        nodes: impl IntoIterator<Item = &'a Node>,
        credentials: Credentials,
    ) -> Client {
        Client::new(ClientConfig {
            endpoints: nodes.into_iter().map(|node| node.address.clone()).collect(),
            credentials,
            deadline: Duration::from_secs(60),
            connect_timeout: Duration::from_secs(60),
        })
        .unwrap()
    }

    /// Returns how many requests have arrived, beside questions about the node itself.
    pub(super) fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

async fn play(
    mut requests: mpsc::Receiver<ClientRequest>,
    mut script: VecDeque<Turn>,
    guard: Guard,
    asked: Arc<Mutex<Vec<Request>>>,
) {
    let mut late = Vec::new();
    while let Some(ClientRequest { request, identity, responder, .. }) = requests.recv().await {
        if request == Request::Status {
            responder.send(refused(ErrorCode::Forbidden));
            continue;
        }
        let turn = script.pop_front().unwrap_or_else(|| Turn::Says(applied(&request)));
        asked.lock().unwrap().push(request);
        late.drain(..).for_each(|(to, response): (Responder, Response)| to.send(response));
        match turn {
            Turn::Late(response) => late.push((responder, response)),
            Turn::Says(response) => responder.send(response),
            Turn::Last(response) => {
                responder.send(response);
                let mut unanswered = Vec::new();
                while let Some(request) = requests.recv().await {
                    unanswered.push(request);
                }
            }
            Turn::Cuts => {
                let (holder, why) = (identity.role.to_string(), "for a moment".to_owned());
                guard.revoke([Revoked { holder, until_s: u64::MAX, keys: Vec::new(), why }]);
                guard.revoke([]);
            }
        }
    }
}

/// The answer to what was asked, as in a session: each command was applied.
fn applied(request: &Request) -> Response {
    let response = SystemResponse::Answer { index: 7, response: Bytes::new() }.encode();
    match request {
        Request::Batch { commands } => {
            let one = || Ok(Applied { index: 7, response: response.clone() });
            Response::Batch { outcomes: commands.iter().map(|_| one()).collect() }
        }
        Request::Transfer { .. } => Response::Done,
        _ => Response::Applied { index: 7, response },
    }
}

/// An answer by which nobody knows what became of the request.
pub(super) fn unknown() -> Response {
    error(ErrorCode::Abandoned, Outcome::Unknown)
}

/// An answer by which this attempt certainly had no effect.
pub(super) fn refused(code: ErrorCode) -> Response {
    error(code, Outcome::NotApplied)
}

fn error(code: ErrorCode, outcome: Outcome) -> Response {
    Response::Error(ErrorReply { code, message: "by the script".into(), leader: None, outcome })
}
