//! `raftctl member add`: from a name and an address to a voter, in one command that may be run
//! again at any point: id and bundle, waiting, handshake, learner, catching up, joint promotion.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use client::{Client, NodeStatus};
use consensus::{Member, NodeId};
use protocol::BootstrapRecord;
use serde_json::json;
use tokio::time::sleep;

use super::alter::{self, Wording};
use super::args::AddArgs;
use super::authority;
use super::catch_up;
use super::enrol::Attempt;
use super::foreseen;
use super::interrupted::Reached;
use super::known;
use super::record::record;
use super::tokens;
use crate::addresses;
use crate::bundle::{Bundles, KeptToken, Lease, PlannedNode};
use crate::change::{Draft, Present, carry_out};
use crate::codes::{self, Code};
use crate::invocation::Invocation;
use crate::output::progress::Waiting;
use crate::output::{View, units};
use crate::report::{Report, Result};
use crate::signals::Signals;
use crate::target::Target;

/// How often nodes are asked.
const POLL: Duration = Duration::from_millis(50);

/// Adds members.
///
/// # Errors
/// If they do not answer or catch up in time, are not who they should be, or a rule forbids it; if
/// a signal came. Whatever was reached stays and does no harm.
pub(crate) async fn run(invocation: &Invocation, args: &AddArgs) -> Result<()> {
    let mut signals = Signals::catch()?;
    let reached = Cell::new(Reached::Nothing);
    tokio::select! {
        done = steps(invocation, args, &reached) => done,
        stop = signals.stopped() => Err(reached.get().report(stop, args)),
    }
}

/// Does one step after the other, and notes which one is under way.
async fn steps(invocation: &Invocation, args: &AddArgs, reached: &Cell<Reached>) -> Result<()> {
    let began = Instant::now();
    let (target, client) = invocation.client()?;
    let present = Present::settled(&client, &target.nodes, invocation.global.timeout).await?;
    known::check(&client, args, &present, self::leaving(args, &present)?).await?;
    let leaving = leaving(args, &present)?;
    let args = &AddArgs { learner: as_learners(args, &present, leaving), ..args.clone() };
    addresses::check_newcomers(invocation, &present.configuration, &args.nodes, leaving).await?;
    let intended = intended(args, &present, leaving);
    let address = leaving.and_then(|id| Some(&present.configuration.member(id)?.address));
    if let Some(id) = leaving.filter(|_| args.nodes.iter().any(|(_, at)| Some(at) == address)) {
        present.check_without(id)?;
    }
    if args.dry_run {
        let doubts = foreseen::of_newcomers(&client, &present, &args.nodes, leaving).await?;
        client.close().await;
        // Who comes is waited for until it has caught up.
        let allowed = present.check(&intended);
        return alter::show_plan(invocation, &present, &intended, doubts, allowed);
    }
    let is_member = |name: &String| present.find(name).is_ok();
    if !args.nodes.iter().any(|(name, _)| is_member(name)) {
        // What would be refused in the end is refused before anything is prepared. A member that is
        // silent just now is waited for, so that nothing can be said of it yet.
        present.check(&intended)?;
    }
    let bundles = authority::open(invocation, args.dir.as_deref(), &target)?;
    let record = record(&bundles, &present)?;
    let newcomers = reserve(&client, &args.nodes, &present, bundles.highest_id()?).await?;
    let tokens = tokens::or_bundles(invocation, (&bundles, &client), &newcomers, (args, &present));
    let tokens = tokens.await?;
    if args.prepare_only {
        return invocation.output.answer(&prepared(&bundles, &newcomers));
    }
    reached.set(Reached::Prepared);
    let deadline = began + args.wait;
    let (bundles, tokens, record) = (&bundles, &tokens, &record);
    let lease = tokens::lease(&present);
    let joining = Joining { present: &present, bundles, tokens, leaving, record, lease, deadline };
    join(invocation, &client, &newcomers, joining).await?;
    reached.set(Reached::Met);
    let present =
        enlist(invocation, &client, &target, (args, &newcomers), present, deadline).await?;
    reached.set(Reached::Learning);
    if args.learner {
        client.close().await;
        let names: Vec<&str> = newcomers.iter().map(|node| node.name.as_str()).collect();
        let index = units::count(present.index);
        invocation.output.remark(&format!("{}  learner   since index {index}", names.join(" ")));
        return super::list::run(invocation).await;
    }
    let present =
        catch_up::wait(invocation, &client, &target, &newcomers, present, deadline).await?;
    let present = present.until_settled(&client, &target.nodes, invocation.global.timeout).await?;
    let draft = promoted(&present, &newcomers, leaving);
    reached.set(Reached::Ready);
    let names = newcomers.iter().map(|node| node.name.clone()).collect();
    let wording = Wording { names, doing: "promoting", done: "voter", began };
    alter::carry(invocation, &client, &target, present, &draft, &wording).await
}

/// Returns the members with the newcomers as voters, without who leaves.
fn promoted(present: &Present, newcomers: &[PlannedNode], leaving: Option<NodeId>) -> Draft {
    let mut draft = present.draft();
    for node in newcomers {
        draft.learners.remove(&NodeId::from(node.id));
        draft.voters.insert(NodeId::from(node.id));
    }
    if let Some(id) = leaving {
        draft.voters.remove(&id);
        draft.learners.remove(&id);
    }
    draft
}

/// Finds the ids of these nodes: who is a member has one, others get one through the log, that no
/// node ever had. The same name gets the same id, so that this command may be run again. A cluster
/// that was restored does not know of ids that were given behind the backup: they are known here.
async fn reserve(
    client: &Client,
    nodes: &[(String, String)],
    present: &Present,
    highest_known: u64,
) -> Result<Vec<PlannedNode>> {
    let mut planned = Vec::new();
    for (name, address) in nodes {
        let mut members = present.configuration.members().iter();
        let id = match members.find(|(_, member)| member.name == *name) {
            Some((id, _)) => *id,
            None => client.reserve_id(name, highest_known).await?,
        };
        let id = std::num::NonZeroU64::new(id.get()).expect("ids are not 0");
        planned.push(PlannedNode { id, name: name.clone(), address: address.clone() });
    }
    Ok(planned)
}

/// Finds who leaves. Nobody does if that is done: this command was run before.
fn leaving(args: &AddArgs, present: &Present) -> Result<Option<NodeId>> {
    let Some(old) = &args.replace else {
        return Ok(None);
    };
    let votes = |(name, _): &(String, String)| {
        present.find(name).is_ok_and(|id| present.configuration.is_voter(id))
    };
    match present.find(old) {
        Ok(id) => Ok(Some(id)),
        Err(_) if args.nodes.iter().all(votes) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Says whether who comes is to learn: it was asked for, or who leaves does so.
fn as_learners(args: &AddArgs, present: &Present, leaving: Option<NodeId>) -> bool {
    args.learner || leaving.is_some_and(|id| !present.configuration.is_voter(id))
}

/// Returns the members as they are to be in the end.
fn intended(args: &AddArgs, present: &Present, leaving: Option<NodeId>) -> Draft {
    let mut draft = present.draft();
    let highest = present.configuration.members().keys().map(|id| id.get()).max();
    for (offset, (name, address)) in (1..).zip(&args.nodes) {
        let known = present.configuration.members().iter().find(|(_, one)| one.name == *name);
        let id = known.map(|(id, _)| *id);
        let id = id.or_else(|| NodeId::new(highest.unwrap_or(0) + offset));
        let id = id.expect("one more is not 0");
        let (name, address) = (name.clone(), address.clone());
        draft.members.insert(id, Member { incarnation: Default::default(), name, address });
        if args.learner {
            if !draft.voters.contains(&id) {
                draft.learners.insert(id);
            }
        } else {
            draft.voters.insert(id);
            draft.learners.remove(&id);
        }
    }
    if let Some(id) = leaving {
        draft.voters.remove(&id);
        draft.learners.remove(&id);
    }
    draft
}

fn prepared(bundles: &Bundles, newcomers: &[PlannedNode]) -> View {
    let item = |node: &PlannedNode| {
        json!({
            "id": node.id.to_string(), "name": node.name, "address": node.address,
            "bundle": bundles.node_directory(node),
        })
    };
    View {
        kind: "Bundles",
        data: json!({ "nodes": newcomers.iter().map(item).collect::<Vec<_>>() }),
        text: b"put each bundle at /etc/raftd on its machine, start raftd, and run this again\n"
            .to_vec(),
        names: newcomers.iter().map(|node| node.name.clone()).collect(),
        warnings: Vec::new(),
    }
}

/// What newcomers are checked against, and how long they are waited for.
#[derive(Clone, Copy)]
struct Joining<'a> {
    /// The members before anybody comes.
    present: &'a Present,
    bundles: &'a Bundles,
    /// By which hosts may still enrol.
    tokens: &'a BTreeMap<NonZeroU64, KeptToken>,
    leaving: Option<NodeId>,
    record: &'a BootstrapRecord,
    /// What the cluster's leases rest on.
    lease: Option<Lease>,
    deadline: Instant,
}

/// Waits until the nodes answer, checks who they are, and gives them the cluster's history. Where
/// the one that is replaced still answers, it is waited for who comes. Each is asked in its turn:
/// who enrols or starts first is not kept waiting by those that are to come.
async fn join(
    invocation: &Invocation,
    client: &Client,
    newcomers: &[PlannedNode],
    joining: Joining<'_>,
) -> Result<()> {
    let names: Vec<String> = newcomers.iter().map(|node| node.name.clone()).collect();
    let mut waiting = Waiting::new(&invocation.output, &names);
    let mut doubts: Vec<Option<(Code, String)>> = vec![None; newcomers.len()];
    let mut left: Vec<usize> = (0..newcomers.len()).collect();
    loop {
        let mut late = None;
        let mut still = Vec::new();
        for at in left {
            let node = &newcomers[at];
            let why = match meet(invocation, client, node, joining, &mut doubts[at]).await? {
                Met::Joined => {
                    waiting.set(at, "answers", true);
                    continue;
                }
                Met::Enrolled => "enrolled; raftd does not answer yet".to_owned(),
                Met::NotYet(why) => {
                    late.get_or_insert((at, why.clone()));
                    format!("not yet: {why}")
                }
            };
            waiting.set(at, &why, false);
            still.push(at);
        }
        if still.is_empty() {
            waiting.finish();
            return Ok(());
        }
        if let Some((at, why)) = late.filter(|_| Instant::now() + POLL >= joining.deadline) {
            waiting.finish();
            return Err(absent(&newcomers[at], doubts[at].take(), &why, joining));
        }
        waiting.tick(&still);
        sleep(POLL).await;
        left = still;
    }
}

/// What came of asking a newcomer once.
enum Met {
    /// It has the cluster's history.
    Joined,
    /// Its host has its certificate, and is about to start.
    Enrolled,
    NotYet(String),
}

/// Asks a newcomer once. Somebody else who waited there says more than that nobody does now: what
/// was in doubt is kept.
async fn meet(
    invocation: &Invocation,
    client: &Client,
    node: &PlannedNode,
    joining: Joining<'_>,
    doubt: &mut Option<(Code, String)>,
) -> Result<Met> {
    let Joining { bundles, tokens, leaving, record, lease, .. } = joining;
    let error = match client.status_of(&node.address).await {
        Ok(status) if leaving == Some(status.node) => {
            joining.present.check_without(status.node)?;
            let place = in_its_place(node, joining);
            let why = format!("the node that leaves answers there; stop it, {place}");
            return Ok(Met::NotYet(why));
        }
        Ok(status) => {
            check(node, &status, joining)?;
            if status.generation.is_none() {
                let joined = client.join(&node.address, record.clone()).await;
                joined.map_err(Report::from_client)?;
            }
            return Ok(Met::Joined);
        }
        Err(error) => error,
    };
    let silence = crate::cluster::survey::silence(&error).why;
    let (asked, token) = ((bundles, client), tokens.get(&node.id));
    Ok(match tokens::attempt(invocation, asked, token, (node, lease)).await? {
        Attempt::Enrolled => Met::Enrolled,
        Attempt::Nobody => Met::NotYet(silence),
        Attempt::NotYet(code, why) => {
            *doubt = Some((code, why.clone()));
            Met::NotYet(why)
        }
    })
}

/// Says how a machine with another node's directory and credentials becomes this node.
fn in_its_place(node: &PlannedNode, joining: Joining<'_>) -> String {
    match joining.tokens.contains_key(&node.id) {
        true => "empty its data directory, move its ca.crt, node.crt and node.key away, and run \
                 raftd enroll --token-file FILE there"
            .to_owned(),
        false => {
            let bundle = joining.bundles.node_directory(node);
            let bundle = bundle.display();
            format!("empty its data directory, and put what is in {bundle} at /etc/raftd there")
        }
    }
}

fn absent(
    node: &PlannedNode,
    doubt: Option<(Code, String)>,
    why: &str,
    joining: Joining<'_>,
) -> Report {
    let (name, address) = (&node.name, &node.address);
    let (code, why) = doubt.unwrap_or((codes::INIT_WAITED, why.to_owned()));
    let message = format!("{name} does not answer at {address}: {why}");
    Report::new(code, message).help(match joining.tokens.contains_key(&node.id) {
        true => "raftd enroll --token-file FILE there, start raftd, and run this again",
        false => "put its bundle at /etc/raftd there, start raftd, and run this again",
    })
}

fn check(node: &PlannedNode, status: &NodeStatus, joining: Joining<'_>) -> Result<()> {
    let (name, address) = (&node.name, &node.address);
    if status.node != NodeId::from(node.id) {
        // A way to a member, at another address than its own: it is needed where it is.
        if joining.present.configuration.member(status.node).is_some() {
            return Err(foreseen::other(status, name, address));
        }
        let message =
            format!("at {address} node {} answers, not {name} (node {})", status.node, node.id);
        let place = in_its_place(node, joining);
        return Err(Report::new(codes::OTHER_NODE, message)
            .help(format!("stop raftd there, {place}; start raftd, and run this again")));
    }
    match status.generation {
        Some(present) if present != joining.record.generation() => {
            Err(foreseen::of_another_history(name, present))
        }
        Some(_) | None => Ok(()),
    }
}

/// Makes learners of those who are no members yet, also in the place of a learner that leaves.
async fn enlist(
    invocation: &Invocation,
    client: &Client,
    target: &Target,
    (args, newcomers): (&AddArgs, &[PlannedNode]),
    present: Present,
    deadline: Instant,
) -> Result<Present> {
    let nodes = &target.nodes;
    let present = present.renewed(client, nodes).await?;
    let present = present.until_settled(client, nodes, invocation.global.timeout).await?;
    let mut draft = present.draft();
    for node in newcomers {
        let id = NodeId::from(node.id);
        let status = client.status_of(&node.address).await.map_err(Report::from_client)?;
        match draft.members.get(&id) {
            Some(member) => known::is_same(id, member, &status)?,
            None => {
                let (name, address) = (node.name.clone(), node.address.clone());
                let member = Member { incarnation: status.incarnation, name, address };
                draft.members.insert(id, member);
                draft.learners.insert(id);
            }
        }
    }
    if args.learner
        && let Some(id) = leaving(args, &present)?
    {
        // A learner for a learner is one change, and no vote.
        draft.learners.remove(&id);
    }
    if draft == present.draft() {
        return Ok(present);
    }
    let left = deadline.saturating_duration_since(Instant::now());
    let patience = invocation.global.timeout.min(left);
    carry_out(client, &target.nodes, &present, &draft, patience).await
}
