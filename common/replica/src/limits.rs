//! What a replica may take.

use crate::compaction::Keep;

/// Bounds on what a replica keeps in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of entries kept in memory.
    pub cache_bytes_max: usize,
    /// Bytes of proposals that are not applied yet.
    pub proposal_bytes_max: usize,
    /// Proposals that are not applied yet.
    pub proposals_max: usize,
    /// Bytes of entries on their way to the disk: beyond that, no more are taken from leaders.
    pub unwritten_bytes_max: usize,
    /// Questions that wait.
    pub questions_max: usize,
    /// How long a question waits for an index that is not applied yet, and a write for whoever
    /// leads next, in nanoseconds: this node may have been removed, and hear no more of what it
    /// waits for.
    pub behind_wait_ns: u64,
    /// What of the log stays behind a durable state, for followers that are behind.
    pub keep: Keep,
    /// How followers are fed that lack what is not in memory any more.
    pub feed: FeedLimits,
}

/// How followers are fed that are far behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeedLimits {
    /// Bytes a second to each, unless the log grows faster.
    pub bytes_per_s_max: u64,
    /// Bytes of entries in one piece, beyond the first entry.
    pub piece_bytes_max: usize,
    /// Entries in one piece.
    pub piece_entries_max: u64,
}

impl Default for FeedLimits {
    fn default() -> Self {
        Self {
            bytes_per_s_max: 64 * 1024 * 1024,
            piece_bytes_max: 512 * 1024,
            piece_entries_max: 4_096,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            cache_bytes_max: 64 * 1024 * 1024,
            proposal_bytes_max: 64 * 1024 * 1024,
            proposals_max: 65_536,
            unwritten_bytes_max: 64 * 1024 * 1024,
            questions_max: 65_536,
            behind_wait_ns: 1_000_000_000,
            keep: Keep::default(),
            feed: FeedLimits::default(),
        }
    }
}
