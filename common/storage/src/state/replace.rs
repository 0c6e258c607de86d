//! Takes over a snapshot's state as a whole: fills a new directory, then puts it in force.

use std::io::Read;
use std::sync::Arc;

use rocksdb::WriteBatch;

use crate::error::StorageError;
use crate::log::database;
use crate::snapshot::SnapshotReader;
use crate::state::checkpoint::check_applied;
use crate::state::{Live, StateStore};

impl StateStore {
    /// Replaces the state by a snapshot's, durably. The snapshot is verified on the way; on any
    /// error, and after a crash before the end, the old state is in force. Views of the old state
    /// stay good.
    ///
    /// # Errors
    /// If the snapshot is damaged or of another entry than it says, or the state cannot be written.
    pub fn replace_from<R: Read>(
        &mut self,
        snapshot: &mut SnapshotReader<R>,
    ) -> Result<(), StorageError> {
        let next = Live::open(self.live.place.next(&self.data_directory)?)?;
        while let Some(pairs) = snapshot.next_chunk()? {
            let mut changes = WriteBatch::default();
            for (key, value) in &pairs {
                changes.put(key, value);
            }
            next.write(changes).map_err(|error| database("filling the state", &error))?;
        }
        check_applied(&next, snapshot.header())?;
        next.flush().map_err(|error| database("flushing the state", &error))?;
        next.place.enforce(&self.data_directory)?;
        let old = std::mem::replace(&mut self.live, Arc::new(next));
        old.place.give_up();
        Ok(())
    }
}
