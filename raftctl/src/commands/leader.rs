//! `raftctl leader`: who leads, and handing over.

use std::time::{Duration, Instant};

use consensus::NodeId;
use serde_json::json;
use tokio::time::sleep;

use crate::change::Present;
use crate::codes;
use crate::output::{View, units};
use crate::report::{Report, Result};
use crate::target::Session;

/// How often it is looked who leads.
const POLL: Duration = Duration::from_millis(20);

/// Shows the leader.
///
/// # Errors
/// If nobody leads.
pub async fn show(session: &Session) -> Result<()> {
    let (target, client) = session.client()?;
    let present = Present::ask(&client, &target.nodes).await?;
    client.close().await;
    answer(session, &present)
}

/// Hands leadership over to this member, or to the voter that has most of the log.
///
/// # Errors
/// If it is no voter, or does not take over in time.
pub async fn transfer(session: &Session, to: Option<&str>) -> Result<()> {
    let (target, client) = session.client()?;
    let present = Present::ask(&client, &target.nodes).await?;
    let to = match to {
        Some(name) => present.find(name)?,
        None => best(&present)?,
    };
    if !present.configuration.is_voter(to) {
        let message = format!("{} does not vote, so it cannot lead", present.survey.name(to));
        return Err(Report::new(codes::REFUSED, message).help("raftctl member promote M"));
    }
    client.transfer(to).await.map_err(Report::from_client)?;
    let deadline = Instant::now() + session.global.timeout;
    loop {
        if let Ok(now) = Present::ask(&client, &target.nodes).await
            && now.survey.leader().is_some_and(|leader| leader.node == to)
        {
            client.close().await;
            return answer(session, &now);
        }
        if Instant::now() + POLL >= deadline {
            let message = format!("{} has not taken over yet", present.survey.name(to));
            return Err(Report::new(codes::WAITED, message).help("raftctl leader show"));
        }
        sleep(POLL).await;
    }
}

fn best(present: &Present) -> Result<NodeId> {
    let leader = present.survey.leader().expect("there is one, or there is no present");
    let voters = leader.peers.iter().filter(|peer| present.configuration.is_voter(peer.id));
    let alive = voters.filter(|peer| present.survey.row(peer.id).is_some_and(|r| r.answer.is_ok()));
    alive.max_by_key(|peer| peer.matched).map(|peer| peer.id).ok_or_else(|| {
        Report::new(codes::REFUSED, "no other voter answers, so nobody can take over")
    })
}

fn answer(session: &Session, present: &Present) -> Result<()> {
    let leader = present.survey.leader().expect("there is one, or there is no present");
    let name = present.survey.name(leader.node);
    let since = leader.leading_ms.unwrap_or_default();
    let text = format!("{name}   (term {}, for {})\n", leader.term, units::age(since));
    let data = json!({
        "id": leader.node.to_string(), "name": name,
        "term": leader.term.to_string(), "leadingMs": since,
    });
    let (names, warnings) = (vec![name], Vec::new());
    session.output.answer(&View { kind: "Leader", data, text: text.into_bytes(), names, warnings })
}
