//! What a node does before it starts: log and state must join (museum G3, G14).
//!
//! A leader's snapshot is taken over in three steps: its file is durable, then the log begins
//! behind it, then the state is replaced. A crash in between is mended here.

use std::path::Path;

use crate::error::StorageError;
use crate::persistent_log::RestoredLog;
use crate::snapshot::{SnapshotFile, SnapshotReader, Snapshots};
use crate::state::StateStore;
use crate::state::checkpoint::applied;

/// Brings the state to where the log begins, if it is behind: by the newest snapshot in between
/// that is whole. Returns the snapshot, if one was needed.
///
/// # Errors
/// [`StorageError::Gap`] if one is needed and there is none, with what is the matter with those
/// that are there, damaged or not to be read. [`StorageError::LogBehind`] if the state goes further
/// than the log: what was applied was durable in the log before. [`StorageError::Corrupt`] if the
/// state ends at an entry that is another one in the log.
pub fn reconcile(
    log: &RestoredLog,
    state: &mut StateStore,
    snapshots: &Snapshots,
) -> Result<Option<SnapshotFile>, StorageError> {
    let (applied, _) = applied(state)?;
    let (base, end) = (log.log.base(), log.log.last());
    if applied.index > end.index {
        return Err(StorageError::LogBehind { last: end, applied });
    }
    if applied.index >= base.index {
        if log.log.contains(applied) {
            return Ok(None);
        }
        let why = format!("it ends at entry {applied}, the log has {base} to {end}");
        return Err(StorageError::corrupt("the state", why));
    }
    let (files, mut wrong) = snapshots.list()?;
    // What could only not be read now may be the one that is needed.
    if let Some(place) = wrong.iter().position(is_passing) {
        return Err(wrong.swap_remove(place));
    }
    for file in files {
        let last = file.header.meta.last;
        if last.index < base.index || !log.log.contains(last) {
            continue;
        }
        match restore(state, &file.path) {
            Ok(()) => return Ok(Some(file)),
            // Another one may do, also another member's.
            Err(error) if is_of(&error, &file.path) => wrong.push(error),
            Err(error) => return Err(error),
        }
    }
    let why = match wrong.as_slice() {
        [] => "no snapshot stands in between".to_owned(),
        wrong => wrong.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
    };
    Err(StorageError::Gap { base, applied, why })
}

/// Makes a state of a snapshot. A damaged one that was set aside makes way for it, if there is no
/// room for both; first all of the snapshot is read, as until then that may be the last copy.
fn restore(state: &mut StateStore, file: &Path) -> Result<(), StorageError> {
    let replace = |state: &mut StateStore| {
        SnapshotReader::open(file).and_then(|mut snapshot| state.replace_from(&mut snapshot))
    };
    let replaced = replace(state);
    if !matches!(replaced, Err(StorageError::Full { .. })) {
        return replaced;
    }
    SnapshotReader::open(file)?.verify(|_| {})?;
    if state.remove_other()? { replace(state) } else { replaced }
}

/// Says whether a snapshot is damaged or the disk does not give it back; what is wrong with the
/// state's own files is another matter.
fn is_of(error: &StorageError, file: &Path) -> bool {
    let is_elsewhere = matches!(error, StorageError::Io { path, .. } if path != file);
    error.is_of_the_file() && !is_elsewhere
}

fn is_passing(error: &StorageError) -> bool {
    matches!(error, StorageError::Io { .. }) && !error.is_of_the_file()
}
