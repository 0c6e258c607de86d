//! How long is long: limits that follow the cluster's own pace, where a node tells it.

use client::NodeStatus;

/// A leader that has not heard from a member for so long calls it silent, in milliseconds.
pub(crate) const SILENT_MS: u64 = 3_000;

/// Contact is recent within this time at least, in milliseconds: busy machines hiccup.
const RECENT_MS: u64 = 1_000;

/// Heartbeats that a member may miss before contact is no longer recent.
const HEARTBEATS_MISSED: u64 = 4;

/// What stands still for so long is stuck, in milliseconds.
pub(crate) const STUCK_MS: u64 = 3_000;

/// A voter is behind that lacks more entries than these, and more than the leader commits in a
/// second: at full speed, what is on its way is no lag.
const LAG_MAX: u64 = 1_000;

/// About so many bytes of entries a voter may lack in the same way, as far as the size of the log
/// tells; but always some entries, as a log's files are larger than what is in them.
const LAG_BYTES_MAX: u64 = 16 * 1024 * 1024;
const LAG_MIN: u64 = 64;

/// A disk that has not finished a write for so long hangs at the least, in milliseconds: one that
/// is only slow does not.
const DISK_HANGS_MS: u64 = 1_000;

/// A disk is slow of which one write in a hundred takes so long, in milliseconds: spinning disks
/// are faster, also on busy machines.
const DISK_SLOW_MS: u64 = 500;

/// A question takes as long as its machine wants; but while one is answered, others wait behind it.
/// So long they wait for a disk, or for a machine that is slow, in milliseconds.
const READS_HANG_MS: u64 = 5_000;

/// Says for how long a node's disk has hung, in milliseconds; `None` if it does not hang.
pub(crate) fn disk_hangs_ms(status: &NodeStatus) -> Option<u64> {
    let patience_ms = DISK_HANGS_MS.max(status.election_timeout_ms);
    status.disk_waits_ms.filter(|ms| *ms >= patience_ms)
}

/// Says how long a write of late took that 99 in a hundred stayed below, in milliseconds; `None` if
/// that is not slow.
pub(crate) fn disk_slow_ms(status: &NodeStatus) -> Option<u64> {
    let ms = status.fsync_p99_us / 1_000;
    (ms >= DISK_SLOW_MS).then_some(ms)
}

/// Says for how long a node has answered no questions, in milliseconds; `None` if it does.
pub(crate) fn reads_hang_ms(status: &NodeStatus) -> Option<u64> {
    status.reads_wait_ms.filter(|ms| *ms >= READS_HANG_MS)
}

/// Returns within which time a heartbeat must have been answered, in milliseconds: a machine that
/// just died is not counted on.
pub(crate) fn recent_ms(status: &NodeStatus) -> u64 {
    RECENT_MS.max(status.heartbeat_ms.saturating_mul(HEARTBEATS_MISSED))
}

/// Returns how many entries a voter of this leader may lack.
pub(crate) fn lag_max(leader: &NodeStatus) -> u64 {
    let entries = leader.last.saturating_sub(leader.first).max(1);
    let entry_bytes = (leader.log_bytes / entries).max(1);
    LAG_MAX.min(LAG_MIN.max(LAG_BYTES_MAX / entry_bytes)).max(leader.operations_per_second)
}
