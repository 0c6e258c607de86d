//! The status for people: verdict, commit line, a row a node, remarks, and why nobody can win.

use std::fmt::Write as _;

use client::{NodeStatus, PeerReport};
use consensus::{FlowKind, NodeId, RoleKind};

use crate::bundle::now_unix_s;
use crate::cluster::reasons::why_nobody_leads;
use crate::cluster::{Health, Row, Survey, Verdict};
use crate::output::table::Rows;
use crate::output::{Output, units};

/// Writes it all.
pub(super) fn render(output: &Output, name: &str, survey: &Survey, verdict: &Verdict) -> String {
    let mut text = headline(output, name, survey, verdict);
    text.push_str(&commit(survey));
    text.push('\n');
    text.push_str(&table(survey, output.wide()).render(output.headers));
    let losers = why_nobody_leads(survey, verdict);
    if !(verdict.remarks.is_empty() && losers.is_empty()) {
        text.push('\n');
    }
    for (remark, code) in &verdict.remarks {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "! {remark}   raftctl explain {code}");
    }
    for line in losers {
        let _ = writeln!(text, "! {line}");
    }
    text
}

fn headline(output: &Output, name: &str, survey: &Survey, verdict: &Verdict) -> String {
    let mut parts = vec![format!("CLUSTER  {name}")];
    if let Some(status) = survey.answers().next() {
        let cluster: String = status.cluster.iter().map(|byte| format!("{byte:02x}")).collect();
        parts.push(units::short_id(&cluster));
    }
    parts.push(coloured(output, verdict.health));
    if let Some(leader) = survey.leader() {
        let since =
            leader.leading_ms.map_or_else(String::new, |ms| format!(", for {}", units::age(ms)));
        parts.push(format!("leader {} (term {}{since})", survey.name(leader.node), leader.term));
    } else if let Some(told) = survey.told() {
        let (name, term) = (survey.name(told.leader), told.term);
        parts.push(format!("leader {name} (term {term}, not reached from here)"));
    }
    if let Some(configuration) = survey.configuration() {
        let voters = configuration.voters().iter().count();
        let learners = configuration.learners().len();
        let plural = |count: usize, what: &str| {
            format!("{count} {what}{}", if count == 1 { "" } else { "s" })
        };
        parts.push(match learners {
            0 => plural(voters, "voter"),
            _ => format!("{} + {}", plural(voters, "voter"), plural(learners, "learner")),
        });
    }
    if let Some(tolerates) = verdict.tolerates {
        let failures = if tolerates == 1 { "FAILURE" } else { "FAILURES" };
        parts.push(format!("TOLERATES {tolerates} {failures}"));
    }
    let mut line = parts.join("   ");
    line.push('\n');
    if !verdict.reason.is_empty() {
        let _ = writeln!(line, "REASON   {}", verdict.reason);
    }
    line
}

fn coloured(output: &Output, health: Health) -> String {
    let colour = match health {
        Health::Healthy => 32,
        Health::Degraded | Health::Joint => 33,
        Health::NoLeader | Health::NoQuorum | Health::Uninitialised | Health::Unknown => 31,
    };
    match output.colours {
        true => format!("\x1b[1;{colour}m{health}\x1b[0m"),
        false => health.to_string(),
    }
}

fn commit(survey: &Survey) -> String {
    let Some(status) = survey.leader() else {
        return survey.answers().map(|status| status.commit).max().map_or_else(
            String::new,
            |last| {
                format!("COMMIT   {}   (the highest that a node knows of)\n", units::count(last))
            },
        );
    };
    let ms = |us: u64| format!("{:.1}", us as f64 / 1_000.0);
    format!(
        "COMMIT   {}   {} op/s   p99 {} ms (fsync {}, apply {})   version {}\n",
        units::count(status.commit),
        units::count(status.operations_per_second),
        ms(status.commit_p99_us),
        ms(status.fsync_p99_us),
        ms(status.apply_p99_us),
        units::printable(status.version.as_bytes()),
    )
}

const HEADER: [&str; 13] = [
    "NODE",
    "ROLE",
    "STATE",
    "MATCH",
    "LAG",
    "APPLIED",
    "CONTACT",
    "RTT",
    "FSYNC p99",
    "LOG",
    "DISK",
    "CERT",
    "VERSION",
];

const WIDE: [&str; 9] =
    ["ID", "ADDRESS", "TERM", "COMMIT", "LAST", "LEASE", "UPTIME", "INCARNATION", "GENERATION"];

fn table(survey: &Survey, wide: bool) -> Rows {
    let mut header = HEADER.to_vec();
    if wide {
        header.extend(WIDE);
    }
    let mut rows = Rows::new(&header);
    let leader = survey.leader();
    for row in &survey.rows {
        let role = role(survey, row.id);
        match &row.answer {
            Ok(status) => {
                let peer = leader
                    .and_then(|leader| leader.peers.iter().find(|peer| peer.id == status.node));
                let mut cells = vec![units::printable(row.name.as_bytes()), role.to_owned()];
                cells.extend(cells_of(status, leader, peer));
                if wide {
                    cells.extend(wide_cells(row, status));
                }
                rows.push(cells);
            }
            Err(silence) => {
                let why = units::printable(silence.why.as_bytes());
                let name = units::printable(row.name.as_bytes());
                rows.push_spilling(
                    vec![name, role.to_owned(), "unreachable".to_owned()],
                    format!("({why})"),
                );
            }
        }
    }
    rows
}

/// Returns what the configuration makes of a node.
pub(super) fn role(survey: &Survey, id: Option<NodeId>) -> &'static str {
    match (survey.configuration(), id) {
        (Some(configuration), Some(id)) if configuration.is_voter(id) => "voter",
        (Some(configuration), Some(id)) if configuration.learners().contains(&id) => "learner",
        (Some(_), Some(_)) => "none",
        (None, _) | (_, None) => "-",
    }
}

/// Returns what a node does, in a word.
pub(crate) fn state(status: &NodeStatus, peer: Option<&PeerReport>) -> &'static str {
    if !status.failure.is_empty() {
        return "failed";
    }
    if status.generation.is_none() {
        return "uninitialised";
    }
    match status.role {
        RoleKind::Leader => "leader",
        RoleKind::PreCandidate => "pre-candidate",
        RoleKind::Candidate => "candidate",
        RoleKind::Follower => match peer.and_then(|peer| peer.flow) {
            Some(FlowKind::Snapshot) => "snapshot",
            Some(FlowKind::Probe | FlowKind::Replicate) | None => "follower",
        },
    }
}

fn cells_of(
    status: &NodeStatus,
    leader: Option<&NodeStatus>,
    peer: Option<&PeerReport>,
) -> Vec<String> {
    let none = || "-".to_owned();
    let leads = leader.is_some_and(|leader| leader.node == status.node);
    let matched = match (leads, peer) {
        (true, _) => Some(units::count(status.durable)),
        (false, peer) => peer.map(caught_up),
    };
    let lag = match (leader, peer) {
        (Some(leader), Some(peer)) => Some(leader.last.saturating_sub(peer.matched)),
        _ => None,
    };
    let contact = match peer {
        Some(peer) => peer.heard_ms,
        None if leads => None,
        None => status.heard_ms,
    };
    let disk = match status.disk_total_bytes {
        0 => none(),
        total => {
            let used = total.saturating_sub(status.disk_free_bytes);
            format!("{}%", (u128::from(used) * 100).div_ceil(u128::from(total)))
        }
    };
    vec![
        doing(status, peer),
        matched.unwrap_or_else(none),
        lag.map_or_else(none, units::short_count),
        units::count(status.applied),
        contact.map_or_else(none, units::age),
        peer.and_then(|peer| peer.rtt_us).map_or_else(none, units::micros),
        if status.fsync_p99_us == 0 { none() } else { units::micros(status.fsync_p99_us) },
        units::size(status.log_bytes),
        disk,
        certificate(status),
        units::printable(status.version.as_bytes()),
    ]
}

/// Returns what a node does, in a word; of a learner that gets the log, in which round (§4.2.1).
fn doing(status: &NodeStatus, peer: Option<&PeerReport>) -> String {
    let word = state(status, peer);
    match peer.and_then(|peer| peer.catch_up) {
        Some(rounds) if ["follower", "pre-candidate"].contains(&word) => {
            format!("round {}", rounds.round)
        }
        Some(_) | None => word.to_owned(),
    }
}

/// Says whether reads are served by a lease, and how long a leader's stands yet.
pub(crate) fn lease(status: &NodeStatus) -> String {
    match status.lease {
        None => "off".to_owned(),
        Some(lease) => lease.left_ms.map_or_else(|| "on".to_owned(), |ms| format!("{ms} ms")),
    }
}

/// Says how far a member is: while a snapshot is on its way to it, how much of that it has.
fn caught_up(peer: &PeerReport) -> String {
    match (peer.flow, peer.snapshot_bytes) {
        (Some(FlowKind::Snapshot), (sent, all)) if all > 0 => {
            format!("{}%", u128::from(sent.min(all)) * 100 / u128::from(all))
        }
        (Some(_) | None, _) => units::count(peer.matched),
    }
}

/// Returns for how long a certificate counts yet.
/// How long the certificate in use counts yet: in days, or less for those that count for less.
fn certificate(status: &NodeStatus) -> String {
    let unix_s = |time: i64| time.max(0).unsigned_abs();
    let (not_before, not_after) =
        (unix_s(status.certificate_not_before), unix_s(status.certificate_not_after));
    let (window, now) = (certs::Validity { not_before, not_after }, now_unix_s());
    let Some(left) = not_after.checked_sub(now) else { return "ended !".to_owned() };
    let shown = match left / 86_400 {
        0 => units::age(left.saturating_mul(1_000)),
        days => format!("{days} d"),
    };
    if window.ends_soon(now) { format!("{shown} !") } else { shown }
}

fn wide_cells(row: &Row, status: &NodeStatus) -> Vec<String> {
    vec![
        status.node.to_string(),
        row.address.clone(),
        status.term.to_string(),
        units::count(status.commit),
        units::count(status.last),
        lease(status),
        units::age(status.uptime_ms),
        status.incarnation.to_string(),
        status.generation.map_or_else(|| "-".to_owned(), |generation| generation.short()),
    ]
}
