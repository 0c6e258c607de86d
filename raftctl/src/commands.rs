//! What raftctl does: a module a noun or verb.

use crate::cli::Command;
use crate::commands::member::MemberCommand;
use crate::commands::snapshot::SnapshotCommand;
use crate::report::Result;
use crate::target::Session;

pub mod bench;
pub mod cert;
pub mod context;
pub mod dev;
pub mod explain;
pub mod init;
pub mod kv;
pub mod leader;
pub mod load;
pub mod log;
pub mod member;
pub mod session;
pub mod snapshot;
pub mod status;
pub mod version;

/// Does what was asked. Commands with something to put in order catch signals; others end at once.
///
/// # Errors
/// Whatever keeps it from being done.
pub async fn run(session: &Session, command: Command) -> Result<()> {
    match command {
        Command::Init(args) => init::run(session, args).await,
        Command::Status(args) => status::run(session, args).await,
        Command::Member(MemberCommand::Add(args)) => member::add::run(session, &args).await,
        Command::Member(MemberCommand::Replace(args)) => {
            member::add::run(session, &args.into()).await
        }
        Command::Member(command) => member::run(session, command).await,
        Command::Leader(command) => leader::run(session, command).await,
        Command::Kv(kv::KvCommand::Load(args)) => load::run(session, args).await,
        Command::Kv(command) => kv::run(session, command).await,
        Command::Log(command) => log::run(session, command).await,
        Command::Snapshot { command } => {
            let create = SnapshotCommand::Create { node: None };
            snapshot::run(session, command.unwrap_or(create)).await
        }
        Command::Session(command) => session::run(session, command).await,
        Command::Cert(command) => cert::run(session, command).await,
        Command::Context(command) => context::run(session, command).await,
        Command::Explain { code } => explain::run(session, code.as_deref()),
        Command::Version => version::run(session),
        Command::Completion { shell } => version::completion(shell),
        Command::Dev(args) => dev::run(session, args).await,
        Command::Bench(args) => bench::run(session, args).await,
    }
}
