//! The node's side of a client's connection.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use certs::{Identity, Role};
use consensus::NodeId;
use protocol::limits::REQUESTS_IN_FLIGHT_MAX;
use protocol::{ErrorCode, ErrorReply, Hello, Outcome, Passage, ProtocolError, Request, Response};
use quinn::{RecvStream, SendStream};
use tokio::sync::{Semaphore, mpsc};

use crate::chunks::Chunks;
use crate::endpoint::{Accepted, Close};
use crate::error::{Cause, TurnedAway};
use crate::forward::Forwarder;
use crate::handshake::{Caller, answer_hello};
use crate::limits::ANSWERS_MAX;
use crate::responder::{Answer, ClientRequest, Forwardable, Responder, refusal};
use crate::stream::{FrameStream, ReadFailure};

/// Serves a client until it goes: requests come out of `requests`, which holds them back when full.
/// What only a leader can do may take the way of `forwarder` if another node leads.
///
/// # Errors
/// Why the connection was refused or cut.
pub async fn serve_client(
    accepted: Accepted,
    ours: Hello,
    (requests, forwarder): (mpsc::Sender<ClientRequest>, Forwarder),
) -> Result<(), TurnedAway> {
    let connection = accepted.connection;
    let who = format!("{} at {}", accepted.identity, accepted.remote);
    let away = |(cause, why)| TurnedAway { cause, who: who.clone(), why };
    answer_hello(&connection, &ours, Caller::Client).await.map_err(away)?;
    let identity = Arc::new(accepted.identity);
    let nonsense = Arc::new(OnceLock::new());
    while let Ok((send, receive)) = connection.accept_bi().await {
        let to = (requests.clone(), forwarder.clone());
        let identity = Arc::clone(&identity);
        let (connection, nonsense) = (connection.clone(), Arc::clone(&nonsense));
        tokio::spawn(async move {
            if let Err(error) = serve_stream(send, receive, identity, to).await {
                let why = error.to_string();
                // First, for who waits for the connection's end looks for the reason.
                let _ = nonsense.set(why.clone());
                connection.close(Close::Malformed.code(), why.as_bytes());
            }
        });
    }
    nonsense.get().map_or(Ok(()), |why: &String| Err(away((Cause::Nonsense, why.clone()))))
}

/// Serves a stream until it ends.
///
/// # Errors
/// If what comes makes no sense: the connection must be closed.
async fn serve_stream(
    send: SendStream,
    receive: RecvStream,
    identity: Arc<Identity>,
    (requests, forwarder): (mpsc::Sender<ClientRequest>, Forwarder),
) -> Result<(), ProtocolError> {
    let (queue, answers) = mpsc::unbounded_channel();
    tokio::spawn(write_answers(answers, send));
    let credits = Arc::new(Semaphore::new(REQUESTS_IN_FLIGHT_MAX));
    let mut frames = FrameStream::new(receive);
    loop {
        let Ok(permit) = Arc::clone(&credits).acquire_owned().await else {
            return Ok(());
        };
        let frame = match frames.next().await {
            Ok(frame) => frame,
            Err(ReadFailure::Ended(_)) => return Ok(()),
            Err(ReadFailure::Malformed(error)) => return Err(error),
        };
        let (id, request, passage) = Request::decode(&frame)?;
        let forwardable = Forwardable::of(&forwarder, &request, &identity, &passage).map(Box::new);
        let queue = queue.clone();
        let responder = Responder { id, answered: false, queue, permit: Some(permit), forwardable };
        let (identity, via) = match speaker(&identity, &request, &passage) {
            Ok(speaker) => speaker,
            Err(why) => {
                responder.send(refusal(ErrorCode::Unauthorised, why));
                continue;
            }
        };
        let request = ClientRequest { request, identity, via, responder };
        if requests.send(request).await.is_err() {
            return Ok(());
        }
    }
}

/// Finds out who asks: whoever is connected; if that is a node, the one on whose behalf it asks.
fn speaker(
    connected: &Arc<Identity>,
    request: &Request,
    passage: &Passage,
) -> Result<(Arc<Identity>, Option<NodeId>), String> {
    match (&connected.role, passage) {
        (Role::Node(node), Passage::OnBehalf { identity }) if request.kind().needs_leader => {
            let identity: Identity = identity.parse().map_err(|error| format!("{error}"))?;
            match identity.role {
                Role::Node(_) => Err("no node asks for anything of its own".into()),
                Role::Operator(_) | Role::Client(_) | Role::Reader(_)
                    if identity.cluster != connected.cluster =>
                {
                    Err(format!("{identity} is of another cluster"))
                }
                Role::Operator(_) | Role::Client(_) | Role::Reader(_) => {
                    Ok((Arc::new(identity), NodeId::new(node.get())))
                }
            }
        }
        (
            Role::Node(_),
            Passage::Direct | Passage::MayForward { .. } | Passage::OnBehalf { .. },
        ) => Err("a node only passes on what a leader must do".into()),
        (Role::Operator(_) | Role::Client(_) | Role::Reader(_), Passage::OnBehalf { .. }) => {
            Err("only nodes ask on behalf of others".into())
        }
        (
            Role::Operator(_) | Role::Client(_) | Role::Reader(_),
            Passage::Direct | Passage::MayForward { .. },
        ) => Ok((Arc::clone(connected), None)),
    }
}

async fn write_answers(mut answers: mpsc::UnboundedReceiver<Answer>, mut send: SendStream) {
    let mut waiting = Chunks::default();
    let mut batch = Vec::new();
    while answers.recv_many(&mut batch, ANSWERS_MAX).await > 0 {
        waiting.extend(batch.iter().map(encode));
        let chunks = waiting.take();
        if send.write_all_chunks(chunks).await.is_err() {
            return;
        }
        chunks.clear();
        batch.clear();
    }
}

fn encode(answer: &Answer) -> Bytes {
    answer.response.encode(answer.id).unwrap_or_else(|error| {
        let response = Response::Error(ErrorReply {
            code: ErrorCode::TooLarge,
            message: format!("the answer cannot be sent: {error}"),
            leader: None,
            outcome: Outcome::Unknown,
        });
        response.encode(answer.id).expect("an error is small")
    })
}
