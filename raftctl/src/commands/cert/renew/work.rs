//! What `cert renew` is told, and what becomes of it.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::bundle::holdings::{Holding, Prepared, Whose};
use crate::bundle::{Bundles, PlannedNode};
use crate::commands::cert::lifetime::Lifetime;
use crate::commands::cert::wire::Visit;

/// What `cert renew` is told.
#[derive(Clone, Debug, Args)]
pub(crate) struct RenewArgs {
    /// Names or ids of nodes, `operator`, or files with certificates of this authority
    #[arg(value_name = "NAME|FILE")]
    pub(crate) names: Vec<String>,

    /// The operator's certificate and those of all nodes that have a bundle here
    #[arg(long, conflicts_with = "names")]
    pub(crate) all: bool,

    /// First the authority's own certificate, for ten years, with the key and name that it has: all
    /// that it has signed stays valid
    #[arg(long)]
    pub(crate) authority: bool,

    #[command(flatten)]
    pub(super) lifetime: Lifetime,

    /// Makes new private keys for the files here, too. Nodes that answer always make a new one
    #[arg(long)]
    pub(crate) new_key: bool,

    /// Asks no node: renews the files here, which have to be carried to the machines
    #[arg(long)]
    pub(crate) offline: bool,

    /// Does it again and again, as often as this: for short lifetimes
    #[arg(long, value_name = "DURATION", value_parser = crate::values::duration)]
    pub(crate) every: Option<Duration>,

    /// The directory that `init` made, with the authority [default: beside the context's key]
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,

    /// Says what would be renewed, and writes nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// What is renewed, and what should be known of it.
#[derive(Default)]
pub(super) struct Work {
    /// What is signed.
    pub(super) renewed: Vec<Prepared>,
    /// Nodes that get nothing but a copy of the authority's certificate.
    pub(super) copies: Vec<PlannedNode>,
    /// The windows of the authority's own certificate, before and after.
    pub(super) authority: Option<(certs::Validity, certs::Validity)>,
    /// Members that have no bundle here.
    pub(super) elsewhere: Vec<String>,
    /// What came of the nodes that were asked.
    pub(super) visits: Vec<Visit>,
    /// What people are told.
    pub(super) notes: Vec<String>,
}

impl Work {
    /// Says whether a node has its new certificate already.
    pub(super) fn has_it(&self, node: &PlannedNode) -> bool {
        self.visits.iter().any(|visit| visit.id == node.id && visit.result.is_ok())
    }

    /// Leaves out who was removed, as it turned out: nothing is to be carried to their machines.
    pub(super) fn part_with(&mut self, removed: &BTreeSet<NonZeroU64>) {
        let is_gone = |holding: &Holding| match &holding.whose {
            Whose::Node(node) => removed.contains(&node.id),
            Whose::Authority | Whose::Operator | Whose::File => false,
        };
        let gone = self.renewed.iter().filter(|prepared| is_gone(&prepared.holding));
        let note = |prepared: &Prepared| {
            format!("{}: was removed; its certificate is renewed no more", prepared.holding.name)
        };
        self.notes.extend(gone.map(note));
        self.renewed.retain(|prepared| !is_gone(&prepared.holding));
        self.copies.retain(|node| !removed.contains(&node.id));
    }

    /// Leaves out whose certificates were revoked: nobody is let in again who is not named.
    pub(super) fn leave_out(&mut self, revoked: &BTreeMap<NonZeroU64, String>) {
        let note = |name: &String| {
            format!(
                "{name}: not renewed, its certificates were revoked; raftctl cert renew {name} \
                 lets it in again"
            )
        };
        self.notes.extend(revoked.values().map(note));
        self.renewed.retain(|prepared| match &prepared.holding.whose {
            Whose::Node(node) => !revoked.contains_key(&node.id),
            Whose::Authority | Whose::Operator | Whose::File => true,
        });
    }

    /// Says whether a node that was asked has not got its new certificate, and does not find it
    /// where it reads its files either.
    pub(super) fn is_missed(&self, bundles: &Bundles) -> bool {
        let is_local = |visit: &Visit| {
            let mut nodes = self.renewed.iter().filter_map(|done| match &done.holding.whose {
                Whose::Node(node) => Some(node),
                Whose::Authority | Whose::Operator | Whose::File => None,
            });
            let node = nodes.find(|node| node.id == visit.id);
            node.is_some_and(|node| bundles.local_settings(node).data_dir.is_some())
        };
        self.visits.iter().any(|visit| visit.result.is_err() && !is_local(visit))
    }
}
