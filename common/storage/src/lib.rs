//! What a node keeps on its disk: the data directory with its superblock, the log with term and
//! vote, the state's ordered store, and snapshots of it.
//!
//! # Architecture invariants
//! - Only this crate names RocksDB.
//! - What is acknowledged is synced; a failed sync is never retried, and poisons the log.
//! - Nothing that is damaged is ever cut off, reset or skipped: the error says what and where.
//! - A snapshot counts when all of it is checked and durable; a state is replaced as a whole.
//! - Two databases: the log, every batch synced; the state, flushed as a whole, no WAL.
//! - No Raft rules: writes are done as they come.

mod batch;
mod bootstrap;
mod compacted;
mod condition;
mod database;
mod direct;
mod directory;
mod error;
mod files;
mod forgotten;
mod inode;
mod layout;
mod log;
mod lost;
mod names;
mod offline;
mod open_files;
mod opening_room;
mod options;
mod peers;
mod persistent_log;
mod presence;
mod processor;
mod read_through;
mod reader;
mod reconcile;
mod record;
mod recover;
mod repair;
mod reserve;
mod reset_key;
mod restore;
pub mod rights;
mod rocks;
mod scan;
mod seek;
mod snapshot;
mod space;
mod state;
mod superblock;
mod tables;
mod tail;
mod wal;
mod write_ahead;

pub use condition::{Condition, Damage, LogEnd, Loss};
pub use directory::DataDirectory;
pub use error::StorageError;
pub use forgotten::{Forgotten, Former};
pub use log::LogStore;
pub use offline::{Part, StoppedLog, StoppedNode, Verified};
pub use peers::PeerMemory;
pub use persistent_log::{EntryReader, LogProvider, PersistentLog, RestoredLog};
pub use presence::Presence;
pub use reader::LogReader;
pub use reconcile::reconcile;
pub use reserve::Reserve;
pub use restore::{Filled, Restoration};
pub use rocks::RocksLogs;
pub use snapshot::{
    CHUNK_BYTES_MAX, SnapshotFile, SnapshotHeader, SnapshotId, SnapshotReader, SnapshotReceiver,
    SnapshotTotals, SnapshotWriter, Snapshots,
};
pub use space::{Sizes, Space};
pub use state::{StateCheckpoint, StateFlush, StateScrub, StateStore, StateUpkeep};
