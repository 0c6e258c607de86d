//! The way back to a client for one request, and the way on to the leader where another node leads.

use std::sync::Arc;
use std::time::Duration;

use certs::Identity;
use consensus::NodeId;
use protocol::{
    CertificateId, ErrorCode, ErrorReply, LeaderHint, Outcome, Passage, Request, Response,
};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::Instant;

use crate::allowance::{Held, Outlet, Taken};
use crate::batch::{Part, abandoned, parts};
use crate::forward::Forwarder;
use crate::limits::{FORWARD_TIMEOUT_MAX, FRAME_OVERHEAD_BYTES};

/// A request, who asks, and the way back.
pub struct ClientRequest {
    /// What is asked.
    pub request: Request,
    /// Who asks.
    pub identity: Arc<Identity>,
    /// The address that it asks from.
    pub from: Arc<str>,
    /// The node that says so, if it has passed the request on: only members may be believed.
    pub via: Option<NodeId>,
    /// The way back.
    pub responder: Responder,
}

/// Answers one request, or one command of several that came together; dropping it answers that
/// nobody knows what became of it.
pub struct Responder(Way);

enum Way {
    Whole(Whole),
    Part(Part),
}

/// The way back for a request.
pub(crate) struct Whole {
    pub(crate) id: u64,
    pub(crate) answered: bool,
    pub(crate) queue: mpsc::UnboundedSender<Answer>,
    /// For how long who asks waits, if it has said so.
    pub(crate) until: Option<Instant>,
    /// Its places among the requests of its connection and of its certificate.
    pub(crate) permits: Option<[OwnedSemaphorePermit; 2]>,
    /// The room that the request takes until its answer is written.
    pub(crate) held: Held,
    /// The room for the answer.
    pub(crate) outlet: Arc<Outlet>,
    /// What to forward, if another node leads.
    pub(crate) forwardable: Option<Box<Forwardable>>,
    /// Who sees the answer.
    pub(crate) watch: Option<Watch>,
}

/// Sees an answer before it is sent.
pub(crate) type Watch = Box<dyn FnOnce(&Response) + Send>;

/// An answer on its way; the request counts as in flight until it is written.
pub(crate) struct Answer {
    pub(crate) id: u64,
    pub(crate) response: Response,
    _permits: Option<[OwnedSemaphorePermit; 2]>,
    _held: Held,
    _taken: Option<Taken>,
}

/// A request that may be forwarded to the leader, should this node not lead.
pub(crate) struct Forwardable {
    forwarder: Forwarder,
    request: Request,
    identity: Arc<Identity>,
    certificate: CertificateId,
    from: Arc<str>,
    until: Instant,
}

impl Responder {
    pub(crate) fn new(whole: Whole) -> Self {
        Self(Way::Whole(whole))
    }

    /// Sends the answer; never blocks. The queue is bounded by the requests in flight and by the
    /// bytes of their answers: one that has no room, as its client does not read, is replaced by a
    /// refusal. If the answer is that another node leads, that one may be asked first.
    pub fn send(self, response: Response) {
        match self.0 {
            Way::Whole(whole) => whole.send(response),
            Way::Part(part) => part.send(response),
        }
    }

    /// Says whether anybody may still wait for the answer: the connection stands, and who asks has
    /// not named a time that is over. What takes long and changes nothing is not begun otherwise.
    pub fn is_awaited(&self) -> bool {
        match &self.0 {
            Way::Whole(whole) => {
                let is_in_time = whole.until.is_none_or(|until| Instant::now() < until);
                is_in_time && !whole.queue.is_closed()
            }
            Way::Part(_) => true,
        }
    }

    /// Makes the ways back for so many commands of the request: when all have their answers, these
    /// go back as one, in the order of the commands.
    ///
    /// # Panics
    /// If it is for one command of a batch itself.
    #[must_use]
    pub fn split(self, count: usize) -> Vec<Self> {
        let Way::Whole(whole) = self.0 else {
            panic!("a command of a batch is no batch");
        };
        let parts = parts(count, move |response| whole.send(response));
        parts.into_iter().map(|part| Self(Way::Part(part))).collect()
    }

    /// Shows the answer to somebody before it is sent, whoever gives it: this node, the leader that
    /// it is passed on to, or nobody.
    ///
    /// # Panics
    /// If it is for one command of a batch: the whole is watched.
    #[must_use]
    pub fn watched(self, watch: impl FnOnce(&Response) + Send + 'static) -> Self {
        let Way::Whole(mut whole) = self.0 else {
            panic!("a batch is watched as a whole");
        };
        let before = whole.watch.take();
        whole.watch = Some(Box::new(move |response| {
            if let Some(before) = before {
                before(response);
            }
            watch(response);
        }));
        Self::new(whole)
    }
}

impl Whole {
    fn send(mut self, response: Response) {
        match self.forwardable.take().zip(other_leader(&response)) {
            Some((forwardable, leader)) => forwardable.forward(leader, Responder::new(self)),
            None => self.answer(response),
        }
    }

    fn answer(&mut self, response: Response) {
        self.answered = true;
        let (response, taken) = fit(response, &self.outlet);
        if let Some(watch) = self.watch.take() {
            watch(&response);
        }
        let (permits, held) = (self.permits.take(), std::mem::take(&mut self.held));
        let answer =
            Answer { id: self.id, response, _permits: permits, _held: held, _taken: taken };
        // If the client has gone, nobody waits for it.
        let _ = self.queue.send(answer);
    }
}

impl Drop for Whole {
    fn drop(&mut self) {
        if !self.answered {
            self.answer(Response::Error(abandoned()));
        }
    }
}

impl Forwardable {
    /// Keeps what only a leader can do, if the client allows it to be forwarded; nothing else.
    pub(crate) fn of(
        forwarder: &Forwarder,
        request: &Request,
        ((identity, from), certificate): ((&Arc<Identity>, &Arc<str>), CertificateId),
        (passage, asked): (&Passage, Instant),
    ) -> Option<Self> {
        let Passage::MayForward { within_ms } = passage else {
            return None;
        };
        let within = Duration::from_millis((*within_ms).into()).min(FORWARD_TIMEOUT_MAX);
        request.needs_leader().then(|| Self {
            forwarder: forwarder.clone(),
            request: request.clone(),
            identity: Arc::clone(identity),
            certificate,
            from: Arc::clone(from),
            until: asked + within,
        })
    }

    /// Forwards the request to the node that leads, and answers what that node does. Never blocks.
    fn forward(self, leader: LeaderHint, responder: Responder) {
        let Some(permits) = self.forwarder.admit(&self.request) else {
            let busy = "too many requests are being passed on to the leader";
            return responder.send(refusal(ErrorCode::Busy, busy));
        };
        tracing::debug!(by = %self.identity, to = leader.id, "a request is passed on");
        tokio::spawn(async move {
            let passage = Passage::OnBehalf {
                identity: self.identity.to_uri(),
                from: self.from.as_ref().to_owned(),
                certificate: Some(self.certificate),
            };
            let answer = self.forwarder.pass_on(&leader, &self.request, &passage, self.until);
            responder.send(answer.await);
            drop(permits);
        });
    }
}

/// Takes room for an answer, or says that there is none. What is small has its room already: the
/// request was counted with it.
fn fit(response: Response, outlet: &Arc<Outlet>) -> (Response, Option<Taken>) {
    let bytes = response.weight_bytes();
    if bytes <= FRAME_OVERHEAD_BYTES / 2 {
        return (response, None);
    }
    match outlet.take(bytes) {
        Some(taken) => (response, Some(taken)),
        None => (unread(&response), None),
    }
}

/// What is answered in place of an answer that has no room.
fn unread(response: &Response) -> Response {
    let message = "as many bytes of answers wait as this connection or certificate may have: read \
                   them first, or ask for less at a time";
    match response {
        // It is done; with a session, the answer can be had later.
        Response::Applied { .. }
        | Response::Batch { .. }
        | Response::Bootstrapped { .. }
        | Response::Done => Response::Error(ErrorReply {
            code: ErrorCode::Abandoned,
            message: message.into(),
            leader: None,
            outcome: Outcome::Unknown,
        }),
        Response::Answer { .. }
        | Response::Status(_)
        | Response::Log(_)
        | Response::Snapshot(_)
        | Response::Certificate(_)
        | Response::Configuration(_)
        | Response::Error(_) => refusal(ErrorCode::Busy, message),
    }
}

/// Returns who leads, if that is the answer.
fn other_leader(response: &Response) -> Option<LeaderHint> {
    let Response::Error(reply) = response else {
        return None;
    };
    reply.leader.clone().filter(|_| reply.code == ErrorCode::NotLeader)
}

/// Certainly without effect.
pub(crate) fn refusal(code: ErrorCode, message: impl Into<String>) -> Response {
    let (message, leader, outcome) = (message.into(), None, Outcome::NotApplied);
    Response::Error(ErrorReply { code, message, leader, outcome })
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use protocol::Applied;

    /// Returns what is told of an answer that has no room, as an error.
    fn told_of(response: Response) -> ErrorReply {
        match fit(response, &Outlet::new(0, None)) {
            (Response::Error(error), None) => error,
            (other, taken) => panic!("{other:?}, {taken:?}"),
        }
    }

    #[test]
    fn an_answer_without_room_is_a_refusal_only_if_nothing_was_done() {
        let response = Bytes::from(vec![0; FRAME_OVERHEAD_BYTES]);
        let applied = Response::Applied { index: 1, response: response.clone() };
        let outcomes = vec![Ok(Applied { index: 1, response: response.clone() })];
        for done in [applied, Response::Batch { outcomes }] {
            let error = told_of(done);
            let told = (error.code, error.outcome);
            assert_eq!(told, (ErrorCode::Abandoned, Outcome::Unknown), "it was done");
        }
        let error = told_of(Response::Answer { index: 1, response, age_ms: None });
        assert_eq!((error.code, error.outcome), (ErrorCode::Busy, Outcome::NotApplied));
    }

    #[test]
    fn an_answer_with_room_goes_back_as_it_is_and_takes_its_room() {
        let response = Bytes::from(vec![0; FRAME_OVERHEAD_BYTES]);
        let applied = Response::Applied { index: 1, response };
        let outlet = Outlet::new(2 * FRAME_OVERHEAD_BYTES, None);
        let (sent, taken) = fit(applied.clone(), &outlet);
        assert!(sent == applied && taken.is_some() && outlet.used() >= FRAME_OVERHEAD_BYTES);
        // What is short has its room already.
        let (short, full) = (Response::Done, Outlet::new(0, None));
        assert!(matches!(fit(short, &full), (Response::Done, None)));
    }
}
