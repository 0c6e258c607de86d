//! Who is named to `member add` and is a member already: the command may go on with it, or can
//! never succeed. That is said before anything is prepared, joined or written.

use client::{Client, NodeStatus};
use consensus::{Member, NodeId};

use super::args::AddArgs;
use crate::change::Present;
use crate::codes;
use crate::report::{Report, Result};

/// Checks those who are named.
///
/// # Errors
/// If a name stands there twice; if a member is to take its own place, has lost its data directory,
/// is elsewhere, or votes and is to learn: with the command that does what is meant.
pub(super) async fn check(
    client: &Client,
    args: &AddArgs,
    present: &Present,
    leaving: Option<NodeId>,
) -> Result<()> {
    distinct(&args.nodes)?;
    for (name, address) in &args.nodes {
        let mut members = present.configuration.members().iter();
        let Some((id, member)) = members.find(|(_, member)| member.name == *name) else {
            continue;
        };
        if leaving == Some(*id) {
            let message = format!("{name} cannot take its own place: who comes is a new node");
            let help = instead(present, args, name, address);
            return Err(Report::new(codes::SAME_MEMBER, message).help(help));
        }
        let known = present.survey.row(*id).and_then(|row| row.answer.as_deref().ok());
        let asked = match known {
            Some(_) => None,
            // Who does not answer is waited for, later.
            None => client.status_of(address).await.ok(),
        };
        if let Some(status) = known.or(asked.as_ref()) {
            is_same(*id, member, status)?;
        }
        is_as_asked(present, args, (*id, member), address)?;
    }
    Ok(())
}

fn distinct(nodes: &[(String, String)]) -> Result<()> {
    for (at, (name, address)) in nodes.iter().enumerate() {
        if let Some((_, other)) = nodes[..at].iter().find(|(before, _)| before == name) {
            let message = format!("{name} is named twice, at {other} and at {address}");
            return Err(Report::new(codes::USAGE, message)
                .help("NAME=HOST:PORT    (each node has a name of its own)"));
        }
    }
    Ok(())
}

/// Checks that nothing is asked of a member that adding does not do.
fn is_as_asked(
    present: &Present,
    args: &AddArgs,
    (id, member): (NodeId, &Member),
    address: &str,
) -> Result<()> {
    let name = &member.name;
    if member.address != address {
        let message = format!("{name} is a member already, node {id} at {}", member.address);
        let update = format!("raftctl member update {name} --address {address}");
        return Err(Report::new(codes::OTHER_PLAN, message)
            .help(format!("{update}    (it has moved)"))
            .help("another name is another node"));
    }
    if args.learner && present.configuration.is_voter(id) {
        let message = format!("{name} is a member already, and votes");
        return Err(Report::new(codes::CHANGE_REFUSED, message)
            .help(format!("raftctl member demote {name}    (a learner from then on)")));
    }
    Ok(())
}

/// Checks that a member has the data directory with which it joined.
///
/// # Errors
/// If it has another one.
pub(super) fn is_same(id: NodeId, member: &Member, status: &NodeStatus) -> Result<()> {
    if status.node != id || status.incarnation == member.incarnation {
        return Ok(());
    }
    let name = &member.name;
    let message = format!(
        "{name} has another data directory than it joined with: it was wiped, replaced, or has \
         forgotten what it promised"
    );
    let report = Report::new(codes::WIPED, message);
    Err(report.help(format!("raftctl member heal {name}")))
}

/// Returns the command that lets a new node take a member's place.
fn instead(present: &Present, args: &AddArgs, name: &str, address: &str) -> String {
    let members = present.configuration.members().values().map(|member| member.name.as_str());
    let taken: Vec<&str> =
        members.chain(args.nodes.iter().map(|(name, _)| name.as_str())).collect();
    let new = free_name(name, &taken);
    let directory = args.dir.as_ref().map(|dir| format!(" --dir {}", dir.display()));
    let directory = directory.unwrap_or_default();
    format!("raftctl member replace {name} {new}={address}{directory}    (any name that is free)")
}

/// Returns a name like this one that nobody has: behind `n1 n2 n3` comes `n4`.
fn free_name(name: &str, taken: &[&str]) -> String {
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let number = |name: &&str| name.strip_prefix(stem)?.parse::<u64>().ok();
    let highest = taken.iter().filter_map(number).max().unwrap_or(1);
    match highest.checked_add(1) {
        Some(next) => format!("{stem}{next}"),
        None => format!("{name}-new"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_free_name_is_like_the_others() {
        for (name, taken, new) in [
            ("n2", &["n1", "n2", "n3"][..], "n4"),
            ("n9", &["n1", "n9", "n10"], "n11"),
            ("db", &["db"], "db2"),
            ("db", &["db", "db2", "x7"], "db3"),
            ("7", &["7"], "8"),
            ("n18446744073709551615", &["n18446744073709551615"], "n18446744073709551615-new"),
        ] {
            assert_eq!(free_name(name, taken), new);
        }
    }
}
