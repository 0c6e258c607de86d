//! `raftctl member remove|promote|demote|set|update`: one change each, shown before it is made.

use std::time::{Duration, Instant};

use certs::Right;
use client::{Client, Consistency};
use consensus::{Configuration, NodeId};
use serde_json::json;
use state_machine::Tombstone;
use state_machine::text::inert;

use super::{authority, catch_up, foreseen, history};
use crate::addresses;
use crate::change::{Draft, Present, Tolerances, carry_out, step_aside};
use crate::codes;
use crate::invocation::Invocation;
use crate::output::{View, units};
use crate::report::{Report, Result};
use crate::target::Target;

/// What is to be done with members that exist.
#[derive(Clone, Debug)]
pub(crate) enum Alteration {
    /// They leave.
    Remove(Vec<String>),
    /// Learners vote.
    Promote(Vec<String>),
    /// Voters learn.
    Demote(Vec<String>),
    /// Exactly these vote; the other voters learn.
    Set(Vec<String>),
    /// A member has another address.
    Update {
        /// Who.
        member: String,
        /// Where it is reached from now on.
        address: String,
    },
}

/// A change in words, for progress and answer.
#[derive(Clone, Debug)]
pub(crate) struct Wording {
    /// Who it is about.
    pub(crate) names: Vec<String>,
    /// While it is done: `promoting`.
    pub(crate) doing: &'static str,
    /// What they are then: `voter`.
    pub(crate) done: &'static str,
    /// When the command began.
    pub(crate) began: Instant,
}

/// Makes a change.
///
/// # Errors
/// If a member is unknown, a safety rule forbids it, or it is not confirmed.
pub(crate) async fn run(
    invocation: &Invocation,
    alteration: &Alteration,
    dry_run: bool,
) -> Result<()> {
    let began = Instant::now();
    let (target, client) = invocation.client()?;
    let present = Present::settled(&client, &target.nodes, invocation.global.timeout).await?;
    let alteration = &without_removed(&client, &present, alteration).await?;
    let draft = apply(&present, alteration)?;
    addresses::check_change(invocation, &present.configuration, &draft).await?;
    if dry_run {
        let doubts = foreseen::of_moves(&client, &present, &draft).await?;
        client.close().await;
        let allowed = allowed(&target, &present, &draft);
        return show_plan(invocation, &present, &draft, doubts, allowed);
    }
    if matches!(alteration, Alteration::Remove(_)) && draft != present.draft() {
        allowed(&target, &present, &draft)?;
        invocation.output.remark(describe(&present, &draft).trim_end());
        invocation.confirm("Remove? A removed node ends, and its id is never used again.")?;
    }
    let (doing, done) = alteration.words();
    let wording = Wording { names: changed(&present, &draft), doing, done, began };
    carry(invocation, &client, &target, present, &draft, &wording).await
}

/// Leaves out who is to be removed and was: the command has been run before.
async fn without_removed(
    client: &Client,
    present: &Present,
    alteration: &Alteration,
) -> Result<Alteration> {
    let Alteration::Remove(names) = alteration else {
        return Ok(alteration.clone());
    };
    if names.iter().all(|name| present.find(name).is_ok()) {
        return Ok(alteration.clone());
    }
    let removed = history::tombstones(client, Consistency::Linearizable).await?;
    let is_gone = |name: &String| {
        let named = |grave: &Tombstone| grave.name == *name || grave.id.to_string() == *name;
        present.find(name).is_err() && removed.iter().any(named)
    };
    Ok(Alteration::Remove(names.iter().filter(|name| !is_gone(name)).cloned().collect()))
}

impl Alteration {
    fn words(&self) -> (&'static str, &'static str) {
        match self {
            Self::Remove(_) => ("removing", "removed"),
            Self::Promote(_) => ("promoting", "voter"),
            Self::Demote(_) => ("demoting", "learner"),
            Self::Set(_) => ("changing", "changed"),
            Self::Update { .. } => ("updating", "updated"),
        }
    }
}

/// Names those whose role or description changes.
fn changed(present: &Present, draft: &Draft) -> Vec<String> {
    let now = present.draft();
    let all = now.members.keys().chain(draft.members.keys()).copied();
    let all: std::collections::BTreeSet<NodeId> = all.collect();
    let role = |of: &Draft, id: &NodeId| (of.voters.contains(id), of.learners.contains(id));
    let differs = |id: &NodeId| {
        role(&now, id) != role(draft, id) || now.members.get(id) != draft.members.get(id)
    };
    all.into_iter().filter(differs).map(|id| present.names([id], draft)).collect()
}

/// Checks what a change of those who are members is refused for before the leader is asked.
///
/// # Errors
/// If there would be no quorum, somebody is to vote who has not caught up, or this certificate may
/// not change members: what the leader would say when all is announced.
fn allowed(target: &Target, present: &Present, draft: &Draft) -> Result<()> {
    present.check(draft)?;
    catch_up::check(present, draft)?;
    let (role, right) = (&target.credentials.identity().role, Right::Reconfigure);
    if role.may(right) {
        return Ok(());
    }
    let message = format!("the certificate of {role} does not allow to {}", right.action());
    Err(Report::new(codes::UNAUTHORISED, message))
}

/// Shows what would be done, and what may keep it from being done; the plan stands on stdout also
/// if it would be refused.
///
/// # Errors
/// If it would be refused.
pub(crate) fn show_plan(
    invocation: &Invocation,
    present: &Present,
    draft: &Draft,
    doubts: Vec<String>,
    allowed: Result<()>,
) -> Result<()> {
    let mut view = view("Plan", present, draft, &changed(present, draft));
    view.warnings = doubts;
    view.text = inert(&describe(present, draft)).into_owned().into_bytes();
    view.data["refused"] = json!(allowed.as_ref().err().map(|report| report.message.clone()));
    invocation.output.answer(&view)?;
    allowed
}

/// Carries a change out and answers with what is then.
///
/// # Errors
/// If it is refused, or it is not known how it ended.
pub(crate) async fn carry(
    invocation: &Invocation,
    client: &Client,
    target: &Target,
    present: Present,
    draft: &Draft,
    wording: &Wording,
) -> Result<()> {
    let names = wording.names.join(" ");
    let say = |line: String| invocation.output.remark(&line);
    if *draft == present.draft() {
        client.close().await;
        let mut view = view("MemberChange", &present, draft, &[]);
        view.text = b"nothing to change: the members are so already\n".to_vec();
        return invocation.output.answer(&view);
    }
    allowed(target, &present, draft)?;
    let tolerated = present.tolerances(draft);
    let before = present.clone();
    if let Some(to) = present.successor(draft) {
        say(format!("{}  is about to lead, in place of who goes", present.survey.name(to)));
    }
    let patience = invocation.global.timeout;
    let present = step_aside(client, &target.nodes, present, draft, patience).await?;
    if let Some([(old, there), (new, then)]) = present.halves(draft) {
        let doing = wording.doing;
        say(format!("{names}  {doing} joint {old} + {new}   old {there}  new {then}"));
    }
    let done = carry_out(client, &target.nodes, &present, draft, patience).await?;
    client.close().await;
    invocation.follow(target, &done.configuration).await;
    part_with(invocation, target, &before, &done.configuration).await;
    let voters = present.names(draft.voters.iter().copied(), draft);
    let (index, age) = (units::count(done.index), units::age(millis(wording.began.elapsed())));
    let mut view = view("MemberChange", &before, draft, &wording.names);
    view.data["configurationIndex"] = json!(done.index.to_string());
    view.data["tookMs"] = json!(millis(wording.began.elapsed()));
    let text = format!(
        "{names}  {}   committed at index {index} in {age}.   Voters: {voters}.   Tolerates {} \
         (was {}).\n",
        wording.done,
        failures(tolerated.after),
        tolerated.before
    );
    view.text = inert(&text).into_owned().into_bytes();
    invocation.output.answer(&view)
}

/// Keeps in mind who was removed, where the directory with the authority is: it signs nothing for
/// them any more. The change is made, so that a directory that cannot be written is no failure.
async fn part_with(
    invocation: &Invocation,
    target: &Target,
    before: &Present,
    configuration: &Configuration,
) {
    let gone = before.configuration.members().keys().copied();
    let gone: Vec<NodeId> = gone.filter(|id| configuration.member(*id).is_none()).collect();
    if gone.is_empty() {
        return;
    }
    let Ok(bundles) = authority::look(invocation, None, target) else { return };
    let noted = match bundles.lock_certificates().await {
        Ok(_lock) => bundles.part_with(gone, configuration),
        Err(report) => Err(report),
    };
    if let Err(report) = noted {
        let why = report.message;
        invocation.output.remark(&format!("warning: not noted who was removed: {why}"));
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn failures(count: usize) -> String {
    format!("{count} {}", if count == 1 { "failure" } else { "failures" })
}

fn apply(present: &Present, alteration: &Alteration) -> Result<Draft> {
    let mut draft = present.draft();
    let find = |names: &[String]| -> Result<Vec<NodeId>> {
        names.iter().map(|name| present.find(name)).collect()
    };
    match alteration {
        Alteration::Remove(names) => {
            for id in find(names)? {
                draft.voters.remove(&id);
                draft.learners.remove(&id);
            }
        }
        Alteration::Promote(names) => {
            for id in find(names)? {
                draft.learners.remove(&id);
                draft.voters.insert(id);
            }
        }
        Alteration::Demote(names) => {
            for id in find(names)? {
                draft.voters.remove(&id);
                draft.learners.insert(id);
            }
        }
        Alteration::Set(names) => {
            let wanted = find(names)?;
            draft.learners.extend(draft.voters.iter().copied());
            draft.voters = wanted.into_iter().collect();
            draft.learners.retain(|id| !draft.voters.contains(id));
        }
        Alteration::Update { member, address } => {
            let id = present.find(member)?;
            if let Some(member) = draft.members.get_mut(&id) {
                member.address.clone_from(address);
            }
        }
    }
    Ok(draft)
}

/// Says what will be, and what is tolerated before, during and after.
fn describe(present: &Present, draft: &Draft) -> String {
    let (_, now) = present.configuration.voters().halves();
    let old = present.names(now.iter(), draft);
    let new = present.names(draft.voters.iter().copied(), draft);
    let mut text = format!("voters     {old}  ->  {new}\n");
    for (id, now, then) in present.moved(draft) {
        text.push_str(&format!("address    {}  {now}  ->  {then}\n", present.survey.name(id)));
    }
    if let Some([(old, there), (new, then)]) = present.halves(draft) {
        text.push_str(&format!("joint      {old} + {new}   old {there}  new {then}\n"));
    }
    if !draft.learners.is_empty() {
        let learners = present.names(draft.learners.iter().copied(), draft);
        text.push_str(&format!("learners   {learners}\n"));
    }
    if let Some(to) = present.successor(draft) {
        text.push_str(&format!("leader     {} takes over first\n", present.survey.name(to)));
    }
    let Tolerances { before, during, after } = present.tolerances(draft);
    text.push_str(&format!(
        "tolerates  {} before, {during} during, {after} after\n",
        failures(before)
    ));
    text
}

/// The answer for programs; what it says to people is put in by the caller.
fn view(kind: &'static str, present: &Present, draft: &Draft, names: &[String]) -> View {
    let Tolerances { before, during, after } = present.tolerances(draft);
    let ids = |ids: &std::collections::BTreeSet<NodeId>| {
        ids.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let data = json!({
        "configurationIndex": present.index.to_string(),
        "changed": names,
        "joint": present.halves(draft).is_some(),
        "voters": ids(&draft.voters),
        "learners": ids(&draft.learners),
        "tolerates": { "before": before, "during": during, "after": after },
    });
    View { kind, data, names: names.to_vec(), ..View::default() }
}
