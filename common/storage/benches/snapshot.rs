//! How fast a state is photographed, written, verified and taken over, and how much memory that
//! takes: `cargo bench -p storage --bench snapshot -- [MIB]`, 64 MiB if not said.
//!
//! Memory is the most that the process had during a step beyond what it had before. It must not
//! grow with the state: a chunk, a memtable of 32 MiB and RocksDB's block cache are the bound.
#![allow(missing_docs)]

use std::fs;
use std::time::Instant;

use bytes::Bytes;
use consensus::{
    ClusterTime, Configuration, Entry, EntryId, LogIndex, Payload, SnapshotMeta, Term,
};
use protocol::Generation;
use state_machine::{Envelope, Host, Kv, KvCommand};
use storage::{SnapshotHeader, SnapshotReader, SnapshotWriter, StateStore};

/// The size of a value, in bytes.
const VALUE_BYTES: usize = 1_000;

fn main() {
    let number = std::env::args().skip(1).find_map(|argument| argument.parse::<u64>().ok());
    let mib = number.unwrap_or(64);
    let place = tempfile::tempdir().expect("a directory");
    let store = StateStore::open(place.path()).expect("the directory is empty");
    let mut host = Host::open(store, std::sync::Arc::new(Kv)).expect("the state is empty");
    let keys = mib * 1024 * 1024 / VALUE_BYTES as u64;
    step("fill, 1 kB a value", mib, || {
        for first in (1..=keys).step_by(1_000) {
            let entries: Vec<Entry> = (first..first + 1_000).map(put).collect();
            host.apply(&entries).expect("the disk is good");
        }
        host.persist().expect("the disk is good");
    });
    let taken = step("checkpoint, flushed before", mib, || host.with_store(StateStore::checkpoint));
    let checkpoint = taken.expect("the state is whole").expect("files can be linked");
    let path = place.path().join("bench.snap");
    let file = step("write a snapshot", mib, || {
        let writer = SnapshotWriter::create(&path, &header(host.applied(), host.time()));
        let writer = writer.expect("the directory is there");
        checkpoint.save_to(writer, |_| Ok(())).expect("the disk is good")
    });
    println!("{:34} {:>8} MiB", "its size", file.bytes >> 20);
    step("verify it", mib, || {
        SnapshotReader::open(&path).expect("it is whole").verify(|_| {}).expect("it is whole")
    });
    step("take it over", mib, || {
        let mut reader = SnapshotReader::open(&path).expect("it is whole");
        let replaced = host.with_store(|store| store.replace_from(&mut reader));
        replaced.expect("the state is whole").expect("the snapshot is whole");
    });
}

fn put(index: u64) -> Entry {
    // Values that do not compress.
    let mut word = index;
    let next = || {
        word = word.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        u8::try_from(word >> 56).expect("eight bits are left")
    };
    let value: Vec<u8> = std::iter::repeat_with(next).take(VALUE_BYTES).collect();
    let key = Bytes::from(format!("key {:016x}", index.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
    let command = KvCommand::Put { key, value: value.into() }.encode();
    Entry::new(
        EntryId { term: Term::new(1), index: LogIndex::new(index) },
        ClusterTime::new(index),
        Payload::Command(Envelope::sessionless(command).encode()),
    )
}

fn header(last: EntryId, stamp: ClusterTime) -> SnapshotHeader {
    let configuration = Configuration::unknown();
    SnapshotHeader {
        cluster: [0; 16],
        generation: Generation::new([0; 32]),
        meta: SnapshotMeta {
            last,
            configuration,
            configuration_index: LogIndex::ZERO,
            stamp,
            chain: consensus::Chain::ZERO,
        },
        machine: "kv".into(),
        machine_version: 1,
        made_unix_ms: 0,
    }
}

/// Does a step, and says how long it took and how much memory.
fn step<T>(what: &str, mib: u64, act: impl FnOnce() -> T) -> T {
    // Makes the most of the past the present.
    let _ = fs::write("/proc/self/clear_refs", "5");
    let before = status_kib("VmRSS:");
    let began = Instant::now();
    let done = act();
    let took = began.elapsed();
    let grown = status_kib("VmHWM:").saturating_sub(before) >> 10;
    let rate = mib as f64 / took.as_secs_f64();
    let took = took.as_secs_f64() * 1_000.0;
    println!("{what:34} {took:>8.1} ms {rate:>8.0} MiB/s   memory +{grown} MiB");
    done
}

fn status_kib(field: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().unwrap_or(0)
}
