//! What a node keeps on its disk: the data directory with its superblock, the log with term and
//! vote, and the state's ordered store.
//!
//! # Architecture invariants
//! - Only this crate names RocksDB; without the feature `rocksdb` it builds without it.
//! - What is acknowledged is synced; a failed sync is never retried, and poisons the log.
//! - Nothing that is damaged is ever cut off, reset or skipped: the error says what and where.
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
mod options;
#[cfg(feature = "rocksdb")]
mod reader;
#[cfg(feature = "rocksdb")]
mod recover;
#[cfg(feature = "rocksdb")]
mod state;
mod superblock;

pub use directory::DataDirectory;
pub use error::StorageError;
#[cfg(feature = "rocksdb")]
pub use log::LogStore;
#[cfg(feature = "rocksdb")]
pub use reader::LogReader;
#[cfg(feature = "rocksdb")]
pub use recover::RestoredLog;
#[cfg(feature = "rocksdb")]
pub use state::StateStore;
