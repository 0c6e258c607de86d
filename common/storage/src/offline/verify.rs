//! Reads everything that a stopped node has, and tells the first damage.

use std::collections::BTreeSet;

use consensus::{ClusterTime, EntryId, HardState, LogIndex, Payload};
use rocksdb::{DB, IteratorMode};

use crate::bootstrap;
use crate::condition::Condition;
use crate::database::{database, family};
use crate::error::StorageError;
use crate::files;
use crate::layout::{CONFIGURATION, HARD_STATE_KEY, META, decode_hard_state, index_of};
use crate::names::SUPERBLOCK;
use crate::offline::{StoppedLog, StoppedNode};
use crate::options;
use crate::peers::PeerMemory;
use crate::snapshot::{SnapshotFile, SnapshotReader, Snapshots};
use crate::state::{checkpoint, place, rotten};
use crate::superblock::Superblock;
use crate::wal;

/// What is being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The log; measured in entries.
    Log,
    /// The state; measured in pairs, of which the database knows the number roughly.
    State,
    /// The snapshots; measured in bytes.
    Snapshots,
}

/// What was found to be as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Term and vote.
    pub hard_state: HardState,
    /// What the log begins behind.
    pub base: EntryId,
    /// The last entry.
    pub last: EntryId,
    /// The bytes of commands and configurations in the log.
    pub payload_bytes: u64,
    /// How many configurations the log holds.
    pub configurations: u64,
    /// The last entry whose effect is in the durable state.
    pub applied: EntryId,
    /// The pairs of the durable state, the system's and the machine's.
    pub pairs: u64,
    /// The bytes of their keys and values.
    pub state_bytes: u64,
    /// Tables in the directory of the state that its list (RocksDB's MANIFEST) does not name, and
    /// which were not read: a crash leaves such, and so does a list whose end was lost.
    pub unnamed_tables: u64,
    /// The snapshots, the newest first.
    pub snapshots: Vec<SnapshotFile>,
}

/// What is in the state.
#[derive(Default)]
struct State {
    applied: EntryId,
    pairs: u64,
    bytes: u64,
    unnamed_tables: u64,
}

impl StoppedNode {
    /// Reads and checks everything: both copies of the superblock and of the bootstrap record, what
    /// is remembered of the others, term and vote, each entry of the log with its checksums and
    /// against the records about the log, the state, and all snapshots. `done` is told from time to
    /// time how much of a part is read, and of how much. `None` if the node has no history, and so
    /// has nothing else.
    ///
    /// # Errors
    /// The first damage, with its place; or that something cannot be read.
    pub fn verify(
        &self,
        mut done: impl FnMut(Part, u64, u64),
    ) -> Result<Option<Verified>, StorageError> {
        self.verify_superblock()?;
        PeerMemory::at(&self.path).load()?;
        let Some(generation) = self.superblock.generation else { return Ok(None) };
        bootstrap::check(&self.path, generation)?;
        let log = self.log()?;
        let (payload_bytes, configurations) =
            log.verify(&mut |read, all| done(Part::Log, read, all))?;
        let state = self.verify_state(&mut |read, all| done(Part::State, read, all))?;
        let applied = state.applied;
        let snapshots = self.verify_snapshots(&mut |read, all| done(Part::Snapshots, read, all))?;
        let view = &log.restored().log;
        let (base, last) = (view.base(), view.last());
        if applied.index > last.index {
            return Err(StorageError::LogBehind { last, applied });
        }
        if applied.index >= base.index && !view.contains(applied) {
            let why = format!("it ends at entry {applied}, the log has {base} to {last}");
            return Err(StorageError::corrupt("the state", why));
        }
        let covers = |file: &SnapshotFile| {
            let end = file.header.meta.last;
            end.index >= base.index && view.contains(end)
        };
        if applied.index < base.index && !snapshots.iter().any(covers) {
            let why = "no snapshot stands in between".into();
            return Err(StorageError::Gap { base, applied, why });
        }
        let hard_state = log.restored().hard_state;
        Ok(Some(Verified {
            hard_state,
            base,
            last,
            payload_bytes,
            configurations,
            applied,
            pairs: state.pairs,
            state_bytes: state.bytes,
            unnamed_tables: state.unnamed_tables,
            snapshots,
        }))
    }

    fn verify_superblock(&self) -> Result<(), StorageError> {
        let path = self.path.join(SUPERBLOCK);
        if Superblock::has_two_copies(&path)? {
            return Ok(());
        }
        let why = "one of its two copies is damaged; a node would start from the other";
        Err(StorageError::corrupt(path.display().to_string(), why))
    }

    /// Returns the last entry whose effect is in the durable state.
    ///
    /// # Errors
    /// If the state is damaged or cannot be read.
    pub fn applied(&self) -> Result<EntryId, StorageError> {
        match self.state()? {
            Some(db) => Ok(checkpoint::applied(&checkpoint::Lying(&db))?.0),
            None => Ok(EntryId::ZERO),
        }
    }

    /// Opens the state; `None` if nothing was ever applied.
    fn state(&self) -> Result<Option<DB>, StorageError> {
        let place = place::current(&self.path)?;
        if !place.path().exists() {
            return Ok(None);
        }
        wal::check(place.path())?;
        DB::open_for_read_only(&options::reading(), place.path(), false)
            .map(Some)
            .map_err(|error| rotten("opening the state", &error))
    }

    fn verify_state(&self, done: &mut dyn FnMut(u64, u64)) -> Result<State, StorageError> {
        let Some(db) = self.state()? else {
            return Ok(State::default());
        };
        let all = db.property_int_value("rocksdb.estimate-num-keys").ok().flatten().unwrap_or(0);
        let (mut pairs, mut bytes) = (0, 0);
        checkpoint::for_each(&db, |key, value| {
            pairs += 1;
            bytes += (key.len() + value.len()) as u64;
            done(pairs, all.max(pairs));
            Ok(())
        })?;
        done(pairs, pairs);
        let (applied, _) = checkpoint::applied(&checkpoint::Lying(&db))?;
        Ok(State { applied, pairs, bytes, unnamed_tables: unnamed_tables(&db)? })
    }

    fn verify_snapshots(
        &self,
        done: &mut dyn FnMut(u64, u64),
    ) -> Result<Vec<SnapshotFile>, StorageError> {
        let generation = self.generation().expect("a node without a history has no snapshots");
        let snapshots = Snapshots::at(&self.path, self.cluster(), generation);
        if !snapshots.path().exists() {
            return Ok(Vec::new());
        }
        let (files, wrong) = snapshots.list()?;
        if let Some(first) = wrong.into_iter().next() {
            return Err(first);
        }
        let all = files.iter().map(|file| file.bytes).sum();
        let mut before = 0;
        for file in &files {
            SnapshotReader::open(&file.path)?.verify(|read| done(before + read, all))?;
            before += file.bytes;
        }
        Ok(files)
    }
}

/// Counts the tables in a database's directory that it does not know.
fn unnamed_tables(db: &DB) -> Result<u64, StorageError> {
    let known = db.live_files().map_err(|error| rotten("listing the state's tables", &error))?;
    let known: BTreeSet<&str> = known.iter().map(|it| it.name.trim_start_matches('/')).collect();
    let names = files::names(db.path())?;
    let is_unknown = |name: &&String| name.ends_with(".sst") && !known.contains(name.as_str());
    Ok(names.iter().filter(is_unknown).count() as u64)
}

impl StoppedLog {
    /// Reads all entries; returns the bytes of their payloads and the number of configurations.
    fn verify(&self, done: &mut dyn FnMut(u64, u64)) -> Result<(u64, u64), StorageError> {
        self.verify_condition()?;
        self.verify_hard_state()?;
        let recorded = self.recorded_configurations()?;
        let range = self.range();
        let all = range.end.since(range.start);
        let (mut read, mut bytes, mut configurations) = (0, 0, 0);
        let (mut stamp, mut before) = (ClusterTime::ZERO, None);
        for entry in self.entries(range)? {
            let entry = entry?;
            let is_configuration = match &entry.payload {
                Payload::Noop => false,
                Payload::Command(command) => {
                    bytes += command.len() as u64;
                    false
                }
                Payload::Configuration(configuration) => {
                    bytes += protocol::encode_configuration(configuration).len() as u64;
                    true
                }
            };
            let index = entry.id.index;
            if before.is_some_and(|chain| protocol::chain(chain, &entry) != entry.chain) {
                let why = "it and the entry before it are whole, and do not belong to one log";
                return Err(StorageError::corrupt(format!("log entry {}", entry.id), why));
            }
            before = Some(entry.chain);
            if is_configuration != recorded.contains(&index) {
                let (is, said) = if is_configuration { ("is", "is not") } else { ("is not", "is") };
                let why = format!("it {is} a configuration and {said} recorded as one");
                return Err(StorageError::corrupt(format!("log entry {index}"), why));
            }
            configurations += u64::from(is_configuration);
            stamp = stamp.max(entry.stamp);
            read += 1;
            done(read, all);
        }
        if before.is_some_and(|chain| chain != self.restored().chain) {
            let why = "its chain value is not the one that was noted for the log's end";
            let last = self.restored().log.last();
            return Err(StorageError::corrupt(format!("log entry {last}"), why));
        }
        if stamp > self.restored().stamp {
            let why = format!("stamp {} is below an entry's, {stamp}", self.restored().stamp);
            return Err(StorageError::corrupt("the record of the log's end", why));
        }
        Ok((bytes, configurations))
    }

    /// Looks whether what was acknowledged is there, and whole.
    ///
    /// # Errors
    /// What was forgotten, or which entries are damaged: the first place, and how many more.
    pub fn verify_condition(&self) -> Result<(), StorageError> {
        let Condition { losses, damages } = &self.restored().condition;
        if let Some(loss) = losses.first() {
            return Err(StorageError::corrupt("the log", loss.to_string()));
        }
        if let Some(damage) = damages.first() {
            let what = match damage.first == damage.last.index {
                true => format!("log entry {}", damage.last),
                false => format!("the log from entry {} to {}", damage.first, damage.last),
            };
            let others = damages.len() - 1;
            let more = if others == 0 { String::new() } else { format!("; {others} more places") };
            let why = format!("what is stored is not what was written{more}");
            return Err(StorageError::corrupt(what, why));
        }
        Ok(())
    }

    fn verify_hard_state(&self) -> Result<(), StorageError> {
        let stored = self
            .db
            .get_cf(family(&self.db, META)?, HARD_STATE_KEY)
            .map_err(|error| database("reading term and vote", &error))?;
        let hard_state = self.restored().hard_state;
        let copies = [
            ("first", stored.as_deref().and_then(decode_hard_state) == Some(hard_state)),
            // One that is older was overtaken by a crash, before anybody was told of the newer.
            ("second", self.tail.newest.is_some()),
        ];
        for (name, is_whole) in copies {
            if !is_whole {
                let why = format!("its {name} copy is damaged; a node would start from the other");
                return Err(StorageError::corrupt("the hard state", why));
            }
        }
        if self.tail.damaged > 0 {
            let why = format!("{} of its slots are damaged", self.tail.damaged);
            return Err(StorageError::corrupt("the tail file", why));
        }
        Ok(())
    }

    fn recorded_configurations(&self) -> Result<BTreeSet<LogIndex>, StorageError> {
        let keys = self.db.iterator_cf(family(&self.db, CONFIGURATION)?, IteratorMode::Start);
        keys.map(|item| {
            let (key, _) = item.map_err(|error| database("reading configurations", &error))?;
            index_of(&key)
        })
        .collect()
    }
}
