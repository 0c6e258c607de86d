//! Nodes that answer, and that the others look for elsewhere: they have moved, and the
//! configuration in the log does not say so.

use crate::cluster::survey::Survey;

/// Returns a line for each node that answers at another address than the configuration has, while
/// another node that answers finds nobody there: with both addresses, and what that one met.
pub(crate) fn misplaced(survey: &Survey) -> Vec<String> {
    let Some(configuration) = survey.configuration() else {
        return Vec::new();
    };
    let line = |row: &crate::cluster::Row| {
        let (id, status) = (row.id?, row.answer.as_ref().ok()?);
        let member = configuration.member(id).filter(|member| member.address != row.address)?;
        let (by, trouble) = survey.answers().find_map(|other| {
            let peer = other.peers.iter().find(|peer| peer.id == id)?;
            let lost = !peer.connected && !peer.trouble.is_empty() && other.node != status.node;
            lost.then(|| (survey.name(other.node), peer.trouble.clone()))
        })?;
        let (name, here, there) = (&row.name, &row.address, &member.address);
        Some(format!(
            "{name} answers at {here}, and the configuration has it at {there}; {by} does not \
             reach it: {trouble}"
        ))
    };
    survey.rows.iter().filter_map(line).collect()
}

/// Says why nobody leads, if it is for that.
pub(crate) fn reason(survey: &Survey) -> Option<String> {
    let lines = misplaced(survey);
    let count = lines.len();
    let nodes = if count == 1 { "node answers" } else { "nodes answer" };
    (count > 0).then(|| {
        format!(
            "{count} {nodes} elsewhere than the others look: nobody can be elected before they \
             find each other (raft(7), MOVING NODES)"
        )
    })
}
