//! `raftctl verify`: do all nodes have the same state, and from which entry on not.
//!
//! Each node keeps a running digest of what applying did: one an entry for the last 65,536, and one
//! every 1,024 entries for four million more. They are compared behind one entry that all have.

use std::collections::BTreeMap;

use clap::Args;
use client::{Cause, Client};
use consensus::LogIndex;
use serde_json::{Value, json};
use state_machine::{SystemAnswer, SystemQuery};

use crate::cluster::reasons::unreachable;
use crate::cluster::{Row, Survey};
use crate::codes;
use crate::exit::Exit;
use crate::invocation::Invocation;
use crate::output::View;
use crate::output::table::Rows;
use crate::report::{Report, Result, told};

/// What `verify` is told.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct VerifyArgs {
    /// Where states differ, looks for the first entry behind which they do
    #[arg(long)]
    bisect: bool,
}

/// A node that answers.
struct Asked {
    name: String,
    address: String,
    first: LogIndex,
    last: LogIndex,
}

/// What a node knows of the digest behind an entry.
struct Known {
    first: LogIndex,
    last: LogIndex,
    digest: Option<u64>,
    stored: Vec<(LogIndex, u64)>,
}

/// Runs the command.
///
/// # Errors
/// If states differ, or not all nodes could be compared.
pub(crate) async fn run(invocation: &Invocation, args: VerifyArgs) -> Result<()> {
    let (target, client) = invocation.client()?;
    let survey = Survey::ask(&client, &target.nodes).await;
    let verified = verify(invocation, &client, &survey, args).await;
    client.close().await;
    verified
}

async fn verify(
    invocation: &Invocation,
    client: &Client,
    survey: &Survey,
    args: VerifyArgs,
) -> Result<()> {
    if survey.answers().next().is_none() {
        return Err(unreachable(survey));
    }
    let (mut nodes, mut silent) = (Vec::new(), Vec::new());
    let members = survey.configuration().map(|configuration| configuration.members());
    // Who was removed has a state of another time, and nobody asks for it.
    let is_member =
        |row: &&Row| row.id.zip(members).is_none_or(|(id, members)| members.contains_key(&id));
    for row in survey.rows.iter().filter(is_member) {
        let known = match &row.answer {
            Ok(status) if status.generation.is_some() => {
                known(client, &row.address, LogIndex::ZERO).await
            }
            Ok(_) => {
                silent.push(left_out(&row.name, "was not compared: it has no history"));
                continue;
            }
            Err(_) => None,
        };
        match known {
            // A state that is still to come is like any other that is: empty.
            Some(Known { last: LogIndex::ZERO, .. }) => {
                silent.push(left_out(&row.name, "was not compared: it has applied nothing yet"));
            }
            Some(Known { first, last, .. }) => {
                let (name, address) = (row.name.clone(), row.address.clone());
                nodes.push(Asked { name, address, first, last });
            }
            None => silent.push(left_out(&row.name, "was not asked: it does not answer")),
        }
    }
    let (Some(behind), true) = (best(&nodes), nodes.len() > 1) else {
        return Err(Report::new(codes::UNREACHABLE, "there are no two nodes to be compared"));
    };
    for node in nodes.extract_if(.., |node| node.last < behind) {
        let why = format!("was not compared: it has applied entry {}, and no more", node.last);
        silent.push(left_out(&node.name, &why));
    }
    let digests = digests(client, &nodes, behind).await?;
    for node in nodes.iter().zip(&digests).filter(|(_, digest)| digest.is_none()).map(|it| it.0) {
        let why = format!("was not compared: it knows nothing before entry {}", node.first);
        silent.push(left_out(&node.name, &why));
    }
    let groups = groups(&digests);
    if groups.values().sum::<usize>() < 2 {
        let message = format!("no two nodes know the state behind entry {behind}; try again");
        return Err(Report::new(codes::UNREACHABLE, message).causes(silent));
    }
    if groups.len() == 1 {
        let all = silent.is_empty();
        let warnings = silent.iter().map(|Cause { endpoint, why }| format!("{endpoint} {why}"));
        let answer = same(&nodes, behind, &digests, warnings.collect());
        let whole = if all { Ok(()) } else { Err(Report::quiet(Exit::Partial)) };
        return told(invocation.output.answer(&answer), whole);
    }
    let begins = if args.bisect { Some(bisect(client, &nodes, behind).await?) } else { None };
    Err(differ(&nodes, behind, &digests, begins).causes(silent))
}

/// Returns the entry behind which most nodes know a digest, the highest of several: one that is far
/// behind keeps nobody from comparing the others.
fn best(nodes: &[Asked]) -> Option<LogIndex> {
    let know = |entry: LogIndex| {
        nodes.iter().filter(|node| node.first <= entry && entry <= node.last).count()
    };
    nodes.iter().map(|node| node.last).max_by_key(|last| (know(*last), *last))
}

/// Says why a node has no part in the comparison.
fn left_out(name: &str, why: &str) -> Cause {
    Cause { endpoint: name.to_owned(), why: why.to_owned() }
}

/// Asks a node; `None` if it does not answer.
async fn known(client: &Client, address: &str, index: LogIndex) -> Option<Known> {
    let query = SystemQuery::Effects { index: index.get() };
    match client.system_of(address, &query).await {
        Ok(SystemAnswer::Effects { first, last, digest, stored }) => {
            Some(Known { first, last, digest, stored })
        }
        Ok(_) | Err(_) => None,
    }
}

/// The digests behind an entry, by place; who does not know it any more has none.
async fn digests(client: &Client, nodes: &[Asked], behind: LogIndex) -> Result<Vec<Option<u64>>> {
    let mut digests = Vec::with_capacity(nodes.len());
    for node in nodes {
        let known = known(client, &node.address, behind).await.ok_or_else(|| {
            Report::new(codes::UNREACHABLE, format!("{} does not answer any more", node.name))
        })?;
        let stored = known.stored.iter().find(|(index, _)| *index == behind);
        digests.push(known.digest.or(stored.map(|(_, digest)| *digest)));
    }
    Ok(digests)
}

/// How many nodes have which digest.
fn groups(digests: &[Option<u64>]) -> BTreeMap<u64, usize> {
    let mut groups = BTreeMap::new();
    for digest in digests.iter().flatten() {
        *groups.entry(*digest).or_default() += 1;
    }
    groups
}

/// Says behind which entry all have the same, if that is known, and behind which they do not: next
/// to each other, if all know a digest of each entry in between.
async fn bisect(
    client: &Client,
    nodes: &[Asked],
    differs: LogIndex,
) -> Result<(Option<LogIndex>, LogIndex)> {
    // Before the first entry all are the same.
    let (mut bounds, mut is_sure) = ((LogIndex::ZERO, differs), true);
    let first = nodes.iter().map(|node| node.first).max().unwrap_or_default();
    // First among those that are stored every so often, then entry by entry.
    for grain in [state_machine::EFFECTS_EVERY, 1] {
        loop {
            let (low, high) = (bounds.0.get() / grain, bounds.1.get().div_ceil(grain));
            if high - low <= 1 {
                break;
            }
            let middle = LogIndex::new((low + (high - low) / 2) * grain);
            // From there on, all know each: a node that was started a moment ago knows few.
            let middle = if grain == 1 && first < bounds.1 { middle.max(first) } else { middle };
            let found = digests(client, nodes, middle).await?;
            if found.iter().any(Option::is_none) {
                // Older than what somebody knows: what is later is looked at.
                if grain == 1 && middle < first {
                    break;
                }
                (bounds.0, is_sure) = (middle, false);
                continue;
            }
            match groups(&found).len() {
                1 => (bounds.0, is_sure) = (middle, true),
                _ => bounds.1 = middle,
            }
        }
    }
    Ok((is_sure.then_some(bounds.0), bounds.1))
}

fn same(nodes: &[Asked], behind: LogIndex, digests: &[Option<u64>], warnings: Vec<String>) -> View {
    let mut rows = Rows::new(&["NODE", "APPLIED", "STATE BEHIND", "DIGEST"]);
    for (node, digest) in nodes.iter().zip(digests) {
        let digest = digest.map_or("-".to_owned(), |digest| format!("{digest:016x}"));
        rows.push(vec![node.name.clone(), node.last.to_string(), behind.to_string(), digest]);
    }
    let text = format!("{}\nthe states are the same behind entry {behind}\n", rows.render(true));
    View {
        kind: "Verified",
        data: json!({ "behind": behind.to_string(), "nodes": described(nodes, digests) }),
        text: text.into_bytes(),
        names: nodes.iter().map(|node| node.name.clone()).collect(),
        warnings,
    }
}

fn described(nodes: &[Asked], digests: &[Option<u64>]) -> Value {
    let one = |(node, digest): (&Asked, &Option<u64>)| {
        json!({
            "name": node.name,
            "applied": node.last.to_string(),
            "digest": digest.map(|digest| format!("{digest:016x}")),
        })
    };
    nodes.iter().zip(digests).map(one).collect()
}

fn differ(
    nodes: &[Asked],
    behind: LogIndex,
    digests: &[Option<u64>],
    begins: Option<(Option<LogIndex>, LogIndex)>,
) -> Report {
    let groups = groups(digests);
    let most = groups.iter().max_by_key(|(_, count)| **count).map(|(digest, _)| *digest);
    let majority = groups.values().any(|count| *count > nodes.len() / 2);
    // Who has no digest was not compared, and is not accused of anything.
    let is_odd = |digest: &Option<u64>| majority && digest.is_some() && *digest != most;
    let odd = nodes.iter().zip(digests).filter(|(_, digest)| is_odd(digest));
    let odd: Vec<&str> = odd.map(|(node, _)| node.name.as_str()).collect();
    let who = match odd.as_slice() {
        [] => "no majority has the same state".to_owned(),
        odd => format!("{} differs from the majority", odd.join(", ")),
    };
    let mut message = format!("the states differ behind entry {behind}: {who}");
    match begins {
        Some((Some(same), differs)) if differs == same.next() => {
            message.push_str(&format!("; entry {differs} is the first that made a difference"));
        }
        Some((Some(same), differs)) => message
            .push_str(&format!("; it began behind entry {same}, at entry {differs} at the latest")),
        Some((None, differs)) => message.push_str(&format!(
            "; it began at entry {differs} or before: nobody knows older digests"
        )),
        None => {}
    }
    let report = Report::new(codes::STATES_DIFFER, message);
    if begins.is_none() { report.help("raftctl verify --bisect") } else { report }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(count: usize) -> Vec<Asked> {
        let node = |number| Asked {
            name: format!("n{number}"),
            address: "h:1".to_owned(),
            first: LogIndex::new(1),
            last: LogIndex::new(9),
        };
        (1..=count).map(node).collect()
    }

    #[test]
    fn who_was_not_compared_is_not_said_to_differ() {
        let said = |digests: &[Option<u64>]| {
            differ(&nodes(digests.len()), LogIndex::new(9), digests, None).message
        };
        let begins = "the states differ behind entry 9: ";
        let odd = format!("{begins}n2 differs from the majority");
        assert_eq!(said(&[Some(1), Some(2), Some(1), Some(1), None]), odd);
        let nobody = format!("{begins}no majority has the same state");
        assert_eq!(said(&[Some(1), Some(2), Some(1), None, None]), nobody, "two of five");
    }

    #[test]
    fn the_odd_one_out_is_named_with_the_entry() {
        let behind = LogIndex::new(9);
        let said = |digests: &[u64], begins: Option<(u64, u64)>| {
            let digests: Vec<Option<u64>> = digests.iter().copied().map(Some).collect();
            let begins =
                begins.map(|(same, other)| (Some(LogIndex::new(same)), LogIndex::new(other)));
            differ(&nodes(digests.len()), behind, &digests, begins).message
        };
        assert_eq!(
            said(&[1, 2, 1], None),
            "the states differ behind entry 9: n2 differs from the majority"
        );
        assert_eq!(
            said(&[1, 2, 1], Some((6, 7))),
            "the states differ behind entry 9: n2 differs from the majority; entry 7 is the first \
             that made a difference"
        );
        assert_eq!(
            said(&[1, 2, 3], Some((0, 1_024))),
            "the states differ behind entry 9: no majority has the same state; it began behind \
             entry 0, at entry 1024 at the latest"
        );
    }
}
