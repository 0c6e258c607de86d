//! `raftctl member`: who belongs to the cluster.

use clap::{Args, Subcommand};
use consensus::{Configuration, NodeId};
use serde_json::json;

use crate::cli::endpoint;
use crate::cluster::Survey;
use crate::codes;
use crate::look::look;
use crate::output::table::Rows;
use crate::output::{View, units};
use crate::report::{Report, Result};
use crate::target::Session;

pub mod add;
pub mod alter;
pub mod catch_up;
mod foreseen;
pub mod history;
mod interrupted;
mod known;
pub mod show;

use self::add::{AddArgs, ReplaceArgs};
use self::alter::Alteration;

/// Members of the cluster.
#[derive(Clone, Debug, Subcommand)]
pub enum MemberCommand {
    /// Lists the members, as the configuration in force names them
    #[command(visible_alias = "ls")]
    List,
    /// Shows a member: its role, how far it is, how it is reached
    Show {
        /// Name or id
        member: String,
    },
    /// Adds members: bundle, waiting, learner, catching up, joint promotion; may be run again
    Add(AddArgs),
    /// Removes members in one change; their processes end with code 77
    #[command(visible_alias = "rm")]
    Remove(Whom),
    /// Swaps a member, dead or alive, for a new one in one joint change; may be run again
    Replace(ReplaceArgs),
    /// Lets exactly these members vote; the other voters become learners
    Set(Whom),
    /// Lets learners that have caught up vote
    Promote(Whom),
    /// Makes learners of voters
    Demote(Whom),
    /// Changes a member's address, where raftd must answer already
    Update {
        /// Name or id
        member: String,
        /// Where it is reached from now on
        #[arg(long, value_name = "HOST:PORT", value_parser = endpoint)]
        address: String,
        /// Shows what would be done
        #[arg(long)]
        dry_run: bool,
    },
    /// Shows the configurations so far, what each changed, and who was removed
    History,
}

/// Members that exist.
#[derive(Clone, Debug, Args)]
pub struct Whom {
    /// Names or ids
    #[arg(required = true, value_name = "MEMBER")]
    pub members: Vec<String>,
    /// Shows what would be done, and what is tolerated meanwhile
    #[arg(long)]
    pub dry_run: bool,
}

/// Runs the command.
///
/// # Errors
/// Whatever keeps it from being done.
pub async fn run(session: &Session, command: MemberCommand) -> Result<()> {
    let (alteration, dry_run) = match command {
        MemberCommand::List => return list(session).await,
        MemberCommand::History => return history::run(session).await,
        MemberCommand::Show { member } => return show::run(session, &member).await,
        MemberCommand::Add(_) | MemberCommand::Replace(_) => {
            unreachable!("they catch signals themselves")
        }
        MemberCommand::Remove(Whom { members, dry_run }) => (Alteration::Remove(members), dry_run),
        MemberCommand::Promote(Whom { members, dry_run }) => {
            (Alteration::Promote(members), dry_run)
        }
        MemberCommand::Demote(Whom { members, dry_run }) => (Alteration::Demote(members), dry_run),
        MemberCommand::Set(Whom { members, dry_run }) => (Alteration::Set(members), dry_run),
        MemberCommand::Update { member, address, dry_run } => {
            (Alteration::Update { member, address }, dry_run)
        }
    };
    alter::run(session, &alteration, dry_run).await
}

/// Lists the members, as the newest configuration that anybody knows names them.
///
/// # Errors
/// If no node answers, or none has a history.
pub async fn list(session: &Session) -> Result<()> {
    let (target, client) = session.client()?;
    let survey = look(&client, &target.nodes).await;
    client.close().await;
    let configuration = configuration(&survey)?;
    let role = |id| role(configuration, id);
    let leader = survey.leading();
    let mut rows = Rows::new(&["ID", "NAME", "ROLE", "ADDRESS", "INCARNATION", "LEADER"]);
    let mut items = Vec::new();
    let mut names = Vec::new();
    for (id, member) in configuration.members() {
        let leads = leader == Some(*id);
        rows.push(vec![
            id.to_string(),
            units::name(member.name.as_bytes()),
            role(*id).to_owned(),
            units::name(member.address.as_bytes()),
            member.incarnation.to_string(),
            if leads { "yes" } else { "-" }.to_owned(),
        ]);
        items.push(json!({
            "id": id.to_string(), "name": member.name, "role": role(*id),
            "address": member.address, "incarnation": member.incarnation.to_string(),
            "leader": leads,
        }));
        names.push(units::name(member.name.as_bytes()));
    }
    let text = rows.render(session.output.headers).into_bytes();
    let data = json!({ "members": items, "joint": configuration.voters().is_joint() });
    let view = View { kind: "MemberList", data, text, names, warnings: Vec::new() };
    session.output.answer(&view)
}

/// Returns the newest configuration that anybody who answers knows.
fn configuration(survey: &Survey) -> Result<&Configuration> {
    if let Some(configuration) = survey.configuration() {
        return Ok(configuration);
    }
    if survey.answers().next().is_none() {
        let cause = |row: &crate::cluster::Row| {
            let why = row.answer.as_ref().err().map(|silence| silence.why.clone());
            client::Cause { endpoint: row.address.clone(), why: why.unwrap_or_default() }
        };
        let causes = survey.rows.iter().map(cause).collect();
        return Err(Report::new(codes::UNREACHABLE, "no node could be reached").causes(causes));
    }
    Err(Report::new(codes::UNINITIALISED, "no node that answers has a history")
        .help("raftctl init NAME    (bootstraps a cluster that is new)")
        .help("raftctl member replace OLD NEW=HOST:PORT    (for a member that lost its data)"))
}

/// Says what a member is, also during a change.
fn role(configuration: &Configuration, id: NodeId) -> &'static str {
    let (outgoing, incoming) = configuration.voters().halves();
    match (incoming.contains(id), outgoing.is_some_and(|old| old.contains(id))) {
        (true, true) => "voter",
        (true, false) if outgoing.is_some() => "voter (incoming)",
        (true, false) => "voter",
        (false, true) => "voter (outgoing)",
        (false, false) => "learner",
    }
}
