//! `raftctl member`: who belongs to the cluster.

use serde_json::json;

use crate::cluster::Survey;
use crate::codes;
use crate::output::View;
use crate::output::table::Rows;
use crate::report::{Report, Result};
use crate::target::Session;

pub mod add;
pub mod alter;

/// Lists the members, as the newest configuration that anybody knows names them.
///
/// # Errors
/// If no node answers, or none has a history.
pub async fn list(session: &Session) -> Result<()> {
    let (target, client) = session.client()?;
    let survey = Survey::ask(&client, &target.nodes).await;
    client.close().await;
    let Some(configuration) = survey.configuration() else {
        if survey.answers().next().is_none() {
            let cause = |row: &crate::cluster::Row| {
                let why = row.answer.as_ref().err().map(|silence| silence.why.clone());
                client::Cause { endpoint: row.address.clone(), why: why.unwrap_or_default() }
            };
            let causes = survey.rows.iter().map(cause).collect();
            return Err(Report::new(codes::UNREACHABLE, "no node could be reached").causes(causes));
        }
        return Err(Report::new(codes::UNINITIALISED, "no node that answers has a history")
            .help("raftctl init NAME    (bootstraps the cluster)"));
    };
    let (outgoing, incoming) = configuration.voters().halves();
    let role = |id| match (incoming.contains(id), outgoing.is_some_and(|old| old.contains(id))) {
        (true, true) => "voter",
        (true, false) if outgoing.is_some() => "voter (incoming)",
        (true, false) => "voter",
        (false, true) => "voter (outgoing)",
        (false, false) => "learner",
    };
    let leader = survey.leader().map(|leader| leader.node);
    let mut rows = Rows::new(&["ID", "NAME", "ROLE", "ADDRESS", "INCARNATION", "LEADER"]);
    let mut items = Vec::new();
    let mut names = Vec::new();
    for (id, member) in configuration.members() {
        let leads = leader == Some(*id);
        rows.push(vec![
            id.to_string(),
            member.name.clone(),
            role(*id).to_owned(),
            member.address.clone(),
            member.incarnation.to_string(),
            if leads { "yes" } else { "-" }.to_owned(),
        ]);
        items.push(json!({
            "id": id.to_string(), "name": member.name, "role": role(*id),
            "address": member.address, "incarnation": member.incarnation.to_string(),
            "leader": leads,
        }));
        names.push(member.name.clone());
    }
    let text = rows.render(session.output.headers).into_bytes();
    let data = json!({ "members": items, "joint": configuration.voters().is_joint() });
    let view = View { kind: "MemberList", data, text, names, warnings: Vec::new() };
    session.output.answer(&view)
}
