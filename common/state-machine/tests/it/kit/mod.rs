//! What the tests of the machines have in common: a host in a test's hand.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use consensus::{ClusterTime, Entry, EntryId, LogIndex, Payload, Term};
use state_machine::{
    Batch, Envelope, Host, Kv, KvCommand, KvQuery, KvResponse, MemoryStore, OrderedStore, Pair,
    StoreError, StoredMachine, View,
};

/// Returns what is under the system's prefix.
pub fn system_part(store: &dyn View) -> Vec<Pair> {
    store.range(&[0], Some(&[1]), usize::MAX).unwrap()
}

pub fn at(term: u64, index: u64) -> EntryId {
    EntryId { term: Term::new(term), index: LogIndex::new(index) }
}

pub fn entry(index: u64, payload: Payload) -> Entry {
    Entry::new(at(1, index), ClusterTime::new(index * 100), payload)
}

/// An entry with a command of the key/value machine.
pub fn command(index: u64, command: &KvCommand) -> Entry {
    raw(index, command.encode())
}

/// An entry with any bytes in a right envelope.
pub fn raw(index: u64, body: Bytes) -> Entry {
    entry(index, Payload::Command(Envelope::sessionless(body).encode()))
}

pub fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

pub fn put(key: &str, value: &str) -> KvCommand {
    KvCommand::Put { key: bytes(key), value: bytes(value) }
}

pub fn delete(key: &str) -> KvCommand {
    KvCommand::Delete { key: bytes(key) }
}

pub fn swap(key: &str, expected: Option<&str>, new: Option<&str>) -> KvCommand {
    KvCommand::CompareAndSwap {
        key: bytes(key),
        expected: expected.map(bytes),
        new: new.map(bytes),
    }
}

/// A store in memory that the test can crash or break behind the host's back.
#[derive(Clone, Default)]
pub struct Disk(Arc<Mutex<Inner>>);

#[derive(Default)]
pub struct Inner {
    pub store: MemoryStore,
    pub batches: usize,
    /// How often a range of keys was read.
    pub ranges: usize,
    pub broken: bool,
}

impl Disk {
    pub fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }

    pub fn crash(&self) {
        self.inner().store.crash();
    }

    pub fn host(&self) -> Host<Self> {
        Host::open(self.clone(), Arc::new(Kv)).unwrap()
    }

    /// Opens what the disk holds with any machine.
    pub fn host_of(&self, machine: impl StoredMachine) -> Host<Self> {
        Host::open(self.clone(), Arc::new(machine)).unwrap()
    }

    pub fn content(&self) -> Vec<Pair> {
        self.inner().store.range(b"", None, usize::MAX).unwrap()
    }
}

impl View for Disk {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.inner().store.get(key)
    }

    fn range(&self, from: &[u8], to: Option<&[u8]>, limit: usize) -> Result<Vec<Pair>, StoreError> {
        let mut inner = self.inner();
        inner.ranges += 1;
        inner.store.range(from, to, limit)
    }
}

impl OrderedStore for Disk {
    fn write(&mut self, batch: Batch) -> Result<(), StoreError> {
        let mut inner = self.inner();
        if inner.broken {
            return Err(StoreError { doing: "writing", source: "the test says so".into() });
        }
        inner.batches += 1;
        inner.store.write(batch)
    }

    fn view(&self) -> Arc<dyn View> {
        self.inner().store.view()
    }

    fn persist(&mut self) -> Result<(), StoreError> {
        self.inner().store.persist()
    }
}

/// A key/value machine on a store in memory.
pub struct Machine {
    pub host: Host<MemoryStore>,
}

impl Machine {
    pub fn new() -> Self {
        Self { host: Host::open(MemoryStore::new(), Arc::new(Kv)).unwrap() }
    }

    /// Applies one command as the next entry.
    pub fn apply(&mut self, one: &KvCommand) -> KvResponse {
        self.apply_bytes(one.encode())
    }

    /// Applies any bytes as the next entry.
    pub fn apply_bytes(&mut self, body: Bytes) -> KvResponse {
        let index = self.host.applied().index.next().get();
        let responses = self.host.apply(&[raw(index, body)]).unwrap();
        assert_eq!(responses.len(), 1);
        assert_eq!(responses[0].0.get(), index);
        KvResponse::decode(&responses[0].1).unwrap()
    }

    pub fn query(&self, query: &KvQuery) -> KvResponse {
        KvResponse::decode(&self.host.view().query(&query.encode()).unwrap()).unwrap()
    }

    pub fn get(&self, key: &str) -> KvResponse {
        self.query(&KvQuery::Get { key: bytes(key) })
    }

    /// Lists keys, with their values, and whether there are more.
    pub fn list(&self, prefix: &str, after: &str, limit: u32) -> (Vec<String>, bool) {
        let query = KvQuery::List { prefix: bytes(prefix), after: bytes(after), limit };
        let KvResponse::Page { items, more } = self.query(&query) else { panic!("a page") };
        let key = |(key, _, _)| String::from_utf8(Bytes::into(key)).unwrap();
        (items.into_iter().map(key).collect(), more)
    }

    /// Returns the system's part of the state, the applied index included.
    pub fn system_part(&self) -> Vec<Pair> {
        system_part(self.host.store())
    }

    pub fn digest(&self) -> u64 {
        self.host.view().digest().unwrap()
    }
}
