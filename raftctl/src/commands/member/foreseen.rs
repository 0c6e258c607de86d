//! What a plan cannot promise: whether the nodes that it names answer where it names them. They are
//! asked from here, for nothing is written; the change itself has the leader ask.

use client::{Client, Generation, NodeStatus};
use consensus::NodeId;

use crate::change::{Draft, Present};
use crate::cluster::survey::silence;
use crate::codes;
use crate::report::{Report, Result};

/// Asks members at the addresses that they are to have.
///
/// # Errors
/// If another node answers there, or one that has lost its data directory.
pub(super) async fn of_moves(
    client: &Client,
    present: &Present,
    draft: &Draft,
) -> Result<Vec<String>> {
    let mut doubts = Vec::new();
    for (id, _, address) in present.moved(draft) {
        let name = present.survey.name(id);
        match client.status_of(address).await {
            Ok(status) if status.node != id => return Err(other(&status, &name, address)),
            Ok(status) => {
                let known = present.configuration.member(id);
                if known.is_some_and(|member| member.incarnation != status.incarnation) {
                    let message = format!(
                        "at {address} {name} answers with another data directory than it joined \
                         with: it was wiped or replaced"
                    );
                    return Err(Report::new(codes::WIPED, message));
                }
            }
            Err(error) => doubts.push(format!(
                "{name} does not answer at {address}, asked from here: {}; unless the leader meets \
                 it there, the change is refused (R0313)",
                silence(&error).why
            )),
        }
    }
    Ok(doubts)
}

/// Asks nodes that are no members yet.
///
/// # Errors
/// If a member answers in the place of one, or a node with another history.
pub(super) async fn of_newcomers(
    client: &Client,
    present: &Present,
    nodes: &[(String, String)],
    leaving: Option<NodeId>,
) -> Result<Vec<String>> {
    let mut doubts = Vec::new();
    let ours = present.survey.leader().and_then(|leader| leader.generation);
    for (name, address) in nodes.iter().filter(|(name, _)| present.find(name).is_err()) {
        match client.status_of(address).await {
            Ok(status) if leaving == Some(status.node) => {
                present.check_without(status.node)?;
                doubts.push(format!(
                    "the node that leaves answers at {address}: the command waits until {name} has \
                     taken its place there"
                ));
            }
            Ok(status) if present.configuration.member(status.node).is_some() => {
                return Err(other(&status, name, address));
            }
            Ok(status) => {
                if let Some(theirs) = status.generation.filter(|theirs| Some(*theirs) != ours) {
                    return Err(of_another_history(name, theirs));
                }
            }
            Err(error) => doubts.push(format!(
                "{name} does not answer at {address} yet: {}; the command waits for it",
                silence(&error).why
            )),
        }
    }
    Ok(doubts)
}

/// Says that a node has a history that is not this cluster's. Which of them is dead is not known
/// from here, so nobody is told to empty anything.
pub(super) fn of_another_history(name: &str, theirs: Generation) -> Report {
    let message = format!("{name} belongs to another history, {}", theirs.short());
    Report::new(codes::OTHER_GENERATION, message)
        .help("raftctl explain R0461    (which of two histories is dead)")
        .help("if it is that one: stop raftd there, move its data directory away, run this again")
}

/// Says that another node answers than the one that is meant.
pub(super) fn other(found: &NodeStatus, name: &str, address: &str) -> Report {
    let message = format!("at {address} node {} answers, not {name}", found.node);
    Report::new(codes::OTHER_NODE, message).help("raftctl member list")
}
