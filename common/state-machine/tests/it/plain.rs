//! A plain machine lives in memory, and nothing of it is lost or applied twice.

use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Barrier};

use bytes::Bytes;
use consensus::{ClusterTime, Entry, EntryId, LogIndex, Payload, Term};
use proptest::prelude::Strategy;
use proptest::test_runner::Config;
use proptest::{collection, prop_assert_eq, prop_oneof, proptest};
use state_machine::{
    Batch, Command, CommandMissing, Envelope, Host, HostError, MemoryStore, OrderedStore, Plain,
    Response, RestoreError, SnapshotSource, StateMachine, StoredMachine as _, View,
};

/// Counts how often each word was said: to apply a command twice, or not at all, shows.
#[derive(Debug, Default)]
struct Words(BTreeMap<String, u64>);

impl StateMachine for Words {
    fn apply(&mut self, command: &Command<'_>) -> Response {
        let word = String::from_utf8(command.data.to_vec()).unwrap();
        let count = self.0.entry(word).or_default();
        *count += 1;
        Bytes::from(format!("{count} at {} and {}", command.index, command.time))
    }

    fn query(&self, query: &[u8]) -> Response {
        let count = self.0.get(std::str::from_utf8(query).unwrap()).unwrap_or(&0);
        Bytes::from(count.to_string())
    }

    fn snapshot(&self) -> Box<dyn SnapshotSource> {
        let lines = self.0.iter().map(|(word, count)| format!("{word} {count}\n"));
        Box::new(Cursor::new(lines.collect::<String>()))
    }

    fn restore(&mut self, from: &mut dyn Read) -> Result<(), RestoreError> {
        let mut text = String::new();
        from.read_to_string(&mut text)?;
        let malformed = || RestoreError::Malformed("a line is not a word and a number");
        for line in text.lines() {
            let (word, count) = line.rsplit_once(' ').ok_or_else(malformed)?;
            self.0.insert(word.to_owned(), count.parse().map_err(|_| malformed())?);
        }
        Ok(())
    }
}

fn words(commands_bytes_min: u64) -> Arc<Plain<Words, fn() -> Words>> {
    let make: fn() -> Words = Words::default;
    Arc::new(Plain::new("words", 1, make).with_commands_bytes_min(commands_bytes_min))
}

fn open(store: MemoryStore, commands_bytes_min: u64) -> Host<MemoryStore> {
    Host::open(store, words(commands_bytes_min)).unwrap()
}

fn entry(index: u64, word: &str) -> Entry {
    let command = Envelope::sessionless(Bytes::from(word.to_owned())).encode();
    Entry::new(
        EntryId { term: Term::new(1), index: LogIndex::new(index) },
        ClusterTime::new(index * 10),
        Payload::Command(command),
    )
}

/// Says a word next.
fn say(host: &mut Host<MemoryStore>, word: &str) -> Bytes {
    let index = host.applied().index.get() + 1;
    host.apply(&[entry(index, word)]).unwrap().remove(0).1
}

fn ask(host: &Host<MemoryStore>, word: &str) -> String {
    String::from_utf8(host.view().query(word.as_bytes()).unwrap().to_vec()).unwrap()
}

/// Takes the store out of a host whose process ends.
fn stop(mut host: Host<MemoryStore>) -> MemoryStore {
    host.with_store(std::mem::take).unwrap()
}

#[test]
fn commands_are_answered_with_index_and_time_and_queries_see_them() {
    let mut host = open(MemoryStore::new(), 1 << 20);
    assert_eq!(say(&mut host, "a"), "1 at 1 and 10");
    assert_eq!(say(&mut host, "a"), "2 at 2 and 20");
    assert_eq!((ask(&host, "a"), ask(&host, "b")), ("2".to_owned(), "0".to_owned()));
}

#[test]
fn nothing_is_known_of_its_commands_if_it_does_not_say_more() {
    assert_eq!(words(1).describe(b"a", true), None);
    assert!(!words(1).frees_space(b"a"));
}

/// The lock of the machine was poisoned by it, and the next command ended the node.
#[test]
fn a_question_that_panics_leaves_the_machine_as_it_was() {
    let mut host = open(MemoryStore::new(), 1 << 20);
    say(&mut host, "a");
    let view = host.view();
    assert!(std::panic::catch_unwind(AssertUnwindSafe(|| view.query(b"\xff"))).is_err());
    assert_eq!(say(&mut host, "a"), "2 at 2 and 20");
    assert_eq!(ask(&host, "a"), "2");
}

/// A machine of the same name that understands no snapshot of the other.
#[derive(Debug, Default)]
struct Others(Words);

impl StateMachine for Others {
    fn apply(&mut self, command: &Command<'_>) -> Response {
        self.0.apply(command)
    }

    fn query(&self, query: &[u8]) -> Response {
        self.0.query(query)
    }

    fn snapshot(&self) -> Box<dyn SnapshotSource> {
        self.0.snapshot()
    }

    fn restore(&mut self, _: &mut dyn Read) -> Result<(), RestoreError> {
        Err(RestoreError::Malformed("a format of the old version"))
    }

    fn frees_space(command: &[u8]) -> bool {
        command == b"less"
    }
}

/// It was noticed at the first command or question, and all nodes looked well until then.
#[test]
fn a_snapshot_that_cannot_be_restored_is_noticed_when_the_state_is_opened() {
    let make: fn() -> Others = Others::default;
    let others = || Arc::new(Plain::new("words", 1, make));
    let mut host = open(MemoryStore::new(), 1);
    say(&mut host, "a");
    let store = stop(host);
    let why = Host::open(store.clone(), others()).err().expect("it cannot be restored");
    let HostError::Store(error) = why else { panic!("{why}") };
    assert!(error.source.is::<RestoreError>(), "{error:?}");
    // .. or when it takes the place of another one.
    let mut host = Host::open(MemoryStore::new(), others()).unwrap();
    assert!(host.with_store(|own| *own = store).is_err());
}

#[test]
fn a_plain_machine_may_say_which_commands_free_space() {
    let make: fn() -> Others = Others::default;
    let others = Plain::new("words", 1, make);
    assert!(others.frees_space(b"less") && !others.frees_space(b"more"));
}

/// The machine in memory went on as it was, beside a state that says otherwise.
#[test]
fn a_state_that_is_opened_in_the_place_of_another_is_loaded_also_at_the_same_last_command() {
    for commands_bytes_min in [1, 1 << 20] {
        let machine = words(commands_bytes_min);
        let mut one = Host::open(MemoryStore::new(), machine.clone()).unwrap();
        say(&mut one, "wrong");
        let mut other = open(MemoryStore::new(), commands_bytes_min);
        say(&mut other, "right");
        drop(one);
        let mut host = Host::open(stop(other), machine).unwrap();
        assert_eq!((ask(&host, "right"), ask(&host, "wrong")), ("1".to_owned(), "0".to_owned()));
        assert_eq!(say(&mut host, "right"), "2 at 2 and 20");
    }
}

#[test]
fn a_restarted_node_has_what_was_durable_before_it_is_asked_or_told_anything() {
    for commands_bytes_min in [1, 200, 1 << 20] {
        let mut host = open(MemoryStore::new(), commands_bytes_min);
        for word in ["a", "b", "a", "c", "a"] {
            say(&mut host, word);
        }
        host.persist().unwrap();
        say(&mut host, "lost");
        let mut store = stop(host);
        store.crash();
        let host = open(store.clone(), commands_bytes_min);
        assert_eq!((ask(&host, "a"), ask(&host, "lost")), ("3".to_owned(), "0".to_owned()));
        let mut host = open(store, commands_bytes_min);
        assert_eq!(say(&mut host, "a"), "4 at 6 and 60");
    }
}

#[test]
fn a_state_that_is_taken_over_as_a_whole_takes_the_machine_s_place() {
    let mut leader = open(MemoryStore::new(), 300);
    for number in 0..20 {
        say(&mut leader, if number % 2 == 0 { "even" } else { "odd" });
    }
    let state = stop(leader);
    let mut host = open(MemoryStore::new(), 300);
    say(&mut host, "mine");
    assert_eq!(ask(&host, "mine"), "1");
    host.with_store(|store| *store = state).unwrap();
    assert_eq!((ask(&host, "even"), ask(&host, "mine")), ("10".to_owned(), "0".to_owned()));
    assert_eq!(say(&mut host, "odd"), "11 at 21 and 210");
}

#[test]
fn the_store_holds_no_more_than_the_state_and_as_much_again() {
    let mut host = open(MemoryStore::new(), 1_000);
    for _ in 0..2_000 {
        say(&mut host, "the same word");
    }
    let store = stop(host);
    let pairs = store.range(b"\x01", Some(b"\x02"), 100_000).unwrap();
    let bytes: usize = pairs.iter().map(|(key, value)| key.len() + value.len()).sum();
    assert!(bytes < 2_000, "{bytes}");
    assert_eq!(ask(&open(store, 1_000), "the same word"), "2000");
}

#[test]
fn damage_is_an_error_and_no_other_state() {
    let mut host = open(MemoryStore::new(), 1 << 20);
    say(&mut host, "a");
    say(&mut host, "b");
    let mut store = stop(host);
    let mut batch = Batch::new();
    batch.delete(Bytes::from_static(b"\x01c\0\0\0\0\0\0\0\x01"));
    store.write(batch).unwrap();
    let why = Host::open(store, words(1 << 20)).err().expect("it is damaged");
    let HostError::Store(error) = why else { panic!("{why}") };
    assert_eq!(error.source.downcast_ref(), Some(&CommandMissing(1)), "{error:?}");
}

/// What happens to a node.
#[derive(Clone, Debug)]
enum Step {
    /// It is told these words, in one batch.
    Say(Vec<String>),
    Persist,
    /// It starts again, with what was durable, and is told again what came behind.
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => collection::vec("[a-d]{1,3}", 1..8).prop_map(Step::Say),
        1 => proptest::strategy::Just(Step::Persist),
        1 => proptest::strategy::Just(Step::Crash),
    ]
}

proptest! {
    #![proptest_config(Config { cases: 128, failure_persistence: None, ..Config::default() })]

    #[test]
    fn it_answers_as_the_machine_alone_would(
        steps in collection::vec(step(), 1..60),
        commands_bytes_min in 1_u64..2_000,
    ) {
        let mut host = open(MemoryStore::new(), commands_bytes_min);
        let mut log: Vec<Entry> = Vec::new();
        let mut model = Words::default();
        for step in steps {
            match step {
                Step::Say(said) => {
                    let first = log.len() as u64 + 1;
                    let new: Vec<Entry> =
                        (first..).zip(&said).map(|(index, word)| entry(index, word)).collect();
                    let answers = host.apply(&new).unwrap();
                    for ((index, answer), word) in answers.iter().zip(&said) {
                        let time = ClusterTime::new(index.get() * 10);
                        let data = word.as_bytes();
                        let expected = model.apply(&Command { index: *index, time, data });
                        prop_assert_eq!(answer, &expected);
                    }
                    log.extend(new);
                }
                Step::Persist => {
                    host.persist().unwrap();
                }
                Step::Crash => {
                    let mut store = stop(host);
                    store.crash();
                    host = open(store, commands_bytes_min);
                    let behind = usize::try_from(host.applied().index.get()).unwrap();
                    if behind < log.len() {
                        host.apply(&log[behind..]).unwrap();
                    }
                }
            }
            for (word, count) in &model.0 {
                prop_assert_eq!(&ask(&host, word), &count.to_string());
            }
        }
    }
}

/// Waits in the middle of each command until it is let go on.
struct Slow(Arc<Barrier>, u64);

impl StateMachine for Slow {
    fn apply(&mut self, command: &Command<'_>) -> Response {
        if !command.data.is_empty() {
            self.0.wait();
            self.0.wait();
        }
        self.1 += 1;
        Bytes::new()
    }

    fn query(&self, _query: &[u8]) -> Response {
        Bytes::from(self.1.to_string())
    }

    fn snapshot(&self) -> Box<dyn SnapshotSource> {
        Box::new(Cursor::new(Vec::new()))
    }

    fn restore(&mut self, _from: &mut dyn Read) -> Result<(), RestoreError> {
        Ok(())
    }
}

/// A client that goes on reading at another node asks it for what it has seen here: less than that
/// would be back in time.
#[test]
fn a_question_is_told_an_index_that_covers_what_it_has_seen_also_amid_a_batch_6_4() {
    let barrier = Arc::new(Barrier::new(2));
    let of_its = Arc::clone(&barrier);
    let machine = Plain::new("slow", 1, move || Slow(Arc::clone(&of_its), 0));
    let mut host = Host::open(MemoryStore::new(), Arc::new(machine)).unwrap();
    let view = host.view();
    let applying =
        std::thread::spawn(move || host.apply(&[entry(1, ""), entry(2, "wait")]).unwrap());
    barrier.wait();
    // The machine is held by the command that it is at: the question waits for that.
    let asked = std::thread::spawn(move || {
        view.at_one_moment(|moment| (moment.query(b"").unwrap(), moment.reached()))
    });
    barrier.wait();
    let (seen, reached) = asked.join().unwrap();
    let seen: u64 = std::str::from_utf8(&seen).unwrap().parse().unwrap();
    assert!(reached.get() >= seen, "it has seen {seen} commands, and is told {reached}");
    applying.join().unwrap();
}
