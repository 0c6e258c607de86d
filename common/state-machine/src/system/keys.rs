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

/// How many sessions there are.
pub(super) const SESSION_COUNT: &[u8] = &[8];
/// The highest node id ever seen.
pub(super) const HIGHEST_ID: &[u8] = &[9];
/// Who is a member, or was since the last stable configuration.
pub(super) const MEMBERS: &[u8] = &[10];

pub(super) fn session(id: u64) -> [u8; 9] {
    one(SESSION, id)
}

pub(super) fn answer(session: u64, sequence: u64) -> [u8; 17] {
    two(ANSWER, session, sequence)
}

pub(super) fn nonce(nonce: &[u8; 16]) -> [u8; 17] {
    let mut key = [NONCE; 17];
    key[1..].copy_from_slice(nonce);
    key
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
