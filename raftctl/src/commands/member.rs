//! `raftctl member`: who belongs to the cluster.

use clap::{Args, Subcommand};

use crate::invocation::Invocation;
use crate::report::Result;
use crate::values::endpoint;

pub(crate) mod add;
pub(crate) mod alter;
mod args;
pub(crate) mod authority;
pub(crate) mod catch_up;
mod enrol;
mod foreseen;
mod heal;
pub(crate) mod history;
mod interrupted;
mod known;
pub(crate) mod list;
mod record;
pub(crate) mod show;
mod tokens;

use self::alter::Alteration;
use self::args::{AddArgs, ReplaceArgs};
use self::heal::HealArgs;

/// Members of the cluster.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum MemberCommand {
    /// Lists the members, as the configuration in force names them
    #[command(visible_alias = "ls")]
    List,
    /// Shows a member: its role, how far it is, how it is reached
    Show {
        /// Name or id
        member: String,
    },
    /// Adds members: token or bundle, learner, catching up, joint promotion; may be run again
    Add(AddArgs),
    /// Removes members in one change; their processes end with code 77
    #[command(visible_alias = "rm")]
    Remove(Existing),
    /// Swaps a member, dead or alive, for a new one in one joint change; may be run again
    Replace(ReplaceArgs),
    /// Lets a member back in whose data directory was wiped or has forgotten; may be run again
    Heal(HealArgs),
    /// Lets exactly these members vote; the other voters become learners
    Set(Existing),
    /// Lets learners that have caught up vote
    Promote(Existing),
    /// Makes learners of voters
    Demote(Existing),
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
pub(crate) struct Existing {
    /// Names or ids
    #[arg(required = true, value_name = "MEMBER")]
    pub(crate) members: Vec<String>,
    /// Shows what would be done, and what is tolerated meanwhile
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// Runs the command.
///
/// # Errors
/// Whatever keeps it from being done.
pub(crate) async fn run(invocation: &Invocation, command: MemberCommand) -> Result<()> {
    let (alteration, dry_run) = match command {
        MemberCommand::List => return list::run(invocation).await,
        MemberCommand::History => return history::run(invocation).await,
        MemberCommand::Heal(args) => return heal::run(invocation, &args).await,
        MemberCommand::Show { member } => return show::run(invocation, &member).await,
        MemberCommand::Add(_) | MemberCommand::Replace(_) => {
            unreachable!("they catch signals themselves")
        }
        MemberCommand::Remove(Existing { members, dry_run }) => {
            (Alteration::Remove(members), dry_run)
        }
        MemberCommand::Promote(Existing { members, dry_run }) => {
            (Alteration::Promote(members), dry_run)
        }
        MemberCommand::Demote(Existing { members, dry_run }) => {
            (Alteration::Demote(members), dry_run)
        }
        MemberCommand::Set(Existing { members, dry_run }) => (Alteration::Set(members), dry_run),
        MemberCommand::Update { member, address, dry_run } => {
            (Alteration::Update { member, address }, dry_run)
        }
    };
    alter::run(invocation, &alteration, dry_run).await
}
