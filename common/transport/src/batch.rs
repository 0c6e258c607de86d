//! The answer to many commands that came in one request: it goes back when the last of them is
//! decided.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use protocol::limits::BATCH_ANSWER_BYTES_MAX;
use protocol::{Applied, ErrorCode, ErrorReply, Outcome, Response};

/// The way back for one command of a batch; dropping it answers that nobody knows what became of
/// it.
pub(crate) struct Part {
    place: usize,
    answered: bool,
    gathering: Arc<Mutex<Gathering>>,
}

/// What is known of the commands of a batch.
struct Gathering {
    outcomes: Vec<Option<Result<Applied, ErrorReply>>>,
    left: usize,
    /// Bytes of the machine's answers.
    bytes: usize,
    /// Takes the answer to all of it.
    whole: Option<Box<dyn FnOnce(Response) + Send>>,
}

/// Makes the ways back for so many commands; `whole` gets the answer when all of them have theirs.
pub(crate) fn parts(count: usize, whole: impl FnOnce(Response) + Send + 'static) -> Vec<Part> {
    let gathering = Gathering {
        outcomes: vec![None; count],
        left: count,
        bytes: 0,
        whole: Some(Box::new(whole)),
    };
    let gathering = Arc::new(Mutex::new(gathering));
    let part = |place| Part { place, answered: false, gathering: Arc::clone(&gathering) };
    (0..count).map(part).collect()
}

impl Part {
    /// Takes the answer to the command.
    pub(crate) fn send(mut self, response: Response) {
        self.answer(response);
    }

    fn answer(&mut self, response: Response) {
        self.answered = true;
        let finished = {
            let mut gathering = lock(&self.gathering);
            let outcome = gathering.fit(outcome(response));
            gathering.outcomes[self.place] = Some(outcome);
            gathering.left -= 1;
            if gathering.left > 0 {
                return;
            }
            let outcomes = std::mem::take(&mut gathering.outcomes);
            gathering.whole.take().map(|whole| (whole, outcomes))
        };
        if let Some((whole, outcomes)) = finished {
            whole(together(outcomes.into_iter().flatten().collect()));
        }
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.answered {
            self.answer(Response::Error(abandoned()));
        }
    }
}

impl Gathering {
    /// Keeps an answer if there is room for it: the first one always has some.
    fn fit(&mut self, outcome: Result<Applied, ErrorReply>) -> Result<Applied, ErrorReply> {
        let bytes = outcome.as_ref().map_or(0, |applied| applied.response.len());
        if self.bytes > 0 && self.bytes + bytes > BATCH_ANSWER_BYTES_MAX {
            return Err(ErrorReply {
                code: ErrorCode::TooLarge,
                message: "the answers to a batch are too long together; with a session, the \
                          others can be had later"
                    .into(),
                leader: None,
                outcome: Outcome::Unknown,
            });
        }
        self.bytes += bytes;
        outcome
    }
}

fn lock(gathering: &Mutex<Gathering>) -> MutexGuard<'_, Gathering> {
    gathering.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Answers a batch: with one refusal if nothing of it was done, for then another node may be asked.
fn together(outcomes: Vec<Result<Applied, ErrorReply>>) -> Response {
    let is_refused = |outcome: &Result<Applied, ErrorReply>| {
        outcome.as_ref().is_err_and(|error| error.outcome == Outcome::NotApplied)
    };
    match outcomes.first() {
        Some(Err(first)) if outcomes.iter().all(is_refused) => Response::Error(first.clone()),
        Some(_) | None => Response::Batch { outcomes },
    }
}

/// Reads what became of one command.
fn outcome(response: Response) -> Result<Applied, ErrorReply> {
    match response {
        Response::Applied { index, response } => Ok(Applied { index, response }),
        Response::Error(error) => Err(error),
        Response::Batch { .. }
        | Response::Answer { .. }
        | Response::Status(_)
        | Response::Log(_)
        | Response::Bootstrapped { .. }
        | Response::Done
        | Response::Snapshot(_)
        | Response::Certificate(_)
        | Response::Configuration(_) => Err(ErrorReply {
            code: ErrorCode::Internal,
            message: "a command was answered as if it were a question".into(),
            leader: None,
            outcome: Outcome::Unknown,
        }),
    }
}

/// What is told of a request that nobody works on any more.
pub(crate) fn abandoned() -> ErrorReply {
    ErrorReply {
        code: ErrorCode::Abandoned,
        message: "the node stopped working on this request".into(),
        leader: None,
        outcome: Outcome::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use std::sync::mpsc::{Receiver, channel};

    fn batch(count: usize) -> (Vec<Part>, Receiver<Response>) {
        let (send, receive) = channel();
        let whole = move |response| send.send(response).expect("it is awaited");
        (parts(count, whole), receive)
    }

    fn applied(index: u64, bytes: usize) -> Response {
        Response::Applied { index, response: Bytes::from(vec![0; bytes]) }
    }

    fn refused(message: &str) -> ErrorReply {
        let (code, leader, outcome) = (ErrorCode::Busy, None, Outcome::NotApplied);
        ErrorReply { code, message: message.into(), leader, outcome }
    }

    #[test]
    fn outcomes_go_back_in_the_order_of_the_commands_when_all_are_known() {
        let (mut parts, answer) = batch(3);
        let (last, middle) = (parts.pop().expect("3"), parts.pop().expect("2"));
        last.send(Response::Error(refused("last")));
        drop(middle);
        assert!(answer.try_recv().is_err(), "the first is not known");
        parts.pop().expect("1").send(applied(7, 1));
        let outcomes = vec![
            Ok(Applied { index: 7, response: Bytes::from_static(&[0]) }),
            Err(abandoned()),
            Err(refused("last")),
        ];
        assert_eq!(answer.try_recv(), Ok(Response::Batch { outcomes }));
    }

    #[test]
    fn what_was_refused_as_a_whole_is_one_refusal() {
        let (parts, answer) = batch(2);
        for (part, why) in parts.into_iter().zip(["first", "second"]) {
            part.send(Response::Error(refused(why)));
        }
        assert_eq!(answer.try_recv(), Ok(Response::Error(refused("first"))));
    }

    #[test]
    fn answers_that_are_too_long_together_are_given_up_but_for_the_first() {
        let (parts, answer) = batch(3);
        let sizes = [BATCH_ANSWER_BYTES_MAX + 1, 1, 0];
        for (part, bytes) in parts.into_iter().zip(sizes) {
            part.send(applied(1, bytes));
        }
        let Ok(Response::Batch { outcomes }) = answer.try_recv() else { panic!("no answer") };
        let known: Vec<bool> = outcomes.iter().map(Result::is_ok).collect();
        assert_eq!(known, [true, false, false]);
    }

    #[test]
    fn what_may_have_been_done_in_part_is_no_refusal() {
        for unknown_first in [true, false] {
            let (mut parts, answer) = batch(2);
            let (second, first) = (parts.pop().expect("2"), parts.pop().expect("1"));
            let (unknown, known) = if unknown_first { (first, second) } else { (second, first) };
            drop(unknown);
            known.send(Response::Error(refused("busy")));
            let mut outcomes = vec![Err(abandoned()), Err(refused("busy"))];
            if !unknown_first {
                outcomes.reverse();
            }
            assert_eq!(answer.try_recv(), Ok(Response::Batch { outcomes }));
        }
        let (parts, answer) = batch(2);
        drop(parts);
        let outcomes = vec![Err(abandoned()), Err(abandoned())];
        assert_eq!(answer.try_recv(), Ok(Response::Batch { outcomes }));
    }

    #[test]
    fn the_answers_to_a_batch_are_bounded_all_together() {
        let half = BATCH_ANSWER_BYTES_MAX / 2;
        let (parts, answer) = batch(4);
        for (part, bytes) in parts.into_iter().zip([half, half, 1, 0]) {
            part.send(applied(1, bytes));
        }
        let Ok(Response::Batch { outcomes }) = answer.try_recv() else { panic!("no answer") };
        let known: Vec<bool> = outcomes.iter().map(Result::is_ok).collect();
        assert_eq!(known, [true, true, false, true]);
        let (parts, answer) = batch(2);
        for (part, bytes) in parts.into_iter().zip([1, BATCH_ANSWER_BYTES_MAX]) {
            part.send(applied(1, bytes));
        }
        let Ok(Response::Batch { outcomes }) = answer.try_recv() else { panic!("no answer") };
        let Err(error) = &outcomes[1] else { panic!("{outcomes:?}") };
        assert_eq!((error.code, error.outcome), (ErrorCode::TooLarge, Outcome::Unknown));
    }
}
