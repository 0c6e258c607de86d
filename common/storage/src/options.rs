//! All settings of RocksDB, with their reasons.

use std::path::Path;

use rocksdb::{DBCompressionType, DBRecoveryMode, InfoLogger, LogLevel, Options, WriteOptions};

use crate::direct;
use crate::space::Sizes;

/// Column families that are rarely written would otherwise keep every WAL alive: it holds at most
/// so many memtables.
const WAL_MEMTABLES_MAX: u64 = 4;

/// A table has about so many memtables, and the first level of tables so many: RocksDB's own
/// proportions at 32 MiB, kept where memtables are smaller.
const TABLE_MEMTABLES: u64 = 2;
const LEVEL_MEMTABLES: u64 = 8;

/// A state's table has so many times as many bytes as one of the level above.
const TABLE_GROWTH: i32 = 2;

/// So much of a manifest is allocated at once; RocksDB's 4 MiB are more than one ever has here.
const MANIFEST_BYTES: usize = 64 * 1024;

/// Of the write-ahead log that the state has and never writes, nothing is allocated.
const NO_WAL_BYTES: u64 = 1;

/// A table in which so many of so many neighbours are deletions is compacted soon: deleting is what
/// makes room.
const DELETIONS_WINDOW: usize = 2_048;
const DELETIONS: usize = 1_024;

/// Files are on their way to the disk after so many bytes: written back in one piece, those of a
/// flush or a compaction hold up every sync of the log for 10 to 30 ms.
pub(crate) const SYNC_BYTES: u64 = 1024 * 1024;

/// A value of so many bytes lies in a file apart from the state's tables: merging them is cheap
/// then, and reading all of the state in order is a read a value. Measured:
/// `common/MEASUREMENTS.md`.
const LARGE_VALUE_BYTES: u64 = 4 * 1024;

/// RocksDB's own journal, for people.
const INFO_LOG_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What goes with a memtable of so many bytes, by the names that RocksDB has for it.
pub(crate) fn shape(memtable: u64) -> [(&'static str, u64); 3] {
    [
        ("write_buffer_size", memtable),
        ("target_file_size_base", TABLE_MEMTABLES * memtable),
        ("max_bytes_for_level_base", LEVEL_MEMTABLES * memtable),
    ]
}

fn common(memtable: u64) -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_paranoid_checks(true);
    // Flushes of several column families are one step: none runs ahead of the others.
    options.set_atomic_flush(true);
    let [(_, memtable), (_, table), (_, level)] = shape(memtable);
    options.set_write_buffer_size(usize::try_from(memtable).unwrap_or(usize::MAX));
    options.set_target_file_size_base(table);
    options.set_max_bytes_for_level_base(level);
    options.set_manifest_preallocation_size(MANIFEST_BYTES);
    options.set_max_background_jobs(2);
    options.set_bytes_per_sync(SYNC_BYTES);
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_log_level(LogLevel::Warn);
    options.set_max_log_file_size(INFO_LOG_BYTES_MAX);
    options.set_keep_log_file_num(2);
    options
}

/// The log in a directory: every batch synced.
pub(crate) fn log(place: &Path) -> Options {
    let memtable = Sizes::at(place).log_memtable_bytes();
    let mut options = common(memtable);
    // Nobody reads its tables soon, and the system needs more time to find pages for them than to
    // copy them. The write-ahead log goes through the page cache: it grows by little at a time.
    options.set_use_direct_io_for_flush_and_compaction(direct::is_possible(place));
    // A torn tail is what kill -9 leaves and is dropped; damage in the middle is refused. Never
    // point-in-time: it silently drops synced records behind damage.
    options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    options.set_track_and_verify_wals_in_manifest(true);
    options.set_max_total_wal_size(WAL_MEMTABLES_MAX * memtable);
    options
}

/// Opens a log whose write-ahead log is damaged in places: the rest is read, and the entries that
/// are missing then are known by their neighbours, or by the tail file.
pub(crate) fn skip_damage(options: &mut Options) {
    options.set_wal_recovery_mode(DBRecoveryMode::SkipAnyCorruptedRecord);
}

/// The state: no WAL, rebuilt from the log. Its memtable follows the values, and what is collected
/// of large ones follows what they leave behind.
pub(crate) fn state(sizes: Sizes) -> Options {
    let mut options = common(sizes.small_memtable_bytes());
    options.set_enable_blob_files(true);
    options.set_min_blob_size(LARGE_VALUE_BYTES);
    options.set_blob_file_size(sizes.memtable_bytes());
    options.set_blob_compression_type(DBCompressionType::Lz4);
    options.set_enable_blob_gc(false);
    options.set_blob_gc_force_threshold(0.0);
    // A large state has few files all the same.
    options.set_target_file_size_multiplier(TABLE_GROWTH);
    options.set_max_total_wal_size(NO_WAL_BYTES);
    options.add_compact_on_deletion_collector_factory(DELETIONS_WINDOW, DELETIONS, 0.5);
    options
}

/// For reading only: nothing is made, not even RocksDB's own journal.
pub(crate) fn reading() -> Options {
    let mut options = common(Sizes::on(u64::MAX).memtable_bytes());
    options.create_if_missing(false);
    options.create_missing_column_families(false);
    options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    options.set_track_and_verify_wals_in_manifest(true);
    options.set_info_logger(InfoLogger::new_callback_logger(LogLevel::Fatal, |_, _| {}));
    options
}

/// A write that is on disk when the call returns. `sync` is per write and off by default. It is
/// refused, and may be repeated, where it would have to wait for the database.
pub(crate) fn synced() -> WriteOptions {
    let mut options = WriteOptions::default();
    options.set_sync(true);
    options.set_no_slowdown(true);
    options
}

/// A write that may be lost.
pub(crate) fn unlogged() -> WriteOptions {
    let mut options = WriteOptions::default();
    options.disable_wal(true);
    options
}
