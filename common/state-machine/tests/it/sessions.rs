//! Sessions: a command is applied at most once, whatever is sent how often in which order (§6.3).

use crate::kit;
use crate::kit::{Disk, at, bytes, put};
use bytes::Bytes;
use consensus::{ClusterTime, Entry, Payload};
use state_machine::{
    ANSWER_KEPT_BYTES_MAX, Command, Envelope, Host, KvCommand, KvQuery, KvResponse, Response,
    SESSION_NAME_BYTES_MAX, SESSION_TIMEOUT, SESSION_WINDOW, SESSIONS_MAX, SessionAnswers,
    StoreError, StoredMachine, SystemAnswer, SystemCommand, SystemQuery, SystemResponse,
    Transaction, View, Viewer,
};

/// Appends what it is told to one value, and answers with the value's new length: applied twice,
/// it would show.
struct Journal;

impl StoredMachine for Journal {
    fn name(&self) -> &'static str {
        "journal"
    }

    fn version(&self) -> u32 {
        1
    }

    fn apply(
        &self,
        command: &Command<'_>,
        transaction: &mut Transaction<'_>,
    ) -> Result<Response, StoreError> {
        let before = transaction.get(b"journal")?.unwrap_or_default();
        let after = [&before[..], command.data].concat();
        let answer = vec![b'.'; command.data.len().max(1)];
        transaction.put(b"journal", after.into());
        Ok(answer.into())
    }

    fn query(&self, view: &dyn View, _: &[u8]) -> Result<Response, StoreError> {
        Ok(view.get(b"journal")?.unwrap_or_default())
    }
}

/// A host in a test's hand, and its clock.
pub(crate) struct World {
    pub(crate) host: Host<Disk>,
    disk: Disk,
    pub(crate) time: u64,
}

impl World {
    pub(crate) fn new() -> Self {
        let disk = Disk::default();
        Self { host: disk.host_of(Journal), disk, time: 1 }
    }

    fn next(&self) -> u64 {
        self.host.applied().index.next().get()
    }

    pub(crate) fn apply(&mut self, envelope: &Envelope) -> Bytes {
        let (id, stamp) = (at(1, self.next()), ClusterTime::new(self.time));
        let entry = Entry::new(id, stamp, Payload::Command(envelope.encode()));
        self.host.apply(&[entry]).unwrap().remove(0).1
    }

    fn system(&mut self, command: &SystemCommand) -> SystemResponse {
        SystemResponse::decode(&self.apply(&Envelope::system(command))).unwrap()
    }

    fn register(&mut self, nonce: u64) -> u64 {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&nonce.to_le_bytes());
        let name = format!("client {nonce}");
        match self.system(&SystemCommand::RegisterSession { nonce: bytes, name }) {
            SystemResponse::Registered { session } => session,
            other => panic!("{other:?}"),
        }
    }

    /// Sends a command whose text is `text`.
    fn send(&mut self, session: u64, sequence: u64, low_water: u64, text: &str) -> SystemResponse {
        let envelope = Envelope::in_session(session, sequence, low_water, bytes(text));
        SystemResponse::decode(&self.apply(&envelope)).unwrap()
    }

    pub(crate) fn journal(&self) -> String {
        String::from_utf8(self.host.view().query(b"").unwrap().into()).unwrap()
    }

    pub(crate) fn session(&self, session: u64) -> Option<SessionAnswers> {
        match self.host.view().system(Viewer::Operator, &SystemQuery::Session { session }).unwrap()
        {
            SystemAnswer::Session { found, .. } => found,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn sessions(&self, after: u64, limit: u32) -> (Vec<u64>, bool) {
        match self
            .host
            .view()
            .system(Viewer::Operator, &SystemQuery::Sessions { after, limit })
            .unwrap()
        {
            SystemAnswer::Sessions { items, more, last, .. } => {
                assert!(items.iter().all(|(id, _)| *id <= last));
                (items.into_iter().map(|(id, _)| id).collect(), more)
            }
            other => panic!("{other:?}"),
        }
    }
}

fn answer(index: u64, text: &'static str) -> SystemResponse {
    SystemResponse::Answer { index, response: Bytes::from_static(text.as_bytes()) }
}

#[test]
fn a_repeated_command_is_answered_as_the_first_time_and_not_applied() {
    let mut world = World::new();
    let session = world.register(1);
    let first = world.send(session, 1, 0, "ab");
    assert_eq!(first, answer(2, ".."));
    world.send(session, 2, 0, "c");
    assert_eq!(world.send(session, 1, 0, "ab"), first, "with the index of the first attempt");
    assert_eq!(world.send(session, 1, 0, "whatever it says now"), first);
    assert_eq!(world.journal(), "abc");
}

#[test]
fn commands_without_a_session_are_answered_with_the_machines_own_bytes() {
    let mut world = World::new();
    assert_eq!(world.apply(&Envelope::sessionless(bytes("ab"))), bytes(".."));
    assert_eq!(world.apply(&Envelope::sessionless(bytes("ab"))), bytes(".."));
    assert_eq!(world.journal(), "abab");
}

#[test]
fn commands_of_one_session_may_arrive_in_any_order() {
    let mut world = World::new();
    let session = world.register(1);
    for (sequence, text) in [(3, "c"), (1, "a"), (2, "b"), (3, "c"), (1, "a"), (1024, "z")] {
        world.send(session, sequence, 1, text);
    }
    assert_eq!(world.journal(), "cabz");
    let found = world.session(session).unwrap();
    let cached: Vec<u64> = found.cached.iter().map(|one| one.sequence).collect();
    assert_eq!(cached, [1, 2, 3, 1024]);
    assert_eq!(found.missing(), (4..1024).collect::<Vec<u64>>());
}

#[test]
fn sessions_do_not_see_each_other() {
    let mut world = World::new();
    let (one, other) = (world.register(1), world.register(2));
    world.send(one, 1, 0, "a");
    world.send(other, 1, 0, "b");
    world.send(one, 2, 2, "c");
    assert_eq!(world.send(other, 1, 0, "b"), answer(4, "."));
    assert_eq!(world.journal(), "abc");
}

#[test]
fn what_is_below_the_low_water_mark_is_forgotten_and_never_applied() {
    let mut world = World::new();
    let session = world.register(1);
    for sequence in 1..=5 {
        world.send(session, sequence, 1, "x");
    }
    world.send(session, 6, 5, "y");
    assert_eq!(world.send(session, 4, 1, "x"), SystemResponse::Forgotten { low_water: 5 });
    assert_eq!(world.send(session, 5, 1, "x"), answer(6, "."), "the mark itself is kept");
    assert_eq!(world.send(session, 0, 0, "x"), SystemResponse::Forgotten { low_water: 5 });
    assert_eq!(world.journal(), "xxxxxy");
    let found = world.session(session).unwrap();
    assert_eq!((found.session.low_water, found.session.highest, found.cached.len()), (5, 6, 2));
}

#[test]
fn beyond_the_window_nothing_is_applied_until_the_mark_has_moved() {
    let mut world = World::new();
    let session = world.register(1);
    let beyond = SystemResponse::BeyondWindow { low_water: 1 };
    assert_eq!(world.send(session, 1 + SESSION_WINDOW, 1, "z"), beyond);
    assert_eq!(world.journal(), "");
    assert_eq!(world.send(session, 1 + SESSION_WINDOW, 2, "z"), answer(3, "."));
    assert_eq!(
        world.send(session, u64::MAX, 2, "z"),
        SystemResponse::BeyondWindow { low_water: 2 }
    );
    assert_eq!(world.journal(), "z");
}

#[test]
fn a_senseless_mark_only_harms_its_own_session() {
    let mut world = World::new();
    let (one, other) = (world.register(1), world.register(2));
    world.send(one, 1, 0, "a");
    world.send(other, 1, 0, "b");
    assert_eq!(world.send(one, u64::MAX, u64::MAX, "c"), answer(5, "."));
    assert_eq!(world.send(one, 2, 0, "d"), SystemResponse::Forgotten { low_water: u64::MAX });
    assert_eq!(world.send(other, 2, 0, "e"), answer(7, "."));
    assert_eq!(world.journal(), "abce");
    for session in [one, other] {
        world.system(&SystemCommand::CloseSession { session });
    }
    assert_eq!(world.sessions(0, 10), (vec![], false));
}

#[test]
fn nobody_has_a_session_who_did_not_register() {
    let mut world = World::new();
    let expired = |session| SystemResponse::SessionExpired { session };
    assert_eq!(world.send(7, 1, 0, "a"), expired(7));
    let session = world.register(1);
    world.send(session, 1, 0, "b");
    let ended = SystemResponse::Ended { low_water: 1, highest: 1, missing: vec![] };
    assert_eq!(world.system(&SystemCommand::CloseSession { session }), ended);
    assert_eq!(world.send(session, 1, 0, "b"), expired(session), "not applied again");
    assert_eq!(world.system(&SystemCommand::CloseSession { session }), SystemResponse::Closed);
    assert_eq!(world.session(session), None);
    assert_eq!(world.journal(), "b");
}

#[test]
fn a_close_says_what_was_applied_and_nothing_is_behind_it() {
    let mut world = World::new();
    let session = world.register(1);
    for (sequence, low_water) in [(1, 0), (2, 2), (4, 2), (7, 2)] {
        world.send(session, sequence, low_water, "a");
    }
    let ended = SystemResponse::Ended { low_water: 2, highest: 7, missing: vec![3, 5, 6] };
    assert_eq!(world.system(&SystemCommand::CloseSession { session }), ended);
    for sequence in 1..10 {
        let expired = SystemResponse::SessionExpired { session };
        assert_eq!(world.send(session, sequence, 2, "b"), expired);
    }
    assert_eq!(world.journal(), "aaaa");
    let unused = world.register(2);
    let ended = SystemResponse::Ended { low_water: 1, highest: 0, missing: vec![] };
    assert_eq!(world.system(&SystemCommand::CloseSession { session: unused }), ended);
}

#[test]
fn a_repeated_registration_finds_its_session_museum_j13() {
    let mut world = World::new();
    let session = world.register(1);
    assert_eq!(session, 1, "the index of its entry");
    world.send(session, 1, 0, "a");
    assert_eq!(world.register(1), session);
    assert_eq!(world.send(session, 1, 0, "a"), answer(2, "."));
    assert_ne!(world.register(2), session);
    world.system(&SystemCommand::CloseSession { session });
    assert_ne!(world.register(1), session, "never the id of a closed one");
}

#[test]
fn a_name_that_is_too_long_is_refused() {
    let mut world = World::new();
    let name = "x".repeat(SESSION_NAME_BYTES_MAX + 1);
    let refused = world.system(&SystemCommand::RegisterSession { nonce: [1; 16], name });
    let reason = "the name has 65 bytes, at most 64".to_owned();
    assert_eq!(refused, SystemResponse::Refused { reason });
    assert_eq!(world.sessions(0, 10), (vec![], false));
}

#[test]
fn a_session_expires_by_cluster_time_and_stays_so() {
    let mut world = World::new();
    let (idle, busy) = (world.register(1), world.register(2));
    let expired = |session| SystemResponse::SessionExpired { session };
    world.time += SESSION_TIMEOUT - 1;
    assert_eq!(world.send(busy, 1, 0, "a"), answer(3, "."), "a moment before the end");
    world.time += 1;
    assert_eq!(world.sessions(0, 10).0, [idle, busy], "what is not applied is not known");
    assert_eq!(world.send(idle, 1, 0, "b"), expired(idle));
    assert_eq!(world.sessions(0, 10).0, [busy]);
    // A stamp of an older clock does not bring it back.
    world.time -= 10;
    assert_eq!(world.send(idle, 1, 0, "b"), expired(idle));
    assert_eq!(world.send(busy, 2, 1, "c"), answer(6, "."));
    assert_eq!(world.journal(), "ac");
}

/// A leader slept, and when it woke it ended by its own clock what the log had prolonged meanwhile.
/// What is over is decided where entries are applied, by their stamps and in their order.
#[test]
fn a_session_that_the_log_prolonged_is_not_ended_by_any_leaders_clock_museum_j10() {
    let run = |stamps: [u64; 3]| {
        let mut world = World::new();
        let session = world.register(1);
        world.time = stamps[0];
        assert_eq!(world.send(session, 1, 0, "prolongs "), answer(2, "........."));
        // Of the leader that overslept, as far as its successor took it over: its clock stood.
        world.time = stamps[1];
        world.register(2);
        world.time = stamps[2];
        (world.send(session, 2, 1, "goes on"), world.journal())
    };
    let (before, over) = (SESSION_TIMEOUT, SESSION_TIMEOUT + 1);
    let goes_on = (answer(4, "......."), "prolongs goes on".to_owned());
    // By its registration alone it were over at 1 h + 1.
    for stamps in [[before, over, over + 1], [before, 2, over], [before, over, 2 * before - 1]] {
        assert_eq!(run(stamps), goes_on, "{stamps:?}");
    }
    let (expired, journal) = run([before, 2 * before, 2]);
    assert_eq!(expired, SystemResponse::SessionExpired { session: 1 });
    assert_eq!(journal, "prolongs ", "nor is it brought back by a clock that is behind");
}

#[test]
fn activity_is_noted_once_a_minute() {
    let mut world = World::new();
    let session = world.register(1);
    let active = |world: &World| world.session(session).unwrap().session.active.get();
    world.time += SESSION_TIMEOUT / 60 - 1;
    world.send(session, 1, 0, "a");
    assert_eq!(active(&world), 1);
    world.time += 1;
    world.send(session, 1, 0, "a");
    assert_eq!(active(&world), 1 + SESSION_TIMEOUT / 60, "a retry is activity, too");
}

#[test]
fn registrations_clear_away_what_has_expired() {
    let mut world = World::new();
    for nonce in 0..20 {
        let session = world.register(nonce);
        world.send(session, 1, 0, "x");
    }
    world.time += SESSION_TIMEOUT;
    let kept = world.register(100);
    assert_eq!(world.sessions(0, 100), (vec![kept], false), "the expired ones are not shown");
    for nonce in 101..110 {
        world.register(nonce);
    }
    assert_eq!(world.sessions(0, 100).0.len(), 10);
    for session in world.sessions(0, 100).0 {
        world.system(&SystemCommand::CloseSession { session });
    }
    let left: Vec<Bytes> = world.disk.content().into_iter().map(|(key, _)| key).collect();
    let expected: [&[u8]; 3] = [b"\0\x08", b"\0applied", b"\x01journal"];
    assert_eq!(left, expected, "only the count of sessions is left of them");
}

/// A client that registers again because it has not heard the answer would have two sessions, and
/// its command could be applied in each.
#[test]
fn clearing_away_an_expired_session_leaves_the_new_one_under_its_nonce() {
    let mut world = World::new();
    // A registration clears away fewer than these.
    let before: Vec<u64> = (0..10).map(|nonce| world.register(nonce)).collect();
    world.time += SESSION_TIMEOUT;
    let session = world.register(9);
    assert!(!before.contains(&session), "the one of before has expired");
    for nonce in 100..110 {
        world.register(nonce);
        assert_eq!(world.register(9), session, "{nonce}");
    }
}

#[test]
fn one_session_too_many_evicts_the_least_recently_active() {
    let mut world = World::new();
    let mut ids = Vec::new();
    for nonce in 0..SESSIONS_MAX {
        ids.push(world.register(nonce));
    }
    world.time += SESSION_TIMEOUT / 2;
    world.send(ids[0], 1, 0, "a");
    let newest = world.register(SESSIONS_MAX);
    assert_eq!(world.send(ids[1], 1, 0, "b"), SystemResponse::SessionExpired { session: ids[1] });
    assert_eq!(world.send(ids[0], 1, 0, "a"), answer(SESSIONS_MAX + 1, "."));
    assert_eq!(world.send(ids[2], 1, 0, "c"), answer(world.next() - 1, "."));
    assert_eq!(world.send(newest, 1, 0, "d"), answer(world.next() - 1, "."));
    assert_eq!(world.journal(), "acd");
}

#[test]
fn an_answer_that_is_too_long_to_keep_is_remembered_as_given() {
    let mut world = World::new();
    let session = world.register(1);
    let text = "x".repeat(ANSWER_KEPT_BYTES_MAX + 1);
    let first = world.send(session, 1, 0, &text);
    assert!(
        matches!(first, SystemResponse::Answer { response, .. } if response.len() == text.len())
    );
    assert_eq!(world.send(session, 1, 0, &text), SystemResponse::AnswerNotKept { index: 2 });
    assert_eq!(world.journal().len(), text.len());
    let found = world.session(session).unwrap();
    assert_eq!((found.cached[0].index, found.cached[0].bytes), (2, None));
}

#[test]
fn pages_of_sessions_follow_each_other() {
    let mut world = World::new();
    for nonce in 0..5 {
        world.register(nonce);
    }
    assert_eq!(world.sessions(0, 2), (vec![1, 2], true));
    assert_eq!(world.sessions(2, 2), (vec![3, 4], true));
    assert_eq!(world.sessions(4, 2), (vec![5], false));
}

#[test]
fn a_session_survives_a_crash_with_what_its_commands_did() {
    let mut world = World::new();
    let session = world.register(1);
    world.send(session, 1, 0, "a");
    world.host.persist().unwrap();
    world.send(session, 2, 1, "b");
    world.disk.crash();
    world.host = world.disk.host_of(Journal);
    assert_eq!(world.send(session, 2, 1, "b"), answer(3, "."), "the log brings it again");
    assert_eq!(world.send(session, 1, 0, "a"), answer(2, "."));
    assert_eq!(world.journal(), "ab");
}

#[test]
fn the_key_value_machine_works_in_a_session_as_without() {
    let mut machine = kit::Machine::new();
    let register = SystemCommand::RegisterSession { nonce: [1; 16], name: String::new() };
    let entry = |index, envelope: Envelope| kit::entry(index, Payload::Command(envelope.encode()));
    let command =
        |sequence, command: &KvCommand| Envelope::in_session(1, sequence, 0, command.encode());
    let answers = machine
        .host
        .apply(&[
            entry(1, Envelope::system(&register)),
            entry(2, command(1, &put("k", "1"))),
            entry(3, command(2, &put("k", "2"))),
            entry(4, command(1, &put("k", "1"))),
        ])
        .unwrap();
    assert_eq!(answers[1].1, answers[3].1);
    let value = KvResponse::Value { revision: 3, value: bytes("2") };
    assert_eq!(machine.query(&KvQuery::Get { key: bytes("k") }), value);
}
