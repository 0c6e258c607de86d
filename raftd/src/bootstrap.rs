//! Bootstrap: a node without a history waits here for an operator's record. Until then it answers
//! status and bootstrap, and refuses everything else: it never votes, so that a wiped disk never
//! makes a second cluster.

use std::fmt::Display;
use std::time::Instant;

use consensus::{Configuration, NodeId, Timestamp};
use protocol::{BootstrapRecord, ErrorCode, Generation, Outcome, Request, Response};
use state_machine::Act;
use storage::DataDirectory;
use transport::{ClientRequest, answer_identify};

use crate::control::Command;
use crate::exit::{Failure, storage_failure};
use crate::gauges::Gauges;
use crate::identity::Identity;
use crate::inbound::Inbound;
use crate::logging::repeat::{self, Kind};
use crate::node::audit::Founded;
use crate::observe::board::Load;
use crate::program::{Machine, Program};
use crate::services::Services;
use crate::{acts, admin, answer, status};

/// What is said to all other requests.
const ALONE: &str = "this node belongs to no cluster: `raftctl init NAME` makes one, `raftctl \
                     member add` lets it join, `raftctl member heal` lets a member back in that \
                     has lost its data";

/// How waiting for a history ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waited {
    /// The node was asked to stop.
    Stopped,
    /// The node has a history now.
    Bootstrapped,
}

/// Serves a node without a history until it has one.
///
/// # Errors
/// If a record cannot be stored, or the directory goes away.
pub(crate) async fn wait_for_bootstrap(
    services: &mut Services,
    identity: &mut Identity,
    gauges: &Gauges,
    directory: &mut DataDirectory,
) -> Result<Waited, Failure> {
    tracing::info!(
        name: "uninitialised",
        "uninitialised: waiting for `raftctl init`; {} holds no data of a cluster, and this node \
         does not vote: if it should hold some, is its file system mounted?",
        directory.path().display()
    );
    let line = || "uninitialised: waiting for `raftctl init`".to_owned();
    services.control.beat(line());
    let report = status::uninitialised(services.clock.now(), identity, gauges);
    services.control.post(|| (report, Load::default()));
    let Services { clock, inbound, control, program, founded, .. } = services;
    let presence = directory.presence().map_err(|error| storage_failure(&error))?;
    let mut is_gone = false;
    let mut ticks = control.ticks();
    loop {
        let has_history = tokio::select! {
            Some(request) = inbound.requests.recv() => {
                let asked = act(&request, identity.node);
                let has_history =
                    answer(clock.now(), request, identity, gauges, directory, program)?;
                founded.extend(asked.filter(|_| has_history));
                has_history
            }
            Some(accepted) = inbound.peers.recv() => {
                let hello = inbound.hello.borrow().clone();
                tokio::spawn(answer_identify(accepted, hello));
                false
            }
            Err(_) = inbound.accepting.changed() => return Err(Inbound::deaf()),
            command = control.next() => match command {
                Command::Stop => {
                    control.stopping();
                    tracing::info!(name: "stopped", "stopped");
                    return Ok(Waited::Stopped);
                }
                // An owner who does not wait for the answer needs none.
                Command::Status(reply) => {
                    drop(reply.send(status::uninitialised(clock.now(), identity, gauges)));
                    false
                }
                Command::Bootstrap(record, reply) => {
                    let (told, stored) = found(*record, identity, directory, program);
                    drop(reply.send(told));
                    stored?
                }
            },
            _ = ticks.tick() => {
                // As of a node that has a history (`lanes::presence`): what is seen twice is so.
                match presence.check_place() {
                    Err(error) if is_gone => return Err(storage_failure(&error)),
                    found => is_gone = found.is_err(),
                }
                control.beat(line());
                let report = status::uninitialised(clock.now(), identity, gauges);
                control.post(|| (report, Load::default()));
                repeat::summarise(Instant::now(), false);
                false
            }
        };
        if has_history {
            identity.generation = directory.generation();
            let generation = identity.generation;
            inbound.hello.send_modify(|hello| hello.generation = generation);
            return Ok(Waited::Bootstrapped);
        }
    }
}

/// Makes a record of the program around the node its history. Returns what that program is told,
/// and whether the node has a history now.
fn found(
    record: BootstrapRecord,
    identity: &Identity,
    directory: &mut DataDirectory,
    program: &Program,
) -> (Result<Generation, String>, Result<bool, Failure>) {
    let record = match judge(record, identity, &program.machine) {
        Ok(record) => record,
        Err(why) => return (Err(why), Ok(false)),
    };
    match store(&record, &"the program around it", directory, program) {
        Ok(()) => (Ok(record.generation()), Ok(true)),
        Err(failure) => (Err(failure.to_string()), Err(failure)),
    }
}

/// Returns what is asked for as an act, if it gives this node a history.
fn act(ask: &ClientRequest, node: NodeId) -> Option<Founded> {
    let (what, of_all) = if let Request::Bootstrap { .. } = &ask.request {
        ("cluster bootstrap".to_owned(), true)
    } else if let Request::Join { .. } = &ask.request {
        (format!("member join node {node}"), false)
    } else {
        return None;
    };
    let outcome = state_machine::Outcome::Done;
    let who = ask.identity.role.to_string();
    let by = Act { outcome, ..acts::act([0; 16], &who, &ask.from, node, &what) };
    Some(Founded { by, of_all })
}

/// Makes the record this node's history.
fn store(
    record: &BootstrapRecord,
    by: &dyn Display,
    directory: &mut DataDirectory,
    program: &Program,
) -> Result<(), Failure> {
    program.logs.bootstrap(directory, record).map_err(|error| storage_failure(&error))?;
    tracing::info!(
        name: "bootstrapped",
        %by, generation = %record.generation().short(), "bootstrapped"
    );
    Ok(())
}

/// Answers a request on a node without a history; says whether it has one now.
///
/// # Errors
/// If the record cannot be stored: the directory may be half made, and the process must end.
fn answer(
    now: Timestamp,
    ask: ClientRequest,
    identity: &Identity,
    gauges: &Gauges,
    directory: &mut DataDirectory,
    program: &Program,
) -> Result<bool, Failure> {
    // Other nodes pass on only requests that need a leader, and this node knows none.
    let ClientRequest { request, identity: asker, responder, .. } = ask;
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
            let record = match judge(record, identity, &program.machine) {
                Ok(record) => record,
                Err(why) => {
                    repeat::tell(Kind::Change, &asker, &why);
                    responder.send(refused(ErrorCode::BadRequest, why));
                    return Ok(false);
                }
            };
            if let Err(failure) = store(&record, &asker, directory, program) {
                let mut reply = answer::refusal(ErrorCode::DiskFailed, failure.message.clone());
                reply.outcome = Outcome::Unknown;
                responder.send(Response::Error(reply));
                return Err(failure);
            }
            responder.send(accepted(record.generation()));
            Ok(true)
        }
        Request::Join { record } => match judge_join(record, identity, &program.machine) {
            Ok(record) => {
                join(&record, &asker, directory, program)?;
                responder.send(accepted(record.generation()));
                Ok(true)
            }
            Err(why) => {
                repeat::tell(Kind::Change, &asker, &why);
                responder.send(refused(ErrorCode::BadRequest, why));
                Ok(false)
            }
        },
        Request::Certificate(request) => {
            identity.desk.ask(request, responder);
            Ok(false)
        }
        Request::Configuration(request) => {
            identity.desk.ask_owner(request, responder);
            Ok(false)
        }
        Request::Propose { .. }
        | Request::Batch { .. }
        | Request::Query { .. }
        | Request::SystemQuery { .. }
        | Request::ReadLog { .. }
        | Request::Reconfigure { .. }
        | Request::Transfer { .. }
        | Request::Snapshot(_)
        | Request::Note { .. } => {
            responder.send(refused(ErrorCode::Uninitialised, ALONE));
            Ok(false)
        }
    }
}

/// Takes over the history that begins with a record.
fn join(
    record: &BootstrapRecord,
    by: &dyn Display,
    directory: &mut DataDirectory,
    program: &Program,
) -> Result<(), Failure> {
    program.logs.join(directory, record).map_err(|error| storage_failure(&error))?;
    tracing::info!(
        name: "joined",
        %by, generation = %record.generation().short(), "joined"
    );
    Ok(())
}

/// Answers a record that reaches a node with a history.
pub(crate) fn repeated(present: Option<Generation>, record: &BootstrapRecord) -> Response {
    match bootstrapped_before(present, record.generation()) {
        Ok(present) => accepted(present),
        Err(why) => refused(ErrorCode::AlreadyInitialised, why),
    }
}

/// Says whether a node with a history has the one that is offered.
///
/// # Errors
/// What it has instead.
pub(crate) fn bootstrapped_before(
    present: Option<Generation>,
    offered: Generation,
) -> Result<Generation, String> {
    match present {
        Some(present) if present == offered => Ok(present),
        Some(present) => {
            let (present, offered) = (present.short(), offered.short());
            Err(format!("this node belongs to generation {present} already, not {offered}"))
        }
        None => Err("a running node has a generation".to_owned()),
    }
}

/// Returns the record, if it names this node among the first members.
fn judge(
    record: BootstrapRecord,
    identity: &Identity,
    machine: &Machine,
) -> Result<BootstrapRecord, String> {
    judge_any(&record, identity, machine)?;
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

/// Returns the record, if this node may join the cluster that was made by it: as a new member, or
/// as a first one with another data directory, which a leader takes in again.
fn judge_join(
    record: BootstrapRecord,
    identity: &Identity,
    machine: &Machine,
) -> Result<BootstrapRecord, String> {
    judge_any(&record, identity, machine)?;
    if record.configuration.recognises(identity.node, identity.incarnation) {
        let node = identity.node;
        return Err(format!(
            "node {node} is one of the first members: it is bootstrapped, not added"
        ));
    }
    Ok(record)
}

fn judge_any(
    record: &BootstrapRecord,
    identity: &Identity,
    machine: &Machine,
) -> Result<(), String> {
    if record.cluster != identity.cluster {
        return Err("the record is another cluster's".into());
    }
    is_machine(machine, record)
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
             it was wiped or replaced: raftctl member heal"
        ));
    }
    Ok(())
}

fn accepted(generation: Generation) -> Response {
    Response::Bootstrapped { generation }
}

fn refused(code: ErrorCode, why: impl Into<String>) -> Response {
    Response::Error(answer::refusal(code, why))
}
