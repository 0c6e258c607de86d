//! Client sessions (§6.3): a command with a session and a sequence number is applied at most once,
//! however often the client sends it, and to whichever node.
//!
//! A session remembers the answers of all commands from the client's low-water mark on, so that
//! many can be under way at once (museum J4). Only a registration makes a session: a session that
//! expired or was evicted answers with an error for ever (J3).
//!
//! A session belongs to who registered it, by the name in the certificate that the command's
//! envelope carries through the log. For all others it is not there: they can neither write into
//! its sequence nor end it, and registering with its nonce makes another session. Nor can anybody
//! crowd it out: of too many sessions, those who have most of them lose one.

use bytes::Bytes;
use consensus::{ClusterTime, LogIndex};

use super::command::SESSION_NAME_BYTES_MAX;
use super::keys;
use super::records::{KeptSession, Session, decode, encode};
use super::response::SystemResponse;
use crate::codec::{Reader, Writer};
use crate::envelope::{Envelope, Owner};
use crate::error::HostError;
use crate::store::Transaction;

/// How long a session lives without a command, in nanoseconds of cluster time. It is measured from
/// [`Session::active`], which is up to a sixtieth of this late.
pub const SESSION_TIMEOUT: u64 = 3_600_000_000_000;

/// The last activity is noted anew after so long, in nanoseconds: most commands write nothing
/// about it.
const ACTIVITY_GRAIN: u64 = SESSION_TIMEOUT / 60;

/// The most sessions. For one more, whoever has most of them, the newcomer counted, loses the one
/// that was not active for the longest.
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
    let Some(mut kept) = load(transaction, id)? else {
        return expired();
    };
    // To a stranger it looks as if there were none, and nothing of it changes.
    if kept.session.owner != envelope.owner.name {
        return expired();
    }
    if has_expired(&kept.session, time) {
        remove(transaction, id, &kept)?;
        return expired();
    }
    let session = &mut kept.session;
    let before = (session.low_water, session.highest, session.active);
    session.low_water = session.low_water.max(envelope.low_water);
    for answered in before.0..session.low_water.min(session.highest.saturating_add(1)) {
        transaction.delete(&keys::answer(id, answered));
    }
    if time >= session.active.after(ACTIVITY_GRAIN) {
        forget_activity(transaction, id, session);
        session.active = time;
        note_activity(transaction, id, session);
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
        transaction.put(&keys::session(id), kept.encode());
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
    owner: &str,
    (nonce, name): ([u8; 16], String),
) -> Result<SystemResponse, HostError> {
    if name.len() > SESSION_NAME_BYTES_MAX {
        let size = name.len();
        let reason = format!("the name has {size} bytes, at most {SESSION_NAME_BYTES_MAX}");
        return Ok(SystemResponse::Refused { reason });
    }
    if let Some(found) = transaction.get(&keys::nonce(&nonce, owner))? {
        let id = number(&found)?;
        if let Some(kept) = load(transaction, id)? {
            if !has_expired(&kept.session, time) {
                return Ok(SystemResponse::Registered { session: id });
            }
            remove(transaction, id, &kept)?;
        }
    }
    make_room(transaction, time, owner)?;
    let id = index.get();
    let owner = owner.to_owned();
    let (low_water, highest) = (1, 0);
    let session = Session { owner, name, registered: time, active: time, low_water, highest };
    note_activity(transaction, id, &session);
    transaction.put(&keys::nonce(&nonce, &session.owner), encode(|writer| writer.u64(id)));
    count_one(transaction, &session.owner, |count| count + 1)?;
    transaction.put(&keys::session(id), KeptSession { nonce, session }.encode());
    Ok(SystemResponse::Registered { session: id })
}

/// Ends a session, and says what of it was applied: nothing of it is from here on. An operator
/// may end the session of a client that is gone; for others it is not there.
pub(super) fn close(
    transaction: &mut Transaction<'_>,
    by: &Owner,
    id: u64,
) -> Result<SystemResponse, HostError> {
    let mine = |kept: &KeptSession| by.is_operator || kept.session.owner == by.name;
    let Some(kept) = load(transaction, id)?.filter(mine) else {
        return Ok(SystemResponse::Closed);
    };
    let (low_water, highest) = (kept.session.low_water, kept.session.highest);
    let mut missing = Vec::new();
    for sequence in low_water..=highest {
        if transaction.get(&keys::answer(id, sequence))?.is_none() {
            missing.push(sequence);
        }
    }
    remove(transaction, id, &kept)?;
    Ok(SystemResponse::Ended { low_water, highest, missing })
}

/// Says whether a session is over, by cluster time alone. What has expired stays so: cluster time
/// never moves back.
pub(super) fn has_expired(session: &Session, time: ClusterTime) -> bool {
    time >= session.active.after(SESSION_TIMEOUT)
}

/// Clears expired sessions away, and then one more if there are too many for another one of
/// `newcomer`'s.
fn make_room(
    transaction: &mut Transaction<'_>,
    time: ClusterTime,
    newcomer: &str,
) -> Result<(), HostError> {
    let all = keys::recencies();
    for (key, _) in transaction.range(&all.start, &all.end, SWEEP_MAX)? {
        let Some(id) = keys::last_number(&key) else { continue };
        let Some(kept) = load(transaction, id)? else { continue };
        if has_expired(&kept.session, time) {
            remove(transaction, id, &kept)?;
        }
    }
    if count(transaction, keys::SESSION_COUNT)? < SESSIONS_MAX {
        return Ok(());
    }
    let owned = keys::owned_recencies(&crowding(transaction, newcomer)?);
    let mut oldest = transaction.range(&owned.start, &owned.end, 1)?;
    if oldest.is_empty() {
        // Nobody has two, and the newcomer has none yet: the least active one of all gives way.
        oldest = transaction.range(&all.start, &all.end, 1)?;
    }
    for (key, _) in oldest {
        let Some(id) = keys::last_number(&key) else { continue };
        let Some(kept) = load(transaction, id)? else { continue };
        remove(transaction, id, &kept)?;
    }
    Ok(())
}

/// Returns who has most sessions, counting the one that `newcomer` is about to have; of several,
/// the newcomer, then the first by name.
fn crowding(transaction: &Transaction<'_>, newcomer: &str) -> Result<String, HostError> {
    let own = count(transaction, &keys::owned(newcomer))?;
    let (mut most, mut who) = (own + 1, newcomer.to_owned());
    let all = keys::all_owned();
    let limit = usize::try_from(SESSIONS_MAX).unwrap_or(usize::MAX);
    for (key, value) in transaction.range(&all.start, &all.end, limit)? {
        let count = number(&value)?;
        if count > most {
            (most, who) = (count, String::from_utf8_lossy(keys::owner_of(&key)).into_owned());
        }
    }
    Ok(who)
}

fn remove(transaction: &mut Transaction<'_>, id: u64, kept: &KeptSession) -> Result<(), HostError> {
    let KeptSession { nonce, session } = kept;
    for sequence in session.low_water..=session.highest {
        transaction.delete(&keys::answer(id, sequence));
    }
    transaction.delete(&keys::session(id));
    transaction.delete(&keys::nonce(nonce, &session.owner));
    forget_activity(transaction, id, session);
    count_one(transaction, &session.owner, |count| count.saturating_sub(1))
}

fn note_activity(transaction: &mut Transaction<'_>, id: u64, session: &Session) {
    let Session { owner, active, .. } = session;
    transaction.put(&keys::recency(active.get(), id), Bytes::new());
    transaction.put(&keys::owned_recency(owner, active.get(), id), Bytes::new());
}

fn forget_activity(transaction: &mut Transaction<'_>, id: u64, session: &Session) {
    let Session { owner, active, .. } = session;
    transaction.delete(&keys::recency(active.get(), id));
    transaction.delete(&keys::owned_recency(owner, active.get(), id));
}

/// Counts a session, in all and of its owner.
fn count_one(
    transaction: &mut Transaction<'_>,
    owner: &str,
    change: fn(u64) -> u64,
) -> Result<(), HostError> {
    let all = change(count(transaction, keys::SESSION_COUNT)?);
    transaction.put(keys::SESSION_COUNT, encode(|writer: Writer| writer.u64(all)));
    let key = keys::owned(owner);
    match change(count(transaction, &key)?) {
        0 => transaction.delete(&key),
        own => transaction.put(&key, encode(|writer: Writer| writer.u64(own))),
    }
    Ok(())
}

fn load(transaction: &Transaction<'_>, id: u64) -> Result<Option<KeptSession>, HostError> {
    let record = transaction.get(&keys::session(id))?;
    let decode = |bytes| KeptSession::decode(&bytes).map_err(HostError::damaged("a session"));
    record.map(decode).transpose()
}

fn count(transaction: &Transaction<'_>, key: &[u8]) -> Result<u64, HostError> {
    transaction.get(key)?.map_or(Ok(0), |bytes| number(&bytes))
}

fn number(bytes: &Bytes) -> Result<u64, HostError> {
    decode(bytes, Reader::u64).map_err(HostError::damaged("a number of the sessions"))
}
