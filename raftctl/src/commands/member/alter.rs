//! `raftctl member remove|promote|demote|set|update`: one change each, shown before it is made.

use client::Client;
use consensus::NodeId;
use serde_json::json;

use crate::change::{Draft, Present, carry_out};
use crate::codes;
use crate::output::View;
use crate::report::{Report, Result};
use crate::target::{Session, Target};

/// What is to be done with members that exist.
#[derive(Clone, Debug)]
pub enum Alteration {
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

/// Makes a change.
///
/// # Errors
/// If a member is unknown, a safety rule forbids it, or it is not confirmed.
pub async fn run(session: &Session, alteration: &Alteration, dry_run: bool) -> Result<()> {
    let (target, client) = session.client()?;
    let present = Present::ask(&client, &target.nodes).await?;
    let draft = apply(&present, alteration)?;
    // What makes no configuration is refused before anybody is asked.
    draft.configuration()?;
    let plan = describe(&present, &draft);
    if dry_run {
        client.close().await;
        return session.output.answer(&view("Plan", &present, &draft, &plan));
    }
    session.output.remark(&plan);
    if matches!(alteration, Alteration::Remove(_)) {
        session.confirm("Remove? A removed node ends, and its id is never used again.")?;
    }
    finish(session, &client, &target, &present, &draft).await
}

/// Carries a change out and answers with what is then.
///
/// # Errors
/// As [`carry_out`].
pub async fn finish(
    session: &Session,
    client: &Client,
    target: &Target,
    present: &Present,
    draft: &Draft,
) -> Result<()> {
    let done = carry_out(client, &target.nodes, present, draft, session.global.timeout).await?;
    client.close().await;
    let (before, _, after) = present.tolerances(draft);
    let voters = present.names(draft.voters.iter().copied(), draft);
    let noun = if after == 1 { "failure" } else { "failures" };
    let text = format!(
        "committed at index {}.   Voters: {voters}.   Tolerates {after} {noun} (was {before}).\n",
        done.index
    );
    session.output.answer(&view("MemberChange", &done, draft, &text))
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
    if draft == present.draft() {
        let message = "nothing would change: the members are so already";
        return Err(Report::new(codes::REFUSED, message).help("raftctl member list"));
    }
    Ok(draft)
}

/// Says what will be, and what is tolerated before, during and after.
pub fn describe(present: &Present, draft: &Draft) -> String {
    let (before, during, after) = present.tolerances(draft);
    let (_, now) = present.configuration.voters().halves();
    let old = present.names(now.iter(), draft);
    let new = present.names(draft.voters.iter().copied(), draft);
    let mut text = format!("voters    {old}  ->  {new}\n");
    if !draft.learners.is_empty() {
        let learners = present.names(draft.learners.iter().copied(), draft);
        text.push_str(&format!("learners  {learners}\n"));
    }
    text.push_str(&format!("tolerates {before} failures before, {during} during, {after} after\n"));
    text
}

fn view(kind: &'static str, present: &Present, draft: &Draft, text: &str) -> View {
    let (before, during, after) = present.tolerances(draft);
    let ids = |ids: &std::collections::BTreeSet<NodeId>| {
        ids.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let data = json!({
        "configurationIndex": present.index.to_string(),
        "voters": ids(&draft.voters),
        "learners": ids(&draft.learners),
        "tolerates": { "before": before, "during": during, "after": after },
    });
    let names = draft.members.values().map(|member| member.name.clone()).collect();
    View { kind, data, text: text.as_bytes().to_vec(), names, warnings: Vec::new() }
}
