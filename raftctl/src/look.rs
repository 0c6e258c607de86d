//! A quick look at the cluster for whoever is about to change something: the leader knows who
//! takes part, so nobody waits for a node that is dead, and nobody asks it again and again.
//!
//! A verdict for people is another thing: `status` asks everybody, and waits.

use std::collections::BTreeSet;
use std::time::Duration;

use client::{Client, Common, NodeStatus, PeerReport};
use consensus::{Majority, NodeId, RoleKind, Tally};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::cluster::survey::ask_one;
use crate::cluster::{Row, Silence, Survey};
use crate::context::Node;

/// How much longer than the leader others may take to answer, at least.
const GRACE_MIN: Duration = Duration::from_millis(100);

/// A leader hears from a majority within this time, or will soon lead no more; in milliseconds.
const RECENT_MS: u64 = 1_000;

/// Where a node is, and what it is called if that is known.
type Place = (Option<String>, String);

/// Asks all nodes at once. When one has answered that certainly leads, the others have as long
/// again; who has not answered by then is a row without an answer. Without a leader, all are waited
/// for. If the leader heard a moment ago from one that does not answer, it is asked again when it
/// must have noticed that this one died: a change that counts on it could leave no quorum.
pub(crate) async fn look(client: &Client, nodes: &[Node]) -> Survey {
    let places = nodes.iter().map(|node| (node.name.clone(), node.address.clone())).collect();
    ask(client, places, Vec::new()).await
}

/// Looks again. Who was silent then is asked only if nobody else leads, and is not waited for.
pub(crate) async fn again(client: &Client, before: &Survey) -> Survey {
    let heard: BTreeSet<NodeId> = before.leader().map(heard).unwrap_or_default();
    let is_there = |row: &&Row| row.answer.is_ok() || row.id.is_some_and(|id| heard.contains(&id));
    let (asked, silent): (Vec<&Row>, Vec<&Row>) = before.rows.iter().partition(is_there);
    let places = asked.iter().map(|row| (Some(row.name.clone()), row.address.clone())).collect();
    ask(client, places, silent.into_iter().cloned().collect()).await
}

/// Questions under way.
struct Asking {
    client: Client,
    answers: JoinSet<(Result<Box<NodeStatus>, Silence>, String)>,
    known: BTreeSet<String>,
    waiting: Vec<Place>,
}

impl Asking {
    /// Asks those who were not asked yet.
    fn send(&mut self, places: impl IntoIterator<Item = Place>) {
        for (name, address) in places {
            if self.known.insert(address.clone()) {
                let (client, place) = (self.client.clone(), address.clone());
                self.answers.spawn(async move { (ask_one(&client, &place).await, place) });
                self.waiting.push((name, address));
            }
        }
    }
}

async fn ask(client: &Client, places: Vec<Place>, mut silent: Vec<Row>) -> Survey {
    let began = Instant::now();
    let known = silent.iter().map(|row| row.address.clone()).collect();
    let answers = JoinSet::new();
    let mut asking = Asking { client: client.clone(), answers, known, waiting: Vec::new() };
    asking.send(places);
    let (mut rows, mut until, mut led) = (Vec::new(), None, false);
    loop {
        if asking.waiting.is_empty() && !led && !silent.is_empty() {
            // Perhaps one of them leads by now.
            let again = std::mem::take(&mut silent);
            asking.known.retain(|known| again.iter().all(|row| row.address != *known));
            asking.send(again.into_iter().map(|row| (Some(row.name), row.address)));
            until = Some(Instant::now() + GRACE_MIN);
        }
        let joined = tokio::select! {
            joined = asking.answers.join_next() => joined,
            () = patience(until) => None,
        };
        let Some(Ok((answer, address))) = joined else { break };
        let at = asking.waiting.iter().position(|(_, place)| *place == address);
        let name = at.and_then(|at| asking.waiting.swap_remove(at).0);
        if let Ok(status) = &answer {
            let members = status.configuration.members().values();
            asking.send(members.map(|one| (Some(one.name.clone()), one.address.clone())));
            if certainly_leads(status) {
                let now = Instant::now();
                until = until.or(Some(now + GRACE_MIN.max(now - began)));
                led = true;
            }
        }
        let id = answer.as_ref().ok().map(|status| status.node);
        rows.push(Row { name: name.unwrap_or_else(|| address.clone()), id, address, answer });
    }
    rows.extend(silent);
    rows.extend(asking.waiting.into_iter().map(|(name, address)| {
        let why = format!("no answer from {address} so far");
        let answer = Err(Silence { why, common: Common::Nothing });
        Row { name: name.unwrap_or_else(|| address.clone()), id: None, address, answer }
    }));
    // Who has died a moment ago must not be counted on: a change could then never end.
    Survey::settled(client, rows, began.into_std()).await
}

async fn patience(until: Option<Instant>) {
    match until {
        Some(until) => sleep_until(until).await,
        None => std::future::pending().await,
    }
}

/// Says whether a node leads and is not one that was cut off and succeeded meanwhile: a majority
/// has answered it, or elected it, a moment ago.
fn certainly_leads(status: &NodeStatus) -> bool {
    if status.role != RoleKind::Leader || !status.failure.is_empty() {
        return false;
    }
    if status.leading_ms.is_some_and(|ms| ms < RECENT_MS) {
        return true;
    }
    let heard = heard(status);
    let wins = |half: &Majority| half.tally(|id| Some(heard.contains(&id))) == Tally::Won;
    let (outgoing, incoming) = status.configuration.voters().halves();
    outgoing.is_none_or(wins) && wins(incoming)
}

fn heard(leader: &NodeStatus) -> BTreeSet<NodeId> {
    let is_heard = |peer: &&PeerReport| peer.heard_ms.is_some_and(|ms| ms < RECENT_MS);
    let peers = leader.peers.iter().filter(is_heard).map(|peer| peer.id);
    peers.chain([leader.node]).collect()
}
