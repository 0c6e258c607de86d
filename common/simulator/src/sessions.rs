//! Clients with sessions (§6.3): many commands of one session at once, each sent again to any node,
//! before or after any outcome; and the oracle's count of what was applied how often.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use consensus::{LogIndex, RequestId};
use replica::Input;
use state_machine::{Envelope, EnvelopeKind, SystemCommand, SystemResponse};

use crate::coverage::Met;
use crate::machine::Registers;
use crate::oracle::{Broken, Oracle};
use crate::world::World;

/// Sessions that are in use at a time.
const SESSIONS: usize = 3;

/// Commands of one session that are under way at a time.
const OPEN_MAX: usize = 8;

/// Marks the numbers in commands of sessions; those of other requests stay below.
const IN_SESSION: u64 = 1 << 40;

/// A client with a session.
#[derive(Debug, Default)]
struct Client {
    /// The session, once it is known; the nonce that it is registered with.
    session: Option<u64>,
    nonce: u64,
    /// The next command's number, and the lowest whose answer has not arrived.
    next: u64,
    open: BTreeSet<u64>,
}

/// All clients with sessions.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    clients: Vec<Client>,
    nonces: u64,
    /// Whose request this is, and for which command; 0 is a registration.
    requests: BTreeMap<RequestId, (usize, u64, u64)>,
}

impl Sessions {
    /// Draws a command: which client's, its number, and its bytes.
    fn draw(&mut self, client: usize, again: Option<usize>) -> (u64, u64, Bytes) {
        while self.clients.len() < SESSIONS {
            self.nonces += 1;
            let (next, nonce) = (1, self.nonces);
            self.clients.push(Client { nonce, next, ..Client::default() });
        }
        let client = &mut self.clients[client];
        let nonce = client.nonce;
        let Some(session) = client.session else {
            let mut bytes = [0; 16];
            bytes[..8].copy_from_slice(&nonce.to_le_bytes());
            let command = SystemCommand::RegisterSession { nonce: bytes, name: String::new() };
            return (nonce, 0, Envelope::system(&command).encode());
        };
        let again = again.filter(|_| !client.open.is_empty());
        let sequence = match again {
            Some(draw) => client.open.iter().nth(draw % client.open.len()).copied(),
            None if client.open.len() < OPEN_MAX => None,
            None => client.open.first().copied(),
        };
        let sequence = sequence.unwrap_or_else(|| {
            client.open.insert(client.next);
            client.next += 1;
            client.next - 1
        });
        let low_water = client.open.first().copied().unwrap_or(client.next);
        let body = Registers::command(RequestId::new(IN_SESSION | session << 16 | sequence));
        let command = Envelope::in_session(session, sequence, low_water, body);
        (nonce, sequence, command.encode())
    }

    /// An answer has arrived.
    fn answered(&mut self, request: RequestId, answer: &Bytes) {
        let Some((client, nonce, sequence)) = self.requests.remove(&request) else {
            return;
        };
        let client = &mut self.clients[client];
        if client.nonce != nonce {
            return;
        }
        match SystemResponse::decode(answer) {
            Ok(SystemResponse::Registered { session }) => {
                client.session = client.session.or(Some(session));
            }
            Ok(SystemResponse::Answer { .. }) => _ = client.open.remove(&sequence),
            Ok(SystemResponse::SessionExpired { .. }) => {
                self.nonces += 1;
                *client = Client { nonce: self.nonces, next: 1, ..Client::default() };
            }
            Ok(
                SystemResponse::AnswerNotKept { .. }
                | SystemResponse::Forgotten { .. }
                | SystemResponse::BeyondWindow { .. }
                | SystemResponse::Closed
                | SystemResponse::Ended { .. }
                | SystemResponse::Reserved { .. }
                | SystemResponse::Refused { .. },
            )
            | Err(_) => {}
        }
    }

    /// Says whether this is a request of a session.
    pub(crate) fn has(&self, request: RequestId) -> bool {
        self.requests.contains_key(&request)
    }
}

impl World {
    /// A client sends a command of its session, new or once more.
    pub(crate) fn ask_in_session(&mut self, node: usize) -> Result<(), Broken> {
        if !self.nodes[node].is_up() || self.nodes[node].paused {
            return Ok(());
        }
        let client = self.chance.index(SESSIONS);
        let draw = self.chance.index(OPEN_MAX);
        let again = self.chance.permille(400).then_some(draw);
        let (nonce, sequence, command) = self.sessions.draw(client, again);
        if again.is_some() {
            self.coverage.meet(Met::SessionRetry);
        }
        let request = self.clients.ask(self.nodes[node].id, false);
        self.sessions.requests.insert(request, (client, nonce, sequence));
        self.step(node, Input::Propose { request, command })
    }

    /// A request of a session is answered: with what all nodes answer at that place.
    pub(crate) fn session_answered(
        &mut self,
        request: RequestId,
        index: LogIndex,
        answer: &Bytes,
    ) -> Result<(), Broken> {
        let own = self.oracle.answer_at(index) == Some(answer);
        self.clients.acknowledged(request, index, own)?;
        self.sessions.answered(request, answer);
        Ok(())
    }
}

/// What sessions were promised.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// Which command of which session stands where.
    commands: BTreeMap<LogIndex, (u64, u64)>,
    /// What each command was answered when it was applied.
    once: BTreeMap<(u64, u64), Bytes>,
    registered: BTreeSet<u64>,
    expired: BTreeSet<u64>,
}

impl Ledger {
    /// Notes what is committed; says whether it is a command of a session or of the system, which
    /// may stand in the log more than once.
    pub(crate) fn committed(&mut self, index: LogIndex, command: &Bytes) -> bool {
        let Ok(envelope) = Envelope::decode(command) else {
            return false;
        };
        if envelope.session > 0 {
            self.commands.insert(index, (envelope.session, envelope.sequence));
        }
        envelope.session > 0 || envelope.kind == EnvelopeKind::System
    }

    /// Some node is the first to apply what stands at `index`.
    pub(crate) fn answered(
        &mut self,
        index: LogIndex,
        answer: &Bytes,
    ) -> Result<Option<Met>, Broken> {
        let once = "a command of a session is applied once (§6.3)";
        let command = self.commands.get(&index).copied();
        let Some((session, sequence)) = command else {
            if let Ok(SystemResponse::Registered { session }) = SystemResponse::decode(answer) {
                self.registered.insert(session);
            }
            return Ok(None);
        };
        match SystemResponse::decode(answer) {
            Ok(SystemResponse::Answer { index: at, .. }) if at == index.get() => {
                if self.expired.contains(&session) || !self.registered.contains(&session) {
                    let why = format!("command {sequence} of {session}, which is no session");
                    return Err(Broken::new(
                        "nobody has a session who did not register (§6.3)",
                        why,
                    ));
                }
                if self.once.insert((session, sequence), answer.clone()).is_some() {
                    let why = format!("command {sequence} of session {session}, again at {index}");
                    return Err(Broken::new(once, why));
                }
                Ok(None)
            }
            Ok(SystemResponse::Answer { .. }) => {
                if self.once.get(&(session, sequence)) != Some(answer) {
                    let why = format!("command {sequence} of session {session} at {index}");
                    return Err(Broken::new("a retry gets the first answer (§6.3)", why));
                }
                Ok(Some(Met::SessionRepeated))
            }
            Ok(SystemResponse::SessionExpired { .. }) => {
                self.expired.insert(session);
                Ok(Some(Met::SessionExpired))
            }
            Ok(
                SystemResponse::AnswerNotKept { .. }
                | SystemResponse::Forgotten { .. }
                | SystemResponse::BeyondWindow { .. }
                | SystemResponse::Registered { .. }
                | SystemResponse::Closed
                | SystemResponse::Ended { .. }
                | SystemResponse::Reserved { .. }
                | SystemResponse::Refused { .. },
            )
            | Err(_) => Ok(None),
        }
    }
}

impl Oracle {
    /// Returns what the command at an index was answered.
    pub(crate) fn answer_at(&self, index: LogIndex) -> Option<&Bytes> {
        self.answers.get(&index)
    }
}
