//! `raftctl token`: one-time tokens by which new hosts get their certificates.

use std::path::{Path, PathBuf};
use std::time::Duration;

use certs::Token;
use clap::{Args, Subcommand};
use client::Client;
use serde_json::{Map, Value, json};

use crate::bundle::{Bundles, KeptToken, PlannedNode, now_unix_s};
use crate::context::write_private;
use crate::invocation::Invocation;
use crate::output::stream::{Kind, Listed, Stream};
use crate::output::{View, units};
use crate::report::Result;
use crate::values::{duration, node};

const TOKENS: Kind = Kind {
    kind: "TokenList",
    field: "tokens",
    items: "tokens",
    header: &["TOKEN", "NODE", "NAME", "ADDRESS", "STATE", "EXPIRES"],
};

/// Tokens.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Makes a token for a new node, and prints it; `member add` waits for whoever has it
    Create(CreateArgs),
    /// Lists the tokens, and what they are good for
    #[command(visible_alias = "ls")]
    List(DirectoryArgs),
    /// Takes a token back
    Revoke(RevokeArgs),
}

/// Where the tokens are.
#[derive(Clone, Debug, Args)]
pub(crate) struct DirectoryArgs {
    /// The directory that `init` made, with the authority [default: beside the context's key]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// What `create` is told.
#[derive(Clone, Debug, Args)]
pub(crate) struct CreateArgs {
    /// The new node, as n4=n4.example:7400
    #[arg(value_name = "NAME=HOST:PORT", value_parser = node)]
    node: (String, String),

    /// For how long a host may enrol by it
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = duration)]
    valid: Duration,

    /// Writes the token to this file (0600) in place of printing it
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,

    /// Where the tokens are
    #[command(flatten)]
    place: DirectoryArgs,
}

/// What `revoke` is told.
#[derive(Clone, Debug, Args)]
pub(crate) struct RevokeArgs {
    /// The token's id, or the name of its node
    #[arg(value_name = "TOKEN")]
    token: String,

    /// Lists the tokens that would be revoked
    #[arg(long)]
    dry_run: bool,

    /// Where the tokens are
    #[command(flatten)]
    place: DirectoryArgs,
}

/// Runs the command.
///
/// # Errors
/// If the directory is not there, or the cluster does not reserve an id.
pub(crate) async fn run(invocation: &Invocation, command: TokenCommand) -> Result<()> {
    match command {
        TokenCommand::Create(args) => create(invocation, args).await,
        TokenCommand::List(args) => list(invocation, &args).await,
        TokenCommand::Revoke(args) => revoke(invocation, &args).await,
    }
}

async fn create(invocation: &Invocation, args: CreateArgs) -> Result<()> {
    let (_, client) = invocation.client()?;
    let bundles = open(invocation, &args.place)?;
    let (name, address) = args.node;
    let id = client.reserve_id(&name, bundles.highest_id()?).await?;
    let id = std::num::NonZeroU64::new(id.get()).expect("ids are not 0");
    let node = PlannedNode { id, name, address };
    bundles.check_not_removed(&node)?;
    let token = make(invocation, (&bundles, &client), &node, args.valid).await?;
    client.close().await;
    let text = token.to_text();
    let mut data = json!({
        "token": token.id.to_string(), "id": node.id.to_string(), "name": node.name,
        "address": node.address, "expires": certs::utc(token.expires),
    });
    let shown = match &args.token_file {
        Some(file) => {
            write_private(file, format!("{text}\n").as_bytes())?;
            data["file"] = json!(file);
            format!("{}\n", file.display())
        }
        None => {
            data["text"] = json!(text);
            format!("{text}\n")
        }
    };
    let (name, address) = (&node.name, &node.address);
    invocation.output.remark(&format!(
        "{name}  node {}   token {}   counts until {}",
        node.id,
        token.id,
        certs::utc(token.expires)
    ));
    invocation.output.remark("on its host:  raftd enroll --token-file FILE");
    invocation.output.remark(&format!("here:         raftctl member add {name}={address}"));
    invocation.output.answer(&View {
        kind: "Token",
        data,
        text: shown.into_bytes(),
        names: vec![token.id.to_string()],
        warnings: Vec::new(),
    })
}

/// Makes a token, and has it noted in the audit.
///
/// # Errors
/// If it cannot be written.
pub(crate) async fn make(
    invocation: &Invocation,
    (bundles, client): (&Bundles, &Client),
    node: &PlannedNode,
    valid: Duration,
) -> Result<Token> {
    let (token, replaced) = bundles.create_token(node, valid).await?;
    let PlannedNode { id, name, address } = node;
    for earlier in replaced {
        let earlier = earlier.id()?;
        invocation.output.remark(&format!(
            "token {earlier} was made for {name} before, and counts no longer: {} does",
            token.id
        ));
        note(invocation, client, &format!("token revoke {earlier} of {name}")).await;
    }
    let what = format!("token create {name} (node {id}) at {address}, token {}", token.id);
    note(invocation, client, &what).await;
    Ok(token)
}

async fn note(invocation: &Invocation, client: &Client, what: &str) {
    if let Err(error) = client.note(what).await {
        invocation.output.remark(&format!("warning: not in the audit: {what}: {error}"));
    }
}

async fn list(invocation: &Invocation, args: &DirectoryArgs) -> Result<()> {
    let tokens = open(invocation, args)?.tokens()?;
    let now = now_unix_s();
    let items: Vec<Item> = tokens.into_iter().map(|token| Item(token, now)).collect();
    show(invocation, &items).await
}

async fn show(invocation: &Invocation, items: &[Item]) -> Result<()> {
    let mut stream = Stream::new(&invocation.output, TOKENS);
    stream.page(items).await?;
    stream.end(Map::new(), &[]).await
}

async fn revoke(invocation: &Invocation, args: &RevokeArgs) -> Result<()> {
    let (bundles, now) = (open(invocation, &args.place)?, now_unix_s());
    if args.dry_run {
        let items = bundles.revocable(&args.token)?.into_iter().map(|token| Item(token, now));
        return show(invocation, &items.collect::<Vec<Item>>()).await;
    }
    // First what counts: the rest needs a cluster.
    let revoked = bundles.revoke_token(&args.token).await?;
    let items: Vec<Item> = revoked.into_iter().map(|token| Item(token, now)).collect();
    let (_, client) = invocation.client()?;
    for Item(token, _) in &items {
        let (id, name) = (token.id()?, &token.node.name);
        note(invocation, &client, &format!("token revoke {id} of {name}")).await;
        if token.was_used() {
            invocation.output.remark(&format!(
                "warning: {name} has its certificate already: the token is of no use any more, \
                 the certificate is"
            ));
        }
    }
    client.close().await;
    show(invocation, &items).await
}

fn open(invocation: &Invocation, args: &DirectoryArgs) -> Result<Bundles> {
    let target = invocation.target()?;
    let directory: Option<&Path> = args.dir.as_deref();
    super::member::authority::look(invocation, directory, &target)
}

/// A token at a moment.
struct Item(KeptToken, u64);

impl Listed for Item {
    fn name(&self) -> String {
        self.0.id().map(|id| id.to_string()).unwrap_or_default()
    }

    fn row(&self) -> Vec<String> {
        let PlannedNode { id, name, address } = &self.0.node;
        vec![
            Listed::name(self),
            id.to_string(),
            units::name(name.as_bytes()),
            units::name(address.as_bytes()),
            self.0.state(self.1).word().to_owned(),
            certs::utc(self.0.expires),
        ]
    }

    fn data(&self) -> Value {
        let PlannedNode { id, name, address } = &self.0.node;
        json!({
            "token": Listed::name(self),
            "id": id.to_string(),
            "name": name,
            "address": address,
            "state": self.0.state(self.1).word(),
            "created": certs::utc(self.0.created),
            "expires": certs::utc(self.0.expires),
            "key": self.0.used_by,
        })
    }
}
