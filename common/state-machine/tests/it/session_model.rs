//! Random traffic of sessions against a model that cannot be wrong: it remembers every answer ever
//! given. Duplicates, late attempts, moving marks, expiry; in batches of any split.

use std::collections::{BTreeMap, BTreeSet};

use crate::kit::{Disk, at, system_part};
use bytes::Bytes;
use consensus::{ClusterTime, Entry, Payload};
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, prop_oneof};
use proptest::test_runner::{Config, TestCaseError};
use proptest::{prop_assert, prop_assert_eq, proptest};
use state_machine::{
    Envelope, KvCommand, KvQuery, KvResponse, SESSION_TIMEOUT, SESSION_WINDOW, SystemAnswer,
    SystemCommand, SystemQuery, SystemResponse, Viewer,
};

/// What comes out of the log next.
#[derive(Clone, Debug)]
enum Step {
    /// A registration with one of a few nonces.
    Register(u8),
    /// A command in the session that was registered last under this nonce, or in none that exists.
    Send {
        of: u8,
        sequence: u64,
        low_water: u64,
    },
    /// A command of no session.
    Sessionless,
    Close(u8),
    /// Time goes on, in hundredths of the timeout; also by an entry that stays below.
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let of = 0_u8..3;
    let sequence = prop_oneof![8 => 0_u64..8, 1 => Just(SESSION_WINDOW), 1 => Just(u64::MAX)];
    let send = (of.clone(), sequence, 0_u64..6).prop_map(|(of, sequence, low_water)| Step::Send {
        of,
        sequence,
        low_water,
    });
    prop_oneof![
        2 => of.clone().prop_map(Step::Register),
        20 => send,
        2 => Just(Step::Sessionless),
        1 => of.prop_map(Step::Close),
        1 => (1_u64..80).prop_map(Step::Wait),
    ]
}

/// A session as the model sees it.
#[derive(Default)]
struct Known {
    low_water: u64,
    /// When a command or the registration came last.
    active: u64,
    answers: BTreeMap<u64, SystemResponse>,
}

#[derive(Default)]
struct Model {
    time: u64,
    open: BTreeMap<u64, Known>,
    /// The session that each nonce has, or had.
    of_nonce: BTreeMap<u8, u64>,
    /// What was ever applied: (session, sequence).
    applied: BTreeSet<(u64, u64)>,
    /// How often the key was incremented.
    count: u64,
}

impl Model {
    fn session(&self, nonce: u8) -> u64 {
        self.of_nonce.get(&nonce).copied().unwrap_or(u64::MAX)
    }

    /// The host notes activity a sixtieth of the timeout late, so that between the two it may have
    /// expired or not; the model goes along, and only says what must and what must not be.
    fn may_be_open(&self, session: u64) -> bool {
        let open = self.open.get(&session);
        open.is_some_and(|known| self.time < known.active + SESSION_TIMEOUT)
    }

    fn must_be_open(&self, session: u64) -> bool {
        let (grain, open) = (SESSION_TIMEOUT / 60, self.open.get(&session));
        open.is_some_and(|known| self.time < known.active + SESSION_TIMEOUT - grain)
    }

    fn check(&mut self, index: u64, step: &Step, found: &Bytes) -> Result<(), TestCaseError> {
        let decoded = || SystemResponse::decode(found).unwrap();
        match *step {
            Step::Wait(_) => {}
            Step::Sessionless => {
                self.count += 1;
                prop_assert_eq!(KvResponse::decode(found).unwrap(), done(index));
            }
            Step::Register(nonce) => self.check_registered(index, nonce, &decoded())?,
            Step::Close(nonce) => {
                let ended = matches!(decoded(), SystemResponse::Ended { .. });
                prop_assert!(ended || decoded() == SystemResponse::Closed);
                let session = self.session(nonce);
                prop_assert!(ended || !self.must_be_open(session));
                self.open.remove(&session);
            }
            Step::Send { of, sequence, low_water } => {
                self.check_sent(index, (self.session(of), sequence, low_water), &decoded())?;
            }
        }
        Ok(())
    }

    fn check_registered(
        &mut self,
        index: u64,
        nonce: u8,
        found: &SystemResponse,
    ) -> Result<(), TestCaseError> {
        let SystemResponse::Registered { session } = *found else { panic!("{found:?}") };
        if session == index {
            prop_assert!(!self.must_be_open(self.session(nonce)), "a repeated one finds its own");
            self.open.remove(&self.session(nonce));
            self.of_nonce.insert(nonce, index);
            self.open.insert(index, Known { low_water: 1, active: self.time, ..Known::default() });
        } else {
            prop_assert_eq!(session, self.session(nonce));
            prop_assert!(self.may_be_open(session));
        }
        Ok(())
    }

    fn check_sent(
        &mut self,
        index: u64,
        (session, sequence, low_water): (u64, u64, u64),
        found: &SystemResponse,
    ) -> Result<(), TestCaseError> {
        if *found == (SystemResponse::SessionExpired { session }) {
            prop_assert!(!self.must_be_open(session));
            self.open.remove(&session);
            return Ok(());
        }
        prop_assert!(self.may_be_open(session), "{session} is over: {found:?}");
        let known = self.open.get_mut(&session).unwrap();
        known.active = self.time;
        known.low_water = known.low_water.max(low_water);
        let low_water = known.low_water;
        let expected = if sequence < low_water {
            SystemResponse::Forgotten { low_water }
        } else if sequence - low_water >= SESSION_WINDOW {
            SystemResponse::BeyondWindow { low_water }
        } else if let Some(answer) = known.answers.get(&sequence) {
            answer.clone()
        } else {
            prop_assert!(self.applied.insert((session, sequence)), "applied twice");
            self.count += 1;
            let answer = SystemResponse::Answer { index, response: done(index).encode() };
            known.answers.insert(sequence, answer.clone());
            answer
        };
        prop_assert_eq!(found, &expected);
        Ok(())
    }
}

fn done(revision: u64) -> KvResponse {
    KvResponse::Done { revision }
}

/// Each command that is applied puts a key of its own, so that the number of keys tells how many
/// were, and its value, by whom.
fn entries(model: &Model, index: u64, step: &Step) -> Entry {
    let put = KvCommand::Put { key: index.to_be_bytes().to_vec().into(), value: Bytes::new() };
    let envelope = match *step {
        Step::Wait(_) | Step::Sessionless => Some(Envelope::sessionless(put.encode())),
        Step::Register(nonce) => Some(Envelope::system(&SystemCommand::RegisterSession {
            nonce: [nonce; 16],
            name: String::new(),
        })),
        Step::Close(nonce) => {
            let session = model.session(nonce);
            Some(Envelope::system(&SystemCommand::CloseSession { session }))
        }
        Step::Send { of, sequence, low_water } => {
            Some(Envelope::in_session(model.session(of), sequence, low_water, put.encode()))
        }
    };
    let payload = match step {
        Step::Wait(_) => Payload::Noop,
        _ => envelope.map_or(Payload::Noop, |envelope| Payload::Command(envelope.encode())),
    };
    Entry::new(at(1, index), ClusterTime::new(model.time), payload)
}

fn run(steps: &[Step], splits: &[usize]) -> Result<(), TestCaseError> {
    let (one_by_one, together) = (Disk::default(), Disk::default());
    let (mut first, mut second) = (one_by_one.host(), together.host());
    let mut model = Model::default();
    let mut log = Vec::new();
    for (index, step) in (1..).zip(steps) {
        if let Step::Wait(hundredths) = step {
            model.time += hundredths * (SESSION_TIMEOUT / 100);
        }
        let entry = entries(&model, index, step);
        let answers = first.apply(std::slice::from_ref(&entry)).unwrap();
        log.push(entry);
        if let Some((_, found)) = answers.first() {
            model.check(index, step, found)?;
        }
        prop_assert_eq!(first.leftovers().unwrap(), Vec::<String>::new());
    }
    let keys = KvQuery::List { prefix: Bytes::new(), after: Bytes::new(), limit: 1_000 };
    let page = KvResponse::decode(&first.view().query(&keys.encode()).unwrap()).unwrap();
    let KvResponse::Page { items, .. } = page else { panic!("{page:?}") };
    prop_assert_eq!(items.len() as u64, model.count, "exactly once");

    let mut rest = log.as_slice();
    for size in splits.iter().cycle() {
        let (batch, behind) = rest.split_at((*size).min(rest.len()));
        second.apply(batch).unwrap();
        rest = behind;
        if rest.is_empty() {
            break;
        }
    }
    prop_assert_eq!(one_by_one.content(), together.content(), "batches make no difference");
    prop_assert_eq!(system_part(first.store()), system_part(second.store()));
    let (first, second) = (first.view(), second.view());
    prop_assert_eq!(first.digest().unwrap(), second.digest().unwrap());

    for session in model.open.keys().filter(|session| model.must_be_open(**session)) {
        let query = SystemQuery::Session { session: *session };
        let answer = first.system(Viewer::Operator, &query).unwrap();
        prop_assert!(matches!(answer, SystemAnswer::Session { found: Some(_), .. }), "{answer:?}");
    }
    Ok(())
}

proptest! {
    #![proptest_config(Config { cases: 1_000, failure_persistence: None, ..Config::default() })]

    #[test]
    fn a_command_of_a_session_is_applied_once_whatever_the_log_brings(
        steps in vec(step(), 1..120),
        splits in vec(1_usize..9, 1..9),
    ) {
        run(&steps, &splits)?;
    }
}
