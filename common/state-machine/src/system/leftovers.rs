//! Looks for what is kept of sessions that are over, or of answers that nobody asks for any more.
//!
//! It is the same on all nodes, so that no comparison of digests shows it; it only makes the state
//! grow. For tests and the simulator.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::codec::Reader;
use crate::error::HostError;
use crate::store::View;
use crate::system::keys;
use crate::system::records::{KeptSession, decode};

/// Returns the keys of the system's part that stand for no session, and those of sessions that lack
/// one of theirs; in words, none if all is as it should be.
pub(crate) fn leftovers(view: &dyn View) -> Result<Vec<String>, HostError> {
    let sessions = sessions(view)?;
    let mut wanted = BTreeSet::new();
    let mut owned = BTreeMap::<&str, u64>::new();
    for (id, KeptSession { nonce, session }) in &sessions {
        let (owner, active) = (session.owner.as_str(), session.active.get());
        wanted.insert(keys::nonce(nonce, owner));
        wanted.insert(keys::recency(active, *id).to_vec());
        wanted.insert(keys::owned_recency(owner, active, *id));
        wanted.insert(keys::owned(owner));
        *owned.entry(owner).or_default() += 1;
    }
    let mut found = BTreeSet::new();
    for range in keys::of_sessions() {
        found.extend(all(view, &range)?.into_iter().map(|(key, _)| key.to_vec()));
    }
    let mut wrong: Vec<String> =
        found.difference(&wanted).map(|key| format!("{key:?} is of no session")).collect();
    wrong.extend(wanted.difference(&found).map(|key| format!("{key:?} is missing")));
    for (owner, count) in owned {
        let kept = view.get(&keys::owned(owner))?.map(|bytes| decode(&bytes, Reader::u64));
        let kept = kept.transpose().map_err(HostError::damaged("a number of sessions"))?;
        if kept != Some(count) {
            wrong.push(format!("{owner} has {count} sessions, and {kept:?} are counted"));
        }
    }
    for (key, _) in all(view, &keys::answers())? {
        let Some((id, sequence)) = keys::answered(&key) else { continue };
        let session = sessions.get(&id).map(|kept| &kept.session);
        if session.is_none_or(|session| !(session.low_water..=session.highest).contains(&sequence))
        {
            wrong.push(format!("an answer of session {id} to {sequence} is kept: {session:?}"));
        }
    }
    Ok(wrong)
}

fn sessions(view: &dyn View) -> Result<BTreeMap<u64, KeptSession>, HostError> {
    let read = |(key, value): (Bytes, Bytes)| {
        let kept = KeptSession::decode(&value).map_err(HostError::damaged("a session"))?;
        Ok((keys::last_number(&key).unwrap_or_default(), kept))
    };
    all(view, &keys::sessions())?.into_iter().map(read).collect()
}

fn all(
    view: &dyn View,
    range: &std::ops::Range<[u8; 1]>,
) -> Result<Vec<(Bytes, Bytes)>, HostError> {
    Ok(view.range(&range.start, Some(&range.end), usize::MAX)?)
}
