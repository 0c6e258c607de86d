//! A snapshot on its way (§5).

use consensus::Term;

use crate::disk::Snapshot;

/// A snapshot on its way.
#[derive(Clone, Debug)]
pub(crate) struct Stream {
    pub(crate) from: usize,
    /// The sender's life: a stream outlives neither of its ends.
    pub(crate) from_life: u32,
    pub(crate) to: usize,
    pub(crate) to_life: u32,
    /// Which sending it is.
    pub(crate) number: u64,
    /// The sender's term when it began.
    pub(crate) term: Term,
    pub(crate) snapshot: Snapshot,
    /// Whether the sender hears how it ended.
    pub(crate) heard: bool,
}
