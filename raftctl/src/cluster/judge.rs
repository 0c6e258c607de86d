//! Judging how the cluster does: one word, one reason, and how many more failures it tolerates.

use std::collections::BTreeSet;

use certs::Validity;
use client::{Common, NodeStatus};
use consensus::{Configuration, NodeId, Voters};

use crate::cluster::alarms::alarms;
use crate::cluster::clocks::{clocks, cut_off, distrusted, holds_by};
use crate::cluster::links::{somebody_could_lead, tolerates};
use crate::cluster::misplaced;
use crate::cluster::quorum::{answering, connected_only, heard, shortage, shortage_of, tolerance};
use crate::cluster::reasons::hearsay;
use crate::cluster::remarks::{self, Remark, unfit};
use crate::cluster::survey::{Row, Survey, Told};
use crate::cluster::troubles::{is_about_to_end, troubles};
use crate::cluster::verdict::{Health, Verdict};
use crate::codes::{self, Code};
use crate::exit::Exit;
use crate::output::units::{self, age};

/// What makes a serving cluster degraded; other remarks are only to be looked at in time.
const GRAVE: [Code; 33] = [
    codes::RUNS_TWICE,
    codes::FORGOTTEN,
    codes::COPIED,
    codes::WIPED_MEMBER,
    codes::RETURNING,
    codes::MEMBER_SILENT,
    codes::CERTIFICATES,
    codes::CROWDED,
    codes::HISTORY,
    codes::MEMBER_FAILED,
    codes::MEMBER_FOREIGN,
    codes::OUT_OF_REACH,
    codes::NO_WAY,
    codes::MISFIT,
    codes::TWO_LEADERS,
    codes::STUCK,
    codes::BEHIND,
    codes::ALARM,
    codes::NO_ROOM,
    codes::DISK_HANGS,
    codes::READS_HANG,
    codes::SNAPSHOT_DAMAGED,
    codes::SETTINGS_REFUSED,
    codes::CERTIFICATES_REFUSED,
    codes::NO_SNAPSHOTS,
    codes::PROMISES_NOT_STORED,
    codes::FILES_NOT_SAFE,
    codes::NO_RESERVE,
    codes::NO_METRICS,
    codes::DIRECTORY_NOT_WRITABLE,
    codes::NO_PLACES,
    codes::TROUBLE_UNKNOWN,
    codes::STATES_DIFFER,
];

/// Judges.
pub(crate) fn judge(survey: &Survey, now_unix_s: i64) -> Verdict {
    let mut remarks = remarks::members(survey);
    for row in &survey.rows {
        if let Ok(status) = &row.answer {
            remarks.extend(resources(&row.name, status, now_unix_s));
            remarks.extend(troubles(&row.name, status));
        }
    }
    remarks.extend(survey.leader().and_then(|leader| alarms(survey, leader)));
    remarks.extend(clocks(survey, now_unix_s));
    remarks.extend(cut_off(survey, now_unix_s));
    let moved = misplaced::misplaced(survey);
    remarks.extend(moved.into_iter().map(|line| (line, codes::MISPLACED)));
    let Some(configuration) = survey.configuration() else {
        return without_configuration(survey, remarks);
    };
    let voters = configuration.voters();
    let (health, reason, tolerates) = match (survey.leader(), survey.told()) {
        (Some(leader), _) => led(survey, leader, now_unix_s, &remarks),
        (None, Some(told)) => out_of_reach(survey, &told, voters),
        (None, None) => leaderless(survey, voters),
    };
    if health.exit() != Exit::Unhealthy {
        remarks.extend(thin(survey, configuration, tolerates));
    }
    Verdict { health, reason, tolerates: Some(tolerates), remarks }
}

/// Judges a cluster whose leader has answered.
fn led(
    survey: &Survey,
    leader: &NodeStatus,
    now_unix_s: i64,
    remarks: &[Remark],
) -> (Health, String, usize) {
    let voters = survey.configuration().unwrap_or(&leader.configuration).voters();
    let present = heard(survey, leader);
    if let Some(shortage) = shortage(voters, &present) {
        let name = survey.name(leader.node);
        let reason = format!("{shortage}: {name} claims to lead, and hears too few");
        return (Health::NoQuorum, reason, 0);
    }
    let mut unfit = cannot_write(survey, leader);
    let about_to_end = survey.answers().filter(|status| is_about_to_end(status));
    unfit.extend(about_to_end.map(|status| status.node));
    // It is heard as long as its connections last, and nobody makes a new one: by its own clock, or
    // by that of a client that the leader answers.
    let uncertified = survey.answers().filter(|status| {
        !holds_by(status, status) || distrusted(survey, status, now_unix_s).is_some()
    });
    unfit.extend(uncertified.map(|status| status.node));
    let refused = |row: &&Row| {
        row.answer.as_ref().is_err_and(|silence| silence.common == Common::Certificates)
    };
    unfit.extend(survey.rows.iter().filter(refused).filter_map(|row| row.id));
    let fit = present.difference(&unfit).copied().collect();
    let tolerates = tolerates(survey, voters, &fit);
    let grave = remarks.iter().find(|(_, code)| GRAVE.contains(code));
    let (health, reason) = match grave {
        Some((remark, _)) if !takes_writes(survey, leader, voters) => {
            (Health::Degraded, format!("no write is taken now; {remark}"))
        }
        Some((remark, _)) => (Health::Degraded, remark.clone()),
        None if voters.is_joint() => (Health::Joint, "a change of members is under way".to_owned()),
        None => (Health::Healthy, String::new()),
    };
    (health, reason, tolerates)
}

/// Returns the members that do not store what the leader sends, or not for long.
fn cannot_write(survey: &Survey, leader: &NodeStatus) -> BTreeSet<NodeId> {
    let full = survey.answers().filter(|status| !status.no_room.is_empty());
    unfit(survey, leader).into_iter().chain(full.map(|status| status.node)).collect()
}

/// Says whether what clients write is taken now.
fn takes_writes(survey: &Survey, leader: &NodeStatus, voters: &Voters) -> bool {
    let present = heard(survey, leader);
    let able = present.difference(&cannot_write(survey, leader)).copied().collect();
    leader.no_room.is_empty() && shortage(voters, &able).is_none()
}

/// Judges a cluster that serves, as those say who answered, though its leader did not answer here.
fn out_of_reach(survey: &Survey, told: &Told, voters: &Voters) -> (Health, String, usize) {
    let leader = survey.name(told.leader);
    let names = remarks::list(told.by.iter().map(|id| survey.name(*id)));
    let (ago, hear) = (age(told.heard_ms), if told.by.len() == 1 { "hears" } else { "hear" });
    let row = survey.row(told.leader).and_then(|row| row.answer.as_ref().err());
    let why = row.map_or_else(String::new, |silence| format!(": {}", silence.why));
    let reason = format!(
        "{leader} leads in term {} ({names} {hear} it, {ago} ago), but this client cannot reach \
         {leader}{why}",
        told.term
    );
    // What only a connection speaks for may be gone already.
    let mut sure = answering(survey);
    sure.insert(told.leader);
    (Health::Degraded, reason, tolerates(survey, voters, &sure))
}

/// Judges a cluster in which nobody leads, as far as anybody says: then nothing is tolerated.
fn leaderless(survey: &Survey, voters: &Voters) -> (Health, String, usize) {
    let answering = answering(survey);
    let answered = survey.answers().map(|status| status.node).collect();
    if let Some(shortage) = shortage_of(voters, &answering, &answered) {
        // A connection outlives its other end for a while: it is told, and does not count.
        let unseen = connected_only(survey).into_iter().filter(|id| voters.contains(*id));
        let names = remarks::list(unseen.map(|id| survey.name(id)));
        let reason = match (hearsay(survey), names.as_str()) {
            (Some(hearsay), _) => format!("{shortage}; {hearsay}"),
            (None, "") => shortage,
            (None, names) => format!("{shortage}; other nodes have a connection still to {names}"),
        };
        return (Health::NoQuorum, reason, 0);
    }
    if let Some(reason) = misplaced::reason(survey) {
        return (Health::NoLeader, reason, 0);
    }
    let reason = if somebody_could_lead(survey, voters, &answering) {
        "a majority answers, and nobody leads"
    } else {
        "a majority answers, and nobody leads: no voter reaches a majority of the voters"
    };
    (Health::NoLeader, reason.to_owned(), 0)
}

/// Says that the next failure ends service, and what to do; or that there is a voter too many.
fn thin(survey: &Survey, configuration: &Configuration, tolerates: usize) -> Option<Remark> {
    let voters = configuration.voters();
    if voters.is_joint() {
        return None;
    }
    let all: Vec<NodeId> = voters.iter().collect();
    let full = tolerance(voters, &all.iter().copied().collect());
    let name = unused_name(configuration);
    let text = match (all.len(), tolerates) {
        (1 | 2, _) if !configuration.returning().is_empty() => return None,
        (1 | 2, _) if !configuration.learners().is_empty() => {
            let learner = configuration.learners().iter().next().copied()?;
            let learner = survey.name(learner);
            let voters = count_of(all.len());
            format!("{voters} no failure: let the learner vote: raftctl member promote {learner}")
        }
        (count @ (1 | 2), _) => {
            let more = if count == 1 { "add two more" } else { "add a third" };
            let voters = count_of(count);
            format!("{voters} no failure: {more}: raftctl member add {name}=HOST:PORT")
        }
        (_, 0) => {
            let alive = survey.leader().map(|leader| heard(survey, leader)).unwrap_or_default();
            let answers = |id: NodeId| survey.row(id).is_some_and(|row| row.answer.is_ok());
            // Who answers here runs: it need not be brought back, but reached.
            let remedy = match all.iter().find(|id| !alive.contains(id) && !answers(**id)) {
                Some(id) if survey.leader().is_some() => {
                    let gone = survey.name(*id);
                    format!(
                        "bring {gone} back; if it is gone for good: raftctl member replace {gone} \
                         {name}=HOST:PORT"
                    )
                }
                Some(_) | None => "mend what the other lines name".to_owned(),
            };
            let takes = survey.leader().is_none_or(|leader| takes_writes(survey, leader, voters));
            match takes {
                true => format!("one more failure ends service: {remedy}"),
                false => format!("writes do not go on before it is mended: {remedy}"),
            }
        }
        (count, all) if count % 2 == 0 && all == full => format!(
            "{count} voters tolerate no more failures than {}, and each write waits for one more: \
             an odd number is better",
            count - 1
        ),
        (_, _) => return None,
    };
    Some((text, codes::FEW_VOTERS))
}

fn count_of(voters: usize) -> &'static str {
    if voters == 1 { "one voter tolerates" } else { "two voters tolerate" }
}

/// Returns a name that no member has.
fn unused_name(configuration: &Configuration) -> String {
    let taken = |name: &String| configuration.members().values().any(|m| m.name == *name);
    let mut names = (configuration.members().len() + 1..).map(|number| format!("n{number}"));
    names.find(|name| !taken(name)).unwrap_or_else(|| "n".to_owned())
}

fn without_configuration(survey: &Survey, remarks: Vec<Remark>) -> Verdict {
    let total = survey.rows.len();
    let answered = survey.answers().count();
    let unknown = |reason: String, remarks| Verdict {
        health: Health::Unknown,
        reason,
        tolerates: None,
        remarks,
    };
    if let Some(refusal) = refused(survey) {
        return unknown(refusal, remarks);
    }
    let need = total / 2 + 1;
    // Silence says as much of the way from here as of the nodes; a machine that answers that nobody
    // listens there tells of the node.
    let hides = |row: &&Row| row.answer.as_ref().is_err_and(|silence| !silence.is_refusal());
    let may_serve = survey.rows.iter().filter(hides).count() >= need;
    if answered == 0 {
        // Nodes that were named by hand may be some of many, or none of them.
        if survey.rows.iter().all(|row| row.name == row.address) {
            let reason = match total {
                1 => "the node named here does not answer".to_owned(),
                _ => format!("none of the {total} nodes named here answers"),
            };
            return unknown(format!("{reason}: others may serve"), remarks);
        }
        let reason = format!("0 of {total} nodes reachable, need {need}");
        if may_serve {
            return unknown(format!("{reason}: they may serve others"), remarks);
        }
        return Verdict { health: Health::NoQuorum, reason, tolerates: None, remarks };
    }
    let reason = format!("{answered} of {total} nodes answer, and none has a history");
    if may_serve {
        let reason = format!("{reason}; the others do not answer here, and may serve others");
        return unknown(reason, remarks);
    }
    Verdict { health: Health::Uninitialised, reason, tolerates: None, remarks }
}

/// Says that nodes are there and refuse this client, where that is all that is known: whether the
/// cluster serves others cannot be told from here.
fn refused(survey: &Survey) -> Option<String> {
    let silences = survey.rows.iter().filter_map(|row| row.answer.as_ref().err());
    let of = |common| silences.clone().filter(|silence| silence.common == common).count();
    let (full, history) = (of(Common::Full), of(Common::Generation));
    let total = survey.rows.len();
    match (full, history) {
        (0, 0) => None,
        (0, _) => {
            Some(format!("{history} of {total} nodes have another history than the one known here"))
        }
        (_, _) => Some(format!(
            "{full} of {total} nodes are there and take no more connections: they may serve others"
        )),
    }
}

fn resources(name: &str, status: &NodeStatus, now_unix_s: i64) -> Vec<(String, Code)> {
    let mut found = Vec::new();
    let left_s = status.certificate_not_after.saturating_sub(now_unix_s);
    let (begin, end) = (status.certificate_not_before.max(0), status.certificate_not_after.max(0));
    let window = Validity { not_before: begin.unsigned_abs(), not_after: end.unsigned_abs() };
    let now = now_unix_s.max(0);
    if window.ends_soon(now.unsigned_abs()) {
        let tense = window.tense(now.unsigned_abs());
        let text = format!("{name}: the certificate {tense}: raftctl cert renew --all");
        // Connections outlive a certificate; the next one is refused.
        let code = if left_s <= 0 { codes::CERTIFICATES } else { codes::CERTIFICATE_ENDS };
        found.push((text, code));
    }
    let (free, needed) = (status.disk_free_bytes, status.disk_needed_bytes);
    if !status.no_room.is_empty() {
        let text = format!("{name}: takes no new data: {}", status.no_room);
        found.push((text, codes::NO_ROOM));
    } else if status.disk_total_bytes > 0 && free < needed.saturating_mul(2) {
        let (free, needed) = (units::size(free), units::size(needed));
        let gone = match status.disk_reserve_bytes {
            0 => ", the reserve is given back",
            _ => "",
        };
        let text = format!("{name}: the disk fills up: {free} free, {needed} needed in hand{gone}");
        found.push((text, codes::DISK_FILLS));
    }
    found
}

#[cfg(test)]
mod silence;
#[cfg(test)]
mod tests;
