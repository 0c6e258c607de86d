//! Sessions (§6.3): each command takes effect exactly once, through whatever failures, as long as
//! the client keeps its session.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use state_machine::{Envelope, SESSION_WINDOW, SystemCommand, SystemResponse};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use crate::batch::{behind, messages};
use crate::client::Client;
use crate::error::ClientError;
use crate::limits;
use crate::requests::Answer;

/// A client's session with the cluster. Copies are the same session, and many commands may be under
/// way at once, in no order.
///
/// An idle session expires after [`state_machine::SESSION_TIMEOUT`]; the least recently active one
/// is evicted if there are too many; and it is of the history in which it was opened, see
/// [`Client::follow`]. Each ends it for good, with [`ClientError::SessionExpired`].
///
/// What is unanswered is known to this session alone: no other client can take it over, but end it
/// ([`Client::close_session`]). A program that lives longer than its certificate keeps both, with
/// [`Client::replace_credentials`].
#[derive(Clone)]
pub struct Session {
    inner: Arc<Inner>,
}

struct Inner {
    client: Client,
    id: u64,
    window: Mutex<Window>,
    /// Tells those who wait that the low-water mark may have moved.
    moved: Notify,
}

/// Which commands are not answered yet.
struct Window {
    next: u64,
    open: BTreeMap<u64, Open>,
}

/// A command that is not answered.
struct Open {
    body: Bytes,
    /// Whether it is sent by a call of its own that asks how it ended.
    asked: bool,
}

impl Client {
    /// Opens a session; `name` is for people, at most 64 bytes.
    ///
    /// # Errors
    /// As [`Client::propose`]. A session that was opened without this client's hearing of it
    /// expires.
    pub async fn session(&self, name: &str) -> Result<Session, ClientError> {
        // Before it is opened: afterwards, the history may be another one already.
        let before = self.shared.pool.changes();
        let mut nonce = [0; 16];
        getrandom::fill(&mut nonce).map_err(|error| ClientError::Endpoint(error.to_string()))?;
        let command = SystemCommand::RegisterSession { nonce, name: name.to_owned() };
        let SystemResponse::Registered { session } = self.tell_system(&command).await? else {
            return Err(self.unexpected());
        };
        // The first one is met meanwhile; if it was not, none that is met later is known to be its.
        let changes = before.max(1).min(self.shared.pool.changes());
        Ok(Session::new(self.bound_to(session, changes), session))
    }
}

impl Session {
    pub(crate) fn new(client: Client, id: u64) -> Self {
        let window = Mutex::new(Window { next: 1, open: BTreeMap::new() });
        Self { inner: Arc::new(Inner { client, id, window, moved: Notify::new() }) }
    }

    /// Returns the session's id, as `raftctl session list` shows it.
    pub fn id(&self) -> u64 {
        self.inner.id
    }

    /// Puts a command of at most [`PROPOSAL_BYTES_MAX`](crate::PROPOSAL_BYTES_MAX) bytes through
    /// the log exactly once, and returns the machine's answer. It is sent again, under the same
    /// number, as long as its outcome is not known. If 1,024 numbers above the oldest unanswered
    /// one are taken, it waits.
    ///
    /// A future that is dropped leaves its command unanswered: see [`Session::unanswered`].
    ///
    /// # Errors
    /// [`ClientError::Unknown`] if the deadline passed first, or this attempt had no effect and
    /// [`Session::outcome`] made another one meanwhile: with its number, the outcome can be asked
    /// for later. [`ClientError::SessionExpired`] if the session is over.
    /// [`ClientError::NotWaiting`] if the command was given up, or answered to another call.
    /// [`ClientError::AnswerNotKept`] if it was applied by an attempt whose long answer was lost,
    /// or is longer than [`ANSWER_BYTES_MAX`](crate::ANSWER_BYTES_MAX).
    /// [`ClientError::TooLarge`] at once if the command is too large: it takes no number.
    /// Every other error says that it certainly was not applied and never will be.
    pub async fn propose(&self, body: Bytes) -> Result<Answer, ClientError> {
        self.inner.client.is_open()?;
        limits::command(&body)?;
        let deadline = Instant::now() + self.inner.client.patience();
        let sequence = self.begin(std::slice::from_ref(&body), deadline).await?;
        let ended = self.settle(sequence, body, deadline).await;
        self.end_if_refused(sequence, ended)
    }

    /// Puts commands through the log exactly once each and in their order, many in a message, and
    /// returns the outcome of each. Whatever fails on the way, also leaders: none is applied before
    /// one that stands before it here. A message is sent when all commands of the one before it are
    /// applied; behind a failure, commands end with [`ClientError::Behind`]. Other commands of the
    /// session may come in between.
    ///
    /// # Errors
    /// For each command, as [`Session::propose`]. Those whose outcome is unknown are settled, in
    /// their order, by [`Session::outcomes`]. A node leaves answers out which make those of a
    /// message longer than 2 MiB together; their commands are sent once more for them, and end with
    /// [`ClientError::AnswerNotKept`] where one is longer than the 64 KiB that a session keeps.
    pub async fn propose_all(&self, bodies: Vec<Bytes>) -> Vec<Result<Answer, ClientError>> {
        let deadline = Instant::now() + self.inner.client.patience();
        let mut results: Vec<Result<Answer, ClientError>> = Vec::with_capacity(bodies.len());
        for message in messages(&bodies, Bytes::len) {
            if let Some(behind) = behind(&results) {
                results.extend(message.iter().map(|_| Err(behind.clone())));
                continue;
            }
            // One that is too large is alone in its message.
            let begun = match message.iter().try_for_each(limits::command) {
                Ok(()) => self.begin(message, deadline).await,
                Err(error) => Err(error),
            };
            let first = match begun {
                Ok(first) => first,
                Err(error) => {
                    results.extend(message.iter().map(|_| Err(error.clone())));
                    continue;
                }
            };
            let commands: Vec<(u64, Bytes)> = (first..).zip(message.iter().cloned()).collect();
            let ended = self.settle_all(&commands, deadline).await;
            let ended = commands.iter().zip(ended);
            results.extend(ended.map(|((sequence, _), one)| self.end_if_refused(*sequence, one)));
        }
        results
    }

    /// Finds out how commands ended whose outcome was unknown, by sending them again, in the order
    /// of their numbers, until one is still unknown: see [`Session::outcome`].
    ///
    /// # Errors
    /// For each number, as there.
    pub async fn outcomes(
        &self,
        sequences: impl IntoIterator<Item = u64>,
    ) -> BTreeMap<u64, Result<Answer, ClientError>> {
        let deadline = Instant::now() + self.inner.client.patience();
        let missing = |sequence| (sequence, Err(ClientError::NotWaiting { sequence }));
        let mut results: BTreeMap<_, _> = sequences.into_iter().map(missing).collect();
        let open: Vec<(u64, Bytes)> = {
            let mut window = self.window();
            let asked = results.keys().filter_map(|number| Some((*number, window.ask(*number)?)));
            asked.collect()
        };
        let mut stopped: Option<String> = None;
        for commands in messages(&open, |(_, body)| body.len()) {
            let ended = match &stopped {
                None => self.settle_all(commands, deadline).await,
                Some(why) => {
                    let unknown = |(sequence, _): &(u64, Bytes)| {
                        Err(ClientError::Unknown { why: why.clone(), sequence: Some(*sequence) })
                    };
                    commands.iter().map(unknown).collect()
                }
            };
            for ((sequence, _), one) in commands.iter().zip(ended) {
                let one = one.map_err(|error| of_an_earlier_attempt(*sequence, error));
                if let Err(ClientError::Unknown { why, .. }) = &one {
                    stopped.get_or_insert_with(|| why.clone());
                }
                results.insert(*sequence, one);
            }
        }
        results
    }

    /// Finds out how a command ended whose outcome was unknown, by sending it again under the same
    /// number: it is then applied if it was not before. The answer is final (§6.3).
    ///
    /// # Errors
    /// [`ClientError::NotWaiting`] if no such command is unanswered; else as [`Session::propose`].
    pub async fn outcome(&self, sequence: u64) -> Result<Answer, ClientError> {
        let deadline = Instant::now() + self.inner.client.patience();
        let Some(body) = self.window().ask(sequence) else {
            return Err(ClientError::NotWaiting { sequence });
        };
        let ended = self.settle(sequence, body, deadline).await;
        ended.map_err(|error| of_an_earlier_attempt(sequence, error))
    }

    /// Returns the numbers of the commands that are not answered, in order: those under way, and
    /// those whose outcome is unknown.
    pub fn unanswered(&self) -> Vec<u64> {
        self.window().open.keys().copied().collect()
    }

    /// Gives a command up whose outcome is unknown: it may have been applied, once, or may still
    /// be until the session's next command. It takes no room any more.
    pub fn forget(&self, sequence: u64) {
        self.end(sequence);
    }

    /// Ends the session; the cluster forgets its answers.
    ///
    /// # Errors
    /// As [`Client::propose`]; the session then expires by itself.
    pub async fn close(self) -> Result<(), ClientError> {
        self.inner.client.close_session(self.inner.id).await.map(|_| ())
    }

    /// Takes the next numbers, when there is room in the window for all of these; returns the first
    /// of them.
    async fn begin(&self, bodies: &[Bytes], deadline: Instant) -> Result<u64, ClientError> {
        loop {
            // Made before the look, so that no move in between is missed.
            let moved = self.inner.moved.notified();
            let oldest = {
                let mut window = self.window();
                let (first, low_water) = (window.next, window.low_water());
                if first + bodies.len() as u64 - low_water <= SESSION_WINDOW {
                    let open = |body: &Bytes| Open { body: body.clone(), asked: false };
                    window.open.extend((first..).zip(bodies.iter().map(open)));
                    window.next += bodies.len() as u64;
                    return Ok(first);
                }
                low_water
            };
            if timeout_at(deadline, moved).await.is_err() {
                return Err(ClientError::WindowFull { oldest });
            }
        }
    }

    /// Sends a command until it is answered.
    async fn settle(
        &self,
        sequence: u64,
        body: Bytes,
        deadline: Instant,
    ) -> Result<Answer, ClientError> {
        let session = self.inner.id;
        let command = || {
            let low_water = self.window().low_water();
            Envelope::in_session(session, sequence, low_water, body.clone()).encode()
        };
        match self.inner.client.repeat(deadline, command).await {
            Ok(settled) => self.answered(sequence, &settled.response),
            Err(error) => Err(self.failed(sequence, error)),
        }
    }

    /// Sends commands in one message until each is answered.
    async fn settle_all(
        &self,
        commands: &[(u64, Bytes)],
        deadline: Instant,
    ) -> Vec<Result<Answer, ClientError>> {
        let session = self.inner.id;
        let command = |place: usize| {
            let (sequence, body) = &commands[place];
            let low_water = self.window().low_water();
            Envelope::in_session(session, *sequence, low_water, body.clone()).encode()
        };
        let client = &self.inner.client;
        let ended = client.settle_all(deadline, commands.len(), command, true).await;
        let answers = commands.iter().zip(ended).map(|((sequence, _), one)| match one {
            Ok(applied) => self.answered(*sequence, &applied.response),
            Err(error) => Err(self.failed(*sequence, error)),
        });
        answers.collect()
    }

    /// Reads the answer to a command, which waits for none any more if this is one.
    fn answered(&self, sequence: u64, response: &Bytes) -> Result<Answer, ClientError> {
        let answered = match SystemResponse::decode(response) {
            Ok(SystemResponse::Answer { index, response }) => {
                Ok(Answer { index, response, age_ms: None })
            }
            Ok(SystemResponse::AnswerNotKept { index }) => {
                Err(ClientError::AnswerNotKept { index })
            }
            Ok(SystemResponse::SessionExpired { session }) => {
                Err(ClientError::SessionExpired { session })
            }
            // Somebody else has moved the mark: this client never says that it has what it awaits.
            Ok(SystemResponse::Forgotten { .. }) => Err(ClientError::NotWaiting { sequence }),
            Ok(
                SystemResponse::BeyondWindow { .. }
                | SystemResponse::Registered { .. }
                | SystemResponse::Closed
                | SystemResponse::Ended { .. }
                | SystemResponse::Reserved { .. }
                | SystemResponse::Noted
                | SystemResponse::Refused { .. },
            )
            | Err(_) => return Err(self.failed(sequence, self.inner.client.unclear())),
        };
        self.end(sequence);
        answered
    }

    /// A command that never entered a log is as good as answered. If it was sent by another call as
    /// well, this one knows too little to say so.
    fn end_if_refused(
        &self,
        sequence: u64,
        ended: Result<Answer, ClientError>,
    ) -> Result<Answer, ClientError> {
        if !ended.as_ref().is_err_and(is_of_this_attempt) {
            return ended;
        }
        if !self.window().withdraw(sequence) {
            return ended.map_err(|error| of_an_earlier_attempt(sequence, error));
        }
        self.inner.moved.notify_waiters();
        ended
    }

    /// Names a command whose outcome is unknown, and waits for nothing in another history.
    fn failed(&self, sequence: u64, error: ClientError) -> ClientError {
        if let ClientError::Unknown { why, .. } = error {
            return ClientError::Unknown { why, sequence: Some(sequence) };
        }
        if let ClientError::SessionExpired { .. } = error {
            self.end(sequence);
        }
        error
    }

    /// A command is answered.
    fn end(&self, sequence: u64) {
        self.window().open.remove(&sequence);
        self.inner.moved.notify_waiters();
    }

    fn window(&self) -> MutexGuard<'_, Window> {
        self.inner.window.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Window {
    /// Returns a command that is not answered, for a call that sends it to learn how it ended.
    fn ask(&mut self, sequence: u64) -> Option<Bytes> {
        let open = self.open.get_mut(&sequence)?;
        open.asked = true;
        Some(open.body.clone())
    }

    /// Takes a command back, unless it was sent by another call as well: says whether it was not.
    fn withdraw(&mut self, sequence: u64) -> bool {
        let is_alone = self.open.get(&sequence).is_some_and(|open| !open.asked);
        if is_alone {
            self.open.remove(&sequence);
        }
        is_alone
    }

    /// Everything below has been answered.
    fn low_water(&self) -> u64 {
        self.open.keys().next().copied().unwrap_or(self.next)
    }
}

/// Says whether an error is certain of one attempt, and tells nothing of an earlier one.
fn is_of_this_attempt(error: &ClientError) -> bool {
    matches!(
        error,
        ClientError::Unreachable { .. }
            | ClientError::NoLeader { .. }
            | ClientError::Lagging { .. }
            | ClientError::Busy { .. }
            | ClientError::TooLarge { .. }
            | ClientError::Invalid(_)
            | ClientError::Ended(_)
            | ClientError::Refused(_)
    )
}

fn of_an_earlier_attempt(sequence: u64, error: ClientError) -> ClientError {
    if is_of_this_attempt(&error) {
        return ClientError::Unknown { why: error.at_length(), sequence: Some(sequence) };
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::Deaf;
    use std::time::Duration;

    #[test]
    fn the_low_water_mark_is_the_oldest_unanswered_number() {
        let mut window = Window { next: 1, open: BTreeMap::new() };
        assert_eq!(window.low_water(), 1);
        for sequence in 1..=3 {
            window.next += 1;
            window.open.insert(sequence, Open { body: Bytes::new(), asked: false });
        }
        window.open.remove(&2);
        assert_eq!(window.low_water(), 1);
        window.open.remove(&1);
        assert_eq!(window.low_water(), 3);
        window.open.remove(&3);
        assert_eq!(window.low_water(), 4);
    }

    /// The oldest command is the last one that is answered: there is room for many at once.
    #[tokio::test(start_paused = true)]
    async fn all_that_wait_for_room_in_the_window_go_on_when_there_is_room_for_all() {
        let client = Client::new(Deaf::listen().config()).expect("it is a client");
        let session = Session::new(client, 1);
        let deadline = Instant::now() + Duration::from_secs(60);
        let one = [Bytes::new()];
        for sequence in 1..=SESSION_WINDOW {
            assert_eq!(session.begin(&one, deadline).await.ok(), Some(sequence));
        }
        (2..=SESSION_WINDOW).for_each(|sequence| session.end(sequence));
        let (first, second, third, ()) = tokio::join!(
            session.begin(&one, deadline),
            session.begin(&one, deadline),
            session.begin(&one, deadline),
            // Polled last: all of them wait.
            async { session.end(1) },
        );
        let mut begun = [first, second, third].map(Result::ok);
        begun.sort_unstable();
        assert_eq!(begun, [1, 2, 3].map(|more| Some(SESSION_WINDOW + more)));
    }
}
