//! The founding act: a node without a history waits here for an operator's record. Until then it
//! answers status and bootstrap, and refuses everything else: it never votes, so that a wiped disk
//! never founds a second cluster.

use bytes::Bytes;
use consensus::{Configuration, Timestamp};
use protocol::{BootstrapRecord, ErrorCode, Generation, Outcome, Request, Response};
use state_machine::HostError;
use storage::{DataDirectory, StorageError};
use transport::ClientRequest;

use crate::daemon::{Machine, Program};
use crate::exit::{Exit, Failure};
use crate::gauges::Gauges;
use crate::identity::Identity;
use crate::logging::repeat::{self, Kind};
use crate::{admin, answer, status};

/// Answers a request on a node without a history; says whether it has one now.
///
/// # Errors
/// If the record cannot be stored: the directory may be half made, and the process must end.
pub(crate) fn answer_uninitialised(
    now: Timestamp,
    ask: ClientRequest,
    identity: &Identity,
    gauges: &Gauges,
    directory: &mut DataDirectory,
    program: &Program,
) -> Result<bool, Failure> {
    let machine = &program.machine;
    // Nodes pass nothing on that a node without a history could do.
    let ClientRequest { request, identity: asker, via: _, responder } = ask;
    let request = match admin::admit(&asker.role, request) {
        Ok(request) => request,
        Err(refusal) => {
            responder.send(Response::Error(refusal));
            return Ok(false);
        }
    };
    match request {
        Request::Status => {
            responder
                .send(Response::Status(Box::new(status::uninitialised(now, identity, gauges))));
            Ok(false)
        }
        Request::Bootstrap { record } => {
            let record = match judge(&record, identity, machine) {
                Ok(record) => record,
                Err(why) => {
                    repeat::tell(Kind::Change, &asker, &why);
                    responder.send(refused(ErrorCode::BadRequest, why));
                    return Ok(false);
                }
            };
            let generation = record.generation();
            if let Err(error) = program.logs.bootstrap(directory, &record) {
                let failure = failure(&error);
                let mut reply = answer::refusal(ErrorCode::DiskFailed, failure.message.clone());
                reply.outcome = Outcome::Unknown;
                responder.send(Response::Error(reply));
                return Err(failure);
            }
            tracing::info!(by = %asker, generation = %generation.short(), "bootstrapped");
            responder.send(accepted(generation));
            Ok(true)
        }
        Request::Join { record } => match judge_join(&record, identity, machine) {
            Ok(record) => {
                let generation = record.generation();
                program.logs.join(directory, &record).map_err(|error| failure(&error))?;
                tracing::info!(by = %asker, generation = %generation.short(), "joined");
                responder.send(accepted(generation));
                Ok(true)
            }
            Err(why) => {
                repeat::tell(Kind::Change, &asker, &why);
                responder.send(refused(ErrorCode::BadRequest, why));
                Ok(false)
            }
        },
        Request::Propose { .. }
        | Request::Query { .. }
        | Request::SystemQuery { .. }
        | Request::ReadLog { .. }
        | Request::Reconfigure { .. }
        | Request::Transfer { .. }
        | Request::Snapshot(_) => {
            let why = "this node belongs to no cluster: `raftctl init NAME` founds one, `raftctl \
                       member add` lets it join; a member that lost its data does not come back, \
                       a new node takes its place: `raftctl member replace OLD NEW=HOST:PORT`";
            responder.send(refused(ErrorCode::Uninitialised, why));
            Ok(false)
        }
    }
}

/// Answers a record that reaches a node with a history.
pub(crate) fn repeated(present: Option<Generation>, record: &Bytes) -> Response {
    let offered = match BootstrapRecord::decode(record) {
        Ok(record) => record.generation(),
        Err(error) => return refused(ErrorCode::BadRequest, error.to_string()),
    };
    match present {
        Some(present) if present == offered => accepted(present),
        Some(present) => {
            let (present, offered) = (present.short(), offered.short());
            let why = format!("this node belongs to generation {present} already, not {offered}");
            refused(ErrorCode::AlreadyInitialised, why)
        }
        None => refused(ErrorCode::Internal, "a running node has a generation"),
    }
}

/// Returns the record, if this node may be one of the founders that it names.
fn judge(record: &[u8], identity: &Identity, machine: &Machine) -> Result<BootstrapRecord, String> {
    let record = judge_any(record, identity, machine)?;
    is_ours(&record.configuration, identity)?;
    if record.parent.is_some() {
        return Err(
            "the record goes on from a snapshot: `raftctl snapshot restore` fills the data \
                    directory of the stopped node with it"
                .into(),
        );
    }
    Ok(record)
}

/// Returns the record, if this node may join the cluster that it founded: as somebody new.
fn judge_join(
    record: &[u8],
    identity: &Identity,
    machine: &Machine,
) -> Result<BootstrapRecord, String> {
    let record = judge_any(record, identity, machine)?;
    if record.configuration.member(identity.node).is_some() {
        let node = identity.node;
        return Err(format!("node {node} is one of the founders: it is bootstrapped, not added"));
    }
    Ok(record)
}

fn judge_any(
    record: &[u8],
    identity: &Identity,
    machine: &Machine,
) -> Result<BootstrapRecord, String> {
    let record = BootstrapRecord::decode(record).map_err(|error| error.to_string())?;
    if record.cluster != identity.cluster {
        return Err("the record is another cluster's".into());
    }
    is_machine(machine, &record)?;
    Ok(record)
}

/// Checks that this program has the machine that a history was founded with.
pub(crate) fn is_machine(machine: &Machine, record: &BootstrapRecord) -> Result<(), String> {
    let wanted = (record.machine.as_str(), record.machine_version);
    let own = (machine.name(), machine.version());
    if wanted == own {
        return Ok(());
    }
    Err(format!(
        "the cluster replicates \"{}\" of version {}, this program \"{}\" of version {}",
        wanted.0, wanted.1, own.0, own.1
    ))
}

fn is_ours(configuration: &Configuration, identity: &Identity) -> Result<(), String> {
    let (node, ours) = (identity.node, identity.incarnation);
    let member = configuration
        .member(node)
        .ok_or_else(|| format!("the record does not name this node ({node})"))?;
    if member.incarnation != ours {
        let recorded = member.incarnation;
        return Err(format!(
            "the record names data directory {recorded} for node {node}, but this one is {ours}: \
             it was wiped or replaced; replace the member instead"
        ));
    }
    Ok(())
}

fn accepted(generation: Generation) -> Response {
    Response::Bootstrapped { generation: Bytes::copy_from_slice(generation.bytes()) }
}

fn refused(code: ErrorCode, why: impl Into<String>) -> Response {
    Response::Error(answer::refusal(code, why))
}

/// Says how the process ends when storage fails.
pub(crate) fn failure(error: &StorageError) -> Failure {
    let exit = match error {
        StorageError::Foreign { .. }
        | StorageError::ForeignSnapshot { .. }
        | StorageError::OtherGeneration { .. }
        | StorageError::NotEmpty { .. }
        | StorageError::Gap { .. }
        | StorageError::Corrupt { .. }
        | StorageError::NewerFormat { .. } => Exit::Data,
        StorageError::Denied { .. } => Exit::Config,
        StorageError::InUse { .. }
        | StorageError::Full { .. }
        | StorageError::Poisoned(_)
        | StorageError::Io { .. }
        | StorageError::Database { .. } => Exit::Io,
    };
    let failure = Failure::new(exit, error.to_string());
    match error {
        StorageError::Full { .. } => failure.hint(
            "free space there or enlarge the file system: nothing that was acknowledged is lost, \
             and the node goes on when it is started again",
        ),
        StorageError::InUse { .. } => {
            failure.hint("stop the other one, or wait for it: two must not use one directory")
        }
        StorageError::Foreign { .. }
        | StorageError::ForeignSnapshot { .. }
        | StorageError::OtherGeneration { .. }
        | StorageError::NotEmpty { .. }
        | StorageError::Gap { .. }
        | StorageError::Corrupt { .. }
        | StorageError::NewerFormat { .. }
        | StorageError::Denied { .. }
        | StorageError::Poisoned(_)
        | StorageError::Io { .. }
        | StorageError::Database { .. } => failure,
    }
}

/// Says how the process ends when the state cannot be gone on with: damage below the store is
/// damage, and no restart mends it.
pub(crate) fn host_failure(what: &str, error: &HostError) -> Failure {
    let exit = match error {
        HostError::Store(store) => {
            let below = store.source.downcast_ref::<StorageError>();
            below.map_or(Exit::Io, |below| failure(below).exit)
        }
        HostError::Damaged(_) | HostError::Malformed { .. } | HostError::Gap { .. } => Exit::Data,
    };
    Failure::from_error(exit, what, error)
}
