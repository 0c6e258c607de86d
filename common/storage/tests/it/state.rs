//! The state's store: batches are atomic, and a crash leaves the state of some moment before.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use bytes::Bytes;
use proptest::prelude::Strategy;
use proptest::test_runner::Config;
use proptest::{collection, prop_assert_eq, proptest};
use state_machine::{Batch, MemoryStore, OrderedStore, View};
use storage::{StateStore, StorageError};
use tempfile::tempdir;

/// Where the writer writes; set for the writer only.
const WRITER: &str = "STORAGE_TEST_STATE_WRITER";

/// The test's name, by which the binary is asked to run nothing else.
const TEST: &str = "state::a_killed_writer_leaves_the_first_batches_and_no_part_of_another";

fn batch(changes: &[(&str, Option<&str>)]) -> Batch {
    let mut batch = Batch::new();
    for (key, value) in changes {
        let key = Bytes::copy_from_slice(key.as_bytes());
        match value {
            Some(value) => batch.put(key, Bytes::copy_from_slice(value.as_bytes())),
            None => batch.delete(key),
        }
    }
    batch
}

fn pairs(store: &dyn View, from: &str, to: Option<&str>, limit: usize) -> Vec<(String, String)> {
    let text = |bytes: Bytes| String::from_utf8(bytes.to_vec()).unwrap();
    let found = store.range(from.as_bytes(), to.map(str::as_bytes), limit).unwrap();
    found.into_iter().map(|(key, value)| (text(key), text(value))).collect()
}

fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn a_batch_sets_and_deletes_together() {
    let place = tempdir().unwrap();
    let mut store = StateStore::open(place.path()).unwrap();
    store.write(batch(&[("a", Some("1")), ("b", Some("2"))])).unwrap();
    store.write(batch(&[("a", None), ("b", Some("3")), ("c", Some(""))])).unwrap();
    assert_eq!(store.get(b"a").unwrap(), None);
    assert_eq!(store.get(b"b").unwrap().unwrap(), b"3"[..]);
    assert_eq!(store.get(b"c").unwrap().unwrap(), b""[..], "an empty value is a value");
    assert_eq!(pairs(&store, "", None, 10), owned(&[("b", "3"), ("c", "")]));
}

#[test]
fn a_range_has_its_first_key_and_not_its_end() {
    let place = tempdir().unwrap();
    let mut store = StateStore::open(place.path()).unwrap();
    let keys = ["a", "ab", "b", "c", "\u{7f}"];
    let changes: Vec<_> = keys.iter().map(|key| (*key, Some("x"))).collect();
    store.write(batch(&changes)).unwrap();
    let keys = |from, to, limit| -> Vec<String> {
        pairs(&store, from, to, limit).into_iter().map(|(key, _)| key).collect()
    };
    assert_eq!(keys("ab", Some("c"), 10), ["ab", "b"]);
    assert_eq!(keys("", Some("b"), 10), ["a", "ab"]);
    assert_eq!(keys("b", None, 10), ["b", "c", "\u{7f}"]);
    assert_eq!(keys("a", None, 2), ["a", "ab"]);
    assert_eq!(keys("c", Some("a"), 10), [""; 0]);
    assert_eq!(keys("a", None, 0), [""; 0]);
}

#[test]
fn what_was_persisted_is_there_after_reopening() {
    let place = tempdir().unwrap();
    let mut store = StateStore::open(place.path()).unwrap();
    store.write(batch(&[("a", Some("1")), ("b", Some("2"))])).unwrap();
    store.persist().unwrap();
    store.write(batch(&[("a", None)])).unwrap();
    store.persist().unwrap();
    drop(store);
    let store = StateStore::open(place.path()).unwrap();
    assert_eq!(pairs(&store, "", None, 10), owned(&[("b", "2")]));
}

/// It goes on being read, so that nothing else would say so before the next start.
#[test]
fn a_table_that_somebody_removed_is_missed_at_the_next_flush() {
    let place = tempdir().unwrap();
    let mut store = StateStore::open(place.path()).unwrap();
    store.write(batch(&[("a", Some("1"))])).unwrap();
    store.flush_later().run().unwrap();
    let children = fs::read_dir(place.path().join("state")).unwrap();
    let mut tables = children.map(|child| child.unwrap().path());
    let table = tables.find(|path| path.extension().is_some_and(|it| it == "sst")).unwrap();
    fs::remove_file(&table).unwrap();
    store.write(batch(&[("b", Some("1"))])).unwrap();
    match store.flush_later().run() {
        Err(StorageError::Gone { path, .. }) => assert_eq!(path, table),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_view_outlives_later_changes_on_any_thread() {
    let place = tempdir().unwrap();
    let mut store = StateStore::open(place.path()).unwrap();
    store.write(batch(&[("a", Some("1"))])).unwrap();
    let view = store.view();
    let read = std::thread::spawn(move || view.get(b"a").unwrap());
    store.write(batch(&[("b", Some("2"))])).unwrap();
    assert_eq!(read.join().unwrap().unwrap(), b"1"[..]);
}

#[test]
fn a_second_process_cannot_have_the_state_as_well() {
    let place = tempdir().unwrap();
    let _held = StateStore::open(place.path()).unwrap();
    let Err(refused) = StateStore::open(place.path()) else { panic!("it opened") };
    assert!(refused.to_string().contains("opening the state"), "{refused}");
}

/// Writes for ever: each batch counts itself and leaves a pair of its own.
fn write_for_ever(path: &Path) -> ! {
    let mut store = StateStore::open(path).unwrap();
    let mut out = std::io::stdout().lock();
    let filling = "x".repeat(400_000);
    for count in 1_u64.. {
        let (number, key) = (count.to_string(), format!("batch {count:06}"));
        store.write(batch(&[("count", Some(&number)), (&key, Some(&filling))])).unwrap();
        if count == 20 {
            store.persist().unwrap();
        }
        writeln!(out, "written {count}").unwrap();
        out.flush().unwrap();
    }
    unreachable!("nobody counts that far");
}

/// Returns how many batches the writer had written when it was gone.
fn kill_after(path: &Path, batches: u64) -> u64 {
    let mut writer = Command::new(env::current_exe().unwrap())
        .args([TEST, "--exact", "--nocapture"])
        .env(WRITER, path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut written = 0;
    for line in BufReader::new(writer.stdout.take().unwrap()).lines() {
        if let Some((_, count)) = line.unwrap().split_once("written ") {
            written = count.parse().unwrap();
            if written == batches {
                writer.kill().unwrap();
            }
        }
    }
    writer.wait().unwrap();
    written
}

/// The store flushes by itself when its memory is full; that must be a whole moment, too.
#[test]
fn a_killed_writer_leaves_the_first_batches_and_no_part_of_another() {
    if let Some(path) = env::var_os(WRITER) {
        write_for_ever(Path::new(&path));
    }
    for batches in [3, 20, 90, 170, 300] {
        let place = tempdir().unwrap();
        let written = kill_after(place.path(), batches);
        let store = StateStore::open(place.path()).unwrap();
        let count = store.get(b"count").unwrap();
        let count = count.map_or(0, |c| String::from_utf8(c.to_vec()).unwrap().parse().unwrap());
        let pairs = store.range(b"batch", Some(b"c"), 10_000).unwrap();
        let keys: Vec<Bytes> = pairs.into_iter().map(|(key, _)| key).collect();
        let expected: Vec<String> = (1..=count).map(|n: u64| format!("batch {n:06}")).collect();
        assert_eq!(keys, expected, "{written} written, {count} counted");
        let persisted = if batches >= 20 { 20 } else { 0 };
        assert!((persisted..=written + 1).contains(&count), "{written} written, {count} counted");
    }
}

fn changes() -> impl Strategy<Value = Vec<(String, Option<String>)>> {
    let value = proptest::option::weighted(0.7, "[a-c]{0,4}");
    collection::vec(("[a-c]{0,3}", value), 0..12)
}

/// Where a range starts, where it ends, and how many pairs are wanted.
fn question() -> impl Strategy<Value = (String, Option<String>, usize)> {
    ("[a-c]{0,3}", proptest::option::of("[a-c]{0,3}"), 0_usize..9)
}

proptest! {
    #![proptest_config(Config { cases: 64, failure_persistence: None, ..Config::default() })]

    #[test]
    fn it_answers_as_the_store_in_memory_does(
        batches in collection::vec(changes(), 1..8),
        questions in collection::vec(question(), 12),
    ) {
        let place = tempdir().unwrap();
        let mut disk = StateStore::open(place.path()).unwrap();
        let mut memory = MemoryStore::new();
        for changes in &batches {
            let changes: Vec<_> =
                changes.iter().map(|(key, value)| (key.as_str(), value.as_deref())).collect();
            disk.write(batch(&changes)).unwrap();
            memory.write(batch(&changes)).unwrap();
        }
        for (from, to, limit) in &questions {
            let to = to.as_deref();
            let expected = pairs(&memory, from, to, *limit);
            prop_assert_eq!(pairs(&disk, from, to, *limit), expected, "{:?}..{:?}", from, to);
            let (key, expected) = (from.as_bytes(), memory.get(from.as_bytes()).unwrap());
            prop_assert_eq!(disk.get(key).unwrap(), expected);
        }
    }
}
