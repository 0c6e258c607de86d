//! Why nobody leads: from the refusals that votes carry, and from who does not answer.

use client::NodeStatus;
use consensus::{NodeId, RoleKind, Verdict as Vote};

use crate::cluster::Survey;

/// Returns a line for those who are missing, if they are needed, and a line for each voter that
/// answers.
pub fn nobody_wins(survey: &Survey, quorum_answers: bool) -> Vec<String> {
    let Some(configuration) = survey.configuration() else {
        return Vec::new();
    };
    let voters: Vec<NodeId> = configuration.voters().iter().collect();
    let mut lines = Vec::new();
    let missing: Vec<String> = voters
        .iter()
        .filter_map(|id| Some(format!("{} {}", survey.name(*id), absence(survey, *id)?)))
        .collect();
    if !quorum_answers && !missing.is_empty() {
        let list = missing.join(", ");
        lines.push(format!("nobody can win: {list}; the rest is no majority"));
    }
    for status in survey.answers().filter(|status| voters.contains(&status.node)) {
        let name = survey.name(status.node);
        lines.push(format!("{name} does not lead: {}", reasons(survey, status).join("; ")));
    }
    lines
}

/// Says why a voter's vote cannot be had at all.
fn absence(survey: &Survey, id: NodeId) -> Option<&'static str> {
    match survey.row(id).map(|row| &row.answer) {
        None | Some(Err(_)) => Some("does not answer"),
        Some(Ok(status)) if status.generation.is_none() => Some("has no history"),
        Some(Ok(status)) if !status.failure.is_empty() => Some("does not serve"),
        Some(Ok(_)) => None,
    }
}

fn reasons(survey: &Survey, status: &NodeStatus) -> Vec<String> {
    if !status.failure.is_empty() {
        return vec![format!("it does not serve: {}", status.failure)];
    }
    if status.generation.is_none() {
        return vec!["it has no history".to_owned()];
    }
    let refusals = status.refusals.iter().filter(|(_, vote)| *vote != Vote::Granted);
    let mut reasons: Vec<String> =
        refusals.map(|(by, vote)| format!("{} {}", survey.name(*by), refusal(*vote))).collect();
    if reasons.is_empty() {
        reasons.push(idle(survey, status));
    }
    reasons
}

/// Says what a refusal means.
const fn refusal(vote: Vote) -> &'static str {
    match vote {
        Vote::Granted => "would vote for it",
        Vote::StaleTerm => "is in a newer term",
        Vote::AlreadyVoted => "has voted for another candidate",
        Vote::LogBehind => "has a more recent log",
        Vote::LeaderAlive => "hears from a leader",
        Vote::NotEligible => "may not vote (just restarted, or its memory is not its own)",
    }
}

fn idle(survey: &Survey, status: &NodeStatus) -> String {
    match (status.role, status.leader) {
        (RoleKind::Follower, Some(leader)) => format!("it follows {} still", survey.name(leader)),
        (RoleKind::Follower, None) => "it has not campaigned yet".to_owned(),
        (RoleKind::PreCandidate, _) => "it asks who would elect it".to_owned(),
        (RoleKind::Candidate, _) => "it asks for votes".to_owned(),
        (RoleKind::Leader, _) => "it does, in an older term".to_owned(),
    }
}
