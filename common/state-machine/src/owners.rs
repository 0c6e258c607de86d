//! Whose the sessions are, for those who look at commands before they are in the log.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::system::SESSIONS_MAX;

/// Knows the owners of sessions: those that there are, and some that there were. A session that it
/// does not know may exist all the same, so only applying a command decides.
#[derive(Clone, Debug, Default)]
pub struct Owners(Arc<Mutex<BTreeMap<u64, Arc<str>>>>);

impl Owners {
    /// Says whether a session is known to be another's than `name`'s.
    pub fn is_foreign(&self, session: u64, name: &str) -> bool {
        self.known().get(&session).is_some_and(|owner| **owner != *name)
    }

    /// Says whether a session is known to be `name`'s.
    pub fn is_own(&self, session: u64, name: &str) -> bool {
        self.known().get(&session).is_some_and(|owner| **owner == *name)
    }

    /// Notes whose a session is: that never changes. At the limit the oldest is forgotten.
    pub(crate) fn note(&self, session: u64, owner: &str) {
        let mut known = self.known();
        known.insert(session, owner.into());
        while known.len() as u64 > SESSIONS_MAX {
            known.pop_first();
        }
    }

    /// Forgets all of them.
    pub(crate) fn clear(&self) {
        self.known().clear();
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<str>>> {
        self.0.lock().expect("nobody panics with it in hand")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_sessions_are_known_as_there_may_be_and_the_oldest_is_forgotten() {
        let owners = Owners::default();
        let is_known = |session| owners.is_foreign(session, "a stranger");
        for session in 1..=SESSIONS_MAX {
            owners.note(session, "client a");
        }
        assert!(is_known(1) && is_known(SESSIONS_MAX));
        owners.note(SESSIONS_MAX + 1, "client a");
        assert!(!is_known(1), "one too many");
        assert!(is_known(2) && is_known(SESSIONS_MAX + 1));
    }
}
