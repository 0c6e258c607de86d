//! All settings of RocksDB, with their reasons.

use rocksdb::{DBCompressionType, DBRecoveryMode, InfoLogger, LogLevel, Options, WriteOptions};

/// Small memtables keep flush stalls short: 18 ms at full rate instead of 100 ms with 64 MiB.
const MEMTABLE_BYTES: usize = 32 * 1024 * 1024;

/// Column families that are rarely written would otherwise keep every WAL alive.
const WAL_BYTES_MAX: u64 = 128 * 1024 * 1024;

/// Files are on their way to the disk after so many bytes: written back in one piece, those of a
/// flush or a compaction hold up every sync of the log for 10 to 30 ms.
pub(crate) const SYNC_BYTES: u64 = 1024 * 1024;

/// RocksDB's own journal, for people.
const INFO_LOG_BYTES_MAX: usize = 4 * 1024 * 1024;

fn common() -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_paranoid_checks(true);
    // Flushes of several column families are one step: none runs ahead of the others.
    options.set_atomic_flush(true);
    options.set_write_buffer_size(MEMTABLE_BYTES);
    options.set_max_background_jobs(2);
    options.set_bytes_per_sync(SYNC_BYTES);
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_log_level(LogLevel::Warn);
    options.set_max_log_file_size(INFO_LOG_BYTES_MAX);
    options.set_keep_log_file_num(2);
    options
}

/// The log: every batch synced.
pub(crate) fn log() -> Options {
    let mut options = common();
    // A torn tail is what kill -9 leaves and is dropped; damage in the middle is refused. Never
    // point-in-time: it silently drops synced records behind damage.
    options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    options.set_track_and_verify_wals_in_manifest(true);
    options.set_max_total_wal_size(WAL_BYTES_MAX);
    options
}

/// The state: no WAL, rebuilt from the log.
pub(crate) fn state() -> Options {
    common()
}

/// For reading only: nothing is made, not even RocksDB's own journal.
pub(crate) fn reading() -> Options {
    let mut options = common();
    options.create_if_missing(false);
    options.create_missing_column_families(false);
    options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    options.set_track_and_verify_wals_in_manifest(true);
    options.set_info_logger(InfoLogger::new_callback_logger(LogLevel::Fatal, |_, _| {}));
    options
}

/// A write that is on disk when the call returns. `sync` is per write and off by default.
pub(crate) fn synced() -> WriteOptions {
    let mut options = WriteOptions::default();
    options.set_sync(true);
    options
}

/// A write that may be lost.
pub(crate) fn unlogged() -> WriteOptions {
    let mut options = WriteOptions::default();
    options.disable_wal(true);
    options
}
