//! `raftctl member history`: who belonged to the cluster from when on, and who was removed.

use std::collections::BTreeSet;

use client::{Client, Consistency};
use consensus::{Configuration, NodeId};
use serde_json::{Value, json};
use state_machine::{
    AuditedAct, ConfigurationRecord, Outcome, SystemAnswer, SystemQuery, Tombstone,
};

use crate::codes;
use crate::commands::audit;
use crate::invocation::Invocation;
use crate::newest::Newest;
use crate::output::table::Rows;
use crate::output::{View, units};
use crate::report::{Report, Result};

/// Runs the command.
///
/// # Errors
/// If no node answers.
pub(crate) async fn run(invocation: &Invocation) -> Result<()> {
    let (target, client) = invocation.client()?;
    let Newest { how, warnings } = Newest::of(&client, &target.nodes, false).await?;
    let SystemAnswer::History(records) = client.system(&SystemQuery::History, how).await? else {
        return Err(unexpected());
    };
    let removed = tombstones(&client, how).await?;
    // Who may see the members may not see who changed them, without an operator's certificate.
    let acts = audit::all(&client, how).await.map_or_else(|_| Vec::new(), |(acts, _)| acts);
    client.close().await;
    let by = authors(&records, &acts);
    let mut rows = Rows::new(&["INDEX", "TERM", "VOTERS", "LEARNERS", "CHANGE", "BY"]);
    for ((record, change), by) in records.iter().zip(changes(&records)).zip(&by) {
        let configuration = &record.configuration;
        rows.push(vec![
            record.id.index.to_string(),
            record.id.term.to_string(),
            voters(configuration),
            or_none(names(configuration, configuration.learners().iter().copied())),
            or_none(change),
            or_none(by.map(|act| units::printable(act.act.who.as_bytes())).unwrap_or_default()),
        ]);
    }
    let mut text = rows.render(invocation.output.headers);
    if !removed.is_empty() {
        text.push('\n');
        text.push_str(&graves(&removed).render(invocation.output.headers));
    }
    invocation.output.answer(&View {
        kind: "MemberHistory",
        data: data(&records, &by, &removed),
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
        | SystemAnswer::Audit { .. }
        | SystemAnswer::Refused { .. } => Err(unexpected()),
    }
}

fn unexpected() -> Report {
    Report::new(codes::UNEXPECTED, "a node answered something else than its history")
}

fn data(
    records: &[ConfigurationRecord],
    by: &[Option<&AuditedAct>],
    removed: &[Tombstone],
) -> Value {
    let ids = |ids: BTreeSet<NodeId>| ids.iter().map(ToString::to_string).collect::<Vec<_>>();
    let configuration = |((record, change), by): (_, &Option<&AuditedAct>)| {
        let record: &ConfigurationRecord = record;
        let change: String = change;
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
            "by": by.map(|act| &act.act.who),
            "from": by.map(|act| &act.act.from),
            "time": by.map(|act| certs::utc(act.act.clock_s)),
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
            records.iter().zip(changes(records)).zip(by).map(configuration).collect::<Vec<_>>(),
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

/// Finds for each configuration the act that asked for it: the last one before it that asked for a
/// change of members, which makes one configuration, or a joint one and the one behind it. What a
/// leader did by itself, such as to take a member in again, has none.
fn authors<'a>(
    records: &[ConfigurationRecord],
    acts: &'a [AuditedAct],
) -> Vec<Option<&'a AuditedAct>> {
    let refused = |act: &AuditedAct| matches!(act.act.outcome, Outcome::Refused { .. });
    let changes: Vec<&AuditedAct> =
        acts.iter().filter(|act| !refused(act) && is_change(&act.act.what)).collect();
    let mut used = None;
    let mut joint = false;
    let mut found = Vec::with_capacity(records.len());
    for record in records {
        let before = changes.iter().rev().find(|act| act.index < record.id.index).copied();
        let is_spent = used.is_some() && used == before.map(|act| act.index) && !joint;
        found.push(before.filter(|_| !is_spent));
        used = before.map(|act| act.index);
        joint = record.configuration.voters().is_joint();
    }
    found
}

/// Says whether an act asks for other members; to reserve an id does not, nor to join.
fn is_change(what: &str) -> bool {
    let verb = what.strip_prefix("member ").and_then(|rest| rest.split(' ').next());
    verb.is_some_and(|verb| !["reserve", "join"].contains(&verb))
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
    fn each_configuration_names_who_asked_for_it_and_what_a_leader_did_nobody() {
        let stable = |ids: &[u64]| Voters::Stable(half(ids));
        let joint = Voters::Joint { outgoing: half(&[1, 2, 3]), incoming: half(&[1, 2, 4]) };
        let records = [
            record(1, stable(&[1, 2, 3]), &[]),
            record(4, stable(&[1, 2, 3]), &[4]),
            record(6, joint, &[]),
            record(7, stable(&[1, 2, 4]), &[]),
            record(9, stable(&[1, 2]), &[4]),
            record(14, stable(&[1, 2]), &[]),
        ];
        let act = |index, who: &str, what: &str, outcome| AuditedAct {
            index: LogIndex::new(index),
            time: ClusterTime::new(0),
            act: state_machine::Act {
                id: [0; 16],
                who: who.to_owned(),
                from: String::new(),
                node: 1,
                clock_s: 0,
                what: what.to_owned(),
                outcome,
            },
        };
        let acts = [
            act(2, "a", "member reserve n4", Outcome::Done),
            act(3, "a", "member add n4", Outcome::Done),
            act(5, "b", "member promote n4, remove n3", Outcome::Asked),
            act(10, "c", "member remove n1", Outcome::Refused { reason: "no".to_owned() }),
            act(12, "c", "leader transfer n2", Outcome::Done),
            act(13, "d", "member remove n4", Outcome::Done),
        ];
        let by = authors(&records, &acts);
        let by: Vec<&str> = by.iter().map(|act| act.map_or("-", |act| &act.act.who)).collect();
        assert_eq!(by, ["-", "a", "b", "b", "-", "d"]);
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
