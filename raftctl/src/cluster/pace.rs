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

/// A disk that has not finished a write for so long hangs at the least, in milliseconds: one that
/// is only slow does not.
const DISK_HANGS_MS: u64 = 1_000;

/// A question takes as long as its machine wants; but a machine that reads for so long answers
/// nobody else.
const READS_HANG_MS: u64 = 3_000;

/// What a disk does not finish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hangs {
    /// A write of the log.
    Writing,
    /// A read of the state: pages of it may still be had from memory.
    Reading,
}

/// Says what a node's disk does not finish, and for how long, in milliseconds; `None` if it does
/// not hang.
pub(crate) fn disk_hangs(status: &NodeStatus) -> Option<(Hangs, u64)> {
    let patience_ms = DISK_HANGS_MS.max(status.election_timeout_ms);
    let writing = status.disk_waits_ms.filter(|ms| *ms >= patience_ms);
    let reading = status.reads_wait_ms.filter(|ms| *ms >= READS_HANG_MS);
    let writing = writing.map(|ms| (Hangs::Writing, ms));
    writing.or_else(|| reading.map(|ms| (Hangs::Reading, ms)))
}

/// Returns within which time a heartbeat must have been answered, in milliseconds: a machine that
/// just died is not counted on.
pub(crate) fn recent_ms(status: &NodeStatus) -> u64 {
    RECENT_MS.max(status.heartbeat_ms.saturating_mul(HEARTBEATS_MISSED))
}

/// Returns how many entries a voter of this leader may lack.
pub(crate) fn lag_max(leader: &NodeStatus) -> u64 {
    LAG_MAX.max(leader.operations_per_second)
}
