//! Looks whether the files are still at their places. A node whose directory was removed, moved or
//! replaced under it goes on with files that nobody can open again, and seems to be well: it must
//! not count, so it ends within two seconds, and its next start says what is missing.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use protocol::Trouble;
use storage::{EntryReader, Presence, StorageError};

use crate::alive::Alive;
use crate::exit::{chain, storage_failure};
use crate::lanes::{Done, Reports, guarded};
use crate::troubles::Troubles;

/// How often is looked.
const INTERVAL: Duration = Duration::from_secs(1);

/// How often is looked whether it could be written there.
const WRITABLE_INTERVAL: Duration = Duration::from_secs(5);

/// How often is looked whether the node stops: its files are used until then.
const POLL: Duration = Duration::from_millis(50);

/// What was seen is looked at again so much later: a database removes files by itself.
const AGAIN_AFTER: Duration = Duration::from_millis(300);

/// Starts the thread. It ends with the node, or ends it.
///
/// # Errors
/// If the system starts no thread.
pub(crate) fn start(
    mut presence: Presence,
    log: Arc<dyn EntryReader>,
    (reports, troubles): (&Reports, Troubles),
    alive: Alive,
) -> std::io::Result<()> {
    let reports = reports.clone();
    thread::Builder::new().name("files".to_owned()).spawn(move || {
        guarded("files", &reports, || run(&mut presence, &*log, (&reports, &troubles)));
        drop((log, alive));
    })?;
    Ok(())
}

fn run(presence: &mut Presence, log: &dyn EntryReader, (reports, troubles): (&Reports, &Troubles)) {
    let mut seen = None;
    let mut written: Option<Instant> = None;
    while !reports.is_closed() {
        if written.is_none_or(|when| when.elapsed() >= WRITABLE_INTERVAL) {
            written = Some(Instant::now());
            let may = presence.check_writable().map_err(|error| chain(&error));
            troubles.tell(Trouble::Directory, &may);
        }
        match presence.check().and_then(|()| log.check_files()) {
            Err(StorageError::Gone { path, what }) if seen.as_ref() == Some(&path) => {
                let failure = storage_failure(&StorageError::Gone { path, what });
                // A loop that is gone needs no report.
                let _ = reports.blocking_send(Done::ApplyFailed(failure));
                return;
            }
            Err(StorageError::Gone { path, .. }) => seen = Some(path),
            Ok(()) => {
                troubles.end(Trouble::Files);
                seen = None;
            }
            // What fails otherwise fails where it is needed; until then, it is told.
            Err(error) => {
                troubles.note(Trouble::Files, &chain(&error));
                seen = None;
            }
        }
        wait(if seen.is_some() { AGAIN_AFTER } else { INTERVAL }, reports);
    }
}

/// Waits, or until the node stops.
fn wait(time: Duration, reports: &Reports) {
    let began = Instant::now();
    while began.elapsed() < time && !reports.is_closed() {
        thread::sleep(POLL);
    }
}
