//! A node that has a log and no state for it: the state was damaged and set aside, and the log
//! begins behind what own snapshots hold. It fetches a snapshot from another member, and goes on
//! from there. Until then it takes part in nothing: it answers status, and says what it waits for.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use consensus::{HardState, Member, NodeId, SnapshotMeta, Write, WriteId};
use protocol::{ErrorCode, Request, Response};
use storage::{DataDirectory, Snapshots};
use tokio::time::Interval;
use transport::{ClientRequest, Endpoint, answer_identify};

use crate::alive::Alive;
use crate::control::Command;
use crate::exit::{Exit, Failure, storage_failure};
use crate::gauges::Gauges;
use crate::identity::Identity;
use crate::inbound::Inbound;
use crate::lanes::network::Elsewhere;
use crate::logging::repeat;
use crate::observe::board::Load;
use crate::opening::{Found, NoState, Opened, open_again};
use crate::program::Program;
use crate::services::Services;
use crate::{admin, answer, status};

mod source;

use source::Source;

/// Gets a state for the log from another member; `None` if the node was asked to stop meanwhile.
///
/// # Errors
/// If there is no other member, one says that this node was removed, or the disk fails.
pub(crate) async fn rebuild(
    services: &mut Services,
    (identity, endpoint, gauges): (&Identity, &Endpoint, &Arc<Gauges>),
    (directory, alive): (&Arc<DataDirectory>, &Alive),
    mut lost: NoState,
) -> Result<Option<Opened>, Failure> {
    let mut ticks = services.control.ticks();
    loop {
        let (members, node) = (lost.configuration.members().clone(), identity.node);
        let reload = services.reload.clone();
        // Each time anew: they may be dialled elsewhere by then.
        let others = move || others(&members, node, &reload.elsewhere());
        if others().is_empty() {
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
                went_on = serve(services, (identity, gauges), &mut ticks, &why) => {
                    if !went_on? {
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

/// Opens everything on a thread of its own, as making a large state anew takes minutes; whoever
/// asks meanwhile is told `why`. `None` if the node was asked to stop: the thread may go on, and
/// holds the directory.
///
/// # Errors
/// As `work`.
pub(crate) async fn opened_aside(
    services: &mut Services,
    about: (&Identity, &Gauges),
    (directory, alive): (&Arc<DataDirectory>, &Alive),
    why: &str,
    work: impl FnOnce(&DataDirectory, &Program) -> Result<Found, Failure> + Send + 'static,
) -> Result<Option<Found>, Failure> {
    let (directory, program) = (Arc::clone(directory), services.program.clone());
    // What is found is dropped before the directory where nobody waits for it any more.
    let opening = alive.aside(move || (work(&directory, &program), directory));
    tokio::pin!(opening);
    let mut ticks = services.control.ticks();
    loop {
        tokio::select! {
            (opened, _) = &mut opening => return opened.map(Some),
            went_on = serve(services, about, &mut ticks, why) => {
                if !went_on? {
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
    members: &BTreeMap<NodeId, Member>,
    node: NodeId,
    elsewhere: &Elsewhere,
) -> Vec<(NodeId, Member, String)> {
    let others = members.iter().filter(|(id, _)| **id != node);
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
///
/// # Errors
/// If nobody can ask any more.
async fn serve(
    services: &mut Services,
    (identity, gauges): (&Identity, &Gauges),
    ticks: &mut Interval,
    why: &str,
) -> Result<bool, Failure> {
    let Services { clock, inbound, control, .. } = services;
    let report = |clock: &crate::clock::Clock| protocol::NodeStatus {
        generation: identity.generation,
        failure: why.to_owned(),
        ..status::uninitialised(clock.now(), identity, gauges)
    };
    let goes_on = tokio::select! {
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
        Err(_) = inbound.accepting.changed() => return Err(Inbound::deaf()),
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
        _ = ticks.tick() => {
            control.beat(why.to_owned());
            control.post(|| (report(clock), Load::default()));
            repeat::summarise(Instant::now(), false);
            true
        }
    };
    Ok(goes_on)
}
