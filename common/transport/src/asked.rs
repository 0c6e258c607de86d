//! What was asked on a connection: what waits to be sent, what waits for its answer, and for how
//! long that is worth it.
//!
//! Where a way carries less than is asked of it, a request spends most of its time on this side. A
//! second copy would only come behind the first one. So the time for an answer begins when the
//! request has left, and a request that nobody waits for any more does not leave at all.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use protocol::Response;
use quinn::{Connection, SendStream, WriteError};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::chunks::Chunks;
use crate::error::CallError;
use crate::limits::WRITE_BYTES_MAX;
use crate::settings::Held;

/// An answer of which parts have come for so long is a long one, and its next part is waited for.
const LONG: Duration = Duration::from_millis(250);

/// How long to wait for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// How long an answer may take, from when its request has left this machine or a part of a long
    /// answer came last; and how long a request may be unable to leave.
    pub answer: Duration,
    /// When it is over in any case.
    pub deadline: Instant,
}

impl Patience {
    /// Waits until then, whatever happens.
    pub fn until(deadline: Instant) -> Self {
        Self { answer: deadline.saturating_duration_since(Instant::now()), deadline }
    }
}

/// A request's number and its frame.
pub(crate) type Numbered = (u64, Bytes);

/// The requests of a connection that are not answered.
#[derive(Debug)]
pub(crate) struct Asked {
    last: u64,
    open: BTreeMap<u64, Open>,
    /// Why the connection is of no more use.
    broken: Option<String>,
    /// When bytes of a request left last.
    moved: Instant,
    /// The answer of which a part has come: when its first one did, and its last one.
    part: Option<(Instant, Instant)>,
}

#[derive(Debug)]
struct Open {
    answer: oneshot::Sender<Result<Response, CallError>>,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It can still be withdrawn.
    Queued,
    Leaving,
    Left(Instant),
}

impl Default for Asked {
    fn default() -> Self {
        let (last, open, broken, part) = (0, BTreeMap::new(), None, None);
        Self { last, open, broken, moved: Instant::now(), part }
    }
}

impl Asked {
    /// Takes a request, and returns its number; or why the connection is of no use.
    pub(crate) fn ask(
        &mut self,
        answer: oneshot::Sender<Result<Response, CallError>>,
    ) -> Result<u64, String> {
        if let Some(why) = &self.broken {
            return Err(why.clone());
        }
        self.last += 1;
        self.open.insert(self.last, Open { answer, stage: Stage::Queued });
        Ok(self.last)
    }

    /// Returns until when an answer may come of a request that was asked then.
    pub(crate) fn until(&self, number: u64, asked: Instant, patience: Patience) -> Instant {
        let since = match self.open.get(&number).map(|open| open.stage) {
            Some(Stage::Queued | Stage::Leaving) => self.moved.max(asked),
            Some(Stage::Left(left)) => {
                let long = self.part.filter(|(first, last)| *last - *first >= LONG);
                long.map_or(left, |(_, last)| last.max(left))
            }
            None => asked,
        };
        // What cannot be added is more than the deadline.
        since.checked_add(patience.answer).map_or(patience.deadline, |it| it.min(patience.deadline))
    }

    /// Nobody waits for this request any more; returns what that means for it, unless it has ended.
    pub(crate) fn give_up(&mut self, number: u64) -> Option<CallError> {
        Some(match self.open.remove(&number)?.stage {
            Stage::Queued => CallError::NotSent("it did not leave this machine in time".into()),
            Stage::Leaving | Stage::Left(_) => CallError::Late,
        })
    }

    /// Says whether a request that is about to leave is still wanted.
    fn leaves(&mut self, number: u64) -> bool {
        let open = self.open.get_mut(&number);
        open.map(|open| open.stage = Stage::Leaving).is_some()
    }

    fn have_left(&mut self, numbers: impl IntoIterator<Item = u64>) {
        let now = Instant::now();
        for number in numbers {
            if let Some(open) = self.open.get_mut(&number) {
                open.stage = Stage::Left(now);
            }
        }
        self.moved = now;
    }

    /// A part of an answer has come.
    pub(crate) fn part(&mut self) {
        let now = Instant::now();
        self.part = Some((self.part.map_or(now, |(first, _)| first), now));
    }

    /// An answer has come.
    pub(crate) fn answered(&mut self, number: u64, response: Response) {
        self.part = None;
        if let Some(open) = self.open.remove(&number) {
            // Whoever asked may have gone.
            let _ = open.answer.send(Ok(response));
        }
    }

    /// Ends all that wait: whether what has left arrived is not known.
    pub(crate) fn fail(&mut self, why: &str) {
        self.broken.get_or_insert_with(|| why.to_owned());
        for open in std::mem::take(&mut self.open).into_values() {
            let error = match open.stage {
                Stage::Queued => CallError::NotSent(why.to_owned()),
                Stage::Leaving | Stage::Left(_) => CallError::Lost(why.to_owned()),
            };
            let _ = open.answer.send(Err(error));
        }
    }

    /// Returns why the connection is of no more use, if it is not.
    pub(crate) fn broken(&self) -> Option<&str> {
        self.broken.as_deref()
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.open.len()
    }
}

/// Writes what is queued and still wanted, many requests at a time, until the stream breaks or the
/// queue ends.
pub(crate) async fn write(
    queue: &mut mpsc::Receiver<Numbered>,
    (connection, stream): (&Connection, &mut SendStream),
    asked: &Arc<Mutex<Asked>>,
) -> Result<(), WriteError> {
    let (mut waiting, mut held) = (Chunks::default(), Held::default());
    let mut leaving = Vec::new();
    held.suit(connection);
    while let Some(first) = queue.recv().await {
        let mut next = Some(first);
        while let Some((number, frame)) = next {
            if lock(asked).leaves(number) {
                leaving.push(number);
                waiting.push(frame);
            }
            next = if waiting.bytes() < WRITE_BYTES_MAX { queue.try_recv().ok() } else { None };
        }
        if leaving.is_empty() {
            continue;
        }
        let chunks = waiting.take();
        let mut open = &mut chunks[..];
        while !open.is_empty() {
            let written = stream.write_chunks(open).await?;
            open = &mut open[written.chunks..];
            if !open.is_empty() {
                lock(asked).moved = Instant::now();
                held.suit(connection);
            }
        }
        chunks.clear();
        lock(asked).have_left(leaving.drain(..));
    }
    Ok(())
}

pub(crate) fn lock(asked: &Mutex<Asked>) -> std::sync::MutexGuard<'_, Asked> {
    asked.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn ask(asked: &mut Asked) -> (u64, oneshot::Receiver<Result<Response, CallError>>) {
        let (answer, answered) = oneshot::channel();
        (asked.ask(answer).expect("it is whole"), answered)
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_for_an_answer_begins_when_the_request_has_left() {
        let mut asked = Asked::default();
        let began = Instant::now();
        let patience = Patience { answer: SECOND * 5, deadline: began + SECOND * 60 };
        let (first, _answered) = ask(&mut asked);
        let until = |asked: &Asked| asked.until(first, began, patience) - began;
        assert_eq!(until(&asked), SECOND * 5);
        // Others leave before it, then itself.
        tokio::time::advance(SECOND * 4).await;
        asked.moved = Instant::now();
        assert_eq!(until(&asked), SECOND * 9);
        tokio::time::advance(SECOND * 4).await;
        assert!(asked.leaves(first));
        asked.have_left([first]);
        assert_eq!(until(&asked), SECOND * 13);
        // What others do has no more to do with it, but for a long answer on its way.
        tokio::time::advance(SECOND * 4).await;
        asked.moved = Instant::now();
        asked.part();
        assert_eq!(until(&asked), SECOND * 13);
        tokio::time::advance(SECOND).await;
        asked.part();
        assert_eq!(until(&asked), SECOND * 18);
        asked.answered(first + 1, Response::Done);
        assert_eq!(until(&asked), SECOND * 13);
        let patience = Patience { answer: SECOND * 100, ..patience };
        assert_eq!(asked.until(first, began, patience), patience.deadline);
        let patience = Patience { answer: Duration::MAX, ..patience };
        assert_eq!(asked.until(first, began, patience), patience.deadline);
    }

    #[test]
    fn what_has_not_left_had_no_effect_for_certain() {
        let mut asked = Asked::default();
        let (queued, _) = ask(&mut asked);
        assert!(matches!(asked.give_up(queued), Some(CallError::NotSent(_))));
        assert!(!asked.leaves(queued), "it is withdrawn");
        let (leaving, _) = ask(&mut asked);
        assert!(asked.leaves(leaving));
        assert_eq!(asked.give_up(leaving), Some(CallError::Late));
        let (left, _) = ask(&mut asked);
        assert!(asked.leaves(left));
        asked.have_left([left]);
        assert_eq!(asked.give_up(left), Some(CallError::Late));
        let (answered, _) = ask(&mut asked);
        asked.answered(answered, Response::Done);
        assert_eq!(asked.give_up(answered), None, "its answer is here");

        let (gone, mut was_sent) = ask(&mut asked);
        assert!(asked.leaves(gone));
        let (_, mut was_not) = ask(&mut asked);
        asked.fail("cut");
        assert_eq!(was_sent.try_recv(), Ok(Err(CallError::Lost("cut".into()))));
        assert_eq!(was_not.try_recv(), Ok(Err(CallError::NotSent("cut".into()))));
        let (answer, _) = oneshot::channel();
        assert_eq!(asked.ask(answer), Err("cut".into()));
    }
}
