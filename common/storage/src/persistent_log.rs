//! What a node needs of its durable log, as traits, so that another log can take the place of
//! RocksDB's.

use std::ops::Range;
use std::sync::Arc;

use consensus::{Chain, ClusterTime, Entry, HardState, LogIndex, LogView, Membership, Write};
use protocol::BootstrapRecord;

use crate::condition::Condition;
use crate::directory::DataDirectory;
use crate::error::StorageError;

/// The durable log of one node: term, vote and entries. The disk lane's thread owns it.
///
/// What must hold:
/// - When [`PersistentLog::write`] returns, everything in it is on stable storage: votes and
///   acknowledgements leave the node because of that (§3.8).
/// - A write is all or nothing, also across a crash: term and vote with the entries behind them.
/// - After an error nothing is known of what is on the disk, so every later write fails, too.
/// - What is read is what was written; damage is an error, never another entry, never the end.
pub trait PersistentLog: Send {
    /// Does all these writes, in order, by one sync; returns the bytes of it. Each is done in the
    /// order of [`Write`]: truncate, compact, append, hard state.
    ///
    /// # Errors
    /// If any of it may not be on stable storage. What does not follow what is there is an error
    /// as well: then, too, every later write fails.
    ///
    /// # Panics
    /// If an entry's payload is larger than twice `protocol::limits::COMMAND_BYTES_MAX`: whoever
    /// proposes looks first.
    fn write(&mut self, writes: &[Write]) -> Result<usize, StorageError>;

    /// Puts copies of damaged entries ([`Condition::damages`]) into their place: all of one damage.
    /// The log is opened again when all damage is repaired. A log around another one hands them on.
    ///
    /// # Errors
    /// [`StorageError::Corrupt`] if they are others than the damaged entries: then the next
    /// member's copies are tried. [`StorageError::NoRepair`] if this log takes none at all, or any
    /// other error: that ends the node, and says nothing about the copies.
    fn repair(&mut self, entries: &[Entry]) -> Result<(), StorageError>;

    /// Returns what reads entries on any thread.
    fn reader(&self) -> Arc<dyn EntryReader>;
}

/// Reads entries that are on the disk.
pub trait EntryReader: Send + Sync {
    /// Returns the entries of `range`, in order: at least the first, then as many as fit into
    /// `bytes_max`. None if the head of the log is compacted meanwhile, and the first with it.
    ///
    /// # Errors
    /// If an entry is missing or damaged, or cannot be read. `range` ends with the log's last entry
    /// at the latest: what is missing behind that is taken for damage, and the next start reads all
    /// of the log.
    fn read(&self, range: Range<LogIndex>, bytes_max: usize) -> Result<Vec<Entry>, StorageError>;

    /// Returns the chain value of an entry, or of what the log begins behind; `None` if that is not
    /// known any more.
    ///
    /// # Errors
    /// If the entry is damaged, or cannot be read.
    fn chain(&self, index: LogIndex) -> Result<Option<Chain>, StorageError> {
        let entries = self.read(index..index.next(), 0)?;
        Ok(entries.first().map(|entry| entry.chain))
    }

    /// Reads all that is on the disk, past caches, and checks it; returns the bytes. `pass` is told
    /// of so many bytes at a time; it may wait, and ends the work by `false`. A log around another
    /// one hands it on: nobody else would find what rots.
    ///
    /// # Errors
    /// [`StorageError::Corrupt`] if anything is damaged. Other errors say nothing about the log.
    fn read_through(&self, pass: &mut dyn FnMut(u64) -> bool) -> Result<u64, StorageError>;

    /// Looks whether the log's files are at their places. What is found once may be a change under
    /// way; found twice, it is so.
    ///
    /// # Errors
    /// [`StorageError::Gone`] if one is missing.
    fn check_files(&self) -> Result<(), StorageError>;

    /// Returns roughly what the log takes on the disk, in bytes.
    fn bytes(&self) -> u64;
}

/// Makes and opens logs in data directories.
pub trait LogProvider: Send + Sync + 'static {
    /// Opens the log of a directory that has a generation, and reads what is needed to go on.
    ///
    /// # Errors
    /// If it is damaged, of a newer format, or cannot be read.
    fn open(
        &self,
        directory: &DataDirectory,
    ) -> Result<(Box<dyn PersistentLog>, RestoredLog), StorageError>;

    /// Makes the log of a cluster's first members: term 1, and the record's configuration as entry
    /// 1. Only then is the directory given its generation ([`DataDirectory::set_bootstrap`]).
    ///
    /// # Errors
    /// If it cannot be written, or the directory has another history.
    fn bootstrap(
        &self,
        directory: &mut DataDirectory,
        record: &BootstrapRecord,
    ) -> Result<(), StorageError>;

    /// Makes the log of a node that joins later: term 1 and nothing else.
    ///
    /// # Errors
    /// As [`LogProvider::bootstrap`].
    fn join(
        &self,
        directory: &mut DataDirectory,
        record: &BootstrapRecord,
    ) -> Result<(), StorageError>;
}

/// What a log tells when it is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestoredLog {
    /// Term and vote.
    pub hard_state: HardState,
    /// The identities of all entries, and what they begin behind.
    pub log: LogView,
    /// The configurations in the log.
    pub membership: Membership,
    /// The highest cluster time of any entry that was ever in the log, or later.
    pub stamp: ClusterTime,
    /// The chain value of the last entry.
    pub chain: Chain,
    /// Whether all of it is there and can be read.
    pub condition: Condition,
}
