//! `raftctl member history`: who belonged to the cluster from when on, and who was removed.

use std::collections::BTreeSet;

use client::{Client, Consistency};
use consensus::{Configuration, NodeId};
use serde_json::{Value, json};
use state_machine::{ConfigurationRecord, SystemAnswer, SystemQuery, Tombstone};

use crate::codes;
use crate::invocation::Invocation;
use crate::look::look;
use crate::output::table::Rows;
use crate::output::{View, units};
use crate::report::{Report, Result};

/// Runs the command.
///
/// # Errors
/// If no node answers.
pub(crate) async fn run(invocation: &Invocation) -> Result<()> {
    let (target, client) = invocation.client()?;
    let survey = look(&client, &target.nodes).await;
    // Without a leader, a node that answers tells what it knows.
    let (how, warnings) = match survey.leader() {
        Some(_) => (Consistency::Linearizable, Vec::new()),
        None => {
            let warning = "nobody leads: this is what one node has applied, newer may exist";
            (Consistency::Stale, vec![warning.to_owned()])
        }
    };
    let SystemAnswer::History(records) = client.system(&SystemQuery::History, how).await? else {
        return Err(unexpected());
    };
    let removed = tombstones(&client, how).await?;
    client.close().await;
    let mut rows = Rows::new(&["INDEX", "TERM", "VOTERS", "LEARNERS", "CHANGE"]);
    for (record, change) in records.iter().zip(changes(&records)) {
        let configuration = &record.configuration;
        rows.push(vec![
            record.id.index.to_string(),
            record.id.term.to_string(),
            voters(configuration),
            or_none(names(configuration, configuration.learners().iter().copied())),
            or_none(change),
        ]);
    }
    let mut text = rows.render(invocation.output.headers);
    if !removed.is_empty() {
        text.push('\n');
        text.push_str(&graves(&removed).render(invocation.output.headers));
    }
    invocation.output.answer(&View {
        kind: "MemberHistory",
        data: data(&records, &removed),
        text: text.into_bytes(),
        names: records.iter().map(|record| record.id.index.to_string()).collect(),
        warnings,
    })
}

/// Asks who was removed.
///
/// # Errors
/// If nobody answers.
pub(crate) async fn tombstones(client: &Client, how: Consistency) -> Result<Vec<Tombstone>> {
    match client.system(&SystemQuery::Tombstones, how).await? {
        SystemAnswer::Tombstones(removed) => Ok(removed),
        SystemAnswer::Sessions { .. }
        | SystemAnswer::Session { .. }
        | SystemAnswer::History(_)
        | SystemAnswer::Reservations(_)
        | SystemAnswer::Effects { .. }
        | SystemAnswer::Alarms { .. }
        | SystemAnswer::Revocations { .. }
        | SystemAnswer::Refused { .. } => Err(unexpected()),
    }
}

fn unexpected() -> Report {
    Report::new(codes::UNEXPECTED, "a node answered something else than its history")
}

fn data(records: &[ConfigurationRecord], removed: &[Tombstone]) -> Value {
    let ids = |ids: BTreeSet<NodeId>| ids.iter().map(ToString::to_string).collect::<Vec<_>>();
    let configuration = |(record, change): (&ConfigurationRecord, String)| {
        let configuration = &record.configuration;
        let (outgoing, incoming) = configuration.voters().halves();
        let members = configuration.members().iter().map(|(id, member)| {
            json!({ "id": id.to_string(), "name": member.name, "address": member.address })
        });
        json!({
            "index": record.id.index.to_string(),
            "term": record.id.term.to_string(),
            "clusterTimeNs": record.time.get().to_string(),
            "joint": outgoing.is_some(),
            "voters": ids(incoming.iter().collect()),
            "outgoingVoters": outgoing.map(|half| ids(half.iter().collect())),
            "learners": ids(configuration.learners().clone()),
            "members": members.collect::<Vec<_>>(),
            "change": change,
        })
    };
    let grave = |grave: &Tombstone| {
        json!({
            "id": grave.id.to_string(),
            "name": grave.name,
            "index": grave.index.to_string(),
            "clusterTimeNs": grave.time.get().to_string(),
            "incarnation": grave.incarnation.to_string(),
        })
    };
    json!({
        "configurations":
            records.iter().zip(changes(records)).map(configuration).collect::<Vec<_>>(),
        "removed": removed.iter().map(grave).collect::<Vec<_>>(),
    })
}

fn graves(removed: &[Tombstone]) -> Rows {
    let mut rows = Rows::new(&["REMOVED", "ID", "INDEX"]);
    for grave in removed {
        let name = units::name(grave.name.as_bytes());
        rows.push(vec![name, grave.id.to_string(), grave.index.to_string()]);
    }
    rows
}

fn or_none(text: String) -> String {
    if text.is_empty() { "-".to_owned() } else { text }
}

fn names(configuration: &Configuration, ids: impl Iterator<Item = NodeId>) -> String {
    let name = |id: NodeId| {
        let member = configuration.member(id);
        member.map_or_else(|| id.to_string(), |one| units::name(one.name.as_bytes()))
    };
    ids.map(name).collect::<Vec<_>>().join(",")
}

/// Names the voters; in a joint configuration both majorities.
fn voters(configuration: &Configuration) -> String {
    let (outgoing, incoming) = configuration.voters().halves();
    let incoming = names(configuration, incoming.iter());
    match outgoing {
        None => incoming,
        Some(old) => format!("{{{}}}+{{{incoming}}}", names(configuration, old.iter())),
    }
}

/// Says what each configuration changed; the first one that is remembered has nothing before it.
fn changes(records: &[ConfigurationRecord]) -> Vec<String> {
    let before = std::iter::once(None).chain(records.iter().map(Some));
    let pairs = before.zip(records);
    pairs.map(|(before, now)| before.map_or_else(String::new, |b| change(b, now))).collect()
}

/// `+n4` is a new learner, `n4 votes`, `n4 learns`, `-n4` is gone; and who has moved, or has
/// another data directory.
fn change(before: &ConfigurationRecord, now: &ConfigurationRecord) -> String {
    let (old, new) = (&before.configuration, &now.configuration);
    let all: BTreeSet<NodeId> = old.members().keys().chain(new.members().keys()).copied().collect();
    let votes = |of: &Configuration, id| of.voters().halves().1.contains(id);
    let one = |id: &NodeId| {
        let id = *id;
        let member = new.member(id).or_else(|| old.member(id))?;
        let name = units::name(member.name.as_bytes());
        match (old.member(id), new.member(id)) {
            (None, _) => Some(format!("+{name}")),
            (_, None) => Some(format!("-{name}")),
            (Some(then), Some(now)) if then.address != now.address => {
                Some(format!("{name} at {}", units::name(now.address.as_bytes())))
            }
            (Some(then), Some(now)) if then.incarnation != now.incarnation => {
                Some(format!("{name} has another data directory"))
            }
            _ if votes(old, id) == votes(new, id) => None,
            _ if votes(new, id) => Some(format!("{name} votes")),
            _ if new.learners().contains(&id) => Some(format!("{name} learns")),
            _ => Some(format!("{name} leaves")),
        }
    };
    all.iter().filter_map(one).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use consensus::{ClusterTime, EntryId, Incarnation, LogIndex, Majority, Member, Term, Voters};

    fn record(index: u64, voters: Voters, learners: &[u64]) -> ConfigurationRecord {
        let id = |number: u64| NodeId::new(number).expect("it is not 0");
        let learners: BTreeSet<NodeId> = learners.iter().copied().map(id).collect();
        let member = |id: NodeId| {
            let (name, address) = (format!("n{id}"), format!("n{id}:7400"));
            (id, Member { incarnation: Incarnation::default(), name, address })
        };
        let members = voters.iter().chain(learners.iter().copied()).map(member).collect();
        ConfigurationRecord {
            id: EntryId { term: Term::new(1), index: LogIndex::new(index) },
            time: ClusterTime::new(0),
            configuration: Configuration::new(voters, learners, members).expect("it is valid"),
        }
    }

    fn half(ids: &[u64]) -> Majority {
        Majority::new(ids.iter().filter_map(|id| NodeId::new(*id)))
    }

    #[test]
    fn each_configuration_says_what_it_changed() {
        let stable = |ids: &[u64]| Voters::Stable(half(ids));
        let joint = Voters::Joint { outgoing: half(&[1, 2, 3]), incoming: half(&[1, 2, 4]) };
        let records = [
            record(1, stable(&[1, 2, 3]), &[]),
            record(4, stable(&[1, 2, 3]), &[4]),
            record(6, joint, &[]),
            record(7, stable(&[1, 2, 4]), &[]),
            record(9, stable(&[1, 2]), &[4]),
        ];
        assert_eq!(changes(&records), ["", "+n4", "n3 leaves n4 votes", "-n3", "n4 learns"]);
        assert_eq!(voters(&records[2].configuration), "{n1,n2,n3}+{n1,n2,n4}");
    }
}
