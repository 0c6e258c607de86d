//! A node that has a log and no state for it: the state was damaged and set aside, and the log
//! begins behind what own snapshots hold. It fetches a snapshot from another member, and goes on
//! from there. Until then it takes part in nothing: it answers status, and says what it waits for.

use std::panic::resume_unwind;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use certs::Expect;
use consensus::{EntryId, HardState, Member, NodeId, SnapshotMeta, Write, WriteId};
use protocol::{ErrorCode, Hello, Request, Response, SnapshotAnswer, SnapshotRequest, Trouble};
use storage::{
    DataDirectory, SnapshotFile, SnapshotId, SnapshotReader, SnapshotReceiver, Snapshots,
    StateStore,
};
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};
use transport::{Alpn, ClientConnection, ClientRequest, Endpoint, Trail, answer_identify};

use crate::alive::Alive;
use crate::control::Command;
use crate::exit::{Exit, Failure, storage_failure};
use crate::gauges::Gauges;
use crate::identity::Identity;
use crate::lanes::network::Elsewhere;
use crate::logging::repeat::{self, Kind};
use crate::observe::board::Load;
use crate::opening::{Found, NoState, Opened, open_again};
use crate::program::Program;
use crate::services::Services;
use crate::{admin, answer, status};

/// How long connecting to a member may take, and an answer. Making a snapshot takes as long as
/// writing out the state does.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const PIECE_TIMEOUT: Duration = Duration::from_secs(10);
const TAKE_TIMEOUT: Duration = Duration::from_secs(600);

/// What is said of an answer that does not belong to its question.
const NONSENSE: &str = "it answered something else than was asked";

/// How long is waited until all members are asked again.
const PAUSE: Duration = Duration::from_secs(1);

/// Gets a state for the log from another member; `None` if the node was asked to stop meanwhile.
///
/// # Errors
/// If there is no other member, or the disk fails.
pub(crate) async fn rebuild(
    services: &mut Services,
    (identity, endpoint, gauges): (&Identity, &Endpoint, &Arc<Gauges>),
    (directory, alive): (&Arc<DataDirectory>, &Alive),
    mut lost: NoState,
) -> Result<Option<Opened>, Failure> {
    loop {
        let others = others(&lost, identity, &services.reload.elsewhere());
        if others.is_empty() {
            return Err(hopeless(&lost));
        }
        let why = format!("its state is being fetched from another member: {}", lost.why);
        tracing::warn!(name: "state-rebuilt", "{why}");
        let snapshots = Snapshots::open(directory).map_err(|error| storage_failure(&error))?;
        let source = Source {
            endpoint: endpoint.clone(),
            hello: services.inbound.hello.borrow().clone(),
            snapshots,
            base: lost.base,
            directory: directory.path(),
            gauges,
            alive,
        };
        let fetching = source.fetch(others);
        tokio::pin!(fetching);
        let meta = loop {
            tokio::select! {
                fetched = &mut fetching => break fetched?,
                went_on = serve(services, identity, gauges, &why) => {
                    if !went_on {
                        return Ok(None);
                    }
                }
            }
        };
        let joined =
            move |directory: &DataDirectory, program: &Program| join(directory, program, meta);
        let about = (identity, &**gauges);
        let opened = opened_aside(services, about, (directory, alive), &why, joined).await?;
        let Some(found) = opened else {
            return Ok(None);
        };
        match found {
            Found::Whole(opened) => {
                tracing::info!(name: "state-complete", "the state is complete again");
                return Ok(Some(*opened));
            }
            Found::NoState(still) => lost = still,
            Found::Damaged(damaged) => return Err(damaged.again()),
        }
    }
}

/// Does what may wait for the disk on a thread of its own.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    spawn_blocking(work).await.unwrap_or_else(|ended| resume_unwind(ended.into_panic()))
}

/// Opens everything on a thread of its own, as making a large state anew takes minutes; whoever
/// asks meanwhile is told `why`. `None` if the node was asked to stop: the thread may go on, and
/// holds the directory.
///
/// # Errors
/// As `work`.
pub(crate) async fn opened_aside(
    services: &mut Services,
    (identity, gauges): (&Identity, &Gauges),
    (directory, alive): (&Arc<DataDirectory>, &Alive),
    why: &str,
    work: impl FnOnce(&DataDirectory, &Program) -> Result<Found, Failure> + Send + 'static,
) -> Result<Option<Found>, Failure> {
    let (directory, program) = (Arc::clone(directory), services.program.clone());
    let alive = alive.clone();
    let opening = aside(move || {
        let found = work(&directory, &program);
        drop((directory, alive));
        found
    });
    tokio::pin!(opening);
    loop {
        tokio::select! {
            opened = &mut opening => return opened.map(Some),
            went_on = serve(services, identity, gauges, why) => {
                if !went_on {
                    return Ok(None);
                }
            }
        }
    }
}

/// Puts the log behind the snapshot, if it does not go through it, and opens everything.
fn join(
    directory: &DataDirectory,
    program: &Program,
    meta: SnapshotMeta,
) -> Result<Found, Failure> {
    let (mut log, restored) =
        program.logs.open(directory).map_err(|error| storage_failure(&error))?;
    // As with a leader's snapshot (§5): what is behind it stays if the log goes through it.
    if !restored.log.contains(meta.last) {
        // The others may have had elections that this node has not heard of: no log ends in a term
        // that its node does not know, and in the new one it has given no vote (§3.4).
        let is_newer = meta.last.term > restored.hard_state.term;
        let hard_state = is_newer.then_some(HardState { term: meta.last.term, vote: None });
        let write = Write {
            id: WriteId::new(1),
            hard_state,
            truncate_from: None,
            append: Vec::new(),
            compact_to: Some(meta),
        };
        log.write(&[write]).map_err(|error| storage_failure(&error))?;
    }
    drop((log, restored));
    open_again(directory, program)
}

/// Returns the members that can be asked, and where.
fn others(
    lost: &NoState,
    identity: &Identity,
    elsewhere: &Elsewhere,
) -> Vec<(NodeId, Member, String)> {
    let members = lost.configuration.members().iter();
    let others = members.filter(|(id, _)| **id != identity.node);
    others
        .map(|(id, member)| {
            let address = elsewhere.address(*id, member).to_owned();
            (*id, member.clone(), address)
        })
        .collect()
}

fn hopeless(lost: &NoState) -> Failure {
    let why = format!("the state is damaged or missing and cannot be made anew: {}", lost.why);
    Failure::new(Exit::Data, why).hint(
        "this node is its cluster's only one, and has no snapshot that the log goes on from: put \
         one that was saved (raftctl snapshot save) into a new cluster with `raftctl snapshot \
         restore`; what was written since is lost with the state",
    )
}

/// Answers whoever asks meanwhile; `false` if the node is to stop.
async fn serve(services: &mut Services, identity: &Identity, gauges: &Gauges, why: &str) -> bool {
    let Services { clock, inbound, control, .. } = services;
    let interval = control.interval();
    let report = |clock: &crate::clock::Clock| protocol::NodeStatus {
        generation: identity.generation,
        failure: why.to_owned(),
        ..status::uninitialised(clock.now(), identity, gauges)
    };
    tokio::select! {
        Some(ClientRequest { request, identity: asker, responder, .. }) =
            inbound.requests.recv() =>
        {
            responder.send(match admin::admit(&asker.role, request) {
                Ok(Request::Status) => Response::Status(Box::new(report(clock))),
                Ok(_) => Response::Error(answer::refusal(ErrorCode::NoLeader, why)),
                Err(refusal) => Response::Error(refusal),
            });
            true
        }
        Some(accepted) = inbound.peers.recv() => {
            let hello = inbound.hello.borrow().clone();
            tokio::spawn(answer_identify(accepted, hello));
            true
        }
        command = control.next() => match command {
            Command::Stop => {
                control.stopping();
                tracing::info!(name: "stopped", "stopped");
                false
            }
            // An owner who does not wait for the answer needs none.
            Command::Status(reply) => {
                drop(reply.send(report(clock)));
                true
            }
            Command::Bootstrap(_, reply) => {
                drop(reply.send(Err("this node has a history".to_owned())));
                true
            }
        },
        () = sleep(interval) => {
            control.beat(why.to_owned());
            control.post(|| (report(clock), Load::default()));
            repeat::summarise(Instant::now(), false);
            true
        }
    }
}

/// What is needed to fetch a snapshot.
struct Source<'a> {
    endpoint: Endpoint,
    hello: Hello,
    snapshots: Snapshots,
    base: EntryId,
    directory: &'a Path,
    gauges: &'a Arc<Gauges>,
    alive: &'a Alive,
}

/// Why no snapshot was fetched from a member.
enum Missed {
    /// There is no room for it here: another one would have none either.
    Room(String),
    /// Anything else.
    Otherwise(String),
}

impl From<String> for Missed {
    fn from(why: String) -> Self {
        Self::Otherwise(why)
    }
}

impl Source<'_> {
    /// Asks one member after the other, until one has given a snapshot that fits.
    async fn fetch(&self, others: Vec<(NodeId, Member, String)>) -> Result<SnapshotMeta, Failure> {
        loop {
            for (id, member, address) in &others {
                match self.fetch_from(*id, address).await {
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
                    Err(Missed::Otherwise(why)) => {
                        let who = format!("{} (node {id}) at {address}", member.name);
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
        let connection = connection.await.map_err(said)?;
        // Also one that was asked for before, and was not made in time: to make another one would
        // take as long.
        if let Some(last) = self.listed(&connection).await? {
            match self.copy(&connection, last).await {
                Ok(file) => return Ok(file),
                Err(Missed::Room(why)) => return Err(Missed::Room(why)),
                Err(Missed::Otherwise(why)) => {
                    tracing::debug!(node = %id, %last, why, "the snapshot there is of no use");
                }
            }
        }
        let SnapshotAnswer::Taken(info) =
            ask(&connection, SnapshotRequest::Take, TAKE_TIMEOUT).await?
        else {
            return Err(Missed::Otherwise(NONSENSE.to_owned()));
        };
        reaches(info.last, self.base)?;
        self.copy(&connection, info.last).await
    }

    /// Returns the newest snapshot that a member has and that fits.
    async fn listed(&self, connection: &ClientConnection) -> Result<Option<EntryId>, String> {
        let SnapshotAnswer::List(files) =
            ask(connection, SnapshotRequest::List, PIECE_TIMEOUT).await?
        else {
            return Err(NONSENSE.to_owned());
        };
        let newest = files.into_iter().map(|file| file.last).max_by_key(|last| last.index);
        Ok(newest.filter(|last| reaches(*last, self.base).is_ok()))
    }

    /// Begins with the file or goes on with what is here of it, which is read through first.
    async fn receive(&self, id: SnapshotId, bytes: u64) -> Result<SnapshotReceiver, Missed> {
        let (snapshots, gauges) = (self.snapshots.clone(), Arc::clone(self.gauges));
        let (directory, alive) = (self.directory.to_owned(), self.alive.clone());
        aside(move || {
            let receiver = snapshots.receive(id).map_err(said)?;
            // The file, and the state that is made of it.
            let needed = bytes.saturating_mul(2).saturating_sub(receiver.offset());
            make_room(&gauges, &directory, needed)?;
            drop(alive);
            Ok(receiver)
        })
        .await
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
            let request = SnapshotRequest::Fetch { last, offset };
            let SnapshotAnswer::Piece { size_bytes, bytes } =
                ask(connection, request, PIECE_TIMEOUT).await?
            else {
                return Err(Missed::Otherwise(NONSENSE.to_owned()));
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
                    true => Ok(aside(move || writer.finish()).await.map_err(said)?),
                    false => {
                        Err(Missed::Otherwise(format!("it gave {offset} of {size_bytes} bytes")))
                    }
                };
            }
            let written = aside(move || writer.write(offset, &bytes).map(|end| (writer, end)));
            let (writer, end) = written.await.map_err(said)?;
            (receiver, offset) = (Some(writer), end);
        }
    }
}

/// Looks whether there is room for so many bytes more. What was set aside makes way: a member has
/// all of it. Not for the loop.
fn make_room(gauges: &Gauges, directory: &Path, bytes: u64) -> Result<(), Missed> {
    let Some(why) = gauges.lacks(bytes) else { return Ok(()) };
    if !StateStore::remove_aside(directory).map_err(said)? {
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

async fn ask(
    connection: &ClientConnection,
    request: SnapshotRequest,
    within: Duration,
) -> Result<SnapshotAnswer, String> {
    let asked = timeout(within, connection.call(&Request::Snapshot(request))).await;
    match asked.map_err(said)?.map_err(said)? {
        Response::Snapshot(answer) => Ok(answer),
        Response::Error(error) => Err(error.message),
        Response::Applied { .. }
        | Response::Batch { .. }
        | Response::Answer { .. }
        | Response::Status(_)
        | Response::Log(_)
        | Response::Bootstrapped { .. }
        | Response::Certificate(_)
        | Response::Configuration(_)
        | Response::Done => Err(NONSENSE.to_owned()),
    }
}

fn said(error: impl std::fmt::Display) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests {
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
}
