//! The key/value machine: what each command does, what it refuses, and that refusing changes
//! nothing.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::kit::{Machine, bytes, delete, put, swap};
use bytes::Bytes;
use state_machine::{
    KEY_BYTES_MAX, Kv, KvCommand, KvQuery, KvResponse, PAGE_BYTES_MAX, PAGE_KEYS_MAX, Pair,
    StoreError, StoredMachine as _, VALUE_BYTES_MAX, View,
};

fn done(revision: u64) -> KvResponse {
    KvResponse::Done { revision }
}

fn value(revision: u64, text: &str) -> KvResponse {
    KvResponse::Value { revision, value: bytes(text) }
}

fn refused(response: KvResponse) -> String {
    match response {
        KvResponse::Refused { reason } => reason,
        other => panic!("{other:?} is no refusal"),
    }
}

#[test]
fn a_put_is_read_with_the_index_of_its_entry() {
    let mut machine = Machine::new();
    assert_eq!(machine.get("a"), KvResponse::NotFound);
    assert_eq!(machine.apply(&put("a", "1")), done(1));
    assert_eq!(machine.apply(&put("b", "")), done(2));
    assert_eq!(machine.apply(&put("a", "2")), done(3));
    assert_eq!(machine.get("a"), value(3, "2"));
    assert_eq!(machine.get("b"), value(2, ""));
}

#[test]
fn a_delete_takes_the_key_away_once() {
    let mut machine = Machine::new();
    machine.apply(&put("a", "1"));
    assert_eq!(machine.apply(&delete("a")), done(2));
    assert_eq!(machine.apply(&delete("a")), KvResponse::NotFound);
    assert_eq!(machine.get("a"), KvResponse::NotFound);
    assert_eq!(machine.list("", "", 10), (vec![], false));
}

#[test]
fn a_swap_changes_only_the_expected_value() {
    let mut machine = Machine::new();
    machine.apply(&put("a", "1"));
    let differs = KvResponse::Differs { revision: 1, actual: bytes("1") };
    assert_eq!(machine.apply(&swap("a", Some("2"), Some("3"))), differs);
    assert_eq!(machine.get("a"), value(1, "1"));
    assert_eq!(machine.apply(&swap("a", Some("1"), Some("3"))), done(3));
    assert_eq!(machine.get("a"), value(3, "3"));
    assert_eq!(machine.apply(&swap("a", Some("3"), None)), done(4));
    assert_eq!(machine.get("a"), KvResponse::NotFound);
}

#[test]
fn a_swap_that_expects_nothing_makes_a_key_once() {
    let mut machine = Machine::new();
    assert_eq!(machine.apply(&swap("a", None, Some("1"))), done(1));
    let differs = KvResponse::Differs { revision: 1, actual: bytes("1") };
    assert_eq!(machine.apply(&swap("a", None, Some("2"))), differs);
    assert_eq!(machine.get("a"), value(1, "1"));
}

#[test]
fn a_swap_tells_an_empty_value_from_none() {
    let mut machine = Machine::new();
    assert_eq!(machine.apply(&swap("a", Some(""), Some("1"))), KvResponse::NotFound);
    machine.apply(&put("a", ""));
    let differs = KvResponse::Differs { revision: 2, actual: bytes("") };
    assert_eq!(machine.apply(&swap("a", None, Some("1"))), differs);
    assert_eq!(machine.apply(&swap("a", Some(""), Some("1"))), done(4));
}

#[test]
fn a_swap_of_nothing_for_nothing_is_done() {
    let mut machine = Machine::new();
    assert_eq!(machine.apply(&swap("a", None, None)), done(1));
    assert_eq!(machine.get("a"), KvResponse::NotFound);
}

#[test]
fn a_list_is_in_order_and_behind_the_last_page() {
    let mut machine = Machine::new();
    for key in ["b", "a/2", "a", "a/1", "a0", "a/10"] {
        machine.apply(&put(key, "x"));
    }
    let all = ["a", "a/1", "a/10", "a/2", "a0", "b"].map(String::from);
    assert_eq!(machine.list("", "", 10), (all.to_vec(), false));
    assert_eq!(machine.list("", "", 6), (all.to_vec(), false), "no page behind the last key");
    assert_eq!(machine.list("", "", 4), (all[..4].to_vec(), true));
    assert_eq!(machine.list("", "a/2", 4), (all[4..].to_vec(), false));
    assert_eq!(machine.list("", "a/15", 1), (vec!["a/2".into()], true), "no such key is needed");
    assert_eq!(machine.list("a/", "", 10), (all[1..4].to_vec(), false));
    assert_eq!(machine.list("a/", "a/1", 10), (all[2..4].to_vec(), false));
    assert_eq!(machine.list("a/", "A", 1), (all[1..2].to_vec(), true));
    assert_eq!(machine.list("a/", "b", 10), (vec![], false), "behind all of the prefix");
    assert_eq!(machine.list("c", "", 10), (vec![], false));
}

#[test]
fn a_list_of_a_prefix_of_high_bytes_ends() {
    let mut machine = Machine::new();
    let keys: Vec<Bytes> = [&[0xfe][..], &[0xff], &[0xff, 0], &[0xff, 0xff], &[0xff, 0xff, 1]]
        .map(Bytes::from_static)
        .to_vec();
    for key in &keys {
        machine.apply(&KvCommand::Put { key: key.clone(), value: Bytes::new() });
    }
    for (prefix, expected) in [(&[0xff][..], &keys[1..]), (&[0xff, 0xff], &keys[3..])] {
        let (prefix, after) = (Bytes::from_static(prefix), Bytes::new());
        let page = machine.query(&KvQuery::List { prefix, after, limit: 10 });
        let KvResponse::Page { items, more: false } = page else { panic!("{page:?}") };
        let found: Vec<Bytes> = items.into_iter().map(|(key, _, _)| key).collect();
        assert_eq!(found, expected);
    }
}

#[test]
fn a_page_has_at_least_one_key_and_at_most_the_limit() {
    let mut machine = Machine::new();
    for number in 0..=PAGE_KEYS_MAX {
        machine.apply(&put(&format!("{number:05}"), ""));
    }
    assert_eq!(machine.list("", "", 0).0, ["00000"], "a page of none would never end");
    let (keys, more) = machine.list("", "", u32::MAX);
    assert_eq!((keys.len(), more), (PAGE_KEYS_MAX as usize, true));
    assert_eq!(machine.list("", keys.last().unwrap(), u32::MAX), (vec!["01000".into()], false));
}

#[test]
fn a_page_ends_before_it_is_too_large_to_send() {
    let mut machine = Machine::new();
    let half = "x".repeat(PAGE_BYTES_MAX / 2);
    for key in ["a", "b", "c"] {
        machine.apply(&put(key, &half));
    }
    assert_eq!(machine.list("", "", 10), (vec!["a".into()], true));
    assert_eq!(machine.list("", "a", 10), (vec!["b".into()], true));
    assert_eq!(machine.list("", "b", 10), (vec!["c".into()], false));
}

#[test]
fn a_page_may_be_exactly_as_large_as_can_be_sent() {
    let mut machine = Machine::new();
    let half = "x".repeat(PAGE_BYTES_MAX / 2 - 1);
    for key in ["a", "b", "c"] {
        machine.apply(&put(key, &half));
    }
    assert_eq!(machine.list("", "", 10), (vec!["a".into(), "b".into()], true));
}

/// A thousand values of one size, how many of their bytes were ever read at a time, and how many
/// of them in all.
struct Thousand {
    value: Bytes,
    most_bytes: AtomicUsize,
    reads: AtomicUsize,
}

impl Thousand {
    fn of(value_bytes: usize) -> Self {
        let (most_bytes, reads) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Self { value: Bytes::from(vec![0; value_bytes]), most_bytes, reads }
    }

    fn page(&self, after: Bytes, limit: u32) -> (Vec<Bytes>, bool) {
        let query = KvQuery::List { prefix: Bytes::new(), after, limit };
        let response = Kv.query(self, &query.encode()).unwrap();
        match KvResponse::decode(&response).unwrap() {
            KvResponse::Page { items, more } => {
                (items.into_iter().map(|(key, _, _)| key).collect(), more)
            }
            other => panic!("{other:?} is no page"),
        }
    }
}

impl View for Thousand {
    fn get(&self, _: &[u8]) -> Result<Option<Bytes>, StoreError> {
        Ok(None)
    }

    fn range(&self, from: &[u8], _: Option<&[u8]>, limit: usize) -> Result<Vec<Pair>, StoreError> {
        let keys = (0..1_000).map(|number| Bytes::from(format!("{number:03}")));
        let keys = keys.filter(|key| key.as_ref() >= from).take(limit);
        let pairs: Vec<Pair> = keys.map(|key| (key, self.value.clone())).collect();
        self.most_bytes.fetch_max(pairs.len() * self.value.len(), Ordering::Relaxed);
        self.reads.fetch_add(pairs.len(), Ordering::Relaxed);
        Ok(pairs)
    }
}

#[test]
fn a_page_of_long_values_is_not_read_much_further_than_it_goes() {
    let long = Thousand::of(100_000);
    let mut after = Bytes::new();
    let mut keys = 0;
    loop {
        let (page, more) = long.page(after, PAGE_KEYS_MAX);
        keys += page.len();
        after = page.last().unwrap().clone();
        if !more {
            break;
        }
    }
    assert_eq!(keys, 1_000, "each key in one page");
    let read = long.most_bytes.load(Ordering::Relaxed);
    assert!(read < 4 * PAGE_BYTES_MAX, "{read} bytes at a time");
}

#[test]
fn a_page_reads_its_own_keys_and_one_more() {
    for limit in [1, 32, 33, 100, 700] {
        let short = Thousand::of(10);
        let (page, more) = short.page(Bytes::new(), limit);
        assert_eq!((page.len(), more), (limit as usize, true));
        assert_eq!(short.reads.load(Ordering::Relaxed), page.len() + 1, "{limit}");
    }
}

#[test]
fn a_list_that_ends_at_the_border_of_a_page_says_so() {
    let mut machine = Machine::new();
    for key in ["a/1", "a/2", "a/3", "a/4", "b"] {
        machine.apply(&put(key, ""));
    }
    let keys = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>();
    assert_eq!(machine.list("a/", "", 4), (keys(&["a/1", "a/2", "a/3", "a/4"]), false));
    assert_eq!(machine.list("a/", "", 2), (keys(&["a/1", "a/2"]), true));
    // Between two pages the last key seen goes, and others come before and behind it.
    machine.apply(&delete("a/2"));
    machine.apply(&put("a/15", ""));
    machine.apply(&put("a/25", ""));
    assert_eq!(machine.list("a/", "a/2", 2), (keys(&["a/25", "a/3"]), true));
    assert_eq!(machine.list("a/", "a/3", 1), (keys(&["a/4"]), false));
    machine.apply(&delete("a/4"));
    assert_eq!(machine.list("a/", "a/3", 1), (vec![], false), "nothing is left, nothing is said");
}

#[test]
fn keys_and_values_are_told_one_to_one() {
    let said = |command: &KvCommand| Kv.describe(&command.encode(), true).unwrap();
    assert_eq!(said(&put("a", "b")), "put a b");
    assert_eq!(said(&put("a b", "c")), "put $'a b' c");
    assert_eq!(said(&put("a", "b c")), "put a $'b c'");
    assert_eq!(said(&swap("a", None, Some("b"))), "cas a from absent to b");
    assert_eq!(said(&swap("a", Some("absent"), None)), "cas a from $'absent' to delete");
    assert_eq!(said(&delete("nl\nkey")), r"del $'nl\nkey'");
    assert_eq!(said(&delete(r"nl\nkey")), r"del $'nl\\nkey'");
}

#[test]
fn keys_and_values_up_to_the_limits_are_taken() {
    let mut machine = Machine::new();
    let key = "k".repeat(KEY_BYTES_MAX);
    let large = "v".repeat(VALUE_BYTES_MAX);
    assert_eq!(machine.apply(&put(&key, &large)), done(1));
    assert_eq!(machine.get(&key), value(1, &large));
    assert_eq!(machine.apply(&swap(&key, Some(&large), Some(&large))), done(2));
    assert_eq!(machine.apply(&delete(&key)), done(3));
}

#[test]
fn commands_over_a_limit_are_refused_and_change_nothing() {
    let mut machine = Machine::new();
    machine.apply(&put("a", "1"));
    let before = machine.digest();
    let key = "k".repeat(KEY_BYTES_MAX + 1);
    let large = "v".repeat(VALUE_BYTES_MAX + 1);
    let long = "the key has 1025 bytes, at most 1024 are allowed";
    let huge = "the value has 1044481 bytes, at most 1044480 are allowed";
    for (command, reason) in [
        (put("", "1"), "the key is empty"),
        (delete(""), "the key is empty"),
        (swap("", None, None), "the key is empty"),
        (put(&key, "1"), long),
        (delete(&key), long),
        (swap(&key, None, Some("1")), long),
        (put("a", &large), huge),
        (swap("a", Some(&large), None), huge),
        (swap("a", Some("1"), Some(&large)), huge),
    ] {
        assert_eq!(refused(machine.apply(&command)), reason);
    }
    assert_eq!(machine.digest(), before);
    assert_eq!(machine.get("a"), value(1, "1"));
}

#[test]
fn bytes_that_are_no_command_are_refused_and_change_nothing() {
    let mut machine = Machine::new();
    machine.apply(&put("a", "1"));
    let before = machine.digest();
    for (body, reason) in [
        (&b""[..], "the bytes are cut off"),
        (b"\x02\x01", "format version 2 is unknown to this build"),
        (b"\x01\x07", "kind 7 is unknown"),
        (b"\x01\x01\x01\0\0\0a", "the bytes are cut off"),
    ] {
        assert_eq!(refused(machine.apply_bytes(Bytes::from_static(body))), reason);
    }
    assert_eq!(machine.digest(), before);
}

#[test]
fn bytes_that_are_no_question_are_refused() {
    let machine = Machine::new();
    for query in [&b""[..], b"\x01\x09", b"\x01\x01\xff\xff\xff\xff"] {
        let answer = machine.host.view().query(query).unwrap();
        refused(KvResponse::decode(&answer).unwrap());
    }
}

#[test]
fn the_same_commands_make_the_same_answers_and_the_same_state() {
    let run = || {
        let mut machine = Machine::new();
        let mut answers = Vec::new();
        for round in 0..50 {
            let key = format!("k{}", round * 7 % 11);
            for command in [put(&key, "1"), swap(&key, Some("1"), None), delete("k3"), put("", "x")]
            {
                answers.push(machine.apply(&command).encode());
            }
        }
        (answers, machine.digest())
    };
    assert_eq!(run(), run());
}

#[test]
fn a_digest_tells_states_apart() {
    let digest = |commands: &[KvCommand]| {
        let mut machine = Machine::new();
        for command in commands {
            machine.apply(command);
        }
        machine.digest()
    };
    let twice = [put("a", "1"), put("b", "2"), delete("b")];
    let once = [put("a", "1"), put("c", "3"), delete("c")];
    assert_eq!(digest(&twice), digest(&once), "equal states, on different ways");
    assert_ne!(digest(&[put("a", "1")]), digest(&[put("a", "2")]));
    assert_ne!(digest(&[put("ab", "c")]), digest(&[put("a", "bc")]));
    assert_ne!(digest(&[put("a", "1")]), digest(&[put("x", "1"), put("a", "1"), delete("x")]));
}

#[test]
fn a_digest_is_of_all_keys_however_many_there_are() {
    let mut machine = Machine::new();
    for number in 0..2_500 {
        machine.apply(&put(&format!("{number:04}"), "same"));
        // Digests read a thousand keys at a time.
        if [999, 1_000, 1_999, 2_000, 2_499].contains(&number) {
            let key = format!("{number:04}");
            let before = machine.digest();
            machine.apply(&delete(&key));
            assert_ne!(machine.digest(), before, "{number}");
            machine.apply(&put(&key, "same"));
        }
    }
}

/// They stand in every node's bootstrap record.
#[test]
fn its_name_and_version_stay() {
    assert_eq!((Kv.name(), Kv.version()), ("kv", 1));
}

#[test]
fn only_commands_that_delete_make_room() {
    let frees = |command: &KvCommand| Kv.frees_space(&command.encode());
    assert!(frees(&delete("k")));
    assert!(frees(&swap("k", Some("old"), None)));
    assert!(!frees(&put("k", "")));
    assert!(!frees(&swap("k", Some("old"), Some("new"))));
    assert!(!frees(&KvCommand::Increment { key: bytes("k"), delta: -1 }));
    assert!(!Kv.frees_space(b"?"), "it will be refused, but not before it is in the log");
}

#[test]
fn an_increment_counts_from_nothing_and_answers_with_the_sum() {
    let mut machine = Machine::new();
    let mut add = |delta| {
        let answer = machine.apply(&KvCommand::Increment { key: bytes("n"), delta });
        match answer {
            KvResponse::Value { value, .. } => String::from_utf8(value.into()).unwrap(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!([add(1), add(41), add(-50)], ["1", "42", "-8"]);
    assert_eq!(machine.get("n"), KvResponse::Value { revision: 3, value: bytes("-8") });
}

#[test]
fn an_increment_of_what_is_no_number_or_by_too_much_is_refused_and_changes_nothing() {
    let mut machine = Machine::new();
    machine.apply(&put("text", "1 apple"));
    machine.apply(&put("large", &i64::MAX.to_string()));
    let before = machine.digest();
    for (key, why) in [
        ("text", "the value is no whole number of 64 bits in decimal digits"),
        ("large", "the sum has more than 64 bits"),
        ("", "the key is empty"),
    ] {
        let refused = machine.apply(&KvCommand::Increment { key: bytes(key), delta: 1 });
        assert_eq!(refused, KvResponse::Refused { reason: why.into() });
    }
    assert_eq!(machine.digest(), before);
}

#[test]
fn what_a_command_says_holds_values_only_when_they_may_be_shown() {
    let said = |command: &KvCommand, values| Kv.describe(&command.encode(), values).unwrap();
    assert_eq!(said(&put("k", "secret"), false), "put k (6 bytes)");
    assert_eq!(said(&put("k", "secret"), true), "put k secret");
    assert_eq!(said(&delete("k"), false), "del k");
    assert_eq!(said(&swap("k", Some("old"), None), false), "cas k from (3 bytes) to delete");
    assert_eq!(said(&swap("k", None, Some("new")), true), "cas k from absent to new");
    let key = Bytes::from_static(b"\x1b[2J\xff");
    assert_eq!(said(&KvCommand::Delete { key }, true), "del $'\\x1b[2J\\xff'");
    assert_eq!(Kv.describe(b"?", true), None, "it says nothing of what it does not know");
}
