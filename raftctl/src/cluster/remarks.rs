//! What is not as it should be, member by member: whatever some node knows of it is told, with its
//! cause and the code that explains it. As long as there is one of the grave remarks, the cluster
//! is not healthy.

use std::collections::BTreeSet;

use client::{Common, NodeStatus, PeerReport};
use consensus::{FlowKind, NodeId, RoleKind};

use crate::cluster::links::{Link, link, report};
use crate::cluster::memory::{doubles, forgotten, returning};
use crate::cluster::pace::{
    STUCK_MS, disk_hangs_ms, disk_slow_ms, lag_max, reads_hang_ms, recent_ms,
};
use crate::cluster::quorum::{generation, said};
use crate::cluster::survey::{Row, Silence};
use crate::cluster::survey::{Survey, Told};
use crate::codes::{self, Code};
use crate::output::units;

/// A sentence, and the code that explains it.
pub(crate) type Remark = (String, Code);

/// Collects what is to be said of all nodes, and of their ways to each other.
pub(crate) fn members(survey: &Survey) -> Vec<Remark> {
    let mut found = Vec::new();
    let leader = survey.leader();
    found.extend(claims(survey, leader));
    for row in &survey.rows {
        found.extend(match &row.answer {
            Ok(status) => answered(survey, leader, row, status),
            Err(silence) => vec![silent(survey, leader, row, silence)],
        });
    }
    found.extend(returning(survey));
    found.extend(doubles(survey));
    found.extend(cut(survey, leader));
    found.extend(leader.and_then(|leader| stuck_commit(survey, leader)));
    found.extend(leader.map(|leader| differing(survey, leader)).unwrap_or_default());
    found
}

/// Says who does not fit: members that take no part in what the leader does. They are not counted
/// on, whatever contact there is.
pub(crate) fn unfit(survey: &Survey, leader: &NodeStatus) -> BTreeSet<NodeId> {
    let others = leader.peers.iter().map(|peer| peer.id);
    let is_unfit = |id: &NodeId| {
        forgotten(survey, *id).is_some() || !following(survey, leader, *id).is_empty()
    };
    let hangs = survey.answers().filter(|status| disk_hangs_ms(status).is_some());
    let hanging: BTreeSet<NodeId> = hangs.map(|status| status.node).collect();
    others.filter(is_unfit).chain(hanging.iter().copied()).collect()
}

/// Says who claims to lead though another one does.
fn claims(survey: &Survey, leader: Option<&NodeStatus>) -> Vec<Remark> {
    let told = survey.told();
    let (name, term) = match (leader, &told) {
        (Some(leader), _) => (survey.name(leader.node), leader.term),
        (None, Some(told)) => (survey.name(told.leader), told.term),
        (None, None) => return Vec::new(),
    };
    let stale = survey.claimants().filter(|other| leader.is_none_or(|led| led.node != other.node));
    let remark = |other: &NodeStatus| {
        let (claimant, older) = (survey.name(other.node), other.term);
        let text = format!(
            "{claimant}: claims to lead in term {older}, but {name} leads in term {term}: it is \
             cut off, and acknowledges nothing"
        );
        (text, codes::TWO_LEADERS)
    };
    stale.map(remark).collect()
}

/// Says what is known of a node that did not answer.
fn silent(survey: &Survey, leader: Option<&NodeStatus>, row: &Row, silence: &Silence) -> Remark {
    let (name, why) = (&row.name, &silence.why);
    if silence.common == Common::Generation {
        return (format!("{name}: {why}"), codes::HISTORY);
    }
    let is_member = |id: NodeId| survey.configuration().is_some_and(|c| c.member(id).is_some());
    if survey.configuration().is_some() && !row.id.is_some_and(is_member) {
        let text =
            format!("{name}: does not answer, and no member has this name or address: {why}");
        return (text, codes::NO_MEMBER);
    }
    if let Some(forgotten) = row.id.and_then(|id| forgotten(survey, id)) {
        return forgotten;
    }
    let told = survey.told().filter(|told| Some(told.leader) == row.id);
    if let Some(Told { by, heard_ms, term, .. }) = told {
        let names = list(by.iter().map(|id| survey.name(*id)));
        let text = format!(
            "{name}: leads in term {term} ({names} heard it {} ago), but this client cannot reach \
             it: {why}",
            units::age(heard_ms)
        );
        return (text, codes::OUT_OF_REACH);
    }
    let heard = row.id.zip(leader).and_then(|(id, leader)| recently_heard(survey, leader, id));
    if let Some(heard_ms) = heard {
        let ago = units::age(heard_ms);
        let text = format!(
            "{name}: serves (the leader heard it {ago} ago), but this client cannot reach it: {why}"
        );
        return (text, codes::OUT_OF_REACH);
    }
    let code = match silence.common {
        Common::Certificates => codes::CERTIFICATES,
        Common::Full => codes::CROWDED,
        Common::Generation => codes::HISTORY,
        Common::Nothing => codes::MEMBER_SILENT,
    };
    let silent_ms = row.id.zip(leader).and_then(|(id, leader)| report(leader, id)?.heard_ms);
    let unheard = silent_ms.map_or_else(String::new, |ms| {
        format!("; the leader has not heard from it for {}", units::age(ms))
    });
    let more = row.id.map(|id| said_of(survey, id, why)).unwrap_or_default();
    (format!("{name}: {why}{unheard}{more}"), code)
}

/// Returns where a member is dialled, if it says of itself that it is elsewhere.
fn elsewhere(survey: &Survey, status: &NodeStatus) -> Option<String> {
    let member = survey.configuration()?.member(status.node)?;
    let differs = !status.address.is_empty() && status.address != member.address;
    // What it knows of the configuration may be older than that.
    let own = status.configuration.member(status.node).map(|member| &member.address);
    (differs && own != Some(&status.address)).then(|| units::printable(member.address.as_bytes()))
}

/// Returns how long ago the leader heard a member to which it has a connection, if that is recent.
fn recently_heard(survey: &Survey, leader: &NodeStatus, id: NodeId) -> Option<u64> {
    let peer = report(leader, id).filter(|peer| peer.connected)?;
    said(leader, peer).filter(|ms| *ms < survey.unanswered_ms(leader))
}

/// Returns what other nodes say of the way to one that does not answer, where it says more than
/// that there is no answer.
fn said_of(survey: &Survey, id: NodeId, known: &str) -> String {
    let mut said: Vec<(String, Vec<String>)> = Vec::new();
    for status in survey.answers() {
        let Some(peer) = report(status, id).filter(|peer| !peer.connected) else { continue };
        if !is_precise(&peer.trouble) || known.contains(&peer.trouble) {
            continue;
        }
        let name = survey.name(status.node);
        match said.iter_mut().find(|(why, _)| *why == peer.trouble) {
            Some((_, names)) => names.push(name),
            None => said.push((peer.trouble.clone(), vec![name])),
        }
    }
    said.into_iter().map(|(why, names)| format!("; {} to it: {why}", list(names))).collect()
}

/// Says whether a reason is more than silence.
fn is_precise(why: &str) -> bool {
    let vague = ["no answer", "timed out", "reset by peer", "it has restarted", "closed"];
    !why.is_empty() && !vague.iter().any(|begin| why.starts_with(begin))
}

/// Says what is wrong with a node that answered.
fn answered(
    survey: &Survey,
    leader: Option<&NodeStatus>,
    row: &Row,
    status: &NodeStatus,
) -> Vec<Remark> {
    let name = &row.name;
    let mut found: Vec<Remark> = Vec::new();
    let mut say = |text: String, code: Code| found.push((format!("{name}: {text}"), code));
    if !status.failure.is_empty() {
        say(format!("does not serve: {}", status.failure), codes::MEMBER_FAILED);
    }
    if let Some(forgotten) = forgotten(survey, status.node) {
        found.push(forgotten);
        return found;
    }
    let ours = generation(survey);
    if ours.is_some() && status.generation != ours {
        let what = if status.generation.is_some() { "another history" } else { "no history" };
        say(format!("has {what}, takes no part"), codes::MEMBER_FOREIGN);
        return found;
    }
    let is_member = survey.configuration().is_none_or(|c| c.member(status.node).is_some());
    if !is_member {
        say("is no member (any more), and raftd still runs there".into(), codes::NO_MEMBER);
        return found;
    }
    if let Some(ms) = disk_hangs_ms(status) {
        let ago = units::age(ms);
        let leads = leader.is_some_and(|leader| leader.node == status.node);
        let role = if leads { "it leads, and " } else { "" };
        let text = format!("{role}its disk has not finished a write for {ago}");
        say(text, codes::DISK_HANGS);
    } else if let Some(ms) = disk_slow_ms(status) {
        say(format!("its disk is slow: a write took {ms} ms of late"), codes::DISK_SLOW);
    }
    if let Some(ms) = reads_hang_ms(status) {
        let waits = units::age(ms);
        say(format!("has been answering one question for {waits}: others wait"), codes::READS_HANG);
    }
    if let Some(dialled) = elsewhere(survey, status) {
        let advertised = units::printable(status.address.as_bytes());
        say(
            format!("advertises {advertised}, and the others dial it at {dialled}"),
            codes::ADVERTISED,
        );
    }
    if !status.snapshot_damaged.is_empty() {
        say(format!("a snapshot is damaged: {}", status.snapshot_damaged), codes::SNAPSHOT_DAMAGED);
    }
    if !status.mended.is_empty() {
        say(format!("damage was found and mended: {}", status.mended), codes::MENDED);
    }
    if let Some(ms) = status.applied_stalled_ms.filter(|ms| *ms >= STUCK_MS) {
        let waiting = units::count(status.commit.saturating_sub(status.applied));
        let ago = units::age(ms);
        // Its log begins behind what it has applied: what lies between comes with the snapshot.
        if status.applied + 1 < status.first {
            let text = format!("has been installing a snapshot for {ago}: {waiting} entries wait");
            say(text, codes::BEHIND);
        } else {
            let text =
                format!("its state machine has stood still for {ago}: {waiting} entries wait");
            say(text, codes::STUCK);
        }
    }
    if let Some(leader) = leader.filter(|leader| leader.node != status.node) {
        found.extend(following(survey, leader, status.node));
    }
    found
}

/// Says what keeps a member from following the leader; nothing if it does.
fn following(survey: &Survey, leader: &NodeStatus, id: NodeId) -> Vec<Remark> {
    let Some(peer) = report(leader, id) else { return Vec::new() };
    let status = survey.row(id).and_then(|row| row.answer.as_deref().ok());
    let name = survey.name(id);
    let mut found: Vec<Remark> = Vec::new();
    let mut say = |text: String, code: Code| found.push((format!("{name}: {text}"), code));
    let contact = contact(survey, leader, peer, status.is_some());
    // A member that the leader does not hear lacks whatever came since.
    let heard = contact.as_ref().is_none_or(|(_, code)| *code != codes::MEMBER_SILENT);
    if let Some((text, code)) = contact {
        say(text, code);
    }
    if let Some(text) = status.and_then(|status| misfit(survey, leader, status)) {
        say(text, codes::MISFIT);
    }
    if let Some((text, code)) = lag(survey, leader, peer).filter(|_| heard) {
        say(text, code);
    }
    found
}

/// Says what is wrong with the leader's contact to a member.
fn contact(
    survey: &Survey,
    leader: &NodeStatus,
    peer: &PeerReport,
    answered: bool,
) -> Option<(String, Code)> {
    let way = link(survey, leader.node, peer.id);
    // A leader that was just elected has not heard from anybody yet.
    let silent_ms = peer.heard_ms.unwrap_or_else(|| leader.leading_ms.unwrap_or(0));
    if silent_ms >= recent_ms(leader) {
        let why = match way {
            Link::Down(why) => format!(": {why}"),
            Link::Up | Link::Unknown => String::new(),
        };
        let (ago, leader) = (units::age(silent_ms), survey.name(leader.node));
        let text = format!("the leader {leader} has not heard from it for {ago}{why}");
        return Some((text, codes::MEMBER_SILENT));
    }
    match way {
        Link::Down(why) => {
            let leader = survey.name(leader.node);
            Some((format!("the leader {leader} cannot reach it: {why}"), codes::NO_WAY))
        }
        Link::Up | Link::Unknown => {
            let before = peer.since_ms.is_some_and(|since_ms| silent_ms > since_ms);
            (before && answered).then(|| {
                ("the leader has not heard from it since they connected".to_owned(), codes::NO_WAY)
            })
        }
    }
}

/// Says what in a member's role does not fit to the leader.
fn misfit(survey: &Survey, leader: &NodeStatus, status: &NodeStatus) -> Option<String> {
    let (name, term) = (survey.name(leader.node), leader.term);
    let asks = match status.role {
        RoleKind::PreCandidate => Some("asks who would elect it (pre-candidate)"),
        RoleKind::Candidate => Some("asks for votes (candidate)"),
        // Two that claim to lead are told of elsewhere.
        RoleKind::Leader | RoleKind::Follower => None,
    };
    if let Some(asks) = asks {
        let own = status.term;
        return Some(format!(
            "{asks} in term {own} though {name} leads in term {term}: it does not hear from {name}"
        ));
    }
    if status.term > term {
        return Some(format!(
            "is in term {}, newer than term {term} of the leader {name}: there will be an election",
            status.term
        ));
    }
    if status.role == RoleKind::Follower && status.leader != Some(leader.node) {
        return Some(match status.leader {
            None => format!("follows nobody though {name} leads"),
            Some(other) => format!(
                "follows {} in term {} though {name} leads in term {term}",
                survey.name(other),
                status.term
            ),
        });
    }
    let (known, wanted) = (status.configuration_index, leader.configuration_index);
    let has_it = report(leader, status.node).is_some_and(|peer| peer.matched >= wanted);
    (known != wanted && (known > wanted || has_it)).then(|| {
        format!("goes by the members of log entry {known}, the leader by those of entry {wanted}")
    })
}

/// Says how a member lags behind.
fn lag(survey: &Survey, leader: &NodeStatus, peer: &PeerReport) -> Option<(String, Code)> {
    let is_voter = survey.configuration().is_some_and(|c| c.is_voter(peer.id));
    let behind = leader.commit.saturating_sub(peer.matched);
    let entries = match behind {
        1 => "an entry".to_owned(),
        _ => format!("{} entries", units::count(behind)),
    };
    match peer.flow? {
        FlowKind::Snapshot if is_voter => {
            let text = format!("is behind by {entries}, and gets a snapshot");
            return Some((text, codes::BEHIND));
        }
        // It takes as long as it takes: a snapshot moves nothing in the log.
        FlowKind::Snapshot => return None,
        FlowKind::Probe | FlowKind::Replicate => {}
    }
    if let Some(ms) = peer.stalled_ms.filter(|ms| *ms >= STUCK_MS) {
        let lacking = units::count(leader.last.saturating_sub(peer.matched));
        let ago = units::age(ms);
        let text = format!("its log has stood still for {ago}: it lacks {lacking} entries");
        return Some((text, codes::STUCK));
    }
    if is_voter && behind > lag_max(leader) {
        return Some((format!("is behind by {entries}"), codes::BEHIND));
    }
    (is_voter && peer.flow == Some(FlowKind::Probe) && behind > 0).then(|| {
        let text = format!("is behind by {entries}, and the leader looks where to go on");
        (text, codes::BEHIND)
    })
}

/// Says between which nodes that answer there is no way; the leader's own ways are told of where
/// it says which members it hears.
fn cut(survey: &Survey, leader: Option<&NodeStatus>) -> Vec<Remark> {
    let Some(configuration) = survey.configuration() else { return Vec::new() };
    let ours = generation(survey);
    let part: Vec<NodeId> = survey
        .answers()
        .filter(|status| status.failure.is_empty() && status.generation == ours)
        .map(|status| status.node)
        .filter(|id| configuration.member(*id).is_some())
        .collect();
    let mut found = Vec::new();
    for (at, one) in part.iter().enumerate() {
        for other in &part[at + 1..] {
            let down = |from: NodeId, to: NodeId| match link(survey, from, to) {
                Link::Down(_) if leader.is_some_and(|leader| leader.node == from) => None,
                Link::Down(why) => Some(why),
                Link::Up | Link::Unknown => None,
            };
            let (a, b) = (survey.name(*one), survey.name(*other));
            let text = match (down(*one, *other), down(*other, *one)) {
                (None, None) => continue,
                (Some(why), None) => format!("{a}: cannot reach {b}: {why}"),
                (None, Some(why)) => format!("{b}: cannot reach {a}: {why}"),
                (Some(there), Some(back)) => {
                    format!("{a} and {b} cannot reach each other: {a}: {there}; {b}: {back}")
                }
            };
            found.push((text, codes::NO_WAY));
        }
    }
    found
}

/// Says whose states differ from the leader's, which compares them.
fn differing(survey: &Survey, leader: &NodeStatus) -> Vec<Remark> {
    let remark = |peer: &PeerReport| {
        let index = peer.differs_at?;
        let (one, other) = (survey.name(leader.node), survey.name(peer.id));
        let answer = survey.row(peer.id).and_then(|row| row.answer.as_deref().ok());
        let who = match answer {
            Some(status) if !status.failure.is_empty() => {
                format!("{other} answers nothing from its own")
            }
            Some(_) | None => "no majority tells whose is right".to_owned(),
        };
        let text = format!(
            "{one} and {other}: their states differ behind entry {}, {who}: raftctl verify \
             --bisect",
            units::count(index)
        );
        Some((text, codes::STATES_DIFFER))
    };
    leader.peers.iter().filter_map(remark).collect()
}

/// Says that the leader gets nothing committed.
fn stuck_commit(survey: &Survey, leader: &NodeStatus) -> Option<Remark> {
    let ms = leader.commit_stalled_ms.filter(|ms| *ms >= STUCK_MS)?;
    let waiting = units::count(leader.last.saturating_sub(leader.commit));
    let (name, ago) = (survey.name(leader.node), units::age(ms));
    let text =
        format!("{name}: leads, but has committed nothing for {ago}: {waiting} entries wait");
    Some((text, codes::STUCK))
}

/// Joins names as people do.
pub(crate) fn list(names: impl IntoIterator<Item = String>) -> String {
    let names: Vec<String> = names.into_iter().collect();
    match names.split_last() {
        None => String::new(),
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
    }
}

#[cfg(test)]
mod tests;
