//! A state that cannot be trusted any more: it is condemned while the node runs, set aside when the
//! node opens its directory again, and built anew from a snapshot and the log.
//!
//! ```text
//! state-condemned    why, for people; the state in force is not opened any more
//! damaged-state      the state that was set aside last, for people; nobody reads it, and it goes
//!                    where the disk is short of room and another one is in hand
//! ```

use std::path::{Path, PathBuf};

use crate::error::StorageError;
use crate::files;
use crate::names::{STATE_CONDEMNED, STATE_DAMAGED};
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

    /// Says whether the state in a data directory was condemned.
    pub fn is_condemned(data_directory: &Path) -> bool {
        data_directory.join(STATE_CONDEMNED).exists()
    }

    /// Takes the state out of the way, so that an empty one takes its place; returns where it is,
    /// if there was one, with the files `beside` it. What was set aside before is removed. A crash
    /// in between is no harm: it is begun anew. It may be the last copy of what is in it: whoever
    /// has another one in hand, and no room, calls [`StateStore::remove_aside`].
    ///
    /// # Errors
    /// If files cannot be moved or removed.
    pub fn set_aside(
        data_directory: &Path,
        beside: &[PathBuf],
    ) -> Result<Option<PathBuf>, StorageError> {
        let aside = data_directory.join(STATE_DAMAGED);
        // One that was never in force is no state.
        let last = match place::current(data_directory) {
            Ok(current) => Some(current.path().to_owned()).filter(|path| path.exists()),
            Err(_) => place::newest(data_directory)?,
        };
        if let Some(last) = &last {
            files::remove_directory(&aside)?;
            let failed = |error| StorageError::io("move", last, error);
            std::fs::rename(last, &aside).map_err(failed)?;
            files::sync_parent(&aside)?;
        }
        place::remove_all(data_directory)?;
        if !beside.is_empty() {
            files::create_directory(&aside)?;
        }
        for file in beside {
            let failed = |error| StorageError::io("move", file, error);
            std::fs::rename(file, aside.join(file.file_name().unwrap_or_default()))
                .map_err(failed)?;
            files::sync_parent(file)?;
        }
        // Until all is out of the way.
        files::remove(&data_directory.join(STATE_CONDEMNED))?;
        Ok(last.map(|_| aside))
    }

    /// Removes what was set aside in a data directory, for a disk that is short of room; says
    /// whether there was any.
    ///
    /// # Errors
    /// If files cannot be removed.
    pub fn remove_aside(data_directory: &Path) -> Result<bool, StorageError> {
        let aside = data_directory.join(STATE_DAMAGED);
        let is_there = aside.exists();
        if is_there {
            files::remove_directory(&aside)?;
            tracing::warn!(
                name: "aside-removed",
                "room is short: the damaged state that was set aside is removed"
            );
        }
        Ok(is_there)
    }

    /// Removes what was set aside beside this state, which is in use.
    ///
    /// # Errors
    /// If files cannot be removed.
    pub fn remove_other(&self) -> Result<bool, StorageError> {
        Self::remove_aside(&self.data_directory)
    }
}

/// Refuses a state that was condemned.
pub(crate) fn check(data_directory: &Path) -> Result<(), StorageError> {
    match files::read(&data_directory.join(STATE_CONDEMNED), REASON_BYTES_MAX)? {
        Some(why) => Err(StorageError::corrupt("the state", String::from_utf8_lossy(&why))),
        None => Ok(()),
    }
}
