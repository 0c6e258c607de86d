//! A plain machine with a large state: how its snapshot is stored, and when.

use std::io::{Cursor, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use state_machine::{
    Command, Host, MemoryStore, Plain, Response, RestoreError, SnapshotSource, StateMachine,
    StoredMachine, View as _,
};

use crate::kit::raw;

/// The size of a piece, in bytes.
const PIECE: usize = 256 * 1024;

/// Its state is so many bytes, as the last command said; spaces before the number weigh nothing
/// here, and much in the store. No snapshot of it is empty.
struct Blob(Vec<u8>);

/// Bytes of which no eight are like eight others.
fn pattern(size: usize) -> Vec<u8> {
    (1_u64..).flat_map(u64::to_le_bytes).take(size).collect()
}

impl StateMachine for Blob {
    fn apply(&mut self, command: &Command<'_>) -> Response {
        self.0 = pattern(std::str::from_utf8(command.data).unwrap().trim().parse().unwrap());
        Response::new()
    }

    fn query(&self, _: &[u8]) -> Response {
        Bytes::from(self.0.clone())
    }

    fn snapshot(&self) -> Box<dyn SnapshotSource> {
        Box::new(Cursor::new(self.0.clone()))
    }

    fn restore(&mut self, from: &mut dyn Read) -> Result<(), RestoreError> {
        self.0.clear();
        from.read_to_end(&mut self.0)?;
        match self.0.first() {
            Some(1) => Ok(()),
            Some(_) | None => Err(RestoreError::Malformed("it does not begin with a 1")),
        }
    }

    fn describe(command: &[u8], values: bool) -> Option<String> {
        Some(if values { format!("{} bytes", command.escape_ascii()) } else { "bytes".into() })
    }
}

/// The machine of a node, and how often it was made.
fn blob(commands_bytes_min: u64) -> (impl StoredMachine, Arc<AtomicUsize>) {
    let made = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&made);
    let make = move || {
        counted.fetch_add(1, Ordering::Relaxed);
        Blob(pattern(1))
    };
    (Plain::new("blob", 7, make).with_commands_bytes_min(commands_bytes_min), made)
}

fn open(store: MemoryStore, commands_bytes_min: u64) -> Host<MemoryStore> {
    Host::open(store, Arc::new(blob(commands_bytes_min).0)).unwrap()
}

/// Makes the state so large, by a command of at least so many bytes.
fn set(host: &mut Host<MemoryStore>, size: usize, command_bytes: usize) {
    let number = size.to_string();
    let command = " ".repeat(command_bytes.saturating_sub(number.len())) + &number;
    let index = host.applied().index.next().get();
    host.apply(&[raw(index, Bytes::from(command))]).unwrap();
}

/// Returns what a node has that starts with this one's store.
fn after_a_start(host: &Host<MemoryStore>) -> Bytes {
    open(host.store().clone(), 1).view().query(b"").unwrap()
}

/// Returns the keys of the machine that begin with this letter, without it, and their values.
fn stored(host: &Host<MemoryStore>, letter: u8) -> Vec<(Bytes, Bytes)> {
    let found = host.store().range(&[1, letter], Some(&[1, letter + 1]), usize::MAX).unwrap();
    found.into_iter().map(|(key, value)| (key.slice(2..), value)).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_machine_is_known_by_its_own_name_version_and_words() {
    let (machine, _) = blob(1);
    assert_eq!((machine.name(), machine.version()), ("blob", 7));
    assert_eq!(machine.describe(b"12", true).unwrap(), "12 bytes");
    assert_eq!(machine.describe(b"12", false).unwrap(), "bytes");
}

#[test]
fn a_snapshot_of_any_size_comes_back_whole() {
    for size in [1, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, 5 * PIECE / 2] {
        let mut host = open(MemoryStore::new(), 1);
        set(&mut host, size, 1);
        assert_eq!(stored(&host, b'c'), [], "the snapshot has taken the command's place");
        assert!(after_a_start(&host) == pattern(size), "{size}");
    }
}

#[test]
fn a_snapshot_is_stored_in_full_pieces_and_a_rest_under_their_numbers() {
    let mut host = open(MemoryStore::new(), 1);
    set(&mut host, 2 * PIECE + 9, 1);
    let pieces: Vec<(String, usize)> =
        stored(&host, b's').iter().map(|(key, value)| (hex(key), value.len())).collect();
    let piece = |number: &str, size| (number.to_owned(), size);
    assert_eq!(pieces, [piece("00000000", PIECE), piece("00000001", PIECE), piece("00000002", 9)]);
}

#[test]
fn a_smaller_snapshot_leaves_nothing_of_a_larger_one() {
    let mut host = open(MemoryStore::new(), 1);
    set(&mut host, 3 * PIECE, 1);
    // A command that weighs as much as the state brings the next snapshot.
    set(&mut host, PIECE, 3 * PIECE);
    let pieces = stored(&host, b's');
    assert_eq!((pieces.len(), pieces[0].1.len()), (1, PIECE));
    assert!(after_a_start(&host) == pattern(PIECE));
}

#[test]
fn commands_are_kept_until_they_weigh_as_much_as_the_state() {
    let mut host = open(MemoryStore::new(), 1);
    set(&mut host, 1_000, 1);
    // Each has 16 bytes of index and time, and counts 64 more: 100 in all.
    for kept in 1..10 {
        set(&mut host, 1_000, 20);
        assert_eq!(stored(&host, b'c').len(), kept);
    }
    set(&mut host, 1_000, 20);
    assert_eq!(stored(&host, b'c'), []);
}

/// Nodes of all versions leave this in their stores.
#[test]
fn what_stands_in_the_store_never_changes_its_form() {
    let mut host = open(MemoryStore::new(), 1);
    for size in [10, 20, 200, 5, 6] {
        set(&mut host, size, 1);
    }
    let record = "01\
                  00000001\
                  0000000000000005\
                  0000000000000003\
                  00000000000000c8\
                  0000000000000003\
                  0000000000000002\
                  00000000000000a2";
    assert_eq!(hex(&stored(&host, b'r')[0].1), record, "five commands, of which three are folded");
    let commands: Vec<(String, String)> =
        stored(&host, b'c').iter().map(|(key, value)| (hex(key), hex(value))).collect();
    let command = |number: &str, index_time_data: &str| (number.into(), index_time_data.into());
    let expected = [
        command("0000000000000003", "0000000000000004000000000000019035"),
        command("0000000000000004", "000000000000000500000000000001f436"),
    ];
    assert_eq!(commands, expected);
    assert_eq!(after_a_start(&host), pattern(6));
}

#[test]
fn a_machine_without_a_snapshot_begins_new_and_restores_nothing() {
    let mut host = open(MemoryStore::new(), 1 << 20);
    set(&mut host, 10, 1);
    assert_eq!(stored(&host, b's'), []);
    assert_eq!(after_a_start(&host), pattern(10));
}

#[test]
fn a_machine_is_made_anew_only_if_the_store_knows_more() {
    let (machine, made) = blob(1 << 20);
    let mut host = Host::open(MemoryStore::new(), Arc::new(machine)).unwrap();
    set(&mut host, 10, 1);
    for size in [20, 30] {
        set(&mut host, size, 1);
        assert_eq!(host.view().query(b"").unwrap(), pattern(size));
    }
    assert_eq!(made.load(Ordering::Relaxed), 1, "the one that it began with");

    let (machine, made) = blob(1 << 20);
    let again = Host::open(host.store().clone(), Arc::new(machine)).unwrap();
    for _ in 0..3 {
        assert_eq!(again.view().query(b"").unwrap(), pattern(30));
    }
    assert_eq!(made.load(Ordering::Relaxed), 2, "another one, for the first question");
}
