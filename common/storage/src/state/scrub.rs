//! Reads the whole state from the disk from time to time: what rots where nobody reads is found
//! before it is needed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rocksdb::DB;

use crate::error::StorageError;
use crate::names::CHECKPOINTS;
use crate::options;
use crate::state::checkpoint::{Doomed, for_each};
use crate::state::orphans::link;
use crate::state::{Live, StateStore, rotten};

/// The directory among the checkpoints with links to the files that are read through.
const SCRUBBED: &str = "scrubbed";

/// A state that is to be read through, on any thread, while it is used. Only one at a time.
pub struct StateScrub {
    live: Arc<Live>,
    links: PathBuf,
}

impl StateStore {
    /// Returns what reads all of the state that is on the disk now.
    pub fn scrub_later(&self) -> StateScrub {
        let links = self.data_directory.join(CHECKPOINTS).join(SCRUBBED);
        StateScrub { live: Arc::clone(&self.live), links }
    }
}

impl StateScrub {
    /// Reads all of it and checks every checksum; returns how many bytes of pairs that were.
    /// `pass` is told of so many bytes at a time; it may wait, to spare the disk, and ends the work
    /// by `false`.
    ///
    /// It reads through a database of its own, past caches where the file system allows it: what
    /// is in memory may be right while the disk is not. That one reads hard links to the files
    /// which the state has now: files come and go meanwhile, and those of large values are opened
    /// only when they are needed. So nothing that is removed meanwhile gives back its room before
    /// this has ended.
    ///
    /// # Errors
    /// [`StorageError::Corrupt`] if anything is damaged. Other errors say nothing about the state.
    pub fn run(self, mut pass: impl FnMut(u64) -> bool) -> Result<u64, StorageError> {
        let mut bytes = 0;
        let directory = Doomed(self.links.clone());
        link(&self.live.db, &directory.0)?;
        let db = open(&directory.0)?;
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
}

fn open(links: &Path) -> Result<DB, StorageError> {
    let mut options = options::reading();
    options.set_use_direct_reads(true);
    DB::open_for_read_only(&options, links, false)
        .or_else(|_| DB::open_for_read_only(&options::reading(), links, false))
        .map_err(|error| rotten("reading the state through", &error))
}
