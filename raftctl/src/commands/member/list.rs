//! `raftctl member list`: the members, and what each is.

use consensus::{Configuration, NodeId};
use serde_json::json;

use crate::cluster::Survey;
use crate::cluster::reasons::unreachable;
use crate::codes;
use crate::invocation::Invocation;
use crate::look::look;
use crate::output::table::Rows;
use crate::output::{View, units};
use crate::report::{Report, Result};

/// Lists the members, as the newest configuration that anybody knows names them.
///
/// # Errors
/// If no node answers, or none has a history.
pub(crate) async fn run(invocation: &Invocation) -> Result<()> {
    let (target, client) = invocation.client()?;
    let survey = look(&client, &target.nodes).await;
    client.close().await;
    let configuration = configuration(&survey)?;
    let role = |id| role(configuration, id);
    let leader = survey.leading();
    let mut rows = Rows::new(&["ID", "NAME", "ROLE", "ADDRESS", "INCARNATION", "LEADER"]);
    let mut items = Vec::new();
    let mut names = Vec::new();
    for (id, member) in configuration.members() {
        let leads = leader == Some(*id);
        rows.push(vec![
            id.to_string(),
            units::name(member.name.as_bytes()),
            role(*id).to_owned(),
            units::name(member.address.as_bytes()),
            member.incarnation.to_string(),
            if leads { "yes" } else { "-" }.to_owned(),
        ]);
        items.push(json!({
            "id": id.to_string(), "name": member.name, "role": role(*id),
            "address": member.address, "incarnation": member.incarnation.to_string(),
            "leader": leads,
        }));
        names.push(units::name(member.name.as_bytes()));
    }
    let text = rows.render(invocation.output.headers).into_bytes();
    let data = json!({ "members": items, "joint": configuration.voters().is_joint() });
    let warnings = unsure(&survey).into_iter().collect();
    let view = View { kind: "MemberList", data, text, names, warnings };
    invocation.output.answer(&view)
}

/// Says that the members may be others by now, where nobody leads who would know.
pub(super) fn unsure(survey: &Survey) -> Option<String> {
    let warning = "nobody leads, as far as is known here: these are the members as one node knows \
                   them, and others may have been decided";
    survey.leading().is_none().then(|| warning.to_owned())
}

/// Returns the newest configuration that anybody who answers knows.
pub(crate) fn configuration(survey: &Survey) -> Result<&Configuration> {
    if let Some(configuration) = survey.configuration() {
        return Ok(configuration);
    }
    if survey.answers().next().is_none() {
        return Err(unreachable(survey));
    }
    Err(Report::new(codes::UNINITIALISED, "no node that answers has a history")
        .help("raftctl init NAME    (bootstraps a cluster that is new)")
        .help("raftctl member replace OLD NEW=HOST:PORT    (for a member that lost its data)"))
}

/// Says what a member is, also during a change.
pub(crate) fn role(configuration: &Configuration, id: NodeId) -> &'static str {
    let (outgoing, incoming) = configuration.voters().halves();
    match (incoming.contains(id), outgoing.is_some_and(|old| old.contains(id))) {
        (true, true) => "voter",
        (true, false) if outgoing.is_some() => "voter (incoming)",
        (true, false) => "voter",
        (false, true) => "voter (outgoing)",
        (false, false) if configuration.returning().contains(&id) => "learner (returning)",
        (false, false) => "learner",
    }
}
