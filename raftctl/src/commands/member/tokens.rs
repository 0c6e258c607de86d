//! Tokens of nodes that are being added: made where there is none, and waited with.

use std::collections::BTreeMap;
use std::num::NonZeroU64;

use client::Client;
use consensus::NodeId;

use super::args::AddArgs;
use super::enrol::{self, Attempt};
use crate::bundle::{Bundles, KeptToken, Lease, NodeSettings, PlannedNode, now_unix_s};
use crate::change::Present;
use crate::commands::token;
use crate::context::write_private;
use crate::invocation::Invocation;
use crate::report::Result;

/// Makes what newcomers need: a bundle where one is asked for or there is one, else a token. Says
/// what there is, and returns the tokens.
///
/// # Errors
/// If it cannot be written.
pub(super) async fn or_bundles(
    invocation: &Invocation,
    (bundles, client): (&Bundles, &Client),
    newcomers: &[PlannedNode],
    (args, present): (&AddArgs, &Present),
) -> Result<BTreeMap<NonZeroU64, KeptToken>> {
    let is_member =
        |node: &PlannedNode| present.configuration.member(NodeId::from(node.id)).is_some();
    let makes_tokens = !args.bundle && !args.prepare_only;
    let enrols = |node: &PlannedNode| makes_tokens && !is_member(node) && !bundles.has_key(node);
    let lease = lease(present);
    let settings = |node: &PlannedNode| NodeSettings { lease, ..bundles.local_settings(node) };
    let writing = bundles.lock_certificates().await?;
    let notes = bundles.add(newcomers, is_member, enrols, settings)?;
    drop(writing);
    for note in notes {
        invocation.output.remark(&format!("warning: {note}"));
    }
    let mut tokens = BTreeMap::new();
    for node in newcomers {
        if enrols(node) {
            let token = prepare(invocation, (bundles, client), node, args).await?;
            tokens.extend(token.map(|token| (node.id, token)));
            continue;
        }
        let directory = bundles.node_directory(node);
        let (name, id) = (&node.name, node.id);
        let line = format!("{name}  node {id}   bundle {}", directory.display());
        invocation.output.remark(&line);
    }
    Ok(tokens)
}

/// Returns what the cluster's leases rest on: a newcomer's have to rest on the same.
pub(super) fn lease(present: &Present) -> Option<Lease> {
    present.survey.leader().and_then(Lease::of)
}

/// Finds the token by which a host may become this node, or makes one and says where it is. There
/// is none if the node has its certificate already, by one that counts no longer.
///
/// # Errors
/// If it cannot be written.
async fn prepare(
    invocation: &Invocation,
    (bundles, client): (&Bundles, &Client),
    node: &PlannedNode,
    args: &AddArgs,
) -> Result<Option<KeptToken>> {
    let remark = |line: &str| invocation.output.remark(line);
    let PlannedNode { id, name, .. } = node;
    if let Some(known) = bundles.token_of(node)? {
        let (token, made) = (known.id()?, certs::span(now_unix_s().saturating_sub(known.created)));
        remark(&format!("{name}  node {id}   token {token}, made {made} ago"));
        if !known.was_used() {
            let revoke = format!("raftctl token revoke {token}");
            remark(&format!("    {revoke}    (if it is lost; then run this again)"));
        }
        return Ok(Some(known));
    }
    if bundles.has_certificate(node) {
        remark(&format!("{name}  node {id}   has its certificate"));
        return Ok(None);
    }
    let token = token::make(invocation, (bundles, client), node, args.valid).await?;
    let file = args.token_file.clone().unwrap_or_else(|| bundles.token_file(name));
    write_private(&file, format!("{}\n", token.to_text()).as_bytes())?;
    let until = certs::utc(token.expires);
    remark(&format!("{name}  node {id}   token {}, good for one host until {until}", token.id));
    remark(&format!("    bring {} to it, a secret, and there:", file.display()));
    remark("    raftd enroll --token-file FILE && systemctl enable --now raftd");
    bundles.token_of(node)
}

/// Tries once to enrol the host that is to be this node, if there is a token for it.
///
/// # Errors
/// If the token counts no longer, or the enrolment broke off.
pub(super) async fn attempt(
    invocation: &Invocation,
    (bundles, client): (&Bundles, &Client),
    token: Option<&KeptToken>,
    (node, lease): (&PlannedNode, Option<Lease>),
) -> Result<Attempt> {
    let Some(token) = token else { return Ok(Attempt::Nobody) };
    let settings = NodeSettings { lease, ..bundles.local_settings(node) };
    enrol::attempt(invocation, (bundles, client), token, &settings).await
}
