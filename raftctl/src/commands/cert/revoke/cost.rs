//! What it costs to cut a voter off: the others refuse it until it has a new certificate.

use std::collections::BTreeSet;

use client::Client;
use consensus::NodeId;
use tokio::time::sleep;

use super::{Meant, RevokeArgs};
use crate::change::Present;
use crate::cluster::quorum::{shortage, tolerance};
use crate::codes;
use crate::commands::cert::wire::{hears, settled};
use crate::invocation::Invocation;
use crate::report::{Report, Result};
use crate::target::Target;

/// Asks whether a voter is to be cut off, if one is; returns what a script is told that has
/// answered before.
///
/// # Errors
/// If the voters that are left are no majority, which nobody could take back, unless it is forced.
pub(super) async fn agreed(
    (invocation, client): (&Invocation, &Client),
    (args, target): (&RevokeArgs, &Target),
    present: &Present,
    meant: &Meant,
) -> Result<Option<String>> {
    let votes = |id: &NodeId| present.configuration.voters().contains(*id);
    let Some(id) = meant.role.node_id().map(NodeId::from).filter(votes) else { return Ok(None) };
    let cut_off = cut_off(client, target, present).await?;
    let alive: BTreeSet<NodeId> = present.alive().difference(&cut_off).copied().collect();
    let voters = present.configuration.voters();
    let before = tolerance(voters, &alive);
    let holder = &meant.role;
    let mut cost = format!(
        "{holder} is a voter: the others refuse it until it has a new certificate, which counts as \
         a failure (tolerated now: {before})"
    );
    let is_quorum = |alive: &BTreeSet<NodeId>| shortage(voters, alive).is_none();
    let left: BTreeSet<NodeId> = alive.iter().copied().filter(|other| *other != id).collect();
    if is_quorum(&alive) && !is_quorum(&left) {
        if !args.force {
            let name = present.survey.name(id);
            let message = format!(
                "{holder} is a voter, and without it the voters that are left are no majority: \
                 nothing could be decided any more, not even that it counts again"
            );
            let mut report = Report::new(codes::WOULD_LOSE_QUORUM, message);
            for other in &cut_off {
                let other = present.survey.name(*other);
                report = report.help(format!("raftctl cert renew {other}    (it is cut off now)"));
            }
            return Err(report.help("raftctl status").help(format!(
                "--force    (its key was stolen: {name} is to be given another one at once, by \
                 raftctl cert renew {name} --new-key)"
            )));
        }
        cost.push_str("; the voters that are left are no majority, and decide nothing until then");
    }
    if !args.dry_run {
        invocation.confirm(&format!("{cost}. Revoke?"))?;
    }
    // A script has answered before it was asked.
    let is_told = args.dry_run || invocation.global.yes;
    Ok(is_told.then(|| format!("{cost}: raftctl cert renew {}", present.survey.name(id))))
}

/// Returns the voters whose certificates are revoked and that are silent since.
async fn cut_off(client: &Client, target: &Target, present: &Present) -> Result<BTreeSet<NodeId>> {
    let revoked = client.revocations().await?;
    let is_revoked = |id: &NodeId| {
        let holder = format!("node {id}");
        revoked.iter().any(|one| one.holder == holder)
    };
    let voters: BTreeSet<NodeId> =
        present.configuration.voters().iter().filter(is_revoked).collect();
    if voters.is_empty() {
        return Ok(voters);
    }
    let pace = present.survey.leader().map(settled);
    sleep(pace.unwrap_or_default()).await;
    let again = Present::ask_for(client, &target.nodes, "nothing can be revoked: ").await?;
    let Some(leader) = again.survey.leader() else { return Ok(voters) };
    Ok(voters.into_iter().filter(|id| !hears(leader, *id)).collect())
}
