//! The node's side of a client's connection.

use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use certs::Identity;
use consensus::NodeId;
use protocol::limits::REQUESTS_IN_FLIGHT_MAX;
use protocol::{
    CertificateId, ErrorCode, ErrorReply, Hello, Outcome, Passage, ProtocolError, Request, Response,
};
use quinn::{Connection, RecvStream, SendStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, timeout};

use crate::allowance::{Intake, Outlet};
use crate::chunks::Chunks;
use crate::close::Close;
use crate::endpoint::Accepted;
use crate::error::{Cause, TurnedAway};
use crate::forward::Forwarder;
use crate::guard::Guard;
use crate::handshake::{Caller, answer_hello};
use crate::limits::{ANSWER_PATIENCE, CLIENT_STREAMS_MAX, WRITE_BYTES_MAX};
use crate::responder::{Answer, ClientRequest, Forwardable, Responder, Whole, refusal};
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
    let Accepted { identity, certificate, alpn: _, remote, connection, seat, watched } = accepted;
    let who = format!("{identity} at {remote}");
    let away = |(cause, why)| TurnedAway { cause, who: who.clone(), why };
    answer_hello(&connection, &ours, Caller::Client).await.map_err(away)?;
    let (identity, from) = (Arc::new(identity), Arc::from(remote.to_string()));
    let ended = Arc::new(OnceLock::new());
    let streams = Arc::new(Semaphore::new(CLIENT_STREAMS_MAX as usize));
    let credits = Arc::new(Semaphore::new(REQUESTS_IN_FLIGHT_MAX));
    loop {
        let Ok(place) = Arc::clone(&streams).acquire_owned().await else { break };
        let Ok((send, receive)) = connection.accept_bi().await else { break };
        let stream = Stream {
            identity: Arc::clone(&identity),
            certificate,
            from: Arc::clone(&from),
            guard: watched.guard().clone(),
            credits: Arc::clone(&credits),
            places: Arc::clone(&seat.requests),
            intake: seat.intake.clone(),
            outlet: Arc::clone(&seat.outlet),
            requests: requests.clone(),
            forwarder: forwarder.clone(),
            end: End { connection: connection.clone(), why: Arc::clone(&ended) },
        };
        tokio::spawn(async move {
            let end = stream.end.clone();
            if let Err(error) = stream.serve(send, receive).await {
                end.close(Close::Malformed, Cause::Nonsense, &error.to_string());
            }
            drop(place);
        });
    }
    // It keeps its place until it is gone.
    connection.closed().await;
    drop((seat, watched));
    ended.get().map_or(Ok(()), |why: &(Cause, String)| Err(away(why.clone())))
}

/// How a connection is ended, with a reason that whoever waits for its end finds.
#[derive(Clone)]
struct End {
    connection: Connection,
    why: Arc<OnceLock<(Cause, String)>>,
}

impl End {
    fn close(&self, how: Close, cause: Cause, why: &str) {
        // First, for who waits for the connection's end looks for the reason.
        let _ = self.why.set((cause, why.to_owned()));
        self.connection.close(how.code(), why.as_bytes());
    }
}

/// A stream of requests, and of their answers.
struct Stream {
    identity: Arc<Identity>,
    certificate: CertificateId,
    from: Arc<str>,
    guard: Guard,
    /// Requests of the connection that are not answered.
    credits: Arc<Semaphore>,
    /// Those of the certificate.
    places: Arc<Semaphore>,
    intake: Intake,
    outlet: Arc<Outlet>,
    requests: mpsc::Sender<ClientRequest>,
    forwarder: Forwarder,
    end: End,
}

impl Stream {
    /// Serves the stream until it ends.
    ///
    /// # Errors
    /// If what comes makes no sense: the connection must be closed.
    async fn serve(self, send: SendStream, receive: RecvStream) -> Result<(), ProtocolError> {
        let (queue, answers) = mpsc::unbounded_channel();
        tokio::spawn(write_answers(answers, send, self.end.clone()));
        let mut frames = FrameStream::new(receive);
        loop {
            let Ok(mut permit) = Arc::clone(&self.credits).acquire_owned().await else {
                return Ok(());
            };
            let (frame, held) = match frames.next_within(&self.intake).await {
                Ok(next) => next,
                Err(ReadFailure::Ended(_)) => return Ok(()),
                Err(ReadFailure::Malformed(error)) => return Err(error),
            };
            let (id, request, passage) = Request::decode(&frame)?;
            let asked = Instant::now();
            // Each command of a batch counts. It gets what it lacks: all others end by themselves.
            let count = u32::try_from(request.count()).expect("a batch is small");
            if count > 1 {
                match Arc::clone(&self.credits).acquire_many_owned(count - 1).await {
                    Ok(more) => permit.merge(more),
                    Err(_) => return Ok(()),
                }
            }
            // How a node is, is answered to whoever has all else under way, over a connection on
            // which nothing waits.
            let count = if matches!(request, Request::Status) { 0 } else { count };
            let place = tokio::select! {
                place = Arc::clone(&self.places).acquire_many_owned(count) => place,
                // The client has gone: what waits for a place need not be done then.
                () = queue.closed() => return Ok(()),
            };
            let Ok(place) = place else { return Ok(()) };
            let asker = (&self.identity, &self.from);
            let by = (asker, self.certificate);
            let forwardable = Forwardable::of(&self.forwarder, &request, by, (&passage, asked));
            let responder = Responder::new(Whole {
                id,
                answered: false,
                queue: queue.clone(),
                until: awaited_until(&passage, asked),
                permits: Some([permit, place]),
                held,
                outlet: Arc::clone(&self.outlet),
                forwardable: forwardable.map(Box::new),
                watch: None,
            });
            if is_late(&passage, asked) {
                let why = "this certificate has as many requests under way as one may have";
                responder.send(refusal(ErrorCode::Busy, why));
                continue;
            }
            let (identity, via, from) = match speaker(&self.guard, asker, &request, &passage) {
                Ok(speaker) => speaker,
                Err(why) => {
                    responder.send(refusal(ErrorCode::Unauthorised, why));
                    continue;
                }
            };
            let request = ClientRequest { request, identity, from, via, responder };
            if self.requests.send(request).await.is_err() {
                return Ok(());
            }
        }
    }
}

/// Who asks, which node says so, and from where.
type Speaker = (Arc<Identity>, Option<NodeId>, Arc<str>);

/// Finds out who asks: whoever is connected; if that is a node, the one on whose behalf it asks.
fn speaker(
    guard: &Guard,
    (connected, address): (&Arc<Identity>, &Arc<str>),
    request: &Request,
    passage: &Passage,
) -> Result<Speaker, String> {
    match (connected.node_id(), passage) {
        (Some(node), Passage::OnBehalf { identity, from, certificate })
            if request.needs_leader() =>
        {
            let identity: Identity = identity.parse().map_err(|error| format!("{error}"))?;
            if identity.node_id().is_some() {
                return Err("no node asks for anything of its own".into());
            }
            if identity.cluster != connected.cluster {
                return Err(format!("{identity} is of another cluster"));
            }
            guard.judge(&identity, *certificate)?;
            Ok((Arc::new(identity), NodeId::new(node.get()), Arc::from(from.as_str())))
        }
        // What a node may need for itself, and what it has seen; all else is answered at once,
        // which is a sign of life.
        (Some(_), Passage::Direct)
            if matches!(
                request,
                Request::Snapshot(_) | Request::ReadLog { .. } | Request::Note { .. }
            ) =>
        {
            Ok((Arc::clone(connected), None, Arc::clone(address)))
        }
        (Some(_), _) => Err("a node only passes on what a leader must do".into()),
        (None, Passage::OnBehalf { .. }) => Err("only nodes ask on behalf of others".into()),
        // What each may ask is looked up where the request is answered.
        (None, Passage::Direct | Passage::Within { .. } | Passage::MayForward { .. }) => {
            Ok((Arc::clone(connected), None, Arc::clone(address)))
        }
    }
}

/// Returns until when anybody waits for the answer, if that was said.
fn awaited_until(passage: &Passage, asked: Instant) -> Option<Instant> {
    let Passage::Within { within_ms } = passage else {
        return None;
    };
    Some(asked + Duration::from_millis((*within_ms).into()))
}

/// Says whether nobody waits for an answer any more, as far as was said: it has had no effect yet,
/// and is to have none.
fn is_late(passage: &Passage, asked: Instant) -> bool {
    match passage {
        Passage::Within { within_ms } | Passage::MayForward { within_ms } => {
            asked.elapsed() >= Duration::from_millis((*within_ms).into())
        }
        Passage::Direct | Passage::OnBehalf { .. } => false,
    }
}

/// Writes answers as they come, some at a time, until the connection ends. A client that takes
/// nothing of them for long is sent away: what waits for it is in the way of its others.
async fn write_answers(
    mut answers: mpsc::UnboundedReceiver<Answer>,
    mut send: SendStream,
    end: End,
) {
    let mut waiting = Chunks::default();
    let mut batch = Vec::new();
    let mut gone = pin!(send.stopped());
    loop {
        // That nobody reads any more is seen also while there is no answer: what waits for this
        // client need not be done then.
        let answer = tokio::select! {
            biased;
            answer = answers.recv() => answer,
            _ = &mut gone => None,
        };
        let Some(answer) = answer else {
            return;
        };
        let mut next = Some(answer);
        while let Some(answer) = next {
            waiting.extend([encode(&answer)]);
            batch.push(answer);
            next = if waiting.bytes() < WRITE_BYTES_MAX { answers.try_recv().ok() } else { None };
        }
        let mut chunks = &mut waiting.take()[..];
        while !chunks.is_empty() {
            match timeout(ANSWER_PATIENCE, send.write_chunks(chunks)).await {
                Ok(Ok(written)) => chunks = &mut chunks[written.chunks..],
                Ok(Err(_)) => return,
                Err(_) => {
                    let why = format!("it has taken no answer for {ANSWER_PATIENCE:?}");
                    return end.close(Close::Refused, Cause::Deaf, &why);
                }
            }
        }
        waiting.take().clear();
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
