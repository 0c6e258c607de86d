//! How the cluster does: one word, one reason, and how many more failures it tolerates.

use std::collections::BTreeSet;
use std::fmt;

use client::{NodeStatus, PeerReport};
use consensus::{Majority, NodeId, Tally, Voters};

use crate::cluster::Survey;
use crate::codes::{self, Code};
use crate::report::Exit;

/// A leader that has not heard from a member for so long calls it silent, in milliseconds.
pub const SILENT_MS: u64 = 3_000;

/// A member that does not answer here counts as alive only if the leader heard from it within this
/// time, in milliseconds: a few heartbeats, so that a machine that just died is not counted on.
const RECENT_MS: u64 = 1_000;

/// What makes a serving cluster degraded; other remarks are only to be looked at in time.
const GRAVE: [Code; 4] =
    [codes::MEMBER_SILENT, codes::CERTIFICATES, codes::MEMBER_FAILED, codes::MEMBER_FOREIGN];

/// A certificate that ends within this time is remarked upon, in seconds.
const CERTIFICATE_SOON_S: i64 = 30 * 86_400;

/// One word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Every member does what it should.
    Healthy,
    /// It serves, and something is wrong.
    Degraded,
    /// A change of members is under way.
    Joint,
    /// A majority answers, and nobody leads.
    NoLeader,
    /// Fewer than a majority of the voters answer.
    NoQuorum,
    /// No node has a history.
    Uninitialised,
}

impl Health {
    /// Returns how `status --check` ends.
    pub const fn exit(self) -> Exit {
        match self {
            Self::Healthy => Exit::Done,
            Self::Degraded | Self::Joint => Exit::Degraded,
            Self::NoLeader | Self::NoQuorum | Self::Uninitialised => Exit::Unhealthy,
        }
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Healthy => "HEALTHY",
            Self::Degraded => "DEGRADED",
            Self::Joint => "JOINT",
            Self::NoLeader => "NO LEADER",
            Self::NoQuorum => "NO QUORUM",
            Self::Uninitialised => "UNINITIALISED",
        })
    }
}

/// The verdict over a survey.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// One word.
    pub health: Health,
    /// Why; empty if all is well.
    pub reason: String,
    /// How many more voters may fail, whichever they are; `None` if nothing is known.
    pub tolerates: Option<usize>,
    /// What should be looked at, with the code that explains it.
    pub remarks: Vec<(String, Code)>,
}

/// Judges.
pub fn judge(survey: &Survey, now_unix_s: i64) -> Verdict {
    let remarks = remarks(survey, now_unix_s);
    let Some(configuration) = survey.configuration() else {
        return without_configuration(survey, remarks);
    };
    let leader = survey.leader();
    let present = match leader {
        Some(leader) => heard(survey, leader),
        None => answering(survey),
    };
    let tolerates = Some(tolerance(configuration.voters(), &present));
    let grave = remarks.iter().find(|(_, code)| GRAVE.contains(code));
    let (health, reason) = match (shortage(configuration.voters(), &present), leader, grave) {
        (Some(shortage), _, _) => (Health::NoQuorum, shortage),
        (None, None, _) => (Health::NoLeader, "a majority answers, and nobody leads".to_owned()),
        (None, Some(_), Some((remark, _))) => (Health::Degraded, remark.clone()),
        (None, Some(_), None) if configuration.voters().is_joint() => {
            (Health::Joint, "a change of members is under way".to_owned())
        }
        (None, Some(_), None) => (Health::Healthy, String::new()),
    };
    Verdict { health, reason, tolerates, remarks }
}

fn without_configuration(survey: &Survey, remarks: Vec<(String, Code)>) -> Verdict {
    let total = survey.rows.len();
    let answered = survey.answers().count();
    if answered == 0 {
        let need = total / 2 + 1;
        let reason = format!("0 of {total} nodes reachable, need {need}");
        return Verdict { health: Health::NoQuorum, reason, tolerates: None, remarks };
    }
    let reason = format!("{answered} of {total} nodes answer, and none has a history");
    Verdict { health: Health::Uninitialised, reason, tolerates: None, remarks }
}

/// Returns the members that answered and take part.
fn answering(survey: &Survey) -> BTreeSet<NodeId> {
    let generation = generation(survey);
    let takes_part = |status: &&NodeStatus| {
        status.failure.is_empty() && status.generation.is_some() && status.generation == generation
    };
    survey.answers().filter(takes_part).map(|status| status.node).collect()
}

/// Returns the history of the node whose configuration counts.
fn generation(survey: &Survey) -> Option<protocol::Generation> {
    let leader = survey.leader().and_then(|leader| leader.generation);
    leader.or_else(|| survey.answers().max_by_key(|status| status.term)?.generation)
}

/// Returns the members that the leader hears from, which it knows better than whoever asks from
/// outside, but for those that say themselves that they take no part.
pub fn heard(survey: &Survey, leader: &NodeStatus) -> BTreeSet<NodeId> {
    let taking_part = answering(survey);
    let is_alive = |peer: &&PeerReport| {
        let answered = survey.row(peer.id).is_some_and(|row| row.answer.is_ok());
        let limit_ms = if answered { SILENT_MS } else { RECENT_MS };
        let heard = peer.heard_ms.is_some_and(|heard_ms| heard_ms < limit_ms);
        heard && (taking_part.contains(&peer.id) || !answered)
    };
    leader.peers.iter().filter(is_alive).map(|peer| peer.id).chain([leader.node]).collect()
}

/// Says which majority is missing, if one is.
pub fn shortage(voters: &Voters, alive: &BTreeSet<NodeId>) -> Option<String> {
    let (outgoing, incoming) = voters.halves();
    let is_short = |half: &&Majority| half.tally(|id| Some(alive.contains(&id))) != Tally::Won;
    let half = outgoing.into_iter().chain([incoming]).find(is_short)?;
    let there = half.iter().filter(|id| alive.contains(id)).count();
    let which = match outgoing {
        None => "",
        Some(old) if std::ptr::eq(old, half) => " outgoing voters",
        Some(_) => " incoming voters",
    };
    Some(format!("{there} of {}{which} reachable, need {}", half.len(), half.quorum()))
}

/// Returns how many of these may still fail, whichever they are.
pub fn tolerance(voters: &Voters, alive: &BTreeSet<NodeId>) -> usize {
    let spare = |half: &Majority| {
        half.iter().filter(|id| alive.contains(id)).count().saturating_sub(half.quorum())
    };
    let (outgoing, incoming) = voters.halves();
    outgoing.into_iter().chain([incoming]).map(spare).min().unwrap_or(0)
}

/// Collects what should be looked at, the gravest first.
fn remarks(survey: &Survey, now_unix_s: i64) -> Vec<(String, Code)> {
    let mut found = Vec::new();
    let leader = survey.leader();
    let generation = generation(survey);
    for row in &survey.rows {
        let name = &row.name;
        let status = match &row.answer {
            Ok(status) => status,
            Err(silence) => {
                let code =
                    if silence.certificates { codes::CERTIFICATES } else { codes::MEMBER_SILENT };
                found.push((format!("{name}: {}", silence.why), code));
                continue;
            }
        };
        if !status.failure.is_empty() {
            found.push((
                format!("{name}: does not serve: {}", status.failure),
                codes::MEMBER_FAILED,
            ));
        }
        if generation.is_some() && status.generation != generation {
            let what = if status.generation.is_some() { "another history" } else { "no history" };
            found.push((format!("{name}: has {what}, takes no part"), codes::MEMBER_FOREIGN));
        } else if let Some(why) = leader.and_then(|leader| unheard(leader, status.node)) {
            found.push((format!("{name}: {why}"), codes::MEMBER_SILENT));
        }
        found.extend(resources(name, status, now_unix_s));
    }
    found
}

/// Says that the leader does not hear from a member.
fn unheard(leader: &NodeStatus, id: NodeId) -> Option<String> {
    let peer = leader.peers.iter().find(|peer| peer.id == id)?;
    // A leader that was just elected has not heard from anybody yet.
    let silent_ms = peer.heard_ms.unwrap_or_else(|| leader.leading_ms.unwrap_or(0));
    if silent_ms < SILENT_MS {
        return None;
    }
    let why = if peer.trouble.is_empty() { String::new() } else { format!(": {}", peer.trouble) };
    Some(format!("the leader has not heard from it for {} s{why}", silent_ms / 1_000))
}

fn resources(name: &str, status: &NodeStatus, now_unix_s: i64) -> Vec<(String, Code)> {
    let mut found = Vec::new();
    let left_s = status.certificate_not_after.saturating_sub(now_unix_s);
    if left_s < CERTIFICATE_SOON_S {
        let days = left_s.max(0) / 86_400;
        let text = format!("{name}: the certificate ends in {days} days");
        found.push((text, codes::CERTIFICATE_ENDS));
    }
    if status.disk_total_bytes > 0 && status.disk_free_bytes < status.disk_total_bytes / 10 {
        found.push((format!("{name}: the disk is more than 90 % full"), codes::DISK_FILLS));
    }
    found
}

#[cfg(test)]
mod tests;
