//! What the tests of storage have in common: a cluster, its nodes, entries and writes.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

pub mod image;
pub mod power;
pub mod snapshots;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use bytes::Bytes;
use consensus::{
    Chain, ClusterTime, Configuration, Entry, EntryId, HardState, Incarnation, LogIndex, Majority,
    Member, NodeId, Payload, SnapshotMeta, Term, Vote, Voters, Write, WriteId,
};
use protocol::BootstrapRecord;
use storage::{DataDirectory, LogStore, RestoredLog, StorageError};

/// The cluster of most tests.
pub const CLUSTER: [u8; 16] = *b"0123456789abcdef";

/// Room for everything in one read.
pub const EVERYTHING: usize = usize::MAX;

pub fn node(id: u64) -> NodeId {
    NodeId::new(id).unwrap()
}

/// Opens the directory of node 1, or makes it.
pub fn directory(path: &Path) -> Result<DataDirectory, StorageError> {
    DataDirectory::open_or_create(path, CLUSTER, node(1))
}

/// A configuration of one voter at this address.
pub fn configuration(incarnation: Incarnation, address: &str) -> Configuration {
    let member = Member { incarnation, name: "n1".into(), address: address.into() };
    let voters = Voters::Stable(Majority::new([node(1)]));
    Configuration::new(voters, BTreeSet::new(), BTreeMap::from([(node(1), member)])).unwrap()
}

/// The bootstrap record of a cluster of one.
pub fn record(incarnation: Incarnation) -> BootstrapRecord {
    BootstrapRecord {
        cluster: CLUSTER,
        configuration: configuration(incarnation, "host:7400"),
        machine: "kv".into(),
        machine_version: 1,
        parent: None,
    }
}

/// Makes a directory whose log holds the first configuration as its first entry.
pub fn found(path: &Path) -> DataDirectory {
    let mut directory = directory(path).unwrap();
    let record = record(directory.incarnation());
    LogStore::bootstrap(&mut directory, &record).unwrap();
    directory
}

/// Moves all that is in the log's memory into tables below the first level, which is where the
/// database ends up by itself sooner or later: only there are whole files dropped.
pub fn settle(path: &Path) {
    let path = path.join("log");
    let options = rocksdb::Options::default();
    let families = rocksdb::DB::list_cf(&options, &path).unwrap();
    let db = rocksdb::DB::open_cf(&options, &path, families).unwrap();
    db.compact_range_cf(db.cf_handle("log").unwrap(), None::<&[u8]>, None::<&[u8]>);
}

/// Opens the log of a directory that was founded before.
pub fn reopen(path: &Path) -> (LogStore, RestoredLog) {
    LogStore::open(&directory(path).unwrap()).unwrap()
}

pub fn at(term: u64, index: u64) -> EntryId {
    EntryId { term: Term::new(term), index: LogIndex::new(index) }
}

/// A command that says what it was written for.
pub fn command(term: u64, index: u64, text: &str) -> Entry {
    let payload = Payload::Command(Bytes::copy_from_slice(text.as_bytes()));
    Entry::new(at(term, index), ClusterTime::new(index * 10), payload)
}

/// A write of nothing, to be filled by struct update.
pub fn nothing() -> Write {
    Write {
        id: WriteId::ZERO,
        hard_state: None,
        truncate_from: None,
        append: Vec::new(),
        compact_to: None,
    }
}

pub fn hard_state(term: u64, vote: Option<u64>) -> HardState {
    let vote = vote.and_then(NodeId::new);
    let incarnation = Incarnation::new(7);
    let vote = vote.map(|candidate| Vote { candidate, incarnation });
    HardState { term: Term::new(term), vote }
}

/// A write as a leader of `term` does it: the entries, and the term.
pub fn append(term: u64, entries: Vec<Entry>) -> Write {
    Write { hard_state: Some(hard_state(term, Some(1))), append: entries, ..nothing() }
}

/// A write as a follower does it when another leader's entries replace its own.
pub fn replace(term: u64, from: u64, entries: Vec<Entry>) -> Write {
    Write { truncate_from: Some(LogIndex::new(from)), ..append(term, entries) }
}

/// A write as a node does it when its state is durable up to an entry, or is replaced by a
/// snapshot's.
pub fn compact(term: u64, index: u64, configuration: &Configuration) -> Write {
    let meta = SnapshotMeta {
        last: at(term, index),
        configuration: configuration.clone(),
        configuration_index: LogIndex::new(1),
        stamp: ClusterTime::new(index * 10),
        chain: consensus::Chain::ZERO,
    };
    Write { compact_to: Some(meta), ..nothing() }
}

/// Reads everything from `from` up to and with `last`.
pub fn read(log: &LogStore, from: u64, last: u64) -> Result<Vec<Entry>, StorageError> {
    let range = LogIndex::new(from)..LogIndex::new(last + 1);
    log.reader().read(range, EVERYTHING).map(unchained)
}

/// Returns the entries without the chain values that they got when they were written.
pub fn unchained(mut entries: Vec<Entry>) -> Vec<Entry> {
    for entry in &mut entries {
        entry.chain = Chain::ZERO;
    }
    entries
}
