//! Headers, pairs and states for the tests of snapshots.

use std::sync::Arc;

use bytes::Bytes;
use consensus::{ClusterTime, Entry, LogIndex, Payload, SnapshotMeta};
use protocol::Generation;
use state_machine::{Envelope, Host, Kv, KvCommand};
use storage::{
    DataDirectory, SnapshotFile, SnapshotHeader, SnapshotReader, SnapshotWriter, Snapshots,
    StateStore,
};

use super::{at, configuration};

/// A header of a snapshot of this directory's history.
pub fn header(directory: &DataDirectory, term: u64, index: u64) -> SnapshotHeader {
    let generation = directory.generation().unwrap();
    SnapshotHeader { cluster: directory.cluster(), generation, ..any_header(term, index) }
}

/// A header of some history.
pub fn any_header(term: u64, index: u64) -> SnapshotHeader {
    SnapshotHeader {
        cluster: super::CLUSTER,
        generation: Generation::new([7; 32]),
        meta: SnapshotMeta {
            last: at(term, index),
            configuration: configuration(consensus::Incarnation::new(5), "host:1"),
            configuration_index: LogIndex::new(1),
            stamp: ClusterTime::new(index * 10),
            chain: consensus::Chain::ZERO,
        },
        machine: "kv".into(),
        machine_version: 1,
        made_unix_ms: 1_700_000_000_000,
    }
}

/// Pairs of this many bytes each, in order.
pub fn pairs(count: usize, bytes: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
    (0..count).map(|n| (format!("key {n:06}").into_bytes(), vec![n as u8; bytes])).collect()
}

/// Writes all pairs.
pub fn fill(writer: &mut SnapshotWriter, pairs: &[(Vec<u8>, Vec<u8>)]) {
    for (key, value) in pairs {
        writer.push(key, value).unwrap();
    }
}

/// A put as the log holds it.
pub fn put(term: u64, index: u64, key: &str, value: &str) -> Entry {
    let (key, value) = (Bytes::from(key.to_owned()), Bytes::from(value.to_owned()));
    let command = KvCommand::Put { key, value }.encode();
    let payload = Payload::Command(Envelope::sessionless(command).encode());
    Entry::new(at(term, index), ClusterTime::new(index * 10), payload)
}

/// Applies puts of term 1 to a store, up to an index, a key for each.
pub fn apply(store: StateStore, to: u64, value: &str) -> Host<StateStore> {
    let mut host = Host::open(store, Arc::new(Kv)).unwrap();
    let from = host.applied().index.get() + 1;
    let entries: Vec<Entry> =
        (from..=to).map(|index| put(1, index, &format!("k{index}"), value)).collect();
    host.apply(&entries).unwrap();
    host
}

/// Opens the snapshots of a directory.
pub fn open(directory: &DataDirectory) -> Snapshots {
    Snapshots::open(directory).unwrap()
}

/// Returns the newest snapshot whose bytes are all as they were written.
pub fn newest_valid(snapshots: &Snapshots) -> Option<SnapshotFile> {
    let (files, _) = snapshots.list().unwrap();
    let is_valid = |file: &SnapshotFile| {
        SnapshotReader::open(&file.path).and_then(|reader| reader.verify(|_| {})).is_ok()
    };
    files.into_iter().find(is_valid)
}
