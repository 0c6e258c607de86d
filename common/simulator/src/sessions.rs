//! Clients with sessions (§6.3): many commands of one session at once, each sent again to any node,
//! before or after any outcome.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use consensus::{NodeId, RequestId};
use state_machine::{Act, Envelope, Outcome, Owner, SESSION_WINDOW, SystemCommand, SystemResponse};

use crate::machine::Numbered;

/// Sessions that are in use at a time.
pub(crate) const SESSIONS: usize = 3;

/// Commands of one session that are under way at a time.
const OPEN_MAX: usize = 8;

/// Marks the numbers in commands of sessions; those of other requests stay below.
const IN_SESSION: u64 = 1 << 40;

/// What a command may be that is sent again; the first few stand for what it says.
pub(crate) const AGAIN: usize = 10;

/// This one stands for one of somebody else, who has no business in the session.
const STRANGER: usize = AGAIN - 1;

/// These stand for the end of the session, whose commands are still under way; for a command far
/// ahead of the oldest that waits; for a node id that somebody reserves, a certificate that is
/// revoked, or an act that is noted; for a copy of a command whose answer the client has; for the
/// very bytes that were sent before, whatever has been told since; and for the registration.
const LEAVES: usize = AGAIN - 2;
const AHEAD: usize = AGAIN - 3;
const RESERVES: usize = AGAIN - 4;
const LATE: usize = AGAIN - 5;
const COPY: usize = AGAIN - 6;
const REGISTERS: usize = AGAIN - 7;

/// A copy is on its way while the client sends so many others.
const COPIES: usize = 4;

/// Names that ids are reserved for; the last may be those of members.
const NAMES: [&str; 5] = ["node 0", "node 1", "node 2", "n2", "n5"];

/// A client with a session.
#[derive(Debug, Default)]
struct Client {
    /// The session, once it is known; the nonce that it is registered with.
    session: Option<u64>,
    nonce: u64,
    /// The next command's number, and the lowest whose answer has not arrived.
    next: u64,
    open: BTreeSet<u64>,
    /// The last commands as they were sent, with their numbers.
    copies: VecDeque<(u64, Bytes)>,
    /// How often it wanted something that is no command of its session.
    administers: u64,
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
    pub(crate) fn draw(&mut self, client: usize, again: Option<usize>) -> (u64, u64, Bytes) {
        while self.clients.len() < SESSIONS {
            self.nonces += 1;
            let (next, nonce) = (1, self.nonces);
            self.clients.push(Client { nonce, next, ..Client::default() });
        }
        let owner = Owner { name: format!("client {client}"), is_operator: false };
        let client = &mut self.clients[client];
        let nonce = client.nonce;
        if let (Some(session), Some(STRANGER)) = (client.session, again) {
            return (0, 0, strange(session, client.next));
        }
        let Some(session) = client.session.filter(|_| again != Some(REGISTERS)) else {
            let mut bytes = [0; 16];
            bytes[..8].copy_from_slice(&nonce.to_le_bytes());
            let command = SystemCommand::RegisterSession { nonce: bytes, name: String::new() };
            return (nonce, 0, Envelope { owner, ..Envelope::system(&command) }.encode());
        };
        let low_water = client.open.first().copied().unwrap_or(client.next);
        if let Some(LEAVES) = again {
            let command = SystemCommand::CloseSession { session };
            return (nonce, 0, Envelope { owner, ..Envelope::system(&command) }.encode());
        }
        if let Some((sequence, bytes)) = client.copies.front().filter(|_| again == Some(COPY)) {
            return (nonce, *sequence, bytes.clone());
        }
        if let Some(RESERVES) = again {
            client.administers += 1;
            return (nonce, 0, administers(session + client.administers, owner));
        }
        if let Some(AHEAD | LATE) = again
            && low_water > 1
        {
            let late = again == Some(LATE);
            let sequence = if late { low_water - 1 } else { low_water + SESSION_WINDOW };
            let body = Numbered::command(IN_SESSION | session << 16 | sequence);
            let command = Envelope::in_session(session, sequence, low_water, body);
            return (nonce, sequence, Envelope { owner, ..command }.encode());
        }
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
        let body = Numbered::command(IN_SESSION | session << 16 | sequence);
        let command =
            Envelope { owner, ..Envelope::in_session(session, sequence, low_water, body) };
        let bytes = command.encode();
        client.copies.push_back((sequence, bytes.clone()));
        if client.copies.len() > COPIES {
            client.copies.pop_front();
        }
        (nonce, sequence, bytes)
    }

    /// An answer has arrived.
    pub(crate) fn answered(&mut self, request: RequestId, answer: &Bytes) {
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
            Ok(SystemResponse::Answer { .. } | SystemResponse::AnswerNotKept { .. }) => {
                _ = client.open.remove(&sequence);
            }
            Ok(
                SystemResponse::SessionExpired { .. }
                | SystemResponse::Closed
                | SystemResponse::Ended { .. },
            ) => {
                self.nonces += 1;
                *client = Client { nonce: self.nonces, next: 1, ..Client::default() };
            }
            Ok(
                SystemResponse::Forgotten { .. }
                | SystemResponse::BeyondWindow { .. }
                | SystemResponse::Reserved { .. }
                | SystemResponse::Noted
                | SystemResponse::Refused { .. },
            )
            | Err(_) => {}
        }
    }

    /// A request was sent, for this command of a client's session.
    pub(crate) fn sent(&mut self, request: RequestId, client: usize, nonce: u64, sequence: u64) {
        self.requests.insert(request, (client, nonce, sequence));
    }

    /// Returns one of the sessions that clients know of.
    pub(crate) fn known(&self, draw: u64) -> Option<u64> {
        let place = usize::try_from(draw).ok()? % self.clients.len().max(1);
        self.clients.get(place)?.session
    }

    /// Says whether this is a request of a session.
    pub(crate) fn has(&self, request: RequestId) -> bool {
        self.requests.contains_key(&request)
    }
}

/// A command of somebody else: it takes the next number of the session, or closes it, which an
/// operator may; or it raises an alarm, which nobody may who has a name.
fn strange(session: u64, next: u64) -> Bytes {
    let (name, is_operator) = ("client nobody".to_owned(), next % 8 == 6);
    let envelope = match next % 8 {
        1 => {
            let member = NodeId::new(1 + next % 5).expect("it is not 0");
            Envelope::system(&SystemCommand::SetAlarm { member, raised: true })
        }
        0 | 2 | 4 | 6 => Envelope::system(&SystemCommand::CloseSession { session }),
        _ => {
            let body = Numbered::command(IN_SESSION | session << 16 | next);
            Envelope::in_session(session, next, next + 1, body)
        }
    };
    Envelope { owner: Owner { name, is_operator }, ..envelope }.encode()
}

/// What somebody tells the system: he reserves an id, revokes a certificate or lets it count again,
/// each now and then without being allowed to; or a leader notes an act.
fn administers(draw: u64, owner: Owner) -> Bytes {
    let (draw, kind) = (draw / 8, draw % 8);
    let owner = Owner { is_operator: !draw.is_multiple_of(5), ..owner };
    let holder = format!("client {}", draw % 3);
    let command = match kind {
        0 | 1 => {
            let key =
                draw.is_multiple_of(3).then_some([u8::try_from(draw % 4).expect("small"); 32]);
            let (until_s, why) = (draw % 7, format!("reason {kind}"));
            SystemCommand::Revoke { holder, until_s, key, why }
        }
        2 => SystemCommand::ForgetRevocation { holder },
        3 | 4 => {
            let owner = if draw.is_multiple_of(7) { owner } else { Owner::default() };
            let command = SystemCommand::Note(act(draw));
            return Envelope { owner, ..Envelope::system(&command) }.encode();
        }
        _ => {
            let name = NAMES[usize::try_from(draw).unwrap_or_default() % NAMES.len()];
            // Some know of ids that the state does not know of, as behind a restore.
            let above = if draw.is_multiple_of(5) { draw % 90 } else { 0 };
            SystemCommand::ReserveId { name: name.to_owned(), above }
        }
    };
    Envelope { owner, ..Envelope::system(&command) }.encode()
}

/// An act, or how it ended: those of one name may be of several people.
fn act(draw: u64) -> Act {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&(draw / 3).to_le_bytes());
    let outcome = match draw % 3 {
        0 => Outcome::Asked,
        1 => Outcome::Done,
        _ => Outcome::Refused { reason: "too late".to_owned() },
    };
    let (who, from) = (format!("operator {}", draw % 5 / 4), "[::1]:1".to_owned());
    Act { id, who, from, node: draw % 4, clock_s: draw, what: format!("act {draw}"), outcome }
}
