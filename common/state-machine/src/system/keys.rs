//! Where the records stand in the system's part of the store. Numbers are big-endian, so that their
//! order is the keys' order. (`applied`, the host's own record, begins with a letter.)

use std::ops::Range;

const SESSION: u8 = 1;
const ANSWER: u8 = 2;
const NONCE: u8 = 3;
const RECENCY: u8 = 4;
const RESERVATION: u8 = 5;
const HISTORY: u8 = 6;
const TOMBSTONE: u8 = 7;

const OWNED: u8 = 11;
const OWNED_RECENCY: u8 = 12;
// 13 are the host's digests.
const ALARM: u8 = 14;
const REVOCATION: u8 = 40;

const AUDIT: u8 = 50;
const ACT: u8 = 51;
/// How much the audit holds.
pub(super) const AUDIT_TOTALS: &[u8] = &[52];
const ACTOR: u8 = 53;

/// How many sessions there are.
pub(super) const SESSION_COUNT: &[u8] = &[8];
/// The highest node id ever seen.
pub(super) const HIGHEST_ID: &[u8] = &[9];
/// Who is a member, or was since the last stable configuration.
pub(super) const MEMBERS: &[u8] = &[10];

pub(super) fn session(id: u64) -> [u8; 9] {
    one(SESSION, id)
}

pub(super) fn sessions() -> Range<[u8; 1]> {
    all(SESSION)
}

pub(super) fn answers() -> Range<[u8; 1]> {
    all(ANSWER)
}

/// Returns the session and the number of the command that an answer is for.
pub(super) fn answered(key: &[u8]) -> Option<(u64, u64)> {
    let (session, sequence) = key.get(1..)?.split_first_chunk()?;
    Some((u64::from_be_bytes(*session), last_number(sequence)?))
}

/// Where all else stands that sessions have, but for how many there are.
pub(super) fn of_sessions() -> [Range<[u8; 1]>; 4] {
    [NONCE, RECENCY, OWNED, OWNED_RECENCY].map(all)
}

pub(super) fn answer(session: u64, sequence: u64) -> [u8; 17] {
    two(ANSWER, session, sequence)
}

/// A registration is found by its owner alone.
pub(super) fn nonce(nonce: &[u8; 16], owner: &str) -> Vec<u8> {
    [&[NONCE], &nonce[..], owner.as_bytes()].concat()
}

/// How many sessions an owner has.
pub(super) fn owned(owner: &str) -> Vec<u8> {
    [&[OWNED], owner.as_bytes()].concat()
}

pub(super) fn all_owned() -> Range<[u8; 1]> {
    all(OWNED)
}

/// Says whose a number of sessions is.
pub(super) fn owner_of(key: &[u8]) -> &[u8] {
    key.get(1..).unwrap_or_default()
}

/// An owner's sessions in order of their last activity.
pub(super) fn owned_recency(owner: &str, active: u64, session: u64) -> Vec<u8> {
    [&owned_start(owner)[..], &active.to_be_bytes(), &session.to_be_bytes()].concat()
}

pub(super) fn owned_recencies(owner: &str) -> Range<Vec<u8>> {
    let from = owned_start(owner);
    let mut to = from.clone();
    to.extend_from_slice(&[u8::MAX; 17]);
    from..to
}

/// Its length before the name, so that no owner's keys stand among those of another one.
fn owned_start(owner: &str) -> Vec<u8> {
    let size = u8::try_from(owner.len()).unwrap_or(u8::MAX);
    [&[OWNED_RECENCY, size], owner.as_bytes()].concat()
}

/// Sessions in order of their last activity.
pub(super) fn recency(active: u64, session: u64) -> [u8; 17] {
    two(RECENCY, active, session)
}

pub(super) fn recencies() -> Range<[u8; 1]> {
    all(RECENCY)
}

pub(super) fn reservation(name: &str) -> Vec<u8> {
    [&[RESERVATION], name.as_bytes()].concat()
}

pub(super) fn reservations() -> Range<[u8; 1]> {
    all(RESERVATION)
}

pub(super) fn history(index: u64) -> [u8; 9] {
    one(HISTORY, index)
}

pub(super) fn histories() -> Range<[u8; 1]> {
    all(HISTORY)
}

pub(super) fn tombstone(id: u64) -> [u8; 9] {
    one(TOMBSTONE, id)
}

pub(super) fn tombstones() -> Range<[u8; 1]> {
    all(TOMBSTONE)
}

pub(super) fn alarm(member: u64) -> [u8; 9] {
    one(ALARM, member)
}

pub(super) fn alarms() -> Range<[u8; 1]> {
    all(ALARM)
}

pub(super) fn revocation(holder: &str) -> Vec<u8> {
    [&[REVOCATION], holder.as_bytes()].concat()
}

pub(super) fn revocations() -> Range<[u8; 1]> {
    all(REVOCATION)
}

/// An act in the order of the log.
pub(super) fn audit(index: u64) -> [u8; 9] {
    one(AUDIT, index)
}

pub(super) fn audits() -> Range<[u8; 1]> {
    all(AUDIT)
}

/// How many of the acts that are remembered somebody did.
pub(super) fn actor(who: &str) -> Vec<u8> {
    [&[ACTOR], who.as_bytes()].concat()
}

pub(super) fn actors() -> Range<[u8; 1]> {
    all(ACTOR)
}

/// The keys of acts that were noted behind an index.
pub(super) fn audits_after(after: u64) -> (Vec<u8>, [u8; 1]) {
    ([&one(AUDIT, after)[..], &[0]].concat(), [AUDIT + 1])
}

/// Where an act is found by its random name.
pub(super) fn act(id: &[u8; 16]) -> Vec<u8> {
    [&[ACT], &id[..]].concat()
}

/// The keys of sessions with ids above `after`.
pub(super) fn sessions_after(after: u64) -> (Vec<u8>, [u8; 1]) {
    ([&one(SESSION, after)[..], &[0]].concat(), [SESSION + 1])
}

/// Returns the number at the end of a key.
pub(super) fn last_number(key: &[u8]) -> Option<u64> {
    key.last_chunk().map(|bytes| u64::from_be_bytes(*bytes))
}

fn one(tag: u8, number: u64) -> [u8; 9] {
    let mut key = [tag; 9];
    key[1..].copy_from_slice(&number.to_be_bytes());
    key
}

fn two(tag: u8, first: u64, second: u64) -> [u8; 17] {
    let mut key = [tag; 17];
    key[1..9].copy_from_slice(&first.to_be_bytes());
    key[9..].copy_from_slice(&second.to_be_bytes());
    key
}

fn all(tag: u8) -> Range<[u8; 1]> {
    [tag]..[tag + 1]
}
