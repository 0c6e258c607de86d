//! What is done about large values beside the work.

use std::sync::Arc;

use crate::state::{Live, StateStore};

/// A state whose large values are looked after, on any thread, while it is used.
pub struct StateUpkeep(Arc<Live>);

impl StateStore {
    /// Returns what looks after large values: nothing is done by itself.
    pub fn upkeep(&self) -> StateUpkeep {
        StateUpkeep(Arc::clone(&self.live))
    }
}

impl StateUpkeep {
    /// Gives back the page cache's part of large values that were written and are complete. To be
    /// called after every few memtables that were written; takes about a millisecond.
    pub fn give_pages_back(&self) {
        self.0.pages.give_back(self.0.place.path());
    }

    /// Says whether there is something for [`StateUpkeep::collect`] to do.
    pub fn is_to_collect(&self) -> bool {
        self.0.collection.is_due(&self.0.db)
    }

    /// Begins to collect the room of values that are overwritten or deleted, goes on or ends it,
    /// whatever is right by now, and says whether it goes on: then this is to be called again after
    /// a second or so, for it would not end by itself. Takes some milliseconds when it changes
    /// something. A state that another one has replaced is not worth it: it ends with who reads it.
    pub fn collect(&self) -> bool {
        !self.0.place.is_given_up() && self.0.collection.follow(&self.0.db)
    }
}
