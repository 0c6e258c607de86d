//! Why nobody leads: from the refusals that votes carry, and from who does not answer.

use std::collections::BTreeSet;
use std::fmt;

use client::{Common, NodeStatus};
use consensus::{NodeId, RoleKind, Verdict as Vote};

use crate::cluster::links::{Link, link};
use crate::cluster::memory::forgotten;
use crate::cluster::remarks::{list, members};
use crate::cluster::survey::{Row, Silence, Survey};
use crate::cluster::verdict::{Health, Verdict};
use crate::report::Report;

/// Follows the name of a node in the line that says why it does not lead.
const NOT_LEADING: &str = " does not lead";

/// Returns why nobody leads, if nobody does.
pub(crate) fn why_nobody_leads(survey: &Survey, verdict: &Verdict) -> Vec<String> {
    match verdict.health {
        Health::NoLeader => nobody_wins(survey, true),
        // A leader that hears too few is told of with its reason.
        Health::NoQuorum if survey.leader().is_some() => Vec::new(),
        Health::NoQuorum => nobody_wins(survey, false),
        Health::Healthy
        | Health::Degraded
        | Health::Joint
        | Health::Uninitialised
        | Health::Unknown => Vec::new(),
    }
}

/// Says what is known where no leader answers: that a node leads which this client does not reach,
/// or that nobody leads. With it, what else is known of each node.
pub(crate) fn no_leader_answers(survey: &Survey) -> (String, Vec<client::Cause>) {
    let message = match survey.told() {
        Some(told) => {
            let name = survey.name(told.leader);
            let followers = list(told.by.iter().map(|id| survey.name(*id)));
            let say = if told.by.len() == 1 { "says" } else { "say" };
            format!("{name} leads, as {followers} {say}, but this client cannot reach {name}")
        }
        None => hearsay(survey).map_or_else(|| "nobody leads".to_owned(), |told| told.to_string()),
    };
    let split = |line: String| match line.split_once(": ") {
        Some((who, why)) => match who.strip_suffix(NOT_LEADING) {
            Some(name) => {
                let why = format!("{}: {why}", NOT_LEADING.trim_start());
                client::Cause { endpoint: name.to_owned(), why }
            }
            None => client::Cause { endpoint: who.to_owned(), why: why.to_owned() },
        },
        None => client::Cause { endpoint: "cluster".to_owned(), why: line },
    };
    let mut causes: Vec<client::Cause> =
        members(survey).into_iter().map(|(text, _)| split(text)).collect();
    if survey.told().is_none() {
        causes.extend(nobody_wins(survey, true).into_iter().map(split));
    }
    (message, causes)
}

/// Says that nobody answered, and why.
pub(crate) fn unreachable(survey: &Survey) -> Report {
    let mut causes = Vec::new();
    let mut found = Vec::new();
    for row in &survey.rows {
        if let Err(silence) = &row.answer {
            found.push(silence.common);
            causes.push(client::Cause { endpoint: row.address.clone(), why: silence.why.clone() });
        }
    }
    let all = |common| found.iter().all(|found| *found == common);
    let common = match () {
        () if all(Common::Certificates) => Common::Certificates,
        () if found.contains(&Common::Full) => Common::Full,
        () if found.contains(&Common::Generation) => Common::Generation,
        () => Common::Nothing,
    };
    Report::from_client(client::ClientError::Unreachable { causes, common })
}

/// Says that this node did not answer, and why.
pub(crate) fn silent(row: &Row, silence: &Silence) -> Report {
    let cause = client::Cause { endpoint: row.address.clone(), why: silence.why.clone() };
    let (causes, common) = (vec![cause], silence.common);
    Report::from_client(client::ClientError::Unreachable { causes, common })
}

/// A leader that nobody who answered hears from: voters that did not answer here have refused to
/// elect another one for its sake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hearsay {
    hearers: String,
    told: String,
}

impl fmt::Display for Hearsay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { hearers, told } = self;
        write!(
            f,
            "somebody leads, for {hearers} would not elect {told} because of it, but neither this \
             client nor {told} reaches the leader"
        )
    }
}

/// Returns what those who answered were told of a leader by those who did not.
pub(crate) fn hearsay(survey: &Survey) -> Option<Hearsay> {
    let answered = |id: NodeId| survey.row(id).is_some_and(|row| row.answer.is_ok());
    let stands_by = |(by, vote): &&(NodeId, Vote)| *vote == Vote::LeaderAlive && !answered(*by);
    let mut hearers = BTreeSet::new();
    let mut told = BTreeSet::new();
    for status in survey.answers().filter(|status| status.failure.is_empty()) {
        for (by, _) in status.refusals.iter().filter(stands_by) {
            hearers.insert(*by);
            told.insert(status.node);
        }
    }
    let names = |ids: BTreeSet<NodeId>| list(ids.into_iter().map(|id| survey.name(id)));
    (!hearers.is_empty()).then(|| Hearsay { hearers: names(hearers), told: names(told) })
}

/// Returns a line for those who are missing, if they are needed, and a line for each voter that
/// answers.
fn nobody_wins(survey: &Survey, quorum_answers: bool) -> Vec<String> {
    let Some(configuration) = survey.configuration() else {
        return Vec::new();
    };
    let voters: Vec<NodeId> = configuration.voters().iter().collect();
    let mut lines = Vec::new();
    let missing: Vec<String> = voters
        .iter()
        .filter_map(|id| Some(format!("{} {}", survey.name(*id), absence(survey, *id)?)))
        .collect();
    // Who hears from a leader has told so; then nobody needs to win.
    if !quorum_answers && !missing.is_empty() && hearsay(survey).is_none() {
        let list = missing.join(", ");
        lines.push(format!("nobody can win: {list}; the rest is no majority"));
    }
    for status in survey.answers().filter(|status| voters.contains(&status.node)) {
        let name = survey.name(status.node);
        let reasons = reasons(survey, status, &voters);
        lines.push(format!("{name}{NOT_LEADING}: {}", reasons.join("; ")));
    }
    lines
}

/// Says why a voter's vote cannot be had at all.
fn absence(survey: &Survey, id: NodeId) -> Option<&'static str> {
    match survey.row(id).map(|row| &row.answer) {
        None | Some(Err(_)) => Some("does not answer"),
        Some(Ok(status)) if status.generation.is_none() => Some("has no history"),
        Some(Ok(_)) if forgotten(survey, id).is_some() => Some("has forgotten what it promised"),
        Some(Ok(status)) if !status.failure.is_empty() => Some("does not serve"),
        Some(Ok(_)) => None,
    }
}

fn reasons(survey: &Survey, status: &NodeStatus, voters: &[NodeId]) -> Vec<String> {
    if !status.failure.is_empty() {
        return vec![format!("it does not serve: {}", status.failure)];
    }
    if status.generation.is_none() {
        return vec!["it has no history".to_owned()];
    }
    if forgotten(survey, status.node).is_some() {
        return vec!["it has forgotten what it promised".to_owned()];
    }
    let refusals = status.refusals.iter().filter(|(_, vote)| *vote != Vote::Granted);
    let mut reasons: Vec<String> = refusals.map(|(by, vote)| refusal(survey, *by, *vote)).collect();
    if reasons.is_empty() {
        reasons.push(idle(survey, status));
    }
    // A node that it does not reach cannot vote for it.
    for other in voters.iter().filter(|other| **other != status.node) {
        if let Link::Down(why) = link(survey, status.node, *other) {
            reasons.push(format!("it does not reach {}: {why}", survey.name(*other)));
        }
    }
    reasons.extend(too_far(survey, status, voters));
    reasons
}

/// Says that votes come when the election that they are for is over.
fn too_far(survey: &Survey, status: &NodeStatus, voters: &[NodeId]) -> Option<String> {
    let timeout_ms = status.election_timeout_ms;
    let peers = status.peers.iter().filter(|peer| voters.contains(&peer.id) && peer.connected);
    let far = peers.filter_map(|peer| Some((peer.id, peer.rtt_us? / 1_000)));
    let (id, ms) = far.filter(|(_, ms)| *ms >= timeout_ms).max_by_key(|(_, ms)| *ms)?;
    Some(format!(
        "a round trip to {} takes {ms} ms, and elections begin after {timeout_ms} ms \
         (raft.election_timeout_ms must be several round trips, on all nodes)",
        survey.name(id)
    ))
}

/// Says what a refusal means.
fn refusal(survey: &Survey, by: NodeId, vote: Vote) -> String {
    let name = survey.name(by);
    let answer = survey.row(by).and_then(|row| row.answer.as_deref().ok());
    match vote {
        Vote::Granted => format!("{name} would vote for it"),
        Vote::StaleTerm => format!("{name} is in a newer term"),
        Vote::AlreadyVoted => {
            let chosen = answer.and_then(|status| status.voted_for);
            let chosen =
                chosen.map_or_else(|| "another candidate".to_owned(), |id| survey.name(id));
            format!("{name} has voted for {chosen} in this term")
        }
        Vote::LogBehind => format!("{name} has a more recent log"),
        Vote::LeaderAlive => {
            let leader = answer.and_then(|status| status.leader);
            let leader = leader.map_or_else(|| "a leader".to_owned(), |id| survey.name(id));
            format!("{name} hears from {leader}, and lets nobody disturb it")
        }
        Vote::NotEligible => {
            format!("{name} may not vote (just restarted, or its memory is not its own)")
        }
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
