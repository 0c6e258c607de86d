//! `raftctl leader`: who leads, and handing over.

use std::time::{Duration, Instant};

use clap::Subcommand;
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

/// Leadership.
#[derive(Clone, Debug, Subcommand)]
pub enum LeaderCommand {
    /// Shows who leads
    Show,
    /// Hands leadership over
    Transfer {
        /// Name or id of a voter; the one that has most of the log if not said
        member: Option<String>,
        /// Shows who would lead
        #[arg(long)]
        dry_run: bool,
    },
}

/// Runs the command.
///
/// # Errors
/// If nobody leads, or nobody takes over.
pub async fn run(session: &Session, command: LeaderCommand) -> Result<()> {
    match command {
        LeaderCommand::Show => show(session).await,
        LeaderCommand::Transfer { member, dry_run } => {
            transfer(session, member.as_deref(), dry_run).await
        }
    }
}

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
pub async fn transfer(session: &Session, to: Option<&str>, dry_run: bool) -> Result<()> {
    let (target, client) = session.client()?;
    let present = Present::ask(&client, &target.nodes).await?;
    let to = match to {
        Some(name) => present.find(name)?,
        None => best(&present)?,
    };
    if !present.configuration.is_voter(to) {
        let message = format!("{} does not vote, so it cannot lead", present.survey.name(to));
        let name = present.survey.name(to);
        return Err(Report::new(codes::CHANGE_REFUSED, message)
            .help(format!("raftctl member promote {name}    (then it may)")));
    }
    if dry_run {
        client.close().await;
        return plan(session, &present, to);
    }
    client.transfer(to).await.map_err(Report::from_client)?;
    let began = Instant::now();
    let deadline = began + session.global.timeout;
    loop {
        if let Ok(now) = present.followed(&client, &target.nodes, began).await
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

fn plan(session: &Session, present: &Present, to: NodeId) -> Result<()> {
    let from = present.survey.leader().map(|leader| present.survey.name(leader.node));
    let (from, name) = (from.unwrap_or_default(), present.survey.name(to));
    let shown = |name: &str| units::name(name.as_bytes());
    let text = format!("leader     {}  ->  {}\n", shown(&from), shown(&name));
    let data = json!({ "from": from, "to": name, "id": to.to_string() });
    let names = vec![name];
    let (kind, warnings) = ("Plan", Vec::new());
    session.output.answer(&View { kind, data, text: text.into_bytes(), names, warnings })
}

fn best(present: &Present) -> Result<NodeId> {
    let leader = present.survey.leader().expect("there is one, or there is no present");
    let alive = present.alive();
    let votes = |id| present.configuration.is_voter(id) && alive.contains(&id);
    let voters = leader.peers.iter().filter(|peer| votes(peer.id));
    voters.max_by_key(|peer| peer.matched).map(|peer| peer.id).ok_or_else(|| {
        let message = "the leader hears from no other voter, so nobody can take over";
        Report::new(codes::CHANGE_REFUSED, message).help("raftctl status")
    })
}

fn answer(session: &Session, present: &Present) -> Result<()> {
    let leader = present.survey.leader().expect("there is one, or there is no present");
    let name = present.survey.name(leader.node);
    let since = leader.leading_ms.unwrap_or_default();
    let (shown, age) = (units::name(name.as_bytes()), units::age(since));
    let text = format!("{shown}   (term {}, for {age})\n", leader.term);
    let data = json!({
        "id": leader.node.to_string(), "name": name,
        "term": leader.term.to_string(), "leadingMs": since,
    });
    let (names, warnings) = (vec![shown], Vec::new());
    session.output.answer(&View { kind: "Leader", data, text: text.into_bytes(), names, warnings })
}
