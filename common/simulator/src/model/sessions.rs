//! Sessions (§6.3), as raft(7) and the documentation of the state describe them. There are never as
//! many here that one has to give way to another.

use std::collections::BTreeMap;

use consensus::{ClusterTime, LogIndex};
use state_machine::{CachedAnswer, Session, SystemResponse};

use super::past::Past;
use super::says::{Expected, Reply, Says};
use super::told::Told;
use crate::coverage::Met;

/// A session is over so long after its last command, in nanoseconds ..
const TIMEOUT_NS: u64 = 3_600_000_000_000;

/// .. of which only those are noted that come so long after the one before.
const GRAIN_NS: u64 = 60_000_000_000;

/// Numbers that may be under way at a time.
const WINDOW: u64 = 1_024;

const ENDED: &str = "a session that is closed tells what of it was applied (§6.3)";
const STRANGER: &str = "a session belongs to who registered it (§6.3)";
const UNKNOWN: &str = "nobody has a session who did not register (§6.3)";
const OVER: &str = "a session that has expired stays so (§6.3)";
const BEYOND: &str = "a session has a window of commands (§6.3)";
const FORGOTTEN: &str = "what the client has an answer to is not applied (§6.3)";
const REGISTERED: &str = "who registers again finds the session (§6.3)";

/// All sessions, and what their commands were answered.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    open: Past<u64, Session>,
    /// By whom and with which random name each was registered.
    registrations: BTreeMap<(String, [u8; 16]), u64>,
    /// Why a session is not open any more.
    gone: BTreeMap<u64, &'static str>,
    /// Where each command was applied, and with what answer.
    applied: BTreeMap<(u64, u64), (LogIndex, Reply)>,
}

impl Sessions {
    /// Says what a command of a session must be answered at this place; `None` if it is to be
    /// applied, as nothing has been said against it.
    pub(super) fn admit(
        &mut self,
        index: LogIndex,
        time: ClusterTime,
        told: &Told,
    ) -> Option<Expected> {
        let id = told.session;
        let expired = |rule| {
            let says = Says::System(SystemResponse::SessionExpired { session: id });
            Some(Expected { says, rule, met: (rule != STRANGER).then_some(Met::SessionExpired) })
        };
        let Some(mut session) = self.open.get(&id).cloned() else {
            return expired(self.gone.get(&id).copied().unwrap_or(UNKNOWN));
        };
        if session.owner != told.owner {
            return expired(STRANGER);
        }
        if is_over(&session, time) {
            self.end(index, id, OVER);
            return expired(OVER);
        }
        session.low_water = session.low_water.max(told.low_water);
        if time.get() - session.active.get() >= GRAIN_NS {
            session.active = time;
        }
        let (low_water, sequence) = (session.low_water, told.sequence);
        let expected = if sequence < low_water {
            let says = Says::System(SystemResponse::Forgotten { low_water });
            Some(Expected { says, rule: FORGOTTEN, met: Some(Met::Forgotten) })
        } else if sequence >= low_water + WINDOW {
            let says = Says::System(SystemResponse::BeyondWindow { low_water });
            Some(Expected { says, rule: BEYOND, met: Some(Met::BeyondWindow) })
        } else if let Some((at, reply)) = self.applied.get(&(id, sequence)) {
            Some(Expected::repeated(*at, reply))
        } else {
            session.highest = session.highest.max(sequence);
            None
        };
        self.open.set(index, id, Some(session));
        expected
    }

    /// A command that was admitted is applied, and answered with this.
    pub(super) fn keep(&mut self, index: LogIndex, told: &Told, reply: Reply) {
        self.applied.insert((told.session, told.sequence), (index, reply));
    }

    /// Somebody registers a session.
    pub(super) fn register(
        &mut self,
        (index, time): (LogIndex, ClusterTime),
        owner: &str,
        (nonce, name): ([u8; 16], String),
    ) -> Expected {
        let registration = (owner.to_owned(), nonce);
        let known = self.registrations.get(&registration).copied();
        let lives = |id: &u64| self.open.get(id).is_some_and(|session| !is_over(session, time));
        let session = known.filter(lives).unwrap_or_else(|| {
            let id = index.get();
            let (owner, registered, active) = (owner.to_owned(), time, time);
            let (low_water, highest) = (1, 0);
            let session = Session { owner, name, registered, active, low_water, highest };
            self.open.set(index, id, Some(session));
            self.registrations.insert(registration, id);
            id
        });
        if let Some(before) = known.filter(|before| *before != session) {
            self.end(index, before, OVER);
        }
        let says = Says::System(SystemResponse::Registered { session });
        Expected { says, rule: REGISTERED, met: None }
    }

    /// Somebody closes a session.
    pub(super) fn close(
        &mut self,
        (index, time): (LogIndex, ClusterTime),
        told: &Told,
        id: u64,
    ) -> Expected {
        let own = |session: &&Session| told.is_operator || session.owner == told.owner;
        let open = self.open.get(&id);
        let Some(session) = open.filter(own) else {
            let rule = if open.is_some() { STRANGER } else { ENDED };
            return Expected { says: Says::System(SystemResponse::Closed), rule, met: None };
        };
        let (low_water, highest) = (session.low_water, session.highest);
        let open = low_water..=highest;
        let missing = open.filter(|number| !self.applied.contains_key(&(id, *number))).collect();
        let ended = SystemResponse::Ended { low_water, highest, missing };
        // One that is over may have been cleared away by now.
        let says = match is_over(session, time) {
            true => Says::ClosedOr(ended),
            false => Says::System(ended),
        };
        self.end(index, id, ENDED);
        Expected { says, rule: ENDED, met: Some(Met::SessionClosed) }
    }

    fn end(&mut self, index: LogIndex, id: u64, why: &'static str) {
        self.open.set(index, id, None);
        self.gone.insert(id, why);
    }

    /// Returns the sessions behind an entry that somebody may see, in order of their ids.
    pub(super) fn seen(
        &self,
        index: LogIndex,
        time: ClusterTime,
        sees: impl Fn(&Session) -> bool,
    ) -> impl Iterator<Item = (u64, &Session)> {
        let all = self.open.at(index).map(|(id, session)| (*id, session));
        all.filter(move |(_, session)| !is_over(session, time) && sees(session))
    }

    /// Returns the answers of a session that are kept behind an entry.
    pub(super) fn kept(&self, index: LogIndex, id: u64, session: &Session) -> Vec<CachedAnswer> {
        let open = (id, session.low_water)..=(id, session.highest.max(session.low_water));
        let applied = self.applied.range(open).filter(|(_, (at, _))| *at <= index);
        let kept = applied.map(|((_, sequence), (at, reply))| CachedAnswer {
            sequence: *sequence,
            index: at.get(),
            bytes: reply.kept_bytes(),
        });
        kept.collect()
    }
}

fn is_over(session: &Session, time: ClusterTime) -> bool {
    time.get().saturating_sub(session.active.get()) >= TIMEOUT_NS
}
