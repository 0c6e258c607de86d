//! What a node keeps on its disk: the data directory with its superblock, the log with term and
//! vote, the state's ordered store, and snapshots of it.
//!
//! # Architecture invariants
//! - Only this crate names RocksDB; without the feature `rocksdb` it builds without it.
//! - What is acknowledged is synced; a failed sync is never retried, and poisons the log.
//! - Nothing that is damaged is ever cut off, reset or skipped: the error says what and where.
//! - A snapshot counts when all of it is checked and durable; a state is replaced as a whole.
//! - Two databases: the log, every batch synced; the state, flushed as a whole, no WAL.
//! - No Raft rules: writes are done as they come.

#[cfg(feature = "rocksdb")]
mod base;
mod directory;
mod error;
mod files;
#[cfg(feature = "rocksdb")]
mod journal;
#[cfg(feature = "rocksdb")]
mod layout;
#[cfg(feature = "rocksdb")]
mod log;
#[cfg(feature = "rocksdb")]
mod offline;
#[cfg(feature = "rocksdb")]
mod options;
#[cfg(feature = "rocksdb")]
mod reader;
#[cfg(feature = "rocksdb")]
mod reconcile;
#[cfg(feature = "rocksdb")]
mod recover;
mod reset_key;
#[cfg(feature = "rocksdb")]
mod restore;
pub mod rights;
#[cfg(feature = "rocksdb")]
mod rocks;
mod seam;
mod snapshot;
mod space;
#[cfg(feature = "rocksdb")]
mod state;
mod superblock;

pub use directory::DataDirectory;
pub use error::StorageError;
#[cfg(feature = "rocksdb")]
pub use log::LogStore;
#[cfg(feature = "rocksdb")]
pub use offline::{Part, StoppedLog, StoppedNode, Verified};
#[cfg(feature = "rocksdb")]
pub use reader::LogReader;
#[cfg(feature = "rocksdb")]
pub use reconcile::reconcile;
#[cfg(feature = "rocksdb")]
pub use restore::Restoration;
#[cfg(feature = "rocksdb")]
pub use rocks::RocksLogs;
pub use seam::{EntryReader, LogProvider, PersistentLog, RestoredLog};
pub use snapshot::{
    CHUNK_BYTES_MAX, PAIR_BYTES_MAX, SnapshotFile, SnapshotHeader, SnapshotId, SnapshotReader,
    SnapshotReceiver, SnapshotTotals, SnapshotWriter, Snapshots,
};
pub use space::{Sizes, Space};
#[cfg(feature = "rocksdb")]
pub use state::{StateCheckpoint, StateFlush, StateStore};
