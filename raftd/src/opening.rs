//! What was found on the disk: log, state and snapshots, brought together. A state that is damaged
//! is set aside and made anew.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use consensus::{Configuration, EntryId, HardState};
use protocol::Promises;
use state_machine::{Host, applied_in};
use storage::{
    DataDirectory, Forgotten, Loss, PeerMemory, PersistentLog, Presence, RestoredLog, SnapshotFile,
    Snapshots, StateStore, StorageError, reconcile,
};

use crate::bootstrap::is_machine;
use crate::exit::{Exit, Failure, host_failure, state_failure, storage_failure};
use crate::program::{Machine, Program};
use crate::repair::{self, Damaged};

/// What a node goes on with.
pub(crate) struct Opened {
    pub(crate) log: Box<dyn PersistentLog>,
    pub(crate) restored: RestoredLog,
    pub(crate) host: Host<StateStore>,
    pub(crate) snapshots: Snapshots,
    pub(crate) files: Vec<SnapshotFile>,
    pub(crate) promises: Promises,
    pub(crate) peers: PeerMemory,
    pub(crate) presence: Presence,
}

/// What was found.
pub(crate) enum Found {
    /// All that is needed.
    Whole(Box<Opened>),
    /// A log, and no state that it goes on from.
    NoState(NoState),
    /// Entries of the log cannot be read; they are repaired before anything else is looked at.
    Damaged(Damaged),
}

/// What a node knows that has no state for its log.
pub(crate) struct NoState {
    /// Why.
    pub(crate) why: String,
    /// What the log begins behind: a snapshot must not end before.
    pub(crate) base: EntryId,
    /// The members, by the log.
    pub(crate) configuration: Configuration,
}

/// Opens log, state and snapshots at the start of a process, and brings them together. A directory
/// that lost what its node has promised gives up its name.
///
/// # Errors
/// If one of them cannot be opened, or is not what this program is made for.
pub(crate) fn open(directory: &mut DataDirectory, program: &Program) -> Result<Found, Failure> {
    if directory.is_half_moved() {
        begin_anew(directory, program, Forgotten::LogLost)?;
    }
    if let Some(record) = directory.half_joined() {
        program.logs.join(directory, &record).map_err(|error| storage_failure(&error))?;
    }
    let (log, restored) = match open_log(directory, program) {
        Err(lost) if lost.forgotten == Some(Forgotten::LogLost) => {
            return anew_with_others(directory, program, lost);
        }
        opened => opened?,
    };
    let configuration = restored.membership.latest();
    if configuration.recognises(directory.node(), directory.incarnation()) {
        directory.is_known().map_err(|error| storage_failure(&error))?;
    }
    take_losses(directory, &restored)?;
    let is_given_up = directory.former().is_some_and(|it| it.why == Forgotten::Unrepairable);
    if is_given_up && !restored.condition.damages.is_empty() {
        let damages = restored.condition.damages.iter().map(ToString::to_string);
        let damages = damages.collect::<Vec<_>>().join("; ");
        drop((log, restored));
        return anew_with_others(directory, program, Failure::new(Exit::Data, damages));
    }
    match bring_together(directory, program, (log, restored)) {
        // Parts of different ages: nobody needs them from a node that has forgotten.
        Err(failure)
            if failure.forgotten.is_some()
                || failure.exit == Exit::Data && directory.former().is_some() =>
        {
            anew_with_others(directory, program, failure)
        }
        found => found,
    }
}

/// A node whose directory is no use to it any more gives up its name, sets the rest aside, and
/// gets all from the others. A node alone has nobody to get it from: it ends, and changes nothing.
fn anew_with_others(
    directory: &mut DataDirectory,
    program: &Program,
    failure: Failure,
) -> Result<Found, Failure> {
    if !has_others(directory) {
        return Err(failure.hint(
            "this node knows of no other member that has what is lost: put a copy of the whole \
             data directory back, or a snapshot into a new cluster (raftctl snapshot restore)",
        ));
    }
    tracing::error!(
        name: "begins-anew",
        "{failure}: this node begins anew, and gets all from the others"
    );
    let known = directory.former().map(|former| former.why);
    let why = failure.forgotten.or(known).unwrap_or(Forgotten::LogLost);
    begin_anew(directory, program, why)?;
    open_again(directory, program)
}

/// Says whether the cluster has, or had, another member, as far as can be known without the log.
fn has_others(directory: &DataDirectory) -> bool {
    let own = directory.node();
    let record = directory.bootstrap().ok().flatten();
    let mut founded = record.iter().flat_map(|record| record.configuration.members().keys());
    // Who cannot be read is not known of.
    let met = directory.peers().load().unwrap_or_default();
    founded.any(|id| *id != own) || met.iter().any(|peer| peer.node != own)
}

/// Empties the directory of a node that has forgotten, for one that joins. It takes another name,
/// also if it has given one up before: the cluster may know it by that one meanwhile.
fn begin_anew(
    directory: &mut DataDirectory,
    program: &Program,
    why: Forgotten,
) -> Result<(), Failure> {
    let failed = |error| storage_failure(&error);
    directory.forget(why).map_err(failed)?;
    let record = directory.bootstrap().map_err(failed)?;
    let record = record.ok_or_else(|| Failure::new(Exit::Data, "it has no bootstrap record"))?;
    directory.begin_anew().map_err(failed)?;
    program.logs.join(directory, &record).map_err(failed)
}

/// The same later on: the log was open all the time, and has lost nothing.
///
/// # Errors
/// As [`open`].
pub(crate) fn open_again(directory: &DataDirectory, program: &Program) -> Result<Found, Failure> {
    let opened = open_log(directory, program)?;
    bring_together(directory, program, opened)
}

type OpenedLog = (Box<dyn PersistentLog>, RestoredLog);

fn open_log(directory: &DataDirectory, program: &Program) -> Result<OpenedLog, Failure> {
    let record = directory.bootstrap().map_err(|error| storage_failure(&error))?;
    if let Some(record) = record {
        is_machine(&program.machine, &record).map_err(|why| {
            Failure::new(Exit::Data, why).hint("start the program that this cluster was made for")
        })?;
    }
    program.logs.open(directory).map_err(|error| storage_failure(&error))
}

fn bring_together(
    directory: &DataDirectory,
    program: &Program,
    (log, restored): OpenedLog,
) -> Result<Found, Failure> {
    if !restored.condition.damages.is_empty() {
        let record = directory.bootstrap().map_err(|error| storage_failure(&error))?;
        let founded = record.as_ref().map(|record| &record.configuration);
        let latest = restored.membership.latest();
        let members = repair::members(&founded.into_iter().chain([latest]).collect::<Vec<_>>());
        // Who has not heard of a change since may have the founders' configuration alone, damaged.
        let known = if latest.members().is_empty() { founded.unwrap_or(latest) } else { latest };
        // Who cannot be read is not known of.
        let met = directory.peers().load().unwrap_or_default();
        let met = met.into_iter().map(|peer| peer.node);
        let met = met.filter(|id| *id != directory.node());
        let known = (known, restored.membership.index());
        let voters = repair::voters(known, &restored.condition.damages, met);
        return Ok(Found::Damaged(Damaged { log, restored, members, voters }));
    }
    let snapshots = Snapshots::open(directory).map_err(|error| storage_failure(&error))?;
    let (path, machine) = (directory.path(), &program.machine);
    let joined = match join(path, &restored, &snapshots, machine) {
        // What is gone from the log's end may be in the state, which is made anew with the rest.
        Err(Trouble::Failure(failure))
            if failure.is_of_the_state() || !restored.condition.losses.is_empty() =>
        {
            set_aside(directory, &failure)?;
            join(path, &restored, &snapshots, machine)
        }
        Ok(host) => Ok(host),
        Err(trouble) => Err(trouble),
    };
    match joined {
        Ok(host) => {
            let (files, _) = snapshots.list().map_err(|error| storage_failure(&error))?;
            let HardState { term, vote } = restored.hard_state;
            let last = restored.log.last().index;
            let promises = Promises { starts: directory.starts(), term, vote, last };
            let peers = directory.peers();
            let presence = directory.presence().map_err(|error| storage_failure(&error))?;
            let opened =
                Opened { log, restored, host, snapshots, files, promises, peers, presence };
            Ok(Found::Whole(Box::new(opened)))
        }
        Err(Trouble::Gap(error)) => Ok(Found::NoState(NoState {
            why: error.to_string(),
            base: restored.log.base(),
            configuration: restored.membership.latest().clone(),
        })),
        Err(Trouble::Failure(failure)) => Err(failure),
    }
}

/// Who lost the end of his log, or term and vote, has forgotten promises, and gives up his name.
fn take_losses(directory: &mut DataDirectory, found: &RestoredLog) -> Result<(), Failure> {
    for loss in &found.condition.losses {
        let why = match loss {
            Loss::End { .. } => Forgotten::LogEnd,
            Loss::HardState => Forgotten::HardState,
            Loss::Tail => Forgotten::TailLost,
            Loss::OtherStart => Forgotten::OtherTime,
        };
        tracing::error!(name: "loss", "{loss}");
        directory.forget(why).map_err(|error| storage_failure(&error))?;
    }
    Ok(())
}

/// Why log and state do not join.
enum Trouble {
    /// No snapshot stands between them.
    Gap(StorageError),
    /// Anything else; perhaps the state is damaged.
    Failure(Failure),
}

fn join(
    path: &Path,
    restored: &RestoredLog,
    snapshots: &Snapshots,
    machine: &Machine,
) -> Result<Host<StateStore>, Trouble> {
    let of_the_state = |error: StorageError| Trouble::Failure(state_failure(&error));
    let mut state = StateStore::open(path).map_err(of_the_state)?;
    // All of the system's part that a start needs is readable, or it is the state that is damaged,
    // and not the log that is too short for it.
    applied_in(&state).map_err(|error| Trouble::Failure(host_failure("the state", &error)))?;
    let installed = reconcile(restored, &mut state, snapshots).map_err(|error| {
        let is_gap = matches!(error, StorageError::Gap { .. });
        if is_gap { Trouble::Gap(error) } else { Trouble::Failure(storage_failure(&error)) }
    })?;
    if let Some(file) = installed {
        let last = file.header.meta.last;
        tracing::info!(
            name: "state-of-snapshot",
            %last, "the state is that of a snapshot, and goes on by the log"
        );
    }
    let host = Host::open(state, Arc::clone(machine));
    host.map_err(|error| Trouble::Failure(host_failure("the state", &error)))
}

/// Takes a damaged state out of the way.
///
/// # Errors
/// If that fails.
pub(crate) fn set_aside(directory: &DataDirectory, failure: &Failure) -> Result<(), Failure> {
    let failed = |error| storage_failure(&error);
    // What snapshots were made of may have differed already from the states of a majority: nobody
    // knows since when.
    let beside = match StateStore::is_condemned(directory.path()) {
        true => Snapshots::open(directory).and_then(|all| all.list()).map_err(failed)?.0,
        false => Vec::new(),
    };
    let beside: Vec<PathBuf> = beside.into_iter().map(|file| file.path).collect();
    let aside = StateStore::set_aside(directory.path(), &beside).map_err(failed)?;
    let kept = match aside {
        Some(aside) => format!(
            "the damaged one is at {} for people, until another one is in hand and room gets \
             short: then it may be removed",
            aside.display()
        ),
        None => "there is nothing of it".to_owned(),
    };
    tracing::error!(
        name: "state-damaged",
        "the state is damaged, and is made anew: {failure}; {kept}"
    );
    Ok(())
}
