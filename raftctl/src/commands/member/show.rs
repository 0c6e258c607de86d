//! `raftctl member show`: all that is known of one member; works without leader and quorum.

use std::fmt::Write as _;

use client::{NodeStatus, PeerReport, RoundReport};
use consensus::{Configuration, Member, NodeId};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

use super::list;
use crate::bundle::now_unix_s;
use crate::change::find;
use crate::cluster::Survey;
use crate::commands::status;
use crate::invocation::Invocation;
use crate::look::look;
use crate::output::{View, units};
use crate::report::Result;

/// Runs the command.
///
/// # Errors
/// If no node answers, or there is no such member.
pub(crate) async fn run(invocation: &Invocation, wanted: &str) -> Result<()> {
    let deadline = Instant::now() + invocation.global.timeout;
    let (target, client) = invocation.client()?;
    let mut survey = look(&client, &target.nodes).await;
    // Nobody waits for the others; but why this one is silent must be known.
    let quick = list::configuration(&survey).and_then(|known| find(known, wanted));
    if quick.is_ok_and(|(id, _)| survey.row(id).is_none_or(|row| row.answer.is_err()))
        && let Ok(whole) = timeout_at(deadline, Survey::ask(&client, &target.nodes)).await
    {
        survey = whole;
    }
    client.close().await;
    let configuration = list::configuration(&survey)?;
    let (id, member) = find(configuration, wanted)?;
    invocation.output.answer(&View {
        kind: "Member",
        data: data(&survey, configuration, id, member),
        text: text(&survey, configuration, id, member).into_bytes(),
        names: vec![units::name(member.name.as_bytes())],
        warnings: list::unsure(&survey).into_iter().collect(),
    })
}

fn data(survey: &Survey, configuration: &Configuration, id: NodeId, member: &Member) -> Value {
    json!({
        "id": id.to_string(),
        "name": member.name,
        "role": list::role(configuration, id),
        "leader": survey.leading() == Some(id),
        "address": member.address,
        "incarnation": member.incarnation.to_string(),
        "node": survey.row(id).map(|row| status::node(survey, row)),
    })
}

fn text(survey: &Survey, configuration: &Configuration, id: NodeId, member: &Member) -> String {
    let mut text = String::new();
    let mut line = |what: &str, value: &str| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{what:<12} {}", units::printable(value.as_bytes()));
    };
    line("name", &units::name(member.name.as_bytes()));
    line("id", &id.to_string());
    line("role", list::role(configuration, id));
    line("address", &member.address);
    line("incarnation", &member.incarnation.to_string());
    let leader = survey.leader();
    let seen = leader.and_then(|leader| leader.peers.iter().find(|peer| peer.id == id));
    if let Some((leader, peer)) = leader.zip(seen) {
        line("match", &matched(leader, peer));
        if let Some(RoundReport { round, last_ms }) = peer.catch_up {
            let took = last_ms.map_or_else(
                || "none is complete yet".to_owned(),
                |ms| format!("the last took {}", units::age(ms)),
            );
            line("catch-up", &format!("round {round}   {took}"));
        }
    }
    match survey.row(id).map(|row| &row.answer) {
        Some(Ok(node)) => {
            line("state", status::state(node, seen));
            for (what, value) in reported(node) {
                line(what, &value);
            }
        }
        Some(Err(silence)) => line("state", &format!("unreachable ({})", silence.why)),
        None => line("state", "unknown"),
    }
    text
}

/// Says how far a member is behind its leader, and when it was heard from.
fn matched(leader: &NodeStatus, peer: &PeerReport) -> String {
    let lag = leader.last.saturating_sub(peer.matched);
    let heard = peer.heard_ms.map_or_else(
        || "never heard from".to_owned(),
        |ms| format!("heard from {} ago", units::age(ms)),
    );
    format!("{}   lag {}   {heard}", units::count(peer.matched), units::count(lag))
}

/// What the node says of itself.
fn reported(node: &NodeStatus) -> Vec<(&'static str, String)> {
    let not_after = u64::try_from(node.certificate_not_after).unwrap_or(0);
    let certificate = certs::Validity { not_before: 0, not_after }.tense(now_unix_s());
    vec![
        ("term", node.term.to_string()),
        ("applied", units::count(node.applied)),
        ("log", format!("{} to {}", units::count(node.first), units::count(node.last))),
        ("lease", status::lease(node)),
        ("certificate", certificate),
        ("uptime", units::age(node.uptime_ms)),
        ("version", node.version.clone()),
    ]
}
