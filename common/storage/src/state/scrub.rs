//! Reads the whole state from the disk from time to time: what rots where nobody reads is found
//! before it is needed.

use std::path::PathBuf;
use std::sync::Arc;

use rocksdb::DB;

use crate::error::StorageError;
use crate::options;
use crate::state::checkpoint::for_each;
use crate::state::{Live, StateStore, rotten};

/// A state that is to be read through, on any thread, while it is used.
pub struct StateScrub {
    /// Keeps the directory.
    _live: Arc<Live>,
    path: PathBuf,
}

impl StateStore {
    /// Returns what reads all of the state that is on the disk now.
    pub fn scrub_later(&self) -> StateScrub {
        StateScrub { _live: Arc::clone(&self.live), path: self.live.place.path().to_owned() }
    }
}

impl StateScrub {
    /// Reads all of it and checks every checksum; returns how many bytes of pairs that were.
    /// `pass` is told of so many bytes at a time; it may wait, to spare the disk, and ends the work
    /// by `false`.
    ///
    /// It reads through a database of its own, past caches where the file system allows it: what
    /// is in memory may be right while the disk is not.
    ///
    /// # Errors
    /// [`StorageError::Corrupt`] if anything is damaged. Other errors say nothing about the state:
    /// files come and go meanwhile.
    pub fn run(self, mut pass: impl FnMut(u64) -> bool) -> Result<u64, StorageError> {
        let mut bytes = 0;
        let db = self.open()?;
        let mut goes_on = true;
        for_each(&db, |key, value| {
            let size = (key.len() + value.len()) as u64;
            bytes += size;
            goes_on = pass(size);
            if goes_on { Ok(()) } else { Err(StorageError::Poisoned("it is stopped".to_owned())) }
        })
        .or_else(|error| if goes_on { Err(error) } else { Ok(()) })?;
        Ok(bytes)
    }

    fn open(&self) -> Result<DB, StorageError> {
        let mut options = options::reading();
        options.set_use_direct_reads(true);
        DB::open_for_read_only(&options, &self.path, false)
            .or_else(|_| DB::open_for_read_only(&options::reading(), &self.path, false))
            .map_err(|error| rotten("reading the state through", &error))
    }
}
