//! The plan of a cluster: who its first voters are, and where. It may be corrected until the
//! cluster is bootstrapped: a mistyped address must not cost the authority and all bundles.

use std::num::NonZeroU64;
use std::path::Path;

use certs::ClusterId;
use serde::{Deserialize, Serialize};

use super::bounded::read_bounded;
use crate::codes;
use crate::context::{self, write_private};
use crate::files::misread;
use crate::report::{Report, Result};

/// The file of the plan.
pub(crate) const PLAN: &str = "cluster.toml";

/// The file of the bootstrap record.
pub(super) const RECORD: &str = "bootstrap.record";

/// The machine that `raftd` replicates.
pub(crate) const KV: &str = "kv";

fn kv() -> String {
    KV.to_owned()
}

/// A node, as the operator named it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PlannedNode {
    /// Its id: its place in the first list.
    pub(crate) id: NonZeroU64,
    /// Its name.
    pub(crate) name: String,
    /// `host:port`.
    pub(crate) address: String,
}

/// What the operator wants; may be corrected until the bootstrap record is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Plan {
    /// The cluster's name for people.
    pub(crate) name: String,
    /// Its id, as in its certificates.
    pub(crate) cluster: String,
    /// What it replicates.
    #[serde(default = "kv")]
    pub(crate) machine: String,
    /// The highest id that a bundle was ever made for, where the plan was corrected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) highest: Option<NonZeroU64>,
    /// Its first voters.
    #[serde(rename = "node")]
    pub(crate) nodes: Vec<PlannedNode>,
}

/// What was changed in a plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Correction {
    /// For people, a line a node.
    pub(super) lines: Vec<String>,
    /// Who is in it no longer.
    pub(super) dropped: Vec<PlannedNode>,
}

/// Returns the command that goes on with a cluster.
pub(crate) fn again(name: &str, directory: &Path) -> String {
    match context::data_directory() {
        Ok(usual) if usual.join(name) == directory => format!("raftctl init {name}"),
        Ok(_) | Err(_) => format!("raftctl init {name} --dir {}", directory.display()),
    }
}

/// Reads the name of the cluster whose directory it is.
///
/// # Errors
/// If there is no plan in it.
pub(super) fn name_in(directory: &Path) -> Result<String> {
    let path = directory.join(PLAN);
    let Some(bytes) = read_bounded(&path)? else {
        let message = format!("{} has no {PLAN}", directory.display());
        return Err(Report::new(codes::NO_CLUSTER, message)
            .help("--dir DIR    (the directory that `raftctl init` made)"));
    };
    let plan: Option<Plan> =
        String::from_utf8(bytes).ok().and_then(|text| toml::from_str(&text).ok());
    let bad = || Report::new(codes::LOCAL_FILE, format!("{}: no plan", path.display()));
    Ok(plan.ok_or_else(bad)?.name)
}

/// Reads the plan, or writes the first one, or one with another list of nodes.
pub(super) fn plan(
    directory: &Path,
    (name, machine): (&str, &str),
    nodes: &[(String, String)],
    cluster: ClusterId,
) -> Result<(Plan, Correction)> {
    let path = directory.join(PLAN);
    let Some(bytes) = read_bounded(&path)? else {
        let planned = |(id, (name, address)): (NonZeroU64, &(String, String))| PlannedNode {
            id,
            name: name.clone(),
            address: address.clone(),
        };
        let nodes = numbers(NonZeroU64::MIN).zip(nodes).map(planned).collect();
        let (name, machine) = (name.to_owned(), machine.to_owned());
        let plan = Plan { name, cluster: cluster.to_string(), machine, highest: None, nodes };
        write(&path, &plan)?;
        return Ok((plan, Correction::default()));
    };
    let bad = |why: String| Report::new(codes::LOCAL_FILE, format!("{}: {why}", path.display()));
    let text = String::from_utf8(bytes).map_err(|error| bad(error.to_string()))?;
    let plan: Plan = toml::from_str(&text).map_err(|error| bad(misread(&text, &error)))?;
    is_its(&plan, name, cluster, directory)?;
    if nodes.is_empty() || list(&plan) == sorted(nodes.to_vec()) {
        return Ok((plan, Correction::default()));
    }
    if directory.join(RECORD).exists() {
        return Err(bootstrapped(&plan, nodes, directory));
    }
    let (corrected, correction) = correct(&plan, nodes);
    write(&path, &corrected)?;
    Ok((corrected, correction))
}

/// Says what a correction would change; nothing if the plan is as wanted, or there is none.
///
/// # Errors
/// If the cluster is bootstrapped: its plan stands.
pub(super) fn preview(directory: &Path, nodes: &[(String, String)]) -> Result<Vec<String>> {
    let text = read_bounded(&directory.join(PLAN))?.and_then(|bytes| String::from_utf8(bytes).ok());
    let Some(plan) = text.and_then(|text| toml::from_str::<Plan>(&text).ok()) else {
        return Ok(Vec::new());
    };
    if nodes.is_empty() || list(&plan) == sorted(nodes.to_vec()) {
        return Ok(Vec::new());
    }
    match directory.join(RECORD).exists() {
        true => Err(bootstrapped(&plan, nodes, directory)),
        false => Ok(correct(&plan, nodes).1.lines),
    }
}

/// Takes another list of nodes. Who keeps the name keeps the id, and so the certificate; who comes
/// gets an id that nobody ever had.
fn correct(plan: &Plan, nodes: &[(String, String)]) -> (Plan, Correction) {
    let mut correction = Correction::default();
    let ids = plan.nodes.iter().map(|node| node.id).chain(plan.highest);
    let highest = ids.max().unwrap_or(NonZeroU64::MIN);
    let mut free = numbers(highest.saturating_add(1));
    let mut planned = Vec::new();
    for (name, address) in nodes {
        let known = plan.nodes.iter().find(|known| known.name == *name);
        match known {
            Some(known) if known.address != *address => {
                correction.lines.push(format!("{name}  {}  ->  {address}", known.address));
            }
            Some(_) => {}
            None => correction.lines.push(format!("{name}  new, at {address}")),
        }
        let id = known.map(|known| known.id).or_else(|| free.next()).unwrap_or(highest);
        planned.push(PlannedNode { id, name: name.clone(), address: address.clone() });
    }
    for known in &plan.nodes {
        if planned.iter().all(|node| node.id != known.id) {
            correction.lines.push(format!("{}  {}  dropped", known.name, known.address));
            correction.dropped.push(known.clone());
        }
    }
    let highest = planned.iter().map(|node| node.id).max().max(Some(highest));
    (Plan { nodes: planned, highest, ..plan.clone() }, correction)
}

fn numbers(first: NonZeroU64) -> impl Iterator<Item = NonZeroU64> {
    std::iter::successors(Some(first), |number| number.checked_add(1))
}

fn write(path: &Path, plan: &Plan) -> Result<()> {
    let text = toml::to_string_pretty(plan)
        .map_err(|error| Report::new(codes::INTERNAL, error.to_string()))?;
    write_private(path, text.as_bytes())
}

/// Refuses to go on with another cluster than was planned.
fn is_its(plan: &Plan, name: &str, cluster: ClusterId, directory: &Path) -> Result<()> {
    let shown = directory.display();
    if plan.name != name {
        let message = format!("{shown} is the directory of cluster \"{}\"", plan.name);
        return Err(Report::new(codes::IN_THE_WAY, message).help("another --dir"));
    }
    if plan.cluster != cluster.to_string() {
        let message = format!("{shown}/ca is the authority of another cluster than the plan's");
        return Err(Report::new(codes::IN_THE_WAY, message));
    }
    Ok(())
}

fn bootstrapped(plan: &Plan, nodes: &[(String, String)], directory: &Path) -> Report {
    let shown = |nodes: &[(String, String)]| {
        nodes.iter().map(|(name, at)| format!("{name}={at}")).collect::<Vec<_>>().join(" ")
    };
    let (planned, wanted) = (list(plan), sorted(nodes.to_vec()));
    let (name, goes_on) = (&plan.name, again(&plan.name, directory));
    let message = format!(
        "cluster \"{name}\" was bootstrapped with other nodes: {}, not {}",
        shown(&planned),
        shown(&wanted)
    );
    let mut report = Report::new(codes::OTHER_PLAN, message)
        .help(format!("{goes_on}    (goes on with the nodes of the first time)"));
    let has_moved = |(name, address): &&(String, String)| {
        planned.iter().any(|(known, at)| known == name && at != address)
    };
    let moved: Vec<_> = wanted.iter().filter(has_moved).collect();
    for (name, address) in &moved {
        let command = format!("raftctl member update {name} --address {address}");
        report = report.help(format!("{command}    (it has moved)"));
    }
    if 2 * moved.len() > planned.len() {
        report = report.help("raftctl explain R0408    (so many have moved that nobody leads)");
    }
    report.help("another name or --dir prepares another cluster")
}

fn list(plan: &Plan) -> Vec<(String, String)> {
    let pair = |node: &PlannedNode| (node.name.clone(), node.address.clone());
    sorted(plan.nodes.iter().map(pair).collect())
}

fn sorted(mut nodes: Vec<(String, String)>) -> Vec<(String, String)> {
    nodes.sort();
    nodes
}
