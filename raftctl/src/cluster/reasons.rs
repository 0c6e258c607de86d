//! Why nobody can win: from the refusals that votes carry, and from who does not answer.

use client::NodeStatus;
use consensus::{RoleKind, Verdict as Vote};

use crate::cluster::Survey;

/// Returns a line for each node that tries to lead, or for each that could and does not.
pub fn nobody_wins(survey: &Survey) -> Vec<String> {
    let Some(configuration) = survey.configuration() else {
        return Vec::new();
    };
    let voters: Vec<_> = configuration.voters().iter().collect();
    let silent: Vec<String> = survey
        .rows
        .iter()
        .filter(|row| row.answer.is_err() && row.id.is_some_and(|id| voters.contains(&id)))
        .map(|row| format!("{} does not answer", row.name))
        .collect();
    let mut lines = Vec::new();
    for status in survey.answers().filter(|status| voters.contains(&status.node)) {
        let mut reasons: Vec<String> = match status.generation {
            Some(_) => status
                .refusals
                .iter()
                .map(|(by, vote)| format!("{} {}", survey.name(*by), refusal(*vote)))
                .collect(),
            None => vec!["it has no history".to_owned()],
        };
        if !status.failure.is_empty() {
            reasons.push(format!("it does not serve: {}", status.failure));
        }
        reasons.extend(silent.iter().cloned());
        if reasons.is_empty() {
            reasons.push(idle(status));
        }
        lines.push(format!("{} cannot win: {}", survey.name(status.node), reasons.join("; ")));
    }
    lines
}

/// Says what a refusal means.
const fn refusal(vote: Vote) -> &'static str {
    match vote {
        Vote::Granted => "would vote for it",
        Vote::StaleTerm => "is in a newer term",
        Vote::AlreadyVoted => "has voted for another candidate",
        Vote::LogBehind => "has a longer log",
        Vote::LeaderAlive => "hears from a leader",
        Vote::NotEligible => "may not vote (just restarted, or its memory is not its own)",
    }
}

fn idle(status: &NodeStatus) -> String {
    match (status.role, status.leader) {
        (RoleKind::Follower, Some(leader)) => format!("it follows node {leader}"),
        (RoleKind::Follower, None) => "it has not campaigned yet".to_owned(),
        (RoleKind::PreCandidate | RoleKind::Candidate, _) => "its campaign is under way".to_owned(),
        (RoleKind::Leader, _) => "it leads".to_owned(),
    }
}
