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
pub(super) fn wait(time: Duration, reports: &Reports) {
    let began = Instant::now();
    while began.elapsed() < time && !reports.is_closed() {
        thread::sleep(POLL);
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;
    use std::sync::Mutex;

    use consensus::{Entry, LogIndex, NodeId};
    use storage::{DataDirectory, StateStore};
    use tokio::sync::mpsc;

    use super::*;
    use crate::lanes::REPORTS_MAX;

    type Look = fn() -> Result<(), StorageError>;

    /// A log whose files are found like this, one look after the other.
    struct Files(Mutex<Vec<Look>>);

    impl EntryReader for Files {
        fn read(&self, _: Range<LogIndex>, _: usize) -> Result<Vec<Entry>, StorageError> {
            Ok(Vec::new())
        }

        fn read_through(&self, _: &mut dyn FnMut(u64) -> bool) -> Result<u64, StorageError> {
            Ok(0)
        }

        fn check_files(&self) -> Result<(), StorageError> {
            let mut looks = self.0.lock().expect("no panic");
            let look = if looks.len() > 1 { looks.remove(0) } else { looks[0] };
            look()
        }

        fn bytes(&self) -> u64 {
            0
        }
    }

    fn unreadable() -> Result<(), StorageError> {
        let source = std::io::Error::other("too many open files");
        Err(StorageError::Io { doing: "look at", path: "a table".into(), source })
    }

    fn gone() -> Result<(), StorageError> {
        Err(StorageError::Gone { path: "a table".into(), what: "was removed" })
    }

    /// It would count for ever with files that nobody can open again.
    #[test]
    fn files_that_could_not_be_looked_at_once_are_looked_at_again() {
        let place = tempfile::tempdir().expect("a directory");
        let id = NodeId::new(1).expect("not 0");
        let directory = DataDirectory::open_or_create(place.path(), [0; 16], id);
        let presence = directory.as_ref().expect("it is new").presence().expect("it is locked");
        let _state = StateStore::open(place.path()).expect("it is empty");
        let (reports, mut reported) = mpsc::channel(REPORTS_MAX);
        let troubles = Troubles::default();
        let log = Arc::new(Files(Mutex::new(vec![unreadable, gone])));
        let lane = (&reports, troubles.clone());
        start(presence, log, lane, Alive::new().0).expect("a thread");
        drop(reports);
        let done = reported.blocking_recv();
        let Some(Done::ApplyFailed(failure)) = &done else { panic!("it has ended: {done:?}") };
        assert!(failure.message.contains("a table was removed"), "{failure}");
        let told = troubles.told();
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].why.contains("too many open files"), "{told:?}");
    }
}
