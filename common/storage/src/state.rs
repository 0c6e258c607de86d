//! The state's store on RocksDB: no WAL, made durable as a whole by a flush, rebuilt from the log
//! after a crash.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use rocksdb::{DB, Direction, FlushOptions, IteratorMode, ReadOptions, WriteBatch};
use state_machine::{Batch, OrderedStore, Pair, StoreError, View};

use crate::error::StorageError;
use crate::journal;
use crate::log::database;
use crate::options;

/// The ordered store of a node.
///
/// Its views read the present: each call sees one moment, and a later call may see a later one. The
/// built-in machines answer every question by one call.
pub struct StateStore {
    live: Arc<Live>,
}

struct Live(DB);

impl StateStore {
    /// Opens the store in `state/` of the data directory; what was not flushed before a crash is
    /// gone, as a whole, and comes again from the log.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn open(data_directory: &Path) -> Result<Self, StorageError> {
        let path = data_directory.join("state");
        journal::check(&path)?;
        let db = DB::open(&options::state(), path)
            .map_err(|error| database("opening the state", &error))?;
        Ok(Self { live: Arc::new(Live(db)) })
    }
}

impl View for Live {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let value = self.0.get(key).map_err(|error| failed("reading", &error))?;
        Ok(value.map(Bytes::from))
    }

    fn range(&self, from: &[u8], to: Option<&[u8]>, limit: usize) -> Result<Vec<Pair>, StoreError> {
        let mut read = ReadOptions::default();
        read.set_iterate_lower_bound(from);
        if let Some(to) = to {
            read.set_iterate_upper_bound(to);
        }
        let mode = IteratorMode::From(from, Direction::Forward);
        let mut pairs = Vec::new();
        for item in self.0.iterator_opt(mode, read).take(limit) {
            let (key, value) = item.map_err(|error| failed("reading", &error))?;
            pairs.push((Bytes::from(key), Bytes::from(value)));
        }
        Ok(pairs)
    }
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
        let done = self.live.0.write_opt(changes, &options::unlogged());
        done.map_err(|error| failed("writing", &error))
    }

    fn view(&self) -> Arc<dyn View> {
        Arc::clone(&self.live) as Arc<dyn View>
    }

    fn persist(&mut self) -> Result<(), StoreError> {
        let mut flush = FlushOptions::default();
        flush.set_wait(true);
        self.live.0.flush_opt(&flush).map_err(|error| failed("flushing", &error))
    }
}

fn failed(doing: &'static str, error: &rocksdb::Error) -> StoreError {
    StoreError { doing, source: Box::new(database(doing, error)) }
}
