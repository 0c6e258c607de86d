//! What the state should be: a second state machine, small and plain, written from what is
//! documented and sharing no code with the product's. It is fed with each entry that is committed,
//! in the order of the log, and says what every command must be answered, what the state holds
//! behind each entry, and what questions must be answered there. A bug that all nodes share makes
//! no difference between them; this one does not share it.
//!
//! What a client meant follows from the number of its request, so that also who encodes a command
//! and who decodes it are tested.

mod keys;
mod members;
mod operators;
mod past;
mod says;
mod sessions;
mod told;

use std::collections::BTreeMap;

use bytes::Bytes;
use consensus::{ClusterTime, Configuration, Entry, LogIndex, Payload};
use state_machine::{
    AuditTotals, ConfigurationRecord, KvQuery, KvResponse, SessionAnswers, SystemAnswer,
    SystemCommand, SystemQuery, SystemResponse, Viewer,
};

use crate::broken::Broken;
use crate::coverage::Met;
use crate::machine::{self, Numbered};
use crate::store::State;
use keys::Keys;
use members::Members;
use operators::Operators;
use says::{Expected, Reply, Says};
use sessions::Sessions;
use told::Told;

const MACHINE: &str = "a command is answered as the machine's manual says";
const CONTENTS: &str = "the state holds what the machine's manual says";

/// The first byte of the keys of the machine's part of a state.
const PART: u8 = 1;

/// Configurations that are remembered.
const HISTORY: usize = 100;

/// What the state should be.
#[derive(Debug, Default)]
pub(crate) struct Model {
    /// Cluster time behind the last entry, and behind each, from index 1 on.
    time: ClusterTime,
    times: Vec<ClusterTime>,
    expected: BTreeMap<LogIndex, Expected>,
    keys: Keys,
    sessions: Sessions,
    members: Members,
    operators: Operators,
    history: Vec<ConfigurationRecord>,
}

impl Model {
    /// The next entry is committed. Says whether it is a command of a session or of the system,
    /// which may stand in the log more than once.
    pub(crate) fn committed(&mut self, entry: &Entry) -> bool {
        let index = entry.id.index;
        self.time = self.time.max(entry.stamp);
        self.times.push(self.time);
        match &entry.payload {
            Payload::Noop => false,
            Payload::Configuration(configuration) => {
                self.members.configure((index, self.time), configuration);
                self.history.push(record(entry, self.time, configuration));
                false
            }
            Payload::Command(command) => {
                let Some(told) = Told::read(command) else {
                    return false;
                };
                let expected = if told.to_system {
                    self.system(index, &told)
                } else if told.session == 0 {
                    let says = Says::Machine(self.run(index, &told.body));
                    Expected { says, rule: MACHINE, met: None }
                } else {
                    self.in_session(index, &told)
                };
                self.expected.insert(index, expected);
                told.to_system || told.session > 0
            }
        }
    }

    fn run(&mut self, index: LogIndex, body: &Bytes) -> Reply {
        let number = Numbered::request(body).unwrap_or_default();
        let response = self.keys.apply(index, machine::meant(number));
        Reply { response, is_long: machine::is_long(number) }
    }

    fn in_session(&mut self, index: LogIndex, told: &Told) -> Expected {
        if let Some(expected) = self.sessions.admit(index, self.time, told) {
            return expected;
        }
        let reply = self.run(index, &told.body);
        self.sessions.keep(index, told, reply.clone());
        Expected::applied(index, reply)
    }

    fn system(&mut self, index: LogIndex, told: &Told) -> Expected {
        let now = (index, self.time);
        match SystemCommand::decode(&told.body) {
            Ok(SystemCommand::RegisterSession { nonce, name }) => {
                self.sessions.register(now, &told.owner, (nonce, name))
            }
            Ok(SystemCommand::CloseSession { session }) => self.sessions.close(now, told, session),
            Ok(SystemCommand::ReserveId { name, above }) => {
                self.members.reserve((index, self.time), name, above)
            }
            Ok(SystemCommand::SetAlarm { member, raised }) => {
                self.members.alarm(now, &told.owner, (member, raised))
            }
            Ok(SystemCommand::Revoke { holder, until_s, key, why }) => {
                self.operators.revoke(now, told, (holder, until_s, key, why))
            }
            Ok(SystemCommand::ForgetRevocation { holder }) => {
                self.operators.forget(index, told, holder)
            }
            Ok(SystemCommand::Note(act)) => self.operators.note(now, told, act),
            Err(_) => {
                let refused = SystemResponse::Refused { reason: String::new() };
                Expected { says: Says::System(refused), rule: MACHINE, met: None }
            }
        }
    }

    /// The command at `index` is answered, by whoever applies it first.
    pub(crate) fn answered(&self, index: LogIndex, answer: &Bytes) -> Result<Option<Met>, Broken> {
        let Some(expected) = self.expected.get(&index) else {
            let why = format!("{index} is answered, and is no command that is committed");
            return Err(Broken::new(MACHINE, why));
        };
        match expected.broken_by(index, answer) {
            None => Ok(expected.met),
            Some(rule) => {
                let shown = answer.slice(..answer.len().min(64));
                let why = format!("{index} is answered {shown:?}, not {:?}", expected.says);
                Err(Broken::new(rule, why))
            }
        }
    }

    /// Returns cluster time behind an entry.
    pub(crate) fn time(&self, index: LogIndex) -> ClusterTime {
        let place = usize::try_from(index.get()).expect("a log fits into memory").checked_sub(1);
        place.and_then(|place| self.times.get(place)).copied().unwrap_or_default()
    }

    /// Returns what the machine must answer to a question behind an entry.
    pub(crate) fn answer(&self, index: LogIndex, query: &KvQuery) -> KvResponse {
        self.keys.answer(index, query)
    }

    /// Says whether this answers a question about the system's part behind an entry.
    pub(crate) fn is_system_answer(
        &self,
        at: LogIndex,
        viewer: Viewer<'_>,
        query: SystemQuery,
        found: &SystemAnswer,
    ) -> bool {
        match (self.system_answer(at, viewer, query), found) {
            (None, _) => true,
            (
                Some(SystemAnswer::Session { found: Some(wanted), time }),
                SystemAnswer::Session { found: Some(found), time: told },
            ) => {
                let kept = says::is_kept(&found.cached, &wanted.cached);
                time == *told && wanted.session == found.session && kept
            }
            (
                Some(SystemAnswer::Audit { items, more, totals, time }),
                SystemAnswer::Audit { items: found, more: follow, totals: told, time: when },
            ) => {
                // How many bytes they take is nobody's business but the state's own.
                let counts = totals == AuditTotals { bytes: totals.bytes, ..*told };
                items == *found && more == *follow && counts && time == *when
            }
            (Some(wanted), found) => wanted == *found,
        }
    }

    /// Returns what must be answered; `None` for what is not judged.
    fn system_answer(
        &self,
        index: LogIndex,
        viewer: Viewer<'_>,
        query: SystemQuery,
    ) -> Option<SystemAnswer> {
        let time = self.time(index);
        let sessions = || {
            self.sessions.seen(index, time, |session| match viewer {
                Viewer::Operator => true,
                Viewer::Own(name) => session.owner == name,
            })
        };
        Some(match query {
            SystemQuery::Sessions { after, limit } => {
                let behind = sessions().filter(|(id, _)| *id > after);
                let mut items: Vec<_> = behind.map(|(id, session)| (id, session.clone())).collect();
                let limit = usize::try_from(limit).expect("small");
                let more = items.len() > limit;
                items.truncate(limit);
                let last = items.last().map_or(after, |(id, _)| *id);
                SystemAnswer::Sessions { items, last, more, time }
            }
            SystemQuery::Session { session } => {
                let found = sessions().find(|(id, _)| *id == session).map(|(id, session)| {
                    let cached = self.sessions.kept(index, id, session);
                    SessionAnswers { session: session.clone(), cached }
                });
                SystemAnswer::Session { found, time }
            }
            SystemQuery::History => {
                let applied = self.history.partition_point(|record| record.id.index <= index);
                let first = applied.saturating_sub(HISTORY);
                SystemAnswer::History(self.history[first..applied].to_vec())
            }
            SystemQuery::Tombstones => {
                SystemAnswer::Tombstones(all(self.members.tombstones.at(index)))
            }
            SystemQuery::Reservations => {
                SystemAnswer::Reservations(all(self.members.reserved.at(index)))
            }
            SystemQuery::Alarms => {
                SystemAnswer::Alarms { items: all(self.members.alarms.at(index)), time }
            }
            SystemQuery::Revocations => {
                SystemAnswer::Revocations { items: all(self.operators.revoked.at(index)), time }
            }
            SystemQuery::Audit { .. } if viewer != Viewer::Operator => return None,
            SystemQuery::Audit { after, limit } => {
                let mut acts = all(self.operators.acts.at(index));
                let count = acts.len() as u64;
                acts.retain(|act| act.index.get() > after);
                let limit = usize::try_from(limit).expect("small");
                let more = acts.len() > limit;
                acts.truncate(limit);
                let totals = AuditTotals { acts: count, ..AuditTotals::default() };
                SystemAnswer::Audit { items: acts, more, totals, time }
            }
            SystemQuery::Effects { .. } => return None,
        })
    }

    /// The machine's part of a state behind `index` is looked at.
    pub(crate) fn holds(&self, index: LogIndex, state: &State) -> Result<(), Broken> {
        let mut wanted = self.keys.at(index);
        for (key, stored) in state.part(PART) {
            let next = wanted.next();
            let (revision, value) = stored.split_first_chunk().unwrap_or((&[0; 8], &[]));
            let one = (&key[1..], value, u64::from_le_bytes(*revision));
            if next.as_ref().is_none_or(|(key, value, revision)| one != (key, value, *revision)) {
                let why = format!("{one:?} stands in the state behind {index}, not {next:?}");
                return Err(Broken::new(CONTENTS, why));
            }
        }
        match wanted.next() {
            Some(lacks) => {
                let why = format!("{lacks:?} stands not in the state behind {index}");
                Err(Broken::new(CONTENTS, why))
            }
            None => Ok(()),
        }
    }
}

/// Returns what is remembered of a configuration: members and roles, but not who is to vote again.
fn record(entry: &Entry, time: ClusterTime, configuration: &Configuration) -> ConfigurationRecord {
    let (voters, members) = (configuration.voters().clone(), configuration.members().clone());
    let configuration = Configuration::new(voters, configuration.learners().clone(), members);
    let configuration = configuration.expect("it is one already");
    ConfigurationRecord { id: entry.id, time, configuration }
}

fn all<'a, K: 'a, V: Clone + 'a>(found: impl Iterator<Item = (&'a K, &'a V)>) -> Vec<V> {
    found.map(|(_, value)| value.clone()).collect()
}
