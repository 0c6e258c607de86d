//! The node's side of a client's connection.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use certs::Identity;
use protocol::limits::REQUESTS_IN_FLIGHT_MAX;
use protocol::{
    ErrorCode, ErrorReply, Hello, HelloReply, Outcome, PROTOCOL_VERSION, ProtocolError,
    RefusalCode, Request, Response,
};
use quinn::{RecvStream, SendStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;

use crate::endpoint::{Accepted, Close};
use crate::error::{Cause, TurnedAway};
use crate::gather::Gather;
use crate::limits::{ANSWERS_MAX, CONNECT_TIMEOUT};
use crate::mesh::answer_hello;
use crate::stream::{FrameStream, ReadFailure};

/// A request, who asks, and the way back.
pub struct ClientRequest {
    /// What is asked.
    pub request: Request,
    /// Who asks.
    pub identity: Arc<Identity>,
    /// The way back.
    pub responder: Responder,
}

/// Answers one request; dropping it answers that nobody knows what became of it.
pub struct Responder {
    id: u64,
    answered: bool,
    queue: mpsc::UnboundedSender<Answer>,
    permit: Option<OwnedSemaphorePermit>,
}

/// An answer on its way; the request counts as in flight until it is written.
struct Answer {
    id: u64,
    response: Response,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Responder {
    /// Sends the answer; never blocks. The queue is bounded by the requests in flight.
    pub fn send(mut self, response: Response) {
        self.answer(response);
    }

    fn answer(&mut self, response: Response) {
        self.answered = true;
        let answer = Answer { id: self.id, response, _permit: self.permit.take() };
        // If the client has gone, nobody waits for it.
        let _ = self.queue.send(answer);
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        if !self.answered {
            self.answer(Response::Error(ErrorReply {
                code: ErrorCode::Abandoned,
                message: "the node stopped working on this request".into(),
                leader: None,
                outcome: Outcome::Unknown,
            }));
        }
    }
}

/// Serves a client until it goes: requests come out of `requests`, which holds them back when full.
///
/// # Errors
/// Why the connection was refused or cut.
pub async fn serve_client(
    accepted: Accepted,
    ours: Hello,
    requests: mpsc::Sender<ClientRequest>,
) -> Result<(), TurnedAway> {
    let connection = accepted.connection;
    let who = format!("{} at {}", accepted.identity, accepted.remote);
    let away = |(cause, why)| TurnedAway { cause, who: who.clone(), why };
    let greeted = answer_hello(&connection, |theirs| judge(theirs, ours));
    timeout(CONNECT_TIMEOUT, greeted)
        .await
        .unwrap_or_else(|_| Err((Cause::Gone, "its hello took too long".into())))
        .map_err(away)?;
    let identity = Arc::new(accepted.identity);
    let nonsense = Arc::new(OnceLock::new());
    while let Ok((send, receive)) = connection.accept_bi().await {
        let (requests, identity) = (requests.clone(), Arc::clone(&identity));
        let (connection, nonsense) = (connection.clone(), Arc::clone(&nonsense));
        tokio::spawn(async move {
            if let Err(error) = serve_stream(send, receive, identity, requests).await {
                let why = error.to_string();
                // First, for who waits for the connection's end looks for the reason.
                let _ = nonsense.set(why.clone());
                connection.close(Close::Malformed.code(), why.as_bytes());
            }
        });
    }
    nonsense.get().map_or(Ok(()), |why: &String| Err(away((Cause::Nonsense, why.clone()))))
}

fn judge(theirs: &Hello, ours: Hello) -> Result<Hello, HelloReply> {
    let refuse = |code, reason| Err(HelloReply::Refused { code, reason });
    if theirs.protocol != PROTOCOL_VERSION {
        let found = theirs.protocol;
        let reason = format!("protocol {found}, this node speaks {PROTOCOL_VERSION}");
        return refuse(RefusalCode::Version, reason);
    }
    if theirs.cluster != ours.cluster {
        return refuse(RefusalCode::Cluster, "another cluster's id".into());
    }
    match (theirs.generation, ours.generation) {
        (Some(theirs), Some(ours)) if theirs != ours => {
            let reason = format!("generation {}, this node has {}", theirs.short(), ours.short());
            refuse(RefusalCode::Generation, reason)
        }
        _ => Ok(ours),
    }
}

/// Serves a stream until it ends.
///
/// # Errors
/// If what comes makes no sense: the connection must be closed.
async fn serve_stream(
    send: SendStream,
    receive: RecvStream,
    identity: Arc<Identity>,
    requests: mpsc::Sender<ClientRequest>,
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
        let (id, request) = Request::decode(&frame)?;
        let queue = queue.clone();
        let responder = Responder { id, answered: false, queue, permit: Some(permit) };
        let request = ClientRequest { request, identity: Arc::clone(&identity), responder };
        if requests.send(request).await.is_err() {
            return Ok(());
        }
    }
}

async fn write_answers(mut answers: mpsc::UnboundedReceiver<Answer>, mut send: SendStream) {
    let mut gather = Gather::default();
    let mut batch = Vec::new();
    while answers.recv_many(&mut batch, ANSWERS_MAX).await > 0 {
        gather.extend(batch.iter().map(encode));
        let chunks = gather.take();
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
