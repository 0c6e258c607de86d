//! What raftctl does: a module a noun or verb.

use crate::cli::Command;
use crate::commands::member::MemberCommand;
use crate::commands::snapshot::SnapshotCommand;
use crate::invocation::Invocation;
use crate::report::Result;

pub(crate) mod adopt;
pub(crate) mod alarm;
pub(crate) mod audit;
pub(crate) mod bench;
pub(crate) mod cert;
pub(crate) mod config;
pub(crate) mod context;
pub(crate) mod dev;
pub(crate) mod explain;
pub(crate) mod init;
pub(crate) mod kv;
pub(crate) mod leader;
pub(crate) mod load;
pub(crate) mod log;
pub(crate) mod member;
pub(crate) mod session;
pub(crate) mod snapshot;
pub(crate) mod status;
pub(crate) mod token;
pub(crate) mod verify;
pub(crate) mod version;

/// Does what was asked. Commands with something to put in order catch signals; others end at once.
///
/// # Errors
/// Whatever keeps it from being done.
pub(crate) async fn run(invocation: &Invocation, command: Command) -> Result<()> {
    match command {
        Command::Init(args) => init::run(invocation, args).await,
        Command::Status(args) => status::run(invocation, args).await,
        Command::Member(MemberCommand::Add(args)) => member::add::run(invocation, &args).await,
        Command::Member(MemberCommand::Replace(args)) => {
            member::add::run(invocation, &args.into()).await
        }
        Command::Member(command) => member::run(invocation, command).await,
        Command::Leader(command) => leader::run(invocation, command).await,
        Command::Kv(kv::KvCommand::Load(args)) => load::run(invocation, args).await,
        Command::Kv(command) => kv::run(invocation, command).await,
        Command::Log(command) => log::run(invocation, command).await,
        Command::Snapshot { command } => {
            let create = SnapshotCommand::Create { node: None };
            snapshot::run(invocation, command.unwrap_or(create)).await
        }
        Command::Verify(args) => verify::run(invocation, args).await,
        Command::Session(command) => session::run(invocation, command).await,
        Command::Alarm(command) => alarm::run(invocation, command).await,
        Command::Audit { command: Some(audit::AuditCommand::List(args)), .. }
        | Command::Audit { command: None, args } => audit::run(invocation, args).await,
        Command::Token(command) => token::run(invocation, command).await,
        Command::Cert(command) => cert::run(invocation, command).await,
        Command::Config(command) => config::run(invocation, command).await,
        Command::Context(command) => context::run(invocation, command).await,
        Command::Adopt(args) => adopt::run(invocation, &args),
        Command::Explain { code } => explain::run(invocation, code.as_deref()),
        Command::Version => version::run(invocation),
        Command::Completion { shell } => version::completion(shell),
        Command::Dev(args) => dev::run(invocation, args).await,
        Command::Bench(args) => bench::run(invocation, args).await,
    }
}
