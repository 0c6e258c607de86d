//! A worker: asks one thing after the other, in a session or without one.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use client::{Answer, Client, ClientError, Consistency, Session};
use state_machine::{KvCommand, KvQuery, KvResponse};

use super::{Shared, now_ns, values};
use crate::history::{Action, Operation, Outcome, Reply};
use crate::random::Random;

/// Keys get new names so often: what is unknown of old ones does not make the search for an order
/// longer for ever.
const EPOCH_NS: u64 = 10_000_000_000;

/// How many workers contend for a key.
const CONTENDERS: u32 = 6;

/// How many keys of its own each pair of workers has, in an epoch.
const OWN_KEYS: u64 = 60;

/// How many keys of large values, likewise.
const LARGE_KEYS: u64 = 4;

/// The longest pause between two questions.
const PAUSE_MS: u64 = 60;

/// How long an outcome is asked for after the end.
const AFTERWARDS: Duration = Duration::from_secs(20);

/// Works until it is told to stop.
pub(super) async fn work(client: Client, shared: Arc<Shared>, number: u32, random: Random) {
    let seen = HashMap::new();
    let mut worker = Worker { client, shared, number, random, session: None, seen, counted: 0 };
    while !worker.shared.stops() {
        worker.turn().await;
        let pause = worker.random.below(PAUSE_MS);
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
}

/// What a key has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Short,
    Large,
    Counter,
}

struct Worker {
    client: Client,
    shared: Arc<Shared>,
    number: u32,
    random: Random,
    session: Option<Session>,
    /// What this worker believes that keys have.
    seen: HashMap<String, Option<String>>,
    /// How many values it has made: no two are alike.
    counted: u64,
}

impl Worker {
    /// Asks once.
    async fn turn(&mut self) {
        let (key, kind) = self.key();
        let action = self.action(&key, kind);
        if action != Action::Get && self.session.is_none() && self.random.percent(80) {
            // Without one it goes on without.
            self.session = self.client.session(&format!("worker-{}", self.number)).await.ok();
        }
        let invoked_ns = now_ns();
        let outcome = match action {
            Action::Get => self.read(&key).await,
            Action::Put(_) | Action::Delete | Action::Swap { .. } | Action::Add(_) => {
                Some(self.change(&key, &action).await)
            }
        };
        let Some(outcome) = outcome else {
            return;
        };
        self.believe(&key, &action, &outcome);
        let (client, returned_ns) = (self.number, now_ns());
        self.shared.note(&Operation { client, key, action, invoked_ns, returned_ns, outcome });
    }

    /// Chooses a key, and says what it has.
    fn key(&mut self) -> (String, Kind) {
        let epoch = (now_ns() - self.shared.began_ns) / EPOCH_NS;
        if self.seen.len() > 500 {
            self.seen.clear();
        }
        let group = self.number / CONTENDERS;
        match self.random.below(100) {
            0..20 => (format!("hot-{epoch}-{group}"), Kind::Short),
            20..35 => (format!("count-{epoch}-{group}"), Kind::Counter),
            35..43 => {
                let own = self.random.below(LARGE_KEYS);
                (format!("large-{epoch}-{}-{own}", self.number / 2), Kind::Large)
            }
            _ => {
                let own = self.random.below(OWN_KEYS);
                (format!("own-{epoch}-{}-{own}", self.number / 2), Kind::Short)
            }
        }
    }

    fn action(&mut self, key: &str, kind: Kind) -> Action {
        if kind == Kind::Counter {
            return if self.random.percent(30) { Action::Get } else { Action::Add(1) };
        }
        self.counted += 1;
        let mut value = format!("v{}-{}-{}", self.shared.seed % 1000, self.number, self.counted);
        // A key of large values has a short one now and then.
        if kind == Kind::Large && self.random.percent(80) {
            value = values::large(&value, &mut self.random);
        }
        match self.random.below(100) {
            0..40 => Action::Get,
            40..75 => Action::Put(value),
            75..92 => {
                let expected = self.seen.get(key).cloned().flatten();
                Action::Swap { expected, new: Some(value) }
            }
            _ => Action::Delete,
        }
    }

    /// Reads; a read that failed has no place in a history.
    async fn read(&mut self, key: &str) -> Option<Outcome> {
        let query = KvQuery::Get { key: Bytes::copy_from_slice(key.as_bytes()) }.encode();
        let by_followers = self.random.percent(30);
        let how = if by_followers { Consistency::Follower } else { Consistency::Linearizable };
        self.client.query(query, how).await.ok().map(|answer| outcome(&answer))
    }

    async fn change(&mut self, key: &str, action: &Action) -> Outcome {
        let Some(command) = command(key, action) else {
            return Outcome::Failed;
        };
        let alone = self.random.percent(20);
        let Some(session) = self.session.clone().filter(|_| !alone) else {
            return match self.client.propose(command.encode()).await {
                Ok(answer) => outcome(&answer),
                Err(error) => without_effect(&error),
            };
        };
        match session.propose(command.encode()).await {
            Ok(answer) => outcome(&answer),
            Err(ClientError::Unknown { sequence: Some(sequence), .. }) => {
                self.ask_again(&session, sequence).await
            }
            Err(error) => {
                if matches!(error, ClientError::SessionExpired { .. }) {
                    self.session = None;
                }
                without_effect(&error)
            }
        }
    }

    /// Asks until it is known how a command ended.
    async fn ask_again(&mut self, session: &Session, sequence: u64) -> Outcome {
        let mut stopped = None;
        loop {
            match session.outcome(sequence).await {
                Ok(answer) => return outcome(&answer),
                Err(ClientError::Unknown { .. }) => {}
                Err(_) => break,
            }
            if self.shared.stops() {
                let since = *stopped.get_or_insert_with(tokio::time::Instant::now);
                if since.elapsed() > AFTERWARDS {
                    break;
                }
            }
        }
        self.session = None;
        Outcome::Unknown
    }

    fn believe(&mut self, key: &str, action: &Action, outcome: &Outcome) {
        let Outcome::Answered { reply, .. } = outcome else {
            return;
        };
        let has = match (reply, action) {
            (Reply::Value(value) | Reply::Differs(value), _) => Some(value.clone()),
            (Reply::Missing, _) | (Reply::Done, Action::Delete) => None,
            (Reply::Done, Action::Put(value)) => Some(value.clone()),
            (Reply::Done, Action::Swap { new, .. }) => new.clone(),
            (Reply::Done, Action::Get | Action::Add(_)) => return,
        };
        self.seen.insert(key.to_owned(), has);
    }
}

fn command(key: &str, action: &Action) -> Option<KvCommand> {
    let bytes = |name: &String| values::bytes(name);
    let key = Bytes::copy_from_slice(key.as_bytes());
    Some(match action {
        Action::Get => return None,
        Action::Put(value) => KvCommand::Put { key, value: bytes(value) },
        Action::Delete => KvCommand::Delete { key },
        Action::Swap { expected, new } => KvCommand::CompareAndSwap {
            key,
            expected: expected.as_ref().map(bytes),
            new: new.as_ref().map(bytes),
        },
        Action::Add(delta) => KvCommand::Increment { key, delta: *delta },
    })
}

/// Reads the machine's answer. What the machine refuses has no effect.
fn outcome(answer: &Answer) -> Outcome {
    let text = |bytes: &Bytes| values::name(bytes);
    let reply = match KvResponse::decode(&answer.response) {
        Ok(KvResponse::Done { .. }) => Reply::Done,
        Ok(KvResponse::NotFound) => Reply::Missing,
        Ok(KvResponse::Differs { actual, .. }) => Reply::Differs(text(&actual)),
        Ok(KvResponse::Value { value, .. }) => Reply::Value(text(&value)),
        Ok(KvResponse::Refused { .. }) => return Outcome::Failed,
        // No answer to any of our questions: no order of the history has a place for it.
        Ok(KvResponse::Page { .. }) | Err(_) => Reply::Value("nonsense".to_owned()),
    };
    Outcome::Answered { reply, index: answer.index }
}

/// Takes the client library at its word: all but these had certainly no effect.
fn without_effect(error: &ClientError) -> Outcome {
    match error {
        ClientError::Unknown { .. }
        | ClientError::SessionExpired { .. }
        | ClientError::AnswerNotKept { .. }
        | ClientError::NotWaiting { .. }
        | ClientError::Unexpected { .. } => Outcome::Unknown,
        ClientError::Unreachable { .. }
        | ClientError::NoLeader { .. }
        | ClientError::Lagging { .. }
        | ClientError::Busy { .. }
        | ClientError::WindowFull { .. }
        | ClientError::Behind { .. }
        | ClientError::TooLarge { .. }
        | ClientError::Invalid(_)
        | ClientError::Ended(_)
        | ClientError::Refused(_)
        | ClientError::Endpoint(_) => Outcome::Failed,
    }
}
