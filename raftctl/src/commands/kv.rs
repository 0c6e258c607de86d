//! `raftctl kv`: keys and values of the built-in machine.

use std::ffi::OsString;
use std::io::Read as _;
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use clap::{Args, Subcommand};
use client::{Answer, Client, ClientError};
use serde_json::json;
use state_machine::{KvCommand as Change, KvQuery, KvResponse, VALUE_BYTES_MAX};

use crate::codes;
use crate::commands::kv::consistency::{Age, ConsistencyArgs};
use crate::commands::kv::pairs::{check, decode, encoding, key_of, pair, text_of, unexpected};
use crate::commands::load::LoadArgs;
use crate::input::{Input, STDIN};
use crate::invocation::Invocation;
use crate::output::{View, units};
use crate::report::{Report, Result};

pub(crate) mod consistency;
mod list;
pub(crate) mod pairs;

/// How long to wait for the end of a session; it ends by itself, too.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Keys and values of the built-in machine.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum KvCommand {
    /// Prints a key's value
    Get(GetArgs),
    /// Sets a key
    Put(PutArgs),
    /// Deletes a key
    Del(DelArgs),
    /// Sets or deletes a key if it has the expected value
    Cas(CasArgs),
    /// Lists keys in order
    ///
    /// They are read and written a page at a time, so that a list may be of any length. Each page
    /// begins behind the last key of the one before: a key that is there all the while is listed,
    /// once; what is put or deleted meanwhile may be listed or not. A snapshot shows one moment.
    ///
    /// A key or value that does not show itself (newlines, controls, turned text, blanks at its
    /// ends, bytes that are no UTF-8) is printed as $'..', with \n, \t, \xHH, \uHHHH and the
    /// backslash doubled. All commands read keys so; a key that is typed in any other way is just
    /// what was typed.
    #[command(visible_alias = "ls")]
    List(list::ListArgs),
    /// Sets many keys from a file of KEY<TAB>VALUE lines
    Load(LoadArgs),
}

/// What `get` is told.
#[derive(Clone, Debug, Args)]
pub(crate) struct GetArgs {
    /// The key, as typed or as printed ($'..' is read as shells do)
    #[arg(id = "kv_key", value_name = "KEY")]
    key: OsString,
    #[command(flatten)]
    consistency: ConsistencyArgs,
    /// Writes the value as it is, without a newline behind it. Without this, a value that would do
    /// something to a terminal is shown there as $'..'; into a pipe or file it goes as it is
    #[arg(long)]
    raw: bool,
}

/// What `put` is told.
#[derive(Clone, Debug, Args)]
#[command(override_usage = "raftctl kv put [OPTIONS] <KEY> <VALUE|--stdin>")]
#[command(group = clap::ArgGroup::new("new").required(true).args(["value", "stdin"]))]
pub(crate) struct PutArgs {
    /// The key, as typed or as printed ($'..' is read as shells do)
    #[arg(id = "kv_key", value_name = "KEY")]
    key: OsString,
    /// The value; - reads it from stdin (also a value "-": printf - | raftctl ..). One that begins
    /// with a hyphen and is no number comes behind --
    #[arg(allow_negative_numbers = true)]
    value: Option<OsString>,
    /// Reads the value from stdin, byte for byte
    #[arg(long)]
    stdin: bool,
    /// Says what would be done, and does nothing
    #[arg(long)]
    dry_run: bool,
}

/// What `del` is told.
#[derive(Clone, Debug, Args)]
pub(crate) struct DelArgs {
    /// The key, as typed or as printed ($'..' is read as shells do)
    #[arg(id = "kv_key", value_name = "KEY")]
    key: OsString,
    /// Says what would be done, and does nothing
    #[arg(long)]
    dry_run: bool,
}

/// What `cas` is told.
#[derive(Clone, Debug, Args)]
#[command(override_usage = "raftctl kv cas <KEY> <VALUE|--stdin|--delete> \
                            <--expect VALUE|--absent>")]
#[command(group = clap::ArgGroup::new("expected").required(true).args(["expect", "absent"]))]
#[command(group = clap::ArgGroup::new("change").required(true).args(["value", "stdin", "delete"]))]
pub(crate) struct CasArgs {
    /// The key, as typed or as printed ($'..' is read as shells do)
    #[arg(id = "kv_key", value_name = "KEY")]
    key: OsString,
    /// The new value, as it stands here; "-" is one like others. One that begins with a hyphen and
    /// is no number comes behind --
    #[arg(allow_negative_numbers = true)]
    value: Option<OsString>,
    /// Reads the new value from stdin, byte for byte
    #[arg(long)]
    stdin: bool,
    /// The value that the key must have
    #[arg(long, value_name = "VALUE", allow_hyphen_values = true)]
    expect: Option<OsString>,
    /// The key must not exist
    #[arg(long)]
    absent: bool,
    /// Deletes the key instead of setting it
    #[arg(long, conflicts_with = "absent")]
    delete: bool,
    /// Says what would be done, and does nothing
    #[arg(long)]
    dry_run: bool,
}

/// Runs the command.
///
/// # Errors
/// If the cluster does not answer, or refuses.
pub(crate) async fn run(invocation: &Invocation, command: KvCommand) -> Result<()> {
    match command {
        KvCommand::Get(args) => get(invocation, args).await,
        KvCommand::Put(args) => put(invocation, args).await,
        KvCommand::Del(args) => del(invocation, args).await,
        KvCommand::Cas(args) => cas(invocation, args).await,
        KvCommand::List(args) => list::run(invocation, args).await,
        KvCommand::Load(_) => unreachable!("a load has a module of its own"),
    }
}

async fn get(invocation: &Invocation, args: GetArgs) -> Result<()> {
    let key = key_of(&args.key)?;
    let (_, client) = invocation.client()?;
    let mut age = Age::default();
    let answer = args.consistency.ask(&client, &KvQuery::Get { key: key.clone() }, &mut age).await;
    client.close().await;
    age.tell(&invocation.output);
    match answer? {
        KvResponse::Value { revision, value } => {
            let text = match args.raw {
                true => value.to_vec(),
                false => invocation.output.shown(&value),
            };
            let mut data = pair(&key, &value, revision);
            age.add_to(&mut data);
            let names = vec![units::key(&key)];
            invocation.output.answer(&View { kind: "Key", data, text, names, warnings: Vec::new() })
        }
        KvResponse::NotFound => Err(no_key(&key)),
        response @ (KvResponse::Done { .. }
        | KvResponse::Differs { .. }
        | KvResponse::Page { .. }
        | KvResponse::Refused { .. }) => Err(unexpected(response)),
    }
}

async fn put(invocation: &Invocation, args: PutArgs) -> Result<()> {
    let key = key_of(&args.key)?;
    let value = match args.value {
        Some(value) if value != STDIN => Bytes::from(value.into_vec()),
        Some(_) | None => read_stdin(invocation)?,
    };
    check(&key, &value).map_err(|why| Report::new(codes::TOO_LARGE, why))?;
    if args.dry_run {
        let what = format!("would set {} to {} bytes", units::key(&key), value.len());
        return plan(invocation, &what);
    }
    change(invocation, &key, Change::Put { key: key.clone(), value }).await
}

async fn del(invocation: &Invocation, args: DelArgs) -> Result<()> {
    let key = key_of(&args.key)?;
    if args.dry_run {
        return plan(invocation, &format!("would delete {}", units::key(&key)));
    }
    change(invocation, &key, Change::Delete { key: key.clone() }).await
}

async fn cas(invocation: &Invocation, args: CasArgs) -> Result<()> {
    let key = key_of(&args.key)?;
    let bytes = |text: OsString| Bytes::from(text.into_vec());
    let new = if args.stdin { Some(read_stdin(invocation)?) } else { args.value.map(bytes) };
    let expected = args.expect.map(bytes);
    for value in [&expected, &new].into_iter().flatten() {
        check(&key, value).map_err(|why| Report::new(codes::TOO_LARGE, why))?;
    }
    if args.dry_run {
        let verb = if new.is_some() { "set" } else { "delete" };
        let when = if expected.is_some() { "has the expected value" } else { "does not exist" };
        return plan(invocation, &format!("would {verb} {} if it {when}", units::key(&key)));
    }
    change(invocation, &key, Change::CompareAndSwap { key: key.clone(), expected, new }).await
}

/// Puts a change through the log, and tells its revision.
///
/// A put is given as it is, for one round trip: its unknown outcome is told. A delete or a swap
/// that were repeated would be answered otherwise than the first attempt, so it has a session of
/// its own, in which it is repeated until the outcome is known (§6.3).
async fn change(invocation: &Invocation, key: &Bytes, change: Change) -> Result<()> {
    let (_, client) = invocation.client()?;
    let answer = match &change {
        Change::Put { .. } => client.propose(change.encode()).await,
        Change::Delete { .. } | Change::CompareAndSwap { .. } | Change::Increment { .. } => {
            once(&client, change.encode()).await
        }
    };
    client.close().await;
    let Answer { index, response, .. } = answer?;
    match decode(&response)? {
        KvResponse::Done { revision } => {
            // A read on any node sees the change with `--at-least` this index.
            let token =
                if invocation.output.wide() { format!("  index {index}") } else { String::new() };
            invocation.output.answer(&View {
                kind: "Change",
                data: json!({
                    "key": text_of(key), "keyEncoding": encoding(key),
                    "revision": revision.to_string(), "index": index.to_string(),
                }),
                text: format!("revision {revision}{token}\n").into_bytes(),
                names: vec![units::key(key)],
                warnings: Vec::new(),
            })
        }
        KvResponse::NotFound => Err(no_key(key)),
        KvResponse::Differs { revision, .. } => {
            let message =
                format!("{} has another value, of revision {revision}", units::cited(key));
            let help = format!("raftctl kv get {}", units::typed(key));
            Err(Report::new(codes::DIFFERS, message).help(help))
        }
        response @ (KvResponse::Value { .. }
        | KvResponse::Page { .. }
        | KvResponse::Refused { .. }) => Err(unexpected(response)),
    }
}

/// Gives one command in a session of its own.
async fn once(client: &Client, command: Bytes) -> std::result::Result<Answer, ClientError> {
    let session = client.session("raftctl kv").await?;
    let answer = session.propose(command).await;
    // Without it, the session expires; the answer is known either way.
    let _ = tokio::time::timeout(CLOSE_TIMEOUT, session.close()).await;
    answer
}

fn plan(invocation: &Invocation, what: &str) -> Result<()> {
    invocation.output.answer(&View {
        kind: "Plan",
        data: json!({ "steps": [what] }),
        text: format!("{what}\n").into_bytes(),
        ..View::default()
    })
}

/// Reads a value from stdin, and never more than tells that it is too long.
fn read_stdin(invocation: &Invocation) -> Result<Bytes> {
    let stdin = Input::open_or_stdin(Path::new(STDIN))?;
    if stdin.is_typed() {
        invocation.output.remark("type the value; Ctrl-D on a line of its own ends it");
    }
    let mut value = Vec::new();
    let limit = VALUE_BYTES_MAX as u64 + 1;
    let mut bounded = stdin.take(limit);
    if let Err(error) = bounded.read_to_end(&mut value) {
        return Err(bounded.get_ref().failed(&error));
    }
    if value.len() > VALUE_BYTES_MAX {
        let message = format!("stdin gives more than {VALUE_BYTES_MAX} bytes, a value's limit");
        return Err(Report::new(codes::TOO_LARGE, message));
    }
    Ok(value.into())
}

fn no_key(key: &Bytes) -> Report {
    Report::new(codes::NO_KEY, format!("no key {}", units::cited(key)))
}
