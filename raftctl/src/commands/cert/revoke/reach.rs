//! How far a revocation has come: where it is in force, and what is open elsewhere.

use std::time::{Duration, Instant};

use client::Client;
use consensus::{Member, NodeId};
use serde_json::{Value, json};
use state_machine::{SystemAnswer, SystemQuery};
use tokio::time::sleep;

use super::{EVERY, Meant};
use crate::change::Present;
use crate::output::table::Rows;

/// How long it is looked whether all nodes have applied it.
const LOOK: Duration = Duration::from_secs(5);

/// What a node makes of a revocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    /// It is in force there, so long after it was begun.
    InForce(Duration),
    /// The node answers, and has not applied it: it does not refuse the certificate.
    NotApplied,
    /// The node does not answer.
    Silent,
}

/// What the nodes make of a revocation.
pub(super) struct Reach {
    nodes: Vec<(Member, Found)>,
    holder: String,
}

impl Reach {
    /// Nobody was asked.
    pub(super) const fn new() -> Self {
        Self { nodes: Vec::new(), holder: String::new() }
    }

    /// Asks all members until they have applied it, but for the one whose certificate is revoked:
    /// the others refuse it, so that it hears of nothing.
    pub(super) async fn of(
        client: &Client,
        present: &Present,
        (holder, meant): (&str, &Meant),
        began: Instant,
    ) -> Self {
        let mut nodes = Vec::new();
        for (id, member) in present.configuration.members() {
            if meant.role.node_id().is_some_and(|meant| meant.get() == id.get()) {
                continue;
            }
            let place = (*id, member.address.as_str());
            let found = ask(client, place, (holder, meant), began).await;
            nodes.push((member.clone(), found));
        }
        Self { nodes, holder: holder.to_owned() }
    }

    /// Says whether it is in force on all of them.
    pub(super) fn is_whole(&self) -> bool {
        self.nodes.iter().all(|(_, found)| matches!(found, Found::InForce(_)))
    }

    /// Says what is open, for people.
    pub(super) fn open(&self) -> Vec<String> {
        let holder = &self.holder;
        let one = |(member, found): &(Member, Found)| {
            let name = &member.name;
            match found {
                Found::InForce(_) => None,
                Found::NotApplied => Some(format!(
                    "{name} answers, but has not applied the revocation yet: until it has, it \
                     does not refuse {holder} (raftctl status tells what keeps it)"
                )),
                Found::Silent => Some(format!(
                    "{name} does not answer, and may not have heard of the revocation: until it \
                     has, it does not refuse {holder} (raftctl status tells when it is back)"
                )),
            }
        };
        self.nodes.iter().filter_map(one).collect()
    }

    /// A row for each node.
    pub(super) fn rows(&self) -> Rows {
        let mut rows = Rows::new(&["NODE", "ADDRESS", "IN FORCE"]);
        for (member, found) in &self.nodes {
            let shown = match found {
                Found::InForce(took) => format!("within {} ms", took.as_millis()),
                Found::NotApplied => "not yet: it answers, but has not applied it".to_owned(),
                Found::Silent => "not confirmed: it does not answer".to_owned(),
            };
            rows.push(vec![member.name.clone(), member.address.clone(), shown]);
        }
        rows
    }

    /// The same for programs.
    pub(super) fn data(&self) -> Value {
        let one = |(member, found): &(Member, Found)| {
            let (state, took) = match found {
                Found::InForce(took) => ("in-force", Some(took)),
                Found::NotApplied => ("not-applied", None),
                Found::Silent => ("silent", None),
            };
            let took_ms = took.map(|took| u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
            json!({
                "name": member.name,
                "address": member.address,
                "state": state,
                "inForceMs": took_ms,
            })
        };
        self.nodes.iter().map(one).collect()
    }
}

/// Waits until a node has applied it.
async fn ask(
    client: &Client,
    (id, address): (NodeId, &str),
    (holder, meant): (&str, &Meant),
    began: Instant,
) -> Found {
    // Another node may answer there.
    if !client.status_of(address).await.is_ok_and(|status| status.node == id) {
        return Found::Silent;
    }
    loop {
        let Ok(answer) = client.system_of(address, &SystemQuery::Revocations).await else {
            return Found::Silent;
        };
        let SystemAnswer::Revocations { items, .. } = answer else { return Found::NotApplied };
        let has_all = |keys: &[[u8; 32]]| meant.keys.iter().all(|key| keys.contains(key));
        let is_it = |one: &state_machine::Revocation| {
            one.holder == holder && one.until_s >= meant.until_s && has_all(&one.keys)
        };
        if items.iter().any(is_it) {
            return Found::InForce(began.elapsed());
        }
        if began.elapsed() > LOOK {
            return Found::NotApplied;
        }
        sleep(EVERY).await;
    }
}
