//! Fetches a snapshot from another member, in pieces that an operator's tool asks for as well. What
//! is here of one stays when the way breaks, and is gone on with.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use certs::Expect;
use consensus::{EntryId, Member, NodeId, SnapshotMeta};
use protocol::{ErrorCode, Hello, Request, Response, SnapshotAnswer, SnapshotRequest, Trouble};
use storage::{
    SnapshotFile, SnapshotId, SnapshotReader, SnapshotReceiver, Snapshots, StateStore, StorageError,
};
use tokio::time::{sleep, timeout};
use transport::{Alpn, ClientConnection, Endpoint, Trail};

use crate::alive::Alive;
use crate::exit::Failure;
use crate::gauges::Gauges;
use crate::logging::repeat::{self, Kind};
use crate::removal::told_removed;

/// How long connecting to a member may take, and an answer. Making a snapshot takes as long as
/// writing out the state does.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const PIECE_TIMEOUT: Duration = Duration::from_secs(10);
const TAKE_TIMEOUT: Duration = Duration::from_secs(600);

/// What is said of an answer that does not belong to its question.
const NONSENSE: &str = "it answered something else than was asked";

/// How long is waited until all members are asked again.
const PAUSE: Duration = Duration::from_secs(1);

/// For so long nobody else is asked after the last piece of a snapshot: what is here of one is lost
/// with another.
const PARTLY_PATIENCE: Duration = Duration::from_secs(30);

/// A member that is too busy for a piece is asked for it again so often: who connects anew reads
/// all that is here of the snapshot once more.
const BUSY_TRIES: u32 = 30;

/// What is needed to fetch a snapshot.
pub(super) struct Source<'a> {
    pub(super) endpoint: Endpoint,
    pub(super) hello: Hello,
    pub(super) snapshots: Snapshots,
    pub(super) base: EntryId,
    pub(super) directory: &'a Path,
    pub(super) gauges: &'a Arc<Gauges>,
    pub(super) alive: &'a Alive,
}

/// Why no snapshot was fetched from a member.
enum Missed {
    /// There is no room for it here: another one would have none either.
    Room(String),
    /// The member has too much to do for this now.
    Busy(String),
    /// The way to the member, its haste, or this disk: what it has may be of use.
    Later(String),
    /// The same, with so many bytes of it here.
    Partly(u64, String),
    /// What it has is of no use.
    Useless(String),
    /// This node was removed.
    Removed(Failure),
}

impl From<String> for Missed {
    fn from(why: String) -> Self {
        Self::Useless(why)
    }
}

/// What is here of a member's snapshot.
struct Partly {
    id: NodeId,
    bytes: u64,
    since: Instant,
}

impl Partly {
    /// Says whether a member may be asked: this one alone, as long as it goes on.
    fn allows(&self, id: NodeId) -> bool {
        self.id == id || self.since.elapsed() >= PARTLY_PATIENCE
    }

    /// Notes how much is here now.
    fn grown(before: Option<Self>, id: NodeId, bytes: u64) -> Self {
        match before.filter(|before| before.id == id && before.bytes >= bytes) {
            Some(before) => before,
            None => Self { id, bytes, since: Instant::now() },
        }
    }
}

impl Source<'_> {
    /// Asks one member after the other, until one has given a snapshot that fits.
    ///
    /// # Errors
    /// If a member says that this node was removed.
    pub(super) async fn fetch(
        &self,
        others: impl Fn() -> Vec<(NodeId, Member, String)>,
    ) -> Result<SnapshotMeta, Failure> {
        let mut partly: Option<Partly> = None;
        loop {
            for (id, member, address) in others() {
                if !partly.as_ref().is_none_or(|partly| partly.allows(id)) {
                    continue;
                }
                let who = format!("{} (node {id}) at {address}", member.name);
                match self.fetch_from(id, &address).await {
                    Ok(file) => {
                        self.gauges.troubles().end(Trouble::Snapshots);
                        let (from, last) = (&member.name, file.header.meta.last);
                        tracing::info!(
                            name: "snapshot-fetched",
                            %from, %last, bytes = file.bytes, "a snapshot was fetched"
                        );
                        return Ok(file.header.meta);
                    }
                    Err(Missed::Room(why)) => {
                        let why = format!("no snapshot can be received: {why}");
                        self.gauges.troubles().note(Trouble::Snapshots, &why);
                        repeat::tell(Kind::Snapshot, &member.name, why);
                        break;
                    }
                    Err(Missed::Partly(bytes, why)) => {
                        partly = Some(Partly::grown(partly, id, bytes));
                        repeat::tell(Kind::Snapshot, who, why);
                        break;
                    }
                    Err(Missed::Removed(failure)) => return Err(failure),
                    Err(Missed::Busy(why) | Missed::Later(why) | Missed::Useless(why)) => {
                        repeat::tell(Kind::Snapshot, who, why);
                    }
                }
            }
            sleep(PAUSE).await;
        }
    }

    async fn fetch_from(&self, id: NodeId, address: &str) -> Result<SnapshotFile, Missed> {
        let expect = Expect::Node(id.get().try_into().map_err(said)?);
        let (trail, how) = (Trail::new(address), (Alpn::Forward, expect));
        let connection =
            ClientConnection::connect(&self.endpoint, &trail, how, &self.hello, CONNECT_TIMEOUT);
        let connection = match connection.await {
            Ok(connection) => connection,
            Err(error) => {
                let asked = (&self.endpoint, &self.hello);
                let told = told_removed(&error, asked, (id, address)).await;
                return Err(told.map_or_else(|| Missed::Later(said(error)), Missed::Removed));
            }
        };
        // Also one that was asked for before, and was not made in time: to make another one would
        // take as long.
        if let Some(last) = self.listed(&connection).await? {
            match self.copy(&connection, last).await {
                Err(Missed::Useless(why)) => {
                    tracing::debug!(node = %id, %last, why, "the snapshot there is of no use");
                }
                Err(
                    missed @ (Missed::Room(_)
                    | Missed::Busy(_)
                    | Missed::Later(_)
                    | Missed::Partly(..)
                    | Missed::Removed(_)),
                ) => return Err(missed),
                Ok(file) => return Ok(file),
            }
        }
        let SnapshotAnswer::Taken(info) =
            ask(&connection, SnapshotRequest::Take, TAKE_TIMEOUT).await?
        else {
            return Err(Missed::Useless(NONSENSE.to_owned()));
        };
        reaches(info.last, self.base)?;
        self.copy(&connection, info.last).await
    }

    /// Returns the newest snapshot that a member has and that fits.
    async fn listed(&self, connection: &ClientConnection) -> Result<Option<EntryId>, Missed> {
        let SnapshotAnswer::List(files) =
            ask(connection, SnapshotRequest::List, PIECE_TIMEOUT).await?
        else {
            return Err(Missed::Useless(NONSENSE.to_owned()));
        };
        let newest = files.into_iter().map(|file| file.last).max_by_key(|last| last.index);
        Ok(newest.filter(|last| reaches(*last, self.base).is_ok()))
    }

    /// Begins with the file or goes on with what is here of it, which is read through first.
    async fn receive(&self, id: SnapshotId, bytes: u64) -> Result<SnapshotReceiver, Missed> {
        let (snapshots, gauges) = (self.snapshots.clone(), Arc::clone(self.gauges));
        let directory = self.directory.to_owned();
        let received = self.alive.aside(move || {
            let receiver = snapshots.receive(id).map_err(here)?;
            // The file, and the state that is made of it.
            let needed = bytes.saturating_mul(2).saturating_sub(receiver.offset());
            make_room(&gauges, &directory, needed)?;
            Ok(receiver)
        });
        received.await
    }

    /// Copies the file, which counts when all of it is checked and durable.
    async fn copy(
        &self,
        connection: &ClientConnection,
        last: EntryId,
    ) -> Result<SnapshotFile, Missed> {
        let mut receiver = None;
        let mut offset = 0;
        loop {
            let piece = SnapshotRequest::Fetch { last, offset };
            let asked =
                patiently(PAUSE, async || ask(connection, piece, PIECE_TIMEOUT).await).await;
            let asked = asked.map_err(|missed| match missed {
                Missed::Busy(why) | Missed::Later(why) if offset > 0 => Missed::Partly(offset, why),
                Missed::Room(_)
                | Missed::Busy(_)
                | Missed::Later(_)
                | Missed::Partly(..)
                | Missed::Useless(_)
                | Missed::Removed(_) => missed,
            });
            let SnapshotAnswer::Piece { size_bytes, bytes } = asked? else {
                return Err(Missed::Useless(NONSENSE.to_owned()));
            };
            let mut writer = match receiver.take() {
                Some(writer) => writer,
                None => {
                    let head = SnapshotReader::new("that is fetched".to_owned(), &bytes[..]);
                    let id = head.map_err(said)?.id();
                    self.receive(id, size_bytes).await?
                }
            };
            if bytes.is_empty() {
                return match offset == size_bytes {
                    // It is read once more and synced: that takes long.
                    true => self.alive.aside(move || writer.finish()).await.map_err(here),
                    false => {
                        Err(Missed::Useless(format!("it gave {offset} of {size_bytes} bytes")))
                    }
                };
            }
            let write = move || writer.write(offset, &bytes).map(|end| (writer, end));
            let (writer, end) = self.alive.aside(write).await.map_err(here)?;
            (receiver, offset) = (Some(writer), end);
        }
    }
}

/// Looks whether there is room for so many bytes more. What was set aside makes way: a member has
/// all of it. Not for the loop.
fn make_room(gauges: &Gauges, directory: &Path, bytes: u64) -> Result<(), Missed> {
    let Some(why) = gauges.lacks(bytes) else { return Ok(()) };
    if !StateStore::remove_aside(directory).map_err(here)? {
        return Err(Missed::Room(why));
    }
    gauges.lacks(bytes).map_or(Ok(()), |still| Err(Missed::Room(still)))
}

/// Looks whether a log that begins behind `base` goes on from a state that ends at `last`.
fn reaches(last: EntryId, base: EntryId) -> Result<(), String> {
    if last.index < base.index {
        return Err(format!("its state ends at entry {last}, too early"));
    }
    Ok(())
}

/// Asks the same again, for a while, as long as the member is busy.
async fn patiently<T>(
    pause: Duration,
    ask: impl AsyncFn() -> Result<T, Missed>,
) -> Result<T, Missed> {
    let mut asked = ask().await;
    for _ in 1..BUSY_TRIES {
        if !matches!(asked, Err(Missed::Busy(_))) {
            break;
        }
        sleep(pause).await;
        asked = ask().await;
    }
    asked
}

async fn ask(
    connection: &ClientConnection,
    request: SnapshotRequest,
    within: Duration,
) -> Result<SnapshotAnswer, Missed> {
    let asked = timeout(within, connection.call(&Request::Snapshot(request))).await;
    let silent = |_| Missed::Later(format!("it has not answered within {within:?}"));
    match asked.map_err(silent)?.map_err(|error| Missed::Later(said(error)))? {
        Response::Snapshot(answer) => Ok(answer),
        Response::Error(error) if error.code == ErrorCode::Busy => Err(Missed::Busy(error.message)),
        Response::Error(error) => Err(Missed::Useless(error.message)),
        Response::Applied { .. }
        | Response::Batch { .. }
        | Response::Answer { .. }
        | Response::Status(_)
        | Response::Log(_)
        | Response::Bootstrapped { .. }
        | Response::Certificate(_)
        | Response::Configuration(_)
        | Response::Done => Err(Missed::Useless(NONSENSE.to_owned())),
    }
}

/// What cannot be written here is no fault of the member's: another one of its would not help.
fn here(error: StorageError) -> Missed {
    match matches!(error, StorageError::Corrupt { .. }) {
        true => Missed::Useless(said(error)),
        false => Missed::Later(said(error)),
    }
}

fn said(error: impl std::fmt::Display) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use consensus::{LogIndex, Term};

    use super::*;

    /// What is between them would be in no state, and in no log any more.
    #[test]
    fn a_state_is_fetched_only_if_the_log_goes_on_from_it() {
        let at = |index| EntryId { term: Term::new(1), index: LogIndex::new(index) };
        assert!(reaches(at(9), at(10)).is_err_and(|why| why.contains("too early")));
        assert_eq!(reaches(at(10), at(10)), Ok(()));
        assert_eq!(reaches(at(11), at(10)), Ok(()));
    }

    /// A receiver was opened anew for it, which reads all that is here, and the member was dialled.
    #[tokio::test]
    async fn a_member_that_is_busy_is_asked_for_the_same_piece_again() {
        let asked = Cell::new(0);
        let piece = patiently(Duration::ZERO, async || {
            asked.set(asked.get() + 1);
            if asked.get() > 2 { Ok("piece") } else { Err(Missed::Busy("busy".to_owned())) }
        });
        assert_eq!((piece.await.ok(), asked.get()), (Some("piece"), 3));
        let broken = patiently::<()>(Duration::ZERO, async || {
            asked.set(asked.get() + 1);
            Err(Missed::Later("it does not answer".to_owned()))
        });
        assert!(matches!((broken.await, asked.get()), (Err(Missed::Later(_)), 4)));
    }

    /// Who has a piece of it and breaks off is asked again, and not for ever: it may be gone.
    #[test]
    fn nobody_else_is_asked_while_a_members_snapshot_grows() {
        let node = |id| NodeId::new(id).expect("not 0");
        let first = Partly::grown(None, node(1), 10);
        assert!(first.allows(node(1)) && !first.allows(node(2)));
        let since = Instant::now() - PARTLY_PATIENCE;
        let old = || Some(Partly { id: node(1), bytes: 10, since });
        assert!(old().is_some_and(|old| old.allows(node(2))));
        assert!(Partly::grown(old(), node(1), 10).allows(node(2)), "it does not go on");
        assert!(!Partly::grown(old(), node(1), 11).allows(node(2)));
        assert!(!Partly::grown(old(), node(2), 3).allows(node(1)), "another one's is here");
    }
}
