//! `raftctl member heal`: a member whose data directory was wiped, or has forgotten what it
//! promised, comes back through the log. May be run again at any point, whoever leads; the leader
//! does the same by itself, so each step may be found done.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use client::{Client, NodeStatus};
use consensus::{Incarnation, NodeId};
use tokio::time::sleep;

use super::alter::show_plan;
use super::authority::open;
use super::foreseen::of_another_history;
use super::record::record;
use super::{catch_up, list};
use crate::bundle::PlannedNode;
use crate::change::{Draft, Present, carry_out};
use crate::cluster::survey::silence;
use crate::codes;
use crate::invocation::Invocation;
use crate::output::units;
use crate::report::{Report, Result};
use crate::target::Target;
use crate::values::duration;

/// How often the nodes are asked.
const POLL: Duration = Duration::from_millis(200);

/// What `heal` is told.
#[derive(Clone, Debug, Args)]
pub(crate) struct HealArgs {
    /// Name or id
    #[arg(value_name = "MEMBER")]
    member: String,

    /// The directory that `init` made, with the authority [default: beside the context's key]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,

    /// How long the node may take to answer and to catch up
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = duration)]
    wait: Duration,

    /// Shows what would be done first, and what the cluster would tolerate meanwhile
    #[arg(long)]
    dry_run: bool,
}

/// What is to be done next.
enum Next {
    /// A change of members, and what it is called.
    Change(&'static str, Draft),
    /// It learns under its new name, and is to vote.
    Promote,
    /// Nothing.
    Done,
}

/// Brings a member back.
///
/// # Errors
/// If it does not answer or catch up in time, another node answers in its place, or a rule forbids
/// it. Whatever was reached stays and does no harm.
pub(crate) async fn run(invocation: &Invocation, args: &HealArgs) -> Result<()> {
    let began = Instant::now();
    let deadline = began + args.wait;
    let (target, client) = invocation.client()?;
    let patience = invocation.global.timeout;
    let mut present = Present::settled(&client, &target.nodes, patience).await?;
    let id = present.find(&args.member)?;
    if args.dry_run {
        let (status, _) = ask(&client, &present, id).await?;
        client.close().await;
        let draft = next(&present, id, status.incarnation).draft(&present, id);
        // It is waited for until it has caught up.
        let allowed = present.check(&draft);
        return show_plan(invocation, &present, &draft, Vec::new(), allowed);
    }
    let name = present.survey.name(id);
    let mut last: Option<Report> = None;
    loop {
        if Instant::now() >= deadline {
            return Err(late(&name, args.wait, last));
        }
        let step = step(invocation, args, (&client, &target), &present, id, deadline).await;
        match step {
            Ok(true) => break,
            Ok(false) => last = None,
            Err(error) if is_final(&error) => return Err(error),
            // The leader may just do the same by itself.
            Err(error) => last = Some(error),
        }
        sleep(POLL).await;
        match Present::settled(&client, &target.nodes, patience).await {
            Ok(now) => present = now,
            Err(error) => last = Some(error),
        }
    }
    client.close().await;
    let age = units::age(u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX));
    invocation.output.remark(&format!("{name}  healed   in {age}"));
    list::run(invocation).await
}

/// Does what is to be done next; says whether nothing was left.
async fn step(
    invocation: &Invocation,
    args: &HealArgs,
    (client, target): (&Client, &Target),
    present: &Present,
    id: NodeId,
    deadline: Instant,
) -> Result<bool> {
    let name = present.survey.name(id);
    let status = meet(invocation, args, (client, target), present, id).await?;
    let patience = invocation.global.timeout;
    match next(present, id, status.incarnation) {
        Next::Done => Ok(true),
        Next::Change(doing, draft) => {
            present.check(&draft)?;
            let done = carry_out(client, &target.nodes, present, &draft, patience).await?;
            let index = units::count(done.index);
            invocation.output.remark(&format!("{name}  {doing}   at index {index}"));
            Ok(false)
        }
        Next::Promote => {
            let address = present.configuration.member(id).map(|member| member.address.clone());
            let address = address.unwrap_or_default();
            let planned = std::num::NonZeroU64::new(id.get()).expect("ids are not 0");
            let learner = [PlannedNode { id: planned, name: name.clone(), address }];
            let present = present.clone();
            let present =
                catch_up::wait(invocation, client, target, &learner, present, deadline).await?;
            let present = present.until_settled(client, &target.nodes, patience).await?;
            let draft = Next::Promote.draft(&present, id);
            if draft != present.draft() {
                let done = carry_out(client, &target.nodes, &present, &draft, patience).await?;
                let index = units::count(done.index);
                invocation.output.remark(&format!("{name}  voter   at index {index}"));
            }
            Ok(true)
        }
    }
}

impl Next {
    /// Returns what the members are to be then.
    fn draft(self, present: &Present, id: NodeId) -> Draft {
        let mut draft = present.draft();
        match self {
            Self::Change(_, draft) => return draft,
            Self::Promote => {
                draft.learners.remove(&id);
                draft.returning.remove(&id);
                draft.voters.insert(id);
            }
            Self::Done => {}
        }
        draft
    }
}

/// Asks the node who it is, and gives it the cluster's history if it has none.
async fn meet(
    invocation: &Invocation,
    args: &HealArgs,
    (client, target): (&Client, &Target),
    present: &Present,
    id: NodeId,
) -> Result<NodeStatus> {
    let (status, address) = ask(client, present, id).await?;
    if status.generation.is_none() {
        let record = record(&open(invocation, args.dir.as_deref(), target)?, present)?;
        client.join(&address, record).await.map_err(Report::from_client)?;
    }
    Ok(status)
}

/// Asks the node who it is, and where; it may have no history, but not another one.
async fn ask(client: &Client, present: &Present, id: NodeId) -> Result<(NodeStatus, String)> {
    let Some(member) = present.configuration.member(id) else {
        return Err(Report::new(codes::NO_NODE, format!("node {id} is no member any more")));
    };
    let (name, address) = (&member.name, &member.address);
    let status = client.status_of(address).await.map_err(|error| {
        let why = silence(&error).why;
        Report::new(codes::INIT_WAITED, format!("{name} does not answer at {address}: {why}"))
    })?;
    if status.node != id {
        let message = format!("at {address} node {} answers, not {name}", status.node);
        return Err(Report::new(codes::OTHER_NODE, message));
    }
    let ours = present.survey.leader().and_then(|leader| leader.generation);
    if let Some(theirs) = status.generation.filter(|theirs| Some(*theirs) != ours) {
        return Err(of_another_history(name, theirs));
    }
    Ok((status, address.clone()))
}

/// Says what is to be done next with a member that has this directory now.
fn next(present: &Present, id: NodeId, found: Incarnation) -> Next {
    let recorded = present.configuration.member(id).map(|member| member.incarnation);
    let votes = present.configuration.is_voter(id);
    let mut draft = present.draft();
    match (recorded == Some(found), votes) {
        (true, true) => Next::Done,
        (true, false) if present.configuration.returning().contains(&id) => Next::Promote,
        (true, false) => Next::Done,
        (false, true) => {
            draft.voters.remove(&id);
            draft.learners.insert(id);
            draft.returning.insert(id);
            Next::Change("learner", draft)
        }
        (false, false) => {
            if let Some(member) = draft.members.get_mut(&id) {
                member.incarnation = found;
            }
            Next::Change("recorded with its new directory", draft)
        }
    }
}

/// Says whether waiting helps nothing.
fn is_final(error: &Report) -> bool {
    [
        codes::OTHER_NODE,
        codes::OTHER_GENERATION,
        codes::NO_NODE,
        codes::NO_CLUSTER,
        codes::NO_RECORD,
        codes::OTHER_RECORD,
        codes::IN_THE_WAY,
        codes::NO_FILE,
        codes::WOULD_LOSE_QUORUM,
        codes::UNAUTHORISED,
    ]
    .iter()
    .any(|code| error.code == Some(*code))
}

fn late(name: &str, wait: Duration, last: Option<Report>) -> Report {
    let why = last.map_or_else(|| "it catches up".to_owned(), |report| report.message);
    let message = format!("{name} is not back after {wait:?}: {why}");
    Report::new(codes::HEAL_WAITS, message).help("raftctl status")
}
