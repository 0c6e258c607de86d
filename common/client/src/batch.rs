//! Many commands at once: they travel in one message, stand in the log in their order, and each has
//! an outcome of its own.

use bytes::Bytes;
use protocol::limits::COMMAND_BYTES_MAX;
use protocol::{Applied, ErrorReply, Outcome, Request, Response};
use state_machine::Envelope;
use tokio::time::{Instant, sleep};
use transport::Patience;

use crate::attempt::Attempts;
use crate::client::Client;
use crate::error::{ClientError, Common, Reaction, reaction};
use crate::limits;
use crate::requests::Answer;
use crate::system::AGAIN_AFTER;

/// The most commands in a message: half of what a session may have under way.
const MESSAGE_COMMANDS_MAX: usize = 512;

/// The most bytes of commands in a message, beyond the first.
const MESSAGE_BYTES_MAX: usize = COMMAND_BYTES_MAX / 2;

/// About what an envelope adds to a command, in bytes.
const ENVELOPE_BYTES: usize = 64;

/// What is known of the commands of a message.
struct Tally {
    ended: Vec<Option<Result<Applied, ClientError>>>,
    /// Why nobody can tell what became of an attempt.
    unknown: Vec<Option<String>>,
}

/// What came of an attempt as a whole.
enum Turn {
    /// Something was settled.
    Moved,
    /// Nothing was, and it may be worth another attempt.
    Stuck(ClientError),
}

impl Client {
    /// Puts commands through the log in their order, many in a message, and returns the outcome of
    /// each. A message is sent when all commands of the one before it are applied: behind a
    /// failure, commands end with [`ClientError::Behind`].
    ///
    /// # Errors
    /// For each command, as [`Client::propose`]. [`ClientError::Unknown`] also for those that were
    /// applied, and whose answers make those of their message longer than 2 MiB together: a node
    /// leaves these out. A session has them
    /// ([`Session::propose_all`](crate::Session::propose_all)).
    pub async fn propose_all(&self, bodies: Vec<Bytes>) -> Vec<Result<Answer, ClientError>> {
        let deadline = Instant::now() + self.patience();
        let mut results: Vec<Result<Answer, ClientError>> = Vec::with_capacity(bodies.len());
        for message in messages(&bodies, Bytes::len) {
            if let Some(behind) = behind(&results) {
                results.extend(message.iter().map(|_| Err(behind.clone())));
                continue;
            }
            // One that is too large is alone in its message.
            if let Err(error) = message.iter().try_for_each(limits::command) {
                results.extend(message.iter().map(|_| Err(error.clone())));
                continue;
            }
            let command = |place: usize| Envelope::sessionless(message[place].clone()).encode();
            let ended = self.settle_all(deadline, message.len(), command, false).await;
            results.extend(ended.into_iter().map(|one| one.map(answer)));
        }
        results
    }

    /// Sends commands in one message until each has an outcome, or the deadline passes. What has
    /// the effect of one however often it is sent is sent `again` if its outcome is not known; what
    /// certainly had none is in any case.
    pub(crate) async fn settle_all(
        &self,
        deadline: Instant,
        count: usize,
        command: impl Fn(usize) -> Bytes,
        again: bool,
    ) -> Vec<Result<Applied, ClientError>> {
        let mut tally = Tally { ended: vec![None; count], unknown: vec![None; count] };
        let (began, mut attempts) = (Instant::now(), Attempts::default());
        loop {
            let open = tally.open();
            let request =
                Request::Batch { commands: open.iter().map(|place| command(*place)).collect() };
            let patience = if again { attempts.next(deadline) } else { Patience::until(deadline) };
            let turn = match self.on_leader_for(&request, patience).await {
                Ok(Response::Batch { outcomes }) if outcomes.len() == open.len() => {
                    tally.take(&open, outcomes, again)
                }
                Ok(_) => tally.fail(&open, &self.unclear(), false),
                Err(error) => {
                    if matches!(error, ClientError::Unknown { .. }) {
                        self.remember(None);
                    }
                    tally.fail(&open, &error, again)
                }
            };
            if tally.open().is_empty() {
                return tally.end();
            }
            if let Turn::Stuck(error) = turn {
                if Instant::now() + AGAIN_AFTER >= deadline {
                    tally.give_up(&error.tried_since(began));
                    return tally.end();
                }
                sleep(AGAIN_AFTER).await;
            }
        }
    }
}

impl Tally {
    /// Returns the places of the commands that are not settled, in order.
    fn open(&self) -> Vec<usize> {
        (0..self.ended.len()).filter(|place| self.ended[*place].is_none()).collect()
    }

    /// Takes what became of each command of a message.
    fn take(
        &mut self,
        open: &[usize],
        outcomes: Vec<Result<Applied, ErrorReply>>,
        again: bool,
    ) -> Turn {
        // What is sent again while another one may still take effect could end up behind it.
        let settles = !again
            && outcomes.iter().any(|outcome| {
                outcome.as_ref().is_err_and(|reply| reply.outcome == Outcome::Unknown)
            });
        let mut turn = None;
        for (place, outcome) in open.iter().copied().zip(outcomes) {
            let reply = match outcome {
                Ok(applied) => {
                    self.ended[place] = Some(Ok(applied));
                    turn = Some(Turn::Moved);
                    continue;
                }
                Err(reply) => reply,
            };
            if reply.outcome == Outcome::Unknown {
                let why = reply.message;
                if again {
                    self.unknown[place] = Some(why.clone());
                    turn.get_or_insert(Turn::Stuck(unknown(why)));
                } else {
                    self.ended[place] = Some(Err(unknown(why)));
                }
            } else if settles || reaction(reply.code) == Reaction::GiveUp {
                self.refuse(place, ClientError::Refused(reply));
            } else {
                turn.get_or_insert(Turn::Stuck(ClientError::Refused(reply)));
            }
        }
        turn.unwrap_or(Turn::Moved)
    }

    /// Takes what became of a message as a whole.
    fn fail(&mut self, open: &[usize], error: &ClientError, again: bool) -> Turn {
        match error {
            ClientError::Unknown { why, .. } if again => {
                for place in open {
                    self.unknown[*place] = Some(why.clone());
                }
                return Turn::Stuck(error.clone());
            }
            ClientError::NoLeader { .. }
            | ClientError::Busy { .. }
            | ClientError::Unreachable { common: Common::Nothing | Common::Full, .. }
                if again =>
            {
                return Turn::Stuck(error.clone());
            }
            ClientError::Unknown { .. }
            | ClientError::NoLeader { .. }
            | ClientError::Lagging { .. }
            | ClientError::Busy { .. }
            | ClientError::Unreachable { .. }
            | ClientError::SessionExpired { .. }
            | ClientError::AnswerNotKept { .. }
            | ClientError::WindowFull { .. }
            | ClientError::NotWaiting { .. }
            | ClientError::Behind { .. }
            | ClientError::TooLarge { .. }
            | ClientError::Invalid(_)
            | ClientError::Ended(_)
            | ClientError::Refused(_)
            | ClientError::Unexpected { .. }
            | ClientError::Endpoint(_) => self.give_up(error),
        }
        Turn::Moved
    }

    /// Ends all that is not settled.
    fn give_up(&mut self, error: &ClientError) {
        for place in self.open() {
            self.refuse(place, error.clone());
        }
    }

    /// Ends a command; what is certain of this attempt is not of an earlier one.
    fn refuse(&mut self, place: usize, error: ClientError) {
        let error = self.unknown[place].take().map_or(error, unknown);
        self.ended[place] = Some(Err(error));
    }

    fn end(self) -> Vec<Result<Applied, ClientError>> {
        self.ended.into_iter().flatten().collect()
    }
}

fn answer(applied: Applied) -> Answer {
    let Applied { index, response } = applied;
    Answer { index, response, age_ms: None }
}

/// Divides commands into messages; `size` tells how many bytes a command has.
pub(crate) fn messages<T>(
    commands: &[T],
    size: impl Fn(&T) -> usize,
) -> impl Iterator<Item = &[T]> {
    let mut left = commands;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = |command: &&T| {
            bytes += size(command) + ENVELOPE_BYTES;
            bytes <= MESSAGE_BYTES_MAX
        };
        let count = left.iter().take(MESSAGE_COMMANDS_MAX).take_while(fits).count();
        let (message, rest) = left.split_at(count.max(1).min(left.len()));
        left = rest;
        (!message.is_empty()).then_some(message)
    })
}

/// Returns how all commands end that come behind these, if one of these was not applied.
pub(crate) fn behind(results: &[Result<Answer, ClientError>]) -> Option<ClientError> {
    let failed = results.iter().find_map(|result| result.as_ref().err())?;
    if let ClientError::Behind { .. } = failed {
        return Some(failed.clone());
    }
    Some(ClientError::Behind { why: failed.at_length() })
}

fn unknown(why: String) -> ClientError {
    ClientError::Unknown { why, sequence: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::ErrorCode;

    fn applied(index: u64) -> Result<Applied, ErrorReply> {
        Ok(Applied { index, response: Bytes::new() })
    }

    fn refused(code: ErrorCode, outcome: Outcome) -> Result<Applied, ErrorReply> {
        Err(ErrorReply { code, message: format!("{code:?}"), leader: None, outcome })
    }

    fn tally(count: usize) -> Tally {
        Tally { ended: vec![None; count], unknown: vec![None; count] }
    }

    fn busy() -> Result<Applied, ErrorReply> {
        refused(ErrorCode::Busy, Outcome::NotApplied)
    }

    fn lost() -> Result<Applied, ErrorReply> {
        refused(ErrorCode::Abandoned, Outcome::Unknown)
    }

    #[test]
    fn what_is_not_applied_is_sent_again_in_order_and_what_is_not() {
        let mut some = tally(4);
        let turn = some.take(&[0, 1, 2, 3], vec![applied(1), lost(), busy(), busy()], true);
        assert!(matches!(turn, Turn::Moved));
        assert_eq!(some.open(), [1, 2, 3], "in a session, an unknown one is sent again");
        let turn = some.take(&[1, 2, 3], vec![busy(), busy(), busy()], true);
        assert!(matches!(turn, Turn::Stuck(_)));
        some.give_up(&ClientError::Endpoint("late".into()));
        let ended = some.end();
        assert!(matches!(ended[1], Err(ClientError::Unknown { .. })), "of the first attempt");
        assert!(matches!(ended[2], Err(ClientError::Endpoint(_))));
    }

    #[test]
    fn outside_of_a_session_nothing_is_sent_again_beside_what_may_still_take_effect() {
        let mut none = tally(3);
        none.take(&[0, 1, 2], vec![applied(1), lost(), busy()], false);
        assert_eq!(none.open(), [] as [usize; 0]);
        let mut some = tally(3);
        some.take(&[0, 1, 2], vec![applied(1), busy(), busy()], false);
        assert_eq!(some.open(), [1, 2], "these certainly had no effect");
        let full = || refused(ErrorCode::NoRoom, Outcome::NotApplied);
        some.take(&[1, 2], vec![full(), full()], false);
        assert_eq!(some.open(), [] as [usize; 0], "that will not be better soon");
    }

    #[test]
    fn messages_hold_so_many_commands_and_bytes_and_always_one() {
        let sizes = |bodies: &[Bytes]| -> Vec<usize> {
            messages(bodies, Bytes::len).map(<[_]>::len).collect()
        };
        let of = |count: usize, bytes: usize| vec![Bytes::from(vec![0; bytes]); count];
        assert_eq!(sizes(&[]), [] as [usize; 0]);
        assert_eq!(sizes(&of(1_025, 0)), [512, 512, 1]);
        assert_eq!(sizes(&of(3, COMMAND_BYTES_MAX)), [1, 1, 1]);
        let fourth = MESSAGE_BYTES_MAX / 4 - ENVELOPE_BYTES;
        assert_eq!(sizes(&of(9, fourth)), [4, 4, 1]);
    }
}
