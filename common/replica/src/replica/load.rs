//! What waits in a replica, and what it keeps in memory, for those who watch it.

use crate::replica::Replica;

impl Replica {
    /// Returns how many bytes of entries are in memory.
    pub fn cache_bytes(&self) -> usize {
        self.cache.bytes()
    }

    /// Returns how many bytes of commands were proposed here and are not applied.
    pub fn unapplied_bytes(&self) -> usize {
        self.unapplied_bytes
    }

    /// Returns how many clients wait for writes, and for answers.
    pub fn waiting(&self) -> (usize, usize) {
        let writes = self.requests.writing() + self.proposed.len();
        (writes, self.requests.questions() + self.views.waiting())
    }

    /// Returns how many writes are held while leadership is handed over.
    pub fn held(&self) -> usize {
        self.proposed.len()
    }
}
