//! The state's store on RocksDB: no WAL, made durable as a whole by a flush, rebuilt from the log
//! after a crash, replaced as a whole by a snapshot.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use rocksdb::{DB, Direction, FlushOptions, IteratorMode, ReadOptions, WriteBatch};
use state_machine::{Batch, OrderedStore, Pair, StoreError, View};

use crate::database::database;
use crate::error::StorageError;
use crate::names::CHECKPOINTS;
use crate::opening_room::check_room;
use crate::options;
use crate::presence;
use crate::space::Sizes;
use crate::wal;

mod aside;
pub(crate) mod checkpoint;
mod collection;
mod memtable;
mod orphans;
mod pages;
pub(crate) mod place;
mod replace;
mod scrub;
mod upkeep;

pub use checkpoint::StateCheckpoint;
use collection::Collection;
use memtable::Memtable;
use orphans::Before;
use pages::Pages;
use place::Place;
pub use scrub::StateScrub;
pub use upkeep::StateUpkeep;

/// The ordered store of a node.
///
/// Its views read the present: each call sees one moment, and a later call may see a later one.
/// What is pinned stays at its moment. When the state is replaced, views of the old one go on to
/// show it.
pub struct StateStore {
    data_directory: PathBuf,
    live: Arc<Live>,
    /// The number of the last checkpoint.
    checkpoints: u64,
}

/// The directory among the checkpoints with links to the files of a state that is being opened.
const OPENED: &str = "opened";

/// A database, and the directory that goes with it when it was replaced: closed first.
struct Live {
    db: DB,
    place: Place,
    memtable: Memtable,
    collection: Collection,
    pages: Pages,
}

/// A flush that is still to be done.
pub struct StateFlush(Arc<Live>);

impl StateFlush {
    /// Makes durable what was written before [`StateStore::flush_later`], and perhaps more, as a
    /// whole. Returns what the state takes on the disk, in bytes.
    ///
    /// # Errors
    /// If the state cannot be written; [`StorageError::Gone`] if its next start would miss a table,
    /// which goes on being read here.
    pub fn run(self) -> Result<u64, StorageError> {
        self.0.flush().map_err(|error| rotten("flushing the state", &error))?;
        presence::check_tables(&self.0.db)?;
        presence::check_values(&self.0.db)?;
        self.0.memtable.follow(&self.0.db);
        Ok(self.0.bytes())
    }
}

impl Live {
    fn bytes(&self) -> u64 {
        let tables = self.db.property_int_value("rocksdb.live-sst-files-size");
        tables.ok().flatten().unwrap_or(0) + collection::bytes(&self.db)
    }
}

impl StateStore {
    /// Returns what the state takes on the disk, in bytes, as far as it is flushed.
    pub fn bytes(&self) -> u64 {
        self.live.bytes()
    }

    /// Returns the flush of everything written so far, to be done on any thread while writes go on.
    pub fn flush_later(&self) -> StateFlush {
        StateFlush(Arc::clone(&self.live))
    }

    /// Opens the store in the data directory; what was not flushed before a crash is gone, as a
    /// whole, and comes again from the log. What a crash left of checkpoints and of states that
    /// were not or no longer in force is removed.
    ///
    /// # Errors
    /// If it cannot be opened; [`StorageError::Corrupt`] if it is damaged or missing, or was
    /// condemned: then [`StateStore::set_aside`] makes way for another one.
    pub fn open(data_directory: &Path) -> Result<Self, StorageError> {
        aside::check(data_directory)?;
        checkpoint::remove_all(data_directory)?;
        let place = place::current(data_directory)?;
        place::remove_others(data_directory, &place)?;
        let live = Live::open(place, &links(data_directory))?;
        Ok(Self { data_directory: data_directory.to_owned(), live: Arc::new(live), checkpoints: 0 })
    }
}

/// Returns the directory for links to the files of a state that is being opened.
fn links(data_directory: &Path) -> PathBuf {
    data_directory.join(CHECKPOINTS).join(OPENED)
}

impl Live {
    /// `links` is a directory to be made, and removed.
    fn open(place: Place, links: &Path) -> Result<Self, StorageError> {
        wal::check(place.path())?;
        check_room(place.path())?;
        let sizes = Sizes::at(place.path());
        let before = Before::look(place.path())?;
        let mut options = options::state(sizes);
        options.set_disable_auto_compactions(true);
        let db = DB::open(&options, place.path())
            .map_err(|error| rotten("opening the state", &error))?;
        before.remove_unknown(&db, links)?;
        db.set_options(&[("disable_auto_compactions", "false")])
            .map_err(|error| rotten("opening the state", &error))?;
        let (memtable, collection) = (Memtable::new(sizes), Collection::new(sizes));
        Ok(Self { db, place, memtable, collection, pages: Pages::default() })
    }

    fn write(&self, changes: WriteBatch) -> Result<(), rocksdb::Error> {
        self.memtable.wrote(&changes);
        self.db.write_opt(changes, &options::unlogged())
    }

    fn flush(&self) -> Result<(), rocksdb::Error> {
        let mut flush = FlushOptions::default();
        flush.set_wait(true);
        self.db.flush_opt(&flush)
    }
}

impl View for Live {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        get(&self.db, key)
    }

    fn range(&self, from: &[u8], to: Option<&[u8]>, limit: usize) -> Result<Vec<Pair>, StoreError> {
        range(&self.db, from, to, limit)
    }

    fn pinned(&self) -> Option<Box<dyn View + '_>> {
        Some(Box::new(Pinned(self.db.snapshot())))
    }
}

/// The state of one moment, for as long as it is held.
struct Pinned<'a>(rocksdb::Snapshot<'a>);

impl View for Pinned<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let value = self.0.get(key).map_err(|error| failed("reading", &error))?;
        Ok(value.map(Bytes::from))
    }

    fn range(&self, from: &[u8], to: Option<&[u8]>, limit: usize) -> Result<Vec<Pair>, StoreError> {
        let (mode, read) = forward(from, to);
        pairs(self.0.iterator_opt(mode, read), limit)
    }
}

fn get(db: &DB, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
    let value = db.get(key).map_err(|error| failed("reading", &error))?;
    Ok(value.map(Bytes::from))
}

fn range(db: &DB, from: &[u8], to: Option<&[u8]>, limit: usize) -> Result<Vec<Pair>, StoreError> {
    let (mode, read) = forward(from, to);
    pairs(db.iterator_opt(mode, read), limit)
}

fn forward<'a>(from: &'a [u8], to: Option<&[u8]>) -> (IteratorMode<'a>, ReadOptions) {
    let mut read = ReadOptions::default();
    read.set_iterate_lower_bound(from);
    if let Some(to) = to {
        read.set_iterate_upper_bound(to);
    }
    (IteratorMode::From(from, Direction::Forward), read)
}

fn pairs(
    found: impl Iterator<Item = Result<(Box<[u8]>, Box<[u8]>), rocksdb::Error>>,
    limit: usize,
) -> Result<Vec<Pair>, StoreError> {
    let mut pairs = Vec::new();
    for item in found.take(limit) {
        let (key, value) = item.map_err(|error| failed("reading", &error))?;
        pairs.push((Bytes::from(key), Bytes::from(value)));
    }
    Ok(pairs)
}

impl View for StateStore {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.live.get(key)
    }

    fn range(&self, from: &[u8], to: Option<&[u8]>, limit: usize) -> Result<Vec<Pair>, StoreError> {
        self.live.range(from, to, limit)
    }
}

impl OrderedStore for StateStore {
    fn write(&mut self, batch: Batch) -> Result<(), StoreError> {
        let mut changes = WriteBatch::default();
        for (key, value) in batch.iter() {
            match value {
                Some(value) => changes.put(key, value),
                None => changes.delete(key),
            }
        }
        self.live.write(changes).map_err(|error| failed("writing", &error))
    }

    fn view(&self) -> Arc<dyn View> {
        Arc::clone(&self.live) as Arc<dyn View>
    }

    fn persist(&mut self) -> Result<(), StoreError> {
        self.live.flush().map_err(|error| failed("flushing", &error))
    }
}

fn failed(doing: &'static str, error: &rocksdb::Error) -> StoreError {
    StoreError { doing, source: Box::new(rotten(doing, error)) }
}

/// What RocksDB does when it reads a file.
const READS: [&str; 4] = ["random read", "sequentially", "While pread", "While reading"];

/// What the system says of a file that the disk does not give back. All else says nothing about
/// the file: no descriptor or memory was to be had, or the call was interrupted.
const UNREADABLE: [&str; 7] = [
    "Input/output error",
    "Remote I/O error",
    "Structure needs cleaning",
    "Bad message",
    "No data available",
    "Is a directory",
    "Not a directory",
];

/// Turns the database's error about the state into ours. The state can be made anew, so it counts
/// as damaged also where RocksDB does not call it so: files that are missing, make no sense or
/// cannot be read.
pub(crate) fn rotten(doing: &'static str, error: &rocksdb::Error) -> StorageError {
    use rocksdb::ErrorKind;
    let ours = database(doing, error);
    if !matches!(ours, StorageError::Database { .. } | StorageError::Io { .. }) {
        return ours;
    }
    let text = error.to_string();
    let is_lost = match error.kind() {
        ErrorKind::Corruption | ErrorKind::NotFound | ErrorKind::InvalidArgument => true,
        ErrorKind::IOError => is_unreadable(&text),
        _ => false,
    };
    if is_lost {
        return StorageError::corrupt(format!("the state's database ({doing})"), text);
    }
    ours
}

/// Says whether RocksDB tells of a file that is missing or that the disk does not give back.
fn is_unreadable(text: &str) -> bool {
    let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
    text.contains("No such file") || (has(&READS) && has(&UNREADABLE))
}

#[cfg(test)]
mod tests {
    use super::is_unreadable;

    /// States were thrown away for it, on all nodes at once.
    #[test]
    fn what_says_nothing_about_a_file_is_no_damage() {
        let place = "IO error: While open a file for random read: /data/state/000012.sst";
        for passing in [
            "Too many open files",
            "Too many open files in system",
            "Cannot allocate memory",
            "Resource temporarily unavailable",
            "Interrupted system call",
        ] {
            assert!(!is_unreadable(&format!("{place}: {passing}")), "{passing}");
        }
        for lost in ["No such file or directory", "Input/output error", "Is a directory"] {
            assert!(is_unreadable(&format!("{place}: {lost}")), "{lost}");
        }
        let written = "IO error: While fdatasync: /data/state/000012.sst: Input/output error";
        assert!(!is_unreadable(written), "it is read again");
    }
}
