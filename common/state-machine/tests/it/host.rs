//! The host: entries are applied in order, once, and everything that they change is one batch.

use std::sync::Arc;

use crate::kit::{Disk, at, bytes, command, delete, entry, put, raw, swap};
use bytes::Bytes;
use consensus::{ClusterTime, Configuration, Entry, LogIndex, Payload};
use state_machine::{
    APPLY_BYTES_MAX, Batch, Command, EFFECTS_EVERY, Envelope, Host, HostError, Kv, KvQuery,
    KvResponse, MemoryStore, OrderedStore, Owner, Pair, Response, StoreError, StoredMachine,
    SystemAnswer, SystemCommand, SystemQuery, Transaction, View, Viewer,
};

fn get(host: &Host<Disk>, key: &str) -> KvResponse {
    let answer = host.view().query(&KvQuery::Get { key: bytes(key) }.encode()).unwrap();
    KvResponse::decode(&answer).unwrap()
}

fn value(revision: u64, text: &str) -> KvResponse {
    KvResponse::Value { revision, value: bytes(text) }
}

fn noop(index: u64) -> Entry {
    entry(index, Payload::Noop)
}

#[test]
fn a_call_is_one_batch_with_the_applied_index() {
    let disk = Disk::default();
    let mut host = disk.host();
    let entries = [noop(1), command(2, &put("a", "1")), command(3, &put("b", "2"))];
    let responses = host.apply(&entries).unwrap();
    assert_eq!(disk.inner().batches, 1);
    let indexes: Vec<u64> = responses.iter().map(|(index, _)| index.get()).collect();
    assert_eq!(indexes, [2, 3], "only commands are answered");
    assert_eq!(host.applied(), at(1, 3));
    assert_eq!(disk.host().applied(), at(1, 3));
    assert_eq!(disk.host().time(), ClusterTime::new(300));
}

#[test]
fn a_command_sees_those_before_it_in_the_same_call() {
    let mut host = Disk::default().host();
    let entries = [
        command(1, &put("a", "1")),
        command(2, &swap("a", Some("1"), Some("2"))),
        command(3, &swap("a", Some("1"), Some("3"))),
        command(4, &swap("a", Some("2"), None)),
        command(5, &swap("a", None, Some("5"))),
    ];
    let responses = host.apply(&entries).unwrap();
    let answers: Vec<KvResponse> =
        responses.iter().map(|(_, answer)| KvResponse::decode(answer).unwrap()).collect();
    let done = |revision| KvResponse::Done { revision };
    let differs = KvResponse::Differs { revision: 2, actual: bytes("2") };
    assert_eq!(answers, [done(1), done(2), differs, done(4), done(5)]);
    assert_eq!(get(&host, "a"), value(5, "5"));
}

#[test]
fn a_crash_without_persist_leaves_nothing_half_there() {
    let disk = Disk::default();
    let mut host = disk.host();
    host.apply(&[command(1, &put("a", "1"))]).unwrap();
    assert_eq!(host.persist().unwrap(), LogIndex::new(1));
    let durable = disk.content();
    host.apply(&[command(2, &put("a", "2")), command(3, &put("b", "3"))]).unwrap();
    disk.crash();
    assert_eq!(disk.content(), durable, "data, applied index and time of one moment");
    let host = disk.host();
    assert_eq!((host.applied(), host.time()), (at(1, 1), ClusterTime::new(100)));
    assert_eq!(get(&host, "a"), value(1, "1"));
    assert_eq!(get(&host, "b"), KvResponse::NotFound);
}

/// A swap that were applied again would find its own work, and answer otherwise.
#[test]
fn after_a_crash_the_log_brings_the_same_state_and_nothing_is_applied_twice() {
    let log: Vec<Entry> = (1..=60)
        .map(|index| {
            let (old, new) = ((index - 1).to_string(), index.to_string());
            let expected = (index > 1).then_some(old.as_str());
            command(index, &swap("counter", expected, Some(&new)))
        })
        .collect();
    let done = |index| KvResponse::Done { revision: index };
    for (persisted, applied) in [(0, 60), (1, 2), (17, 40), (59, 60), (60, 60)] {
        let disk = Disk::default();
        let mut host = disk.host();
        host.apply(&log[..persisted]).unwrap();
        host.persist().unwrap();
        host.apply(&log[persisted..applied]).unwrap();
        disk.crash();

        let mut host = disk.host();
        let from = usize::try_from(host.applied().index.get()).unwrap();
        assert_eq!(from, persisted);
        for (index, answer) in host.apply(&log[from..]).unwrap() {
            assert_eq!(KvResponse::decode(&answer).unwrap(), done(index.get()));
        }
        assert_eq!(get(&host, "counter"), value(60, "60"));
    }
}

#[test]
fn entries_that_do_not_follow_are_refused_and_nothing_changes() {
    let disk = Disk::default();
    let mut host = disk.host();
    host.apply(&[Entry { id: at(2, 1), ..command(1, &put("a", "1")) }]).unwrap();
    let before = disk.content();
    let again = Entry { id: at(2, 1), ..command(1, &put("a", "2")) };
    let gap = Entry { id: at(2, 3), ..command(3, &put("a", "2")) };
    let older = Entry { id: at(1, 2), ..command(2, &put("a", "2")) };
    let good = Entry { id: at(2, 2), ..command(2, &put("a", "2")) };
    for (entries, applied, found) in [
        (vec![again.clone()], at(2, 1), at(2, 1)),
        (vec![gap.clone()], at(2, 1), at(2, 3)),
        (vec![older], at(2, 1), at(1, 2)),
        (vec![good.clone(), good], at(2, 2), at(2, 2)),
    ] {
        let refused = host.apply(&entries).unwrap_err();
        let expected = format!("entry {found} does not follow the applied entry {applied}");
        assert_eq!(refused.to_string(), expected);
        assert_eq!(host.applied(), at(2, 1));
        assert_eq!(disk.content(), before);
    }
}

#[test]
fn a_failed_write_changes_nothing_and_may_be_repeated() {
    let disk = Disk::default();
    let mut host = disk.host();
    host.apply(&[command(1, &put("a", "1"))]).unwrap();
    disk.inner().broken = true;
    let refused = host.apply(&[command(2, &put("a", "2"))]).unwrap_err();
    assert!(matches!(refused, HostError::Store(_)));
    assert_eq!((host.applied(), host.time()), (at(1, 1), ClusterTime::new(100)));
    disk.inner().broken = false;
    host.apply(&[command(2, &put("a", "3"))]).unwrap();
    assert_eq!(get(&host, "a"), value(2, "3"));
}

#[test]
fn what_no_envelope_is_around_is_applied_as_nothing() {
    let disk = Disk::default();
    let mut host = disk.host();
    let payloads = [&b""[..], b"\x01", b"\x07 another version, as long as an envelope"];
    for (index, payload) in (1..).zip(payloads) {
        let payload = Payload::Command(Bytes::from_static(payload));
        let responses = host.apply(&[entry(index, payload)]).unwrap();
        assert_eq!(responses, [(LogIndex::new(index), Bytes::new())]);
    }
    assert_eq!(host.applied(), at(1, 3));
    assert_eq!(disk.content().len(), 1, "only the record of what is applied");
}

#[test]
fn configurations_advance_the_applied_index_and_the_time() {
    let mut host = Disk::default().host();
    let configuration = Payload::Configuration(Configuration::unknown());
    let responses = host.apply(&[entry(1, configuration), noop(2)]).unwrap();
    assert_eq!(responses, []);
    assert_eq!((host.applied(), host.time()), (at(1, 2), ClusterTime::new(200)));
}

#[test]
fn cluster_time_never_moves_back() {
    let mut host = Disk::default().host();
    let stamped = |index, stamp| Entry { stamp: ClusterTime::new(stamp), ..noop(index) };
    for (index, stamp, expected) in [(1, 500, 500), (2, 300, 500), (3, 501, 501)] {
        host.apply(&[stamped(index, stamp)]).unwrap();
        assert_eq!(host.time(), ClusterTime::new(expected));
    }
}

/// Answers with what it is told of its entry.
struct Clock;

impl StoredMachine for Clock {
    fn name(&self) -> &'static str {
        "clock"
    }

    fn version(&self) -> u32 {
        1
    }

    fn apply(
        &self,
        command: &Command<'_>,
        _: &mut Transaction<'_>,
    ) -> Result<Response, StoreError> {
        Ok(format!("{} {} {:?}", command.index, command.time, command.data).into())
    }

    fn query(&self, _: &dyn View, _: &[u8]) -> Result<Response, StoreError> {
        Ok(Bytes::new())
    }
}

#[test]
fn a_machine_is_told_its_index_the_highest_stamp_and_its_own_bytes() {
    let mut host = Host::open(MemoryStore::new(), Arc::new(Clock)).unwrap();
    let late = Entry { stamp: ClusterTime::new(900), ..raw(1, bytes("x")) };
    let responses = host.apply(&[late, raw(2, bytes("yz"))]).unwrap();
    let answers: Vec<&[u8]> = responses.iter().map(|(_, answer)| &answer[..]).collect();
    assert_eq!(answers, [&b"1 900 [120]"[..], b"2 900 [121, 122]"]);
}

#[test]
fn of_a_machine_that_does_not_say_more_nothing_is_known_of_its_commands() {
    assert_eq!(Clock.describe(b"x", true), None, "but its size");
    assert!(!Clock.frees_space(b"x"), "on a full disk it is not taken");
}

#[test]
fn a_view_stays_at_its_moment_and_says_which() {
    let mut host = Disk::default().host();
    host.apply(&[command(1, &put("a", "1"))]).unwrap();
    let view = host.view();
    host.apply(&[command(2, &put("a", "2"))]).unwrap();
    assert_eq!((view.applied(), view.time()), (LogIndex::new(1), ClusterTime::new(100)));
    let answer = view.query(&KvQuery::Get { key: bytes("a") }.encode()).unwrap();
    assert_eq!(KvResponse::decode(&answer).unwrap(), value(1, "1"));
    let now = host.view();
    assert_eq!((now.applied(), now.time()), (LogIndex::new(2), ClusterTime::new(200)));
}

/// The registration of a session, numbered as its entry.
fn register(index: u64, name: &str) -> Entry {
    let command = SystemCommand::RegisterSession { nonce: [1; 16], name: String::new() };
    let owner = Owner { name: name.into(), is_operator: false };
    entry(index, Payload::Command(Envelope { owner, ..Envelope::system(&command) }.encode()))
}

#[test]
fn whose_the_sessions_are_is_known_after_a_start() {
    let disk = Disk::default();
    disk.host().apply(&[noop(1), register(2, "client a")]).unwrap();
    let owners = disk.host().owners();
    assert!(owners.is_foreign(2, "client b") && !owners.is_foreign(2, "client a"));
}

#[test]
fn with_a_state_that_is_taken_over_comes_all_that_is_known_of_it() {
    let close = Envelope::system(&SystemCommand::CloseSession { session: 1 });
    let owner = Owner { name: "operator o".into(), is_operator: true };
    let close = entry(2, Payload::Command(Envelope { owner, ..close }.encode()));
    let (ahead, behind) = (Disk::default(), Disk::default());
    let mut leader = ahead.host();
    let revoke = SystemCommand::Revoke {
        holder: "client web".into(),
        until_s: 50,
        key: None,
        why: String::new(),
    };
    let owner = Owner { name: "operator o".into(), is_operator: true };
    let revoke = Envelope { owner, ..Envelope::system(&revoke) }.encode();
    let revoke = entry(4, Payload::Command(revoke));
    leader.apply(&[register(1, "client a"), close, register(3, "client b"), revoke]).unwrap();
    assert_eq!(leader.noted().1.len(), 1);
    let mut host = behind.host();
    let (owners, effects) = (host.owners(), host.effects());
    host.apply(&[register(1, "client a")]).unwrap();
    assert!(owners.is_foreign(1, "client x"));

    host.with_store(|store| *store = ahead.clone()).unwrap();
    assert_eq!((host.applied(), host.time()), (at(1, 4), ClusterTime::new(400)));
    assert!(owners.is_foreign(3, "client x"));
    assert!(!owners.is_foreign(1, "client x"), "it is no session any more");
    let last = LogIndex::new(4);
    assert_eq!(effects.known(), (last, last), "what was behind the entries before is unknown");
    assert_eq!(effects.at(last), Some(leader.digest()));
    assert_eq!(host.digest(), leader.digest());
    assert_eq!((host.noted(), host.leftovers().unwrap()), (leader.noted(), Vec::new()));
}

#[test]
fn a_look_into_the_store_leaves_the_digests_behind_the_last_entries() {
    let mut host = Disk::default().host();
    host.apply(&[noop(1), noop(2), noop(3)]).unwrap();
    let before = host.effects().after(LogIndex::ZERO);
    assert_eq!(host.with_store(|disk| disk.inner().batches).unwrap(), 1);
    assert_eq!(host.effects().after(LogIndex::ZERO), before);
    assert_eq!(before.len(), 3);
}

/// Lists of alarms and of revocations may be long: commands, of which there are many, read neither.
#[test]
fn only_entries_that_may_raise_an_alarm_make_the_host_look_for_it() {
    let disk = Disk::default();
    let mut host = disk.host();
    let mut looks_for = |entry: Entry| {
        let before = disk.inner().ranges;
        host.apply(&[entry]).unwrap();
        disk.inner().ranges > before
    };
    assert!(!looks_for(noop(1)));
    assert!(!looks_for(command(2, &put("a", "1"))));
    assert!(looks_for(entry(3, Payload::Configuration(Configuration::unknown()))));
    assert!(looks_for(register(4, "client a")));
}

/// A store whose views show the present, as those of the one on a disk do.
struct Present(Disk);

impl View for Present {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.0.get(key)
    }

    fn range(&self, from: &[u8], to: Option<&[u8]>, limit: usize) -> Result<Vec<Pair>, StoreError> {
        self.0.range(from, to, limit)
    }
}

impl OrderedStore for Present {
    fn write(&mut self, batch: Batch) -> Result<(), StoreError> {
        self.0.write(batch)
    }

    fn view(&self) -> Arc<dyn View> {
        Arc::new(self.0.clone())
    }

    fn persist(&mut self) -> Result<(), StoreError> {
        self.0.persist()
    }
}

#[test]
fn an_answer_says_the_time_of_the_state_that_it_shows() {
    let mut host = Host::open(Present(Disk::default()), Arc::new(Kv)).unwrap();
    host.apply(&[noop(1)]).unwrap();
    let view = host.view();
    let later = ClusterTime::new(host.time().get() + 77);
    host.apply(&[Entry { stamp: later, ..noop(2) }]).unwrap();
    let answer = view.system(Viewer::Operator, &SystemQuery::Alarms).unwrap();
    assert_eq!(answer, SystemAnswer::Alarms { items: Vec::new(), time: later });
}

#[test]
fn no_key_of_a_client_reaches_the_systems_part() {
    let disk = Disk::default();
    let mut host = disk.host();
    for (index, key) in (1..).zip(["applied", "\u{0}applied", "\u{0}", "\u{7f}"]) {
        host.apply(&[command(index, &put(key, "mine"))]).unwrap();
        assert_eq!(disk.host().applied(), at(1, index));
        assert_eq!(get(&host, key), value(index, "mine"));
    }
}

#[test]
fn a_damaged_record_of_what_is_applied_is_refused() {
    for record in [&b""[..], b"\x02", b"\x01short"] {
        let disk = Disk::default();
        let mut batch = Batch::new();
        batch.put(Bytes::from_static(b"\0applied"), Bytes::from_static(record));
        disk.clone().write(batch).unwrap();
        let Err(refused) = Host::open(disk, Arc::new(Kv)) else { panic!("it opened") };
        let bytes = record.len();
        let expected = format!("the record of what is applied makes no sense, with {bytes} bytes");
        assert_eq!(refused.to_string(), expected);
    }
}

/// Entries of all kinds: the machine's, a session's, the system's, configurations and nothing.
fn mixed() -> Vec<Entry> {
    let register = SystemCommand::RegisterSession { nonce: [1; 16], name: "n".into() };
    let reserve = SystemCommand::ReserveId { name: "n4".into(), above: 0 };
    let payload = |envelope: Envelope| Payload::Command(envelope.encode());
    vec![
        entry(1, Payload::Configuration(Configuration::unknown())),
        command(2, &put("a", "1")),
        entry(3, payload(Envelope::system(&register))),
        entry(4, payload(Envelope::in_session(3, 1, 0, put("b", "2").encode()))),
        noop(5),
        entry(6, payload(Envelope::system(&reserve))),
        command(7, &delete("a")),
    ]
}

#[test]
fn the_digest_of_effects_does_not_depend_on_batches_crashes_and_snapshots() {
    let log = mixed();
    let whole = Disk::default();
    let mut host = whole.host();
    host.apply(&log).unwrap();
    let effects = host.effects();
    for cut in 0..=log.len() {
        let disk = Disk::default();
        let mut parts = disk.host();
        parts.apply(&log[..cut]).unwrap();
        parts.persist().unwrap();
        assert_eq!(parts.digest(), effects.at(LogIndex::new(cut as u64)).unwrap(), "{cut}");
        for one in &log[cut..] {
            parts.apply(std::slice::from_ref(one)).unwrap();
        }
        assert_eq!(parts.digest(), host.digest(), "{cut}");
        drop(parts);
        disk.crash();
        let mut again = disk.host();
        again.apply(&log[cut..]).unwrap();
        assert_eq!(again.digest(), host.digest(), "{cut}");
    }
}

#[test]
fn the_digest_of_effects_tells_every_difference_and_keeps_it() {
    let log = mixed();
    let digest = |log: &[Entry]| {
        let disk = Disk::default();
        let mut host = disk.host();
        host.apply(log).unwrap();
        host.digest()
    };
    let right = digest(&log);
    for place in 0..log.len() {
        let mut other = log.clone();
        other[place] = match place {
            // What it says is other, or when that was.
            1 => command(2, &put("a", "2")),
            _ => Entry {
                stamp: ClusterTime::new(other[place].stamp.get() + 1),
                ..other[place].clone()
            },
        };
        assert_ne!(digest(&other), right, "{place}");
    }
}

/// Nodes of different versions compare it. It covers what is written and answered: to write or
/// answer otherwise makes them look as if their states differed, until all have the new version.
#[test]
fn the_digest_of_effects_is_the_same_in_every_version() {
    let mut host = Disk::default().host();
    host.apply(&mixed()).unwrap();
    assert_eq!(format!("{:#018x}", host.digest()), "0x2871a88ca3f71eda");
}

#[test]
fn digests_are_stored_from_time_to_time() {
    let disk = Disk::default();
    let mut host = disk.host();
    let log: Vec<Entry> = (1..=2 * EFFECTS_EVERY + 1).map(noop).collect();
    host.apply(&log[..500]).unwrap();
    host.apply(&log[500..]).unwrap();
    let at =
        |index: u64| match host.view().system(Viewer::Operator, &SystemQuery::Effects { index }) {
            Ok(SystemAnswer::Effects { digest, stored, .. }) => (digest, stored),
            other => panic!("{other:?}"),
        };
    let every = LogIndex::new(EFFECTS_EVERY);
    let (digest, stored) = at(EFFECTS_EVERY);
    assert_eq!(stored[0], (every, digest.unwrap()));
    assert_eq!(stored[1].0.get(), 2 * EFFECTS_EVERY);
    assert_eq!(at(2 * EFFECTS_EVERY + 2), (None, Vec::new()));
    // Behind a start, those are what is known of before.
    host.persist().unwrap();
    let again = disk.host();
    assert_eq!(again.effects().at(every), None);
    assert_eq!(again.digest(), host.digest());
}

/// A short command may have a long answer: thousands of them in one batch took all memory there is,
/// and did so again at each start.
#[test]
fn what_is_answered_and_changed_bounds_how_much_is_applied_at_a_time() {
    let large = "x".repeat(1 << 20);
    let mut log = vec![command(1, &put("k", &large))];
    log.extend((2..=100).map(|index| command(index, &swap("k", Some("y"), None))));
    let mut host = Disk::default().host();
    let mut rest = &log[..];
    while !rest.is_empty() {
        let responses = host.apply_some(rest).unwrap();
        let answered: usize = responses.iter().map(|(_, answer)| answer.len()).sum();
        assert!(answered < APPLY_BYTES_MAX + large.len() + 100, "{answered} bytes at a time");
        let done = host.applied().index.get() - rest[0].id.index.get() + 1;
        assert_eq!(responses.len() as u64, done, "of which each is answered");
        rest = &rest[usize::try_from(done).unwrap()..];
    }
    let mut one_by_one = Disk::default().host();
    log.iter().for_each(|entry| drop(one_by_one.apply(std::slice::from_ref(entry)).unwrap()));
    assert_eq!(host.digest(), one_by_one.digest(), "however much at a time");
}

/// What a batch deletes is passed over by each range that is read in it.
#[test]
fn many_deletions_are_not_applied_in_one_batch() {
    let puts: Vec<_> =
        (1..=2_000).map(|index| command(index, &put(&index.to_string(), ""))).collect();
    let mut host = Disk::default().host();
    host.apply(&puts).unwrap();
    assert_eq!(host.applied().index.get(), 2_000, "puts of so few bytes are one batch");
    let deletes =
        (2_001..=4_000).map(|index| command(index, &delete(&(index - 2_000).to_string())));
    host.apply_some(&deletes.collect::<Vec<_>>()).unwrap();
    let at_once = host.applied().index.get() - 2_000;
    assert!((100..1_000).contains(&at_once), "{at_once} deletions in one batch");
}
