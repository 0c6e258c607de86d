//! `raftctl leader`: who leads, and handing over.

use std::time::{Duration, Instant};

use clap::Subcommand;
use client::{Client, ClientError};
use consensus::{Configuration, NodeId};
use serde_json::json;
use tokio::time::sleep;

use crate::change::{find, no_leader};
use crate::cluster::quorum::{answering, heard};
use crate::cluster::{Survey, Told, remarks};
use crate::codes;
use crate::context::Node;
use crate::invocation::Invocation;
use crate::look::{again, look};
use crate::output::{View, units};
use crate::report::{Report, Result};

/// How often it is looked who leads.
const POLL: Duration = Duration::from_millis(20);

/// Leadership.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum LeaderCommand {
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
pub(crate) async fn run(invocation: &Invocation, command: LeaderCommand) -> Result<()> {
    match command {
        LeaderCommand::Show => show(invocation).await,
        LeaderCommand::Transfer { member, dry_run } => {
            transfer(invocation, member.as_deref(), dry_run).await
        }
    }
}

/// Who leads, and what all nodes said. It leads also if only its followers say so: they pass on
/// what only a leader can do.
struct Led {
    leader: NodeId,
    term: u64,
    /// For how long, in milliseconds, if it says so itself.
    since_ms: Option<u64>,
    configuration: Configuration,
    survey: Survey,
}

impl Led {
    async fn ask(client: &Client, nodes: &[Node]) -> Result<Self> {
        let survey = look(client, nodes).await;
        let (told, none) = (survey.told(), no_leader(&survey, ""));
        Self::of(survey, told).ok_or(none)
    }

    fn of(survey: Survey, told: Option<Told>) -> Option<Self> {
        let (leader, term, since_ms) = match (survey.leader(), told) {
            (Some(leader), _) => (leader.node, leader.term, leader.leading_ms),
            (None, Some(told)) => (told.leader, told.term, None),
            (None, None) => return None,
        };
        let configuration = survey.configuration()?.clone();
        Some(Self { leader, term, since_ms, configuration, survey })
    }
}

/// Shows the leader.
///
/// # Errors
/// If nobody leads.
pub(crate) async fn show(invocation: &Invocation) -> Result<()> {
    let (target, client) = invocation.client()?;
    let led = Led::ask(&client, &target.nodes).await?;
    client.close().await;
    answer(invocation, &led)
}

/// Hands leadership over to this member, or to the voter that has most of the log.
///
/// # Errors
/// If it is no voter, or does not take over in time.
pub(crate) async fn transfer(
    invocation: &Invocation,
    to: Option<&str>,
    dry_run: bool,
) -> Result<()> {
    let (target, client) = invocation.client()?;
    let led = Led::ask(&client, &target.nodes).await?;
    let to = match to {
        Some(name) => find(&led.configuration, name)?.0,
        None => best(&led)?,
    };
    if !led.configuration.is_voter(to) {
        let name = led.survey.name(to);
        let message = format!("{name} does not vote, so it cannot lead");
        return Err(Report::new(codes::CHANGE_REFUSED, message)
            .help(format!("raftctl member promote {name}    (then it may)")));
    }
    if dry_run {
        client.close().await;
        return plan(invocation, &led, to);
    }
    if to == led.leader {
        client.close().await;
        return answer(invocation, &led);
    }
    match client.transfer(to).await {
        // It shows who leads then.
        Ok(()) | Err(ClientError::Unknown { .. }) => {}
        Err(error) => {
            return Err(Report::from_client(error).causes(known_of(&led.survey, to)));
        }
    }
    let now = taken_over(invocation, &client, &led, to).await?;
    client.close().await;
    answer(invocation, &now)
}

/// Waits until a member leads, as it says itself or its followers do.
async fn taken_over(
    invocation: &Invocation,
    client: &Client,
    led: &Led,
    to: NodeId,
) -> Result<Led> {
    let deadline = Instant::now() + invocation.global.timeout;
    loop {
        let survey = again(client, &led.survey).await;
        // What followers say of a new term is new.
        let told = survey.told().filter(|told| told.term > led.term);
        if let Some(now) = Led::of(survey, told).filter(|now| now.leader == to) {
            return Ok(now);
        }
        if Instant::now() + POLL >= deadline {
            let message = format!("{} has not taken over yet", led.survey.name(to));
            return Err(Report::new(codes::WAITED, message).help("raftctl leader show"));
        }
        sleep(POLL).await;
    }
}

/// Returns what is wrong with a member, as far as anybody knows.
fn known_of(survey: &Survey, id: NodeId) -> Vec<client::Cause> {
    let name = survey.name(id);
    let remarks = remarks::members(survey).into_iter();
    let own = remarks.filter_map(|(text, _)| {
        let why = text.strip_prefix(&name)?.strip_prefix(": ")?.to_owned();
        Some(client::Cause { endpoint: name.clone(), why })
    });
    own.collect()
}

fn plan(invocation: &Invocation, led: &Led, to: NodeId) -> Result<()> {
    let (from, name) = (led.survey.name(led.leader), led.survey.name(to));
    let shown = |name: &str| units::name(name.as_bytes());
    let text = format!("leader     {}  ->  {}\n", shown(&from), shown(&name));
    let data = json!({ "from": from, "to": name, "id": to.to_string() });
    let names = vec![name];
    let (kind, warnings) = ("Plan", Vec::new());
    invocation.output.answer(&View { kind, data, text: text.into_bytes(), names, warnings })
}

/// Returns the voter that has most of the log, as the leader knows, or those who answer do.
fn best(led: &Led) -> Result<NodeId> {
    let votes = |id: NodeId| led.configuration.is_voter(id) && id != led.leader;
    let found = match led.survey.leader() {
        Some(leader) => {
            let alive = heard(&led.survey, leader);
            let voters = leader.peers.iter().filter(|peer| votes(peer.id));
            let alive = voters.filter(|peer| alive.contains(&peer.id));
            alive.max_by_key(|peer| peer.matched).map(|peer| peer.id)
        }
        None => {
            let alive = answering(&led.survey);
            let voters = led.survey.answers().filter(|status| votes(status.node));
            let alive = voters.filter(|status| alive.contains(&status.node));
            alive.max_by_key(|status| status.last).map(|status| status.node)
        }
    };
    found.ok_or_else(|| {
        let message = "the leader hears from no other voter, so nobody can take over";
        Report::new(codes::CHANGE_REFUSED, message).help("raftctl status")
    })
}

fn answer(invocation: &Invocation, led: &Led) -> Result<()> {
    let (name, term) = (led.survey.name(led.leader), led.term);
    let shown = units::name(name.as_bytes());
    let since = led.since_ms.map_or_else(
        || "not reached from here".to_owned(),
        |since_ms| format!("for {}", units::age(since_ms)),
    );
    let text = format!("{shown}   (term {term}, {since})\n");
    let data = json!({
        "id": led.leader.to_string(), "name": name,
        "term": term.to_string(), "leadingMs": led.since_ms,
    });
    let (names, warnings) = (vec![shown], Vec::new());
    invocation.output.answer(&View {
        kind: "Leader",
        data,
        text: text.into_bytes(),
        names,
        warnings,
    })
}
