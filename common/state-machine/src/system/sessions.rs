//! Client sessions (§6.3): a command with a session and a sequence number is applied at most once,
//! however often the client sends it, and to whichever node.
//!
//! A session remembers the answers of all commands from the client's low-water mark on, so that
//! many can be under way at once (museum J4). Only a registration makes a session: a session that
//! expired or was evicted answers with an error for ever (J3).

use bytes::Bytes;
use consensus::{ClusterTime, LogIndex};

use super::command::SESSION_NAME_BYTES_MAX;
use super::keys;
use super::records::{Session, decode, encode};
use super::response::SystemResponse;
use crate::codec::{Reader, Writer};
use crate::envelope::Envelope;
use crate::error::HostError;
use crate::store::Transaction;

/// How long a session lives without a command, in nanoseconds of cluster time. It is measured from
/// [`Session::active`], which is up to a sixtieth of this late.
pub const SESSION_TIMEOUT: u64 = 3_600_000_000_000;

/// The last activity is noted anew after so long, in nanoseconds: most commands write nothing
/// about it.
const ACTIVITY_GRAIN: u64 = SESSION_TIMEOUT / 60;

/// The most sessions; one more evicts the one that was not active for the longest.
pub const SESSIONS_MAX: u64 = 10_000;

/// How far above the low-water mark a command's number may be.
pub const SESSION_WINDOW: u64 = 1_024;

/// The longest answer that is kept for retries, in bytes: a retry of a command with a longer one
/// is told only that it was applied. With the window it bounds what a session takes.
pub const ANSWER_KEPT_BYTES_MAX: usize = 64 * 1024;

/// Expired sessions that a registration clears away, at most: more than one, so that they become
/// fewer, and few, so that no entry takes long.
const SWEEP_MAX: usize = 4;

/// What to do with a command of a session.
pub(crate) enum Admission {
    /// It is new: it is to be applied, and its answer kept.
    Apply,
    /// It is not to be applied; this is the answer.
    Answer(Bytes),
}

/// Looks a command up in its session, and moves the low-water mark. What is admitted counts as
/// applied.
pub(crate) fn admit(
    transaction: &mut Transaction<'_>,
    time: ClusterTime,
    envelope: &Envelope,
) -> Result<Admission, HostError> {
    let (id, sequence) = (envelope.session, envelope.sequence);
    let expired = || Ok(Admission::Answer(SystemResponse::SessionExpired { session: id }.encode()));
    let Some(mut session) = load(transaction, id)? else {
        return expired();
    };
    if has_expired(&session, time) {
        remove(transaction, id, &session)?;
        return expired();
    }
    let before = (session.low_water, session.highest, session.active);
    session.low_water = session.low_water.max(envelope.low_water);
    for answered in before.0..session.low_water.min(session.highest.saturating_add(1)) {
        transaction.delete(&keys::answer(id, answered));
    }
    if time >= session.active.after(ACTIVITY_GRAIN) {
        transaction.delete(&keys::recency(session.active.get(), id));
        transaction.put(&keys::recency(time.get(), id), Bytes::new());
        session.active = time;
    }
    let low_water = session.low_water;
    let admission = if sequence < low_water {
        Admission::Answer(SystemResponse::Forgotten { low_water }.encode())
    } else if sequence - low_water >= SESSION_WINDOW {
        Admission::Answer(SystemResponse::BeyondWindow { low_water }.encode())
    } else if sequence > session.highest {
        // Certainly new: most commands come in order, and need no look for an answer.
        session.highest = sequence;
        Admission::Apply
    } else {
        let answer = transaction.get(&keys::answer(id, sequence))?;
        answer.map_or(Admission::Apply, Admission::Answer)
    };
    if (session.low_water, session.highest, session.active) != before {
        transaction.put(&keys::session(id), encode(|writer| session.write(writer)));
    }
    Ok(admission)
}

/// Keeps the answer to an admitted command, and returns what the client is told.
pub(crate) fn keep(
    transaction: &mut Transaction<'_>,
    index: LogIndex,
    envelope: &Envelope,
    response: Bytes,
) -> Bytes {
    let index = index.get();
    let long = response.len() > ANSWER_KEPT_BYTES_MAX;
    let answer = SystemResponse::Answer { index, response }.encode();
    let kept = match long {
        true => SystemResponse::AnswerNotKept { index }.encode(),
        false => answer.clone(),
    };
    transaction.put(&keys::answer(envelope.session, envelope.sequence), kept);
    answer
}

/// Opens a session, or finds the one that this registration has opened before.
pub(super) fn register(
    transaction: &mut Transaction<'_>,
    index: LogIndex,
    time: ClusterTime,
    nonce: [u8; 16],
    name: String,
) -> Result<SystemResponse, HostError> {
    if name.len() > SESSION_NAME_BYTES_MAX {
        let size = name.len();
        let reason = format!("the name has {size} bytes, at most {SESSION_NAME_BYTES_MAX}");
        return Ok(SystemResponse::Refused { reason });
    }
    if let Some(found) = transaction.get(&keys::nonce(&nonce))? {
        let id = number(&found)?;
        if let Some(session) = load(transaction, id)? {
            if !has_expired(&session, time) {
                return Ok(SystemResponse::Registered { session: id });
            }
            remove(transaction, id, &session)?;
        }
    }
    make_room(transaction, time)?;
    let id = index.get();
    let (low_water, highest) = (1, 0);
    let session = Session { nonce, name, registered: time, active: time, low_water, highest };
    transaction.put(&keys::session(id), encode(|writer| session.write(writer)));
    transaction.put(&keys::nonce(&nonce), encode(|writer| writer.u64(id)));
    transaction.put(&keys::recency(time.get(), id), Bytes::new());
    let count = count(transaction)? + 1;
    transaction.put(keys::SESSION_COUNT, encode(|writer| writer.u64(count)));
    Ok(SystemResponse::Registered { session: id })
}

/// Ends a session, and says what of it was applied: nothing of it is from here on.
pub(super) fn close(
    transaction: &mut Transaction<'_>,
    id: u64,
) -> Result<SystemResponse, HostError> {
    let Some(session) = load(transaction, id)? else {
        return Ok(SystemResponse::Closed);
    };
    let (low_water, highest) = (session.low_water, session.highest);
    let mut missing = Vec::new();
    for sequence in low_water..=highest {
        if transaction.get(&keys::answer(id, sequence))?.is_none() {
            missing.push(sequence);
        }
    }
    remove(transaction, id, &session)?;
    Ok(SystemResponse::Ended { low_water, highest, missing })
}

/// Says whether a session is over, by cluster time alone. What has expired stays so: cluster time
/// never moves back.
pub(super) fn has_expired(session: &Session, time: ClusterTime) -> bool {
    time >= session.active.after(SESSION_TIMEOUT)
}

/// Clears expired sessions away, and the least recently active one if there are too many.
fn make_room(transaction: &mut Transaction<'_>, time: ClusterTime) -> Result<(), HostError> {
    let crowded = count(transaction)? >= SESSIONS_MAX;
    let all = keys::recencies();
    let oldest = transaction.range(&all.start, &all.end, SWEEP_MAX)?;
    for (place, (key, _)) in oldest.into_iter().enumerate() {
        let Some(id) = keys::last_number(&key) else { continue };
        let Some(session) = load(transaction, id)? else { continue };
        if has_expired(&session, time) || (crowded && place == 0) {
            remove(transaction, id, &session)?;
        }
    }
    Ok(())
}

fn remove(transaction: &mut Transaction<'_>, id: u64, session: &Session) -> Result<(), HostError> {
    for sequence in session.low_water..=session.highest {
        transaction.delete(&keys::answer(id, sequence));
    }
    transaction.delete(&keys::session(id));
    transaction.delete(&keys::nonce(&session.nonce));
    transaction.delete(&keys::recency(session.active.get(), id));
    let count = count(transaction)?.saturating_sub(1);
    transaction.put(keys::SESSION_COUNT, encode(|writer: Writer| writer.u64(count)));
    Ok(())
}

fn load(transaction: &Transaction<'_>, id: u64) -> Result<Option<Session>, HostError> {
    let record = transaction.get(&keys::session(id))?;
    record
        .map(|bytes| decode(&bytes, Session::read).map_err(HostError::damaged("a session")))
        .transpose()
}

fn count(transaction: &Transaction<'_>) -> Result<u64, HostError> {
    transaction.get(keys::SESSION_COUNT)?.map_or(Ok(0), |bytes| number(&bytes))
}

fn number(bytes: &Bytes) -> Result<u64, HostError> {
    decode(bytes, Reader::u64).map_err(HostError::damaged("a number of the sessions"))
}
