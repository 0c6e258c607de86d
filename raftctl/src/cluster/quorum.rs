//! Who is there, whether that is a majority, and how many may fail yet.

use std::collections::BTreeSet;

use client::{NodeStatus, PeerReport};
use consensus::{Majority, NodeId, Tally, Voters};

use crate::cluster::memory::forgetful;
use crate::cluster::pace::SILENT_MS;
use crate::cluster::survey::Survey;

/// Returns the members that answered and take part.
pub(crate) fn answering(survey: &Survey) -> BTreeSet<NodeId> {
    let generation = generation(survey);
    let takes_part = |status: &&NodeStatus| {
        status.failure.is_empty() && status.generation.is_some() && status.generation == generation
    };
    let forgetful = forgetful(survey);
    let counts = |id: &NodeId| !forgetful.contains(id);
    survey.answers().filter(takes_part).map(|status| status.node).filter(counts).collect()
}

/// Returns the history of the node whose configuration counts.
pub(crate) fn generation(survey: &Survey) -> Option<protocol::Generation> {
    let leader = survey.leader().and_then(|leader| leader.generation);
    leader.or_else(|| survey.answers().max_by_key(|status| status.term)?.generation)
}

/// Returns the members that the leader hears from, which it knows better than whoever asks from
/// outside, but for those that say themselves that they take no part.
pub(crate) fn heard(survey: &Survey, leader: &NodeStatus) -> BTreeSet<NodeId> {
    let taking_part = answering(survey);
    let is_alive = |peer: &&PeerReport| {
        let answered = survey.row(peer.id).is_some_and(|row| row.answer.is_ok());
        let limit_ms = if answered { SILENT_MS } else { survey.unanswered_ms(leader) };
        let heard_ms = if answered || is_new(leader) { peer.heard_ms } else { said(leader, peer) };
        let heard = heard_ms.is_some_and(|heard_ms| heard_ms < limit_ms);
        heard && (taking_part.contains(&peer.id) || !answered)
    };
    leader.peers.iter().filter(is_alive).map(|peer| peer.id).chain([leader.node]).collect()
}

/// Returns how long ago a leader heard from a member, if it has since it was elected: then
/// everybody counts as heard, so that nobody is given up at once.
pub(crate) fn said(leader: &NodeStatus, peer: &PeerReport) -> Option<u64> {
    peer.heard_ms.filter(|ms| leader.leading_ms.is_none_or(|leading_ms| *ms < leading_ms))
}

/// Says whether a leader was elected so recently that nobody can have answered it yet.
fn is_new(leader: &NodeStatus) -> bool {
    leader.leading_ms.is_some_and(|ms| ms < leader.heartbeat_ms.saturating_mul(2))
}

/// Returns the members that did not answer, and to which others have a connection: they may be
/// there.
pub(crate) fn connected_only(survey: &Survey) -> BTreeSet<NodeId> {
    let answering = answering(survey);
    survey
        .answers()
        .filter(|status| answering.contains(&status.node))
        .flat_map(|status| status.peers.iter().filter(|peer| peer.connected))
        .map(|peer| peer.id)
        .filter(|id| survey.row(*id).is_none_or(|row| row.answer.is_err()))
        .collect()
}

/// Says which majority is missing, if one is.
pub(crate) fn shortage(voters: &Voters, alive: &BTreeSet<NodeId>) -> Option<String> {
    shortage_of(voters, alive, &BTreeSet::new())
}

/// Says the same where it is known who answers, though not all of them take part: nobody is to look
/// for a way to nodes that are there.
pub(crate) fn shortage_of(
    voters: &Voters,
    alive: &BTreeSet<NodeId>,
    answered: &BTreeSet<NodeId>,
) -> Option<String> {
    let (outgoing, incoming) = voters.halves();
    let is_short = |half: &&Majority| half.tally(|id| Some(alive.contains(&id))) != Tally::Won;
    let half = outgoing.into_iter().chain([incoming]).find(is_short)?;
    let there = half.iter().filter(|id| alive.contains(id)).count();
    let which = match outgoing {
        None => "",
        Some(old) if std::ptr::eq(old, half) => " outgoing voters",
        Some(_) => " incoming voters",
    };
    let (all, need) = (half.len(), half.quorum());
    let answered = half.iter().filter(|id| answered.contains(id)).count();
    let voting = match there {
        0 => "none of them votes".to_owned(),
        1 => "1 of them votes".to_owned(),
        _ => format!("{there} of them vote"),
    };
    Some(match answered > there {
        true => format!("{answered} of {all}{which} answer, and {voting}, need {need}"),
        false => format!("{there} of {all}{which} reachable, need {need}"),
    })
}

/// Returns how many of these may still fail, whichever they are.
pub(crate) fn tolerance(voters: &Voters, alive: &BTreeSet<NodeId>) -> usize {
    let spare = |half: &Majority| {
        half.iter().filter(|id| alive.contains(id)).count().saturating_sub(half.quorum())
    };
    let (outgoing, incoming) = voters.halves();
    outgoing.into_iter().chain([incoming]).map(spare).min().unwrap_or(0)
}
