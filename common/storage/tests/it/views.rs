//! What a question reads is of one moment, however often it reads, while commands are applied
//! (§6.4: an answer is that of the state at one point).

use std::sync::{Arc, Barrier};

use bytes::Bytes;
use consensus::{ClusterTime, Entry, Payload};
use state_machine::{
    Command, Envelope, Host, Kv, KvQuery, KvResponse, Moment, Response, StoreError,
};
use state_machine::{StoredMachine, Transaction, View};
use storage::StateStore;
use tempfile::tempdir;

use crate::kit::at;
use crate::kit::snapshots::put;

/// Its keys have one value, that of the last command; a question reads all, and rests in between.
struct Alike {
    rest: Arc<Barrier>,
}

const KEYS: [&[u8]; 3] = [b"a", b"b", b"c"];

impl StoredMachine for Alike {
    fn name(&self) -> &'static str {
        "alike"
    }

    fn version(&self) -> u32 {
        1
    }

    fn apply(
        &self,
        command: &Command<'_>,
        transaction: &mut Transaction<'_>,
    ) -> Result<Response, StoreError> {
        for key in KEYS {
            transaction.put(key, Bytes::copy_from_slice(command.data));
        }
        Ok(Response::new())
    }

    fn query(&self, view: &dyn View, _query: &[u8]) -> Result<Response, StoreError> {
        let mut seen = vec![view.get(KEYS[0])?.unwrap_or_default()];
        self.rest.wait();
        self.rest.wait();
        seen.push(view.get(KEYS[1])?.unwrap_or_default());
        seen.extend(view.range(KEYS[2], None, 9)?.into_iter().map(|(_, value)| value));
        Ok(seen.join(&b' ').into())
    }
}

fn said(index: u64, text: &'static str) -> Entry {
    let command = Envelope::sessionless(Bytes::from_static(text.as_bytes())).encode();
    Entry::new(at(1, index), ClusterTime::new(index * 10), Payload::Command(command))
}

#[test]
fn a_question_that_reads_several_times_reads_one_moment_6_4() {
    let place = tempdir().unwrap();
    let rest = Arc::new(Barrier::new(2));
    let machine = Arc::new(Alike { rest: Arc::clone(&rest) });
    let mut host = Host::open(StateStore::open(place.path()).unwrap(), machine).unwrap();
    host.apply(&[said(1, "old")]).unwrap();
    let view = host.view();
    let asked = std::thread::spawn(move || view.query(b"all").unwrap());
    rest.wait();
    host.apply(&[said(2, "new")]).unwrap();
    rest.wait();
    let answer = asked.join().unwrap();
    assert_eq!(answer, &b"old old old"[..], "{answer:?}");
}

/// What waits together is answered at one moment.
#[test]
fn all_questions_of_a_moment_read_that_moment_6_4() {
    let place = tempdir().unwrap();
    let store = StateStore::open(place.path()).unwrap();
    let mut host = Host::open(store, Arc::new(Kv)).unwrap();
    host.apply(&[put(1, 1, "k", "old")]).unwrap();
    let view = host.view();
    let query = KvQuery::Get { key: Bytes::from_static(b"k") }.encode();
    let (before, after) = view.at_one_moment(|moment| {
        let before = moment.query(&query).unwrap();
        host.apply(&[put(1, 2, "k", "new")]).unwrap();
        (before, moment.query(&query).unwrap())
    });
    assert_eq!(before, after);
    assert_ne!(view.query(&query).unwrap(), after, "the next moment shows what was put");
}

/// A view that was handed over before shows what is put behind it: a client that goes on at another
/// node must ask there for no less.
#[test]
fn a_question_is_told_an_index_that_covers_what_it_has_seen_6_4() {
    let place = tempdir().unwrap();
    let store = StateStore::open(place.path()).unwrap();
    let mut host = Host::open(store, Arc::new(Kv)).unwrap();
    host.apply(&[put(1, 1, "k", "old")]).unwrap();
    let view = host.view();
    host.apply(&[put(1, 2, "k", "new")]).unwrap();
    let query = KvQuery::Get { key: Bytes::from_static(b"k") }.encode();
    let read = |moment: &Moment<'_>| (moment.query(&query).unwrap(), moment.reached().get());
    let (answer, reached) = view.at_one_moment(read);
    let new = KvResponse::Value { revision: 2, value: Bytes::from_static(b"new") };
    assert_eq!((KvResponse::decode(&answer).unwrap(), reached), (new, 2));
}

/// A page of keys is read in several parts.
#[test]
fn a_page_of_keys_shows_nothing_that_was_put_behind_what_it_lacks_6_4() {
    let place = tempdir().unwrap();
    let store = StateStore::open(place.path()).unwrap();
    let mut host = Host::open(store, Arc::new(Kv)).unwrap();
    for index in 1..=200 {
        host.apply(&[put(1, index, &format!("k{index:03}"), "x")]).unwrap();
    }
    let (begun, begin) = std::sync::mpsc::channel();
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let view = host.view();
    let reader = std::thread::spawn(move || {
        while stopped.try_recv().is_err() {
            let page = KvResponse::decode(&view.query(&list()).unwrap()).unwrap();
            let KvResponse::Page { items, .. } = page else { panic!("{page:?}") };
            // Pairs are put in order: a low key, then a high one.
            let has = |letter: &[u8]| items.iter().filter(|it| it.0.starts_with(letter)).count();
            let (low, high) = (has(b"a"), has(b"z"));
            assert!(low == high || low == high + 1, "{low} low keys and {high} high ones");
            // Nobody waits for it but for the first time.
            let _ = begun.send(());
        }
    });
    begin.recv().unwrap();
    for pair in 0..300 {
        let index = 201 + 2 * pair;
        host.apply(&[put(1, index, &format!("a{pair:03}"), "x")]).unwrap();
        host.apply(&[put(1, index + 1, &format!("z{pair:03}"), "x")]).unwrap();
    }
    stop.send(()).unwrap();
    reader.join().unwrap();
}

fn list() -> Vec<u8> {
    let (prefix, after) = (Bytes::new(), Bytes::new());
    KvQuery::List { prefix, after, limit: 1_000 }.encode().to_vec()
}
