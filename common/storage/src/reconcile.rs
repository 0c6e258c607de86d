//! What a node does before it starts: log and state must join (museum G3, G14).
//!
//! A leader's snapshot is taken over in three steps: its file is durable, then the log begins
//! behind it, then the state is replaced. A crash in between is mended here.

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
/// that are there. [`StorageError::LogBehind`] if the state goes further than the log: what was
/// applied was durable in the log before. [`StorageError::Corrupt`] if the state ends at an entry
/// that is another one in the log.
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
    for file in files {
        let last = file.header.meta.last;
        if last.index < base.index || !log.log.contains(last) {
            continue;
        }
        let restored = SnapshotReader::open(&file.path)
            .and_then(|mut snapshot| state.replace_from(&mut snapshot));
        match restored {
            Ok(()) => return Ok(Some(file)),
            Err(error @ StorageError::Corrupt { .. }) => wrong.push(error),
            Err(error) => return Err(error),
        }
    }
    let why = match wrong.as_slice() {
        [] => "no snapshot stands in between".to_owned(),
        wrong => wrong.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
    };
    Err(StorageError::Gap { base, applied, why })
}
