//! A state that cannot be trusted any more: it is condemned while the node runs, set aside when the
//! node opens its directory again, and built anew from a snapshot and the log.
//!
//! ```text
//! state-condemned    why, for people; the state in force is not opened any more
//! damaged-state      the state that was set aside last, for people; nobody reads it, and it goes
//!                    where the disk is short of room
//! ```

use std::path::{Path, PathBuf};

use crate::error::StorageError;
use crate::files;
use crate::names::{STATE_CONDEMNED, STATE_DAMAGED};
use crate::space::{Sizes, Space};
use crate::state::StateStore;
use crate::state::place;

const REASON_BYTES_MAX: u64 = 4_096;

impl StateStore {
    /// Notes durably that the state in a data directory must not be used any more, and why. It is
    /// not opened again until [`StateStore::set_aside`].
    ///
    /// # Errors
    /// If that cannot be written.
    pub fn condemn(data_directory: &Path, why: &str) -> Result<(), StorageError> {
        let end = why.floor_char_boundary(REASON_BYTES_MAX as usize);
        files::replace(&data_directory.join(STATE_CONDEMNED), &why.as_bytes()[..end])
    }

    /// Notes the same of the state that is in use.
    ///
    /// # Errors
    /// If that cannot be written.
    pub fn condemn_later(&self, why: &str) -> Result<(), StorageError> {
        Self::condemn(&self.data_directory, why)
    }

    /// Takes the state out of the way, so that an empty one takes its place; returns where it is,
    /// if there is room for it beside a snapshot and another state of its size. What was set aside
    /// before is removed. A crash in between is no harm: it is begun anew.
    ///
    /// # Errors
    /// If files cannot be moved or removed.
    pub fn set_aside(data_directory: &Path) -> Result<Option<PathBuf>, StorageError> {
        let aside = data_directory.join(STATE_DAMAGED);
        if let Some(last) = place::newest(data_directory)? {
            files::remove_directory(&aside)?;
            let failed = |error| StorageError::io("move", &last, error);
            std::fs::rename(&last, &aside).map_err(failed)?;
            files::sync_parent(&aside)?;
        }
        place::remove_all(data_directory)?;
        files::remove(&data_directory.join(STATE_CONDEMNED))?;
        if has_room_beside(&aside) {
            return Ok(Some(aside));
        }
        files::remove_directory(&aside)?;
        Ok(None)
    }

    /// Removes what was set aside, for a disk that is short of room; says whether there was any.
    ///
    /// # Errors
    /// If files cannot be removed.
    pub fn remove_aside(&self) -> Result<bool, StorageError> {
        let aside = self.data_directory.join(STATE_DAMAGED);
        let is_there = aside.exists();
        if is_there {
            files::remove_directory(&aside)?;
        }
        Ok(is_there)
    }
}

/// Says whether a snapshot and a state, both of the size of this one, fit beside it, and all that
/// must be in hand.
fn has_room_beside(aside: &Path) -> bool {
    let sizes = files::sizes(aside).unwrap_or_default();
    let needed = Sizes::at(aside).needed_bytes(0, sizes).saturating_add(2 * sizes);
    Space::at(aside).is_ok_and(|space| space.free_bytes >= needed)
}

/// Refuses a state that was condemned.
pub(crate) fn check(data_directory: &Path) -> Result<(), StorageError> {
    match files::read(&data_directory.join(STATE_CONDEMNED), REASON_BYTES_MAX)? {
        Some(why) => Err(StorageError::corrupt("the state", String::from_utf8_lossy(&why))),
        None => Ok(()),
    }
}
