//! RocksDB's log as a [`PersistentLog`]: what a node has unless it is given another one.

use std::ops::Range;
use std::sync::Arc;

use consensus::{Chain, Entry, LogIndex, Write};
use protocol::BootstrapRecord;

use crate::directory::DataDirectory;
use crate::error::StorageError;
use crate::log::LogStore;
use crate::persistent_log::{EntryReader, LogProvider, PersistentLog, RestoredLog};
use crate::reader::LogReader;

/// Logs on RocksDB, in `log/` of the data directory.
#[derive(Clone, Copy, Debug, Default)]
pub struct RocksLogs;

impl LogProvider for RocksLogs {
    fn open(
        &self,
        directory: &DataDirectory,
    ) -> Result<(Box<dyn PersistentLog>, RestoredLog), StorageError> {
        let (log, restored) = LogStore::open(directory)?;
        Ok((Box::new(log), restored))
    }

    fn bootstrap(
        &self,
        directory: &mut DataDirectory,
        record: &BootstrapRecord,
    ) -> Result<(), StorageError> {
        LogStore::bootstrap(directory, record)
    }

    fn join(
        &self,
        directory: &mut DataDirectory,
        record: &BootstrapRecord,
    ) -> Result<(), StorageError> {
        LogStore::join(directory, record)
    }
}

impl PersistentLog for LogStore {
    fn write(&mut self, writes: &[Write]) -> Result<usize, StorageError> {
        Self::write(self, writes)
    }

    fn repair(&mut self, entries: &[Entry]) -> Result<(), StorageError> {
        Self::repair(self, entries)
    }

    fn reader(&self) -> Arc<dyn EntryReader> {
        Arc::new(Self::reader(self))
    }
}

impl EntryReader for LogReader {
    fn read(&self, range: Range<LogIndex>, bytes_max: usize) -> Result<Vec<Entry>, StorageError> {
        Self::read(self, range, bytes_max)
    }

    fn chain(&self, index: LogIndex) -> Result<Option<Chain>, StorageError> {
        Self::chain(self, index)
    }

    fn read_through(&self, pass: &mut dyn FnMut(u64) -> bool) -> Result<u64, StorageError> {
        Self::read_through(self, pass)
    }

    fn check_files(&self) -> Result<(), StorageError> {
        Self::check_files(self)
    }

    fn bytes(&self) -> u64 {
        Self::bytes(self)
    }
}
