//! Runs a plain machine, whose state is in memory, as one whose state is durable.
//!
//! Each command that the machine applies is kept in the store, in the batch that holds its effects
//! on everything else. When these commands outweigh the state, the machine's snapshot takes their
//! place, in pieces. A node that starts, or takes over a leader's state, restores the snapshot and
//! applies the commands behind it: no command is lost, and none is applied twice (museum H6, J7).
//!
//! | key | value |
//! |---|---|
//! | `r` | the record: what there is of the others |
//! | `s` + number, big-endian u32 | a piece of the snapshot |
//! | `c` + number, big-endian u64 | a command: index u64, cluster time u64, data |
//!
//! Given up: a snapshot is made between two commands, so a machine with a large state had better
//! stand on the store itself ([`StoredMachine`]). Whether the stores of all nodes are equal byte
//! for byte depends on whether the machine writes equal states to equal bytes, and when it was
//! restored: so of these keys nothing is in the digest by which nodes compare their effects. A
//! plain machine is compared by its answers.

use std::io::{self, Read};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Mutex, MutexGuard};

use bytes::{Buf, Bytes};
use consensus::{ClusterTime, LogIndex};

use crate::error::CommandMissing;
use crate::machine::{Command, Response, StateMachine, StoredMachine};
use crate::store::{StoreError, Transaction, View};

/// Commands are kept up to so many bytes, even if the state is smaller.
const COMMANDS_BYTES_MIN: u64 = 1024 * 1024;

/// The size of a piece of the snapshot, in bytes.
const PIECE_BYTES: usize = 256 * 1024;

/// What keeping a command costs besides its data, in bytes.
const COMMAND_COST_BYTES: u64 = 64;

const RECORD: &[u8] = b"r";
const RECORD_VERSION: u8 = 1;
const RECORD_BYTES: usize = 53;

/// A plain machine on the ordered store.
pub struct Plain<M, F> {
    name: &'static str,
    version: u32,
    make: F,
    commands_bytes_min: u64,
    live: Mutex<Live<M>>,
}

/// The machine in memory, and the last command in it.
struct Live<M> {
    machine: M,
    at: LogIndex,
}

/// What the store holds of the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Record {
    /// The last command.
    at: LogIndex,
    /// How many snapshots were made; without one, the machine begins new.
    snapshots: u64,
    /// How many pieces the last one has, and how many bytes.
    pieces: u32,
    snapshot_bytes: u64,
    /// The number of the first command behind it, how many there are, and what they cost.
    first: u64,
    count: u64,
    commands_bytes: u64,
}

type Get<'a> = &'a dyn Fn(&[u8]) -> Result<Option<Bytes>, StoreError>;

impl<M: StateMachine, F: Fn() -> M + Send + Sync + 'static> Plain<M, F> {
    /// Runs what `make` makes, a new machine each time, under this name and version of its
    /// behaviour, which the bootstrap record holds for ever ([`StoredMachine::version`]).
    pub fn new(name: &'static str, version: u32, make: F) -> Self {
        let live = Mutex::new(Live { machine: make(), at: LogIndex::ZERO });
        Self { name, version, make, commands_bytes_min: COMMANDS_BYTES_MIN, live }
    }

    /// Makes a snapshot only when the commands behind the last one take so many bytes, and as many
    /// as that one; the default is 1 MiB. Nodes of a cluster should have the same value.
    #[must_use]
    pub fn with_commands_bytes_min(self, bytes: u64) -> Self {
        Self { commands_bytes_min: bytes, ..self }
    }

    fn live(&self) -> MutexGuard<'_, Live<M>> {
        self.live.lock().expect("a machine that panics ends the process")
    }

    /// Makes the machine anew from what the store holds.
    fn load(&self, get: Get<'_>, record: &Record) -> Result<Live<M>, StoreError> {
        let mut machine = (self.make)();
        if record.snapshots > 0 {
            let mut pieces = Pieces { get, next: 0, end: record.pieces, piece: Bytes::new() };
            machine.restore(&mut pieces).map_err(|error| failed(Box::new(error)))?;
        }
        for number in record.first..record.first + record.count {
            let mut kept = get(&command_key(number))?
                .filter(|kept| kept.len() >= 16)
                .ok_or_else(|| failed(Box::new(CommandMissing(number))))?;
            let index = LogIndex::new(kept.get_u64());
            let time = ClusterTime::new(kept.get_u64());
            // It was answered when it was new.
            let _ = machine.apply(&Command { index, time, data: &kept });
        }
        Ok(Live { machine, at: record.at })
    }

    /// Puts the machine's snapshot in the place of the commands.
    fn fold(
        machine: &M,
        record: &mut Record,
        transaction: &mut Transaction<'_>,
    ) -> Result<(), StoreError> {
        let mut source = machine.snapshot();
        let (before, mut pieces, mut bytes) = (record.pieces, 0, 0);
        loop {
            let mut piece = Vec::new();
            (&mut source)
                .take(PIECE_BYTES as u64)
                .read_to_end(&mut piece)
                .map_err(|error| failed(Box::new(error)))?;
            if piece.is_empty() {
                break;
            }
            bytes += piece.len() as u64;
            transaction.put_aside(&piece_key(pieces), piece.into());
            pieces += 1;
        }
        for number in pieces..before {
            transaction.delete_aside(&piece_key(number));
        }
        for number in record.first..record.first + record.count {
            transaction.delete_aside(&command_key(number));
        }
        *record = Record {
            at: record.at,
            snapshots: record.snapshots + 1,
            pieces,
            snapshot_bytes: bytes,
            first: record.first + record.count,
            count: 0,
            commands_bytes: 0,
        };
        Ok(())
    }
}

impl<M: StateMachine, F: Fn() -> M + Send + Sync + 'static> StoredMachine for Plain<M, F> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn version(&self) -> u32 {
        self.version
    }

    fn open(&self, view: &dyn View) -> Result<(), StoreError> {
        let mut live = self.live();
        let record = Record::decode(view.get(RECORD)?)?;
        // Also at the same last command it may be another state, for which this one makes way.
        if live.at != record.at || record.at > LogIndex::ZERO {
            *live = self.load(&|key| view.get(key), &record)?;
        }
        Ok(())
    }

    fn apply(
        &self,
        command: &Command<'_>,
        transaction: &mut Transaction<'_>,
    ) -> Result<Response, StoreError> {
        let mut live = self.live();
        let mut record = Record::decode(transaction.get(RECORD)?)?;
        // Another state was taken over in a way that did not open it.
        if live.at != record.at {
            *live = self.load(&|key| transaction.get(key), &record)?;
        }
        let response = live.machine.apply(command);
        live.at = command.index;
        let mut kept = Vec::with_capacity(16 + command.data.len());
        kept.extend_from_slice(&command.index.get().to_be_bytes());
        kept.extend_from_slice(&command.time.get().to_be_bytes());
        kept.extend_from_slice(command.data);
        record.at = command.index;
        record.commands_bytes += COMMAND_COST_BYTES + kept.len() as u64;
        transaction.put_aside(&command_key(record.first + record.count), kept.into());
        record.count += 1;
        if record.commands_bytes >= self.commands_bytes_min.max(record.snapshot_bytes) {
            Self::fold(&live.machine, &mut record, transaction)?;
        }
        transaction.put_aside(RECORD, record.encode());
        Ok(response)
    }

    fn query(&self, view: &dyn View, query: &[u8]) -> Result<Response, StoreError> {
        let mut live = self.live();
        let record = Record::decode(view.get(RECORD)?)?;
        // The machine in memory may be ahead of the view: what is applied is committed. Nobody
        // changes the machine's keys meanwhile, because that begins with this lock.
        if live.at < record.at {
            *live = self.load(&|key| view.get(key), &record)?;
        }
        // A panic of the question leaves the lock as it was, and the machine, which did not change.
        let answered = catch_unwind(AssertUnwindSafe(|| live.machine.query(query)));
        drop(live);
        Ok(answered.unwrap_or_else(|panic| resume_unwind(panic)))
    }

    fn frees_space(&self, command: &[u8]) -> bool {
        M::frees_space(command)
    }

    fn describe(&self, command: &[u8], values: bool) -> Option<String> {
        M::describe(command, values)
    }
}

impl Record {
    fn encode(&self) -> Bytes {
        let mut bytes = vec![RECORD_VERSION];
        bytes.extend_from_slice(&self.pieces.to_be_bytes());
        let numbers = [self.at.get(), self.snapshots, self.snapshot_bytes];
        for number in numbers.into_iter().chain([self.first, self.count, self.commands_bytes]) {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        bytes.into()
    }

    fn decode(bytes: Option<Bytes>) -> Result<Self, StoreError> {
        let Some(mut bytes) = bytes else {
            return Ok(Self::default());
        };
        if bytes.len() != RECORD_BYTES || bytes.get_u8() != RECORD_VERSION {
            return Err(failed("the record of a plain machine is of another version".into()));
        }
        Ok(Self {
            pieces: bytes.get_u32(),
            at: LogIndex::new(bytes.get_u64()),
            snapshots: bytes.get_u64(),
            snapshot_bytes: bytes.get_u64(),
            first: bytes.get_u64(),
            count: bytes.get_u64(),
            commands_bytes: bytes.get_u64(),
        })
    }
}

/// The pieces of a snapshot, one after the other.
struct Pieces<'a> {
    get: Get<'a>,
    next: u32,
    end: u32,
    piece: Bytes,
}

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() && self.next < self.end {
            let found = (self.get)(&piece_key(self.next)).map_err(io::Error::other)?;
            let missing = || io::Error::other(format!("piece {} is missing", self.next));
            self.piece = found.ok_or_else(missing)?;
            self.next += 1;
        }
        let size = buffer.len().min(self.piece.len());
        buffer[..size].copy_from_slice(&self.piece.split_to(size));
        Ok(size)
    }
}

fn piece_key(number: u32) -> Vec<u8> {
    [&b"s"[..], &number.to_be_bytes()].concat()
}

fn command_key(number: u64) -> Vec<u8> {
    [&b"c"[..], &number.to_be_bytes()].concat()
}

fn failed(source: Box<dyn std::error::Error + Send + Sync>) -> StoreError {
    StoreError { doing: "loading a plain machine", source }
}
