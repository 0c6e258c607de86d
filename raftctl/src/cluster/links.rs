//! Which nodes reach each other, as they themselves say. Each node sends on connections that it
//! dialled, so two nodes work together only if each reaches the other.

use std::collections::BTreeSet;

use client::{NodeStatus, PeerReport};
use consensus::{NodeId, Voters};

use crate::cluster::quorum::{shortage, tolerance};
use crate::cluster::survey::Survey;

/// More voters are not tried in all combinations.
const VOTERS_TRIED_MAX: usize = 15;

/// The way from one node to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    /// There is a connection, to the process that runs there now as far as that is known.
    Up,
    /// There is none, and why.
    Down(String),
    /// The node at the beginning of the way has not answered.
    Unknown,
}

/// Returns the way from one node to another.
pub(crate) fn link(survey: &Survey, from: NodeId, to: NodeId) -> Link {
    let Some(peer) = status(survey, from).and_then(|status| report(status, to)) else {
        return Link::Unknown;
    };
    // Nodes of old do not tell.
    let process = status(survey, to).map(|status| status.boot).filter(|boot| *boot != 0);
    match (peer.connected, peer.boot, process) {
        (true, Some(leads_to), Some(runs)) if leads_to != runs => {
            Link::Down("its connection leads to the process before the restart".to_owned())
        }
        (true, _, _) => Link::Up,
        (false, _, _) if peer.trouble.is_empty() => Link::Down("not connected yet".to_owned()),
        (false, _, _) => Link::Down(peer.trouble.clone()),
    }
}

/// Returns what a node knows of another one.
pub(crate) fn report(status: &NodeStatus, of: NodeId) -> Option<&PeerReport> {
    status.peers.iter().find(|peer| peer.id == of)
}

/// Returns what a node said that takes part.
fn status(survey: &Survey, id: NodeId) -> Option<&NodeStatus> {
    let status = survey.row(id)?.answer.as_deref().ok()?;
    status.generation.is_some().then_some(status)
}

/// Says whether nothing is known against two nodes working together.
fn together(survey: &Survey, one: NodeId, other: NodeId) -> bool {
    let is_down = |from, to| matches!(link(survey, from, to), Link::Down(_));
    !is_down(one, other) && !is_down(other, one)
}

/// Says whether one of these voters reaches, and is reached by, enough of them to lead.
pub(crate) fn somebody_could_lead(
    survey: &Survey,
    voters: &Voters,
    alive: &BTreeSet<NodeId>,
) -> bool {
    let candidates: Vec<NodeId> = voters.iter().filter(|id| alive.contains(id)).collect();
    candidates.iter().any(|one| {
        let reached = alive.iter().filter(|other| *other == one || together(survey, *one, **other));
        shortage(voters, &reached.copied().collect()).is_none()
    })
}

/// Returns how many of these may still fail, whichever they are, so that among the rest somebody
/// could lead: a voter that others cannot reach is of no help to them.
pub(crate) fn tolerates(survey: &Survey, voters: &Voters, alive: &BTreeSet<NodeId>) -> usize {
    let most = tolerance(voters, alive);
    let those: Vec<NodeId> = voters.iter().filter(|id| alive.contains(id)).collect();
    if those.len() > VOTERS_TRIED_MAX {
        return most;
    }
    let survives = |failed: u32| {
        let left = those.iter().enumerate().filter(|(at, _)| failed & (1 << at) == 0);
        somebody_could_lead(survey, voters, &left.map(|(_, id)| *id).collect())
    };
    let all_survive = |count: usize| {
        let sets = 0..1_u32 << those.len();
        sets.filter(|set| set.count_ones() as usize == count).all(survives)
    };
    (1..=most).take_while(|count| all_survive(*count)).last().unwrap_or(0)
}
