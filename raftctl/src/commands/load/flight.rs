//! Messages of a load on their way: each put until its outcome is known, as long as others succeed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use client::{Answer, Client, ClientError, Common, Session};
use state_machine::{KvCommand as Change, KvResponse, SESSION_TIMEOUT};

use super::lines::Line;
use crate::codes;
use crate::commands::kv::pairs::{decode, unexpected};
use crate::report::{Report, Result};

/// How long to wait before a put is tried again.
pub(super) const RETRY_AFTER: Duration = Duration::from_millis(50);

/// How long a message that is given up may take to tell what kept it.
const GRACE: Duration = Duration::from_millis(100);

/// A session that was idle for longer gives way to another one; after twice as long, it expires.
const SESSION_IDLE_MAX: Duration = Duration::from_nanos(SESSION_TIMEOUT / 2);

/// What all messages share.
pub(super) struct Shared {
    client: Client,
    /// The session of all puts; of those to come, where one was idle for long.
    session: Mutex<Session>,
    began: Instant,
    patience: Duration,
    /// Since when nothing was acknowledged though something is under way, in milliseconds since the
    /// beginning.
    quiet_since_ms: AtomicU64,
    /// What kept a put since then.
    why: Mutex<Option<ClientError>>,
    /// Puts that were repeated after an unknown outcome.
    repeated: AtomicU64,
}

/// A line, and what came of it.
pub(super) struct Put {
    /// The line's number.
    pub(super) number: u64,
    /// Its key.
    pub(super) key: Bytes,
    /// The bytes of key and value.
    pub(super) bytes: usize,
    /// Whether it is acknowledged.
    pub(super) acknowledged: bool,
}

/// What came of a message.
pub(super) struct Settled {
    /// Its lines.
    pub(super) lines: Vec<Put>,
    /// Why not all of them are acknowledged.
    pub(super) failed: Option<Report>,
}

/// A put that is not acknowledged yet.
struct Open {
    place: usize,
    command: Bytes,
    /// Its number in the session, if it may have been applied.
    sequence: Option<u64>,
}

/// Puts lines; asks again while outcomes are unknown or nobody leads, as long as others succeed.
pub(super) async fn put_all(shared: Arc<Shared>, lines: Vec<Line>) -> Settled {
    let mut puts = Vec::with_capacity(lines.len());
    let mut open = Vec::with_capacity(lines.len());
    for (place, line) in lines.into_iter().enumerate() {
        let bytes = line.size();
        let Line { number, key, value } = line;
        puts.push(Put { number, key: key.clone(), bytes, acknowledged: false });
        let command = Change::Put { key, value }.encode();
        open.push(Open { place, command, sequence: None });
    }
    let failed = tokio::select! {
        biased;
        done = until_known(&shared, &mut puts, open) => done.err(),
        why = shared.lost_patience() => Some(why),
    };
    Settled { lines: puts, failed }
}

/// Puts until all outcomes are known. All keys differ: what is sent again may come behind others.
async fn until_known(shared: &Shared, puts: &mut [Put], mut open: Vec<Open>) -> Result<()> {
    loop {
        let (mut left, before) = (Vec::new(), open.len());
        for (put, ended) in shared.attempt(open).await {
            match ended {
                Ok(answer) => {
                    let response = decode(&answer.response)?;
                    if !matches!(response, KvResponse::Done { .. }) {
                        return Err(unexpected(response));
                    }
                    puts[put.place].acknowledged = true;
                }
                Err(error) => left.push(shared.again(put, error)?),
            }
        }
        if left.len() < before {
            shared.stir();
        }
        if left.is_empty() {
            return Ok(());
        }
        open = left;
        tokio::time::sleep(RETRY_AFTER).await;
    }
}

type Ended = std::result::Result<Answer, ClientError>;

impl Shared {
    pub(super) fn new(client: Client, session: Session, patience: Duration) -> Self {
        Self {
            client,
            session: Mutex::new(session),
            began: Instant::now(),
            patience,
            quiet_since_ms: AtomicU64::new(0),
            why: Mutex::new(None),
            repeated: AtomicU64::new(0),
        }
    }

    /// Returns the client.
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Returns the session.
    pub(super) fn session(&self) -> Session {
        self.session.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Says whether nothing was sent for so long that the session may end soon by itself.
    pub(super) fn is_idle_for_long(&self) -> bool {
        self.quiet() >= SESSION_IDLE_MAX
    }

    /// Puts by another session from now on, and returns the one until now. Nothing may be under
    /// way: what became of it is known to that one alone.
    pub(super) fn replace_session(&self, session: Session) -> Session {
        let mut present = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut present, session)
    }

    /// Returns for how long it has been going on.
    pub(super) fn took(&self) -> Duration {
        self.began.elapsed()
    }

    /// Returns how many puts were repeated after an unknown outcome.
    pub(super) fn repeated(&self) -> u64 {
        self.repeated.load(Ordering::Relaxed)
    }

    /// Sends what is left of a message, once: first what may have been applied before.
    async fn attempt(&self, open: Vec<Open>) -> Vec<(Open, Ended)> {
        let (known, fresh): (Vec<Open>, Vec<Open>) =
            open.into_iter().partition(|put| put.sequence.is_some());
        let mut ended = Vec::with_capacity(known.len() + fresh.len());
        if !known.is_empty() {
            let sequences = known.iter().filter_map(|put| put.sequence);
            let mut found = self.session().outcomes(sequences).await;
            for put in known {
                let sequence = put.sequence.unwrap_or_default();
                let missing = || Err(ClientError::NotWaiting { sequence });
                let one = found.remove(&sequence).unwrap_or_else(missing);
                ended.push((put, one));
            }
        }
        let commands = fresh.iter().map(|put| put.command.clone()).collect();
        let found = self.session().propose_all(commands).await;
        ended.extend(fresh.into_iter().zip(found));
        ended
    }

    /// Takes a put that is to be tried again, or says why not.
    fn again(&self, put: Open, error: ClientError) -> Result<Open> {
        let mut sequence = put.sequence;
        match &error {
            ClientError::Unknown { sequence: lost, .. } => {
                sequence = *lost;
                self.repeated.fetch_add(1, Ordering::Relaxed);
            }
            ClientError::NoLeader { .. }
            | ClientError::Busy { .. }
            | ClientError::Unreachable { common: Common::Nothing | Common::Full, .. }
            | ClientError::WindowFull { .. }
            | ClientError::Behind { .. } => {}
            ClientError::Unreachable { .. }
            | ClientError::Lagging { .. }
            | ClientError::TooLarge { .. }
            | ClientError::Invalid(_)
            | ClientError::Ended(_)
            | ClientError::Refused(_)
            | ClientError::Unexpected { .. }
            | ClientError::SessionExpired { .. }
            | ClientError::AnswerNotKept { .. }
            | ClientError::NotWaiting { .. }
            | ClientError::Endpoint(_) => return Err(error.into()),
        }
        self.note(Some(error));
        Ok(Open { sequence, ..put })
    }

    /// Notes that something was acknowledged, or goes under way while nothing else is.
    pub(super) fn stir(&self) {
        let now_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.quiet_since_ms.store(now_ms, Ordering::Relaxed);
        self.note(None);
    }

    /// Notes what keeps puts; returns what kept them before.
    fn note(&self, why: Option<ClientError>) -> Option<ClientError> {
        std::mem::replace(&mut self.why.lock().unwrap_or_else(PoisonError::into_inner), why)
    }

    /// Returns how long something may still take to be acknowledged.
    pub(super) fn patience_left(&self) -> Duration {
        self.patience.saturating_sub(self.quiet())
    }

    /// Returns how long nothing was acknowledged.
    fn quiet(&self) -> Duration {
        let since = Duration::from_millis(self.quiet_since_ms.load(Ordering::Relaxed));
        self.began.elapsed().saturating_sub(since)
    }

    /// Waits until nothing was acknowledged for too long, and returns why.
    async fn lost_patience(&self) -> Report {
        loop {
            match self.patience_left() {
                Duration::ZERO => break,
                left => tokio::time::sleep(left).await,
            }
        }
        if let Some(why) = self.note(None) {
            return why.into();
        }
        // A request that may take as long ends in this moment.
        tokio::time::sleep(GRACE).await;
        self.note(None).map_or_else(
            || {
                let message = format!("nothing was acknowledged for {:?}", self.patience);
                Report::new(codes::UNKNOWN, message)
            },
            Report::from,
        )
    }
}
