//! `raftctl kv`: keys and values of the built-in machine.

use std::ffi::{OsStr, OsString};
use std::io::Read as _;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use clap::{Args, Subcommand};
use client::{Answer, Client, ClientError};
use serde_json::{Value, json};
use state_machine::text::unquoted;
use state_machine::{KEY_BYTES_MAX, KvCommand as Change, KvQuery, KvResponse, VALUE_BYTES_MAX};

use crate::codes;
use crate::commands::kv::freshness::{Age, FreshnessArgs};
use crate::commands::load::LoadArgs;
use crate::input::{Input, STDIN};
use crate::output::{View, units};
use crate::report::{Report, Result};
use crate::target::Session;

pub mod freshness;
mod list;

/// How long to wait for the end of a session; it ends by itself, too.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Keys and values of the built-in machine.
#[derive(Clone, Debug, Subcommand)]
pub enum KvCommand {
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
pub struct GetArgs {
    /// The key, as typed or as printed ($'..' is read as shells do)
    #[arg(id = "kv_key", value_name = "KEY")]
    key: OsString,
    #[command(flatten)]
    freshness: FreshnessArgs,
    /// Writes the value as it is, without a newline behind it. Without this, a value that would do
    /// something to a terminal is shown there as $'..'; into a pipe or file it goes as it is
    #[arg(long)]
    raw: bool,
}

/// What `put` is told.
#[derive(Clone, Debug, Args)]
pub struct PutArgs {
    /// The key, as typed or as printed ($'..' is read as shells do)
    #[arg(id = "kv_key", value_name = "KEY")]
    key: OsString,
    /// The value; - reads it from stdin, byte for byte (also a value "-": printf - | raftctl ..)
    #[arg(allow_hyphen_values = true)]
    value: OsString,
    /// Says what would be done, and does nothing
    #[arg(long)]
    dry_run: bool,
}

/// What `del` is told.
#[derive(Clone, Debug, Args)]
pub struct DelArgs {
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
pub struct CasArgs {
    /// The key, as typed or as printed ($'..' is read as shells do)
    #[arg(id = "kv_key", value_name = "KEY")]
    key: OsString,
    /// The new value, as it stands here; "-" is one like others
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
pub async fn run(session: &Session, command: KvCommand) -> Result<()> {
    match command {
        KvCommand::Get(args) => get(session, args).await,
        KvCommand::Put(args) => put(session, args).await,
        KvCommand::Del(args) => del(session, args).await,
        KvCommand::Cas(args) => cas(session, args).await,
        KvCommand::List(args) => list::run(session, args).await,
        KvCommand::Load(_) => unreachable!("a load has a module of its own"),
    }
}

async fn get(session: &Session, args: GetArgs) -> Result<()> {
    let key = key_of(&args.key)?;
    let (_, client) = session.client()?;
    let mut age = Age::default();
    let answer = args.freshness.ask(&client, &KvQuery::Get { key: key.clone() }, &mut age).await;
    client.close().await;
    age.tell(&session.output);
    match answer? {
        KvResponse::Value { revision, value } => {
            let text = match args.raw {
                true => value.to_vec(),
                false => session.output.shown(&value),
            };
            let mut data = pair(&key, &value, revision);
            age.add_to(&mut data);
            let names = vec![units::key(&key)];
            session.output.answer(&View { kind: "Key", data, text, names, warnings: Vec::new() })
        }
        KvResponse::NotFound => Err(no_key(&key)),
        other => Err(unexpected(other)),
    }
}

async fn put(session: &Session, args: PutArgs) -> Result<()> {
    let key = key_of(&args.key)?;
    let value = match args.value.to_str() {
        Some(STDIN) => read_stdin(session)?,
        _ => Bytes::from(args.value.into_vec()),
    };
    check(&key, &value).map_err(|why| Report::new(codes::TOO_LARGE, why))?;
    if args.dry_run {
        let what = format!("would set {} to {} bytes", units::key(&key), value.len());
        return plan(session, &what);
    }
    change(session, &key, Change::Put { key: key.clone(), value }).await
}

async fn del(session: &Session, args: DelArgs) -> Result<()> {
    let key = key_of(&args.key)?;
    if args.dry_run {
        return plan(session, &format!("would delete {}", units::key(&key)));
    }
    change(session, &key, Change::Delete { key: key.clone() }).await
}

async fn cas(session: &Session, args: CasArgs) -> Result<()> {
    let key = key_of(&args.key)?;
    let bytes = |text: OsString| Bytes::from(text.into_vec());
    let new = if args.stdin { Some(read_stdin(session)?) } else { args.value.map(bytes) };
    let expected = args.expect.map(bytes);
    for value in [&expected, &new].into_iter().flatten() {
        check(&key, value).map_err(|why| Report::new(codes::TOO_LARGE, why))?;
    }
    if args.dry_run {
        let verb = if new.is_some() { "set" } else { "delete" };
        let when = if expected.is_some() { "has the expected value" } else { "does not exist" };
        return plan(session, &format!("would {verb} {} if it {when}", units::key(&key)));
    }
    change(session, &key, Change::CompareAndSwap { key: key.clone(), expected, new }).await
}

/// Puts a change through the log, and tells its revision.
///
/// A put is given as it is, for one round trip: its unknown outcome is told. A delete or a swap
/// that were repeated would be answered otherwise than the first attempt, so it has a session of
/// its own, in which it is repeated until the outcome is known (§6.3).
async fn change(session: &Session, key: &Bytes, change: Change) -> Result<()> {
    let (_, client) = session.client()?;
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
                if session.output.wide() { format!("  index {index}") } else { String::new() };
            session.output.answer(&View {
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
        other => Err(unexpected(other)),
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

fn plan(session: &Session, what: &str) -> Result<()> {
    session.output.answer(&View {
        kind: "Plan",
        data: json!({ "steps": [what] }),
        text: format!("{what}\n").into_bytes(),
        ..View::default()
    })
}

/// Reads the machine's answer.
///
/// # Errors
/// If it makes no sense.
pub fn decode(response: &Bytes) -> Result<KvResponse> {
    KvResponse::decode(response)
        .map_err(|error| Report::new(codes::UNEXPECTED, format!("the machine's answer: {error}")))
}

/// Makes a report of an answer that does not belong to what was asked.
pub fn unexpected(response: KvResponse) -> Report {
    match response {
        KvResponse::Refused { reason } => Report::new(codes::REFUSED, reason),
        KvResponse::Done { .. }
        | KvResponse::NotFound
        | KvResponse::Differs { .. }
        | KvResponse::Value { .. }
        | KvResponse::Page { .. } => {
            Report::new(codes::UNEXPECTED, "the machine answered something else than was asked")
        }
    }
}

/// Says what is wrong with a key or a value, before anything is sent.
///
/// # Errors
/// If one of them is over its limit, or the key is empty.
pub fn check(key: &[u8], value: &[u8]) -> std::result::Result<(), String> {
    match (key.len(), value.len()) {
        (0, _) => Err("the key is empty".to_owned()),
        (size, _) if size > KEY_BYTES_MAX => {
            Err(format!("the key has {size} bytes, at most {KEY_BYTES_MAX} are allowed"))
        }
        (_, size) if size > VALUE_BYTES_MAX => {
            Err(format!("the value has {size} bytes, at most {VALUE_BYTES_MAX} are allowed"))
        }
        _ => Ok(()),
    }
}

/// Reads a key as it was typed, or as it was printed: what stands in `$'..'` is read as shells do.
fn key_of(text: &OsStr) -> Result<Bytes> {
    let key = prefix_of(text)?;
    check(&key, &[]).map_err(|why| Report::new(codes::TOO_LARGE, why))?;
    Ok(key)
}

/// Reads what keys begin with: it may be empty.
fn prefix_of(text: &OsStr) -> Result<Bytes> {
    let bytes = text.as_bytes();
    let key = unquoted(bytes).map_err(|why| {
        let message = format!("not a key: {}: {why}", units::printable(bytes));
        let typed = units::typed(bytes);
        Report::new(codes::BAD_KEY, message)
            .help(format!("{typed}    (so the key is typed that is just this)"))
    })?;
    Ok(Bytes::from(key.into_owned()))
}

/// Reads a value from stdin, and never more than tells that it is too long.
fn read_stdin(session: &Session) -> Result<Bytes> {
    let stdin = Input::open_or_stdin(Path::new(STDIN))?;
    if stdin.is_typed() {
        session.output.remark("type the value; Ctrl-D on a line of its own ends it");
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

/// Writes bytes as JSON can hold them: text as it is, other bytes in hexadecimal.
fn text_of(bytes: &Bytes) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}

/// Says how [`text_of`] wrote them.
fn encoding(bytes: &Bytes) -> &'static str {
    if std::str::from_utf8(bytes).is_ok() { "utf-8" } else { "hex" }
}

fn pair(key: &Bytes, value: &Bytes, revision: u64) -> Value {
    json!({
        "key": text_of(key), "keyEncoding": encoding(key),
        "value": text_of(value), "valueEncoding": encoding(value),
        "revision": revision.to_string(),
    })
}
