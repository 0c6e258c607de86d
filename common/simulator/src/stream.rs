//! What is on its way: snapshots (§5), pieces of old entries, and answers.

use consensus::{Entry, Term};
use replica::{Piece, Question};
use state_machine::QueryView;

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
    /// For how long its bytes arrive, and are written.
    pub(crate) takes_ns: u64,
    /// Whether the sender hears how it ended.
    pub(crate) heard: bool,
}

/// A piece that is being read.
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    pub(crate) piece: Piece,
    /// Its entries, if they are in memory.
    pub(crate) at_hand: Option<Vec<Entry>>,
}

/// A question that waits for its answer, and the view that answers it.
#[derive(Clone)]
pub(crate) struct Asked {
    pub(crate) question: Question,
    pub(crate) view: QueryView,
}

impl std::fmt::Debug for Asked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} from a view of {}", self.question, self.view.applied())
    }
}
